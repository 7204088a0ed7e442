"""The manifest: what a dataset holds, proven by digests; and shards whose damage is found."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amir.dataset.cohort import SPLITS
from amir.dataset.manifest import check_shards, read_manifest, sound_part, verify
from amir.dataset.shard import Shard
from amir.dataset.slices import middle_slice, read_shard, spread_slices
from amir.dataset.summary import summary
from amir.errors import InputError
from amir.modality import Modality


@pytest.fixture
def copy(tiny_dataset: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_dataset, tmp_path / "copy")


def refusal(folder: Path, code: str = "invalid_dataset") -> str:
    with pytest.raises(InputError) as caught:
        read_manifest(folder)
    assert caught.value.code == code
    return str(caught.value)


def altered(folder: Path, alter: Callable[[dict[str, Any]], object]) -> Path:
    tree = json.loads((folder / "manifest.json").read_text())
    alter(tree)
    (folder / "manifest.json").write_text(json.dumps(tree))
    return folder


def test_it_counts_patients_scans_and_slices(tiny_dataset: Path) -> None:
    manifest = read_manifest(tiny_dataset)
    assert manifest.patients("train", Modality.CT) == ["phantom-ct-000", "phantom-ct-001"]
    assert len(manifest.patients("test")) == 3
    assert manifest.slices("train", Modality.CT) == 8
    assert len(manifest.of("validation")) == 3


def test_the_summary_names_every_task_split_and_digest(tiny_dataset: Path) -> None:
    manifest = read_manifest(tiny_dataset)
    told = summary(manifest)
    assert "| CT | train | 2 | 2 | 8 | 0 | 0.0000% |" in told
    assert all(f"| {task} | {split} |" in told for task in Modality for split in SPLITS)
    assert manifest.dataset_digest[:12] in told


def test_the_summary_tells_the_photons_of_every_simulated_ct_scan(tiny_dataset: Path) -> None:
    manifest = read_manifest(tiny_dataset)
    assert summary(manifest).count("photons per ray, from the") == 4
    assert manifest.of("test", Modality.CT)[0].parameters["photons"] > 0


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (lambda m: m["shards"]["test"].append(m["shards"]["train"].pop()), "digests do not fit"),
        (lambda m: m["shards"]["test"].pop(), "digests do not fit"),
        (lambda m: m["settings"].update(seed=1), "digests do not fit"),
        (lambda m: m["counts"]["test"]["CT"].update(patients=7), "counts do not fit what it lists"),
        (lambda m: m["shards"].pop("test"), "its splits are train, validation"),
        (lambda m: m["shards"]["test"][0].pop("rows"), "shards.test.0.rows: Field required"),
        (lambda m: m.pop("format"), "it does not say its format"),
        (lambda m: m.update(format=2), "has format 2, this version reads up to 1: update"),
    ],
)
def test_what_does_not_fit_is_refused(
    alter: Callable[[dict[str, Any]], object], told: str, copy: Path
) -> None:
    assert told in refusal(altered(copy, alter))


def test_what_is_no_dataset_is_refused_with_a_remedy(tmp_path: Path, copy: Path) -> None:
    assert "make one with jobs/prepare_dataset.py" in refusal(tmp_path / "none", "missing_file")
    text = (copy / "manifest.json").read_text()
    for broken in ("", text[:1000], "[]", text.replace("sha256", "sha255")):
        (copy / "manifest.json").write_text(broken)
        assert "remove the folder and prepare the dataset again" in refusal(copy)


def test_every_flipped_bit_and_cut_of_a_shard_is_found_by_its_digest(copy: Path) -> None:
    manifest, generator = read_manifest(copy), random.Random(5)
    check_shards(copy, manifest)
    for _ in range(50):
        shard = generator.choice([s for split in SPLITS for s in manifest.of(split)])
        sound = (copy / shard.file).read_bytes()
        damaged = bytearray(sound)
        place = generator.randrange(len(sound))
        damaged[place] ^= 1 << generator.randrange(8)
        (copy / shard.file).write_bytes(damaged if place % 3 else sound[:place])
        with pytest.raises(InputError, match=f"shard {shard.file} .patient {shard.patient_id}"):
            check_shards(copy, manifest)
        (copy / shard.file).write_bytes(sound)


def test_damage_is_told_with_its_rows_and_what_is_sound_can_be_used_without_it(copy: Path) -> None:
    manifest = read_manifest(copy)
    missing, damaged = manifest.of("train", Modality.CT)[0], manifest.of("train", Modality.PET)[0]
    content = bytearray((copy / damaged.file).read_bytes())
    content[content.index(Shard(copy, damaged.file).group(1, ["target"])[0]["target"])] ^= 8
    (copy / damaged.file).write_bytes(content)
    (copy / missing.file).unlink()
    sound, faults = sound_part(copy, manifest)
    assert any(fault.endswith("(rows 8 to 15)") for fault in faults), faults
    assert any(f"shard {missing.file} is missing" in fault for fault in faults), faults
    assert sound.slices("train") == manifest.slices("train") - damaged.rows - missing.rows
    assert sound.dataset_digest == manifest.dataset_digest
    check_shards(copy, sound)
    assert sound_part(copy, sound) == (sound, [])


def test_verifying_names_every_fault_and_a_sound_dataset_has_none(copy: Path) -> None:
    assert verify(copy) == []
    manifest = read_manifest(copy)
    damaged, missing = manifest.of("train")[0].file, manifest.of("test")[0].file
    (copy / damaged).write_bytes((copy / damaged).read_bytes()[:-1])
    (copy / missing).rename(copy / "train" / "99999.parquet")
    told = verify(copy)
    assert len(told) == 3
    assert f"shard {damaged} (patient {manifest.of('train')[0].patient_id}) is damaged" in told[0]
    assert f"shard {missing} is missing" in told[1]
    assert "train/99999.parquet is not in the manifest" in told[2]
    (copy / "manifest.json").write_text("{}")
    assert "manifest" in " ".join(verify(copy))
    with pytest.raises(InputError, match="is no dataset folder"):
        verify(copy / "train")


def test_a_missing_shard_is_named(copy: Path) -> None:
    manifest = read_manifest(copy)
    (copy / manifest.of("test")[0].file).unlink()
    with pytest.raises(InputError, match=r"shard test/\d{5}\.parquet is missing"):
        check_shards(copy, manifest)


def test_damaged_pixels_are_found_when_read_and_named_with_their_rows(copy: Path) -> None:
    shard = read_manifest(copy).of("train", Modality.PET)[0]
    pixels = Shard(copy, shard.file).group(1, ["target"])[0]["target"]
    content = (copy / shard.file).read_bytes()
    place = content.index(pixels) + len(pixels) // 2
    damaged = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    (copy / shard.file).write_bytes(damaged)
    reading = read_shard(copy, shard)
    for _ in range(8):
        next(reading)
    with pytest.raises(InputError, match=f"shard {shard.file}, rows 8 to 15: .*") as caught:
        next(reading)
    assert caught.value.code == "invalid_dataset"


def test_any_damage_to_a_shard_is_an_error_that_names_it_or_does_no_harm(copy: Path) -> None:
    shard = read_manifest(copy).of("test", Modality.CT)[0]
    sound, generator = (copy / shard.file).read_bytes(), random.Random(1)
    truth = [pair.target.tobytes() for pair in read_shard(copy, shard)]
    messages = []
    for _ in range(200):
        place = generator.randrange(len(sound))
        damaged = bytearray(sound)
        damaged[place] ^= 1 << generator.randrange(8)
        (copy / shard.file).write_bytes(damaged if place % 4 else sound[:place])
        try:
            assert [pair.target.tobytes() for pair in read_shard(copy, shard)] == truth
        except InputError as error:
            messages.append((error.code, str(error)))
    assert len(messages) > 190  # the rest hit what reading does not need
    assert all(code == "invalid_dataset" and shard.file in told for code, told in messages)


def test_slices_to_look_at_are_the_same_each_time_and_spread(tiny_dataset: Path) -> None:
    manifest = read_manifest(tiny_dataset)
    pairs = spread_slices(tiny_dataset, manifest, "train", Modality.PET, 5)
    again = spread_slices(tiny_dataset, manifest, "train", Modality.PET, 5)
    places = [(pair.patient_id, pair.slice_index) for pair in pairs]
    assert places == [(pair.patient_id, pair.slice_index) for pair in again]
    assert len({patient for patient, _ in places}) == 2
    assert len(spread_slices(tiny_dataset, manifest, "test", Modality.CT, 99)) == 4
    middle = middle_slice(tiny_dataset, manifest, "test", Modality.CT)
    assert middle.slice_index == 2
    assert middle.target.shape == (48, 48)
