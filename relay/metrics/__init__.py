"""Metrics. What needs torch is imported when it is asked for, so that worker processes can do without."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.metrics.dice import SampleDice, VoxelDice, class_mean, sample_dice

__all__ = ["SampleDice", "VoxelDice", "class_mean", "sample_dice"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("relay.metrics.dice"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
