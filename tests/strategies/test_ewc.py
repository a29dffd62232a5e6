"""EWC: its Fisher information, its penalty, and that it forgets less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from relay.strategies.base import Batch
from relay.strategies.ewc import EWC, EWCOptions
from relay.strategies.merge import Merge, MergeOptions
from relay.strategies.sequential import Sequential
from torch import Tensor, nn

from relay.bundle.handover_files import load
from relay.config.decorator import options
from relay.errors import HandoverError, UserError
from relay.handover import MemoryState, Privacy
from relay.memory.fisher_information import fisher
from tests.strategies.toys import SMALL, adam, begun, handover, learn, net, relay, sgd, site_a, site_b
from tests.studies import simulate


def voxels(batch: Batch) -> Tensor:
    return batch.image.movedim(1, -1).reshape(-1, 2)


def expected(weight: Tensor, x: Tensor) -> Tensor:
    """The Fisher information of logistic regression by hand: the mean of p (1 - p) x^2, for each class and channel."""
    p = (x @ weight.T).softmax(1)
    return ((p * (1 - p)).unsqueeze(2) * x.square().unsqueeze(1)).mean(0)


# -- Fisher information ------------------------------------------------------------------------------------


def test_one_draw_is_the_square_of_the_gradient_by_hand() -> None:
    model, batch = net(), site_b()
    weight = model.weight.detach()[:, :, 0, 0]
    found = fisher(model, torch.split(batch.image, 1), seed=3).view(2, 2)
    draw, total = torch.Generator().manual_seed(3), torch.zeros(2, 2)
    for x in voxels(batch).view(8, 16, 2):
        p = (x @ weight.T).softmax(1)
        label = (torch.rand(16, 1, generator=draw)[:, 0] > p[:, 0]).long()
        gradient = (p - nn.functional.one_hot(label, 2)).T @ x
        total += gradient.square() / 16 / 8
    assert torch.allclose(found, total, rtol=1e-4)


def test_over_many_draws_it_is_the_exact_one() -> None:
    model, batch = net(), site_b()
    found = fisher(model, list(torch.split(batch.image, 1)) * 100, seed=1).view(2, 2)
    assert torch.allclose(found, expected(model.weight.detach()[:, :, 0, 0], voxels(batch)), rtol=0.15)


def test_its_scale_does_not_depend_on_the_size_of_the_images() -> None:
    small = site_b().image
    large = small.repeat(1, 1, 4, 4)
    a, b = (fisher(net(), list(torch.split(image, 1)) * 100, seed=1) for image in (small, large))
    assert torch.allclose(a, b, rtol=0.2)


def test_a_sure_model_has_none() -> None:
    model = net()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1e4, 0], [1e4, 0]]).view(2, 2, 1, 1))
    assert fisher(model, torch.split(site_a().image, 1), seed=1).max() < 1e-6


def test_labels_follow_the_models_own_probabilities_not_the_data() -> None:
    """With three classes of probability 0.7, 0.2, 0.1 everywhere the bias's information is p (1 - p)."""
    model = nn.Conv2d(1, 3, 1)
    p = torch.tensor([0.7, 0.2, 0.1])
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(p.log())  # type: ignore[union-attr]
    found = fisher(model, [torch.ones(1, 1, 5, 5)] * 1000, seed=1)
    assert torch.allclose(found[3:], p * (1 - p), rtol=0.15)


# -- a leg -------------------------------------------------------------------------------------------------


def test_two_legs_are_those_of_a_plain_loop() -> None:
    """Both legs by hand: gradients of the logistic loss, lambda * F * (w - w_in) added in the second."""
    lam, gamma, rate = 7.0, 0.5, 0.5
    conf: Any = {"ewc_weight": lam, "ewc_decay": gamma, "ewc_images": 24}
    first = begun(EWC, **conf)
    learn(first, [site_a()] * 5)
    came = handover(first)
    second = begun(EWC, came, **conf)
    learn(second, [site_b()] * 5)

    def gradient(w: Tensor, batch: Batch) -> Tensor:
        x, label = voxels(batch), batch.label.reshape(-1)
        return ((x @ w.T).softmax(1) - nn.functional.one_hot(label, 2)).T @ x / len(x)

    w = net().weight.detach()[:, :, 0, 0].clone()
    for _ in range(5):
        w -= rate * gradient(w, site_a())
    assert torch.allclose(came.model["weight"][:, :, 0, 0], w, atol=1e-6)
    start, held = w.clone(), came.cumulative.tensors["weight"][:, :, 0, 0]  # type: ignore[union-attr]
    for _ in range(5):
        w -= rate * (gradient(w, site_b()) + lam * held * (w - start))
    assert torch.allclose(second.model.weight.detach()[:, :, 0, 0], w, atol=1e-6)  # type: ignore[union-attr, operator]
    fresh = begun(EWC, **conf)
    fresh.model.load_state_dict(second.model.state_dict())
    fresh.task = second.task
    learn(fresh, [site_b()], lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    alone = fresh.cumulative().tensors["weight"][:, :, 0, 0]  # type: ignore[union-attr]
    assert torch.allclose(second.cumulative().tensors["weight"][:, :, 0, 0], gamma * held + alone)  # type: ignore[union-attr]


def test_the_first_leg_is_plain_training() -> None:
    first, plain = begun(EWC), begun(Sequential)
    assert list(first.loss(site_a())) == ["task"]
    learn(first, [site_a()] * 3)
    learn(plain, [site_a()] * 3)
    assert torch.equal(first.model.weight, plain.model.weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_it_forgets_less_than_sequential_and_still_learns(optimizer: Any) -> None:
    before, forgotten, _ = relay(Sequential, optimizer)
    same, kept, learned = relay(EWC, optimizer, ewc_weight=100.0)
    assert same == before
    assert forgotten > before + 0.5
    assert kept < before + 0.05
    assert learned < 0.45


def test_what_it_takes_for_important_is_what_site_a_shows() -> None:
    first = begun(EWC)
    learn(first, [site_a()] * 40)
    information = first.cumulative().tensors["weight"][:, :, 0, 0]  # type: ignore[union-attr]
    assert (information[:, 0] > 0).all()
    assert not information[:, 1].any()


def test_a_leg_without_what_came_is_refused() -> None:
    first = begun(Sequential)
    with pytest.raises(HandoverError, match="but received none"):
        begun(EWC, handover(first))


# -- combined ----------------------------------------------------------------------------------------------


@options
class MergeEWCOptions(EWCOptions, MergeOptions):
    """Both."""


class MergeEWC(EWC, Merge):
    """EWC, then an average with the incoming weights."""

    Options = MergeEWCOptions


def test_combined_with_averaging_the_information_is_that_of_the_average() -> None:
    first = begun(MergeEWC, merge=0.5)
    learn(first, [site_a()] * 5)
    came = handover(first)
    combined, plain = begun(MergeEWC, came, merge=0.5), begun(EWC, came)
    for strategy in (combined, plain):
        learn(strategy, [site_b()] * 5)
    average = (came.model["weight"] + plain.model.weight) / 2  # type: ignore[operator]
    assert torch.allclose(combined.model.weight, average)  # type: ignore[arg-type]
    at_average = begun(EWC, came)
    at_average.model.load_state_dict(combined.model.state_dict())
    at_average.task = combined.task
    learn(at_average, [site_b()], lambda parameters: sgd([{"params": parameters, "lr": 0.0}]))
    ours, theirs = (s.cumulative().tensors["weight"] for s in (combined, at_average))  # type: ignore[union-attr]
    assert torch.allclose(ours, theirs)
    assert list(combined.loss(site_b())) == ["task", "ewc"]


class Running(Sequential):
    """Hands over a cumulative memory of its own."""

    def cumulative(self) -> MemoryState:
        return MemoryState({}, "flow", Privacy(derived="generator"))


class Twice(EWC, Running):
    """Two cumulative memories."""


def test_with_a_second_cumulative_memory_it_is_refused() -> None:
    twice = begun(Twice)
    learn(twice, [site_a()])
    with pytest.raises(UserError, match="'ewc' and 'flow'"):
        twice.cumulative()


# -- between sites -----------------------------------------------------------------------------------------


def test_importances_travel_by_bundle(tmp_path: Path) -> None:
    kwargs = {"ewc_weight": 5.0, "ewc_images": 8}
    changes = {**SMALL, "common.strategy": {"name": "ewc", "kwargs": kwargs}}
    run = simulate(tmp_path, **changes)
    one, two = (load(tmp_path / f"checkpoints/task_{n}/handover") for n in (1, 2))
    assert one.cumulative is not None
    assert two.cumulative is not None
    strategy: Any = run.study.legs[1].strategy
    names = [name for name, _ in strategy.model.named_parameters()]
    for vector, came in ((strategy.anchor.weights, one.model), (strategy.anchor.importance, one.cumulative.tensors)):
        assert torch.equal(vector.cpu(), torch.cat([came[name].flatten() for name in names]))
    sums = [sum(float(t.sum()) for t in state.tensors.values()) for state in (one.cumulative, two.cumulative)]
    assert 0 < sums[0] < sums[1]
    assert all((two.cumulative.tensors[n] >= t).all() for n, t in one.cumulative.tensors.items())
