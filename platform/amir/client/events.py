"""Server-sent events, as the HTML standard defines them, of an answer that is still arriving."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    id: str
    name: str
    data: str


def events_of(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream's lines; comments, which keep a connection alive, are passed over."""
    fields = {"id": "", "event": "message"}
    data: list[str] = []
    for line in lines:
        text = line.decode("utf-8").rstrip("\r\n")
        if not text and data:
            yield Event(fields["id"], fields["event"], "\n".join(data))
            fields["event"], data = "message", []
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name in fields:
            fields[name] = value
