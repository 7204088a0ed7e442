"""Who may move an alias: a queue of tickets in the registry itself, each with owner and lease.

A ticket is a version of a model of its own. MLflow numbers versions in one transaction and never
gives a number twice, on every database: the lowest ticket that lives holds the lock. One whose
lease has run out is passed over, so a killed owner blocks nobody for longer than that.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from amir.errors import InputError
from amir.model_registry.versions import ModelRegistry

OWNER, EXPIRES = "amir.owner", "amir.expires"
SECONDS_BETWEEN_LOOKS = 0.5
TICKETS_AT_ONCE = 1000  # killed owners leave theirs behind; the newest come first


@dataclass(frozen=True)
class Ticket:
    """A place in the queue. expires: seconds since 1970, by the clock of the owner's machine."""

    number: int
    owner: str
    expires: float

    def check_holds(self) -> None:
        """InputError("locked") if the lease is over: another may hold the lock by now."""
        if time.time() > self.expires:
            raise InputError(
                "locked", f"the lease of {self.owner} ran out before it was done; try again"
            )


@contextmanager
def locked(
    registry: ModelRegistry, *, lease: float = 30.0, patience: float = 120.0
) -> Iterator[Ticket]:
    """Hold the registry's lock for at most `lease` seconds; then others pass over its owner.

    patience: seconds to wait for those who came before; then InputError("locked") names the one.
    """
    queue = _Queue(registry, lease)
    ticket = queue.draw()
    try:
        yield queue.wait(ticket, patience)
    finally:
        with suppress(InputError):  # the lease ends by itself
            queue.drop(ticket)


class _Queue:
    def __init__(self, registry: ModelRegistry, lease: float) -> None:
        self.registry, self.lease = registry, lease
        self.name = f"{registry.model}-lock"

    def draw(self) -> Ticket:
        """A new ticket, behind all others."""
        owner, expires = f"{socket.gethostname()}:{os.getpid()}", time.time() + self.lease
        self.registry.make_model(self.name)
        with self.registry.answering():
            made = self.registry.client.create_model_version(
                self.name,
                "amir-lock:/ticket",
                tags={OWNER: owner, EXPIRES: str(expires)},
                await_creation_for=None,
            )
        return Ticket(int(made.version), owner, expires)

    def wait(self, ticket: Ticket, patience: float) -> Ticket:
        """The ticket with a fresh lease, once it is first."""
        deadline = time.monotonic() + patience
        while (first := self._first()) is not None and first.number < ticket.number:
            if time.monotonic() > deadline:
                raise InputError(
                    "locked",
                    f"{first.owner} and others before you have been changing the aliases of "
                    f"{self.registry.model} for {patience:g} s; try again later",
                )
            if ticket.expires - time.time() < self.lease / 2:
                ticket = self._renewed(ticket)
            time.sleep(SECONDS_BETWEEN_LOOKS)
        ticket.check_holds()
        return self._renewed(ticket)

    def drop(self, ticket: Ticket) -> None:
        with self.registry.answering():
            self.registry.client.delete_model_version(self.name, str(ticket.number))

    def _renewed(self, ticket: Ticket) -> Ticket:
        expires = time.time() + self.lease
        with self.registry.answering():
            self.registry.client.set_model_version_tag(
                self.name, str(ticket.number), EXPIRES, str(expires)
            )
        return replace(ticket, expires=expires)

    def _first(self) -> Ticket | None:
        """The lowest ticket that lives."""
        with self.registry.answering():
            found = self.registry.client.search_model_versions(
                f"name = '{self.name}'", max_results=TICKETS_AT_ONCE
            )
        now = time.time()
        tickets = sorted((_ticket(each) for each in found), key=lambda ticket: ticket.number)
        return next((ticket for ticket in tickets if ticket.expires > now), None)


def _ticket(version: Any) -> Ticket:
    tags = version.tags
    return Ticket(int(version.version), tags.get(OWNER, "?"), float(tags.get(EXPIRES, 0)))
