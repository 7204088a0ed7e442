"""The paper's tables and figures: python jobs/paper.py --data DIR --out FOLDER [--miniature true].

Trains every row that has no finished run yet, scores it, and prints it beside the paper's numbers.
"""

from collections.abc import Sequence
from pathlib import Path

from amir import cluster
from amir.command_line import settings_from
from amir.config import PaperSettings
from amir.dataset.manifest import read_manifest
from amir.evaluation.paper.make import Paper, make_paper
from amir.evaluation.paper.recipes import Recipes
from amir.evaluation.paper.rows import needed_recipes
from amir.job import Progress, run_job, say
from amir.training.ray_trainer import check, run
from amir.training.run_folder import finished_run

CONFIGS = Path(__file__).parent / "configs"


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, PaperSettings)
    recipes = Recipes(settings, CONFIGS / "paper", miniature=CONFIGS / "miniature.yaml")
    names = [name for name in needed_recipes(*settings.wanted) if recipes.is_here(name)]
    digest = read_manifest(settings.data).dataset_digest
    due = [name for name in names if finished_run(recipes.of(name), digest) is None]
    if settings.train:
        for name in due:
            check(recipes.of(name))
    cluster.connect()
    if settings.train:
        train(due, recipes)
    trained = names if settings.train else sorted(set(names) - set(due))
    paper = Paper(settings, recipes, trained)
    for file in make_paper(paper, report=Progress("scored scans")):
        say(str(file))


def train(due: Sequence[str], recipes: Recipes) -> None:
    """Train recipes one after another; an unfinished run goes on where it stopped."""
    for number, name in enumerate(due, start=1):
        recipe = recipes.of(name)
        say(f"run {number} of {len(due)}: {recipe.run}, {recipe.steps} steps")
        result = run(recipe)
        say(f"run {result.folder.name}: best checkpoint at step {result.best.step}")


if __name__ == "__main__":
    run_job(main)
