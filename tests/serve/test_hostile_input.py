"""Whatever is sent to one running application is answered or refused, and never fatal to it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.fileset import FileSet

from amir.modality import Modality
from benchmarks.fault_rows import (
    archives,
    bombs,
    clients_leave,
    headers,
    memory_pressure,
    numbers,
    sizes,
)
from benchmarks.mutation.attack import attack
from benchmarks.mutation.draw import Mutant, mutants
from benchmarks.mutation.specimens import Specimen, large_specimens, specimens
from benchmarks.small_service import SmallService, small_service

SEED = 2026
UNLIMITED = {"requests_per_minute": 1e6, "burst": 1_000_000}
LIMITS = bombs.LIMITS | {"idle_seconds": 1.0}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallService]:
    with small_service(
        tmp_path_factory.mktemp("service"), rate=UNLIMITED, limits=LIMITS
    ) as running:
        yield running


@pytest.fixture(scope="module")
def oddities(request: pytest.FixtureRequest) -> Path | None:
    """The odd real files where they are; the drawn ones are enough for the tests to run."""
    try:
        return request.getfixturevalue("real_scans") / "oddities"
    except pytest.skip.Exception:
        return None


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, oddities: Path | None) -> list[Specimen]:
    return specimens(tmp_path_factory.mktemp("specimens"), oddities)


def check(service: SmallService, damaged: Iterator[Mutant]) -> None:
    before = service.processes()
    verdict = attack(service.url, damaged)
    assert verdict.faults == []
    assert verdict.slowest_refusal < 10
    assert service.processes()[0] == before[0]
    assert service.is_alive()
    assert service.files_left() == []


def test_sound_specimens_are_restored(service, sound):
    drawn = [Mutant(one, one.name, one.content) for one in sound[:15]]
    verdict = attack(service.url, drawn)
    assert verdict.answers == {"200": 15}


@pytest.mark.timeout(200)
def test_a_thousand_mutants_are_answered(service, sound):
    check(service, mutants(sound, 1000, seed=SEED))


@pytest.mark.parametrize("row", [archives, numbers, headers], ids=lambda row: row.__doc__[:3])
def test_a_fault_meets_its_target(service, row):
    outcome = row.check(service)
    assert outcome.holds, outcome.figure


def test_bombs_and_huge_lengths_are_refused_at_once(service):
    outcome = bombs.check(service, 2**28, seconds=5)  # on a machine that is busy with other tests
    assert outcome.holds, outcome.figure


def test_huge_headers_are_refused(service):
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(16):
                client.sendall(b"a" * 2**16)
        assert b" 400 " in client.recv(100)


def test_a_client_that_falls_asleep_over_its_body_is_told_so(service):
    start = time.monotonic()
    with clients_leave.sending(service, 1000) as client:
        client.sendall(b"a")
        assert b" 408 " in client.recv(100)
    assert time.monotonic() - start < 5


def test_two_hundred_clients_that_never_end_their_headers_keep_nobody_waiting(service, sound):
    files = service.open_files()
    with contextlib.ExitStack() as open_connections:
        for _ in range(200):
            client = socket.create_connection(("127.0.0.1", service.port), timeout=10)
            open_connections.enter_context(client)
            client.sendall(b"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\n")
        verdict = attack(service.url, [Mutant(one, one.name, one.content) for one in sound[:5]])
        assert verdict.answers == {"200": 5}
    deadline = time.monotonic() + 10
    while service.open_files() > files and time.monotonic() < deadline:
        time.sleep(0.05)
    assert service.open_files() <= files


def test_nothing_is_left_of_clients_that_leave():
    outcome = clients_leave.run(quick=True)
    assert outcome.holds, outcome.figure


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("row", [sizes, memory_pressure], ids=lambda row: row.__doc__[:3])
def test_a_long_fault_meets_its_target(row):
    outcome = row.run(quick=True)
    assert outcome.holds, outcome.figure


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_mutants_are_answered(service, sound):
    check(service, mutants(sound, 10_000, seed=SEED + 1))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mutants_of_large_real_files_are_answered(service, oddities):
    if oddities is None:
        pytest.skip("the real scans are not on this machine")
    check(service, mutants(large_specimens(oddities), 500, seed=SEED + 2))


def test_an_index_without_its_files_is_refused(service, sound, tmp_path):
    """A DICOMDIR of one series, which reading follows to files that nobody sent."""
    content = next(one.content for one in sound if one.name == "CT.dcm")
    (tmp_path / "one.dcm").write_bytes(content)
    files = FileSet()
    files.add(tmp_path / "one.dcm")
    files.write(tmp_path / "medium")
    index = (tmp_path / "medium" / "DICOMDIR").read_bytes()
    verdict = attack(
        service.url, [Mutant(Specimen("index.dcm", Modality.CT, index), "an index", index)]
    )
    assert verdict.answers == {"422 missing_file": 1}
