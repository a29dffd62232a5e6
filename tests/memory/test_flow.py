"""The flow memory: what it learns, draws, and hands on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from relay.bundle.handover_files import load
from relay.config.checking import check
from relay.errors import HandoverError, Interrupted, UserError
from relay.handover import Handover, MemoryState, Privacy
from relay.leg import run as leg_run
from relay.leg.callbacks import ShowProgress
from relay.leg.paths import RunPaths
from relay.memory import flow_pool
from relay.memory.flow import Flow, FlowOptions
from relay.memory.flow_card import About, read
from relay.memory.flow_net import Average, VelocityNet, sample, velocity_loss
from relay.memory.flow_pool import join
from relay.phase import Batch, Task, Training
from tests.studies import simulate

SIZE = (8, 8)
TINY: dict[str, Any] = {"features": [16], "steps": 4, "pool": 24}


def task(site: str = "north", **changes: Any) -> Task:
    return dataclasses.replace(Task(site, 2, 1, (0.0, 2.0), SIZE, seed=3), **changes)


def batch(level: float = 1.0, count: int = 8, size: tuple[int, ...] = SIZE) -> Batch:
    """Images of a mean intensity; the upper half is class 1, and brighter."""
    label = torch.zeros(count, *size, dtype=torch.int64)
    label[:, : size[0] // 2] = 1
    return Batch(level - 0.3 + 0.6 * label[:, None], label, torch.arange(count))


def training(level: float = 1.0, patients: int = 4) -> Training:
    names = [f"p{number % patients}" for number in range(8)]
    return Training(8, names, lambda: iter([batch(level)]), lambda: 0.5)


def begun(site: str = "north", incoming: MemoryState | None = None, level: float = 1.4, **options: Any) -> Flow:
    memory = Flow(FlowOptions(**{**TINY, **options}))
    memory.setup(task(site))
    memory.receive(Handover({}, cumulative=incoming) if incoming else None)
    memory.begin(training(level))
    return memory


def renewed(memory: Flow, level: float, steps: int) -> MemoryState:
    """The memory after a fit on :func:`batch`, as Lightning would do it."""
    (phase,) = memory.phases()
    optimizer = phase.optimizer.build(phase.module.parameters())
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        phase.loss(batch(level))["flow"].backward()
        optimizer.step()
        for callback in phase.callbacks:
            callback.on_train_batch_end(SimpleNamespace(global_step=step))
    return memory.cumulative()


@pytest.fixture(scope="module")
def state() -> MemoryState:
    """The generator of a site whose images are dark."""
    torch.manual_seed(0)
    return renewed(begun(lr=5e-3, level=0.6), 0.6, 80)


# The flow itself


@pytest.mark.parametrize("size", [(32, 32), (33, 20), (1, 5), (6, 9, 7)])
def test_the_net_gives_a_velocity_for_every_pixel(size: tuple[int, ...]) -> None:
    net = VelocityNet(len(size), 4, 2, (16, 24))
    torch.nn.init.normal_(net.last[-1].weight)
    x = torch.randn(2, 4, *size)
    site, time = torch.tensor([0, 0]), torch.tensor([0.5, 0.5])
    out = net(x, time, site)
    assert out.shape == x.shape
    torch.nn.init.normal_(net.down[0].leave[-1].weight)
    out = net(x, time, site)
    assert not torch.equal(out, net(x, time / 2, site))
    assert not torch.equal(out, net(x, time, site + 1))


def straight(target: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The one velocity that leads everything to ``target``."""
    return lambda x, time, site: (target - x) / (1 - time.view(-1, 1, 1, 1))


@pytest.mark.parametrize("steps", [1, 3, 16])
def test_euler_steps_follow_a_straight_velocity_to_its_end(steps: int) -> None:
    target = torch.randn(2, 3, 4, 4)
    found = sample(straight(target), torch.randn(2, 3, 4, 4), torch.zeros(2), steps)  # type: ignore[arg-type]
    assert torch.allclose(found, target, atol=1e-5)


def test_the_true_velocity_has_no_loss_and_a_net_that_says_nothing_has_that_of_data_and_noise() -> None:
    data = torch.full((256, 1, 8, 8), 2.0, dtype=torch.float64)
    site = torch.zeros(256)
    assert velocity_loss(straight(data), data, site) < 1e-12  # type: ignore[arg-type]
    nothing = velocity_loss(lambda x, *_: torch.zeros_like(x), data, site)  # type: ignore[arg-type, return-value]
    assert nothing.item() == pytest.approx(2.0**2 + 1, rel=0.05)


def test_the_average_starts_fast_and_ends_slow() -> None:
    net, mean = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False).requires_grad_(False)
    average = Average(net, mean, 0.99)
    for step, wanted in [(1, 1 - 2 / 11), (10**6, 0.01)]:
        torch.nn.init.ones_(net.weight)
        torch.nn.init.zeros_(mean.weight)
        average.on_train_batch_end(SimpleNamespace(global_step=step))
        assert mean.weight.item() == pytest.approx(wanted)


def test_image_and_labels_become_channels_between_minus_one_and_one() -> None:
    joined = join(batch(1.7), task())
    assert joined.shape == (8, 3, *SIZE)
    assert joined[:, 0].unique().tolist() == pytest.approx([0.4, 1.0])
    assert torch.equal(joined[:, 2] > 0, batch().label == 1)
    assert torch.equal(joined[:, 1], -joined[:, 2])


@pytest.mark.parametrize("cut", [1, 3, 8])
def test_intensities_are_brought_to_zero_mean_and_unit_spread_and_back(cut: int) -> None:
    net, images = VelocityNet(2, 4, 1, (16,)), torch.randn(8, 2, 5, 5) * 0.2 + 0.3
    images[:, 1] = 0.7  # constant: not blown up
    net.fit_scale(images.split(cut))
    data = torch.cat([images, torch.ones(8, 2, 5, 5)], 1)
    known = net.standard(data)
    assert known[:, 0].mean().item() == pytest.approx(0, abs=1e-5)
    assert known[:, 0].std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert known[:, 1].abs().max() < 1e-3
    assert torch.equal(known[:, 2:], data[:, 2:])
    assert torch.allclose(net.restored(known), data, atol=1e-5)


# What is drawn


def test_the_first_leg_remembers_nothing() -> None:
    memory = begun()
    assert memory.draw(batch()) is None
    assert memory.own() is None


def test_drawn_samples_stand_for_the_earlier_site(state: MemoryState) -> None:
    memory = begun("south", state)
    here = batch(1.4, count=5)
    kept = dataclasses.replace(here, image=here.image.clone())
    drawn = memory.draw(here)
    assert drawn is not None
    assert drawn.image.shape == here.image.shape
    assert drawn.label.dtype == torch.int64
    assert drawn.label.shape == here.label.shape
    assert drawn.index.tolist() == [-1] * 5
    assert 0 <= drawn.image.min() <= drawn.image.max() <= 2
    assert abs(drawn.image.mean() - 0.6) < 0.2  # as dark as that site's, in intensity_range
    assert (drawn.label == here.label).float().mean() > 0.9  # labels come with the images
    assert torch.equal(here.image, kept.image)


def test_drawn_samples_have_the_type_of_the_batch(state: MemoryState) -> None:
    here = batch()
    drawn = begun("south", state).draw(dataclasses.replace(here, image=here.image.double()))
    assert drawn is not None
    assert drawn.image.dtype == torch.float64


def test_the_pool_depends_on_nothing_but_seed_site_and_generator(state: MemoryState) -> None:
    torch.manual_seed(1)
    one = begun("south", state).pool
    torch.manual_seed(2)
    same, other = begun("south", state).pool, begun("west", state).pool
    assert one is not None
    assert same is not None
    assert other is not None
    assert torch.equal(one.image, same.image)
    assert torch.equal(one.label, same.label)
    assert not torch.equal(one.image, other.image)
    assert one.image.dtype == one.label.dtype == torch.uint8


def test_the_pool_is_drawn_once_and_choosing_from_it_follows_torchs_own_seed(
    state: MemoryState, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(flow_pool, "sample", lambda *args: calls.append(1) or sample(*args))
    memory, drawn = begun("south", state), []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        drawn.append(memory.draw(batch()))
    memory.loss(batch())
    assert len(calls) == 1
    assert torch.equal(drawn[0].image, drawn[1].image)
    assert not torch.equal(drawn[0].image, drawn[2].image)


def test_a_pool_that_is_drawn_in_pieces_is_whole(state: MemoryState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_pool, "VOXELS", 7 * 64)
    pool = begun("south", state).pool
    assert pool is not None
    assert len(pool.image) == len(pool.label) == len(pool.site) == 24


def test_labels_are_what_the_teacher_sees_in_the_image_as_the_model_knows_it(state: MemoryState) -> None:
    seen = []

    def teacher(image: Tensor) -> Tensor:
        seen.append(image)
        return torch.cat([0.2 - image, image - 0.2], 1)

    memory = Flow(FlowOptions(**TINY))
    memory.setup(task("south"))
    memory.receive(Handover({}, cumulative=state))
    memory.teacher = teacher
    memory.begin(training())
    pool = memory.pool
    assert pool is not None
    assert torch.equal(pool.label.bool(), torch.cat(seen)[:, 0] > 0.2)
    assert torch.allclose(torch.cat(seen), pool.image.float() * 2 / 255, atol=1e-6)


# What it learns


def test_one_generator_covers_both_sites(state: MemoryState) -> None:
    torch.manual_seed(0)
    both = renewed(begun("south", state, lr=5e-3), 1.4, 80)
    assert both.about["sites"] == ["north", "south"]
    drawn = begun("west", both).pool
    assert drawn is not None
    levels = [drawn.image[drawn.site == number].float().mean().item() * 2 / 255 for number in (0, 1)]
    assert levels[0] == pytest.approx(0.6, abs=0.2)
    assert levels[1] == pytest.approx(1.4, abs=0.2)


@pytest.mark.parametrize("size", [(6, 9, 7), (5, 12)])
def test_volumes_and_odd_sizes_go_from_leg_to_leg(size: tuple[int, ...]) -> None:
    here, state = batch(size=size, count=4), None
    for site in ("north", "south"):
        memory = Flow(FlowOptions(**TINY))
        memory.setup(task(site, size=size))
        memory.receive(Handover({}, cumulative=state))
        memory.begin(dataclasses.replace(training(), batches=lambda: iter([here])))
        memory.loss(here)["flow"].backward()
        memory.phases()
        state = memory.cumulative()
    drawn = memory.draw(here)
    assert drawn is not None
    assert drawn.image.shape == here.image.shape
    assert drawn.label.shape == here.label.shape


def test_a_batch_of_one_is_local_or_replayed(state: MemoryState, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, sites = begun("south", state), []
    monkeypatch.setattr(
        "relay.memory.flow_net.velocity_loss", lambda net, data, site: sites.append((site.item(), data.mean())) or data
    )
    for _ in range(40):
        memory.loss(batch(1.4, count=1))
    assert {site for site, _ in sites} == {0, 1}
    assert max(level for site, level in sites if site == 0) < min(level for site, level in sites if site == 1)


def test_a_site_that_comes_again_replays_the_others_only(state: MemoryState) -> None:
    both = renewed(begun("south", state), 1.4, 1)
    again = begun("north", both)
    assert again.sites == ("north", "south")
    assert again.pool is not None
    assert again.pool.site.unique().tolist() == [1]
    assert begun("north", state).pool is None


def test_a_new_site_begins_apart_from_the_others_and_the_rest_as_it_was(state: MemoryState) -> None:
    weights = begun("south", state).net.state_dict()
    rows = weights.pop("site.weight")
    assert torch.equal(rows[:1], state.tensors["site.weight"].float())
    assert (rows[0] - rows[1]).norm() > 5
    assert all(torch.equal(value, state.tensors[name].float()) for name, value in weights.items())


# What travels


def test_what_travels_is_half_precision_and_says_what_it_is(state: MemoryState) -> None:
    assert state.kind == "flow"
    assert state.privacy == Privacy(derived="generator", patients=4)
    assert {tensor.dtype for tensor in state.tensors.values()} == {torch.float16}
    assert state.about == {
        "sites": ["north"],
        "features": [16],
        "steps": 4,
        "channels": 1,
        "classes": 2,
        "size": [8, 8],
    }
    assert state.audit is None


def test_the_fewest_patients_of_any_site_are_told(state: MemoryState) -> None:
    memory = begun("south", dataclasses.replace(state, privacy=Privacy(derived="generator", patients=2)))
    memory.phases()
    assert memory.cumulative().privacy.patients == 2


Change = Callable[[MemoryState], MemoryState]


def about(**changes: Any) -> Change:
    return lambda state: dataclasses.replace(state, about={**state.about, **changes})


def tensors(**changes: Tensor) -> Change:
    return lambda state: dataclasses.replace(state, tensors={**state.tensors, **changes})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: dataclasses.replace(state, kind="ewc"), "'ewc'.*'flow'"),
        (about(size=[8, 16]), r"size is \[8, 16\] there, \[8, 8\] here"),
        (about(classes=3, features=[32]), r"features is \[32\] there.*classes is 3 there, 2 here"),
        (about(sites=["north", "north"]), "twice"),
        (about(sites=["../north"]), "sites"),
        (about(sites=[]), "sites"),
        (about(sites=["north", "east"]), "site.weight"),
        (about(net="unet"), "net"),
        (lambda state: dataclasses.replace(state, about={}), "sites"),
        (lambda state: dataclasses.replace(state, tensors={}), "missing"),
        (tensors(more=torch.zeros(1)), "more: not in the net"),
        (tensors(**{"site.weight": torch.full((1, 128), torch.nan)}), "site.weight: not finite"),
    ],
)
def test_a_memory_that_does_not_fit_is_refused(state: MemoryState, change: Change, words: str) -> None:
    with pytest.raises(HandoverError, match=words):
        begun("south", change(state))


def test_a_handover_without_a_generator_is_a_first_leg() -> None:
    memory = Flow(FlowOptions(**TINY))
    memory.setup(task())
    memory.receive(Handover({}))
    assert memory.sites == ("north",)


@pytest.mark.parametrize(("change", "words"), [({"size": None}, "one size"), ({"dense": False}, "for segmentation")])
def test_tasks_it_can_not_serve_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Flow(FlowOptions()).setup(task(**change))


@pytest.mark.parametrize("wrong", [{"features": [12, 16]}, {"features": []}, {"steps": 0}, {"pool": 0}, {"decay": 1.0}])
def test_options_have_ranges(wrong: dict[str, Any]) -> None:
    _, problems = check(FlowOptions, wrong)
    assert problems


sides = st.lists(st.integers(1, 512), min_size=2, max_size=3).map(tuple)
widths = st.lists(st.integers(2, 128).map(lambda n: 8 * n), min_size=1, max_size=6).map(tuple)
names = st.lists(st.from_regex(r"[A-Za-z0-9_]{1,40}", fullmatch=True), min_size=1, max_size=9, unique=True).map(tuple)
cards = st.builds(
    About,
    sites=names,
    features=widths,
    steps=st.integers(1, 1000),
    channels=st.integers(1, 9),
    classes=st.integers(1, 255),
    size=sides,
)


@settings(max_examples=25)
@given(cards)
def test_a_card_reads_as_it_was_written(card: About) -> None:
    assert read(MemoryState({}, "flow", Privacy(derived="generator"), card.plain()), card) == card


# In a leg

RELAY: dict[str, Any] = {
    "common.strategy.name": "relay",
    "common.strategy.kwargs": {
        "memory": {"name": "flow", "kwargs": {**TINY, "share": 1.0}},
        "owm_alpha": None,
        "experts": False,
    },
    "common.train.num_epochs": 2,
}


def carried(root: Path, leg: str = "task_2") -> Handover:
    return load(RunPaths(root).leg(leg).handover)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flow") / "whole"
    simulate(root, **RELAY)
    return root


def test_a_relay_hands_on_one_generator_of_all_its_sites(whole: Path) -> None:
    one, two = (carried(whole, leg).cumulative for leg in ("task_1", "task_2"))
    assert one is not None
    assert two is not None
    assert one.about["sites"] == ["clinic_a"]
    assert two.about["sites"] == ["clinic_a", "clinic_b"]
    assert two.kind == "flow"
    assert two.size < 2 * 200_000
    assert not carried(whole).memories


class StopAt(ShowProgress):
    """Ctrl-C, the moment the fits have made so many steps in all."""

    left = 10**9

    def on_train_batch_end(self, *args: Any) -> None:
        super().on_train_batch_end(*args)
        StopAt.left -= 1
        if StopAt.left == 0:
            raise KeyboardInterrupt


def test_interrupted_and_resumed_gives_the_weights_of_an_unbroken_run(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    monkeypatch.setattr(StopAt, "left", 23)
    with pytest.raises(Interrupted, match=r"leg 2 .*'renew'; its last state"):
        simulate(tmp_path / "broken", **RELAY)
    simulate(tmp_path / "broken", **RELAY)
    wanted, found = carried(whole), carried(tmp_path / "broken")
    assert wanted.cumulative is not None
    assert found.cumulative is not None
    for mine, theirs in ((wanted.model, found.model), (wanted.cumulative.tensors, found.cumulative.tensors)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
