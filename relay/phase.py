"""A phase: one fit of a leg. A strategy defines the phases of a leg; Lightning runs each of them.

Also what a strategy and its memory receive: the task (:class:`Task`), the batch of a step (:class:`Batch`), and all
the training images of a leg (:class:`Training`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor, nn


Likelihood: TypeAlias = Literal["categorical", "bernoulli", "gaussian"]
"""How a net's outputs are read: logits of one class out of several (along the second axis), logits of labels that are
each there or not, or numbers with an error of constant variance."""


@dataclass(frozen=True)
class Task:
    """What to learn, and where.

    Attributes:
        site: the site's name.
        outputs: how many numbers the net puts out, for each voxel or for the image: of segmentation, one for each
            class, background included.
        channels: number of channels of an image.
        intensity_range: the values that the lowest and highest intensities are mapped to.
        size: of the training images, ``(*spatial)``, slowest axis first; None if sizes differ.
        seed: of the study; derive others from it (:mod:`relay.seeds`).
        dense: whether there is a prediction for each voxel, as in segmentation; else for each image.
        likelihood: how the net's outputs are read.
    """

    site: str
    outputs: int
    channels: int
    intensity_range: tuple[float, float]
    size: tuple[int, ...] | None = None
    seed: int = 0
    dense: bool = True
    likelihood: Likelihood = "categorical"


@dataclass(frozen=True)
class Training:
    """The training images of a leg, for use outside its fits.

    Attributes:
        samples: how many there are, in the form that may be disclosed: rounded if the study's policy says so.
        patients: the patient of each image, by :attr:`Batch.index`.
        batches: yields each image once, whole, in order, on the leg's device.
        score: of the model in its present state on the validation images, by the task's primary metric; NaN if there
            are none. Higher is better, whatever the metric: an error is negative.
        noisy_mean: of a leg with ``train.privacy``, all there is of the training images outside the fits, once a leg
            and once training has begun: a function that is given each patient's images, one by one, and returns a
            vector of numbers from -1 to 1; :class:`relay.noise.Axes` of those vectors; how far most of them reach.
            Returned is a :class:`relay.noise.Noisy` mean, which may be used for anything. None without a guarantee.
    """

    samples: int
    patients: Sequence[str]
    batches: Callable[[], Iterator[Batch]]
    score: Callable[[], float]
    noisy_mean: Callable[[Callable[[Iterator[Batch]], Tensor], Any, float], Any] | None = None


@dataclass(frozen=True)
class Batch:
    """One batch of training data, on the device.

    Attributes:
        image: float, ``(B, C, *spatial)``, scaled to the data set's ``intensity_range``.
        label: as the loss wants it: of segmentation int64 class indices ``(B, *spatial)``, of classification ``(B,)``;
            of labels or numbers, float ``(B, outputs)``.
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
        name: the name of the phase's checkpoint and curves (``learn``).
        module: what is trained and checkpointed.
        loss: a batch's loss as named terms, whose sum is minimised.
        share: of the leg's budget (``num_epochs`` or ``num_mimgs``).
        frozen: other modules that the loss needs: moved to the same device, never trained or checkpointed.
        extra_state: modules that are checkpointed with it but not trained: running sums, an average of weights.
        callbacks: Lightning callbacks, for methods that act between steps.
        optimizer: options with a ``build`` (:mod:`relay.optim`); None for the leg's own.
        rate: factor of the optimiser's learning rate.
        start: a module whose weights ``module`` gets when the phase begins; None to begin with its own.
        validate: whether ``module`` is a model to score on the validation images during the fit.
    """

    name: str
    module: nn.Module
    loss: Callable[[Batch], Mapping[str, Tensor]]
    share: float = 1.0
    frozen: tuple[nn.Module, ...] = ()
    extra_state: tuple[nn.Module, ...] = ()
    callbacks: tuple[Any, ...] = ()
    optimizer: Any = None
    rate: float = 1.0
    start: nn.Module | None = None
    validate: bool = True
