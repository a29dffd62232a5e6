"""Merge: fine-tune, then average with the incoming model, each side weighted by the samples it has seen.

Federated averaging weights its clients this way (McMahan et al. 2017, arXiv:1602.05629); the average of a net and the
one it was fine-tuned from often keeps the abilities of both (Wortsman et al. 2022, arXiv:2109.01903).
"""

from __future__ import annotations

from typing import Annotated, Literal

from relay.config import Field, options

from .base import Strategy, Training

Weight = Literal["samples"] | Annotated[float, Field(ge=0, le=1)]


@options
class MergeOptions:
    """How much of the incoming model is kept.

    Attributes:
        merge: weight of the incoming model in the average: ``samples`` (its share of all training samples seen so
            far), a number, or 0 for no averaging.
    """

    merge: Weight = "samples"


class Merge(Strategy):
    """Average with the incoming model; the first leg is plain training."""

    Options = MergeOptions
    plain_start = True
    any_training = True

    def finish(self, training: Training) -> None:
        """Average, then recompute normalisation statistics on this site's images."""
        super().finish(training)
        if self.incoming is None or self.options.merge == 0:
            return
        from relay.memory import views
        from relay.merge import merge, refresh_statistics

        merge(self.model, self.incoming.model, self.share(training))
        images = views(training, self.task.size, len(training.patients), self.task.seed)
        refresh_statistics(self.model, images)

    def share(self, training: Training) -> float:
        """The incoming model's weight in the average."""
        if self.options.merge != "samples":
            return float(self.options.merge)
        assert self.incoming is not None
        seen = self.incoming.samples_seen
        return seen / (seen + training.samples)
