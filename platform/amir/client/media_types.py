"""The kinds of file that the service takes, by their names."""

from __future__ import annotations

from pathlib import Path

CONTENT_TYPES = {
    ".dcm": "application/dicom",
    ".zip": "application/zip",
    ".nii": "application/x-nifti",
    ".nii.gz": "application/x-nifti",
    ".npy": "application/x-npy",
}


def content_type(path: Path) -> str:
    """The media type of a file the service takes, by its name."""
    for ending, kind in CONTENT_TYPES.items():
        if path.name.lower().endswith(ending):
            return kind
    raise ValueError(f"{path.name}: the service takes files named {', '.join(CONTENT_TYPES)}")


def is_taken(path: Path) -> bool:
    """Whether a file's name is one the service takes."""
    return path.name.lower().endswith(tuple(CONTENT_TYPES))
