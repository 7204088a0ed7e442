"""Damaged files of every kind, sent to one running application: answered, refused, never fatal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.fileset import FileSet

from amir.modality import Modality
from benchmarks.mutation.attack import attack
from benchmarks.mutation.draw import Mutant, mutants
from benchmarks.mutation.specimens import Specimen, large_specimens, specimens
from benchmarks.small_service import SmallService, small_service

SEED = 2026
UNLIMITED = {"requests_per_minute": 1e6, "burst": 1_000_000}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallService]:
    with small_service(tmp_path_factory.mktemp("service"), rate=UNLIMITED) as running:
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
