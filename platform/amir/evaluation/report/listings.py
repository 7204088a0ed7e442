"""Tables of the report beside the scores: quantities, failures, data, settings, environment."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amir.checkpoint import Checkpoint
from amir.code_version import versions
from amir.command_line import read_yaml
from amir.dataset.cohort import SPLITS
from amir.dataset.manifest import Manifest
from amir.evaluation.failures import SliceGain, made_worse
from amir.evaluation.quantities.agreement import Agreement
from amir.evaluation.quantities.measure import suv_agreement
from amir.evaluation.quantities.scan_quantities import ScanQuantities, assumption
from amir.evaluation.report.quantity_figures import SUV_NAMES
from amir.modality import MODELLING_RANGES, Modality
from amir.pages.listing import Listing

WORST, MOST_REGIONS = 5, 12
CHECKS = {
    "kspace": (
        ("inside", "change inside the sampled k-space, RMS"),
        ("inside_target", "the same for the target"),
        ("outside", "detail added outside of it, RMS"),
        ("outside_target", "the same for the target"),
        ("free_error", "error outside, which no measurement refutes, RMS"),
    ),
    "low_dose": (
        ("residual", "change of the projections, in units of their noise"),
        ("residual_target", "the same for the target"),
    ),
    "low_count": (
        ("residual", "change of the projections, in units of their noise"),
        ("residual_target", "the same for the target"),
    ),
}


def list_agreement(scans: Sequence[ScanQuantities]) -> Listing | None:
    """PET: concordance, bias and limits of each SUV quantity, before and after."""
    rows = [
        (f"{SUV_NAMES[quantity]}, {image}", *_agreement(found))
        for quantity, images in suv_agreement(scans).items()
        for image, found in images.items()
    ]
    if not rows:
        return None
    return Listing(
        "PET: agreement with the target over scans",
        ("Quantity", "Scans", "Concordance (Lin)", "Bias", "Limits of agreement (95 %)"),
        tuple(rows),
        "Bias: mean difference to the target, SUV (total activity: sum of SUV over voxels).",
    )


def list_regions(scans: Sequence[ScanQuantities]) -> Listing | None:
    """PET: hot regions, their SUVmax and SUVmean before and after."""
    regions = [(scan, region) for scan in scans for region in scan.hot_regions]
    if not any(scan.modality is Modality.PET for scan in scans):
        return None
    rows = [
        (
            f"{scan.patient_id} {scan.scan_id[:4]}",
            f"{region.volume_ml:.1f}",
            f"{region.suv_max_target:.2f}",
            f"{region.suv_max_restored:.2f}",
            f"{region.suv_mean_target:.2f}",
            f"{region.suv_mean_restored:.2f}",
        )
        for scan, region in sorted(regions, key=lambda one: -one[1].suv_max_target)[:MOST_REGIONS]
    ]
    told = f" All {len(regions)} are in hot_regions.parquet." if len(regions) > len(rows) else ""
    return Listing(
        "PET: hot regions",
        ("Scan", "ml", "SUVmax target", "restored", "SUVmean target", "restored"),
        tuple(rows),
        "Connected voxels above 41 % of a local maximum above SUV 2.5 in the target, 1 ml or more, "
        "hottest first." + (told if rows else " There is none in these scans."),
    )


def list_clipped(scans: Sequence[ScanQuantities]) -> Listing:
    """Voxels that no network sees, and those that stand at the end of the range."""
    rows = []
    for task, own in _by_task(scans):
        slices = [row for scan in own for row in scan.slices]
        voxels = sum(row["voxels"] for row in slices)
        limits = MODELLING_RANGES[task]
        rows.append(
            (
                str(task),
                f"{limits.lower:g} to {limits.upper:g} {limits.unit}",
                f"{voxels:,}",
                *(
                    f"{sum(row[name] for row in slices) / voxels:.4%}"
                    for name in ("handed_through", "at_limit")
                ),
            )
        )
    return Listing(
        "Clipped voxels",
        ("Task", "Modelling range", "Voxels", "Handed through", "Restored to the upper end"),
        tuple(rows),
        "Handed through: outside the range in the degraded scan; they come back unchanged.",
    )


def list_checks(scans: Sequence[ScanQuantities]) -> Iterator[Listing]:
    """What the restorations did to the measured data, and what that takes for granted."""
    for task, own in _by_task(scans):
        for degradation in sorted({scan.degradation for scan in own}):
            chosen = [scan for scan in own if scan.degradation == degradation]
            yield _check(task, degradation, chosen)


def list_worst(gains: Sequence[SliceGain], tasks: Sequence[Modality]) -> Iterator[Listing]:
    """The worst slices of each task, and how many a model made worse than the input."""
    for task in tasks:
        own = [gain for gain in gains if gain.modality is task]
        worse = len(made_worse(own))
        yield Listing(
            f"{task}: worst slices of {len(own)}",
            ("Patient", "Scan", "Slice", "PSNR before", "after", "Gain, dB"),
            tuple(
                (
                    one.patient_id,
                    one.scan_id[:8],
                    str(one.slice_index),
                    f"{one.psnr_degraded:.2f}",
                    f"{one.psnr:.2f}",
                    f"{one.gain:+.2f}",
                )
                for one in own[:WORST]
            ),
            f"{worse} of {len(own)} slices ({worse / max(1, len(own)):.1%}) got worse.",
        )


def list_data(manifest: Manifest) -> Listing:
    """Who is in the dataset."""
    rows = []
    for task in Modality:
        for split in SPLITS:
            shards = manifest.of(split, task)
            if shards:
                clipped = sum(s.clipped for s in shards) / sum(s.voxels for s in shards)
                people = len(manifest.patients(split, task))
                counts = (people, len(shards), manifest.slices(split, task))
                kinds = ", ".join(sorted({str(s.parameters["name"]) for s in shards}))
                rows.append((f"{task} {split}", *map(str, counts), kinds, f"{clipped:.3%}"))
    refused = [f"{r.patient_id}: {r.reason}" for r in manifest.refused]
    return Listing(
        "Dataset",
        ("Task and split", "Patients", "Scans", "Slices", "Degradation", "Voxels out of range"),
        tuple(rows),
        f"Refused scans: {'; '.join(refused) or 'none'}.",
    )


def list_settings(caption: str, tree: Mapping[str, Any]) -> Listing:
    """Settings with their dotted names."""
    rows = tuple((name, _spelled(value)) for name, value in _flat(tree))
    return Listing(caption, ("Setting", "Value"), rows)


def training_settings(model: Checkpoint) -> dict[str, Any]:
    """What the run was started with; empty where the checkpoint stands alone."""
    file = model.folder.parent.parent / "settings.yaml"
    return read_yaml(file) if file.is_file() else {}


def list_environment(manifest: Manifest, model: Checkpoint) -> Listing:
    """Versions: of this page's making, of the dataset's, and the code that trained."""
    here = versions() | {"python": platform.python_version(), "machine": platform.machine()}
    names = dict.fromkeys([*here, *manifest.versions])
    trained = {"code": str(model.settings["code_version"])}
    rows = tuple(
        (name, here.get(name, ""), manifest.versions.get(name, ""), trained.get(name, ""))
        for name in names
    )
    return Listing("Environment", ("", "this page", "dataset", "training"), rows)


def commands(data: Path, evaluation: Path, run: str) -> str:
    """How to make all of this again, with names in place of this machine's folders."""
    storage = "storage"
    return "\n".join(
        [
            f"python jobs/prepare_dataset.py --cohort cohort.csv --out {data.name}",
            f"python jobs/train_all_in_one.py --config settings.yaml --data {data.name} "
            f"--run {run}",
            f"python jobs/evaluate.py --data {data.name} --models {run} --storage {storage} "
            f"--out {evaluation.name} --keep-restored true",
            f"python jobs/report.py --evaluation {evaluation.name}",
        ]
    )


def _agreement(found: Agreement) -> tuple[str, ...]:
    limits = "too few scans" if np.isnan(found.lower) else f"{found.lower:.4g} to {found.upper:.4g}"
    concordance = "undefined" if np.isnan(found.concordance) else f"{found.concordance:.3f}"
    return str(found.n), concordance, f"{found.bias:+.4g}", limits


def _by_task(
    scans: Sequence[ScanQuantities],
) -> Iterator[tuple[Modality, list[ScanQuantities]]]:
    for task in Modality:
        own = [scan for scan in scans if scan.modality is task]
        if own:
            yield task, own


def _check(task: Modality, degradation: str, scans: Sequence[ScanQuantities]) -> Listing:
    rows = []
    for name, told in CHECKS.get(degradation, ()):
        each = [
            scan.totals[name]
            if name in scan.totals
            else float(np.mean([row[name] for row in scan.slices]))
            for scan in scans
        ]
        known = [value for value in each if np.isfinite(value)] or [np.nan]
        rows.append((told, f"{np.mean(known):.3g}", f"{min(known):.3g}", f"{max(known):.3g}"))
    return Listing(
        f"{task}: could the scanner have measured it ({degradation})",
        ("Quantity", "Mean of scans", "Least", "Most"),
        tuple(rows),
        assumption(degradation),
    )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + str(name), value


def _spelled(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_spelled, value))
    return "" if value is None else str(value)
