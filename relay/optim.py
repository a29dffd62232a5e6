"""Optimisers and learning-rate schedules by name: options without torch, and a ``build`` that needs it."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, model_validator
from typing_extensions import Self

from relay.config import Field, options
from relay.errors import UserError
from relay.registry import blamed

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler
    from torch.optim.optimizer import ParamsT

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@options
class OptimizerOptions:
    """A plug-in of the group ``relay.optimizers``: its options, named as torch names them, and the optimiser they make.
    Importable without torch; these are what every optimiser has."""

    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.0

    def build(self, params: ParamsT) -> Optimizer:
        """The ``torch.optim`` optimiser of this name over ``params``.

        Raises:
            UserError: torch has none of this name, or it does not take these options.
        """
        from torch import optim

        name = type(self).__name__
        try:
            made: Optimizer = getattr(optim, name)(params, **asdict(self))
        except (AttributeError, TypeError, ValueError) as error:
            advice = f"Give {name} the name and the options of a torch.optim class, or write its build(self, params)."
            raise UserError(f"torch.optim can't make the optimiser {name}: {error}", advice) from error
        return made


@options
class Adam(OptimizerOptions):
    """Kingma & Ba 2015, arXiv:1412.6980; ``weight_decay`` is an L2 penalty.

    Attributes:
        fused: take a step in one pass over the weights: half the time, rounded a little differently. Null for torch's
            own choice, which is not to.
    """

    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8
    amsgrad: bool = False
    fused: bool | None = None


@options
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101)."""

    weight_decay: NotNegative = 0.01


@options
class SGD(OptimizerOptions):
    """Stochastic gradient descent with momentum; ``fused`` as of :class:`Adam`."""

    lr: Positive = 1e-2
    momentum: Fraction = 0.9
    nesterov: bool = False
    fused: bool | None = None

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


@options
class RMSprop(OptimizerOptions):
    """Tieleman & Hinton 2012."""

    alpha: Fraction = 0.99
    eps: Positive = 1e-8
    momentum: Fraction = 0.0


@options
class Schedule:
    """A plug-in of the group ``relay.schedulers``: its options, and the learning rate they make.

    The rate depends on nothing but the step, so that a resumed run goes on as it would have. Importable without torch.
    """

    @abstractmethod
    def factor(self, step: int, total_steps: int) -> float:
        """What the base rate is multiplied by in optimiser step ``step`` = 0, 1, … of ``total_steps``; beyond
        the last it stays."""

    def build(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """A scheduler to be stepped once after each optimiser step.

        Raises:
            ValueError: ``total_steps`` is below 1.
            UserError: the warm-up takes all the steps there are.
        """
        from torch.optim.lr_scheduler import LambdaLR

        if total_steps < 1:
            raise ValueError(f"total_steps must be at least 1, not {total_steps}")
        with blamed(type(self).__name__, self):  # the first rate is asked for here
            return LambdaLR(optimizer, lambda step: self.factor(min(step, total_steps), total_steps))


def warmed(schedule: Any, optimizer: Optimizer, total_steps: int, warmup: float) -> LRScheduler:
    """A schedule after a linear warm-up; the schedule then has the steps that are left.

    Args:
        warmup: steps or, below 1, a share of ``total_steps``.

    Raises:
        UserError: the warm-up takes all the steps there are, or the schedule makes its scheduler itself.
    """
    steps = int(warmup * total_steps) if warmup < 1 else int(warmup)
    if steps == 0:
        return schedule.build(optimizer, total_steps)  # type: ignore[no-any-return]
    name, left = type(schedule).__name__, total_steps - steps
    if left <= 0:
        advice = "Make it shorter, or give it as a share below 1."
        raise UserError(f"train.warmup is {steps} steps, but the budget of a phase is {total_steps}", advice)
    if not isinstance(schedule, Schedule):
        advice = "Leave warmup out, or derive the schedule from relay.optim.Schedule."
        raise UserError(f"train.warmup: the schedule {name} has no factor", advice)
    from torch.optim.lr_scheduler import LambdaLR

    def factor(step: int) -> float:
        return (step + 1) / (steps + 1) if step < steps else schedule.factor(min(step - steps, left), left)

    with blamed(name, schedule):
        return LambdaLR(optimizer, factor)


@options
class Constant(Schedule):
    """The base rate throughout."""

    def factor(self, step: int, total_steps: int) -> float:
        """See :meth:`Schedule.factor`."""
        return 1.0


@options
class Cosine(Schedule):
    """A linear warm-up, then half a cosine wave down (Loshchilov & Hutter 2017, arXiv:1608.03983).

    Attributes:
        warmup_steps: optimiser steps of the warm-up.
        warmup_fraction: the warm-up as a share of all steps; set only one of the two.
        min_factor: the last step's rate, as a share of the base rate.
    """

    warmup_steps: Annotated[int, Field(ge=0)] = 0
    warmup_fraction: Fraction = 0.0
    min_factor: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup_steps and self.warmup_fraction:
            raise ValueError("give warmup_steps or warmup_fraction, not both")
        return self

    def warmup(self, total_steps: int) -> int:
        """The warm-up's length in optimiser steps."""
        return self.warmup_steps or int(self.warmup_fraction * total_steps)

    def factor(self, step: int, total_steps: int) -> float:
        """See :meth:`Schedule.factor`."""
        warmup = self.warmup(total_steps)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        wave = (1 + math.cos(math.pi * (step - warmup) / (total_steps - warmup))) / 2
        return self.min_factor + (1 - self.min_factor) * wave

    def build(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """See :meth:`Schedule.build`."""
        if 0 < total_steps <= self.warmup(total_steps):
            raise UserError(
                f"cosine.warmup_steps = {self.warmup_steps}, but the budget is {total_steps} steps",
                "Make the warm-up shorter, or give it as warmup_fraction.",
            )
        return super().build(optimizer, total_steps)


@options
class Poly(Schedule):
    """``(1 - step / total_steps) ** power`` (Chen et al. 2018, arXiv:1606.00915)."""

    power: Positive = 0.9

    def factor(self, step: int, total_steps: int) -> float:
        """See :meth:`Schedule.factor`."""
        return math.pow(1 - step / total_steps, self.power)


def _rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(later <= earlier for earlier, later in pairwise(values)):
        raise ValueError("must rise from one to the next")
    return values


Milestone = Annotated[float, Field(gt=0, lt=1)]


@options
class Step(Schedule):
    """The rate times ``gamma`` at each milestone, a share of all steps."""

    milestones: Annotated[tuple[Milestone, ...], Field(min_length=1), AfterValidator(_rising)] = (0.5, 0.75)
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1

    def factor(self, step: int, total_steps: int) -> float:
        """See :meth:`Schedule.factor`."""
        passed = sum(step / total_steps >= milestone for milestone in self.milestones)
        return math.pow(self.gamma, passed)
