"""What a leg asks of its parts. A plug-in need not derive from the toolkit's base classes: it needs these members.

Nothing here imports torch, so that a plan is made in the first second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler
    from torch.optim.optimizer import ParamsT

    from relay.data import Dataset
    from relay.handover import Handover, MemoryState
    from relay.losses import Loss
    from relay.nets import Net
    from relay.optim import OptimizerOptions, Schedule
    from relay.phase import Phase, Task, Training


@runtime_checkable
class StrategyLike(Protocol):
    """How a leg learns; what each member means: :class:`relay.strategies.base.Strategy`."""

    Options: ClassVar[type]
    uses_incoming: ClassVar[bool]
    pools_sites: ClassVar[bool]
    laps: ClassVar[int]
    kinds: tuple[str, ...]
    carries_expert: bool
    shares: tuple[float, ...]
    options: Any
    model: nn.Module

    def __init__(self, options: Any) -> None: ...
    def setup(self, model: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], task: Task) -> None:
        """Take the fresh model and the task's loss."""

    def receive(self, handover: Handover | None) -> None:
        """Start from what the previous site handed over; None is the first leg."""

    def begin(self, training: Training) -> None:
        """Use the leg's images before the first phase."""

    def phases(self) -> Sequence[Phase]:
        """The fits of the leg, in order."""

    def finish(self, training: Training) -> None:
        """Use the leg's images after the last phase."""

    def memory(self) -> MemoryState | None:
        """This leg's memory of its own site."""

    def cumulative(self) -> MemoryState | None:
        """The memory of all sites so far."""

    def expert(self) -> Mapping[str, Tensor] | None:
        """The weights that are best at this site."""

    def pool(self, datasets: Mapping[int, Dataset]) -> Sequence[Dataset]:
        """The data sets to train on, if ``pools_sites``."""


@runtime_checkable
class NetLike(Protocol):
    """A net: its checked options, and the fresh module they make (:class:`relay.nets.Net`)."""

    options: Any

    def build(self) -> nn.Module:
        """A fresh module."""


class _Options(Protocol):
    """A dataclass: a bundle's config card lists its values."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


@runtime_checkable
class LossLike(_Options, Protocol):
    """A loss's options, and the module ``(logits, label) -> loss`` that they make."""

    def build(self, num_classes: int | None = None) -> nn.Module:
        """The module; ``num_classes``, if known."""


@runtime_checkable
class OptimizerLike(_Options, Protocol):
    """An optimiser's options, and the optimiser that they make."""

    def build(self, params: ParamsT) -> Optimizer:
        """The optimiser over ``params``."""


@runtime_checkable
class SchedulerLike(_Options, Protocol):
    """A schedule's options, and the scheduler that they make, to be stepped after each optimiser step."""

    def build(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """The scheduler of an optimiser."""


if TYPE_CHECKING:  # mypy checks the toolkit's own parts against the protocols here
    _net: type[NetLike] = Net  # type: ignore[type-abstract]  # subclasses are held to it
    _loss: type[LossLike] = Loss  # type: ignore[type-abstract]
    _optimizer: type[OptimizerLike] = OptimizerOptions
    _scheduler: type[SchedulerLike] = Schedule  # type: ignore[type-abstract]
