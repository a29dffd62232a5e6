"""Losses by name, checked without torch; :mod:`relay.losses.distilling` imports torch."""

from relay.losses.segmentation import LOSSES, Loss

__all__ = ["LOSSES", "Loss"]
