"""A checkpoint folder: weights, readable settings, scores, and what only resuming needs.

weights.safetensors      the network alone
settings.yaml            network, ranges, planes, intensity scale, dataset digest, code version
scores.json              validation scores at this step
outliers.safetensors     what the training data looked like, where that was measured
training_state.*         optimizer, step and data position; never needed to restore
digests.json             sha256 of each file, written last: a folder without it is no checkpoint
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amir import durable
from amir.config import IntensityScale
from amir.errors import InputError
from amir.modality import MODELLING_RANGES, TRAINING_PLANES

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1
REQUIRED = ("weights.safetensors", "settings.yaml", "scores.json")
OUTLIERS = "outliers.safetensors"  # restores nothing, so it is no part of the model's digest
RESTORING = ("network", "ranges", "planes", "intensity")  # what decides the restored image
SETTINGS = ("format", *RESTORING, "dataset_digest", "code_version", "step")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files have been checked against their digests.

    version: its number in the registry it was taken from, else "".
    """

    folder: Path
    settings: dict[str, Any]
    scores: dict[str, Any]
    weights_sha256: str
    version: str = ""

    @property
    def digest(self) -> str:
        """The model's digest, the one string that names it in logs, MLflow, DICOM UIDs and HTTP."""
        return model_digest(self.weights_sha256, self.settings)

    @property
    def step(self) -> int:
        return int(self.settings["step"])

    @property
    def intensity(self) -> IntensityScale:
        return IntensityScale.model_validate(self.settings["intensity"])

    def network(self) -> nn.Module:
        """The network with its weights, in evaluation mode on the CPU; InputError if it is one
        that this version does not know, or of other settings than the weights.
        """
        from amir.models.registry import build_model

        network = self.settings["network"]
        model = build_model(network["name"], **network["settings"])
        try:
            model.load_state_dict(self.weights())
        except RuntimeError as error:
            first = " ".join(str(error).splitlines()[1:2]).strip()
            raise _damaged(self.folder, f"its weights do not fit its settings: {first}") from None
        return model.eval()

    def weights(self) -> dict[str, Tensor]:
        return _tensors(self.folder / "weights.safetensors")

    def training_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Optimizer tensors, and the rest (step, hyperparameters) as plain values."""
        path = self.folder / "training_state.json"
        if not path.is_file():
            raise InputError(
                "invalid_checkpoint",
                f"checkpoint {self.folder.name} holds no training state: it restores, but no run "
                "can resume from it; start a new one with --init-from",
            )
        values = json.loads(path.read_text(encoding="utf-8"))
        return _tensors(path.with_suffix(".safetensors")), values


def describe(
    network: str,
    network_settings: Mapping[str, Any],
    *,
    intensity: IntensityScale,
    dataset_digest: str,
    code_version: str,
    step: int,
) -> dict[str, Any]:
    """The content of settings.yaml: enough to rebuild the model and to refuse what does not fit."""
    return {
        "format": FORMAT,
        "network": {"name": network, "settings": dict(network_settings)},
        "ranges": _ranges(),
        "planes": _planes(),
        "intensity": intensity.model_dump(mode="json"),
        "dataset_digest": dataset_digest,
        "code_version": code_version,
        "step": step,
    }


def model_digest(weights_sha256: str, settings: Mapping[str, Any]) -> str:
    """sha256 over the weights' digest and the restoring part of the settings in canonical JSON."""
    restoring = {name: settings[name] for name in RESTORING}
    canonical = json.dumps(restoring, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{weights_sha256}\n{canonical}".encode()).hexdigest()


def save(
    folder: Path,
    *,
    weights: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    scores: Mapping[str, Any],
    state: tuple[Mapping[str, Tensor], Mapping[str, Any]] | None = None,
) -> Checkpoint:
    """Write a checkpoint folder that is either whole or not there."""
    import yaml

    with durable.replaced_folder(folder) as beside:
        _write_tensors(beside / "weights.safetensors", weights)
        _write(beside / "settings.yaml", yaml.safe_dump(dict(settings), sort_keys=False))
        _write(beside / "scores.json", json.dumps(scores, indent=1))
        if state is not None:
            tensors, values = state
            _write_tensors(beside / "training_state.safetensors", tensors)
            _write(beside / "training_state.json", json.dumps(values))
        digests = _write_digests(beside)
    return Checkpoint(folder, dict(settings), dict(scores), digests["weights.safetensors"])


def copy_model(found: Checkpoint, into: Path) -> None:
    """What a checkpoint needs to restore, without its training state, into an empty folder."""
    for name in (*REQUIRED, OUTLIERS):
        if (found.folder / name).is_file():
            shutil.copyfile(found.folder / name, into / name)
    _write_digests(into)


def add_outliers(found: Checkpoint, write: Callable[[Path], object]) -> None:
    """Add statistics of the training data, or replace them; the model stays what it is.

    write: fills the file. A reader finds the checkpoint whole at any moment.
    """
    stated = found.folder / "digests.json"
    digests = json.loads(_read(stated))
    if digests.pop(OUTLIERS, None) is not None:
        durable.write_text(stated, json.dumps(digests, indent=1))
    with durable.new_file(found.folder / OUTLIERS) as beside:
        write(beside)
    digests[OUTLIERS] = durable.sha256(found.folder / OUTLIERS)
    durable.write_text(stated, json.dumps(digests, indent=1))


def load(folder: Path) -> Checkpoint:
    """Read and verify a checkpoint folder; InputError("invalid_checkpoint") names what is wrong."""
    found = _verified(folder)
    _check_fits(found)
    return found


def latest(folder: Path) -> Checkpoint | None:
    """The newest sound checkpoint of a run's checkpoints folder; damaged ones are said.

    InputError where the newest sound one is of no use to this version of the platform.
    """
    for candidate in sorted(_steps(folder), reverse=True):
        try:
            found = _verified(folder / str(candidate))
        except InputError as error:
            log.warning("passing over a damaged checkpoint: %s", error)
            continue
        _check_fits(found)
        return found
    return None


def stated_digest(folder: Path) -> str | None:
    """The model's digest by what the folder says of itself, unverified; None where it is damaged.

    For searching many checkpoints without reading their weights.
    """
    try:
        digests, settings, _ = _documents(folder)
        return model_digest(digests["weights.safetensors"], settings)
    except InputError:
        return None


def saved_steps(folder: Path) -> list[int]:
    """Steps for which a run's checkpoints folder holds a complete checkpoint, ascending."""
    return sorted(
        step for step in _steps(folder) if (folder / str(step) / "digests.json").is_file()
    )


def _steps(folder: Path) -> list[int]:
    return [int(f.name) for f in folder.iterdir() if f.name.isdigit()] if folder.is_dir() else []


def _verified(folder: Path) -> Checkpoint:
    digests, settings, scores = _documents(folder)
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file() or durable.sha256(path) != digest:
            raise _damaged(folder, f"{name} is missing or has changed since it was written")
    return Checkpoint(folder, settings, scores, digests["weights.safetensors"])


def _documents(folder: Path) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
    """What digests.json, settings.yaml and scores.json hold."""
    import yaml

    try:
        digests = json.loads(_read(folder / "digests.json"))
        settings = yaml.safe_load(_read(folder / "settings.yaml"))
        scores = json.loads(_read(folder / "scores.json"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        # A YAML error quotes the file over several lines.
        raise _damaged(folder, str(error).splitlines()[0]) from None
    for name, document, keys in (
        ("digests.json", digests, REQUIRED),
        ("settings.yaml", settings, (*RESTORING, "format", "step")),
        ("scores.json", scores, ()),
    ):
        if not isinstance(document, dict) or not set(keys) <= document.keys():
            raise _damaged(folder, f"{name} does not hold {', '.join(keys) or 'scores'}")
    return digests, settings, scores


def _check_fits(found: Checkpoint) -> None:
    name, settings = found.folder.name, found.settings
    if settings["format"] > FORMAT:
        raise InputError(
            "invalid_checkpoint",
            f"checkpoint {name} has format {settings['format']}, this version reads up to "
            f"{FORMAT}: update the platform",
        )
    known = {
        "": (settings, SETTINGS),
        "intensity.": (settings["intensity"], IntensityScale.model_fields),
    }
    for section, (given, names) in known.items():
        if unknown := sorted(given.keys() - set(names)):
            raise InputError(
                "invalid_checkpoint",
                f"checkpoint {name} has settings that this version does not know, and may restore "
                f"otherwise than it was trained: {', '.join(section + n for n in unknown)}; update "
                "the platform",
            )
    for kind, ours in (("ranges", _ranges()), ("planes", _planes())):
        for modality, theirs in settings[kind].items():
            if ours.get(modality) != theirs:
                raise InputError(
                    "invalid_checkpoint",
                    f"checkpoint {name} was trained with {modality} {kind} {theirs}, this version "
                    f"uses {ours.get(modality)}: its weights do not transfer",
                )


def _write_digests(folder: Path) -> dict[str, str]:
    """digests.json of all other files of a folder."""
    digests = {file.name: durable.sha256(file) for file in sorted(folder.iterdir())}
    _write(folder / "digests.json", json.dumps(digests, indent=1))
    return digests


def _ranges() -> dict[str, Any]:
    return {str(m): [r.lower, r.upper, r.unit] for m, r in MODELLING_RANGES.items()}


def _planes() -> dict[str, Any]:
    return {str(m): plane for m, plane in TRAINING_PLANES.items()}


def _damaged(folder: Path, reason: str) -> InputError:
    return InputError("invalid_checkpoint", f"{folder.name} is not a sound checkpoint: {reason}")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """An OSError of the system arrives as one: safetensors puts it into words of its own."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)
    except SafetensorError as error:
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), str(error)) from error
        raise


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(path))
