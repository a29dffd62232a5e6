"""Losses for rare classes and thin structures, by monai; see :mod:`relay.losses.segmentation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import model_validator
from typing_extensions import Self

from relay.config import Field, options
from relay.losses.segmentation import Dice, Loss, NotNegative, Positive, Weights, check_weights

if TYPE_CHECKING:
    from torch import nn


@options
class Focal(Loss):
    """Focal loss (Lin et al. 2017, arXiv:1708.02002): cross-entropy in which what is right already counts less.

    Attributes:
        gamma: how much less; 0 is the cross-entropy of each class.
        weight: one for each class, background first.
        include_background: whether class 0 counts as a class.
    """

    tasks = ("segmentation", "classification")
    gamma: NotNegative = 2.0
    weight: Weights | None = None
    include_background: bool = True

    @model_validator(mode="after")
    def _weights_of_all(self) -> Self:
        if self.weight is not None and not self.include_background:
            raise ValueError("weight is of all classes: set include_background: true, and a small weight for class 0")
        return self

    def build(self, num_classes: int | None = None) -> nn.Module:
        """See :meth:`Loss.build`."""
        from .library import focal

        check_weights("Focal", self.weight, num_classes)
        return focal(self)


@options
class Tversky(Dice):
    """Tversky loss (Salehi et al. 2017, arXiv:1706.05721): Dice that weighs what is missed more than what is too much.

    Attributes:
        alpha: weight of false positives.
        beta: weight of false negatives; with alpha, 0.5 and 0.5 is Dice.
    """

    alpha: Positive = 0.3
    beta: Positive = 0.7

    def build(self, num_classes: int | None = None) -> nn.Module:
        """See :meth:`Loss.build`."""
        from .library import tversky

        return tversky(self)


@options
class GeneralisedDice(Dice):
    """Generalised Dice loss (Sudre et al. 2017, 10.1007/978-3-319-67558-9_28): classes weighted by their size.

    Attributes:
        weighting: of a class: one over its volume (``simple``), over its square, or the same for all.
    """

    weighting: Literal["square", "simple", "uniform"] = "square"

    def build(self, num_classes: int | None = None) -> nn.Module:
        """See :meth:`Loss.build`."""
        from .library import generalised_dice

        return generalised_dice(self)


@options
class DiceFocal(Dice):
    """``lambda_dice`` times :class:`Dice` plus ``lambda_focal`` times :class:`Focal`.

    Attributes:
        gamma: see :class:`Focal`.
        weight: see :class:`Focal`.
    """

    lambda_dice: NotNegative = 1.0
    lambda_focal: NotNegative = 1.0
    gamma: NotNegative = 2.0
    weight: Weights | None = None

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.lambda_dice == self.lambda_focal == 0:
            raise ValueError("lambda_dice and lambda_focal can't both be 0")
        return self

    def build(self, num_classes: int | None = None) -> nn.Module:
        """See :meth:`Loss.build`."""
        from .modules import WeightedSum

        dice = super().build(num_classes)
        focal = Focal(gamma=self.gamma, weight=self.weight).build(num_classes)
        return WeightedSum([dice, focal], [self.lambda_dice, self.lambda_focal])


@options
class DiceBoundary(Dice):
    """:class:`Dice` plus ``lambda_boundary`` times a loss of wrong voxels by their distance from the boundary.

    That is monai's ``HausdorffDTLoss`` (Karimi & Salcudean 2019, 10.1109/TMI.2019.2930068), with distances in voxels,
    background left out. On the CPU the distances take longer than a small net's step.

    Attributes:
        lambda_boundary: of the second term, which is large while predictions are far off.
        exponent: of the distance.
    """

    lambda_boundary: Positive = 0.01
    exponent: Annotated[float, Field(gt=0, le=4)] = 2.0

    def build(self, num_classes: int | None = None) -> nn.Module:
        """See :meth:`Loss.build`."""
        from .library import boundary
        from .modules import WeightedSum

        return WeightedSum([super().build(num_classes), boundary(self.exponent)], [1.0, self.lambda_boundary])
