"""Volumes to look at: what was sent and what came of it, in one orientation for the page."""

from __future__ import annotations

import shutil
from asyncio import to_thread
from contextlib import suppress
from pathlib import Path
from typing import Literal
from uuid import uuid4

from amir.imaging import read_scan
from amir.modality import Modality
from serve.jobs.store import PARTIAL, Job, JobState, JobStore
from serve.restoring.restoration import Tools

ViewName = Literal["degraded", "restored", "uncertainty"]


async def view_of(
    store: JobStore, tools: Tools, job: Job, state: JobState, name: ViewName, *, desk: Path
) -> Path | None:
    """The file of a view, made when it is first asked for; None if the job has none.

    desk: an empty folder to work in.
    """
    if name == "uncertainty":
        return await to_thread(store.results.uncertainty, state.result)
    kept = store.path(job.id) / f"view-{name}.nii.gz"
    if kept.exists():
        return kept
    source, modality = store.upload(job), job.options.get("modality")
    if name == "restored":
        about = await to_thread(store.results.find, state.result)
        if about is None:
            return None
        source = store.results.content(state.result, about)
        modality = about.report["modality"]
    path = desk / kept.name
    await tools.files.run(
        write_view,
        source,
        path,
        modality=None if modality is None else Modality(modality),
        max_voxels=tools.limits.voxels,
    )
    with suppress(FileNotFoundError):  # the job was deleted meanwhile
        await to_thread(_keep, path, kept)
        return kept
    return path


def write_view(source: Path, path: Path, *, modality: Modality | None, max_voxels: int) -> None:
    """Read a file of a scan and write it for display; run where a process may die of it."""
    from amir.imaging.nifti_display import write_display_volume

    write_display_volume(read_scan(source, modality=modality, max_voxels=max_voxels), path)


def _keep(path: Path, kept: Path) -> None:
    beside = kept.with_name(f".{uuid4().hex}{PARTIAL}")
    shutil.copyfile(path, beside)
    beside.replace(kept)
