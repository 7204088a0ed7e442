"""NIfTI volumes: read any orientation and scaling, write a Scan with the header it came with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from amir.durable import new_file
from amir.errors import InputError
from amir.imaging.scan import MAX_VOXELS, NiftiSource, Scan, check_voxel_count
from amir.modality import MODELLING_RANGES, Modality

RESTORED_DESCRIPTION = "AMIR restored, research use only"

# Activity in Bq/ml starts in the thousands; no tissue reaches this SUV.
_IMPLAUSIBLE_SUV = 1000.0

# Deflate cannot pack more tightly (zlib's technical notes), and scans pack to a half or a third: a
# thousandth is a bomb. A small volume may be mostly air.
_MOST_DEFLATED = 1032
_MAX_RATIO = 100
_ALWAYS_INFLATED = 2**26

_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 1e-3}


def read_nifti(
    path: Path, *, modality: Modality, unit: str | None = None, max_voxels: int = MAX_VOXELS
) -> Scan:
    """The volume of a .nii or .nii.gz file, its scale and offset applied.

    unit: what the values are in, by default HU, SUV or a.u. by modality. A fourth axis of length
    one is dropped.
    """
    with _refused_when_garbled(path.name):
        image = nibabel.load(path)
        _check_kind(image, path.name)
        check_voxel_count(image.shape, name=path.name, limit=max_voxels)
        _check_is_all_there(image, path)
        voxels = np.asanyarray(image.dataobj, dtype=np.float32).reshape(image.shape[:3])
        affine = _affine_mm(image)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    said = unit or MODELLING_RANGES[modality].unit
    scan = Scan(voxels, affine, modality, said, NiftiSource(_bare_header(image), (digest,)))
    if unit is None and modality is Modality.PET:
        _check_is_suv(voxels, path.name)
    return scan


def read_flat_nifti(path: Path) -> NDArray[np.float32]:
    """The one slice [H, W] of a file, rows first as SimpleITK reads it; its place is not read."""
    with _refused_when_garbled(path.name):
        image = nibabel.load(path)
        _check_numbers(image, path.name)
        if sum(size > 1 for size in image.shape) > 2:
            message = f"{path.name} has shape {image.shape}, which is not one slice"
            raise InputError("unsupported", message)
        check_voxel_count(image.shape, name=path.name)
        _check_is_all_there(image, path)
        data = np.asanyarray(image.dataobj, dtype=np.float32)
    return data.squeeze().T


def write_nifti(scan: Scan, path: Path, *, restored: bool = False) -> None:
    """Write .nii or .nii.gz with the source's header; `restored` labels it for research use.

    float32, or the source's own integer type where it had one and every value is whole and fits.
    """
    with new_file(path) as beside:
        save_nifti(scan, beside, restored=restored)


def save_nifti(scan: Scan, path: Path, *, restored: bool) -> None:
    """As `write_nifti`, without waiting for the disk: for a file that is handed on at once."""
    header = scan.source.header.copy() if isinstance(scan.source, NiftiSource) else None
    data = _storable(scan.voxels, header)
    image = nibabel.Nifti1Image(data, scan.affine, header, dtype=data.dtype)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(1.0, 0.0)
    if restored:
        image.header["descrip"] = RESTORED_DESCRIPTION.encode()
    nibabel.save(image, path)


@contextmanager
def _refused_when_garbled(name: str) -> Iterator[None]:
    # nibabel, gzip and zlib raise a dozen kinds of error on damaged files and quote the whole path.
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        message = f"{name} is not a readable NIfTI volume ({type(error).__name__}); export it again"
        raise InputError("unreadable", message) from None


def _check_kind(image: Any, name: str) -> None:
    _check_numbers(image, name)
    shape = image.shape
    if len(shape) < 3 or any(size != 1 for size in shape[3:]):
        message = f"{name} has shape {shape}; split it into single three-dimensional volumes"
        raise InputError("unsupported", message)


def _check_numbers(image: Any, name: str) -> None:
    if not isinstance(image, nibabel.Nifti1Image | nibabel.Nifti2Image):
        raise InputError("unreadable", f"{name} is not NIfTI but {type(image).__name__}")
    if image.get_data_dtype().kind not in "iuf":
        message = f"{name} holds {image.get_data_dtype()}; only real numbers can be restored"
        raise InputError("unsupported", message)


def _check_is_all_there(image: Any, path: Path) -> None:
    """Before nibabel makes room for the voxels that a header declares: the file must hold them."""
    declared = int(np.prod(image.shape, dtype=object)) * image.get_data_dtype().itemsize
    size = path.stat().st_size
    is_packed = path.suffix.lower() == ".gz"
    if declared > size * (_MOST_DEFLATED if is_packed else 1):
        message = f"{path.name} declares {declared} bytes of voxels and holds {size}; fetch it anew"
        raise InputError("unreadable", message)
    if is_packed and declared > max(_ALWAYS_INFLATED, _MAX_RATIO * size):
        message = f"{path.name} inflates {size} bytes to {declared}, over {_MAX_RATIO}:1; unpack it"
        raise InputError("too_large", message)


def _affine_mm(image: Any) -> NDArray[np.float64]:
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= _MILLIMETRES[image.header.get_xyzt_units()[0]]
    return affine


def _check_is_suv(voxels: NDArray[np.float32], name: str) -> None:
    highest = float(voxels.max())
    if highest > _IMPLAUSIBLE_SUV:
        message = f"{name} reaches {highest:.6g}, which is no SUV; convert it to SUV body weight"
        raise InputError("unsupported", message)


def _bare_header(image: Any) -> Any:
    """A copy without extensions: they may hold a patient's name and describe the old voxels."""
    header = image.header.copy()
    header.extensions.clear()
    return header


def _storable(voxels: NDArray[np.float32], header: Any) -> NDArray[Any]:
    if header is None or header.get_data_dtype().kind not in "iu":
        return voxels
    limits = np.iinfo(header.get_data_dtype())
    inside = limits.min <= voxels.min() and voxels.max() <= limits.max
    if inside and np.array_equal(voxels, np.rint(voxels)):
        return voxels.astype(header.get_data_dtype())
    return voxels
