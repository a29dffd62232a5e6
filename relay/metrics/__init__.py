"""Metrics (torch is imported here: import it late)."""

from relay.metrics.dice import SampleDice, VoxelDice, class_mean, sample_dice

__all__ = ["SampleDice", "VoxelDice", "class_mean", "sample_dice"]
