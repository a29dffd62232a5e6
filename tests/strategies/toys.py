"""Two sites that a net of four weights can learn both of, or forget one of; and a fit without Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from relay.strategies.base import Strategy
from torch import Tensor, nn

from relay.handover import Handover
from relay.phase import Batch, Task, Training

Net = Callable[[], nn.Module]

SMALL: dict[str, Any] = {
    "common.dataset.kwargs": {"num_classes": 3, "count": 20, "size": 16, "img_size": [16, 16], "repeats": 2},
}
"""Of :func:`tests.studies.simulate`: smaller still."""


class Keeper(Strategy):
    """Fine-tuning; each leg's model travels on as the expert of its site."""

    carries_expert = True

    def expert(self) -> Mapping[str, Tensor]:
        return self.model.state_dict()


KEEPER: dict[str, Any] = {**SMALL, "common.strategy.name": "tests.strategies.toys:Keeper"}


def net() -> nn.Module:
    """Logistic regression on each voxel's two channels."""
    torch.manual_seed(0)
    return nn.Conv2d(2, 2, 1, bias=False)


def criterion(logits: Tensor, label: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, label)


def site_a(seed: int = 0) -> Batch:
    """The first channel tells the class, the second is black."""
    x = torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    x[:, 1] = 0
    return Batch(x, (x[:, 0] > 0).long(), torch.arange(8))


def site_b(seed: int = 1) -> Batch:
    """The second channel tells the class, the first tends to the other one."""
    x = torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    x[:, 0] = 0.3 * x[:, 0] - x[:, 1]
    return Batch(x, (x[:, 1] > 0).long(), torch.arange(8))


def training(*batches: Batch) -> Training:
    """A leg's images, eight of them in each batch."""

    def again() -> Iterator[Batch]:
        return iter(batches)

    count = sum(len(batch.image) for batch in batches)
    return Training(count, [str(i) for i in range(count)], again, lambda: float("nan"))


def begun(cls: type[Strategy], incoming: Handover | None = None, net: Net = net, **options: Any) -> Strategy:
    """A strategy that has its model and has received."""
    strategy = cls(cls.Options(**options))
    strategy.setup(net(), criterion, Task("b" if incoming else "a", 2, 2, (0.0, 1.0), seed=5))
    strategy.receive(incoming)
    return strategy


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.5)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.1)


def learn(strategy: Strategy, batches: Sequence[Batch], optimizer: Callable[[Any], Any] = sgd) -> None:
    """The one phase as a leg fits it, a step a batch, then what is done after it."""
    (phase,) = strategy.phases()
    steps = optimizer([p for p in phase.module.parameters() if p.requires_grad])
    for batch in batches:
        steps.zero_grad()
        torch.stack(list(phase.loss(batch).values())).sum().backward()
        for callback in phase.callbacks:
            callback.on_before_optimizer_step(None, None, steps)
        steps.step()
        for callback in phase.callbacks:
            callback.on_train_batch_end(None, None, None, batch, 0)
    strategy.finish(training(*batches[:1]))


def handover(strategy: Strategy) -> Handover:
    """What a leg hands over."""
    model = {name: tensor.clone() for name, tensor in strategy.model.state_dict().items()}
    return Handover(
        model, cumulative=strategy.cumulative(), facts={"legs": [{"site": "a", "leg": 1, "train_samples": 8}]}
    )


def relay(cls: type[Strategy], optimizer: Callable[[Any], Any] = sgd, **options: Any) -> tuple[float, float, float]:
    """Site a, then site b: the loss on a before and after b, and that on b."""
    first = begun(cls, **options)
    learn(first, [site_a()] * 40, optimizer)
    before = loss(first, site_a(7))
    second = begun(cls, handover(first), **options)
    learn(second, [site_b()] * 40, optimizer)
    return before, loss(second, site_a(7)), loss(second, site_b(8))


def loss(strategy: Strategy, batch: Batch) -> float:
    """The task's loss of the model as it is."""
    return float(criterion(strategy.model(batch.image), batch.label).detach())
