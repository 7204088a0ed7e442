"""DICOMDIR, the index on a CD or an export: its series, and the files of one of them.

PS3.3 F.3: records are linked by their offsets in the file, each to the next on its level and to the
first one below.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset

from amir.errors import InputError
from amir.imaging.choice import Choice
from amir.imaging.dicom.choice import SeriesSummary, choose_series, plain_text, tag_name
from amir.imaging.dicom.kinds import MODALITY_OF_CODE

# The identifier of a directory's storage class stands in the first elements of the file.
_STORAGE_CLASS = b"1.2.840.10008.1.3.10"
_LOOKED_AT = 1024
_IN_USE = 0xFFFF


def is_directory(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT)
    return head[128:132] == b"DICM" and _STORAGE_CLASS in head


def files_of_directory(directory: Dataset, path: Path, choice: Choice) -> list[Path]:
    """The files of the one CT, MR or PET series of an index, or of the chosen one.

    directory: what the DICOMDIR at `path` holds. Its files lie below its folder, in any case of
    letters. Raises InputError("missing_file") where one does not exist.
    """
    images = _images_by_series(directory)
    if not images:
        message = f"{path.name} lists no CT, MR or PET images; give the folder of its images"
        raise InputError("empty", message)
    meant = choose_series(list(images), choice)
    [references] = [items for series, items in images.items() if series.uid == meant]
    return [_file_below(path.parent, reference) for reference in references]


def _images_by_series(directory: Dataset) -> dict[SeriesSummary, list[tuple[str, ...]]]:
    found: dict[SeriesSummary, list[tuple[str, ...]]] = {}
    for series, images in _series_records(directory):
        code = str(series.get("Modality") or "")
        references = [_reference(image) for image in images if image.get("ReferencedFileID")]
        if code not in MODALITY_OF_CODE or not references:
            continue
        number = plain_text(series.get("SeriesNumber") or "none")
        uid = str(series.get("SeriesInstanceUID") or "")
        found[SeriesSummary(uid, code, number, len(references))] = references
    return found


def _series_records(directory: Dataset) -> Iterator[tuple[Dataset, list[Dataset]]]:
    """Each series record of the index, and the records of its images."""
    records = {int(item.seq_item_tell): item for item in directory.DirectoryRecordSequence}
    first = int(directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity)
    for patient in _level(records, first, "PATIENT"):
        for study in _below(records, patient, "STUDY"):
            for series in _below(records, study, "SERIES"):
                yield series, _below(records, series, "IMAGE")


def _below(records: dict[int, Dataset], record: Dataset, kind: str) -> list[Dataset]:
    first = int(record.get("OffsetOfReferencedLowerLevelDirectoryEntity") or 0)
    return _level(records, first, kind)


def _level(records: dict[int, Dataset], offset: int, kind: str) -> list[Dataset]:
    """The records of a kind from an offset on; a chain that bites its tail ends there."""
    found, seen = [], set()
    while offset in records and offset not in seen:
        seen.add(offset)
        record = records[offset]
        is_used = record.get("RecordInUseFlag", _IN_USE) == _IN_USE
        if is_used and str(record.get("DirectoryRecordType")) == kind:
            found.append(record)
        offset = int(record.get("OffsetOfTheNextDirectoryRecord") or 0)
    return found


def _reference(image: Dataset) -> tuple[str, ...]:
    value = image.ReferencedFileID
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)


def _file_below(folder: Path, reference: tuple[str, ...]) -> Path:
    path = folder
    for part in reference:
        if part in ("", ".", "..") or "/" in part or "\\" in part:
            message = f"{tag_name('ReferencedFileID')} leads out of the folder; export it again"
            raise InputError("unsupported", message)
        path = _child(path, part)
    if not path.is_file():
        message = (
            f"{path.name}, listed by {tag_name('ReferencedFileID')}, does not exist; copy the "
            "whole medium or give the folder of its images"
        )
        raise InputError("missing_file", message)
    if not path.resolve().is_relative_to(folder.resolve()):
        message = f"{path.name} is a link out of the folder; copy the file itself"
        raise InputError("unsupported", message)
    return path


def _child(folder: Path, name: str) -> Path:
    """Media are in capitals, and systems that copy them may not keep that."""
    for spelling in (name, name.lower()):
        if (folder / spelling).exists():
            return folder / spelling
    return folder / name
