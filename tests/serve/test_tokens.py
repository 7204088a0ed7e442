"""Who may use the service: tokens from a file and the environment, with names and ends."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from amir.config import ServeSettings, TokenSettings
from amir.errors import InputError
from serve.boundary.tokens import Tokens

SECRET, OTHER = "the-token-of-the-ward", "the-token-of-the-lab"


def tokens(folder: Path, text: str, *, mode: int = 0o600) -> Tokens:
    path = folder / "tokens.yaml"
    path.write_text(text)
    path.chmod(mode)
    return Tokens(TokenSettings(file=path))


def test_each_token_has_its_owner(tmp_path):
    digest = hashlib.sha256(OTHER.encode()).hexdigest()
    text = f"- {{name: ward, token: {SECRET}}}\n- {{name: lab, sha256: {digest}}}\n"
    known = tokens(tmp_path, text)
    assert [known.owner(token) for token in (SECRET, OTHER, "guessed")] == ["ward", "lab", None]


def test_the_environment_has_tokens_too(monkeypatch):
    monkeypatch.setenv("AMIR_TOKENS", f"ward={SECRET}, lab={OTHER}")
    known = Tokens(TokenSettings())
    assert [known.owner(token) for token in (SECRET, OTHER)] == ["ward", "lab"]


@pytest.mark.parametrize("days", [-1, 1])
def test_a_token_is_valid_until_its_end(days, tmp_path):
    end = datetime.now(UTC) + timedelta(days=days)
    known = tokens(tmp_path, f"- {{name: ward, token: {SECRET}, expires: {end.isoformat()}}}")
    assert known.owner(SECRET) == ("ward" if days > 0 else None)


def test_a_token_taken_out_of_the_file_is_refused_at_once(tmp_path):
    known = tokens(tmp_path, f"- {{name: ward, token: {SECRET}}}")
    (tmp_path / "tokens.yaml").write_text(f"- {{name: lab, token: {OTHER}}}")
    assert [known.owner(token) for token in (SECRET, OTHER)] == [None, "lab"]


def test_a_file_that_is_spoilt_later_changes_nothing(tmp_path):
    known = tokens(tmp_path, f"- {{name: ward, token: {SECRET}}}")
    (tmp_path / "tokens.yaml").write_text("- {name: ward")
    assert known.owner(SECRET) == "ward"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "there are no tokens"),
        ("ward: secret", "not a list"),
        ("- {name: ward}", "needs name, and one of"),
        ("- {name: ward, token: short}", "fewer than 16"),
        ("- {name: ward, sha256: 123}", "64 hex digits"),
        (f"- {{name: ward, token: {SECRET}, expires: soon}}", "2027-01-31"),
        (f"- {{name: ward, token: {SECRET}, until: 2027-01-31}}", "may have expires"),
    ],
)
def test_a_wrong_file_is_refused_without_quoting_it(text, hint, tmp_path):
    with pytest.raises(InputError, match=hint) as refusal:
        tokens(tmp_path, text)
    assert SECRET not in str(refusal.value)


def test_plain_tokens_that_others_can_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="chmod 600"):
        tokens(tmp_path, f"- {{name: ward, token: {SECRET}}}", mode=0o640)


def test_a_network_address_needs_tokens():
    with pytest.raises(ValueError, match=r"tokens\.required"):
        ServeSettings.model_validate({"http": {"host": "0.0.0.0"}, "tokens": {"required": False}})
