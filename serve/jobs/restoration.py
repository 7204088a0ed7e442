"""What a job does: restore its file, unless the same was restored before."""

from __future__ import annotations

from asyncio import to_thread
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from serve.jobs.results import UNCERTAINTY, AboutResult, result_key
from serve.jobs.runner import OnProgress
from serve.jobs.store import Job, JobStore
from serve.metrics import Metrics, count_restoration
from serve.restoring.options import RestoreOptions
from serve.restoring.restoration import RestoredUpload, Tools, Upload, restore_upload
from serve.restoring.scan_files import write_deviation
from serve.restoring.upload_kinds import KINDS
from serve.restoring.uploads import Workplace


@dataclass(frozen=True, eq=False)
class JobRestoration:
    """Restores jobs of a store; see `serve.jobs.runner.Restore`."""

    store: JobStore
    tools: Tools
    workplace: Workplace
    metrics: Metrics

    async def __call__(self, job: Job, on_progress: OnProgress) -> str:
        """The key of the result."""
        options = RestoreOptions.model_validate(job.options)
        model = await self.tools.engine.choose(options.model, key=job.input_digest)
        key = _key(job, model.digest, options)
        if await to_thread(self.store.results.find, key) is not None:
            return key
        with self.workplace.desk() as desk:
            return await self._restored(job, options, desk, on_progress)

    async def _restored(
        self, job: Job, options: RestoreOptions, desk: Path, on_progress: OnProgress
    ) -> str:
        upload = _upload_of(job, self.store.upload(job))
        restored = await restore_upload(
            upload, options, self.tools, folder=desk, on_progress=on_progress
        )
        count_restoration(self.metrics, restored.report, upload.size)
        key = _key(job, restored.report.model.digest, options)
        keep = partial(
            self.store.results.keep,
            key,
            restored.path,
            _about(restored),
            uncertainty=await self._uncertainty(options, desk),
        )
        await to_thread(keep)
        return key

    async def _uncertainty(self, options: RestoreOptions, desk: Path) -> Path | None:
        """The spread over the passes as a volume to look at, if any were asked for."""
        if not options.uncertainty:
            return None
        path = desk / UNCERTAINTY
        await self.tools.files.run(write_deviation, desk, path)
        return path


def _upload_of(job: Job, path: Path) -> Upload:
    kind = next(kind for kind in KINDS if path.name == f"upload{kind.suffix}")
    return Upload(path, kind, job.input_digest, path.stat().st_size)


def _key(job: Job, model_digest: str, options: RestoreOptions) -> str:
    parameters: dict[str, Any] = options.model_dump(mode="json", exclude={"model"})
    return result_key(job.input_digest, model_digest, parameters)


def _about(restored: RestoredUpload) -> AboutResult:
    return AboutResult(
        media_type=restored.media_type,
        filename=restored.filename,
        report=restored.report.model_dump(mode="json"),
    )
