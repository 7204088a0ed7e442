"""Scans and the files they live in: DICOM series and NIfTI volumes, in and out.

Importing this loads neither pydicom nor nibabel; the first file of a kind does.
"""

from amir.imaging.choice import split_choice
from amir.imaging.derivation import Derivation
from amir.imaging.files import check_can_write, read_scan, write_new_series, write_scan
from amir.imaging.planes import SliceStack, from_plane, to_plane
from amir.imaging.scan import Scan
from amir.imaging.single_file import write_single_file
from amir.imaging.slice_files import is_slice_file, read_slice_files
from amir.imaging.upsampling import upsample

__all__ = [
    "Derivation",
    "Scan",
    "SliceStack",
    "check_can_write",
    "from_plane",
    "is_slice_file",
    "read_scan",
    "read_slice_files",
    "split_choice",
    "to_plane",
    "upsample",
    "write_new_series",
    "write_scan",
    "write_single_file",
]
