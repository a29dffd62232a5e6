"""Relay: learn the site's data, and keep what the incoming model knows about earlier sites.

Part of each batch represents earlier sites: a memory generates it, and the model's logits are kept near those of the
*frozen* incoming model. (Distances of logits teach more than divergences of softened predictions: Kim et al. 2021,
arXiv:2105.08919.) In addition, the weights change little in the directions of the inputs of earlier sites
(:mod:`.owm`). Optionally, the incoming model is also distilled on this site's own images (:mod:`.lwf`), and the
weights are averaged with it afterwards (:mod:`.merge`).

Where all other sites together have fewer training images than this one, replay and projection count less in the same
proportion, so that each image counts alike, as it does in pooled training: a large hospital is not held to what a few
images of small ones have taught.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator
from typing_extensions import Self

from relay.config import Field, options
from relay.memory import Memory, build

from .base import Training
from .experts import Experts, ExpertsOptions
from .merge import Merge, MergeOptions, Weight
from .owm import OWM, OWMOptions
from .replay import Replay, ReplayOptions


@options
class RelayOptions(ExpertsOptions, OWMOptions, ReplayOptions, MergeOptions):
    """How the new model is kept near the incoming one: the options of replay, projection, distillation and averaging.

    Attributes:
        by_size: weaken replay and projection where all other sites together have fewer training images than this one.
        owm_alpha: as for ``owm``, whose default holds more; null for no projection.
    """

    owm_alpha: Annotated[float, Field(gt=0)] | None = 0.1
    distil_weight: Annotated[float, Field(ge=0)] = 0.0
    by_size: bool = True
    merge: Weight = 0.0

    @model_validator(mode="after")
    def _one_cumulative_memory(self) -> Self:
        if self.owm_alpha is not None and type(build(self.memory)).cumulative is not Memory.cumulative:
            raise ValueError(
                "a leg hands over only one cumulative memory, and this memory is one: also set owm_alpha: null"
            )
        return self


class Relay(Experts, OWM, Replay, Merge):
    """Replay from a memory, with the frozen incoming model as its teacher; the first leg is plain training."""

    Options = RelayOptions
    plain_start = True
    any_training = True
    holds_rest = False  # replay preserves the rest

    def begin(self, training: Training) -> None:
        """Weigh the earlier sites by their numbers of images, and let the memory process this one's."""
        if self.incoming is not None and self.options.by_size:
            self.earlier = min(1.0, self.incoming.samples_elsewhere(self.task.site) / training.samples)
        super().begin(training)
