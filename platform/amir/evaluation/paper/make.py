"""Tables and figures from finished runs: one evaluation per run, one file per table and figure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from amir import durable
from amir.config import FigureName, InterpretSettings, PaperSettings
from amir.dataset.manifest import Manifest, read_manifest
from amir.dataset.slices import SlicePair, middle_slice
from amir.evaluation.paper.comparison import Comparison, Image, draw_comparison
from amir.evaluation.paper.intensities import draw_intensities, intensities_of
from amir.evaluation.paper.recipes import Recipes
from amir.evaluation.paper.results import score_runs
from amir.evaluation.paper.routing import CHARTS, draw_routing
from amir.evaluation.paper.rows import ALL_IN_ONE, MODEL_OF_FIGURES, needed_recipes
from amir.evaluation.paper.tables import MINIATURE, Findings, write_table
from amir.evaluation.scores import Each, on_ray, tasks_of
from amir.inference.restorer import Restorer
from amir.references import find_model

NOT_HERE, NOT_TRAINED = "not here yet", "not trained yet"
FIGURES: dict[FigureName, str] = {
    "Ia": "Fig. I a: intensities of the targets",
    "Ib": "Fig. I b: task interference",
    "II": "Fig. II: all systems on one slice per task",
    "IIIa": "Fig. III a: t-SNE of the instructions",
    "IIIb": "Fig. III b: use of the experts per task",
}


@dataclass(frozen=True)
class Paper:
    """What is to be made of what. trained: recipes that have a finished run."""

    settings: PaperSettings
    recipes: Recipes
    trained: Collection[str]

    @property
    def manifest(self) -> Manifest:
        return read_manifest(self.settings.data)

    def missing(self, recipe: str) -> str:
        """Why there is nothing of this recipe; empty if there is."""
        if recipe in self.trained:
            return ""
        return NOT_TRAINED if self.recipes.is_here(recipe) else NOT_HERE

    def title(self, figure: FigureName) -> str:
        warning = f" ({MINIATURE})" if self.settings.miniature else ""
        return f"{FIGURES[figure]}{warning}. Research use only"

    def restorer(self, recipe: str) -> Restorer:
        """The network of the recipe's finished run."""
        settings = self.settings
        run = str(self.recipes.of(recipe).run)
        found = find_model(run, storage=settings.storage, tracking_uri=settings.tracking.uri)
        return Restorer.of(found, device="cuda" if settings.workers.gpu else "cpu")


def make_paper(
    paper: Paper,
    *,
    each: Each = on_ray,
    report: Callable[[int, int], None] = lambda done, every: None,
) -> Iterator[Path]:
    """Make what the settings want, and tell each file when it is written.

    each: where slices are scored. report: called with how many scans of a run are scored of how
    many.
    """
    tables, figures = paper.settings.wanted
    if tables:
        found = findings(paper, each=each, report=report)
        for table in tables:
            yield from write_table(table, found, paper.settings.out)
    yield from draw_figures(figures, paper)


def findings(paper: Paper, *, each: Each = on_ray, report: Callable[[int, int], None]) -> Findings:
    """Every run that a wanted table needs, scored; of what has none, why."""
    recipes, settings = paper.recipes, paper.settings
    wanted = needed_recipes(settings.wanted[0], ())
    here = [name for name in wanted if not paper.missing(name)]
    return Findings(
        results=score_runs(here, recipes, settings, each=each, report=report),
        missing={name: reason for name in wanted if (reason := paper.missing(name))},
        sizes={name: recipes.size(name) for name in wanted if recipes.is_here(name)},
        miniature=settings.miniature,
        facts=(
            f"{settings.split} split of dataset {paper.manifest.dataset_digest[:12]}, seed "
            f"{recipes.of(MODEL_OF_FIGURES).seed}",
        ),
    )


def draw_figures(figures: Collection[FigureName], paper: Paper) -> Iterator[Path]:
    """figure_NAME in the folder: a picture, or a line of text where its network is missing."""
    out = paper.settings.out
    if "Ia" in figures:
        shares = intensities_of(paper.settings.data, paper.manifest)
        yield draw_intensities(shares, out / "figure_Ia.png", title=paper.title("Ia"))
    if "II" in figures:
        yield draw_comparison(_comparisons(paper), out / "figure_II.png", title=paper.title("II"))
    titles = {figure: paper.title(figure) for figure in figures if figure in CHARTS}
    reason = paper.missing(MODEL_OF_FIGURES)
    if titles and not reason:
        yield from draw_routing(titles, _interpretation(paper), out)
    for figure, title in titles.items() if reason else ():
        durable.write_text(out / f"figure_{figure}.txt", f"{title}: {reason}\n")
        yield out / f"figure_{figure}.txt"


def _interpretation(paper: Paper) -> InterpretSettings:
    settings = paper.settings
    return InterpretSettings(
        model=str(paper.recipes.of(MODEL_OF_FIGURES).run),
        data=settings.data,
        out=settings.out / "routing",
        split=settings.split,
        storage=settings.storage,
        tracking=settings.tracking,
        gpu=settings.workers.gpu,
    )


def _comparisons(paper: Paper) -> list[Comparison]:
    """The middle slice of each task, by all systems of Table 1."""
    folder, manifest, split = paper.settings.data, paper.manifest, paper.settings.split
    pairs = [middle_slice(folder, manifest, split, task) for task in tasks_of(manifest, split)]
    restorers: dict[str, Restorer | str] = {
        row.name: paper.missing(row.recipe) or paper.restorer(row.recipe) for row in ALL_IN_ONE
    }
    return [
        Comparison(pair, {name: _restored(system, pair) for name, system in restorers.items()})
        for pair in pairs
    ]


def _restored(system: Restorer | str, pair: SlicePair) -> Image | str:
    if isinstance(system, str):
        return system
    return system.restore_slice(pair.degraded, pair.modality, scale=pair.scale)
