"""The networks by name. To add one: a file, and a line here."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from amir.errors import InputError
from amir.models.amir import AMIR

MODELS: dict[str, type[nn.Module]] = {
    "amir": AMIR,
}


def model_settings(name: str) -> dict[str, Any]:
    """The settings that a network knows, with their defaults."""
    parameters = inspect.signature(_network(name)).parameters
    return {setting: parameter.default for setting, parameter in parameters.items()}


def build_model(name: str, **settings: Any) -> nn.Module:
    """A freshly initialised network; settings not given keep the network's defaults."""
    known = model_settings(name)
    unknown = sorted(settings.keys() - known.keys())
    if unknown:
        raise InputError(
            "invalid_setting",
            f"model {name!r} has no setting {', '.join(unknown)}; it knows {', '.join(known)}",
        )
    return _network(name)(**settings)


def _network(name: str) -> type[nn.Module]:
    if name not in MODELS:
        raise InputError(
            "invalid_setting", f"unknown model {name!r}; choose from {', '.join(sorted(MODELS))}"
        )
    return MODELS[name]
