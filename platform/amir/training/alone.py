"""A training run in this process and without Ray, for what is small and many; else the same run."""

from __future__ import annotations

import torch

from amir.config import TrainSettings
from amir.dataset.reader import Reader
from amir.training.ray_trainer import check
from amir.training.record import open_record
from amir.training.run_folder import RunFolder, claim
from amir.training.worker import build_state, work, worker_task


def train_alone(settings: TrainSettings) -> RunFolder:
    """Train on the CPU as one worker would; an unfinished run of the same name goes on.

    The shards are taken as they are: check_shards before the first of many runs.
    """
    manifest = check(settings)
    torch.set_num_threads(settings.workers.threads or 1)
    device = torch.device("cpu")
    with claim(settings, manifest.dataset_digest) as folder:
        record = open_record(settings, manifest.dataset_digest, folder)
        folder.set_status("running")
        try:
            task = worker_task(settings, manifest, folder, record)
            work(task, build_state(settings, device), feed=Reader.batches, device=device)
        except Exception as error:
            folder.set_status("failed", reason=type(error).__name__)
            record.finish("FAILED")
            raise
        record.finish()
        folder.set_status("finished", steps=settings.steps)
    return folder
