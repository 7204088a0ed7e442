from __future__ import annotations

import contextlib
import math
import warnings

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from amir.errors import CODES, InputError
from amir.imaging import read_scan, to_plane, write_new_series
from amir.modality import Modality


def refusal(path, **said) -> InputError:
    """The error of reading, which quotes neither the planted name nor a folder."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(InputError) as caught:
            read_scan(path, **said)
    assert caught.value.code in CODES
    for text in [str(caught.value), *(str(item.message) for item in warned)]:
        assert "CANARY" not in text
        assert "/tmp" not in text
    return caught.value


def put(**values):
    """Sets attributes of every slice."""
    return lambda dataset, _: [setattr(dataset, key, value) for key, value in values.items()]


def only(index, **values):
    """Sets attributes of one slice."""
    return lambda dataset, place: put(**values)(dataset, place) if place == index else None


def without(keyword):
    return lambda dataset, _: delattr(dataset, keyword)


def in_dose(**values):
    """Sets attributes in the radiopharmaceutical's item."""

    def alter(dataset, _):
        for key, value in values.items():
            setattr(dataset.RadiopharmaceuticalInformationSequence[0], key, value)

    return alter


def lean(dataset, index):
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y + 0.5 * index, z]


def turn(dataset, index):
    if index == 2:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


def crop(dataset, index):
    if index == 2:
        dataset.PixelData = dataset.pixel_array[:-1].tobytes()
        dataset.Rows -= 1


def colour(dataset, _):
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "RGB"
    dataset.PixelData = dataset.PixelData * 3


def truncate(dataset, index):
    if index == 2:
        dataset.PixelData = dataset.PixelData[:-20]


REFUSALS = [
    (Modality.CT, only(1, SeriesInstanceUID="1.2.3"), "mixed_series", "0020,000E"),
    (Modality.CT, crop, "inconsistent", "Rows"),
    (Modality.CT, only(1, PixelSpacing=[2, 1]), "inconsistent", "PixelSpacing"),
    (Modality.CT, turn, "inconsistent", "ImageOrientationPatient"),
    (Modality.CT, only(3, ImagePositionPatient=[20, 30, -7]), "duplicate_position", "0020,0032"),
    (Modality.CT, only(4, ImagePositionPatient=[20, 30, 2.5]), "missing_slice", "0020,0032"),
    (Modality.CT, lean, "unsupported", "GantryDetectorTilt"),
    (Modality.CT, put(Modality="US"), "wrong_modality", "0008,0060"),
    (Modality.CT, put(Modality="RTPLAN"), "wrong_modality", "RTPLAN"),
    (Modality.CT, colour, "unsupported", "0028,0004"),
    (Modality.PET, put(PhotometricInterpretation="MONOCHROME1"), "unsupported", "0028,0004"),
    (Modality.CT, put(RescaleType="US"), "unsupported", "0028,1054"),
    (Modality.CT, put(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), "unsupported", "0008,0016"),
    (Modality.CT, put(NumberOfFrames=2), "unsupported", "0028,0008"),
    (Modality.CT, put(HighBit=11), "unsupported", "HighBit"),
    (Modality.CT, without("PixelData"), "unsupported", "7FE0,0010"),
    (Modality.CT, truncate, "unreadable", "0003.dcm"),
    (Modality.CT, without("RescaleSlope"), "missing_tag", "0028,1053"),
    (Modality.CT, put(RescaleSlope=0), "missing_tag", "0028,1053"),
    (Modality.CT, without("ImagePositionPatient"), "missing_tag", "0020,0032"),
    (Modality.CT, without("ImageOrientationPatient"), "missing_tag", "0020,0037"),
    (Modality.CT, put(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "unreadable", "0020,0037"),
    (Modality.CT, without("PixelSpacing"), "missing_tag", "0028,0030"),
    (Modality.CT, put(PixelSpacing=[0, 1]), "missing_tag", "0028,0030"),
    (Modality.CT, without("SeriesInstanceUID"), "missing_tag", "0020,000E"),
    (Modality.MRI, only(1, RescaleSlope=2, RescaleIntercept=0), "inconsistent", "0028,1053"),
    (Modality.PET, put(Units="CNTS"), "unsupported", "CNTS"),
    (Modality.PET, put(Units="PROPCNTS"), "unsupported", "PROPCNTS"),
    (Modality.PET, put(Units="GML", SUVType="LBM"), "unsupported", "SUVType"),
    (Modality.PET, put(DecayCorrection="OTHER"), "unsupported", "DecayCorrection"),
    (Modality.PET, without("Units"), "missing_tag", "0054,1001"),
    (Modality.PET, without("PatientWeight"), "missing_tag", "0010,1030"),
    (Modality.PET, put(PatientWeight=0), "missing_tag", "0010,1030"),
    (Modality.PET, without("DecayCorrection"), "missing_tag", "0054,1102"),
    (Modality.PET, without("SeriesTime"), "missing_tag", "0008,0031"),
    (Modality.PET, without("AcquisitionTime"), "missing_tag", "0008,0032"),
    (
        Modality.PET,
        without("RadiopharmaceuticalInformationSequence"),
        "missing_tag",
        "RadiopharmaceuticalInformationSequence",
    ),
    (Modality.PET, in_dose(RadionuclideTotalDose=None), "missing_tag", "0018,1074"),
    (Modality.PET, in_dose(RadionuclideHalfLife=None), "missing_tag", "0018,1075"),
    (Modality.PET, in_dose(RadiopharmaceuticalStartTime=None), "missing_tag", "0018,1072"),
    (
        Modality.PET,
        in_dose(RadiopharmaceuticalStartDateTime="20230101090000"),
        "missing_tag",
        "0018,1078",
    ),
]


@pytest.mark.parametrize(("modality", "alter", "code", "named"), REFUSALS)
def test_what_cannot_be_read_rightly_is_refused_by_name(
    new_series, change, modality, alter, code, named
):
    folder = new_series(modality)
    change(folder, alter)
    error = refusal(folder)
    assert (error.code, named in str(error)) == (code, True), str(error)


def test_a_missing_slice_inside_the_series_is_found(new_series):
    folder = new_series(Modality.CT)
    (folder / "0003.dcm").unlink()
    assert refusal(folder).code == "missing_slice"


def test_a_modality_other_than_the_one_said_is_refused(new_series):
    assert refusal(new_series(Modality.CT), modality=Modality.MRI).code == "wrong_modality"


def test_a_unit_that_the_modality_does_not_have_is_refused(new_series):
    assert refusal(new_series(Modality.CT), unit="SUV").code == "wrong_modality"


def test_an_empty_folder_is_refused(tmp_path):
    assert refusal(tmp_path).code == "empty"


def test_a_missing_folder_is_refused(tmp_path):
    assert refusal(tmp_path / "gone").code == "missing_file"


def test_a_damaged_dcm_in_a_folder_is_not_passed_over(new_series):
    folder = new_series(Modality.CT)
    (folder / "0005.dcm").write_bytes(b"nothing")
    assert refusal(folder).code == "unreadable"


def test_other_files_and_subfolders_do_not_matter(new_series):
    folder = new_series(Modality.CT)
    expected = read_scan(folder)
    (folder / "DICOMDIR").write_bytes(b"index")
    (folder / "notes.txt").write_text("notes")
    (folder / ".hidden.dcm").write_bytes(b"")
    (folder / "more").mkdir()
    (folder / "0002.dcm").rename(folder / "more" / "a")
    scan = read_scan(folder)
    assert np.array_equal(scan.voxels, expected.voxels)
    assert scan.content_hash == expected.content_hash


def test_slices_are_sorted_by_place_not_by_name_or_number(new_series, change):
    folder = new_series(Modality.CT)
    expected = read_scan(folder)
    change(folder, lambda dataset, index: setattr(dataset, "InstanceNumber", 9 - index))
    for path in sorted(folder.iterdir()):
        path.rename(path.with_name(f"{hash(path.name) % 10**6}-{path.name}"))
    scan = read_scan(folder)
    assert np.array_equal(scan.voxels, expected.voxels)
    assert np.array_equal(scan.affine, expected.affine)


def test_a_list_of_files_is_a_series_and_one_file_a_single_slice(new_series):
    paths = sorted(new_series(Modality.CT).iterdir())
    assert np.array_equal(read_scan(paths[::-1]).voxels, read_scan(paths[0].parent).voxels)
    single = read_scan(paths[1])
    assert single.voxels.shape == (10, 12, 1)
    assert single.spacing_mm == (1.5, 2.0, 3.0)


def test_two_slices_are_a_series_whatever_lies_between(new_series):
    paths = sorted(new_series(Modality.CT).iterdir())
    assert read_scan([paths[0], paths[4]]).spacing_mm == (1.5, 2.0, 12.0)


def test_positions_rounded_by_the_scanner_are_even_enough(new_series, change):
    folder = new_series(Modality.CT)

    def wobble(dataset, index):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, float(z) + 0.05 * (-1) ** index]

    change(folder, wobble)
    assert math.isclose(read_scan(folder).spacing_mm[2], 3.0)


def test_rescale_is_applied_slice_by_slice(new_series, change):
    folder = new_series(Modality.CT)
    expected = read_scan(folder).voxels.copy()
    change(folder, only(2, RescaleSlope=2.0, RescaleIntercept=10.0))
    expected[:, :, 2] = (expected[:, :, 2] + 1024) * 2 + 10
    assert np.array_equal(read_scan(folder).voxels, expected)


def test_ct_without_rescale_is_read_when_the_caller_vouches_for_hu(new_series, change):
    folder = new_series(Modality.CT)
    expected = read_scan(folder).voxels + 1024
    change(folder, without("RescaleSlope"))
    change(folder, without("RescaleIntercept"))
    assert refusal(folder).code == "missing_tag"
    assert np.array_equal(read_scan(folder, unit="HU").voxels, expected)


def test_mr_stays_in_its_stored_scale(new_series, change):
    folder = new_series(Modality.MRI)
    expected = read_scan(folder).voxels
    change(folder, put(RescaleSlope=3.5, RescaleIntercept=7))
    assert np.array_equal(read_scan(folder).voxels, expected)


@pytest.mark.parametrize("is_signed", [True, False])
def test_bits_above_those_stored_are_ignored(new_series, change, is_signed):
    folder = new_series(Modality.MRI)
    values = np.arange(120).reshape(12, 10) * 17 - (1000 if is_signed else 0)

    def twelve_bits(dataset, _):
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PixelRepresentation = int(is_signed)
        del dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue
        dataset.PixelData = ((values & 0x0FFF) | 0xA000).astype("<u2").tobytes()

    change(folder, twelve_bits)
    assert np.array_equal(read_scan(folder).voxels[:, :, 0].T, values)


def test_padding_is_kept_as_stored(new_series, change):
    folder = new_series(Modality.CT)

    def pad(dataset, _):
        values = dataset.pixel_array.copy()
        values[0, 0] = -2000
        dataset.PixelData = values.tobytes()
        dataset.add_new("PixelPaddingValue", "SS", -2000)

    change(folder, pad)
    assert (read_scan(folder).voxels[0, 0] == -3024).all()


def test_unequal_pixel_spacing_goes_to_the_right_axes(new_series, change):
    folder = new_series(Modality.CT)
    change(folder, put(PixelSpacing=[4.0, 0.5]))
    assert read_scan(folder).spacing_mm == (0.5, 4.0, 3.0)


def test_compressed_slices_equal_uncompressed_ones(new_series, change):
    folder = new_series(Modality.CT)
    expected = read_scan(folder).voxels
    change(folder, lambda dataset, _: dataset.compress(RLELossless, generate_instance_uid=False))
    assert np.array_equal(read_scan(folder).voxels, expected)


def half_life_factor(seconds: float) -> float:
    return 2.0 ** (seconds / 6586.2)


def test_suv_follows_dose_and_weight(new_series, change):
    folder = new_series(Modality.PET)
    expected = read_scan(folder).voxels
    change(folder, put(PatientWeight=140.0))
    change(folder, in_dose(RadionuclideTotalDose=350e6 / 2))
    assert np.allclose(read_scan(folder).voxels, 4 * expected)


@pytest.mark.parametrize(
    ("altered", "seconds_later"),
    [
        ({"SeriesTime": "110000", "AcquisitionTime": "110000"}, 3600),
        # A bed acquired later is corrected to the series' start all the same.
        ({"AcquisitionTime": "103000"}, 0),
        # A workstation's own, later SeriesTime is not what the decay was corrected to.
        ({"SeriesTime": "180000"}, 0),
        ({"DecayCorrection": "NONE", "AcquisitionTime": "103000.5"}, 1800.5),
        ({"DecayCorrection": "ADMIN"}, -3600),
    ],
)
def test_suv_is_corrected_to_the_time_that_the_decay_correction_names(
    new_series, change, altered, seconds_later
):
    folder = new_series(Modality.PET)
    expected = read_scan(folder).voxels * half_life_factor(seconds_later)
    change(folder, put(**altered))
    assert np.allclose(read_scan(folder).voxels, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("injection", "seconds_earlier"),
    [
        ({"RadiopharmaceuticalStartDateTime": "20240101083000"}, 1800),
        ({"RadiopharmaceuticalStartDateTime": "20240101083000.00+0100"}, 1800),
        # After the scan by the clock: it was the evening before.
        ({"RadiopharmaceuticalStartTime": "230000"}, 10 * 3600),
    ],
)
def test_the_injection_may_have_a_date_or_lie_before_midnight(
    new_series, change, injection, seconds_earlier
):
    folder = new_series(Modality.PET)
    expected = read_scan(folder).voxels * half_life_factor(seconds_earlier)
    change(folder, in_dose(**injection))
    assert np.allclose(read_scan(folder).voxels, expected, rtol=1e-5)


def test_values_in_grams_per_ml_are_suv_already(new_series, change):
    folder = new_series(Modality.PET)
    change(folder, put(Units="GML"))
    change(folder, without("PatientWeight"))
    first = pydicom.dcmread(folder / "0001.dcm")
    expected = first.pixel_array.T * float(first.RescaleSlope)
    assert np.allclose(read_scan(folder).voxels[:, :, 0], expected)


def test_activity_is_read_without_dose_when_the_caller_asks_for_it(new_series, change):
    folder = new_series(Modality.PET)
    suv = read_scan(folder).voxels
    change(folder, without("PatientWeight"))
    activity = read_scan(folder, unit="Bq/ml")
    assert activity.unit == "Bq/ml"
    change(folder, put(Units="GML"))
    assert refusal(folder, unit="Bq/ml").code == "unsupported"
    assert np.allclose(activity.voxels / suv, 350e6 / 70e3 / half_life_factor(3600), rtol=1e-4)


def test_a_damaged_header_is_read_or_refused_but_never_crashes(new_series):
    path = new_series(Modality.PET) / "0001.dcm"
    content = path.read_bytes()
    random = np.random.default_rng(3)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for offset in random.integers(128, len(content) - 240, size=3):
            damaged[offset] = int(random.integers(256))
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            read_scan(path)
            continue
        refused += 1
    assert refused > 40


@pytest.mark.parametrize("kept", [0, 100, 132, 200, 400, 800, -1])
def test_a_truncated_file_is_refused(new_series, kept):
    path = new_series(Modality.MRI) / "0001.dcm"
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(path).code in ("unreadable", "missing_tag", "unsupported")


def test_a_series_and_its_copy_hash_alike_and_others_do_not(new_series, make_scan, tmp_path):
    first = read_scan(new_series(Modality.CT))
    write_new_series(make_scan(Modality.CT), tmp_path / "other", patient_id="phantom-2")
    assert first.content_hash == read_scan(tmp_path / "series-CT").content_hash
    assert first.content_hash != read_scan(tmp_path / "other").content_hash


def test_headers_are_kept_without_their_pixels(new_series):
    source = read_scan(new_series(Modality.CT)).source
    assert len(source.slices) == 5
    assert not any("PixelData" in header for header in source.slices)


def test_a_secret_in_any_text_of_the_header_stays_out_of_the_message(new_series, change):
    folder = new_series(Modality.CT)

    def plant(dataset, _):
        for element in dataset:
            if element.VR in ("LO", "SH", "PN", "ST", "LT"):
                element.value = "CANARY"
        dataset.RescaleSlope = None
        item = Dataset()
        item.PatientName = "CANARY"
        dataset.OtherPatientIDsSequence = Sequence([item])

    change(folder, plant)
    assert refusal(folder).code == "missing_tag"


# Real files.


def test_every_real_series_reads(real_scans, whole_body_pet):
    series = [
        "ct/sub-c02_abdomen_dicom",
        "mri/sub-m03_T1w_dicom",
        "pet/sub-p02_wholebodyFDG_dicom",
    ]
    shapes = {whole_body_pet.voxels.shape}
    shapes |= {read_scan(real_scans / name).voxels.shape for name in series}
    for path in real_scans.glob("ct/*_axial2_dicom/*"):
        shapes.add(read_scan(path).voxels.shape)
    assert shapes == {
        (512, 512, 32),
        (274, 384, 24),
        (128, 128, 222),
        (128, 128, 226),
        (512, 512, 1),
    }


def test_two_dates_in_one_folder_are_two_series(real_scans):
    assert refusal(real_scans / "ct" / "sub-c03_axial2_dicom").code == "mixed_series"


@pytest.mark.parametrize("name", ["ct/sub-c02_abdomen_dicom", "mri/sub-m03_T1w_dicom"])
def test_volumes_agree_with_dicom2nifti(real_scans, tmp_path, name):
    dicom2nifti = pytest.importorskip("dicom2nifti")
    nibabel = pytest.importorskip("nibabel")
    oracle = tmp_path / "oracle.nii"
    dicom2nifti.dicom_series_to_nifti(real_scans / name, oracle, reorient_nifti=False)
    theirs = nibabel.as_closest_canonical(nibabel.load(oracle))
    scan = read_scan(real_scans / name)
    ours = nibabel.as_closest_canonical(nibabel.Nifti1Image(scan.voxels, scan.affine))
    assert np.allclose(ours.affine, theirs.affine, atol=1e-3)
    assert np.array_equal(ours.get_fdata(), theirs.get_fdata())


def test_every_voxel_lies_where_the_volume_of_the_same_series_has_it(real_scans):
    slab = read_scan(real_scans / "mri" / "sub-m03_T1w_dicom")
    whole = read_scan(real_scans / "mri" / "sub-m03_T1w.nii.gz")
    indices = np.argwhere(slab.voxels > 0)[::50]
    world = slab.affine @ np.c_[indices, np.ones(len(indices))].T
    place = np.rint(np.linalg.inv(whole.affine) @ world)[:3].astype(int)
    inside = ((place >= 0) & (place < np.array(whole.voxels.shape)[:, None])).all(axis=0)
    assert inside.mean() > 0.9
    ours = slab.voxels[tuple(indices[inside].T)]
    assert np.array_equal(ours, whole.voxels[tuple(place[:, inside])])


def test_a_whole_body_lies_as_bodies_do(whole_body_pet):
    coronal = to_plane(whole_body_pet, "coronal")
    assert coronal.slices.shape[1:] == (222, 128)
    uptake = coronal.slices.sum(axis=(0, 2))
    # The brain takes up more FDG than the thighs, and the picture's top is the head.
    assert uptake[:40].max() > uptake[-20:].max()
    axial = to_plane(whole_body_pet, "axial")
    assert axial.spacing_mm[:2] == (4.6875, 4.6875)
