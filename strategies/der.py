"""DER: dark experience replay on samples from a memory.

Dark Experience Replay (Buzzega et al. 2020, arXiv:2004.07211) stores some earlier samples with the net's logits for
them, and keeps the net near those; DER++ adds the task's loss on their labels. Here, no sample may be stored: a
memory generates new ones, and the frozen incoming model gives the logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from relay.config import Field, options

from .base import Batch
from .replay import Replay, ReplayOptions

if TYPE_CHECKING:
    from torch import Tensor


@options
class DEROptions(ReplayOptions):
    """Weights of the terms on replayed samples.

    Attributes:
        alpha: weight of the mean squared distance of the logits.
        beta: weight of the task's loss on the memory's labels (DER++); 0 is plain DER, as in ``relay``.
    """

    distil_weight: Annotated[float, Field(ge=0)] = 0.0
    alpha: Annotated[float, Field(ge=0)] = 0.5
    beta: Annotated[float, Field(ge=0)] = 0.5


class DER(Replay):
    """Match the incoming model's logits on samples from a memory."""

    Options = DEROptions
    plain_start = True
    any_training = True

    def recall(self, logits: Tensor, wanted: Tensor, drawn: Batch) -> Tensor:
        """``alpha * mean((z - z_incoming)^2) + beta * task loss``."""
        kept: Tensor = self.options.alpha * super().recall(logits, wanted, drawn)
        right: Tensor = self.options.beta * self.criterion(logits, drawn.label)
        return kept + right
