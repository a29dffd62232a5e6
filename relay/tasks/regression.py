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
    """One number for each image. Targets are a float32 ``()``; the net's output is ``(B, 1)``."""

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
        """Numbers, float32 ``(B, 1)``."""
        return stored.float()[:, None]

    @staticmethod
    def answer(logits: Tensor) -> Tensor:
        """The predicted numbers, ``(B, 1)``."""
        return logits.float()

    @staticmethod
    def logits(answer: Tensor) -> Tensor:
        """The numbers."""
        return answer

    def decide(self, logits: Tensor) -> Tensor:
        """The predicted numbers, ``(B, 1)``."""
        return logits.float()

    def values(self, decided: Tensor, label: Tensor) -> Tensor:
        """The absolute error."""
        return (decided - label).abs()

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
