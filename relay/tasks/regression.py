"""Regression: one number for each image, compared by the mean absolute error."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from relay.metrics import MAE
from relay.tasks.base import Target, Task, refused, whole

if TYPE_CHECKING:
    from torch import Tensor


class Regression(Task):
    """One number for each image. Targets are a float32 ``()``; the net's output is ``(B, 1)``."""

    name = "regression"
    primary = MAE
    sample_metric = "absolute_error"
    fewest = None
    classes = "value"
    loss = "MSE"

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
        if not (whole(value) or isinstance(value, float)) or not isfinite(value):
            raise refused(
                record,
                value,
                "a finite number",
                "Correct the data set's values; leave out images whose value is not known.",
            )
        return np.asarray(value, np.float32)

    def label(self, stored: Tensor) -> Tensor:
        """Numbers, float32 ``(B, 1)``."""
        return stored.float()[:, None]

    def answer(self, logits: Tensor) -> Tensor:
        """The predicted numbers, ``(B, 1)``."""
        return logits.float()

    def decide(self, logits: Tensor) -> Tensor:
        """The predicted numbers, ``(B, 1)``."""
        return logits.float()

    def values(self, decided: Tensor, label: Tensor) -> Tensor:
        """The absolute error."""
        return (decided - label).abs()

    def details(self, answer: Sequence[float], label: Any) -> list[tuple[str, str, float]]:
        """The predicted number and the true one."""
        (name,) = self.names
        return [(name, "prediction", float(answer[0])), (name, "truth", float(label))]
