"""Losses by name, checked without torch; :mod:`relay.losses.distillation` imports torch."""

from relay.losses.segmentation import LOSSES, Loss

__all__ = ["LOSSES", "Loss"]
