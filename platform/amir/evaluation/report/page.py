"""report.html: everything about one evaluated model in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from amir import durable
from amir.config import InterpretSettings, ReportSettings, TrackingSettings
from amir.errors import InputError
from amir.evaluation.failures import SliceGain, made_worse, slice_gains
from amir.evaluation.quantities.measure import measure_split, write_quantities
from amir.evaluation.quantities.scan_quantities import ScanQuantities
from amir.evaluation.report.curves import draw_curves, read_metrics
from amir.evaluation.report.examples import draw_examples
from amir.evaluation.report.listings import (
    commands,
    list_agreement,
    list_checks,
    list_clipped,
    list_data,
    list_environment,
    list_regions,
    list_settings,
    list_worst,
    training_settings,
)
from amir.evaluation.report.quantity_figures import draw_quantities
from amir.evaluation.report.score_figures import draw_patient_gains
from amir.evaluation.report.score_tables import view
from amir.evaluation.report.subject import Subject, read_subject
from amir.evaluation.routing.interpret import Interpretation, interpret
from amir.evaluation.routing.observed import record_routing
from amir.evaluation.tables.as_text import (
    INTERVALS,
    as_markdown,
    further_grid,
    interval_grid,
    score_grid,
)
from amir.modality import Modality
from amir.pages.render import render

TEMPLATE = Path(__file__).parent / "templates" / "report.html.j2"


def write_report(
    settings: ReportSettings, *, report: Callable[[int, int], None] = lambda done, every: None
) -> Path:
    """Write quantities, routing figures and report.html into the evaluation's folder.

    report: called with how many scans are measured of how many.
    """
    subject = read_subject(settings)
    scans = list(
        measure_split(
            subject.data,
            subject.manifest,
            subject.record.split,
            restore=subject.restore(gpu=settings.gpu),
            report=report,
        )
    )
    write_quantities(settings.evaluation, scans)
    seen = _interpret(settings, subject)
    page = render(TEMPLATE, contents(subject, scans, seen, gpu=settings.gpu))
    durable.write_text(settings.evaluation / "report.html", page)
    return settings.evaluation / "report.html"


def contents(
    subject: Subject,
    scans: list[ScanQuantities],
    seen: Interpretation | None,
    *,
    gpu: bool,
) -> dict[str, Any]:
    """What the template shows, by name."""
    table, model = subject.table, subject.model
    gains = slice_gains(subject.scores, subject.method.name)
    trained = training_settings(model)
    counts = as_markdown(table, notes=subject.record.notes).split("\n\n", 1)[1]
    return {
        "method": subject.method,
        "record": subject.record,
        "made": datetime.now(UTC).strftime("%Y-%m-%d"),
        "summary": _summary(subject, gains),
        "curves": draw_curves(read_metrics(model.folder), step=model.step),
        "scores": [
            view(score_grid(table), caption="Scores (means over slices)"),
            view(interval_grid(table), caption=INTERVALS),
            view(further_grid(table), caption="Further metrics"),
        ],
        "score_notes": [line.removeprefix("- ") for line in counts.split("\n") if line],
        "patients": list(draw_patient_gains(table)),
        "examples": list(draw_examples(subject, gains, scans, gpu=gpu)),
        "failures": list(list_worst(gains, table.tasks)),
        "quantities": list(draw_quantities(scans)),
        "quantity_lists": [
            listing
            for listing in (list_agreement(scans), list_clipped(scans), list_regions(scans))
            if listing is not None
        ],
        "checks": list(list_checks(scans)),
        "routing": list(seen.charts) if seen else [],
        "data": list_data(subject.manifest),
        "settings": [
            list_settings("Model", model.settings),
            *([list_settings("Training", trained)] if trained else []),
            list_settings("Dataset", subject.manifest.settings),
        ],
        "environment": list_environment(subject.manifest, model),
        "commands": commands(subject.data, subject.folder, subject.method.reference),
    }


def _interpret(settings: ReportSettings, subject: Subject) -> Interpretation | None:
    """The routing figures, in routing/; None for a network that has no routing."""
    try:
        with record_routing(subject.model.network()):
            pass
    except InputError:
        return None
    return interpret(
        InterpretSettings(
            model=str(subject.model.folder),
            data=subject.data,
            out=settings.evaluation / "routing",
            split=subject.record.split,
            slices=settings.slices,
            interference=settings.interference,
            seed=settings.seed,
            tracking=TrackingSettings(uri="none"),
            gpu=settings.gpu,
        )
    )


def _summary(subject: Subject, gains: list[SliceGain]) -> list[dict[str, str]]:
    """A line per task: what is gained, by how many, and how often it is lost."""
    lines = []
    for task in Modality:
        if task not in subject.table.tasks:
            continue
        gain = subject.table.gains[subject.method.name, task]
        own = [one for one in gains if one.modality is task]
        lines.append(
            {
                "task": str(task),
                "gain": f"{gain.mean:+.2f} dB",
                "span": f"{gain.lowest:+.2f} to {gain.highest:+.2f}",
                "patients": str(subject.table.patients[task]),
                "slices": str(subject.table.slices[task]),
                "worse": f"{len(made_worse(own))}",
            }
        )
    return lines
