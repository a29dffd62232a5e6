"""What every task declares. This module does not import torch.

A task is one object, made from a data set's options by :func:`relay.tasks.task_of`. It knows what the net puts out, how
a target is read, how a prediction is scored, and by which metric models are compared (``primary``).

A prediction is scored in *groups*: a sample has one number in each group, or none (NaN). A group's mean over samples,
then the mean over groups, is the primary metric. So every result can be recomputed from rows of single samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relay.errors import DataError
from relay.metrics import Metric

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric as Meter

Target: TypeAlias = NDArray[Any]


class Task:
    """What a model predicts.

    Args:
        outputs: how many numbers the net puts out, for an image or for each voxel.
        names: of the outputs.

    Attributes:
        name: as in ``task`` of a data set's options.
        dense: whether there is a prediction for each voxel; else for each image.
        primary: the metric by which models are compared.
        sample_metric: the metric of a single sample's rows, whose mean is ``primary``.
        background: whether the first group is the background, which counts in no mean.
        fewest: the lowest ``num_classes``; None if the task has no classes.
        classes: what one of the outputs is; ``counted``: what ``num_classes`` counts.
        loss: the default loss, by name.
    """

    name: ClassVar[str]
    dense: ClassVar[bool] = False
    primary: ClassVar[type[Metric]]
    sample_metric: ClassVar[str]
    background: ClassVar[bool] = False
    fewest: ClassVar[int | None] = 2
    classes: ClassVar[str] = "class"
    counted: ClassVar[str] = "classes"
    loss: ClassVar[str]

    def __init__(self, outputs: int, names: Sequence[str]) -> None:
        self.outputs, self.names = outputs, list(names)

    # -- names and direction ---------------------------------------------------------------------------------------

    @classmethod
    def default_names(cls, outputs: int) -> list[str]:
        """Names of outputs that the config gives none."""
        return [f"{cls.classes} {k}" for k in range(outputs)]

    @property
    def groups(self) -> list[str]:
        """The names of the groups, as in the column ``class`` of results."""
        return self.names

    @classmethod
    def gain(cls, value: float, other: float) -> float:
        """By how much ``value`` of the primary metric is better than ``other``; negative if it is worse."""
        return value - other if cls.primary.higher_is_better else other - value

    @classmethod
    def best(cls, values: Iterable[Any], key: Any = None) -> Any:
        """The best of the values, or of the things whose value ``key`` gives: of equals the first."""
        return max(values, key=lambda item: cls.gain(item if key is None else key(item), 0.0))

    @classmethod
    def worst(cls, values: Iterable[Any], key: Any = None) -> Any:
        """The worst of the values, or of the things whose value ``key`` gives: of equals the first."""
        return min(values, key=lambda item: cls.gain(item if key is None else key(item), 0.0))

    @classmethod
    def title(cls) -> str:
        """The primary metric's name in a sentence."""
        return cls.primary.title or cls.primary.name

    # -- data ------------------------------------------------------------------------------------------------------

    def target(self, record: Any) -> Target:
        """A record's target, for a task that is not dense: what the store keeps.

        Raises:
            DataError: it is not known, or not allowed.
        """
        raise TypeError(f"the targets of {self.name} are files; the data set reads them")

    # -- the net's output ------------------------------------------------------------------------------------------

    @abstractmethod
    def label(self, stored: Tensor) -> Tensor:
        """Targets of a batch as the loss wants them."""

    @abstractmethod
    def answer(self, logits: Tensor) -> Tensor:
        """What the net's output means: probabilities or values, of the same shape."""

    @abstractmethod
    def decide(self, logits: Tensor) -> Tensor:
        """The prediction: of the shape of :meth:`label`, where that has classes."""

    # -- scores ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def values(self, decided: Tensor, label: Tensor) -> Tensor:
        """Each sample's score in each group, ``(B, G)`` float32; NaN where it has none."""

    def meters(self) -> Mapping[str, Meter]:
        """What accumulates the scores of a fit's validation by name, the primary metric first.

        Each has ``update(decided, label)``, ``class_mean()`` and ``reset()``.
        """
        from relay.tasks.meters import GroupMean

        return {self.primary.name: GroupMean(self)}

    def each(self, values: Tensor) -> Tensor:
        """One number for each sample of a set, ``(N, G)`` to ``(N,)``, whose mean is the primary metric.

        A group's samples are weighted so that every group counts alike, however few it has.
        """
        there = ~values.isnan()
        weight = there.sum(0).clamp(min=1) * there.any(0).sum().clamp(min=1) / max(1, len(values))
        found: Tensor = (values / weight).nansum(1).masked_fill(~there.any(1), float("nan"))
        return found

    def details(self, answer: Sequence[float], label: Any) -> list[tuple[str, str, float]]:
        """What else the rows of one sample say, for a task that is not dense: group, metric, value."""
        return []

    # -- the style memory ------------------------------------------------------------------------------------------

    @property
    def regions(self) -> int:
        """How many regions of an image have an appearance of their own."""
        return 1

    def region(self, label: Tensor, image: Tensor) -> Tensor:
        """Which region each voxel is in, int64 ``(B, *S)``; the image as a whole is one."""
        return image.new_zeros(image[:, 0].shape, dtype=_long())


def _long() -> Any:
    import torch

    return torch.long


def refused(record: Any, value: object, allowed: str, cure: str) -> DataError:
    """The error for a target that is not allowed; ``record`` names itself."""
    said = "has no target" if value is None else f"has the target {value!r}"
    return DataError(f"{record.image}: {said}; it must be {allowed}", cure)


def whole(value: object) -> bool:
    """Whether a value is an integer; ``True`` is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
