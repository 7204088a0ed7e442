"""Who becomes champion, who does not, and what remains of either."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from amir import durable
from amir.checkpoint import Checkpoint, load
from amir.config import ExportSettings, PromoteSettings, TrackingSettings
from amir.errors import GateError, InputError
from amir.evaluation.scores import in_process
from amir.inference.restorer import Restorer
from amir.modality import Modality
from amir.model_registry.versions import CHAMPION, ModelRegistry
from amir.promotion.export import export_model
from amir.promotion.promote import Promotion, archive, promote, rollback
from amir.references import find_model
from amir.tracking import open_run

OffBy = Callable[[float], Checkpoint]
Asked = Callable[..., PromoteSettings]
Enthrone = Callable[[ModelRegistry, Checkpoint, str], int]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's empty database, which takes seconds to make."""
    storage = tmp_path_factory.mktemp("tables")
    open_run(TrackingSettings(), storage, name="makes the tables").finish()
    return storage / "mlflow.db"


@pytest.fixture
def storage(tables: Path, tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    shutil.copy(tables, tmp_path / "storage" / "mlflow.db")
    return tmp_path / "storage"


@pytest.fixture
def registry(storage: Path) -> ModelRegistry:
    return ModelRegistry.of(TrackingSettings(experiment="promotions"), storage)


@pytest.fixture
def run_id(storage: Path) -> str:
    return open_run(TrackingSettings(experiment="promotions"), storage, name="run").id


def on_this_process(settings: PromoteSettings) -> Promotion:
    return promote(settings, each=in_process)


def champion(registry: ModelRegistry) -> int | None:
    found = registry.at(CHAMPION)
    return found.number if found else None


def test_a_better_model_becomes_champion_and_can_be_taken_back(
    off_by: OffBy, asked: Asked, enthrone: Enthrone, registry: ModelRegistry, run_id: str
) -> None:
    first = enthrone(registry, off_by(0.5), run_id)
    better = off_by(0.1)
    done = on_this_process(asked(better))
    assert done.version is not None
    assert champion(registry) == done.version.number != first
    found = find_model("models:/amir@champion", storage=Path(), tracking_uri=registry.address)
    assert found.digest == better.digest
    card = (found.folder / "card.md").read_text()
    assert all(word in card for word in (better.digest, "Verdict of the gate: accepted", "Licence"))
    assert json.loads((found.folder / "verdict.json").read_text())["accepted"] is True
    assert not (found.folder / "training_state.json").exists()

    left, now = rollback(registry, CHAMPION)
    assert (left.number, now.number, champion(registry)) == (done.version.number, first, first)
    with pytest.raises(InputError, match="nothing to go back to"):
        rollback(registry, CHAMPION)


def test_a_candidate_that_is_judged_anew_becomes_a_whole_champion(
    off_by: OffBy, asked: Asked, enthrone: Enthrone, registry: ModelRegistry, run_id: str
) -> None:
    enthrone(registry, off_by(0.8), run_id)
    said: list[str] = []
    others = []

    def meanwhile(text: str) -> None:
        if not said:  # judged, but not moved yet
            others.append(enthrone(registry, off_by(0.5), run_id))
        said.append(text)

    best = off_by(0.1)
    done = promote(asked(best), each=in_process, say=meanwhile)
    assert "champion was moved meanwhile: judging anew against the new one" in said
    assert done.replaced is not None
    assert [done.replaced.number] == others
    found = find_model("models:/amir@champion", storage=Path(), tracking_uri=registry.address)
    assert found.digest == best.digest
    assert f"version {others[0]}" in said[-1]


def test_a_worse_model_is_registered_with_its_verdict_and_stays_out(
    off_by: OffBy, asked: Asked, enthrone: Enthrone, registry: ModelRegistry, run_id: str
) -> None:
    first = enthrone(registry, off_by(0.1), run_id)
    with pytest.raises(GateError, match="does not become champion: MRI PSNR gain"):
        on_this_process(asked(off_by(0.5)))
    assert champion(registry) == first
    refused = registry.version(first + 1)
    assert (refused.tags["amir.verdict"], refused.aliases) == ("refused", ())
    assert "FAIL" in (registry.download(refused) / "verdict.md").read_text()


def test_the_first_champion_must_beat_the_degraded_input(
    off_by: OffBy, asked: Asked, registry: ModelRegistry
) -> None:
    with pytest.raises(GateError):
        on_this_process(asked(off_by(0.3)))
    assert champion(registry) is None


def test_a_dry_run_judges_and_leaves_no_trace_in_the_registry(
    off_by: OffBy, asked: Asked, enthrone: Enthrone, registry: ModelRegistry, run_id: str
) -> None:
    first = enthrone(registry, off_by(0.5), run_id)
    done = on_this_process(asked(off_by(0.1), dry_run=True))
    assert done.examination is not None
    assert done.examination.verdict.accepted
    assert champion(registry) == first
    with pytest.raises(InputError, match=f"has no models:/amir/{first + 1}"):
        registry.version(first + 1)


def test_a_model_that_makes_nan_is_refused_by_name(
    off_by: OffBy, asked: Asked, enthrone: Enthrone, registry: ModelRegistry, run_id: str
) -> None:
    first = enthrone(registry, off_by(0.5), run_id)
    broken = off_by(0.2)
    weights = load_file(broken.folder / "weights.safetensors")
    weights["output.weight"].fill_(torch.nan)
    save_file(weights, broken.folder / "weights.safetensors")
    digests = json.loads((broken.folder / "digests.json").read_text())
    digests["weights.safetensors"] = durable.sha256(broken.folder / "weights.safetensors")
    (broken.folder / "digests.json").write_text(json.dumps(digests))
    with pytest.raises(GateError, match="finite images"):
        on_this_process(asked(load(broken.folder)))
    assert champion(registry) == first


def test_the_champion_itself_has_nothing_to_prove(
    off_by: OffBy, asked: Asked, enthrone: Enthrone, registry: ModelRegistry, run_id: str
) -> None:
    model = off_by(0.2)
    first = enthrone(registry, model, run_id)
    said: list[str] = []
    done = promote(asked(model), each=in_process, say=said.append)
    assert (done.version, champion(registry)) == (None, first)
    assert said == [f"champion, version {first}, is this model already"]


def test_an_archived_version_is_never_pointed_to(
    off_by: OffBy, asked: Asked, enthrone: Enthrone, registry: ModelRegistry, run_id: str
) -> None:
    first = enthrone(registry, off_by(0.5), run_id)
    with pytest.raises(InputError, match=f"version {first} is champion"):
        archive(registry, first)
    on_this_process(asked(off_by(0.1)))
    archive(registry, first)
    with pytest.raises(InputError, match=f"version {first} is archived"):
        rollback(registry, CHAMPION)


@pytest.mark.timeout(500)
def test_rivals_at_the_same_time_leave_the_best_one(
    off_by: OffBy, asked: Asked, enthrone: Enthrone, registry: ModelRegistry, run_id: str
) -> None:
    enthrone(registry, off_by(0.8), run_id)
    candidates = [off_by(error) for error in (0.5, 0.0, 0.25)]

    def outcome(model: Checkpoint) -> str:
        try:
            return "promoted" if on_this_process(asked(model)).version else "already"
        except GateError as refusal:
            return str(refusal)

    with ThreadPoolExecutor(len(candidates)) as pool:
        outcomes = list(pool.map(outcome, candidates))
    best = registry.at(CHAMPION)
    assert best is not None
    assert best.digest == candidates[1].digest
    assert outcomes[1] == "promoted"
    assert all(o == "promoted" or "does not become champion" in o for o in outcomes)


def test_an_export_restores_without_mlflow(
    off_by: OffBy, registry: ModelRegistry, enthrone: Enthrone, run_id: str, tmp_path: Path
) -> None:
    model = off_by(0.2)
    enthrone(registry, model, run_id)
    settings = ExportSettings(
        model="models:/amir@champion",
        out=tmp_path / "taken away",
        program=False,
        storage=tmp_path / "storage",
    )
    exported, deviation = export_model(settings)
    assert (exported.digest, deviation) == (model.digest, None)
    names = {"card.md", "digests.json", "scores.json", "settings.yaml", "weights.safetensors"}
    assert {file.name for file in settings.out.iterdir()} == {*names, "SHA256SUMS"}
    sums = dict(
        reversed(line.split("  "))
        for line in (settings.out / "SHA256SUMS").read_text().splitlines()
    )
    assert sums == {name: durable.sha256(settings.out / name) for name in names}
    degraded = np.random.default_rng(0).uniform(0, 3000, (40, 56)).astype(np.float32)
    restored = [Restorer.of(m).restore_slice(degraded, Modality.MRI) for m in (model, exported)]
    np.testing.assert_array_equal(*restored)
    with pytest.raises(InputError, match="exists"):
        export_model(settings)
