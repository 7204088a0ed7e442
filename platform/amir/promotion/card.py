"""The model card: what a registered model is, on what it was judged, and what it must not be used
for. Generated, so that nothing in it can be forgotten.
"""

from __future__ import annotations

from amir.checkpoint import Checkpoint
from amir.dataset.manifest import Manifest
from amir.dataset.summary import summary
from amir.promotion.gate import Verdict

LIMITS = """\
- **For research only.** Not a medical device. A restored scan can show what is not there and hide
  what is.
- It has learned the scanners, protocols and degradations of its training data; on others it may do
  harm without a sign of it. Score it on scans of your own first: `jobs/evaluate.py`.
- Intensities outside the ranges below are handed through unchanged. MR has no unit: its scale is
  part of the model.
- The scores above hold for the degradation named in the dataset's manifest, not for other doses or
  acceleration factors."""

LICENCE = """\
The weights are a work of whoever trained them; no licence is attached by this tool. They carry the
terms of the training data: before passing them on, check the licences and consents of every source
in that dataset. The code is Apache-2.0."""


def model_card(
    model: Checkpoint, manifest: Manifest | None, *, table: str, verdict: Verdict | None
) -> str:
    """Markdown. manifest: of the data that the scores in `table` are from, None without any."""
    parts = [_title(model), _identity(model)]
    if manifest is not None:
        parts += [_data(model, manifest), f"## Scores\n\n{table.strip()}"]
    if verdict is not None:
        answer = "accepted" if verdict.accepted else "refused"
        parts.append(f"## Verdict of the gate: {answer}\n\n{verdict.as_markdown()}")
    parts += [f"## Limits\n\n{LIMITS}", f"## Licence\n\n{LICENCE}", _use(model)]
    return "\n\n".join(parts) + "\n"


def _title(model: Checkpoint) -> str:
    return (
        f"# {_network(model).upper()}, model {model.digest[:12]}\n\n"
        "Restores degraded MRI, CT and PET slices. Research use only."
    )


def _identity(model: Checkpoint) -> str:
    settings = model.settings
    rows = {
        "Digest": model.digest,
        "Network": _network(model),
        "Parameters": f"{sum(w.numel() for w in model.weights().values()):,}",
        "Network settings": "; ".join(
            f"{name} {value}" for name, value in settings["network"]["settings"].items()
        ),
        "Training step": str(model.step),
        "Code": str(settings["code_version"]),
        "Trained on dataset": str(settings["dataset_digest"]),
        "Ranges": "; ".join(
            f"{task} {lower:g} to {upper:g} {unit}"
            for task, (lower, upper, unit) in settings["ranges"].items()
        ),
        "Planes": "; ".join(f"{task} {plane}" for task, plane in settings["planes"].items()),
        "Intensity scale of MR": "; ".join(f"{k} {v}" for k, v in settings["intensity"].items()),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["## Model", "", "| | |", "|---|---|", *lines])


def _data(model: Checkpoint, manifest: Manifest) -> str:
    own = manifest.dataset_digest == model.settings["dataset_digest"]
    said = "The dataset it was trained and judged on" if own else "Judged on another dataset"
    return f"## Data\n\n{said}:\n\n{summary(manifest)}"


def _use(model: Checkpoint) -> str:
    return (
        "## Use\n\nWith this folder alone:\n\n```\n"
        "python jobs/restore.py --model ./THIS_FOLDER --input SCAN --out RESTORED\n```"
    )


def _network(model: Checkpoint) -> str:
    return str(model.settings["network"]["name"])
