"""The dataset folder's manifest: what was made from what, and the digests that prove it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from amir import durable
from amir.config import IntensityScale
from amir.dataset.cohort import SPLITS, Split
from amir.dataset.shard import damaged_place
from amir.errors import InputError
from amir.modality import Modality

FORMAT = 1


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True)


class ShardEntry(Entry):
    """One Parquet file: the slices of one scan.

    air: slices that hold nothing else and were left out. source: sha256 over the scan's files.
    """

    file: str
    patient_id: str
    scan_id: str
    modality: Modality
    rows: int
    air: int
    sha256: str
    voxels: int
    clipped: int
    parameters: dict[str, Any]
    source: str

    @property
    def number(self) -> int:
        """The scan's place in the cohort, ordered by patient."""
        return int(Path(self.file).stem)


class Refusal(Entry):
    """A scan that was left out, and why. number, source: as a shard has them."""

    number: int
    patient_id: str
    modality: Modality
    file: str
    code: str
    reason: str
    source: str


class Counts(Entry):
    """How much a split holds of a modality. air: slices left out."""

    patients: int
    scans: int
    slices: int
    air: int
    voxels: int
    clipped: int


class Manifest(Entry):
    """What a dataset folder holds."""

    format: int = FORMAT
    settings: dict[str, Any]
    intensity: IntensityScale
    counts: dict[Split, dict[Modality, Counts]]
    shards: dict[Split, list[ShardEntry]]
    refused: list[Refusal]
    ranges: dict[str, list[float]]
    versions: dict[str, str]
    split_digest: str
    dataset_digest: str

    def patients(self, split: Split, modality: Modality | None = None) -> list[str]:
        shards = self.of(split, modality)
        return sorted({shard.patient_id for shard in shards})

    def of(self, split: Split, modality: Modality | None = None) -> list[ShardEntry]:
        return [s for s in self.shards[split] if modality in (None, s.modality)]

    def slices(self, split: Split, modality: Modality | None = None) -> int:
        return sum(shard.rows for shard in self.of(split, modality))


def make_manifest(
    *,
    settings: Mapping[str, Any],
    intensity: IntensityScale,
    shards: Mapping[Split, Sequence[ShardEntry]],
    refused: Sequence[Refusal],
    ranges: Mapping[str, list[float]],
    versions: Mapping[str, str],
) -> Manifest:
    """A manifest with its digests."""
    return Manifest(
        settings=dict(settings),
        intensity=intensity,
        counts=_counts(shards),
        shards={split: list(shards[split]) for split in SPLITS},
        refused=list(refused),
        ranges=dict(ranges),
        versions=dict(versions),
        split_digest=_split_digest(shards),
        dataset_digest=_dataset_digest(shards, settings),
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    durable.write_text(folder / "manifest.json", manifest.model_dump_json(indent=1))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a dataset folder; InputError says what is wrong with it."""
    try:
        text = (folder / "manifest.json").read_text(encoding="utf-8")
        tree = json.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            "missing_file",
            f"{folder} is no dataset folder (no manifest.json); make one with "
            "jobs/prepare_dataset.py",
        ) from None
    except (OSError, ValueError) as error:
        raise _damaged(folder, str(error)) from None
    if not isinstance(tree, dict) or not isinstance(tree.get("format"), int):
        raise _damaged(folder, "it does not say its format")
    if tree["format"] > FORMAT:
        raise InputError(
            "invalid_dataset",
            f"dataset {folder} has format {tree['format']}, this version reads up to {FORMAT}: "
            "update the platform",
        )
    return _verified(folder, tree)


def _verified(folder: Path, tree: dict[str, Any]) -> Manifest:
    try:
        manifest = Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _damaged(folder, f"{place}: {first['msg']}") from None
    if set(manifest.shards) != set(SPLITS):
        raise _damaged(folder, f"its splits are {', '.join(manifest.shards)}")
    stated = manifest.split_digest, manifest.dataset_digest
    shards = manifest.shards
    if stated != (_split_digest(shards), _dataset_digest(shards, manifest.settings)):
        raise _damaged(folder, "its digests do not fit what it lists")
    if manifest.counts != _counts(shards):
        raise _damaged(folder, "its counts do not fit what it lists")
    return manifest


def _damaged(folder: Path, reason: str) -> InputError:
    return InputError(
        "invalid_dataset",
        f"the manifest of {folder} is damaged: {reason}; remove the folder and prepare the dataset "
        "again",
    )


def check_shards(folder: Path, manifest: Manifest) -> None:
    """Compare every shard with its digest; the first that differs is named."""
    for _, fault in shard_faults(folder, manifest):
        raise InputError(
            "invalid_dataset", f"{fault}; remove the folder and prepare the dataset again"
        )


def sound_part(folder: Path, manifest: Manifest) -> tuple[Manifest, list[str]]:
    """The manifest without missing and damaged shards, and what is wrong with each of these.

    Its digests stay those of the whole dataset.
    """
    faults = {entry.file: fault for entry, fault in shard_faults(folder, manifest)}
    shards = {
        split: [entry for entry in entries if entry.file not in faults]
        for split, entries in manifest.shards.items()
    }
    return manifest.model_copy(update={"shards": shards, "counts": _counts(shards)}), [
        *faults.values()
    ]


def shard_faults(folder: Path, manifest: Manifest) -> Iterator[tuple[ShardEntry, str]]:
    """Which shards are missing or damaged, file by file, and where."""
    for entry in (entry for split in SPLITS for entry in manifest.shards[split]):
        path = folder / entry.file
        if not path.is_file():
            yield entry, f"shard {entry.file} is missing in {folder}"
        elif durable.sha256(path) != entry.sha256:
            yield (
                entry,
                f"shard {entry.file} (patient {entry.patient_id}) is damaged: its content does not "
                f"match the manifest ({damaged_place(folder, entry.file)})",
            )


def verify(folder: Path) -> list[str]:
    """Every fault of a dataset folder: its manifest, its shards, and shards that are not listed."""
    if not (folder / "manifest.json").is_file():
        read_manifest(folder)  # says that this is no dataset
    try:
        manifest = read_manifest(folder)
    except InputError as error:
        return [str(error)]
    listed = {entry.file for split in SPLITS for entry in manifest.shards[split]}
    found = {path.relative_to(folder).as_posix() for path in folder.glob("*/*.parquet")}
    strays = [f"{name} is not in the manifest of {folder}" for name in sorted(found - listed)]
    return [*(fault for _, fault in shard_faults(folder, manifest)), *strays]


def _counts(shards: Mapping[Split, Sequence[ShardEntry]]) -> dict[Split, dict[Modality, Counts]]:
    return {
        split: {
            modality: _count([entry for entry in shards[split] if entry.modality is modality])
            for modality in Modality
            if any(entry.modality is modality for entry in shards[split])
        }
        for split in SPLITS
    }


def _count(entries: Sequence[ShardEntry]) -> Counts:
    return Counts(
        patients=len({entry.patient_id for entry in entries}),
        scans=len(entries),
        slices=sum(entry.rows for entry in entries),
        air=sum(entry.air for entry in entries),
        voxels=sum(entry.voxels for entry in entries),
        clipped=sum(entry.clipped for entry in entries),
    )


def _split_digest(shards: Mapping[Split, Sequence[ShardEntry]]) -> str:
    """Over who is in which split."""
    return _digest({split: sorted({s.patient_id for s in shards[split]}) for split in SPLITS})


def _dataset_digest(
    shards: Mapping[Split, Sequence[ShardEntry]], settings: Mapping[str, Any]
) -> str:
    """Over every shard and the settings."""
    files = sorted(shard.sha256 for split in SPLITS for shard in shards[split])
    return _digest([files, settings])


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
