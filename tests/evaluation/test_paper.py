"""The paper's tables and figures, made from tiny runs: nothing left out, nothing filled in."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from amir import checkpoint
from amir.config import IntensityScale, PaperSettings
from amir.dataset.manifest import read_manifest
from amir.dataset.slices import middle_slice
from amir.errors import InputError
from amir.evaluation.paper.comparison import Box, busiest_box, inset_corner
from amir.evaluation.paper.intensities import intensities_of
from amir.evaluation.paper.make import Paper, make_paper
from amir.evaluation.paper.printed import printed
from amir.evaluation.paper.recipes import Recipes, parameters
from amir.evaluation.paper.routing import titled
from amir.evaluation.paper.rows import ALL_IN_ONE, TABLES, needed_recipes
from amir.evaluation.scores import in_process
from amir.modality import Modality
from amir.models.registry import MODELS
from amir.training.initial import initial_model

CONFIGS = Path(__file__).resolve().parents[2] / "jobs" / "configs"
TRAINED = ("amir", "amir_ct", "amir_without_srm")
EVERYTHING = PaperSettings(data="d", out="o").wanted


@pytest.fixture(scope="module")
def recipes(
    tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path, tiny_network: dict[str, Any]
) -> Recipes:
    """The published rows over a network as small as can be, and a finished run of three of them."""
    place = tmp_path_factory.mktemp("paper")
    small = place / "small.yaml"
    network = {name: value for name, value in tiny_network.items() if name != "instructions"}
    small.write_text(yaml.safe_dump({"model": {k: _plain(v) for k, v in network.items()}}))
    settings = PaperSettings(
        data=tiny_dataset,
        out=place / "out",
        storage=place / "storage",
        miniature=True,
        tracking={"uri": "none"},
    )
    made = Recipes(settings, CONFIGS / "paper", miniature=small)
    for name in TRAINED:
        finish(made, name)
    return made


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def finish(recipes: Recipes, name: str) -> None:
    """A checkpoint of the recipe's untrained network, as its run would leave it."""
    run = recipes.of(name)
    folder = run.storage / str(run.run) / "checkpoints" / "1"
    folder.parent.mkdir(parents=True)
    checkpoint.save(
        folder,
        weights=initial_model(run).state_dict(),
        settings=checkpoint.describe(
            run.model.name,
            run.model.model_dump(mode="json", exclude={"name"}),
            intensity=IntensityScale(),
            dataset_digest=read_manifest(run.data.path).dataset_digest,
            code_version="test",
            step=1,
        ),
        scores={},
    )


@pytest.fixture(scope="module")
def made(recipes: Recipes) -> dict[str, Path]:
    """Every table and figure, by name."""
    paper = Paper(recipes.settings, recipes, TRAINED)
    return {file.name: file for file in make_paper(paper, each=in_process)}


def test_every_table_and_figure_is_made(made: dict[str, Path]) -> None:
    tables = [f"table_{name}.{kind}" for name in TABLES for kind in ("md", "tex", "csv")]
    figures = ["figure_Ia.png", "figure_II.png"]
    routing = ["figure_Ib.svg", "figure_IIIa.svg", "figure_IIIb.svg"]
    assert sorted(made) == sorted([*tables, *figures, *routing])
    for name in figures:
        assert made[name].read_bytes().startswith(b"\x89PNG")


def test_a_miniature_says_so_in_each_file_that_holds_words(made: dict[str, Path]) -> None:
    for name, file in made.items():
        if file.suffix in (".md", ".tex", ".svg"):
            assert "miniature: not comparable" in file.read_text(), name
    for name in TABLES:
        lines = list(csv.DictReader(io.StringIO(made[f"table_{name}.csv"].read_text())))
        assert {line["comparable"] for line in lines if line["from"] == "here"} == {"no"}


def test_every_row_of_the_paper_stands_twice_and_first_the_input(made: dict[str, Path]) -> None:
    for name, table in TABLES.items():
        lines = list(csv.DictReader(io.StringIO(made[f"table_{name}.csv"].read_text())))
        names = [line["row"] for line in lines]
        assert names == ["Degraded input", *(row.name for row in table.rows for _ in range(2))]
        assert [line["from"] for line in lines[1:]] == ["here", "paper"] * len(table.rows)


def test_what_is_missing_is_said_and_never_filled_from_the_paper(made: dict[str, Path]) -> None:
    lines = list(csv.DictReader(io.StringIO(made["table_1.csv"].read_text())))
    ours = {line["row"]: line for line in lines if line["from"] == "here"}
    assert ours["Restormer"]["note"] == "not here yet"
    assert not ours["Restormer"]["mri_psnr"]
    assert float(ours["AMIR"]["mean_psnr"]) == pytest.approx(
        np.mean([float(ours["AMIR"][f"{task}_psnr"]) for task in ("mri", "ct", "pet")]), abs=1e-5
    )
    assert "not trained yet" in made["table_3.md"].read_text()
    theirs = {line["row"]: line for line in lines if line["from"] == "paper"}
    assert (theirs["AMIR"]["mri_psnr"], theirs["AMIR"]["mean_rmse"]) == ("32.0262", "12.5461")


def test_a_run_of_one_task_is_told_on_that_task_alone(made: dict[str, Path]) -> None:
    lines = list(csv.DictReader(io.StringIO(made["table_2.csv"].read_text())))
    [ours, theirs] = [line for line in lines if line["row"] == "CT"]
    for line in (ours, theirs):
        assert float(line["ct_psnr"]) > 0
        assert line["mri_psnr"] == line["pet_psnr"] == ""


def test_sizes_stand_beside_the_printed_ones(made: dict[str, Path], recipes: Recipes) -> None:
    small = parameters(recipes.of("amir_without_srm")) / 1e6
    text = made["table_3.md"].read_text()
    assert f"| w/o SRM | here | {small:.2f} (in full 22.74) |" in text
    assert "| w/o SRM | paper | 22.74 |" in text


def test_without_a_run_a_figure_is_a_sentence(recipes: Recipes, tmp_path: Path) -> None:
    settings = recipes.settings.model_copy(
        update={"tables": (), "figures": ("IIIa",), "out": tmp_path}
    )
    [file] = make_paper(Paper(settings, recipes, ()), each=in_process)
    assert file.read_text().endswith("not trained yet\n")


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_a_recipe_and_the_papers_numbers(table: Any) -> None:
    for row in TABLES[table].rows:
        assert (CONFIGS / "paper" / f"{row.recipe}.yaml").is_file()
        if row.printed is not None:
            for task in row.tasks:
                assert float(printed(*row.printed)[f"{task.lower()}_psnr"]) > 20


def test_every_recipe_is_needed_and_alone_is_the_published_one(recipes: Recipes) -> None:
    files = {file.stem for file in (CONFIGS / "paper").glob("*.yaml")}
    assert files == set(needed_recipes(*EVERYTHING))
    whole = Recipes(PaperSettings(data="d", out="o"), recipes.folder, recipes.miniature)
    for name in files:
        run = whole.of(name)
        assert (run.steps, run.batch, run.model.dim, run.run) == (200_000, 8, 42, f"paper-{name}")


def test_full_sizes_are_those_of_the_paper(recipes: Recipes) -> None:
    for row in TABLES["3"].rows[1:]:
        assert row.printed is not None
        size = recipes.size(row.recipe)
        assert f"{size / 1e6:.2f}" == printed(*row.printed)["params_M"], row.name


def test_the_networks_of_the_paper_are_here_or_said_not_to_be(recipes: Recipes) -> None:
    for row in ALL_IN_ONE:
        assert recipes.is_here(row.recipe) == (recipes._laid({}, row.recipe).model.name in MODELS)


def test_the_miniature_is_a_valid_recipe_for_each_row() -> None:
    settings = PaperSettings(data="d", out="o", miniature=True)
    recipes = Recipes(settings, CONFIGS / "paper", miniature=CONFIGS / "miniature.yaml")
    for name in needed_recipes(*EVERYTHING):
        run = recipes.of(name)
        assert run.steps < 1000
        if recipes.is_here(name):
            assert parameters(run) < 500_000


def test_intensities_are_shares_and_told_for_each_task(tiny_dataset: Path) -> None:
    shares = intensities_of(tiny_dataset, read_manifest(tiny_dataset))
    assert list(shares) == list(Modality)
    for share in shares.values():
        assert share.sum() == pytest.approx(1)
    air = shares[Modality.CT][:2].sum()
    assert air > 0.1  # -1024 HU around the patient


def test_the_inset_shows_where_most_happens_and_lies_inside(tiny_dataset: Path) -> None:
    for task in Modality:
        pair = middle_slice(tiny_dataset, read_manifest(tiny_dataset), "test", task)
        box = busiest_box(pair)
        assert box.of(pair.target).shape == (box.side, box.side)
        assert box.of(pair.target).std() > pair.target.std() / 2


@pytest.mark.parametrize(
    ("box", "corner"), [(Box(0, 0, 8), (0.55, 0.0)), (Box(40, 50, 8), (0.0, 0.55))]
)
def test_the_inset_stands_in_the_corner_farthest_from_what_it_shows(
    box: Box, corner: tuple[float, float]
) -> None:
    assert inset_corner(box, (64, 64)) == pytest.approx(corner)


def test_a_title_is_put_above_a_chart() -> None:
    svg = '<svg width="72pt" height="36pt" viewBox="0 0 72 36" xmlns="x"><g/></svg>'
    drawn = titled(svg, "a < b")
    assert 'height="54pt" viewBox="0 -18 72 54"' in drawn
    assert "a &lt; b" in drawn
    with pytest.raises(ValueError, match="size"):
        titled("<svg></svg>", "title")


def test_a_finished_run_is_used_again_and_another_of_its_name_refused(
    train_settings: Callable[..., Any],
) -> None:
    from amir.training.run_folder import RunFolder, finished_run

    settings = train_settings()
    assert finished_run(settings, "digest") is None
    folder = RunFolder(settings.storage / "tiny")
    folder.path.mkdir(parents=True)
    folder.write_settings(settings, "digest")
    folder.set_status("running")
    assert finished_run(settings, "digest") is None
    folder.set_status("finished")
    assert finished_run(settings, "digest") == folder
    with pytest.raises(InputError, match=r"steps was 8, is 9"):
        finished_run(train_settings(steps=9), "digest")
    with pytest.raises(InputError, match="dataset_digest was digest, is other"):
        finished_run(settings, "other")


def test_a_run_from_before_a_setting_was_added_is_still_the_same(
    train_settings: Callable[..., Any],
) -> None:
    from amir.training.run_folder import RunFolder, finished_run

    settings = train_settings()
    folder = RunFolder(settings.storage / "tiny")
    folder.path.mkdir(parents=True)
    folder.write_settings(settings, "digest")
    folder.set_status("finished")
    written = yaml.safe_load(folder.settings.read_text())
    del written["model"]["instruction"], written["loss"]["contrast_queue"]
    folder.settings.write_text(yaml.safe_dump(written))
    assert finished_run(settings, "digest") == folder
