"""The base of strategies: how a leg learns, and nothing else.

A leg calls, in this order: :meth:`~Strategy.setup` (the model to train), :meth:`~Strategy.receive` (what the
previous site handed over), :meth:`~Strategy.begin` (access to the images). It fits each of :meth:`~Strategy.phases`,
calls :meth:`~Strategy.finish`, and finally :meth:`~Strategy.memory`, :meth:`~Strategy.cumulative` and
:meth:`~Strategy.expert` for what travels beside the model. The leg takes care of data, devices, checkpoints,
progress and scores.

A strategy's file must import without torch, so that its options can be checked at once: import the maths
where you use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from relay.config import options
from relay.phase import Batch, Phase, Task, Training

if TYPE_CHECKING:
    from torch import Tensor, nn

    from relay.data import Dataset
    from relay.handover import Handover, MemoryState
    from relay.plan import StrategyLike

__all__ = ["Batch", "NoOptions", "Phase", "Strategy", "Task", "Training"]


@options
class NoOptions:
    """For a strategy without options."""


class Strategy:
    """Fine-tuning with the task's loss; subclasses override what their method changes.

    Attributes:
        Options: the strategy's ``kwargs`` in a config.
        uses_incoming: whether a leg starts from the previous site's model; else every leg starts from scratch.
        pools_sites: whether one leg trains on several sites' data at once (never in a deployment).
        plain_start: whether a leg without a handover only fits the model with the task's loss, as ``sequential`` does,
            whatever the options: a comparison then trains it once for all such strategies. A subclass does not inherit
            this; it must say so itself.
        any_training: whether the site's own code may train in place of the phase that trains the model
            (:mod:`relay.own_code`): what the leg hands over beside the model then depends on the trained model and the
            images, not on how it was trained. A subclass does not inherit this, either.
        laps: how many laps through the sites a comparison gives it; the laps share the budget.
        kinds: kinds of the memories that a leg will hand over; a study's policy may forbid some.
        noised: those of them that take nothing of this site's images but a mean with noise where there is one
            (:attr:`.Training.noisy_mean`): ``train.privacy`` covers them.
        shares: of the leg's budget, one for each phase, as far as known before; the time left is estimated from them.
        carries_expert: whether a leg will hand over an expert; a study's policy may forbid it.
        model: the net being trained.
        criterion: ``(logits, label) -> loss``.
        task: what to learn, and where.
        incoming: what was received, or None.
    """

    Options: ClassVar[type] = NoOptions
    uses_incoming: ClassVar[bool] = True
    pools_sites: ClassVar[bool] = False
    plain_start: ClassVar[bool] = False
    any_training: ClassVar[bool] = False
    laps: ClassVar[int] = 1
    kinds: tuple[str, ...] = ()
    noised: tuple[str, ...] = ()
    carries_expert: bool = False
    shares: tuple[float, ...] = (1.0,)

    model: nn.Module
    criterion: Callable[[Tensor, Tensor], Tensor]
    task: Task
    incoming: Handover | None = None

    def __init__(self, options: Any) -> None:
        self.options = options

    def setup(self, model: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], task: Task) -> None:
        """Take the freshly built model and the task's loss."""
        self.model, self.criterion, self.task = model, criterion, task

    def receive(self, handover: Handover | None) -> None:
        """Start from what the previous site handed over; None for the first leg.

        Raises:
            HandoverError: the weights don't match the model.
        """
        from relay.handover import load_model

        self.incoming = handover
        if handover is not None:
            load_model(self.model, handover.model)

    def begin(self, training: Training) -> None:
        """Use the leg's images before the first phase; this runs identically in every process."""

    def phases(self) -> Sequence[Phase]:
        """The fits of this leg, in order; their shares of the budget need not sum to one."""
        return [Phase("learn", self.model, self.loss)]

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The terms of one batch's loss; their sum is minimised."""
        return {"task": self.criterion(self.model(batch.image), batch.label)}

    def finish(self, training: Training) -> None:
        """Called after the last phase, in one process, with the model on its device."""

    def memory(self) -> MemoryState | None:
        """This leg's memory of its own site; it stays in all later handovers."""
        return None

    def cumulative(self) -> MemoryState | None:
        """The memory of all sites so far, until the next leg renews it."""
        return None

    def expert(self) -> Mapping[str, Tensor] | None:
        """The weights of the model that is best at this site, if it travels beside the one for everybody."""
        return None

    def pool(self, datasets: Mapping[int, Dataset]) -> Sequence[Dataset]:
        """For a strategy that pools: those it trains on of all data sets of the config, by ``task_id``."""
        return list(datasets.values())


if TYPE_CHECKING:
    _what_a_leg_asks: type[StrategyLike] = Strategy  # mypy holds it to the protocol here
