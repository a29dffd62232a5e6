"""The style memory: what it keeps, what it takes, and what it draws."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from relay.errors import HandoverError
from relay.handover import Handover, MemoryState
from relay.memory.appearance import Form
from relay.memory.noisy_release import finer
from relay.memory.router import Router
from relay.memory.style import Style, StyleOptions
from relay.noise import noisy_mean
from relay.phase import Batch, Task, Training

TASK = Task("south", 3, 3, (-1.0, 1.0), (16, 16))


def batch(seed: int = 0, many: int = 8, shade: int = 0, task: Task = TASK) -> Batch:
    """8-bit images in ``intensity_range``: three shades with noise."""
    draw = torch.Generator().manual_seed(seed)
    shape = task.size or (16, 16)
    label = torch.zeros(many, *shape, dtype=torch.long)
    label[:, 4:12, 4:12] = 1
    label[:, 6:10, 6:10] = 2
    noise = torch.randint(0, 30, (many, task.channels, *shape), generator=draw)
    grey = (40 + 50 * label[:, None] + shade + noise).clamp(0, 255).float()
    low, high = task.intensity_range
    return Batch(grey / 255 * (high - low) + low, label, torch.arange(many))


def training(many: int = 8, **how: Any) -> Training:
    def batches() -> Iterator[Batch]:
        yield batch(many=many, **how)

    return Training(many, [f"p{number // 2}" for number in range(many)], batches, lambda: 0.5)


def learned(task: Task = TASK, many: int = 12, shade: int = 0, **options: Any) -> MemoryState | None:
    style = Style(StyleOptions(**options))
    style.setup(task)
    there = training(many, shade=shade, task=task)
    style.begin(there)
    style.learn(there)
    return style.own()


def handover(*states: tuple[str, MemoryState]) -> Handover:
    legs = [{"leg": n, "site": site, "train_samples": 8} for n, (site, _) in enumerate(states, 1)]
    return Handover({}, {n: state for n, (_, state) in enumerate(states, 1)}, None, {"legs": legs})


def begun(*states: tuple[str, MemoryState], task: Task = TASK, **options: Any) -> Style:
    style = Style(StyleOptions(**options))
    style.setup(task)
    style.receive(handover(*states))
    style.begin(training(task=task))
    return style


def some(**options: Any) -> MemoryState:
    state = learned(**options)
    assert state is not None
    return state


def test_what_is_kept_is_small_and_says_what_it_is() -> None:
    state = some()
    assert state.kind == "style"
    assert (state.privacy.derived, state.privacy.patients, state.privacy.epsilon) == ("aggregates", 6, None)
    assert state.size <= 16 * 1024
    looks = {f"look.{name}" for name in ("mean", "directions", "spread", "variance", "distance")}
    assert set(state.tensors) == {"mean", "directions", "spread", "described", *looks}
    assert state.tensors["mean"].shape == (3 * 3 * 9 + 2,)
    noisy = some(epsilon=4.0)
    assert (noisy.privacy.epsilon, noisy.privacy.delta) == (4.0, 1e-5)


def test_a_site_with_too_few_patients_keeps_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert learned(many=8, min_patients=5) is None
    assert "4 patients" in caplog.text
    assert learned(many=8, min_patients=4) is not None


def test_it_draws_nothing_at_the_first_leg_or_from_its_own_site() -> None:
    assert begun().draw(batch()) is None
    assert begun(("south", some())).draw(batch()) is None


def medians(batch: Batch) -> Tensor:
    """Of each class, over all channels, in grey levels."""
    levels = (batch.image + 1) * 127.5
    return torch.stack([levels.movedim(1, -1)[batch.label == number].median() for number in range(3)])


def test_what_is_drawn_looks_like_the_earlier_site_and_keeps_this_sites_anatomy() -> None:
    torch.manual_seed(1)
    mine, theirs = batch(1), batch(2, shade=70)
    drawn = begun(("north", some(shade=70))).draw(mine)
    assert drawn is not None
    assert (medians(drawn) - medians(theirs)).abs().max() < 12
    assert (medians(mine) - medians(theirs)).abs().min() > 60
    assert float((drawn.label == mine.label).float().mean()) > 0.95
    assert drawn.image.shape == mine.image.shape
    assert -1 <= drawn.image.min() <= drawn.image.max() <= 1
    assert torch.equal(mine.image, batch(1).image), "the batch itself is not changed"


def test_every_earlier_site_is_drawn_and_a_later_memory_replaces_an_earlier_one() -> None:
    dark, bright = some(shade=0), some(shade=120)
    torch.manual_seed(1)
    both = begun(("north", dark), ("east", bright)).draw(batch(many=64, seed=3))
    assert both is not None
    means = ((both.image + 1) * 127.5).flatten(1).mean(1)
    assert 10 < int((means > 120).sum()) < 54
    newest = begun(("north", dark), ("north", bright)).draw(batch(many=16))
    assert newest is not None
    assert ((newest.image + 1) * 127.5).flatten(1).mean(1).min() > 120


def test_draws_come_from_torchs_own_generator() -> None:
    style = begun(("north", some()))
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn = style.draw(batch())
        assert drawn is not None
        found.append(drawn.image)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "flow"}, "kind 'flow'"),
        ({"about": {"quantiles": 5}}, "quantiles"),
        ({"tensors": {"mean": torch.zeros(3)}}, "does not fit"),
        ({"spread": torch.tensor(1.0)}, "does not fit"),
        ({"spread": torch.full((3,), -1.0)}, "values"),
        ({"spread": torch.full((3,), 1e30)}, "values"),
        ({"mean": torch.full((83,), 7.0)}, "values"),
        ({"directions": torch.ones(3, 83)}, "values"),
        ({"directions": torch.zeros(3, 83, dtype=torch.complex64)}, "does not fit"),
        ({"look.mean": torch.zeros(14)}, "does not say how whole images look"),
        ({"look.variance": torch.full((21,), -1.0)}, "looks that no release has"),
    ],
)
def test_a_memory_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    changes = dict(changes)
    state = some(directions=3)
    assert state.tensors["spread"].shape == (3,)
    tensors = {name: changes.pop(name) for name in list(changes) if name in state.tensors}
    changes = {"tensors": {**state.tensors, **tensors}} if tensors else changes
    with pytest.raises(HandoverError, match=message) as caught:
        begun(("north", dataclasses.replace(state, **changes)))
    assert "north" in str(caught.value)


def test_a_memory_may_say_nothing_of_whole_images_but_not_of_others() -> None:
    """Older versions said nothing; looks of grey images beside colour appearances are no site's."""
    state, grey = some(), some(task=dataclasses.replace(TASK, channels=1))
    plain = {name: tensor for name, tensor in state.tensors.items() if not name.startswith("look.")}
    assert begun(("north", dataclasses.replace(state, tensors=plain))).draw(batch()) is not None
    mixed = {**plain, **{name: tensor for name, tensor in grey.tensors.items() if name.startswith("look.")}}
    with pytest.raises(HandoverError, match="does not say how whole images look"):
        begun(("north", dataclasses.replace(state, tensors=mixed)))


def test_volumes() -> None:
    task = dataclasses.replace(TASK, channels=1, size=(16, 16, 8))
    drawn = begun(("north", some(task=task, shade=60)), task=task).draw(batch(1, task=task))
    assert drawn is not None
    assert drawn.image.shape == (8, 1, 16, 16, 8)


def test_noise_clipping_and_rarity_are_those_of_the_options() -> None:
    noisy, again, plain = some(epsilon=4.0), some(epsilon=4.0), some()
    assert not torch.equal(noisy.tensors["mean"], again.tensors["mean"])
    assert torch.equal(plain.tensors["mean"], some().tensors["mean"])
    assert float(some(clip=0.1).tensors["mean"].norm()) <= 0.1 * 83**0.5 + 1e-5
    assert plain.tensors["described"].all()


def noisy(shade: int = 0, many: int = 800, **options: Any) -> MemoryState:
    """Of many patients, so that noise does not hide what is tested."""
    return some(shade=shade, many=many, epsilon=8.0, **options)


def test_with_noise_only_what_is_needed_is_released() -> None:
    state, plain = noisy(), some(many=800)
    assert state.about["quantiles"] == 3
    assert (state.privacy.patients, state.privacy.epsilon) == (400, 8.0)
    mean = state.tensors["mean"]
    assert mean.shape == (3 * 3 * 3 + 2,)
    assert state.tensors["directions"].shape == (0, 29)
    ends = plain.tensors["mean"][:-2].view(3, 3, 9)[..., [0, 4, 8]].flatten()
    assert torch.allclose(mean[:-2], ends, atol=0.05)
    whole = plain.tensors["look.mean"].view(3, 7)[:, [0, 3, 6]].flatten()
    assert torch.allclose(state.tensors["look.mean"], whole, atol=0.05)


def test_sites_with_noise_and_without_take_part_in_one_study() -> None:
    """In either role; each is painted from as many quantiles as it released."""
    torch.manual_seed(1)
    for options in ({}, {"epsilon": 8.0}):
        drawn = begun(("north", noisy(40)), ("east", some(shade=120)), **options).draw(batch(many=64, seed=3))
        assert drawn is not None
        means = ((drawn.image + 1) * 127.5).flatten(1).mean(1)
        dark = means < 130
        assert 10 < int(dark.sum()) < 54
        assert float((means[dark] - 105).abs().max()) < 12
        assert means[~dark].min() > 150


def test_fewer_quantiles_without_noise_are_another_configs() -> None:
    state = noisy()
    plain = dataclasses.replace(state, privacy=some().privacy)
    with pytest.raises(HandoverError, match="'quantiles': 3"):
        begun(("north", plain))


def test_a_router_of_sites_with_noise_and_without() -> None:
    states = {"north": noisy(0), "east": some(shade=90), "west": noisy(150)}
    for sites in (["north", "east", "west"], ["north", "west"], ["east"]):
        router = Router.of({site: states[site] for site in sites}, TASK.intensity_range)
        assert router is not None
        for place, site in enumerate(sites):
            weights = router.weights(batch(7, shade={"north": 0, "east": 90, "west": 150}[site]).image)
            assert weights[:, place].min() > 0.6


@pytest.mark.parametrize(
    ("patients", "options", "doubt"),
    [
        (4, {}, "4 patients to train on are too few"),
        (6, {}, None),
        (6, {"epsilon": 8.0}, "with epsilon 8 and 6 patients .* noise in its memory is .* About 2. patients"),
        (40, {"epsilon": 8.0}, None),
        (40, {"epsilon": 1e-6}, "About .* patients"),
    ],
)
def test_a_site_with_too_few_patients_is_warned_of_before_it_trains(
    patients: int, options: dict[str, Any], doubt: str | None
) -> None:
    style = Style(StyleOptions(**options))
    style.setup(TASK)
    found = style.doubt(patients)
    assert found is None if doubt is None else re.search(doubt, found or "")


def test_a_second_release_with_noise_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    """Two would tell more of the same patients than the epsilon that each states."""
    style = begun(("south", some(epsilon=4.0)), epsilon=4.0)
    style.begin(training(12))
    style.learn(training(12))
    assert style.own() is None
    assert "before" in caplog.text


def lesioned(having: int, many: int = 20, seed: int = 0) -> Training:
    """Class 2 occurs in some patients only."""
    whole = batch(seed, many)
    label = whole.label.clone()
    label[having:][label[having:] == 2] = 0
    return Training(many, [f"p{n}" for n in range(many)], lambda: iter([Batch(whole.image, label, whole.index)]), float)


@pytest.mark.parametrize(("having", "described"), [(20, True), (10, True), (4, False)])
def test_a_class_that_some_lack_looks_as_in_those_who_have_it(having: int, described: bool) -> None:
    style = Style(StyleOptions())
    style.setup(TASK)
    style.begin(lesioned(having))
    style.learn(lesioned(having))
    state = style.own()
    assert state is not None
    assert state.privacy.patients == (having if described else 20)
    assert bool(state.tensors["described"][-1]) is described
    torch.manual_seed(0)
    drawn = begun(("north", state)).draw(batch(3, 32))
    assert drawn is not None
    if described:
        assert (medians(drawn)[2] - medians(batch(3, 32))[2]).abs() < 12
    assert float((drawn.label == batch(3, 32).label).float().mean()) > 0.9, (
        "nothing is enlarged for want of an area-to-perimeter ratio"
    )


def test_a_site_where_no_class_is_in_enough_patients_keeps_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Images of one class each, six patients, two of each class: there is nothing that five have."""
    style = Style(StyleOptions())
    style.setup(TASK)
    plain = batch(many=6)
    labelled = dataclasses.replace(plain, label=(torch.arange(6) % 3).view(-1, 1, 1).expand_as(plain.label))
    there = Training(6, [f"p{n}" for n in range(6)], lambda: iter([labelled]), float)
    style.begin(there)
    style.learn(there)
    assert style.own() is None
    assert "min_patients" in caplog.text


def test_a_larger_area_to_perimeter_enlarges_the_image_and_its_labels() -> None:
    state = some()
    tensors = {**state.tensors, "mean": state.tensors["mean"].clone(), "spread": state.tensors["spread"] * 0}
    tensors["mean"][-2:] += 0.15
    drawn = begun(("north", dataclasses.replace(state, tensors=tensors))).draw(batch())
    assert drawn is not None
    assert int((drawn.label > 0).sum()) > 1.5 * int((batch().label > 0).sum())
    bright = (drawn.image.mean(1) + 1) * 127.5 > 75
    assert float((bright == (drawn.label > 0)).float().mean()) > 0.9


def test_drawing_is_the_same_in_half_precision() -> None:
    style = begun(("north", some(shade=40)))
    found = []
    for half in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            drawn = style.draw(batch())
        assert drawn is not None
        found.append(drawn.image)
    assert torch.equal(found[0], found[1])


def test_a_region_of_a_few_pixels_keeps_its_level() -> None:
    style = begun(("north", some()))
    small = batch()
    label = torch.where(small.label == 2, 1, small.label)
    label[:, 8, 7:10] = 2
    drawn = style.draw(Batch(small.image, label, small.index))
    assert drawn is not None
    change = (drawn.image - small.image)[:, :, 8, 7:10] * 127.5
    assert float(change.abs().mean()) < 40


def test_one_patient_changes_only_its_own_descriptions_where_that_is_asked_for() -> None:
    form = Style(StyleOptions())
    form.setup(TASK)

    def described(having: int) -> Tensor:
        form.begin(lesioned(having))
        return form.looks.filled(alone=True)

    before, after = described(5), described(4)
    assert [bool(torch.equal(a, b)) for a, b in zip(before, after, strict=True)] == [True] * 4 + [False] + [True] * 15


def test_drawing_is_the_same_in_double_precision() -> None:
    """In a fit of 64 bits torch makes doubles where nothing else is said."""
    single = begun(("north", some(shade=40)))
    torch.manual_seed(1)
    wanted = single.draw(batch())
    state = some(shade=40)
    torch.set_default_dtype(torch.float64)
    try:
        double = begun(("north", state))
        torch.manual_seed(1)
        made = batch()
        found = double.draw(Batch(made.image.double(), made.label, made.index))
    finally:
        torch.set_default_dtype(torch.float32)
    assert wanted is not None
    assert found is not None
    assert found.image.dtype == torch.float64
    assert torch.allclose(found.image.float(), wanted.image, atol=1e-5)


def test_normalised_volumes_of_four_channels_are_repainted_in_their_range() -> None:
    """Floats, as steps give them: described and painted in 256 levels, to half of which they are exact."""
    task = dataclasses.replace(TASK, channels=4, intensity_range=(-2.0, 3.0), size=(16, 16, 16))

    def floats(shade: int) -> Training:
        whole = batch(shade=shade, many=12, task=task)
        offset = torch.rand(whole.image.shape, generator=torch.Generator().manual_seed(shade)) * 5 / 255
        some = dataclasses.replace(whole, image=(whole.image + offset).half().float())
        return Training(12, [f"p{number}" for number in range(12)], lambda: iter([some]), lambda: 0.5)

    style, here = Style(StyleOptions()), floats(0)
    style.setup(task)
    there = floats(60)
    style.begin(there)
    style.learn(there)
    state = style.own()
    assert state is not None
    style = Style(StyleOptions())
    style.setup(task)
    style.receive(handover(("north", state)))
    style.begin(here)
    (mine,) = here.batches()
    (theirs,) = there.batches()
    torch.manual_seed(0)
    drawn = style.draw(mine)
    assert drawn is not None
    assert drawn.image.shape == mine.image.shape
    assert drawn.image.min() >= -2
    assert drawn.image.max() <= 3
    outside = mine.label == 0
    mean = [float(part.image.movedim(1, -1)[outside].mean()) for part in (mine, drawn, theirs)]
    assert abs(mean[1] - mean[2]) < 0.1 * abs(mean[2] - mean[0])


def replayed(there: Training, whose: Batch) -> list[Tensor]:
    """The gradient of DER++ on one patient's images, replayed by the style of another site."""
    from strategies.der import DER, DEROptions

    torch.manual_seed(1)
    net = nn.Conv2d(3, 3, 3, padding=1)
    strategy = DER(DEROptions())
    strategy.setup(net, F.cross_entropy, TASK)
    strategy.receive(dataclasses.replace(handover(("north", some(shade=60))), model=net.state_dict()))
    strategy.begin(there)
    torch.manual_seed(2)  # as of this patient and step
    return list(torch.autograd.grad(torch.stack(list(strategy.loss(whose).values())).sum(), list(net.parameters())))


@pytest.mark.parametrize("guarded", [True, False])
def test_with_a_guarantee_a_patient_changes_no_other_patients_gradient(guarded: bool) -> None:
    """Given what was released: repainting takes nothing else of this site. Without it, it takes the mean look."""
    from relay.noise import Noisy

    axes_of: list[Any] = []

    def released(describe: Any, axes: Any, reach: float) -> Noisy:
        axes_of.append(axes)
        mean = torch.linspace(-0.5, 0.5, len(axes.reach), dtype=torch.float64)
        return Noisy(mean, torch.full_like(mean, 0.1), 1.0)

    found = []
    for shade in (0, 80):  # of all patients but the last, whose regions are larger, too
        others, mine = batch(many=8, shade=shade), batch(seed=3, many=2)
        label = torch.cat([others.label, mine.label])
        if shade:
            label[:8, 2:14, 2:14].clamp_(min=1)
        all_ = Batch(torch.cat([others.image, mine.image]), label, torch.arange(10))
        there = Training(10, [f"p{n // 2}" for n in range(10)], lambda all_=all_: iter([all_]), float)
        if guarded:
            there = dataclasses.replace(there, batches=None, noisy_mean=released)
        found.append(replayed(there, Batch(mine.image, mine.label, torch.tensor([8, 9]))))
    same = all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert same == guarded
    assert len(axes_of) == 2 * guarded, "released once"


def test_what_a_patient_gives_to_the_mean_is_that_patients_alone() -> None:
    """And no more than the ball: the vector for the mean is that of the description with noise."""
    style = begun()
    taken = {}

    def keep(describe: Any, axes: Any, reach: float) -> Any:
        one = batch(many=2)
        taken["vector"] = describe(iter([Batch(one.image[:1], one.label[:1], one.index[:1]), one[1:]]))
        return noisy_mean(taken["vector"][None], axes, 1e9, reach)

    there = dataclasses.replace(training(12), noisy_mean=keep)
    style.begin(there)
    style.learn(there)
    state = style.own()
    assert state is not None
    assert state.tensors["mean"] == pytest.approx(taken["vector"][-len(state.tensors["mean"]) :], abs=1e-4)
    assert state.about["quantiles"] == 3


def test_a_mean_of_few_quantiles_is_drawn_out_to_more() -> None:
    few, form = Form(2, 1, 3, area_to_perimeter=True), Form(2, 1, 5, area_to_perimeter=True)
    mean = torch.tensor([-1.0, 0.0, 0.5, 0.0, 0.2, 1.0, 0.3])
    wanted = torch.tensor([-1.0, -0.5, 0.0, 0.25, 0.5, 0.0, 0.1, 0.2, 0.6, 1.0, 0.3])
    assert torch.allclose(finer(mean, few, form), wanted, atol=1e-6)
    assert finer(mean, few, few) is mean
