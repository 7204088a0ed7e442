"""Write a restored scan as a derived series: new identifiers, same patient, study and place."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
from highdicom import ContributingEquipment
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from amir.durable import new_folder
from amir.errors import InputError
from amir.imaging.derivation import Derivation
from amir.imaging.dicom.kinds import CLASSIC_OF_ENHANCED
from amir.imaging.dicom.parse import nothing_quoted, refused_when_garbled
from amir.imaging.dicom.slice import required
from amir.imaging.dicom.store import (
    StoredSlice,
    drop_what_describes_other_pixels,
    save_slice,
    set_pixels,
    slope_for,
    store_with,
)
from amir.imaging.dicom.uid import uid_from_digest
from amir.imaging.scan import DicomSource, Scan
from amir.modality import Modality

_LONG_STRING = 64
_MANUFACTURER = "AMIR platform"


def write_derived_series(scan: Scan, folder: Path, derivation: Derivation) -> int:
    """One file per source slice, named by its place along the normal.

    scan: one read from DICOM, with restored voxels. CT keeps its rescale and MR its stored scale,
    PET gets a slope per slice. The same scan and derivation give the same identifiers and pixels,
    only the creation time differs. The folder appears complete or not at all. Returns how many
    voxels were saturated.
    """
    saturated = 0
    with new_folder(folder) as beside, nothing_quoted():
        for index, (content, beyond) in enumerate(derived_files(scan, derivation)):
            (beside / slice_name(index)).write_bytes(content)
            saturated += beyond
    return saturated


def derived_files(scan: Scan, derivation: Derivation) -> Iterator[tuple[bytes, int]]:
    """Each slice as a file, and how many of its voxels were saturated.

    To be read under `nothing_quoted`: the source's flaws, such as overlong numbers, are kept.
    Raises InputError("unreadable") where they are such that no file can hold them.
    """
    if not isinstance(scan.source, DicomSource):
        message = "the scan was not read from DICOM; use write_new_series"
        raise InputError("unsupported", message)
    now = datetime.now()
    is_signed = scan.modality is Modality.PET and bool(scan.voxels.min() < 0)
    for index, source in enumerate(scan.source.slices):
        with refused_when_garbled(f"slice {index + 1}"):
            frame = scan.source.frames[index]
            dataset = derived_header(source, frame, scan.modality, derivation, now)
            if not scan.source.is_on_source_grid:
                dataset.SourceImageSequence[0].SpatialLocationsPreserved = "NO"
            stored = _store(scan, scan.source, index, dataset, is_signed=is_signed)
            set_pixels(dataset, stored)
            content = io.BytesIO()
            save_slice(dataset, content)
        yield content.getvalue(), stored.saturated


def slice_name(index: int) -> str:
    """The file of a derived series that holds the slice of an index from 0 on."""
    return f"{index + 1:04d}.dcm"


def derived_header(
    source: Dataset,
    frame: int | None,
    modality: Modality,
    derivation: Derivation,
    now: datetime,
) -> Dataset:
    """The header of a derived slice; the source is left as it is.

    frame: which of a multi-frame file the slice was; its derived slice is a classic image.
    """
    dataset = _with_own_elements(source)
    drop_what_describes_other_pixels(dataset)
    _identify(dataset, source, frame, derivation)
    _describe(dataset, source, modality, derivation)
    _reference(dataset, source, frame)
    _credit(dataset, derivation, now)
    # Never SeriesTime or AcquisitionTime: they are what PET is decay corrected to.
    dataset.InstanceCreationDate = dataset.ContentDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = dataset.ContentTime = now.strftime("%H%M%S")
    return dataset


def _with_own_elements(source: Dataset) -> Dataset:
    """A copy whose elements can be assigned to; what they hold, such as items, is the source's."""
    dataset: Dataset = copy.copy(source)
    # A shallow copy shares its elements with the source, and assigning alters them in place.
    # get_item leaves them as they came; iterating over them would decode them all.
    dataset._dict = {tag: copy.copy(source.get_item(tag)) for tag in source.keys()}  # noqa: SIM118
    return dataset


def _identify(dataset: Dataset, source: Dataset, frame: int | None, derivation: Derivation) -> None:
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        required(source, keyword, "the source")
    dataset.SOPClassUID = CLASSIC_OF_ENHANCED.get(source.SOPClassUID, source.SOPClassUID)
    series = derivation.digest_with(str(source.SeriesInstanceUID))
    dataset.SeriesInstanceUID = UID(uid_from_digest(series))
    image = source.SOPInstanceUID if frame is None else f"{source.SOPInstanceUID}:{frame}"
    instance = derivation.digest_with(str(image))
    dataset.SOPInstanceUID = UID(uid_from_digest(instance))
    dataset.SeriesNumber = 9000 + int.from_bytes(series[16:20], "big") % 1000


def _describe(
    dataset: Dataset, source: Dataset, modality: Modality, derivation: Derivation
) -> None:
    dataset.ImageType = _image_type(source, modality)
    label = f" [AMIR {derivation.task}, RESEARCH]"
    described = str(source.get("SeriesDescription") or "")[: _LONG_STRING - len(label)]
    dataset.SeriesDescription = (described + label).strip()
    dataset.DerivationDescription = (
        f"AMIR {derivation.model_name} {derivation.model_version}, "
        f"model {derivation.model_digest[:12]}, {derivation.task}, {derivation.precision}; "
        "research use only, not for diagnosis"
    )


def _image_type(source: Dataset, modality: Modality) -> list[str]:
    """PET must not say SECONDARY (PS3.3 C.8.9.4); CT and MR need the source's third value."""
    if modality is Modality.PET:
        return ["DERIVED", "PRIMARY"]
    values = list(source.get("ImageType") or [])
    usual = "AXIAL" if modality is Modality.CT else "OTHER"
    return ["DERIVED", "SECONDARY", values[2] if len(values) > 2 and values[2] else usual]


def _reference(dataset: Dataset, source: Dataset, frame: int | None) -> None:
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    if frame is not None:
        item.ReferencedFrameNumber = frame
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = Sequence([_source_image()])
    dataset.SourceImageSequence = Sequence([item])


@cache
def _source_image() -> Dataset:
    """The coded purpose, which nobody alters."""
    from highdicom.sr import CodedConcept

    concept: Dataset = CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    return concept


def _credit(dataset: Dataset, derivation: Derivation, now: datetime) -> None:
    ours = ContributingEquipment(
        manufacturer=_MANUFACTURER,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=derivation.model_name[:_LONG_STRING],
        software_versions=derivation.model_version[:_LONG_STRING],
        contribution_datetime=now,
        contribution_description="Image restoration, research use only",
    )
    earlier = dataset.get("ContributingEquipmentSequence") or []
    dataset.ContributingEquipmentSequence = Sequence([*copy.deepcopy(list(earlier)), ours])


def _store(
    scan: Scan, origin: DicomSource, index: int, dataset: Dataset, *, is_signed: bool
) -> StoredSlice:
    """is_signed: whether a PET scan has a negative voxel anywhere."""
    rescaled = scan.voxels[:, :, index].T.astype(np.float64)
    if origin.unit_factors[index] != 1:
        rescaled /= origin.unit_factors[index]
    if scan.modality is Modality.PET:
        return _store_pet(rescaled, dataset, is_signed=is_signed)
    if scan.modality is Modality.MRI:
        return store_with(rescaled, (1.0, 0.0), dataset)
    rescale = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    return store_with(rescaled, rescale, dataset)


def _store_pet(rescaled: NDArray[np.float64], dataset: Dataset, *, is_signed: bool) -> StoredSlice:
    """Sixteen bits; unsigned where nothing is negative: half a step is 7.6e-6 of the maximum."""
    if "PixelPaddingValue" in dataset:
        del dataset.PixelPaddingValue
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(is_signed)
    dataset.RescaleSlope = slope_for(rescaled, is_signed=is_signed)
    dataset.RescaleIntercept = 0
    return store_with(rescaled, (float(str(dataset.RescaleSlope)), 0.0), dataset)
