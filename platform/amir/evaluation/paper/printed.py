"""The numbers that the paper prints (scores.csv), to stand beside ours and never in their place."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

Numbers = Mapping[str, str]


def printed(table: str, row: str) -> Numbers:
    """Column -> number as printed, empty where the paper prints none.

    Columns: params_M (millions), {mri,ct,pet,mean}_{psnr,ssim,rmse}.
    """
    return _rows()[table, row]


@cache
def _rows() -> dict[tuple[str, str], Numbers]:
    text = files("amir.evaluation.paper").joinpath("scores.csv").read_text(encoding="utf-8")
    return {(line["table"], line["row"]): line for line in csv.DictReader(text.splitlines())}
