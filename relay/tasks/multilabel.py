"""Several labels for each image, each there or not, compared by balanced accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from relay.metrics import LabelBalancedAccuracy
from relay.tasks.base import Measured, Target, Task, by_name, refused, whole

if TYPE_CHECKING:
    from torch import Tensor


class Multilabel(Task):
    """Labels that an image has or has not. Targets are K uint8 zeros and ones; the net's output is ``(B, K)``.

    Each label has two groups, of the samples with it and of those without it. So the mean over groups is the mean over
    labels of balanced accuracy.
    """

    name = "multilabel"
    primary = LabelBalancedAccuracy
    score_name = "balanced accuracy"
    sample_metric = "correct"
    sample_title = "Right"
    sample_meaning = "share of images for which the label was told right"
    fewest = 1
    classes = "label"
    counted = "labels"
    loss = "BCE"
    likelihood = "bernoulli"

    @property
    def groups(self) -> list[str]:
        """Each label, then each label's absence."""
        return [*self.names, *(f"no {name}" for name in self.names)]

    def target(self, record: Any) -> Target:
        """Zeros and ones, uint8 ``(K,)``.

        Raises:
            DataError: it is anything else.
        """
        value = record.target
        flags = isinstance(value, tuple) and len(value) == self.outputs and all(whole(v) and v in (0, 1) for v in value)
        if not flags:
            raise refused(
                record,
                value,
                f"{self.outputs} numbers, each 0 or 1, one for each label ({', '.join(self.names)})",
                "Correct the data set's labels, or num_classes and class_names in the config.",
            )
        return np.asarray(value, np.uint8)

    def label(self, stored: Tensor) -> Tensor:
        """Zeros and ones, float32 ``(B, K)``."""
        return stored.float()

    @staticmethod
    def answer(logits: Tensor) -> Tensor:
        """The probability of each label, ``(B, K)``."""
        return logits.float().sigmoid()

    @staticmethod
    def logits(answer: Tensor) -> Tensor:
        """Their logits."""
        import torch

        return answer.logit(eps=torch.finfo(answer.dtype).eps)

    def decide(self, logits: Tensor) -> Tensor:
        """Which labels are more likely than not, bool ``(B, K)``."""
        return logits > 0

    def values(self, decided: Tensor, label: Tensor) -> Tensor:
        """1 or 0 in one group of each label, by whether the sample has it: whether that was predicted."""
        import torch

        has = label > 0.5
        right = (decided == has).float()
        return torch.cat([torch.where(has, right, torch.nan), torch.where(has, torch.nan, right)], 1)

    def measure(self, answers: Any, truths: Any, more: tuple[str, ...] = ()) -> Measured:
        """See :meth:`Task.measure`."""
        from relay.metrics import multilabel

        return Measured([*by_name(multilabel.multilabel(answers, truths, more), self.names)])

    def told(self, answer: Sequence[float]) -> str:
        """The labels that are more likely than not."""
        found = [f"{name} ({value:.3f})" for name, value in zip(self.names, answer, strict=True) if value > 0.5]
        return ", ".join(found) or "none"

    def details(self, answer: Sequence[float], label: Any) -> list[tuple[str, str, float]]:
        """The probability of each label."""
        return [(name, "probability", p) for name, p in zip(self.names, answer, strict=True)]
