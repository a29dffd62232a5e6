"""Classification: one class for each image, compared by balanced accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from relay.metrics import BalancedAccuracy
from relay.tasks.base import Measured, OneClass, Target, by_name, refused, whole

if TYPE_CHECKING:
    from torch import Tensor


class Classification(OneClass):
    """One class for each image. Targets are an int64 class index ``()``; the net's output is ``(B, C)``.

    A sample is in the group of its true class, where it scores 1 if that class was predicted and else 0. So the mean
    over groups is balanced accuracy: the mean of the classes' sensitivities.
    """

    name = "classification"
    primary = BalancedAccuracy
    score_name = "balanced accuracy"
    sample_metric = "correct"
    sample_title = "Right"
    sample_meaning = "share of images whose class was predicted"
    loss = "CE"

    def target(self, record: Any) -> Target:
        """A class's index, int64 ``()``.

        Raises:
            DataError: it is none of 0 to C-1.
        """
        value = record.target
        if not whole(value) or not 0 <= value < self.outputs:
            raise refused(
                record,
                value,
                f"the index of a class, 0 to {self.outputs - 1} ({', '.join(self.names)})",
                "Correct the data set's labels, or num_classes and class_names in the config.",
            )
        return np.asarray(value, np.int64)

    def values(self, decided: Tensor, label: Tensor) -> Tensor:
        """1 or 0 in the group of the true class: whether it was predicted."""
        import torch

        right = (decided == label).float()[:, None]
        mine = torch.nn.functional.one_hot(label, self.outputs).bool()
        return torch.where(mine, right, torch.nan)

    def measure(self, answers: Any, truths: Any, more: tuple[str, ...] = ()) -> Measured:
        """See :meth:`Task.measure`."""
        from relay.metrics import classification

        found = classification.classification(answers, truths, more)
        calibration = {"ece": found["ece"], "bins": found["bins"]} if "ece" in found else {}
        return Measured([*by_name(found, self.names)], calibration, found["confusion"])

    def details(self, answer: Sequence[float], label: Any) -> list[tuple[str, str, float]]:
        """The probability of each class."""
        return [(name, "probability", p) for name, p in zip(self.names, answer, strict=True)]
