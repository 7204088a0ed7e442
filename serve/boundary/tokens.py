"""Bearer tokens: who may use the service, kept as hashes, with names and ends."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from amir.config import TokenSettings
from amir.errors import InputError

log = logging.getLogger(__name__)

_SHORTEST = 16  # characters: what is shorter can be guessed


@dataclass(frozen=True)
class Token:
    """name: shown in logs. digest: sha256 of the token. expires: the first moment it is refused."""

    name: str
    digest: bytes
    expires: datetime | None = None


class Tokens:
    """The tokens of a file, read again when it changes, and of an environment variable."""

    def __init__(self, settings: TokenSettings) -> None:
        self._file = settings.file
        self._of_environment = tuple(_in_environment(os.environ.get(settings.environment, "")))
        self._read_at: float | None = None
        self._of_file: tuple[Token, ...] = ()
        self._refresh()
        if settings.required and not (self._of_file or self._of_environment):
            raise InputError(
                "invalid_setting",
                f"there are no tokens: give tokens.file, or set {settings.environment} to "
                "NAME=TOKEN",
            )

    def owner(self, token: str) -> str | None:
        """The name of a token that is valid now; as slow for a wrong one as for a right one."""
        self._keep_up()
        given, now, owner = hashlib.sha256(token.encode()).digest(), datetime.now(UTC), None
        for known in (*self._of_file, *self._of_environment):
            is_same = hmac.compare_digest(given, known.digest)
            if is_same and (known.expires is None or now < known.expires):
                owner = known.name
        return owner

    def _keep_up(self) -> None:
        try:
            self._refresh()
        except InputError as error:
            log.error("the tokens stay as they were: %s", error)

    def _refresh(self) -> None:
        if self._file is None:
            return
        try:
            changed_at = self._file.stat().st_mtime
        except FileNotFoundError:
            raise InputError("missing_file", f"there is no tokens.file {self._file}") from None
        if changed_at != self._read_at:
            self._read_at = changed_at  # a faulty file is complained of once
            self._of_file = tuple(_in_file(self._file))


def _in_environment(text: str) -> Iterator[Token]:
    for number, entry in enumerate(filter(None, text.split(",")), start=1):
        name, found, token = entry.strip().partition("=")
        if not found:
            name, token = f"token {number}", name
        yield _token({"name": name, "token": token}, "the environment")


def _in_file(path: Path) -> Iterator[Token]:
    import yaml

    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise InputError("invalid_setting", f"{path} is not a YAML file of tokens") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        message = f"{path} is not a list of tokens, each with name, sha256 and expires"
        raise InputError("invalid_setting", message)
    _check_is_private(path, entries)
    for entry in entries:
        yield _token(entry, str(path))


def _check_is_private(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    others = stat.S_IRWXG | stat.S_IRWXO
    if path.stat().st_mode & others and any("token" in entry for entry in entries):
        raise InputError(
            "invalid_setting",
            f"{path} holds tokens in plain text and is open to others than its owner; "
            f"chmod 600 it, or keep sha256 in place of token",
        )


def _token(entry: Mapping[str, Any], place: str) -> Token:
    """The messages name the entry and never quote a token."""
    name = str(entry.get("name", ""))
    unknown = set(entry) - {"name", "token", "sha256", "expires"}
    if not name or unknown or ("token" in entry) == ("sha256" in entry):
        raise InputError(
            "invalid_setting",
            f"a token in {place} needs name, and one of token and sha256; it may have expires",
        )
    return Token(name, _digest(entry, place), _moment(entry.get("expires"), name, place))


def _digest(entry: Mapping[str, Any], place: str) -> bytes:
    if "token" in entry:
        token = str(entry["token"])
        if len(token) < _SHORTEST:
            message = f"token {entry['name']} in {place} has fewer than {_SHORTEST} characters"
            raise InputError("invalid_setting", message)
        return hashlib.sha256(token.encode()).digest()
    try:
        digest = bytes.fromhex(str(entry["sha256"]))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        message = f"sha256 of token {entry['name']} in {place} is not 64 hex digits"
        raise InputError("invalid_setting", message)
    return digest


def _moment(value: object, name: str, place: str) -> datetime | None:
    """YAML's dates and times; without a time zone, UTC."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    message = f"expires of token {name} in {place} is not a date such as 2027-01-31"
    raise InputError("invalid_setting", message)
