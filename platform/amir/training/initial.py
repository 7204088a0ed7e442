"""The network that a run starts from."""

from __future__ import annotations

import torch
from torch import nn

from amir.config import TrainSettings
from amir.errors import InputError
from amir.models.economy import choose_precision, choose_recomputation
from amir.models.registry import build_model
from amir.references import find_model


def initial_model(settings: TrainSettings) -> nn.Module:
    """A network as set, with weights drawn from the seed or taken from --init-from."""
    torch.manual_seed(settings.seed)
    model = build_model(settings.model.name, **settings.model.network())
    if settings.init_from is not None:
        _take_weights(model, settings.init_from, settings)
    choose_precision(model, settings.arithmetic.precision)
    choose_recomputation(model, settings.arithmetic.recompute)
    return model


def _take_weights(model: nn.Module, reference: str, settings: TrainSettings) -> None:
    found = find_model(reference, storage=settings.storage, tracking_uri=settings.tracking.uri)
    try:
        model.load_state_dict(found.weights())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(
            "invalid_setting",
            f"--init-from {reference} holds network {found.settings['network']}, which does not "
            f"fit the model settings ({reason}); give its settings, or leave --init-from out",
        ) from None
