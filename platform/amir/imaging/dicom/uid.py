"""DICOM identifiers made from a digest: the same content gives the same UID."""

from __future__ import annotations

import hashlib
from uuid import UUID


def uid_from_digest(digest: bytes) -> str:
    """`2.25.` and the UUID (version 5, name-based) in the first 16 bytes of a digest: PS3.5 B.2."""
    return f"2.25.{UUID(bytes=digest[:16], version=5).int}"


def uid_from_text(*parts: str) -> str:
    """A UID from the sha256 of parts joined by newlines."""
    return uid_from_digest(hashlib.sha256("\n".join(parts).encode()).digest())
