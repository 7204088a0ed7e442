"""What stands in each table of the paper, and which recipe makes each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amir.config import FigureName, TableName
from amir.modality import Modality

EVERY_TASK = tuple(Modality)
MRI, CT, PET = Modality
MODEL_OF_FIGURES = "amir"


@dataclass(frozen=True)
class PaperRow:
    """name: as printed. recipe: file of its settings, without .yaml. tasks: those it is scored on.

    printed: the table and row of scores.csv that hold the paper's numbers; None where the text at
    hand, which lacks the supplement, has none.
    """

    name: str
    recipe: str
    tasks: tuple[Modality, ...] = EVERY_TASK
    printed: tuple[str, str] | None = None


@dataclass(frozen=True)
class PaperTable:
    """head: of the first column. sizes, averages: whether these columns are printed."""

    caption: str
    head: str
    rows: tuple[PaperRow, ...]
    sizes: bool = False
    averages: bool = False


def _table_1(name: str, recipe: str) -> PaperRow:
    return PaperRow(name, recipe, printed=("1", name))


def _table_2(*tasks: Modality) -> PaperRow:
    name = "+".join(tasks)
    recipe = "amir" if tasks == EVERY_TASK else "_".join(["amir", *(t.lower() for t in tasks)])
    return PaperRow(name, recipe, tasks, ("2", name))


def _table_3(name: str, recipe: str, row: str) -> PaperRow:
    return PaperRow(name, recipe, printed=("3", row))


def _single(name: str, recipe: str, task: Modality) -> PaperRow:
    printed = ("2", str(task)) if name == "AMIR" else None
    return PaperRow(f"{name} ({task})", f"{recipe}_{task.lower()}", (task,), printed)


ALL_IN_ONE = (
    _table_1("Restormer", "restormer"),
    _table_1("Eformer", "eformer"),
    _table_1("Spach Transformer", "spach_transformer"),
    _table_1("DRMC", "drmc"),
    _table_1("AirNet", "airnet"),
    _table_1("AMIR", "amir"),
)

TABLES: dict[TableName, PaperTable] = {
    "1": PaperTable("All-in-one medical image restoration", "Method", ALL_IN_ONE, averages=True),
    "2": PaperTable(
        "Combinations of training tasks",
        "Trained on",
        (
            *(_table_2(task) for task in EVERY_TASK),
            _table_2(MRI, CT),
            _table_2(MRI, PET),
            _table_2(CT, PET),
            _table_2(*EVERY_TASK),
        ),
    ),
    "3": PaperTable(
        "Task-adaptive routing strategy",
        "Method",
        (
            _table_3("Restormer (baseline)", "restormer", "Restormer"),
            _table_3("w/o D", "amir_direct", "without dictionary"),
            _table_3(
                "w/o D and w/ contrastive learning", "amir_contrastive", "contrastive instead"
            ),
            _table_3("w/o SRM", "amir_without_srm", "without SRM"),
            _table_3("w/o CRM", "amir_without_crm", "without CRM"),
            _table_3("AMIR", "amir", "AMIR"),
        ),
        sizes=True,
    ),
    "S1": PaperTable(
        "Single-task medical image restoration",
        "Method",
        (
            _single("SRCNN", "srcnn", MRI),
            _single("VDSR", "vdsr", MRI),
            _single("SwinIR", "swinir", MRI),
            _single("Restormer", "restormer", MRI),
            _single("AMIR", "amir", MRI),
            _single("CNN", "cnn", CT),
            _single("REDCNN", "redcnn", CT),
            _single("Eformer", "eformer", CT),
            _single("CTformer", "ctformer", CT),
            _single("AMIR", "amir", CT),
            _single("Xiang's method", "xiang", PET),
            _single("DCNN", "dcnn", PET),
            _single("ARGAN", "argan", PET),
            _single("Spach Transformer", "spach_transformer", PET),
            _single("AMIR", "amir", PET),
        ),
    ),
}

RECIPES_OF_FIGURES: dict[FigureName, tuple[str, ...]] = {
    "Ia": (),
    "Ib": (MODEL_OF_FIGURES,),
    "II": tuple(row.recipe for row in ALL_IN_ONE),
    "IIIa": (MODEL_OF_FIGURES,),
    "IIIb": (MODEL_OF_FIGURES,),
}


def needed_recipes(tables: Sequence[TableName], figures: Sequence[FigureName]) -> list[str]:
    """Every recipe that these tables and figures want a trained network of, each once."""
    wanted = [row.recipe for name in tables for row in TABLES[name].rows]
    wanted += [recipe for name in figures for recipe in RECIPES_OF_FIGURES[name]]
    return list(dict.fromkeys(wanted))
