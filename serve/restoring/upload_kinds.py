"""The kinds of file that the service takes: how each is called, and how it is recognised."""

from __future__ import annotations

from dataclasses import dataclass

from serve.boundary.problems import RequestError

HEAD_BYTES = 352  # enough to tell every kind: a NIfTI-1 header and its magic number


@dataclass(frozen=True)
class UploadKind:
    """suffix: that readers and writers go by. media_type: of the answer, and of such a body."""

    suffix: str
    media_type: str


DICOM = UploadKind(".dcm", "application/dicom")
ZIP = UploadKind(".zip", "application/zip")
NIFTI = UploadKind(".nii", "application/x-nifti")
PACKED_NIFTI = UploadKind(".nii.gz", "application/x-nifti")
ARRAY = UploadKind(".npy", "application/x-npy")
KINDS = (DICOM, ZIP, NIFTI, PACKED_NIFTI, ARRAY)

# What clients call them besides.
_ALSO = {
    "application/x-zip-compressed": (ZIP,),
    "application/gzip": (PACKED_NIFTI,),
    "application/x-gzip": (PACKED_NIFTI,),
    "application/octet-stream": KINDS,
    "": KINDS,
}
MEDIA_TYPES = tuple(dict.fromkeys(kind.media_type for kind in KINDS))


def kinds_called(content_type: str) -> tuple[UploadKind, ...]:
    """The kinds that a Content-Type may mean; RequestError("unsupported_media_type") if none."""
    media_type = content_type.split(";")[0].strip().lower()
    stated = tuple(kind for kind in KINDS if kind.media_type == media_type)
    found = stated or _ALSO.get(media_type)
    if not found:
        raise RequestError(
            "unsupported_media_type",
            f"the service takes {', '.join(MEDIA_TYPES)} and application/octet-stream; say which "
            "in the Content-Type",
        )
    return found


def kind_of(head: bytes, content_type: str) -> UploadKind:
    """The kind that the first `HEAD_BYTES` of a body show and its Content-Type allows."""
    called = kinds_called(content_type)
    shown = _recognised(head)
    if shown is None and called == (DICOM,):
        return DICOM  # some lack the preamble; the reader judges
    if shown is None or shown not in called:
        expected = ", ".join(dict.fromkeys(kind.media_type for kind in called))
        found = "of no kind that the service takes" if shown is None else shown.media_type
        raise RequestError(
            "unsupported_media_type", f"the Content-Type allows {expected}, the body is {found}"
        )
    return shown


def _recognised(head: bytes) -> UploadKind | None:
    if head[128:132] == b"DICM":
        return DICOM
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return ZIP
    if head[:2] == b"\x1f\x8b":
        return PACKED_NIFTI
    if head[:6] == b"\x93NUMPY":
        return ARRAY
    if head[344:347] == b"n+1" or head[4:7] == b"n+2":
        return NIFTI
    return None
