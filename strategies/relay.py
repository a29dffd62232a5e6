"""Relay: learn the site's data, and keep what the incoming solver knew of earlier sites.

A part of each batch stands for earlier sites: a memory draws it, and its targets are the soft predictions of the
*frozen* incoming solver, by cross-entropy and Dice. If wanted, the same solver is distilled from on this site's own
images (:mod:`.lwf`), and the weights are averaged with it afterwards (:mod:`.merge`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from relay.config.options import Field, options

from .base import Batch
from .merge import Merge, MergeOptions, Weight
from .replay import Replay, ReplayOptions

if TYPE_CHECKING:
    from torch import Tensor


@options
class RelayOptions(ReplayOptions, MergeOptions):
    """What holds the new solver to the incoming one: those of replay, distillation and averaging."""

    distil_weight: Annotated[float, Field(ge=0)] = 0.0
    merge: Weight = 0.0


class Relay(Replay, Merge):
    """Replay from a memory, with the frozen incoming solver as its teacher; the first leg is plain training."""

    Options = RelayOptions

    def recall(self, logits: Tensor, wanted: Tensor, drawn: Batch) -> Tensor:
        """Distillation at temperature 1, and soft Dice between both predictions."""
        from relay.losses.distillation import distillation, soft_dice

        return distillation(logits, wanted, temperature=1.0) + soft_dice(logits, wanted)
