"""What every task declares. This module does not import torch.

A task is one object, made from a data set's options by :func:`relay.tasks.task_of`. It knows what the net puts out, how
a target is read, how a prediction is scored, and by which metric models are compared (``primary``).

A prediction is scored in *groups*: a sample has one number in each group, or none (NaN). A group's mean over samples,
then the mean over groups, is the primary metric. So every result can be recomputed from rows of single samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relay.errors import DataError
from relay.metrics import Metric
from relay.phase import Likelihood

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric as Meter

Target: TypeAlias = NDArray[Any]
CLEAR = 0.01
"""The smallest difference in a score that is mentioned: see :meth:`Task.clear`."""


@dataclass(frozen=True)
class Measured:
    """What is measured over a whole test set, for a task that is not dense.

    Attributes:
        values: class or label (empty for all together), metric, value; NaN if missing.
        calibration: of a classification, ``ece`` and ``bins``.
        confusion: of a classification, counts: a row for each true class, a column for each predicted one.
    """

    values: Sequence[tuple[str, str, float]]
    calibration: Mapping[str, Any] = field(default_factory=dict)
    confusion: Sequence[Sequence[int]] = ()


class Task:
    """What a model predicts.

    Args:
        outputs: how many numbers the net puts out, for an image or for each voxel.
        names: of the outputs.

    Attributes:
        name: as in ``task`` of a data set's options.
        dense: whether there is a prediction for each voxel; else for each image.
        primary: the metric by which models are compared.
        score_name: what a set's score is called in a sentence: the primary metric, over all samples.
        sample_title, sample_meaning: what a single sample's score is called, and what its mean says.
        sample_metric: the metric of a single sample's rows, whose mean is ``primary``.
        background: whether the first group is the background, which counts in no mean.
        fewest: the lowest ``num_classes``; None if the task has no classes.
        classes: what one of the outputs is; ``counted``: what ``num_classes`` counts.
        loss: the default loss, by name.
        likelihood: how answers are distributed around the truth: what it means to keep a model's answers.
    """

    name: ClassVar[str]
    dense: ClassVar[bool] = False
    primary: ClassVar[type[Metric]]
    score_name: ClassVar[str]
    sample_metric: ClassVar[str]
    sample_title: ClassVar[str] = ""
    sample_meaning: ClassVar[str] = ""
    background: ClassVar[bool] = False
    fewest: ClassVar[int | None] = 2
    classes: ClassVar[str] = "class"
    counted: ClassVar[str] = "classes"
    loss: ClassVar[str]
    likelihood: ClassVar[Likelihood] = "categorical"

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
    def clear(cls, score: float) -> float:
        """The smallest difference to a score that is worth a word: 0.01 or, of an error, whose unit can be any, 1 %."""
        return CLEAR if isfinite(cls.primary.bounds[1]) else CLEAR * abs(score) or CLEAR

    @classmethod
    def best(cls, values: Iterable[Any], key: Any = None) -> Any:
        """The best of the values, or of the things whose value ``key`` gives: of equals the first."""
        return max(values, key=lambda item: cls.gain(item if key is None else key(item), 0.0))

    @classmethod
    def worst(cls, values: Iterable[Any], key: Any = None) -> Any:
        """The worst of the values, or of the things whose value ``key`` gives: of equals the first."""
        return min(values, key=lambda item: cls.gain(item if key is None else key(item), 0.0))

    @classmethod
    def worst_word(cls) -> str:
        """What the worst score is: ``lowest`` or ``highest``."""
        return "lowest" if cls.primary.higher_is_better else "highest"

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
    def logits(self, answer: Tensor) -> Tensor:
        """What :meth:`answer` makes its argument of, up to a constant: the inverse, for answers that were averaged."""

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

        return {self.primary.name: GroupMean(self.values, len(self.groups))}

    def each(self, values: Tensor) -> Tensor:
        """One number for each sample of a set, ``(N, G)`` to ``(N,)``, whose mean is the primary metric.

        A group's samples are weighted so that every group counts alike, however few it has.
        """
        there = ~values.isnan()
        weight = there.sum(0).clamp(min=1) * there.any(0).sum().clamp(min=1) / max(1, len(values))
        found: Tensor = (values / weight).nansum(1).masked_fill(~there.any(1), float("nan"))
        return found

    def measure(self, answers: Any, truths: Any, more: tuple[str, ...] = ()) -> Measured:
        """Every metric over a test set, for a task that is not dense.

        Args:
            answers: of all samples, ``(N, outputs)``.
            truths: their targets, as stored.
            more: metrics beside those that are installed, each ``module:Class``.

        Raises:
            DataError: an answer is not finite.
            UserError: a plug-in metric failed.
        """
        raise TypeError(f"{self.name} is measured image by image")

    def told(self, answer: Sequence[float]) -> str:
        """One sample's answer in words, for a task that is not dense."""
        best = max(range(len(answer)), key=answer.__getitem__)
        return f"{self.names[best]} ({answer[best]:.3f})"

    def details(self, answer: Sequence[float], label: Any) -> list[tuple[str, str, float]]:
        """What else the rows of one sample say, for a task that is not dense: group, metric, value."""
        return []


class OneClass(Task):
    """A task whose every decision, of a voxel or an image, is one of C classes: the net's output ``(B, C, …)`` are the
    logits of a softmax."""

    def label(self, stored: Tensor) -> Tensor:
        """int64 class indices ``(B, …)``."""
        return stored.long()

    @staticmethod
    def answer(logits: Tensor) -> Tensor:
        """Probabilities ``(B, C, …)``, which add up to 1."""
        return logits.float().softmax(1)

    @staticmethod
    def logits(answer: Tensor) -> Tensor:
        """Their logarithms."""
        import torch

        return answer.clamp(min=torch.finfo(answer.dtype).tiny).log()

    def decide(self, logits: Tensor) -> Tensor:
        """The most likely class, ``(B, …)``; probabilities will do as well."""
        return logits.argmax(1)


def by_name(found: Mapping[str, Any], names: Sequence[str]) -> Iterator[tuple[str, str, float]]:
    """Metrics as :attr:`Measured.values`: those with a number for each name, and their mean over the names."""
    means = found.get("mean", {})
    for metric, value in found.items():
        if isinstance(value, float | int):
            yield "", metric, float(value)
        elif metric in means:
            yield "", metric, means[metric]
            yield from ((name, metric, one) for name, one in zip(names, value, strict=True))


def refused(record: Any, value: object, allowed: str, cure: str) -> DataError:
    """The error for a target that is not allowed; ``record`` names itself."""
    said = "has no target" if value is None else f"has the target {value!r}"
    return DataError(f"{record.image}: {said}; it must be {allowed}", cure)


def whole(value: object) -> bool:
    """Whether a value is an integer; ``True`` is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
