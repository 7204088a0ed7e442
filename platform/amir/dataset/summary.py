"""A dataset in a few lines, for the person who made it."""

from __future__ import annotations

from amir.dataset.cohort import SPLITS
from amir.dataset.manifest import Manifest
from amir.modality import Modality


def summary(manifest: Manifest) -> str:
    """Patients, scans, slices per task and split; photons of simulated CT; what was refused."""
    head = "task", "split", "patients", "scans", "slices", "of air, left out", "voxels clipped"
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for task in Modality:
        for split in SPLITS:
            count = manifest.counts[split].get(task)
            if count is not None:
                lines.append(
                    f"| {task} | {split} | {count.patients} | {count.scans} | {count.slices} | "
                    f"{count.air} | {count.clipped / count.voxels:.4%} |"
                )
    lines += _photons(manifest)
    for refusal in manifest.refused:
        lines.append(f"refused [{refusal.code}]: patient {refusal.patient_id}, {refusal.reason}")
    if manifest.refused:
        lines.append(f"refused scans: {len(manifest.refused)}")
    lines.append(f"dataset digest {manifest.dataset_digest[:12]}")
    return "\n".join(lines)


def _photons(manifest: Manifest) -> list[str]:
    """The incident photons per ray of each CT scan that was degraded here, and who told them."""
    return [
        f"patient {shard.patient_id}, scan {shard.scan_id}: {shard.parameters['photons']:.3g} "
        f"photons per ray, from the {shard.parameters['photons_from']}"
        for split in SPLITS
        for shard in manifest.of(split, Modality.CT)
        if "photons" in shard.parameters
    ]
