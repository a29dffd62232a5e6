"""Layers with which a patient's gradient would depend on other patients."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


def mixing(net: nn.Module) -> list[str]:
    """The layers, by name and type, that keep statistics of the images they have seen: those would leave with the
    weights, and without noise."""
    return [
        f"{name} ({type(layer).__name__})"
        for name, layer in net.named_modules()
        if isinstance(layer, _NormBase) and (layer.track_running_stats or "Batch" in type(layer).__name__)
    ]
