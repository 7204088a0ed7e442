"""Every slice of a split to one row of scores per method, on Ray Data, a shard at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import torch

from amir import cluster
from amir.config import EvaluateSettings
from amir.dataset.cohort import Split
from amir.dataset.manifest import Manifest, ShardEntry
from amir.dataset.schema import ROWS_PER_GROUP
from amir.dataset.slices import SlicePair, read_shard
from amir.evaluation.methods import Contender, Image, Method, Model
from amir.evaluation.parts import parts_of
from amir.evaluation.scan_scores import SCHEMA, ScanScorer, target_range
from amir.evaluation.stored import Keep, restored_file
from amir.modality import Modality
from amir.parallel import parallel_map

ORDER = ("modality", "patient_id", "scan_id", "slice_index", "method")
Work = Callable[[str], pa.Table]
Each = Callable[[Callable[[], Work], Sequence[str], EvaluateSettings], Iterable[pa.Table]]


@dataclass(frozen=True)
class Comparison:
    """What to score on which dataset folder. out: where finished shards are kept."""

    data: Path
    out: Path
    contenders: tuple[Contender, ...]
    keep_restored: bool = False

    def restored(self, place: int) -> Path | None:
        """The folder for a contender's restored slices: kept, if at all, of models only."""
        contender = self.contenders[place]
        if not self.keep_restored or not isinstance(contender, Model):
            return None
        return self.out / "restored" / contender.digest[:16]


class ShardScorer:
    """Scores a shard with some of a comparison's contenders, which it loads when first needed."""

    def __init__(self, comparison: Comparison, *, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.comparison, self.device = comparison, device
        self._loaded: dict[int, Method] = {}

    def __call__(self, item: str) -> pa.Table:
        """The scores of a shard's slices; the method is the contender's place in the comparison.

        item: JSON of the shard's manifest entry and the places of the contenders.
        """
        asked = json.loads(item)
        shard, places = ShardEntry.model_validate(asked["shard"]), asked["places"]
        data = self.comparison.data
        width = target_range(read_shard(data, shard))
        scorers = {place: ScanScorer(shard.file, shard.modality, width) for place in places}
        with ExitStack() as files:
            keepers = {place: files.enter_context(self._keeper(place, shard)) for place in places}
            for pairs in _batches(read_shard(data, shard)):
                for place, scorer in scorers.items():
                    images = self._score(self._method(place), pairs, scorer)
                    keepers[place](pairs, images)
        return pa.concat_tables(scorer.table(str(place)) for place, scorer in scorers.items())

    def _score(
        self, method: Method, pairs: Sequence[SlicePair], scorer: ScanScorer
    ) -> Sequence[Image]:
        images = method.restore(pairs)
        for pair, image in zip(pairs, images, strict=True):
            scorer.add(pair, image, method=method.name)
        return images

    def _method(self, place: int) -> Method:
        if place not in self._loaded:
            self._loaded[place] = self.comparison.contenders[place].load(self.device)
        return self._loaded[place]

    def _keeper(self, place: int, shard: ShardEntry) -> AbstractContextManager[Keep]:
        folder = self.comparison.restored(place)
        return nullcontext(_forget) if folder is None else restored_file(folder / shard.file)


def score_split(
    comparison: Comparison,
    manifest: Manifest,
    settings: EvaluateSettings,
    *,
    each: Each,
    report: Callable[[int, int], None] = lambda done, all: None,
) -> pa.Table:
    """One row per slice and method of the split, sorted; what was finished before is read.

    each: `on_ray`, or `in_process`. report: called with how many shards are done of how many.
    """
    ledger = Ledger(comparison, manifest, settings)
    items, total = ledger.waiting(), len(ledger.shards)
    done = total - len(items)
    if done:
        report(done, total)
    make = partial(
        ShardScorer,
        comparison,
        device=device_of(settings),
        threads=max(1, int(settings.cpus)),
    )
    for table in each(make, items, settings) if items else ():
        ledger.enter(table)
        done += 1
        report(done, total)
    return ledger.table()


class Ledger:
    """Which shards are scored for which contenders, on disk and here; then the whole table."""

    def __init__(
        self, comparison: Comparison, manifest: Manifest, settings: EvaluateSettings
    ) -> None:
        self.comparison = comparison
        self.shards = {shard.file: shard for shard in manifest.of(settings.split)}
        device = device_of(settings)
        self._parts = [
            parts_of(comparison.out, contender, manifest, settings.split, device=device)
            for contender in comparison.contenders
        ]
        self._rows = {
            (place, file): parts.read(shard)
            for file, shard in self.shards.items()
            for place, parts in enumerate(self._parts)
        }

    def waiting(self) -> list[str]:
        """What is to be done, for `ShardScorer`: an item for each shard that lacks anything."""
        lacking = {file: self._lacking(file) for file in self.shards}
        return [_item(self.shards[file], places) for file, places in lacking.items() if places]

    def enter(self, table: pa.Table) -> None:
        """Take the answer of a worker, which may be that of several shards, and write it down."""
        for file in pc.unique(table["shard"]).to_pylist():
            of_shard = table.filter(pc.equal(table["shard"], file))
            for place in pc.unique(of_shard["method"]).to_pylist():
                rows = of_shard.filter(pc.equal(of_shard["method"], place))
                self._parts[int(place)].write(self.shards[file], rows)
                self._rows[int(place), file] = rows

    def table(self) -> pa.Table:
        """All rows with their methods' names, sorted."""
        named = [
            _named(rows, self.comparison.contenders[place])
            for (place, _), rows in self._rows.items()
        ]
        order = [(key, "ascending") for key in ORDER]
        return pa.concat_tables(named).sort_by(order).combine_chunks()

    def _lacking(self, file: str) -> list[int]:
        """Places of the contenders without scores of a shard, or restored slices to be kept."""
        folders = map(self.comparison.restored, range(len(self._parts)))
        return [
            place
            for place, folder in enumerate(folders)
            if self._rows[place, file] is None or (folder and not (folder / file).is_file())
        ]


def tasks_of(manifest: Manifest, split: Split) -> list[Modality]:
    """Modalities that have slices in a split, in the paper's order."""
    return [task for task in Modality if manifest.of(split, task)]


def on_ray(
    make: Callable[[], Work], items: Sequence[str], settings: EvaluateSettings
) -> Iterator[pa.Table]:
    """Score on the Ray that this process is connected to, as many shards at a time as fit."""
    gpus = 1 if settings.gpu else 0
    cluster.require(
        cpus=settings.cpus,
        gpus=gpus,
        purpose="scoring",
        remedy="lower --cpus, leave --gpu out, or add nodes (Ray would wait for ever)",
    )
    places = cluster.gpus() if settings.gpu else int(cluster.cpus() / settings.cpus)
    yield from parallel_map(
        make,
        items,
        actors=min(len(items), max(1, places)),
        cpus=settings.cpus,
        gpus=gpus,
        batch_size=None,
        batch_format="pyarrow",
    )


def in_process(
    make: Callable[[], Work], items: Sequence[str], settings: EvaluateSettings
) -> Iterator[pa.Table]:
    """Score here, a shard after the other, without Ray."""
    return map(make(), items)


def device_of(settings: EvaluateSettings) -> str:
    """Torch's name of where the models run."""
    return "cuda" if settings.gpu else "cpu"


def _batches(pairs: Iterable[SlicePair]) -> Iterator[list[SlicePair]]:
    """A shard's pairs as they lie in its row groups: a few at a time, all of one size."""

    def group(numbered: tuple[int, SlicePair]) -> tuple[object, ...]:
        number, pair = numbered
        return number // ROWS_PER_GROUP, pair.degraded.shape

    for _, members in groupby(enumerate(pairs), key=group):
        yield [pair for _, pair in members]


def _forget(pairs: Sequence[SlicePair], images: Sequence[Image]) -> None:
    """Keep nothing."""


def _item(shard: ShardEntry, places: Sequence[int]) -> str:
    return json.dumps({"shard": shard.model_dump(mode="json"), "places": list(places)})


def _named(rows: pa.Table, contender: Contender) -> pa.Table:
    for position, name in enumerate(("method", "model_digest")):
        value = contender.name if name == "method" else contender.digest
        column = pa.array([value] * rows.num_rows, pa.string())
        rows = rows.set_column(position, SCHEMA.field(name), column)
    return rows
