"""Who works on a job: leases numbered 1, 2, ... beside it, each made by one owner only.

A lease is a file on the disk that all replicas share. It is made exclusively, so two replicas never
take the same number; its modification time is when its owner was last alive. The highest number
holds the job. Clocks of the machines may differ by less than the lease is long.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

PREFIX = "lease-"


class LeaseLostError(Exception):
    """Another took the job over, or it was deleted: whoever worked on it stops."""


@dataclass(frozen=True)
class Lease:
    """The right to work on the job of a folder until `seconds` after the last renewal.

    number: how many have worked on the job so far, this one included.
    """

    folder: Path
    number: int
    seconds: float

    @property
    def path(self) -> Path:
        return self.folder / f"{PREFIX}{self.number:04d}"

    def renew(self) -> None:
        """Say that the owner lives; LeaseLostError if the job is not the owner's any more."""
        self.check()
        try:
            os.utime(self.path, (now := time.time(), now))
        except FileNotFoundError:
            raise LeaseLostError from None

    def check(self) -> None:
        """LeaseLostError if the job was taken over or deleted."""
        if _numbers(self.folder)[-1:] != [self.number]:
            raise LeaseLostError

    def release(self) -> None:
        """Let anybody take the job at once, as if this owner had never tried."""
        self.path.unlink(missing_ok=True)


def take_lease(folder: Path, *, owner: str, seconds: float) -> Lease | None:
    """The job's next lease, or None while another's is valid or another was quicker.

    owner: who it is, for people who look into the folder.
    """
    numbers = _numbers(folder)
    try:
        if numbers and _is_alive(Lease(folder, numbers[-1], seconds)):
            return None
        lease = Lease(folder, numbers[-1] + 1 if numbers else 1, seconds)
        with lease.path.open("x", encoding="utf-8") as file:
            file.write(owner)
        lease.renew()
    except (FileExistsError, FileNotFoundError, LeaseLostError):
        return None
    return lease


def _is_alive(lease: Lease) -> bool:
    return lease.path.stat().st_mtime + lease.seconds > time.time()


def _numbers(folder: Path) -> list[int]:
    """The leases of a job in order; none if its folder is gone."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(int(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX))
