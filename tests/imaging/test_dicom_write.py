from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from amir.errors import InputError
from amir.imaging import Derivation, read_scan, write_scan
from amir.modality import Modality


def headers(folder) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


@pytest.fixture
def derived(new_series, derivation, tmp_path):
    """Reads a new series, writes it back unchanged; returns source and derived headers."""

    def write(modality: Modality, alter=None):
        folder = new_series(modality)
        if alter is not None:
            alter(folder)
        write_scan(read_scan(folder), tmp_path / "out", derivation)
        return headers(folder), headers(tmp_path / "out")

    return write


@pytest.mark.parametrize("modality", [Modality.CT, Modality.MRI])
def test_an_unchanged_scan_keeps_its_stored_integers(derived, modality):
    for source, result in zip(*derived(modality), strict=True):
        assert np.array_equal(source.pixel_array, result.pixel_array)
        assert source.get("RescaleIntercept") == result.get("RescaleIntercept")


def test_an_unchanged_pet_stays_within_1e_5_of_each_slices_maximum(derived):
    for source, result in zip(*derived(Modality.PET), strict=True):
        one, other = (item.pixel_array * float(item.RescaleSlope) for item in (source, result))
        assert np.abs(one - other).max() <= 1e-5 * one.max()
        assert len(str(result.RescaleSlope)) <= 16
        assert result.RescaleIntercept == 0


@pytest.mark.parametrize("modality", Modality)
def test_patient_study_and_place_stay_and_the_identifiers_are_new(derived, modality):
    kept = ["PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "PixelSpacing"]
    kept += ["ImagePositionPatient", "ImageOrientationPatient", "SeriesTime", "AcquisitionTime"]
    sources, results = derived(modality)
    for source, result in zip(sources, results, strict=True):
        assert [source[k].value for k in kept] == [result[k].value for k in kept]
        assert result.SOPInstanceUID.startswith("2.25.")
        assert result.SOPInstanceUID == result.file_meta.MediaStorageSOPInstanceUID
        assert result.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    uids = {item.SOPInstanceUID for item in sources + results}
    assert len(uids) == 10
    assert len({item.SeriesInstanceUID for item in sources + results}) == 2


@pytest.mark.parametrize(
    ("modality", "image_type"),
    [
        (Modality.CT, ["DERIVED", "SECONDARY", "AXIAL"]),
        (Modality.MRI, ["DERIVED", "SECONDARY", "OTHER"]),
        (Modality.PET, ["DERIVED", "PRIMARY"]),
    ],
)
def test_the_result_says_that_it_is_derived_by_what_and_for_research(derived, modality, image_type):
    sources, results = derived(modality)
    for source, result in zip(sources, results, strict=True):
        assert list(result.ImageType) == image_type
        assert result.SeriesDescription.endswith("[AMIR ct-denoise, RESEARCH]")
        assert "abababababab" in result.DerivationDescription
        assert "not for diagnosis" in result.DerivationDescription
        reference = result.SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference.SpatialLocationsPreserved == "YES"
        assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        equipment = result.ContributingEquipmentSequence[-1]
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"


def test_the_same_request_gives_the_same_series_and_any_other_another(
    new_series, derivation, tmp_path
):
    scan = read_scan(new_series(Modality.CT))
    others = [
        dataclasses.replace(derivation, model_digest="cd" * 32),
        dataclasses.replace(derivation, options={"plane": "coronal"}),
        dataclasses.replace(derivation, precision="bfloat16"),
    ]
    uids = []
    for index, request in enumerate([derivation, derivation, *others]):
        write_scan(scan, tmp_path / str(index), request)
        first = headers(tmp_path / str(index))[0]
        uids.append((first.SeriesInstanceUID, first.SOPInstanceUID))
    assert uids[0] == uids[1]
    assert len(set(uids)) == 4


def test_the_order_of_options_does_not_matter():
    one = Derivation("amir", "1", "ab", "t", {"a": 1, "b": 2})
    other = Derivation("amir", "1", "ab", "t", {"b": 2, "a": 1})
    assert one.digest_with("1.2.3") == other.digest_with("1.2.3")


def test_writing_leaves_the_scans_own_headers_alone(new_series, derivation, tmp_path):
    folder = new_series(Modality.PET)
    scan = read_scan(folder)
    write_scan(scan, tmp_path / "out", derivation)
    for header, source in zip(scan.source.slices, headers(folder), strict=True):
        del source.PixelData
        assert header == source


def test_a_long_description_is_cut_before_the_label(derived, change):
    def describe(folder):
        change(folder, lambda dataset, _: setattr(dataset, "SeriesDescription", "x" * 64))

    _, results = derived(Modality.CT, describe)
    assert len(results[0].SeriesDescription) == 64
    assert results[0].SeriesDescription.endswith("x [AMIR ct-denoise, RESEARCH]")


def test_what_described_the_old_pixels_is_dropped_or_recomputed(derived, change):
    def decorate(dataset, _):
        dataset.add_new(0x60003000, "OW", b"\1" * 16)
        dataset.add_new(0x60000010, "US", 12)
        dataset.IconImageSequence = Sequence([Dataset()])
        dataset.LargestImagePixelValue = 1
        dataset.ContributingEquipmentSequence = Sequence([Dataset()])

    _, results = derived(Modality.CT, lambda folder: change(folder, decorate))
    for result in results:
        assert not any(tag.group == 0x6000 for tag in result.keys())  # noqa: SIM118
        assert "IconImageSequence" not in result
        assert result.LargestImagePixelValue == result.pixel_array.max()
        assert result.SmallestImagePixelValue == result.pixel_array.min()
        assert len(result.ContributingEquipmentSequence) == 2


def test_a_chinese_name_survives(derived, change):
    def rename(dataset, _):
        dataset.SpecificCharacterSet = "GB18030"
        dataset.PatientName = "Wang^XiaoDong=王^小东"

    _, results = derived(Modality.CT, lambda folder: change(folder, rename))
    assert str(results[0].PatientName) == "Wang^XiaoDong=王^小东"


def test_what_does_not_fit_is_saturated_and_counted(new_series, change, derivation, tmp_path):
    folder = new_series(Modality.CT)

    def twelve_bits(dataset, _):
        values = dataset.pixel_array.clip(0, 2047)
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PixelData = values.astype("<i2").tobytes()

    change(folder, twelve_bits)
    scan = read_scan(folder)
    voxels = scan.voxels.copy()
    voxels[0, 0, :2] = 3000
    voxels[0, 1, 0] = -5000
    assert write_scan(scan.with_voxels(voxels), tmp_path / "out", derivation) == 3
    back = read_scan(tmp_path / "out").voxels
    assert (back[0, 0, 0], back[0, 1, 0]) == (2047 - 1024, -2048 - 1024)
    assert np.array_equal(back[1:], voxels[1:])


def test_negative_suv_is_written_signed(new_series, derivation, tmp_path):
    scan = read_scan(new_series(Modality.PET))
    write_scan(scan.with_voxels(scan.voxels - 1), tmp_path / "out", derivation)
    assert np.allclose(read_scan(tmp_path / "out").voxels, scan.voxels - 1, atol=4e-4)


def test_a_scan_that_is_not_from_dicom_needs_nifti_or_a_new_series(make_scan, derivation, tmp_path):
    with pytest.raises(InputError, match="write_new_series") as caught:
        write_scan(make_scan(Modality.CT), tmp_path / "out", derivation)
    assert caught.value.code == "unsupported"


def test_a_full_disk_leaves_no_half_series(new_series, derivation, tmp_path, monkeypatch):
    scan = read_scan(new_series(Modality.CT))
    write, written = Path.write_bytes, []

    def fills_up(path, content):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    with pytest.raises(InputError) as caught:
        write_scan(scan, tmp_path / "results" / "out", derivation)
    assert caught.value.code == "disk_full"
    assert list((tmp_path / "results").iterdir()) == []


def test_a_compressed_big_endian_or_implicit_source_is_written_as_explicit_little_endian(
    real_scans, derivation, tmp_path
):
    oddities = real_scans / "oddities" / "pydicom"
    original = pydicom.dcmread(oddities / "MR_small.dcm").pixel_array
    for name in ("RLE", "bigendian", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"):
        write_scan(read_scan(oddities / f"MR_small_{name}.dcm"), tmp_path / name, derivation)
        result = headers(tmp_path / name)[0]
        assert result.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert np.array_equal(result.pixel_array, original)


@pytest.fixture(params=["ct/sub-c02_abdomen_dicom", "mri/sub-m03_T1w_dicom"])
def real_series(request, real_scans):
    return real_scans / request.param


def test_real_ct_and_mr_come_back_integer_for_integer(real_series, derivation, tmp_path):
    write_scan(read_scan(real_series), tmp_path / "out", derivation)
    sources = {item.SOPInstanceUID: item for item in headers(real_series)}
    results = headers(tmp_path / "out")
    assert len(results) == len(sources)
    for result in results:
        source = sources[result.SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert np.array_equal(source.pixel_array, result.pixel_array)


@pytest.fixture(scope="module")
def derived_whole_body(whole_body_pet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pet") / "out"
    write_scan(whole_body_pet, folder, Derivation("amir", "3", "ab" * 32, "pet-synthesis"))
    return folder


def test_a_real_whole_body_pet_comes_back_within_1e_5(whole_body_pet, derived_whole_body):
    back = read_scan(derived_whole_body)
    difference = np.abs(back.voxels - whole_body_pet.voxels).max(axis=(0, 1))
    assert (difference <= 1e-5 * whole_body_pet.voxels.max(axis=(0, 1))).all()
    assert np.allclose(back.affine, whole_body_pet.affine)


@pytest.mark.system("dciodvfy", "dcentvfy")
def test_validators_find_nothing_in_real_ct_and_mr_that_the_source_had_not(
    real_series, derivation, tmp_path, validator_errors, entity_errors
):
    write_scan(read_scan(real_series), tmp_path / "out", derivation)
    check_against_source(real_series, tmp_path / "out", validator_errors)
    together = [*real_series.iterdir(), *(tmp_path / "out").iterdir()]
    assert entity_errors(together) == ""


@pytest.mark.system("dciodvfy")
def test_validators_find_nothing_in_a_real_pet_that_the_source_had_not(
    real_scans, derived_whole_body, validator_errors
):
    source = real_scans / "pet" / "sub-p01_wholebodyFDG_dicom"
    check_against_source(source, derived_whole_body, validator_errors)


@pytest.mark.system("dcentvfy")
def test_source_and_restored_pet_agree_with_each_other(
    real_scans, derivation, tmp_path, entity_errors
):
    # sub-p01 contradicts itself in NumberOfTimeSlices; sub-p02 does not.
    source = real_scans / "pet" / "sub-p02_wholebodyFDG_dicom"
    write_scan(read_scan(source), tmp_path / "out", derivation)
    assert entity_errors([*source.iterdir(), *(tmp_path / "out").iterdir()]) == ""


def check_against_source(source, result, validator_errors) -> None:
    """Every tenth derived file has only errors that its own source file has."""
    paths = {
        pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID: path
        for path in source.iterdir()
    }
    for path in sorted(result.iterdir())[::10]:
        reference = pydicom.dcmread(path).SourceImageSequence[0].ReferencedSOPInstanceUID
        assert validator_errors(path) <= validator_errors(paths[reference])
