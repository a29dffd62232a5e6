"""OWM: its projectors, the steps they allow, and that it forgets less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from relay.strategies.owm import OWM
from relay.strategies.sequential import Sequential
from torch import Tensor, nn

from relay.bundle.handover_files import load
from relay.errors import HandoverError
from relay.handover import Handover, MemoryState, Privacy
from relay.memory.projection import features, half, inputs, layers, nothing, project, seen, update, weaker
from tests.strategies.toys import SMALL, adam, begun, handover, learn, relay, sgd, site_a, site_b
from tests.studies import simulate

LAYERS = [
    (nn.Conv2d(3, 5, 3, padding=1, bias=False), (3, 7, 6)),
    (nn.Conv2d(3, 5, 3, stride=2, bias=False), (3, 7, 6)),
    (nn.Conv2d(3, 5, (3, 2), padding="same", dilation=2, bias=False), (3, 7, 6)),
    (nn.Conv2d(3, 5, 3, padding="valid", bias=False), (3, 7, 6)),
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
    image = torch.randn(1, *shape)
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
    assert x.shape == (64, 1)
    assert len(x.unique()) == 64


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: str(value))
def test_a_projected_change_leaves_what_the_layer_makes_of_earlier_inputs(layer: Any, shape: tuple[int, ...]) -> None:
    """Inputs that leave some directions free, and those taken out of the projector."""
    basis = torch.randn(3, *shape)
    x = inputs(layer, basis[:1], torch.Generator().manual_seed(1))[: features(layer) - 2]
    held = update(torch.zeros(features(layer), features(layer)), x, 1e-9, seed=1)
    change = project(layer, torch.randn(layer.weight.shape), held, torch.ones(features(layer)))
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
    held = torch.zeros(5, 5)
    for scale in (1.0, 30.0):  # how bright a site's images are makes no difference
        x = torch.randn(40, 5, generator=draw).double() * torch.tensor([3, 1, 1, 0.1, 0])
        power = float((x.T @ x).diagonal().mean())
        for row in x:
            k = p @ row / (alpha * power + row @ p @ row)
            p = p - torch.outer(k, row @ p)
        held = update(held, scale * x, alpha, seed=1)
    ours = torch.eye(5) - held @ held.T
    assert torch.allclose(ours, p.float(), atol=1e-5)
    assert ours[4, 4] == pytest.approx(1)


def test_a_few_directions_are_those_that_the_projector_holds_most() -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(500, 90, generator=draw) @ torch.diag(0.8 ** torch.arange(90.0))
    full = update(torch.zeros(90, 90), x, 0.1, seed=1)
    few = update(torch.zeros(90, 8), x, 0.1, seed=2)
    values, vectors = torch.linalg.eigh(full @ full.T)
    best = vectors[:, -8:] * values[-8:] @ vectors[:, -8:].T
    assert torch.allclose(few @ few.T, best, atol=1e-4)


def test_the_same_seed_holds_the_same_and_other_draws_go_on_as_before() -> None:
    x = torch.randn(50, 40, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(7)
    once = update(torch.zeros(40, 4), x, 0.1, seed=1)
    then = torch.rand(3)
    again = update(torch.zeros(40, 4), x, 0.1, seed=1)
    torch.manual_seed(7)
    assert torch.equal(once, again)
    assert torch.equal(then, torch.rand(3))


def test_a_layer_without_any_input_keeps_what_is_held() -> None:
    held = torch.eye(3)[:, :2] * 0.5
    assert torch.equal(update(held, torch.zeros(5, 3), 0.1, seed=1), held)


def test_what_is_held_fully_once_stays_so() -> None:
    """Another site whose inputs are elsewhere takes nothing back, though a direction held fully has no inverse."""
    one, other = torch.diag(torch.tensor([1.0, 0, 0])), torch.diag(torch.tensor([0, 1.0, 0]))
    held = update(update(torch.zeros(3, 3), one, 1e-12, seed=1), other, 1.0, seed=1)
    assert (held @ held.T).diagonal().tolist() == pytest.approx([1, 0.75, 0], abs=1e-3)


def test_half_a_projection_done_twice_is_the_projection() -> None:
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    held = update(torch.zeros(6, 4), x, 0.1, seed=1)
    layer, change = nn.Linear(6, 5), torch.randn(5, 6)
    twice = project(layer, project(layer, change, held, half(held)), held, half(held))
    assert torch.allclose(twice, project(layer, change, held, torch.ones(4)), atol=1e-6)


@pytest.mark.parametrize("weight", [1.0, 0.5, 0.01])
def test_sites_that_count_less_are_held_as_with_a_larger_alpha(weight: float) -> None:
    """Of two sites, too: what is held for both is weakened at once."""
    one, two = torch.randn(2, 20, 6, generator=torch.Generator().manual_seed(1))
    held, by_hand = (
        update(update(torch.zeros(6, 6), one, alpha, seed=1), two, alpha, seed=1) for alpha in (0.1, 0.1 / weight)
    )
    weak = weaker(held, weight)
    assert torch.allclose(weak @ weak.T, by_hand @ by_hand.T, atol=1e-5)


def test_what_is_held_fully_stays_so_unless_it_counts_nothing() -> None:
    held = torch.eye(3)[:, :2] * (1 + 1e-5)  # rounded up
    assert torch.allclose(weaker(held, 0.1), torch.eye(3)[:, :2], atol=1e-4)
    assert not weaker(held, 0.0).any()


def test_a_strategy_can_let_earlier_sites_count_less() -> None:
    """For its steps; what travels on is held as ever."""
    first = begun(OWM)
    learn(first, [site_a()] * 3)
    second: Any = begun(OWM, handover(first))
    second.earlier = 0.1
    (projectors,) = second.phases()[0].frozen
    assert torch.equal(projectors.held[0], weaker(second.held["weight"], 0.1))
    assert float(projectors.held[0].norm()) < float(second.held["weight"].norm())


def test_nothing_is_held_at_first() -> None:
    empty = nothing(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 1, 1)), 5)
    assert {name: tuple(columns.shape) for name, columns in empty.items()} == {"0.weight": (18, 5), "1.weight": (3, 3)}
    change = torch.randn(3, 2, 3, 3)
    assert torch.equal(project(nn.Conv2d(2, 3, 3), change, empty["0.weight"], half(empty["0.weight"])), change)


def test_what_each_layer_saw() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1))
    images = torch.randn(4, 2, 5, 5)
    found = seen(net, torch.split(images, 1), seed=1)
    for name, there in (("0.weight", images), ("2.weight", net[:2](images))):
        x = there.detach().movedim(1, -1).flatten(0, -2)
        assert torch.allclose(found[name].sort(0).values, x.sort(0).values, atol=1e-6)
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_a_layer_that_is_never_called_keeps_what_is_held() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1))
    net.idle = nn.Linear(4, 2)
    net.forward = net[0].forward  # type: ignore[method-assign]
    found = seen(net, [torch.randn(1, 2, 5, 5)], seed=1)
    assert found["idle.weight"].shape == (0, 4)
    assert torch.equal(update(torch.eye(4)[:, :2], found["idle.weight"], 1e-3, seed=1), torch.eye(4)[:, :2])


def test_fewer_inputs_than_directions_are_held_all_the_same() -> None:
    held = update(torch.zeros(9, 6), torch.eye(9)[:2], 1e-9, seed=1)
    assert held.shape == (9, 6)
    assert (held @ held.T).diagonal().tolist() == pytest.approx([1, 1] + [0] * 7, abs=1e-6)


# -- a leg -------------------------------------------------------------------------------------------------


def test_two_legs_of_plain_gradient_descent_are_those_of_a_plain_loop() -> None:
    """The second leg's step is lr * gradient * P, as in the paper."""
    first = begun(OWM)
    learn(first, [site_a()] * 5)
    came = handover(first)
    held = came.cumulative.tensors["weight"]  # type: ignore[union-attr]
    p = torch.eye(2) - held @ held.T
    x = site_a().image.movedim(1, -1).reshape(-1, 2)
    r = x.T @ x
    assert torch.allclose(p, torch.linalg.inv(torch.eye(2) + r / (0.01 * r.diagonal().mean())), atol=1e-6)
    second = begun(OWM, came)
    learn(second, [site_b()] * 5)
    x, label = site_b().image.movedim(1, -1).reshape(-1, 2), site_b().label.reshape(-1)
    w = came.model["weight"][:, :, 0, 0].clone()
    for _ in range(5):
        gradient = ((x @ w.T).softmax(1) - nn.functional.one_hot(label, 2)).T @ x / len(x)
        w -= 0.5 * gradient @ p
    assert torch.allclose(second.model.weight[:, :, 0, 0], w, atol=1e-6)  # type: ignore[index]


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_what_a_layer_makes_of_earlier_inputs_stays_whatever_the_optimiser(optimizer: Any) -> None:
    """Inputs of three channels that lie on a line: all that is orthogonal to it may change."""

    def net() -> nn.Module:
        torch.manual_seed(0)
        return nn.Conv2d(3, 2, 1)

    line = torch.tensor([1.0, 2.0, -1.0]).view(1, 3, 1, 1)
    held = update(torch.zeros(3, 3), line.reshape(1, 3), 1e-9, seed=1)
    came = Handover(net().state_dict(), cumulative=MemoryState({"weight": held}, "owm", Privacy(derived="weights")))
    strategy = begun(OWM, came, net)
    before, bias = strategy.model(line).detach(), came.model["bias"]
    other = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    batch = type(site_a())(other, (other[:, 1] > 0).long(), torch.arange(2))
    learn(strategy, [batch] * 20, optimizer)
    assert torch.allclose(strategy.model(line), before, atol=1e-3)
    assert torch.equal(strategy.model.bias, bias)  # type: ignore[arg-type]
    assert (strategy.model.weight - came.model["weight"]).abs().max() > 0.1  # type: ignore[operator]


def test_the_first_leg_is_plain_training() -> None:
    first, plain = begun(OWM), begun(Sequential)
    (phase,) = first.phases()
    assert (phase.frozen, phase.callbacks) == ((), ())
    for strategy in (first, plain):
        learn(strategy, [site_a()] * 3)
    assert torch.equal(first.model.weight, plain.model.weight)  # type: ignore[arg-type]


def test_norms_and_biases_are_held_after_the_first_leg() -> None:
    def net() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1))

    first = begun(OWM, net=net)
    learn(first, [site_a()] * 3)
    assert not torch.equal(first.model[1].weight, net()[1].weight)  # type: ignore[index]
    came = handover(first)
    second = begun(OWM, came, net)
    learn(second, [site_b()] * 3)
    now = second.model.state_dict()
    assert [n for n in now if not torch.equal(now[n], came.model[n])] == ["0.weight", "2.weight"]


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_it_forgets_less_than_sequential_and_still_learns(optimizer: Any) -> None:
    before, forgotten, _ = relay(Sequential, optimizer)
    same, kept, learned = relay(OWM, optimizer, owm_alpha=0.01)
    assert same == before
    assert forgotten > before + 0.5
    assert kept < before + 0.05
    assert learned < 0.45


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (torch.eye(3), r"weight: \(3, 3\) torch.float32, but must be \(2, 2\)"),
        (torch.ones(2, 2), "is no projection: weight"),
        (torch.full((2, 2), float("nan")), "not finite"),
    ],
    ids=["shape", "longer", "nan"],
)
def test_what_does_not_fit_is_refused(held: Tensor, said: str) -> None:
    wrong = MemoryState({"weight": held}, "owm", Privacy(derived="weights"))
    first = begun(OWM)
    with pytest.raises(HandoverError, match=said):
        begun(OWM, Handover(first.model.state_dict(), cumulative=wrong))


def test_without_alpha_nothing_is_held() -> None:
    first, plain = begun(OWM, owm_alpha=None), begun(Sequential)
    for strategy in (first, plain):
        learn(strategy, [site_a()] * 3)
    came = handover(first)
    assert came.cumulative is None
    assert first.kinds == ()
    second, fine_tuned = begun(OWM, came, owm_alpha=None), begun(Sequential, handover(plain))
    for strategy in (second, fine_tuned):
        learn(strategy, [site_b()] * 3)
    assert torch.equal(second.model.weight, fine_tuned.model.weight)  # type: ignore[arg-type]


def test_directions_travel_by_bundle(tmp_path: Path) -> None:
    changes = {**SMALL, "common.strategy": {"name": "owm", "kwargs": {"owm_images": 4, "owm_directions": 32}}}
    simulate(tmp_path, **changes)
    one, two = (load(tmp_path / f"checkpoints/task_{n}/handover") for n in (1, 2))
    assert one.cumulative is not None
    assert two.cumulative is not None
    for name, held in one.cumulative.tensors.items():
        assert two.cumulative.tensors[name].shape == held.shape
        assert held.shape[1] == min(32, len(held))
        assert two.cumulative.tensors[name].norm() > held.norm() > 0
    moved = {name for name in one.model if not torch.equal(one.model[name], two.model[name])}
    assert moved == set(one.cumulative.tensors)
