"""The token of a service on one's own machine: made once, kept in a file of mode 600."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import yaml

from amir.errors import InputError

NAME = "local"


def local_token(path: Path) -> str:
    """The token in a file for `tokens.file`, which is made if there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_dump([{"name": NAME, "token": secrets.token_urlsafe(32)}])
        # Created with its mode: there is no moment at which others can read it.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    tokens = [entry["token"] for entry in entries if "token" in entry]
    if not tokens:
        raise InputError(
            "invalid_setting",
            f"{path} holds hashes alone, and the page's link needs a token; name another file, "
            "which will be made",
        )
    return str(tokens[0])
