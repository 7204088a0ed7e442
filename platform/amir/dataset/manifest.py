"""The dataset folder's manifest: what was made from what, and the digests that prove it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from amir import durable
from amir.config import IntensityScale
from amir.dataset.cohort import SPLITS, Split
from amir.errors import InputError
from amir.modality import Modality

FORMAT = 1


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True)


class ShardEntry(Entry):
    """One Parquet file: the slices of one scan."""

    file: str
    patient_id: str
    scan_id: str
    modality: Modality
    rows: int
    sha256: str
    voxels: int
    clipped: int
    parameters: dict[str, Any]


class Refusal(Entry):
    """A scan that was left out, and why."""

    patient_id: str
    file: str
    code: str
    reason: str


class Manifest(Entry):
    """What a dataset folder holds."""

    format: int = FORMAT
    settings: dict[str, Any]
    intensity: IntensityScale
    shards: dict[str, list[ShardEntry]]
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
    shards: Mapping[str, Sequence[ShardEntry]],
    refused: Sequence[Refusal],
    ranges: Mapping[str, list[float]],
    versions: Mapping[str, str],
) -> Manifest:
    """A manifest with its digests: over who is in which split, and over every shard and the
    settings.
    """
    people = {split: sorted({s.patient_id for s in shards[split]}) for split in SPLITS}
    files = sorted(shard.sha256 for split in SPLITS for shard in shards[split])
    return Manifest(
        settings=dict(settings),
        intensity=intensity,
        shards={split: list(shards[split]) for split in SPLITS},
        refused=list(refused),
        ranges=dict(ranges),
        versions=dict(versions),
        split_digest=_digest(people),
        dataset_digest=_digest([files, settings]),
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    durable.write_text(folder / "manifest.json", manifest.model_dump_json(indent=1))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a dataset folder; InputError("invalid_dataset") says what is wrong with it."""
    path = folder / "manifest.json"
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest.model_validate(tree)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            "missing_file",
            f"{folder} is no dataset folder (no manifest.json); make one with jobs/prepare_dataset.py",
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise InputError("invalid_dataset", f"{path} is damaged: {error}") from None
    if manifest.format > FORMAT:
        raise InputError(
            "invalid_dataset",
            f"{path} has format {manifest.format}, this version reads up to {FORMAT}",
        )
    return manifest


def check_shards(folder: Path, manifest: Manifest) -> None:
    """Compare every shard with its digest; the first that differs is named."""
    for split in SPLITS:
        for shard in manifest.shards[split]:
            path = folder / shard.file
            if not path.is_file():
                raise InputError("invalid_dataset", f"shard {shard.file} is missing in {folder}")
            if durable.sha256(path) != shard.sha256:
                raise InputError(
                    "invalid_dataset",
                    f"shard {shard.file} (patient {shard.patient_id}) is damaged: its content does "
                    "not match the manifest; prepare the dataset again",
                )


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
