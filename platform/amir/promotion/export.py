"""A model to take away: weights, settings, card, checksums, and the network as a program."""

from __future__ import annotations

import json
from pathlib import Path

from amir import checkpoint, durable
from amir.checkpoint import Checkpoint
from amir.config import ExportSettings
from amir.promotion.card import model_card
from amir.promotion.program import LARGEST, MULTIPLE, write_program
from amir.references import find_model

CARD = "card.md"


def export_model(settings: ExportSettings) -> tuple[Checkpoint, float | None]:
    """The exported model, and the largest deviation of its program, None without one.

    The folder is a model reference: jobs/restore.py --model FOLDER takes it, digest and all.
    """
    found = find_model(settings.model, storage=settings.storage, tracking_uri=settings.tracking.uri)
    deviation = None
    with durable.new_folder(settings.out) as folder:
        checkpoint.copy_model(found, folder)
        durable.write_text(folder / CARD, _card(found))
        if settings.program:
            deviation = write_program(found.network(), folder / "network.pt2")
            durable.write_text(folder / "program.json", _facts(deviation))
        durable.write_text(folder / "SHA256SUMS", _sums(folder))
    return checkpoint.load(settings.out), deviation


def _card(found: Checkpoint) -> str:
    """The card that a registered version came with, verdict and all, else a plain one."""
    stored = found.folder / CARD
    if stored.is_file():
        return stored.read_text(encoding="utf-8")
    return model_card(found, None, table="", verdict=None)


def _facts(deviation: float) -> str:
    facts = {
        "input": "float32 [1, 1, H, W], one normalised slice in 0..1",
        "output": "float32 [1, 1, H, W], the restored slice in 0..1",
        "height_and_width": f"multiples of {MULTIPLE} from {2 * MULTIPLE} to {LARGEST * MULTIPLE}",
        "largest_deviation": deviation,
        "load": "torch.export.load('network.pt2').module()",
    }
    return json.dumps(facts, indent=1) + "\n"


def _sums(folder: Path) -> str:
    """As sha256sum writes and checks them."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return "".join(f"{durable.sha256(file)}  {file.name}\n" for file in files)
