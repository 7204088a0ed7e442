"""What a PACS does with a derived series: validators, Orthanc by DICOMweb, dcmtk by DIMSE.

The network is the identity, on the one restoration path: what comes back must be what went in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from torch import Tensor, nn

from amir.errors import InputError
from amir.imaging import Derivation, read_scan, write_new_series, write_scan
from amir.inference.restorer import Restorer
from amir.inference.tasks import TASKS
from amir.modality import Modality
from amir.models.restored import Restored
from amir.phantoms import phantom_scan
from tests.picture_archives import Orthanc, send_by_dimse

pytestmark = [
    pytest.mark.system("dciodvfy", "dcentvfy", "Orthanc", "storescu", "storescp"),
    pytest.mark.timeout(300),
]

FOLDERS = [
    *(f"ct/sub-c0{number}_axial2_dicom" for number in range(3, 9)),
    "ct/sub-c02_abdomen_dicom",
    "mri/sub-m03_T1w_dicom",
    "pet/sub-p01_wholebodyFDG_dicom",
    "pet/sub-p02_wholebodyFDG_dicom",
]
# Of a series that contradicts itself, these hold for source and result alike.
SELF_CONTRADICTIONS = {"pet/sub-p01_wholebodyFDG_dicom": "NumberOfTimeSlices"}


class Identity(nn.Module):
    def forward(self, degraded: Tensor) -> Restored:
        return Restored(degraded, degraded.new_zeros(()))


@dataclass(frozen=True)
class Pair:
    """The files of a series, and of the series derived from it by the identity."""

    sources: Sequence[Path]
    results: Sequence[Path]

    @property
    def by_source(self) -> dict[str, Path]:
        return {
            pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID: path
            for path in self.sources
        }

    def slices(self) -> list[tuple[Path, Path]]:
        """(source, result) of each slice."""
        sources = self.by_source
        return [
            (sources[header.SourceImageSequence[0].ReferencedSOPInstanceUID], path)
            for path in self.results
            for header in [pydicom.dcmread(path, stop_before_pixels=True)]
        ]


def derive(sources: Sequence[Path], out: Path) -> Pair:
    scan = read_scan(list(sources))
    restoration = Restorer(Identity(), digest="ab" * 32).restore(scan)
    how = Derivation("identity", "1", "ab" * 32, TASKS[scan.modality])
    assert write_scan(restoration.scan, out, how) == 0
    return Pair(sources, sorted(out.iterdir()))


def series_in(folder: Path) -> list[list[Path]]:
    """The files of a folder by SeriesInstanceUID."""
    by_series = defaultdict(list)
    for path in sorted(folder.iterdir()):
        header = pydicom.dcmread(path, specific_tags=["SeriesInstanceUID"])
        by_series[header.SeriesInstanceUID].append(path)
    return list(by_series.values())


def rescaled(dataset: Dataset) -> NDArray[np.float64]:
    stored: NDArray[np.float64] = dataset.pixel_array.astype(np.float64)
    return stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def check_pixels(pair: Pair) -> None:
    """CT and MR integer for integer, PET within 1e-5 of each slice's maximum."""
    for source, result in (map(pydicom.dcmread, paths) for paths in pair.slices()):
        if source.Modality == "PT":
            before, after = rescaled(source), rescaled(result)
            assert np.abs(after - before).max() <= 1e-5 * before.max()
        else:
            assert np.array_equal(source.pixel_array, result.pixel_array)


def check_orthanc(pair: Pair, orthanc: Orthanc) -> None:
    """It says that it has stored each, and gives the same pixels back; the source stays beside."""
    written = {path.SOPInstanceUID: path for path in map(pydicom.dcmread, pair.results)}
    orthanc.store(pair.sources)
    assert set(orthanc.store(pair.results)) == set(written)
    first = next(iter(written.values()))
    found = orthanc.retrieve(first.StudyInstanceUID, first.SeriesInstanceUID)
    assert {item.SOPInstanceUID for item in found} == set(written)
    for item in found:
        assert item.PixelData == written[item.SOPInstanceUID].PixelData
        assert item.get("PatientName") == written[item.SOPInstanceUID].get("PatientName")
    source = pydicom.dcmread(pair.sources[0])
    kept = orthanc.retrieve(source.StudyInstanceUID, source.SeriesInstanceUID)
    assert len(kept) == len(pair.sources)


def check_dimse(pair: Pair, folder: Path, port: int) -> None:
    received = {item.SOPInstanceUID: item for item in send_by_dimse(pair.results, folder, port)}
    assert len(received) == len(pair.results)
    for item in map(pydicom.dcmread, pair.results):
        assert received[item.SOPInstanceUID].PixelData == item.PixelData


@pytest.fixture(params=Modality)
def phantom_pair(
    request: pytest.FixtureRequest, tmp_path: Path, change: Callable[..., None]
) -> Pair:
    """A small series of a patient with a Chinese name, and of pixels that are no squares."""

    def rename(dataset: Dataset, index: int) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientName = "Wang^XiaoDong=王^小东"
        dataset.PixelSpacing = [1.5, 2.5]

    scan = phantom_scan(request.param, 0, size=32, slices=16)
    write_new_series(scan, tmp_path / "source", patient_id="p")
    change(tmp_path / "source", rename)
    return derive(sorted((tmp_path / "source").iterdir()), tmp_path / "out")


def test_archives_take_a_derived_series_and_give_it_back(
    phantom_pair: Pair,
    orthanc: Orthanc,
    tmp_path: Path,
    free_port: Callable[[], int],
    validator_errors: Callable[[Path], set[str]],
    entity_errors: Callable[[Iterable[Path]], str],
) -> None:
    check_pixels(phantom_pair)
    for source, result in phantom_pair.slices()[::8]:
        assert validator_errors(result) <= validator_errors(source)
    assert entity_errors([*phantom_pair.sources, *phantom_pair.results]) == ""
    check_orthanc(phantom_pair, orthanc)
    first = pydicom.dcmread(phantom_pair.results[0])
    given_back = orthanc.retrieve(first.StudyInstanceUID, first.SeriesInstanceUID)
    assert {item.PatientName.ideographic for item in given_back} == {"王^小东"}
    check_dimse(phantom_pair, tmp_path / "received", free_port())


def test_orthanc_keeps_the_first_of_two_series_with_the_same_identifiers(
    phantom_pair: Pair, orthanc: Orthanc, tmp_path: Path
) -> None:
    """Why a derived series never has the identifiers of another one."""
    orthanc.store(phantom_pair.results)
    altered = pydicom.dcmread(phantom_pair.results[0])
    pixels = altered.PixelData
    altered.PixelData = bytes(len(pixels))
    altered.save_as(tmp_path / "altered.dcm")
    orthanc.store([tmp_path / "altered.dcm"])
    found = orthanc.retrieve(altered.StudyInstanceUID, altered.SeriesInstanceUID)
    (kept,) = [item for item in found if item.SOPInstanceUID == altered.SOPInstanceUID]
    assert kept.PixelData == pixels


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_every_real_series_passes_all_validators_and_archives(
    name: str,
    real_scans: Path,
    orthanc: Orthanc,
    tmp_path: Path,
    free_port: Callable[[], int],
    validator_errors: Callable[[Path], set[str]],
    entity_errors: Callable[[Iterable[Path]], str],
) -> None:
    for number, sources in enumerate(series_in(real_scans / name)):
        pair = derive(sources, tmp_path / f"out-{number}")
        check_pixels(pair)
        for source, result in pair.slices():
            assert validator_errors(result) <= validator_errors(source)
        found = entity_errors([*pair.sources, *pair.results]).splitlines()
        excused = SELF_CONTRADICTIONS.get(name)
        assert [line for line in found if not (excused and f"<{excused}>" in line)] == []
        check_orthanc(pair, orthanc)
        check_dimse(pair, tmp_path / f"received-{number}", free_port())


def readable_oddities(folder: Path) -> dict[str, list[Path]]:
    """The odd files that can be read at all, each a series, and the two folders that are one."""
    series = {path.name: sorted(path.iterdir()) for path in folder.glob("dcm_qa_frag_*")}
    for path in sorted(folder.rglob("*.dcm")):
        if path.parent.name not in series and is_readable([path]):
            series[path.name] = [path]
    return series


def is_readable(files: list[Path]) -> bool:
    try:
        read_scan(files)
    except InputError:
        return False
    return True


@pytest.mark.slow
def test_odd_files_that_can_be_read_pass_all_validators(
    real_scans: Path,
    tmp_path: Path,
    validator_errors: Callable[[Path], set[str]],
    entity_errors: Callable[[Iterable[Path]], str],
) -> None:
    """One CT slice in fifteen encodings, MR in seven, frames in fragments, pixels not square."""
    series = readable_oddities(real_scans / "oddities")
    assert len(series) == 28
    for name, sources in series.items():
        pair = derive(sources, tmp_path / "out" / name)
        # By our own reader: pydicom alone decodes no JPEG of 12 bits.
        assert np.array_equal(read_scan(sources).voxels, read_scan(list(pair.results)).voxels), name
        for source, result in pair.slices():
            assert validator_errors(result) <= validator_errors(source), name
        readable = [] if "Deflated" in name else pair.sources  # dcentvfy does not inflate
        assert entity_errors([*readable, *pair.results]) == "", name


def test_no_real_series_is_forgotten(real_scans: Path) -> None:
    found = {path.parent for path in real_scans.rglob("*.dcm")}
    named = {folder.relative_to(real_scans).as_posix() for folder in found}
    assert {name for name in named if not name.startswith("oddities")} == set(FOLDERS)
