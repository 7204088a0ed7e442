"""The headers of one series' images, chosen among all that a path holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydicom.dataset import Dataset

from amir.imaging.choice import Choice
from amir.imaging.dicom.choice import SeriesSummary, choose_series, plain_text
from amir.imaging.dicom.enhanced import classic_headers
from amir.imaging.dicom.files import DicomFile, FoundFiles, check_total_size
from amir.imaging.dicom.kinds import is_enhanced, is_localizer, may_be_scan
from amir.imaging.dicom.parse import read_header, refused_when_garbled
from amir.imaging.dicom.slice import Slice, required
from amir.imaging.dicom.variants import one_volume

# Parsing holds Python's lock, waiting for a disk or a network does not.
_READERS = 4

_Parsed = tuple[DicomFile, Dataset]


def slices_of_series(found: FoundFiles, choice: Choice) -> list[Slice]:
    """The images of the one series that is there, or of the chosen one, in no given order.

    Unless the caller picked each file, what is no CT, MR or PET image and scouts beside other
    images are passed over.
    """
    parsed = _headers(found.files)
    if not found.is_picked:
        parsed = _without_localizers(_scans_of(parsed))
    uids = [_series_uid(file, header) for file, header in parsed]
    meant = choose_series(_summaries(parsed, uids), choice)
    series = [item for item, uid in zip(parsed, uids, strict=True) if uid == meant]
    check_total_size([file for file, _ in series])
    images = [image for file, header in series for image in _images(file, header)]
    with refused_when_garbled("the series"):
        return one_volume(images, choice)


def _headers(files: Sequence[DicomFile]) -> list[_Parsed]:
    if len(files) == 1:  # starting threads takes longer than reading it
        return [(files[0], read_header(files[0].open, files[0].name))]
    with ThreadPoolExecutor(_READERS) as readers:
        headers = readers.map(lambda file: read_header(file.open, file.name), files)
        return list(zip(files, headers, strict=True))


def _scans_of(parsed: list[_Parsed]) -> list[_Parsed]:
    """All of them where none is a scan: the first is then refused by name."""
    return [item for item in parsed if _says(may_be_scan, item)] or parsed


def _without_localizers(parsed: list[_Parsed]) -> list[_Parsed]:
    return [item for item in parsed if not _says(is_localizer, item)] or parsed


def _says(kind: Callable[[Dataset], bool], item: _Parsed) -> bool:
    with refused_when_garbled(item[0].name):
        return kind(item[1])


def _series_uid(file: DicomFile, header: Dataset) -> str:
    with refused_when_garbled(file.name):
        required(header, "Modality", file.name)
        return str(required(header, "SeriesInstanceUID", file.name))


def _summaries(parsed: Sequence[_Parsed], uids: Sequence[str]) -> list[SeriesSummary]:
    images: Counter[str] = Counter()
    shown: dict[str, tuple[str, str]] = {}
    for (file, header), uid in zip(parsed, uids, strict=True):
        with refused_when_garbled(file.name):
            images[uid] += int(header.get("NumberOfFrames") or 1)
            number = header.get("SeriesNumber")
            told = plain_text(header.Modality), "" if number is None else plain_text(number)
        shown.setdefault(uid, told)
    return [SeriesSummary(uid, *told, images[uid]) for uid, told in shown.items()]


def _images(file: DicomFile, header: Dataset) -> list[Slice]:
    with refused_when_garbled(file.name):
        if not is_enhanced(header):
            return [Slice.parse(header, file)]
        frames = classic_headers(header, file.name)
        return [Slice.parse(frame, file, number) for number, frame in enumerate(frames, start=1)]
