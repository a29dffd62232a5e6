"""OWM: its projectors, the steps they allow, and that it forgets less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from relay.strategies.owm import OWM
from relay.strategies.sequential import Sequential
from torch import Tensor, nn

from relay.errors import CarryError
from relay.handoff import Carry, Part
from relay.handoff.carry import load
from relay.handoff.memorycard import Privacy
from relay.memory.projection import correlations, features, inputs, layers, project, root, update
from tests.strategies.toys import SMALL, adam, begun, carry, learn, relay, sgd, site_a, site_b
from tests.studies import simulate

LAYERS = [
    (nn.Conv2d(3, 5, 3, padding=1, bias=False), (3, 7, 6)),
    (nn.Conv2d(3, 5, 3, stride=2, bias=False), (3, 7, 6)),
    (nn.Conv2d(3, 5, (3, 2), padding="same", dilation=2, bias=False), (3, 7, 6)),
    (nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect", bias=False), (2, 5, 5)),
    (nn.Conv3d(2, 4, 3, padding=1, bias=False), (2, 4, 5, 3)),
    (nn.Conv1d(2, 4, 3, bias=False), (2, 9)),
    (nn.ConvTranspose2d(3, 4, 2, stride=2, bias=False), (3, 4, 5)),
    (nn.Linear(6, 4, bias=False), (5, 6)),
]


def rows(layer: nn.Module, weight: Tensor) -> Tensor:
    """A weight as a matrix that x is multiplied with."""
    return weight.flatten(1).T if isinstance(layer, nn.ConvTranspose2d) else weight.flatten(1)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: str(value))
def test_a_layer_is_its_weight_times_its_inputs(layer: Any, shape: tuple[int, ...]) -> None:
    """Outputs at all positions, in any order, are those that the inputs give."""
    image = torch.randn(2, *shape)
    x = inputs(layer, image, torch.Generator().manual_seed(1))
    assert x.shape[1] == features(layer)
    made = x @ rows(layer, layer.weight).T
    out = layer(image)
    if isinstance(layer, nn.ConvTranspose2d):  # blocks of 2 x 2
        out = out.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
    elif not isinstance(layer, nn.Linear):
        out = out.movedim(1, -1).flatten(0, -2)
    else:
        out = out.flatten(0, -2)
    assert len(made) == len(out)
    ours, theirs = (t.detach()[t[:, 0].argsort()] for t in (made, out))
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_only_some_positions_are_looked_at() -> None:
    x = inputs(nn.Conv2d(1, 1, 1), torch.arange(4096.0).view(1, 1, 64, 64), torch.Generator().manual_seed(1))
    assert x.shape == (512, 1)
    assert len(x.unique()) == 512


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: str(value))
def test_a_projected_change_leaves_what_the_layer_makes_of_earlier_inputs(layer: Any, shape: tuple[int, ...]) -> None:
    """Inputs that leave some directions free, and those taken out of the projector."""
    basis = torch.randn(3, *shape)
    x = inputs(layer, basis[:1], torch.Generator().manual_seed(1))[: features(layer) - 2]
    p = update(torch.eye(features(layer)), x.T @ x, 1e-9)
    change = project(layer, torch.randn(layer.weight.shape), p)
    assert change.shape == layer.weight.shape
    assert change.abs().max() > 1e-3
    assert (x @ rows(layer, change).T).abs().max() < 1e-4 * x.abs().max()


def test_grouped_convolutions_are_left_out() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3, groups=4), nn.Linear(2, 2))
    assert list(layers(net)) == ["0.weight", "3.weight"]


def test_the_update_is_recursive_least_squares() -> None:
    """x by x, as in the paper, twice over: two sites."""
    draw = torch.Generator().manual_seed(1)
    alpha, p = 0.3, torch.eye(5, dtype=torch.float64)
    ours = torch.eye(5)
    for scale in (1.0, 30.0):  # how bright a site's images are makes no difference
        x = torch.randn(40, 5, generator=draw).double() * torch.tensor([3, 1, 1, 0.1, 0])
        power = float((x.T @ x).diagonal().mean())
        for row in x:
            k = p @ row / (alpha * power + row @ p @ row)
            p = p - torch.outer(k, row @ p)
        ours = update(ours, (scale * x).T @ (scale * x), alpha)
    assert torch.allclose(ours, p.float(), atol=1e-5)
    assert ours[4, 4] == pytest.approx(1)


def test_a_layer_without_any_input_keeps_its_projector() -> None:
    eye = torch.eye(3)
    assert torch.equal(update(eye, torch.zeros(3, 3), 0.1), eye)


def test_the_root_squared_is_the_projector_and_never_enlarges() -> None:
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    p = update(torch.eye(6), x.T @ x, 0.1)
    assert torch.allclose(root(p) @ root(p), p, atol=1e-6)
    assert torch.linalg.matrix_norm(root(100 * torch.eye(6)), 2) <= 1.0001


def test_correlations_are_of_what_each_layer_saw() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1))
    images = torch.randn(4, 2, 5, 5)
    found = correlations(net, torch.split(images, 1), seed=1)
    for name, seen in (("0.weight", images), ("2.weight", net[:2](images))):
        x = seen.detach().movedim(1, -1).flatten(0, -2)
        assert torch.allclose(found[name], x.T @ x, rtol=1e-4, atol=1e-4)
    assert not any(module._forward_pre_hooks for module in net.modules())


# -- a leg -------------------------------------------------------------------------------------------------


def test_two_legs_of_plain_gradient_descent_are_those_of_a_plain_loop() -> None:
    """The second leg's step is lr * gradient * P, as in the paper."""
    first = begun(OWM)
    learn(first, [site_a()] * 5)
    came = carry(first)
    p = came.running.tensors["weight"]  # type: ignore[union-attr]
    x = site_a().image.movedim(1, -1).reshape(-1, 2)
    r = x.T @ x
    assert torch.allclose(p, torch.linalg.inv(torch.eye(2) + r / (0.01 * r.diagonal().mean())), atol=1e-6)
    second = begun(OWM, came)
    learn(second, [site_b()] * 5)
    x, label = site_b().image.movedim(1, -1).reshape(-1, 2), site_b().label.reshape(-1)
    w = came.solver["weight"][:, :, 0, 0].clone()
    for _ in range(5):
        gradient = ((x @ w.T).softmax(1) - nn.functional.one_hot(label, 2)).T @ x / len(x)
        w -= 0.5 * gradient @ p
    assert torch.allclose(second.solver.weight[:, :, 0, 0], w, atol=1e-6)  # type: ignore[index]


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_what_a_layer_makes_of_earlier_inputs_stays_whatever_the_optimiser(optimizer: Any) -> None:
    """Inputs of three channels that lie on a line: all that is orthogonal to it may change."""

    def net() -> nn.Module:
        torch.manual_seed(0)
        return nn.Conv2d(3, 2, 1)

    line = torch.tensor([1.0, 2.0, -1.0]).view(1, 3, 1, 1)
    p = update(torch.eye(3), torch.outer(line.flatten(), line.flatten()), 1e-9)
    came = Carry(net().state_dict(), running=Part({"weight": p}, "owm", Privacy(derived="weights")))
    strategy = begun(OWM, came, net)
    before, bias = strategy.solver(line).detach(), came.solver["bias"]
    other = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    batch = type(site_a())(other, (other[:, 1] > 0).long(), torch.arange(2))
    learn(strategy, [batch] * 20, optimizer)
    assert torch.allclose(strategy.solver(line), before, atol=1e-3)
    assert torch.equal(strategy.solver.bias, bias)  # type: ignore[arg-type]
    assert (strategy.solver.weight - came.solver["weight"]).abs().max() > 0.1  # type: ignore[operator]


def test_the_first_leg_is_plain_training() -> None:
    first, plain = begun(OWM), begun(Sequential)
    (phase,) = first.phases()
    assert (phase.frozen, phase.callbacks) == ((), ())
    for strategy in (first, plain):
        learn(strategy, [site_a()] * 3)
    assert torch.equal(first.solver.weight, plain.solver.weight)  # type: ignore[arg-type]


def test_norms_and_biases_are_held_after_the_first_leg() -> None:
    def net() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1))

    first = begun(OWM, net=net)
    learn(first, [site_a()] * 3)
    assert not torch.equal(first.solver[1].weight, net()[1].weight)  # type: ignore[index]
    came = carry(first)
    second = begun(OWM, came, net)
    learn(second, [site_b()] * 3)
    now = second.solver.state_dict()
    assert [n for n in now if not torch.equal(now[n], came.solver[n])] == ["0.weight", "2.weight"]


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_it_forgets_less_than_sequential_and_still_learns(optimizer: Any) -> None:
    before, forgotten, _ = relay(Sequential, optimizer)
    same, kept, learned = relay(OWM, optimizer, owm_alpha=0.01)
    assert same == before
    assert forgotten > before + 0.5
    assert kept < before + 0.05
    assert learned < 0.45


def test_projectors_that_do_not_fit_are_refused() -> None:
    wrong = Part({"weight": torch.eye(3)}, "owm", Privacy(derived="weights"))
    first = begun(OWM)
    with pytest.raises(CarryError, match=r"weight: \(3, 3\) torch.float32, needed is \(2, 2\)"):
        begun(OWM, Carry(first.solver.state_dict(), running=wrong))


def test_projectors_travel_by_bundle(tmp_path: Path) -> None:
    changes = {**SMALL, "common.strategy": {"name": "owm", "kwargs": {"owm_images": 4}}}
    simulate(tmp_path, **changes)
    one, two = (load(tmp_path / f"checkpoints/task_{n}/carry") for n in (1, 2))
    assert one.running is not None
    assert two.running is not None
    for name, p in one.running.tensors.items():
        assert torch.allclose(p, p.T)
        assert two.running.tensors[name].diagonal().sum() < p.diagonal().sum() < len(p)
    moved = {name for name in one.solver if not torch.equal(one.solver[name], two.solver[name])}
    assert moved == set(one.running.tensors)
