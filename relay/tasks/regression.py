"""Regression: one number for each image, compared by the mean absolute error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from relay.metrics import MAE
from relay.tasks.base import Measured, Target, Task, by_name, refused, whole

if TYPE_CHECKING:
    from torch import Tensor
LARGEST = float(np.finfo(np.float32).max)
"""Targets are kept in 32 bits."""


class Regression(Task):
    """One number for each image. Targets are a float32 ``()``; the net's output is ``(B, 1)``.

    Args:
        scale: mean and standard deviation: the net's output counts standard deviations from the mean, and training
            sees targets so; answers, scores and metrics are in the target's own unit. None: all are.
    """

    name = "regression"
    primary = MAE
    score_name = "mean absolute error"
    sample_metric = "absolute_error"
    sample_title = "Absolute error"
    sample_meaning = "how far predictions are from the truth"
    fewest = None
    classes = "value"
    loss = "MSE"
    likelihood = "gaussian"

    def __init__(self, outputs: int, names: Sequence[str], scale: tuple[float, float] | None = None) -> None:
        super().__init__(outputs, names)
        self.mean, self.deviation = scale or (0.0, 1.0)

    @classmethod
    def default_names(cls, outputs: int) -> list[str]:
        """``value``."""
        return ["value"]

    def target(self, record: Any) -> Target:
        """A number, float32 ``()``.

        Raises:
            DataError: it is no finite number.
        """
        value = record.target
        if not (whole(value) or isinstance(value, float | np.floating)) or not abs(value) <= LARGEST:
            raise refused(
                record,
                value,
                f"a finite number, up to {LARGEST:.2g}",
                "Correct the data set's values; leave out images whose value is not known.",
            )
        return np.asarray(value, np.float32)

    def label(self, stored: Tensor) -> Tensor:
        """Numbers as the net puts them out, float32 ``(B, 1)``."""
        return (stored.float()[:, None] - self.mean) / self.deviation

    def answer(self, logits: Tensor) -> Tensor:
        """The predicted numbers in the target's unit, ``(B, 1)``."""
        return logits.float() * self.deviation + self.mean

    def logits(self, answer: Tensor) -> Tensor:
        """The numbers as the net puts them out."""
        return (answer - self.mean) / self.deviation

    def decide(self, logits: Tensor) -> Tensor:
        """The predicted numbers as :meth:`label` has them, ``(B, 1)``."""
        return logits.float()

    def values(self, decided: Tensor, label: Tensor) -> Tensor:
        """The absolute error in the target's unit."""
        return (decided - label).abs() * self.deviation

    def measure(self, answers: Any, truths: Any, more: tuple[str, ...] = ()) -> Measured:
        """See :meth:`Task.measure`."""
        from relay.metrics import regression

        return Measured([*by_name(regression.regression([one[0] for one in answers], truths, more), self.names)])

    def told(self, answer: Sequence[float]) -> str:
        """The number."""
        return f"{answer[0]:.6g}"

    def details(self, answer: Sequence[float], label: Any) -> list[tuple[str, str, float]]:
        """The predicted number and the true one."""
        (name,) = self.names
        return [(name, "prediction", float(answer[0])), (name, "truth", float(label))]
