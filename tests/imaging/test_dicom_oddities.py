"""What is expected of each real oddity: its voxels, or the reason and the tag of its refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from amir.errors import InputError
from amir.imaging import read_scan

# One CT slice in fifteen encodings: the largest and the root mean square difference in HU. The
# lossy ones lie within what their own quantisation lost: 32 HU per grey level in 8-bit JPEG, 2 in
# 12-bit, whose steepest edges ring; NEAR=1 in JPEG-LS.
ENCODINGS = {
    "CTImage.dcm": (0, 0),
    "LittleEndianImplicit": (0, 0),
    "BigEndianExplicit": (0, 0),
    "DeflatedExplicit": (0, 0),
    "RLELossless": (0, 0),
    "JPEGProcess14Transfer": (0, 0),
    "JPEGProcess14SV1": (0, 0),
    "JPEGLSLossless": (0, 0),
    "JPEG2000LosslessOnly": (0, 0),
    "JPEGLSLossy": (1, 1),
    "JPEG2000Transfer": (6, 1),
    "JPEGProcess2_4": (40, 6),
    "JPEGProcess6_8": (40, 6),
    "JPEGProcess10_12": (40, 6),
    "JPEGProcess1Transfer": (70, 24),
}

MR_SMALL = ["", "_RLE", "_bigendian", "_implicit", "_jp2klossless", "_jpeg_ls_lossless", "_padded"]

SHAPES = {
    "pydicom/693_J2KI.dcm": (512, 512, 1),
    "pydicom/J2K_pixelrep_mismatch.dcm": (512, 512, 1),
    "pydicom/CT_small.dcm": (128, 128, 1),
    **{f"pydicom/MR_small{kind}.dcm": (64, 64, 1) for kind in MR_SMALL},
}

NO_FRAMES = ("missing_tag", "PerFrameFunctionalGroupsSequence (5200,9230)")
REFUSED = {
    "derived/ct_monochrome1.dcm": ("unsupported", "PhotometricInterpretation (0028,0004)"),
    "derived/ct_no_position.dcm": ("missing_tag", "ImagePositionPatient (0020,0032)"),
    "derived/ct_no_rescale.dcm": ("missing_tag", "RescaleSlope (0028,1053)"),
    # Ten series, and a choice among them finds that the images did not come along.
    "pydicom/DICOMDIR": ("mixed_series", "SeriesInstanceUID (0020,000E)"),
    "pydicom/DICOMDIR#ce205a4e1171": ("missing_file", "ReferencedFileID (0004,1500)"),
    # Cut off where the pixels begin.
    "pydicom/MR_truncated.dcm": ("unreadable", "PixelData (7FE0,0010)"),
    "pydicom/SC_rgb_rle.dcm": ("wrong_modality", "Modality (0008,0060) OT"),
    "pydicom/image_dfl.dcm": ("wrong_modality", "Modality (0008,0060) OT"),
    "pydicom/rtplan.dcm": ("wrong_modality", "Modality (0008,0060) RTPLAN"),
    # A perfusion map: its unit is that of a blood flow.
    "pydicom/eCT_Supplemental.dcm": ("unsupported", "RescaleType (0028,1054) is US"),
    # An anonymiser took the functional groups, and with them where the frames lie.
    "pydicom/emri_small.dcm": NO_FRAMES,
    "pydicom/emri_small_RLE.dcm": NO_FRAMES,
    "pydicom/emri_small_big_endian.dcm": NO_FRAMES,
    "pydicom/emri_small_jpeg_2k_lossless.dcm": NO_FRAMES,
    "pydicom/emri_small_jpeg_2k_lossless_too_short.dcm": NO_FRAMES,
    "pydicom/emri_small_jpeg_ls_lossless.dcm": NO_FRAMES,
    "pydicom/meta_missing_tsyntax.dcm": ("missing_tag", "Modality (0008,0060)"),
    "pydicom/no_meta.dcm": ("unreadable", "not readable DICOM"),
}


def encoded(folder: Path, name: str) -> Path:
    [path] = [
        path
        for path in (folder / "oddities" / "cornerstone").iterdir()
        if (path.name == name if name == "CTImage.dcm" else f"dcm_{name}" in path.name)
    ]
    return path


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_one_ct_slice_reads_alike_in_every_encoding(real_scans, encoding):
    reference = read_scan(encoded(real_scans, "CTImage.dcm"))
    scan = read_scan(encoded(real_scans, encoding))
    largest, mean_square = ENCODINGS[encoding]
    difference = scan.voxels - reference.voxels
    assert np.abs(difference).max() <= largest
    assert np.sqrt((difference**2).mean()) <= mean_square
    assert np.array_equal(scan.affine, reference.affine)


@pytest.mark.parametrize("name", SHAPES)
def test_an_oddity_reads_as_its_own_header_and_pydicom_say(real_scans, name):
    path = real_scans / "oddities" / name
    scan, header = read_scan(path), pydicom.dcmread(path)
    slope, intercept = header.get("RescaleSlope", 1), header.get("RescaleIntercept", 0)
    expected = header.pixel_array * float(slope) + float(intercept)
    assert scan.voxels.shape == SHAPES[name]
    assert np.array_equal(scan.voxels[:, :, 0].T, expected)


@pytest.mark.parametrize("name", REFUSED)
def test_an_oddity_is_refused_with_the_reason_and_the_tag(real_scans, name):
    code, named = REFUSED[name]
    with pytest.raises(InputError) as caught:
        read_scan(real_scans / "oddities" / name)
    assert (caught.value.code, named in str(caught.value)) == (code, True), str(caught.value)


@pytest.mark.parametrize("kind", MR_SMALL)
def test_one_mr_slice_reads_alike_in_every_encoding(real_scans, kind):
    folder = real_scans / "oddities" / "pydicom"
    reference = read_scan(folder / "MR_small.dcm")
    assert np.array_equal(read_scan(folder / f"MR_small{kind}.dcm").voxels, reference.voxels)


def test_pixels_that_are_not_square_keep_their_spacing(real_scans):
    folder = real_scans / "oddities"
    whole = read_scan(folder / "pydicom" / "CT_small.dcm")
    thinned = read_scan(folder / "derived" / "ct_nonsquare.dcm")
    assert np.array_equal(thinned.voxels, whole.voxels[:, ::2])
    assert np.allclose(thinned.spacing_mm, np.array(whole.spacing_mm) * [1, 2, 1])


def test_a_frame_in_several_fragments_is_read_whole(real_scans):
    folder = real_scans / "oddities"
    lossless = read_scan(folder / "dcm_qa_frag_5001").voxels
    assert (lossless.shape, lossless.max()) == ((128, 128, 3), 2214)
    jpeg_2000 = read_scan(folder / "dcm_qa_frag_6001").voxels
    expected = [pydicom.dcmread(path) for path in (folder / "dcm_qa_frag_6001").iterdir()]
    expected.sort(key=lambda header: -header.ImagePositionPatient[0])
    assert np.array_equal(jpeg_2000.T, np.stack([header.pixel_array for header in expected]))


def test_a_perfusion_map_is_read_as_hu_when_the_caller_vouches_for_it(real_scans):
    path = real_scans / "oddities" / "pydicom" / "eCT_Supplemental.dcm"
    scan = read_scan(path, unit="HU")
    assert np.allclose(scan.spacing_mm, (0.388672, 0.388672, 10))
    # Along the slices' normal the second frame comes first.
    assert np.array_equal(scan.voxels.T, pydicom.dcmread(path).pixel_array[::-1] - 1024.0)


def test_no_oddity_is_forgotten(real_scans):
    folder = real_scans / "oddities"
    told = {encoded(real_scans, name) for name in ENCODINGS}
    told |= {folder / name for name in (*SHAPES, *REFUSED)}
    told |= {*folder.glob("dcm_qa_frag_*/*"), folder / "derived" / "ct_nonsquare.dcm"}
    assert {path for path in folder.rglob("*") if path.is_file()} <= told
