"""Segmentation losses by name: options that are checked without torch, and a ``build`` that needs it.

Each built loss is a module ``forward(logits, target) -> scalar``: ``logits`` (B, C, \\*S) of any float type,
``target`` (B, \\*S) int64 in 0..C-1. All are computed in float32, whatever the precision around them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import model_validator
from typing_extensions import Self

from relay.config import Field, options
from relay.errors import UserError

if TYPE_CHECKING:
    from torch import nn

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Weights = Annotated[tuple[Positive, ...], Field(min_length=2)]


@options
class Loss:
    """A plug-in of the group ``relay.losses``: its options, and the loss they make. Importable without torch.

    Attributes:
        tasks: the tasks it is for, by name.
    """

    tasks: ClassVar[tuple[str, ...]] = ("segmentation",)

    @abstractmethod
    def build(self, num_classes: int | None = None) -> nn.Module:
        """The module, see :mod:`relay.losses.segmentation`.

        Args:
            num_classes: C, if known: class weights of another number are then refused here.

        Raises:
            UserError: the class weights are not ``num_classes``.
        """


@options
class CE(Loss):
    """Cross-entropy, as ``torch.nn.CrossEntropyLoss``: weighted mean over the voxels.

    Attributes:
        weight: one for each class, background first; the mean is over the weights, so only ratios count.
        label_smoothing: share of each label that is spread evenly over the classes.
    """

    tasks = ("segmentation", "classification")
    weight: Weights | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def build(self, num_classes: int | None = None) -> nn.Module:
        """See :meth:`Loss.build`."""
        from .modules import CrossEntropy

        check_weights("CE", self.weight, num_classes)
        return CrossEntropy(self.weight, self.label_smoothing)


@options
class Dice(Loss):
    """Soft Dice loss (Milletari et al. 2016, 10.1109/3DV.2016.79), monai's: 1 - Dice, mean over classes.

    Attributes:
        include_background: whether class 0 counts as a class.
        batch_dice: whether a batch counts as one volume; otherwise Dice is computed per sample, then averaged.
        smooth: added above and below the fraction, in voxels.
    """

    include_background: bool = True
    batch_dice: bool = False
    smooth: Positive = 1e-5

    def build(self, num_classes: int | None = None) -> nn.Module:
        """See :meth:`Loss.build`."""
        from .modules import SoftDice

        return SoftDice(self.include_background, self.batch_dice, self.smooth)


@options
class DiceCE(Dice):
    """``lambda_dice`` times :class:`Dice` plus ``lambda_ce`` times :class:`CE`."""

    lambda_dice: NotNegative = 1.0
    lambda_ce: NotNegative = 1.0
    weight: Weights | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.lambda_dice == self.lambda_ce == 0:
            raise ValueError("lambda_dice and lambda_ce can't both be 0")
        return self

    def build(self, num_classes: int | None = None) -> nn.Module:
        """See :meth:`Loss.build`."""
        from .modules import CrossEntropy, SoftDice, WeightedSum

        check_weights("DiceCE", self.weight, num_classes)
        dice = SoftDice(self.include_background, self.batch_dice, self.smooth)
        ce = CrossEntropy(self.weight, self.label_smoothing)
        return WeightedSum([dice, ce], [self.lambda_dice, self.lambda_ce])


@options
class ExpLogDice:
    """``dice_kwargs``: ``do_bg`` counts class 0 as a class, ``batch_dice`` takes the batch for one volume."""

    do_bg: bool = True
    batch_dice: bool = True


@options
class ExpLogCE:
    """``wce_kwargs``: ``weight`` of each class, background first; None: from label frequencies."""

    weight: Weights | None = None


@options
class ExpLogLoss(Loss):
    """Exponential logarithmic loss (Wong et al. 2018, 10.1007/978-3-030-00931-1_70), for classes of very
    unequal size; the keys are those of the published relay-learning configs.

    ``dice_weight * E[(-ln Dice_i)^gamma] + ce_weight * E[w_l (-ln p_l(x))^gamma]``, over classes i and voxels
    x of label l, with Dice_i smoothed by 1 voxel. Without weights ``w_l = sqrt(sum_k f_k / f_l)``, the
    frequencies f being those of the batch.

    Attributes:
        soft_dice: only ``true``: Dice of a hard segmentation has no gradient.
        dice_kwargs: see :class:`ExpLogDice`.
        wce_kwargs: see :class:`ExpLogCE`.
        gamma: the exponent of both terms, 0.3 being the paper's best.
        dice_weight: 0.8 in the paper.
        ce_weight: 0.2 in the paper.
    """

    soft_dice: Literal[True] = True
    dice_kwargs: ExpLogDice = ExpLogDice()
    wce_kwargs: ExpLogCE = ExpLogCE()
    gamma: Positive = 0.3
    dice_weight: NotNegative = 0.8
    ce_weight: NotNegative = 0.2

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.dice_weight == self.ce_weight == 0:
            raise ValueError("dice_weight and ce_weight can't both be 0")
        return self

    def build(self, num_classes: int | None = None) -> nn.Module:
        """See :meth:`Loss.build`."""
        from .modules import ExpLogCrossEntropy, ExpLogSoftDice, WeightedSum

        check_weights("ExpLogLoss.wce_kwargs", self.wce_kwargs.weight, num_classes)
        dice = ExpLogSoftDice(self.gamma, self.dice_kwargs.do_bg, self.dice_kwargs.batch_dice)
        ce = ExpLogCrossEntropy(self.gamma, self.wce_kwargs.weight)
        return WeightedSum([dice, ce], [self.dice_weight, self.ce_weight])


def check_weights(where: str, weight: tuple[float, ...] | None, num_classes: int | None) -> None:
    """Check that there is a weight for each class.

    Raises:
        UserError: there is not.
    """
    if weight is not None and num_classes is not None and len(weight) != num_classes:
        raise UserError(
            f"{where}.weight has {len(weight)} values, but there are {num_classes} classes",
            f"Give {num_classes} weights, background first, or none.",
        )
