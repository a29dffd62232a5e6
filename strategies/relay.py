"""Relay: learn the site's data, and keep what the incoming solver knew of earlier sites.

A part of each batch stands for earlier sites: a memory draws it, and the solver's logits are held to those of the
*frozen* incoming one. (Distances of logits teach more than divergences of softened predictions: Kim et al. 2021,
arXiv:2105.08919.) If wanted, the same solver is distilled from on this site's own images (:mod:`.lwf`), and the weights
are averaged with it afterwards (:mod:`.merge`).
"""

from __future__ import annotations

from typing import Annotated

from relay.config.options import Field, options

from .merge import Merge, MergeOptions, Weight
from .replay import Replay, ReplayOptions


@options
class RelayOptions(ReplayOptions, MergeOptions):
    """What holds the new solver to the incoming one: those of replay, distillation and averaging."""

    distil_weight: Annotated[float, Field(ge=0)] = 0.0
    merge: Weight = 0.0


class Relay(Replay, Merge):
    """Replay from a memory, with the frozen incoming solver as its teacher; the first leg is plain training."""

    Options = RelayOptions
