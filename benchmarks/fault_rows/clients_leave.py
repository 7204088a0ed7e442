"""F13: clients that go away while they send, and while they wait."""

from __future__ import annotations

import socket
import struct
import time

from amir.modality import Modality
from benchmarks.fault_rows.attacked import attacked, send
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.mutation.strange_numbers import nifti, sound_voxels
from benchmarks.small_service import SmallService

TARGET = "200 departures: work cancelled, no files, memory back within 5 %, no open files left"
_SECONDS_PER_BATCH = 0.3
_SETTLED_SECONDS = 20.0


def run(*, quick: bool) -> Outcome:
    with attacked(seconds=_SECONDS_PER_BATCH) as service:
        return check(service, 20 if quick else 200)


def check(service: SmallService, times: int) -> Outcome:
    """The service takes a while for a batch, so that there is work to leave."""
    content = nifti(sound_voxels(Modality.CT, (64, 64, 3)))
    for _ in range(5):
        send(service, content, Modality.CT).raise_for_status()
    leave(service, content, 10)
    settle(service)
    memory, files = service.memory(), service.open_files()
    start, gone = time.monotonic(), departures(service)
    leave(service, content, times)
    is_settled = settle(service)
    growth = service.memory() / memory - 1
    left, more = service.files_left(), service.open_files() - files
    counted = departures(service) - gone
    is_well = send(service, content, Modality.CT).status_code == 200
    figure = (
        f"{times} clients left in {time.monotonic() - start:.0f} s, {counted:.0f} noticed; memory "
        f"{growth:+.1%}, {more:+d} open files, {len(left)} files on disk"
    )
    holds = is_settled and is_well and growth < 0.05 and more <= 0 and not left
    return Outcome(holds and counted >= 0.9 * times, figure)


def leave(service: SmallService, content: bytes, times: int) -> None:
    """In turn: in the middle of sending, and in the middle of the work."""
    for number in range(times):
        client = sending(service, len(content))
        if number % 2:
            client.sendall(content)
            time.sleep(0.1)
        else:
            client.sendall(content[: len(content) // 2])
        if number % 4 < 2:  # cut off instead of closed
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


def sending(service: SmallService, length: int) -> socket.socket:
    """A connection that has announced a body of so many bytes."""
    client = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    head = "POST /v1/restore?modality=CT HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    client.sendall(head.encode())
    return client


def settle(service: SmallService) -> bool:
    """Wait until nothing is under way but the question itself."""
    deadline = time.monotonic() + _SETTLED_SECONDS
    while time.monotonic() < deadline:
        if service.metric("amir_requests_in_progress") <= 1:
            return True
        time.sleep(0.1)
    return False


def departures(service: SmallService) -> float:
    return service.metric("amir_requests_total", 'status="499"')
