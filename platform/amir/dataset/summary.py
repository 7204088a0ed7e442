"""A dataset in a few lines, for the person who made it."""

from __future__ import annotations

from amir.dataset.cohort import SPLITS
from amir.dataset.manifest import Manifest
from amir.modality import Modality


def summary(manifest: Manifest) -> str:
    """Patients, scans and slices per task and split, clipped voxels, and what was refused."""
    lines = ["| task | split | patients | scans | slices | voxels outside the range |"]
    lines.append("|---|---|---|---|---|---|")
    for task in Modality:
        for split in SPLITS:
            shards = manifest.of(split, task)
            if not shards:
                continue
            clipped = sum(s.clipped for s in shards) / sum(s.voxels for s in shards)
            lines.append(
                f"| {task} | {split} | {len(manifest.patients(split, task))} | {len(shards)} | "
                f"{manifest.slices(split, task)} | {clipped:.4%} |"
            )
    for refusal in manifest.refused:
        lines.append(f"refused [{refusal.code}]: patient {refusal.patient_id}, {refusal.reason}")
    lines.append(f"dataset digest {manifest.dataset_digest[:12]}")
    return "\n".join(lines)
