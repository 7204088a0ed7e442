from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from amir.errors import InputError
from amir.imaging import Derivation, read_scan, write_scan

SHAPE = (4, 6, 5)  # frames, rows, columns


def item(**values) -> Sequence:
    """A sequence of one item."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return Sequence([dataset])


def frame_groups(position: int, *, echo_time: float = 80.0, stack: str = "1") -> Dataset:
    groups = Dataset()
    groups.FrameContentSequence = item(
        StackID=stack,
        InStackPositionNumber=position + 1,
        FrameAcquisitionDateTime="20240102030405.5+0100",
    )
    groups.PlanePositionSequence = item(ImagePositionPatient=[-10, -20, 3.0 * position])
    groups.MREchoSequence = item(EffectiveEchoTime=echo_time)
    return groups


def enhanced_mr(per_frame: list[Dataset], pixels: np.ndarray) -> Dataset:
    """A minimal enhanced MR image of 12-bit frames [n, rows, columns]."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.Modality, dataset.PatientName, dataset.PatientID = "MR", "CANARY^SECRET", "CANARY"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.StudyID = "19111111", "O", "1"
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "20240102", "030405", ""
    dataset.ReferringPhysicianName, dataset.Manufacturer = "", "maker"
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.3.5", "1.2.3.6"
    dataset.FrameOfReferenceUID, dataset.SeriesNumber, dataset.InstanceNumber = "1.2.3.7", 4, 1
    dataset.PatientPosition, dataset.ImageType = "HFS", ["ORIGINAL", "PRIMARY", "T2", "NONE"]
    dataset.EchoPulseSequence, dataset.MRAcquisitionType = "SPIN", "2D"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    shared = Dataset()
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.5, 2.0], SliceThickness=3.0)
    shared.MRTimingAndRelatedParametersSequence = item(
        RepetitionTime=2000.0, FlipAngle=90.0, EchoTrainLength=1
    )
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(per_frame)
    dataset.PixelData = pixels.astype("<u2").tobytes()
    return dataset


@pytest.fixture
def pixels():
    return np.random.default_rng(5).integers(0, 4096, SHAPE)


@pytest.fixture
def write(tmp_path, pixels):
    """Writes an enhanced file from the groups of its frames."""

    def save(per_frame, alter=lambda dataset: None):
        dataset = enhanced_mr(per_frame, pixels)
        alter(dataset)
        path = tmp_path / "enhanced.dcm"
        dataset.save_as(path, enforce_file_format=True)
        return path

    return save


def refused(path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_scan(path)
    assert "CANARY" not in str(caught.value)
    return caught.value


def test_frames_lie_where_their_functional_groups_say(write, pixels):
    path = write([frame_groups(position) for position in (2, 0, 3, 1)])
    scan = read_scan(path)
    assert np.array_equal(scan.voxels.T, pixels[[1, 3, 0, 2]])
    assert scan.spacing_mm == (2.0, 0.5, 3.0)
    assert scan.source.frames == (2, 4, 1, 3)


def test_compressed_frames_are_read_one_by_one(write, pixels):
    def compress(dataset):
        dataset.compress(RLELossless, generate_instance_uid=False)

    scan = read_scan(write([frame_groups(position) for position in range(4)], compress))
    assert np.array_equal(scan.voxels.T, pixels)


@pytest.mark.parametrize(
    ("groups", "code", "named", "choice", "chosen"),
    [
        (
            [frame_groups(k // 2, echo_time=(20.0, 80.0)[k % 2]) for k in range(4)],
            "duplicate_position",
            "EchoTime (0018,0081)",
            "echo=80",
            [1, 3],
        ),
        (
            [frame_groups(k % 2, stack=str(1 + k // 2)) for k in range(4)],
            "mixed_series",
            "StackID (0020,9056)",
            "stack=1",
            [0, 1],
        ),
    ],
)
def test_one_of_several_volumes_is_chosen_by_what_the_refusal_lists(
    write, pixels, groups, code, named, choice, chosen
):
    path = write(groups)
    error = refused(path)
    assert error.code == code
    assert named in str(error)
    assert choice in str(error)
    scan = read_scan(f"{path}#{choice}")
    assert np.array_equal(scan.voxels.T, pixels[chosen])


def test_volumes_of_one_file_are_different_scans(write):
    path = write([frame_groups(k // 2, echo_time=(20.0, 80.0)[k % 2]) for k in range(4)])
    hashes = {read_scan(f"{path}#echo={echo}").content_hash for echo in (20, 80)}
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("choice", "code"), [("echo=7", "missing_file"), ("colour=red", "invalid_setting")]
)
def test_a_choice_that_is_not_there_is_refused(write, choice, code):
    path = write([frame_groups(position) for position in range(4)])
    assert refused(f"{path}#{choice}").code == code


@pytest.mark.parametrize("frames", [1, 3, 9, 10**9])
def test_a_count_of_frames_that_is_not_that_of_their_groups_is_refused(write, frames):
    groups = [frame_groups(position) for position in range(4)]
    path = write(groups, lambda dataset: setattr(dataset, "NumberOfFrames", frames))
    assert "NumberOfFrames (0028,0008)" in str(refused(path))


def test_frames_are_written_back_as_classic_slices(write, pixels, derivation, tmp_path):
    scan = read_scan(write([frame_groups(position) for position in range(4)]))
    write_scan(scan, tmp_path / "out", derivation)
    results = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert len({result.SOPInstanceUID for result in results}) == 4
    for number, result in enumerate(results, start=1):
        assert result.SOPClassUID.name == "MR Image Storage"
        assert np.array_equal(result.pixel_array, pixels[number - 1])
        assert (result.EchoTime, result.RepetitionTime, result.ScanningSequence) == (80, 2000, "SE")
        assert (result.AcquisitionDate, result.AcquisitionTime) == ("20240102", "030405.5")
        source = result.SourceImageSequence[0]
        assert source.ReferencedSOPClassUID == EnhancedMRImageStorage
        assert (source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber) == (
            "1.2.3.4",
            number,
        )
        assert "PerFrameFunctionalGroupsSequence" not in result
        assert "NumberOfFrames" not in result
    assert np.array_equal(read_scan(tmp_path / "out").voxels, scan.voxels)


@pytest.mark.system("dciodvfy")
def test_validators_accept_what_frames_are_written_back_as(
    write, derivation, tmp_path, validator_errors
):
    scan = read_scan(write([frame_groups(position) for position in range(4)]))
    write_scan(scan, tmp_path / "out", derivation)
    for path in (tmp_path / "out").iterdir():
        assert validator_errors(path) == set()


def converted(folder, out):
    """The series as highdicom's legacy converted multi-frame image."""
    from highdicom import legacy

    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    convert = {
        "CT": legacy.LegacyConvertedEnhancedCTImage,
        "MR": legacy.LegacyConvertedEnhancedMRImage,
        "PT": legacy.LegacyConvertedEnhancedPETImage,
    }[slices[0].Modality]
    convert(slices, generate_uid(), 901, generate_uid(), 1).save_as(out)
    return out


@pytest.mark.parametrize("name", ["ct/sub-c02_abdomen_dicom", "mri/sub-m03_T1w_dicom"])
def test_a_real_series_reads_alike_as_slices_and_as_highdicoms_multi_frame_file(
    real_scans, tmp_path, name, validator_errors
):
    expected = read_scan(real_scans / name)
    scan = read_scan(converted(real_scans / name, tmp_path / "multi.dcm"))
    assert np.array_equal(scan.voxels, expected.voxels)
    assert np.array_equal(scan.affine, expected.affine)
    write_scan(scan, tmp_path / "out", Derivation("amir", "3", "ab" * 32, "ct-denoise"))
    again = read_scan(tmp_path / "out")
    assert np.array_equal(again.voxels, expected.voxels)


def test_a_real_whole_body_pet_has_the_same_suv_in_one_file(real_scans, tmp_path):
    folder = real_scans / "pet" / "sub-p02_wholebodyFDG_dicom"
    scan = read_scan(converted(folder, tmp_path / "multi.dcm"))
    assert np.array_equal(scan.voxels, read_scan(folder).voxels)


@pytest.mark.system("dciodvfy")
def test_validators_accept_the_slices_of_a_real_multi_frame_file(
    real_scans, tmp_path, derivation, validator_errors
):
    source = real_scans / "ct" / "sub-c02_abdomen_dicom"
    scan = read_scan(converted(source, tmp_path / "multi.dcm"))
    write_scan(scan, tmp_path / "out", derivation)
    for path in sorted((tmp_path / "out").iterdir())[::10]:
        assert validator_errors(path) == set()


def test_a_damaged_multi_frame_file_is_read_or_refused_but_never_crashes(write, refusals):
    path = write([frame_groups(position) for position in range(4)])
    content = path.read_bytes()
    random = np.random.default_rng(11)

    def damaged(_: int) -> bytes:
        changed = bytearray(content)
        for offset in random.integers(128, len(content) - 240, size=3):
            changed[offset] = int(random.integers(256))
        return bytes(changed)

    said = refusals(path, map(damaged, range(300)))
    assert len(said) > 30
    assert not any("CANARY" in message for message in said)
