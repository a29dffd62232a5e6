"""Segmentation: a class for each voxel, compared by Dice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from relay.metrics import Dice
from relay.tasks.base import OneClass

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric as Meter


class Segmentation(OneClass):
    """A class for each voxel. Targets are uint8 class indices ``(*S)``; the net's output is ``(B, C, *S)``."""

    name = "segmentation"
    dense = True
    primary = Dice
    score_name = "mean Dice"
    sample_metric = "dice"
    background = True
    counted = "classes, background included"
    loss = "DiceCE"

    @classmethod
    def default_names(cls, outputs: int) -> list[str]:
        """``background, class 1, …``."""
        return ["background", *super().default_names(outputs)[1:]]

    def values(self, decided: Tensor, label: Tensor) -> Tensor:
        """Dice of each class."""
        from relay.metrics import sample_dice

        return sample_dice(decided, label, self.outputs)

    def meters(self) -> Mapping[str, Meter]:
        """Sample-wise and voxel-wise Dice, each the mean over the classes without background."""
        from relay.metrics import SampleDice, VoxelDice

        return {"dice": SampleDice(self.outputs), "dice_voxel": VoxelDice(self.outputs)}

    def each(self, values: Tensor) -> Tensor:
        """The mean over the classes that a sample has, without background."""
        return values[:, 1:].nanmean(1)
