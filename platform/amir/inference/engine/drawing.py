"""Draws that come out the same wherever and however often they are made."""

from __future__ import annotations

import hashlib


def is_drawn(key: str, share: float, *, purpose: str) -> bool:
    """Whether a key is among the share of all keys; each purpose has a draw of its own."""
    digest = hashlib.sha256(f"{purpose}\n{key}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
