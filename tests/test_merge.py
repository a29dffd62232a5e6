"""Averages of two nets, and the statistics that must follow."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from relay.merge import merge, refresh_statistics


def net(seed: int, norm: type[nn.Module] = nn.BatchNorm2d) -> nn.Sequential:
    torch.manual_seed(seed)
    layer = nn.GroupNorm(2, 4) if norm is nn.GroupNorm else norm(4)
    made = nn.Sequential(nn.Conv2d(2, 4, 3), layer, nn.ReLU(), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) * 9 if tensor.is_floating_point() else seed)
    return made


@given(st.floats(0, 1))
def test_every_float_is_the_weighted_average_and_every_counter_its_own(weight: float) -> None:
    mine, other = net(1), net(2)
    before = copy.deepcopy(mine.state_dict())
    merge(mine, other.state_dict(), weight)
    for name, tensor in mine.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert int(tensor) == 1
        else:
            by_hand = (1 - weight) * before[name].double() + weight * other.state_dict()[name].double()
            assert torch.allclose(tensor.double(), by_hand, rtol=1e-5)


@pytest.mark.parametrize(("weight", "winner"), [(0, 1), (1, 2)])
def test_the_ends_are_exact(weight: float, winner: int) -> None:
    mine = net(1)
    merge(mine, net(2).state_dict(), weight)
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), net(winner).parameters(), strict=True))


def test_the_other_is_left_alone_and_may_have_other_types() -> None:
    mine, other = (
        net(1),
        {k: v.double() if v.is_floating_point() else v for k, v in net(2).state_dict().items()},
    )
    kept = copy.deepcopy(other)
    merge(mine, other, 0.5)
    assert all(torch.equal(kept[k], other[k]) and kept[k].dtype == other[k].dtype for k in kept)
    assert all(p.dtype == torch.float32 for p in mine.parameters())


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_is_refused_and_nothing_is_changed(weight: float) -> None:
    mine = net(1)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        merge(mine, net(2).state_dict(), weight)
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), net(1).parameters(), strict=True))


def test_statistics_are_those_of_the_images() -> None:
    """By hand: the mean over batches of each batch's mean and unbiased variance behind the convolution."""
    model = net(3).eval()
    weights = [p.clone() for p in model.parameters()]
    images = [torch.randn(5, 2, 8, 8) + shift for shift in (0, 4, 8)]
    with torch.no_grad():
        behind = [model[0](batch).transpose(0, 1).flatten(1) for batch in images]
    refresh_statistics(model, iter(images))
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert torch.allclose(norm.running_mean, torch.stack([x.mean(1) for x in behind]).mean(0), rtol=1e-4)  # type: ignore[arg-type]
    assert torch.allclose(norm.running_var, torch.stack([x.var(1) for x in behind]).mean(0), rtol=1e-4)  # type: ignore[arg-type]
    assert norm.momentum == 0.1
    assert not model.training
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))


@pytest.mark.parametrize("norm", [nn.GroupNorm, nn.InstanceNorm2d])
def test_without_statistics_the_images_are_not_read(norm: type[nn.Module]) -> None:
    def images() -> Iterator[Tensor]:
        raise AssertionError("an image was read")
        yield

    model = net(3, norm)
    before = copy.deepcopy(model.state_dict())
    refresh_statistics(model, images())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
