"""A net's weights as a vector, and how importances travel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from relay.bundle.handover_files import Facts, load, write
from relay.errors import HandoverError, TrainingError, UserError
from relay.handover import Handover, MemoryState, Privacy
from relay.memory.image_views import views
from relay.memory.weights import Anchor, as_vector, beside, named, read, state, trained
from relay.phase import Batch, Phase, Training


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def importances(model: nn.Module) -> dict[str, Tensor]:
    return {name: torch.rand(p.shape) for name, p in trained(model).items()}


def came(tensors: dict[str, Tensor], kind: str = "ewc") -> Handover:
    return Handover(net().state_dict(), cumulative=MemoryState(tensors, kind, Privacy(derived="weights")))


# -- vectors -----------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(1, 4), max_size=4), min_size=1, max_size=5), st.booleans())
def test_a_vector_gives_back_the_tensors_it_was_made_of(shapes: list[list[int]], channels_last: bool) -> None:
    tensors = {f"layer.{i}.weight": torch.rand(shape) for i, shape in enumerate(shapes)}
    if channels_last:
        form = torch.channels_last
        tensors = {k: t.contiguous(memory_format=form) if t.ndim == 4 else t for k, t in tensors.items()}
    vector = as_vector(tensors.values())
    assert vector.shape == (sum(t.numel() for t in tensors.values()),)
    back = named(vector, tensors)
    assert list(back) == list(tensors)
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())


def test_what_is_not_trained_has_no_place_in_it() -> None:
    model = net()
    model[0].weight.requires_grad_(False)  # type: ignore[index, union-attr]
    assert list(trained(model)) == ["0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]


def test_the_anchor_penalises_by_importance_and_knows_its_gradient() -> None:
    model = net()
    given = importances(model)
    anchor = Anchor.of(model, came(given), "ewc")
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert anchor(model) == 0
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape)
    by_hand = sum((given[n] * (p - start[n]) ** 2).sum() for n, p in model.named_parameters())
    assert torch.allclose(anchor(model), torch.as_tensor(by_hand))
    anchor(model).backward()
    gradient = as_vector(p.grad for p in model.parameters() if p.grad is not None)
    assert torch.allclose(gradient, anchor.gradient(as_vector(model.parameters())))


# -- what came ---------------------------------------------------------------------------------------------


def test_in_the_first_leg_nothing_matters() -> None:
    model = net()
    anchor = Anchor.of(model, None, "ewc")
    assert torch.equal(anchor.weights, as_vector(model.parameters()))
    assert not anchor.importance.any()


def test_the_order_is_the_nets_whatever_came() -> None:
    given = importances(net())
    found = read(came(dict(reversed(given.items()))), "ewc", {n: tuple(t.shape) for n, t in given.items()})
    assert list(found) == list(given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"0.weight": None}, r"0\.weight: missing"),
        ({"5.weight": torch.ones(1)}, r"5\.weight: not in the net"),
        ({"0.bias": torch.ones(5)}, r"0\.bias: \(5,\) torch.float32, but must be \(4,\)"),
        ({"0.bias": torch.ones(4).half()}, r"0\.bias: \(4,\) torch.float16"),
        ({"0.bias": torch.tensor([1.0, torch.nan, 1, 1])}, r"0\.bias: not finite"),
        ({"0.bias": torch.tensor([1.0, -1e-9, 1, 1])}, "negative"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Tensor | None], said: str) -> None:
    tensors = {n: t for n, t in {**importances(net()), **change}.items() if t is not None}
    with pytest.raises(HandoverError, match=said) as caught:
        Anchor.of(net(), came(tensors), "ewc")
    assert "configs" in caught.value.advice()


def test_at_most_five_are_named() -> None:
    with pytest.raises(HandoverError, match="and 1 more"):
        Anchor.of(net(), came({}), "ewc")


@pytest.mark.parametrize(
    ("handover", "said"),
    [
        (Handover(net().state_dict()), "but received none"),
        (came(importances(net()), "si"), "received one of kind 'si'"),
    ],
)
def test_another_strategys_memory_is_refused(handover: Handover, said: str) -> None:
    with pytest.raises(HandoverError, match=said):
        Anchor.of(net(), handover, "ewc")


# -- what is handed over -----------------------------------------------------------------------------------


def test_a_memory_travels_as_float32_and_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = net()
    vector = torch.rand(as_vector(model.parameters()).shape, dtype=torch.float64)
    made = state("ewc", named(vector, trained(model)), None)
    assert (made.kind, made.privacy.derived, made.size) == ("ewc", "weights", 4 * len(vector))
    folder = tmp_path / "handover"
    facts = Facts(leg=1, site="a", strategy="ewc", start=None, samples=1, result={}, tensors={}, torch="2")
    head = {"model": {"name": "net", "kwargs": {}}, "data": {}}
    write(Handover(model.state_dict(), cumulative=made, facts=head), folder, {}, facts)
    anchor = Anchor.of(model, load(folder), "ewc")
    assert torch.equal(anchor.importance, vector.float())


def test_a_memory_that_is_not_finite_is_not_handed_over() -> None:
    with pytest.raises(TrainingError, match=r"0\.bias"):
        state("si", {"0.bias": torch.tensor([1.0, torch.inf])}, None)


def test_two_cumulative_memories_are_one_too_many() -> None:
    other = MemoryState({}, "flow", Privacy(derived="generator"))
    with pytest.raises(UserError, match="'si' and 'flow'"):
        state("si", {}, other)


def test_only_phases_of_the_model_get_more_beside_it() -> None:
    model, other, more = net(), net(), net()
    phases = [Phase("learn", model, dict, frozen=(other,)), Phase("renew", other, dict)]  # type: ignore[arg-type]
    learn, renew = beside(phases, model, frozen=(more,), extra_state=(more,), callbacks=("c",))
    assert (learn.frozen, learn.extra_state, learn.callbacks) == ((other, more), (more,), ("c",))
    assert renew is phases[1]


# -- views -------------------------------------------------------------------------------------------------


def images(count: int, side: int = 6) -> Training:
    """Images that hold, in each voxel, their own number and place."""

    def batches() -> Iterator[Batch]:
        for start in range(0, count, 4):
            index = torch.arange(start, min(start + 4, count))
            place = torch.arange(side * side).view(1, 1, side, side) / 1000
            image = index.view(-1, 1, 1, 1) + place
            yield Batch(image, image[:, 0].long(), index)

    return Training(count, ["p"] * count, batches, lambda: 0.0)


@given(st.integers(1, 20), st.integers(1, 50))
def test_views_are_as_many_as_asked_for_and_evenly_taken(count: int, asked: int) -> None:
    seen = [int(view.amin()) for view in views(images(count), None, asked, 1)]
    assert len(seen) == asked
    often = [seen.count(index) for index in range(count)]
    assert max(often) - min(often) <= 1


def test_views_are_cropped_where_the_seed_and_the_image_say() -> None:
    first, again, other = (list(views(images(5), (2, 9), 40, seed)) for seed in (1, 1, 2))
    assert {view.shape for view in first} == {(1, 1, 2, 6)}
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert {round(1000 * float(view[0, 0, 0, 0] % 1)) // 6 for view in first} == {0, 1, 2, 3, 4}
