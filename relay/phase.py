"""A phase: one fit of a leg. A strategy says which phases a leg has; Lightning runs each of them.

And what a strategy and its memory are told: of the task (:class:`Task`), of a step (:class:`Batch`), of all that a leg
learns from (:class:`Training`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Task:
    """What there is to learn, and where.

    Attributes:
        site: the site's name.
        classes: number of classes, background included.
        channels: of an image.
        intensity_range: what the lowest and the highest intensity became.
        size: of the images that are trained on, ``(*spatial)``, slowest axis first; None where sizes differ.
        seed: of the study; derive others from it (:mod:`relay.seeds`).
        kind: ``segmentation``.
    """

    site: str
    classes: int
    channels: int
    intensity_range: tuple[float, float]
    size: tuple[int, ...] | None = None
    seed: int = 0
    kind: str = "segmentation"


@dataclass(frozen=True)
class Training:
    """The training images of a leg, to be looked at outside of its fits.

    Attributes:
        samples: how many there are, as it may be told: rounded, where the study's policy says so.
        patients: whose image each is, by :attr:`Batch.index`.
        batches: gives them once, whole, in their order, on the leg's device.
        score: mean Dice of the model, as it is now, on the validation images; NaN where there are none.
    """

    samples: int
    patients: Sequence[str]
    batches: Callable[[], Iterator[Batch]]
    score: Callable[[], float]


@dataclass(frozen=True)
class Batch:
    """What a phase learns from, on the device.

    Attributes:
        image: float, ``(B, C, *spatial)``, scaled to the data set's ``intensity_range``.
        label: int64 class indices, ``(B, *spatial)``.
        index: int64, ``(B,)``: which training samples these are.
    """

    image: Tensor
    label: Tensor
    index: Tensor

    def __getitem__(self, part: slice) -> Batch:
        """Some of its samples."""
        return Batch(self.image[part], self.label[part], self.index[part])


@dataclass(frozen=True)
class Phase:
    """One Lightning fit.

    Attributes:
        name: names the phase's checkpoint and its curves (``learn``).
        module: what is trained, and all that is checkpointed.
        loss: a batch's loss as named terms; what is minimised is their sum.
        share: of the leg's budget (``num_epochs`` or ``num_mimgs``).
        frozen: modules the loss needs beside ``module``: moved to its device, never trained nor checkpointed.
        extra_state: modules that are checkpointed with it but not trained: running sums, an average of weights.
        callbacks: Lightning callbacks, for methods that act between steps.
        optimizer: options with a ``build`` (:mod:`relay.optim`); None is the leg's.
        validate: whether ``module`` is a model, to be scored on the validation images on the way.
    """

    name: str
    module: nn.Module
    loss: Callable[[Batch], Mapping[str, Tensor]]
    share: float = 1.0
    frozen: tuple[nn.Module, ...] = ()
    extra_state: tuple[nn.Module, ...] = ()
    callbacks: tuple[Any, ...] = ()
    optimizer: Any = None
    validate: bool = True
