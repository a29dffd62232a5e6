"""The style memory: what it keeps, what it takes, and what it draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from relay.errors import CarryError
from relay.handoff import Carry, Part
from relay.memory.style import Style, StyleOptions
from relay.phase import Batch, Task, Training

TASK = Task("south", 3, 3, (-1.0, 1.0), (16, 16))


def batch(seed: int = 0, many: int = 8, shade: int = 0, task: Task = TASK) -> Batch:
    """8-bit images in ``out_range``: three shades with noise."""
    draw = torch.Generator().manual_seed(seed)
    shape = task.size or (16, 16)
    label = torch.zeros(many, *shape, dtype=torch.long)
    label[:, 4:12, 4:12] = 1
    label[:, 6:10, 6:10] = 2
    noise = torch.randint(0, 30, (many, task.channels, *shape), generator=draw)
    grey = (40 + 50 * label[:, None] + shade + noise).clamp(0, 255).float()
    low, high = task.out_range
    return Batch(grey / 255 * (high - low) + low, label, torch.arange(many))


def training(many: int = 8, **how: Any) -> Training:
    def batches() -> Iterator[Batch]:
        yield batch(many=many, **how)

    return Training(many, [f"p{number // 2}" for number in range(many)], batches, lambda: 0.5)


def learned(task: Task = TASK, many: int = 12, shade: int = 0, **options: Any) -> Part | None:
    style = Style(StyleOptions(**options))
    style.setup(task)
    there = training(many, shade=shade, task=task)
    style.begin(there)
    style.learn(there)
    return style.own()


def carry(*parts: tuple[str, Part]) -> Carry:
    legs = [{"leg": n, "site": site, "train_samples": 8} for n, (site, _) in enumerate(parts, 1)]
    return Carry({}, {n: part for n, (_, part) in enumerate(parts, 1)}, None, {"legs": legs})


def begun(*parts: tuple[str, Part], task: Task = TASK, **options: Any) -> Style:
    style = Style(StyleOptions(**options))
    style.setup(task)
    style.receive(carry(*parts))
    style.begin(training(task=task))
    return style


def some(**options: Any) -> Part:
    part = learned(**options)
    assert part is not None
    return part


def test_what_is_kept_is_small_and_says_what_it_is() -> None:
    part = some()
    assert part.kind == "style"
    assert (part.privacy.derived, part.privacy.patients, part.privacy.epsilon) == ("aggregates", 6, None)
    assert part.size <= 16 * 1024
    assert set(part.tensors) == {"mean", "directions", "spread"}
    assert part.tensors["mean"].shape == (3 * 3 * 9 + 2,)
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
    ],
)
def test_a_memory_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CarryError, match=message) as caught:
        begun(("north", dataclasses.replace(some(), **changes)))
    assert "north" in str(caught.value)


@pytest.mark.parametrize(
    ("task", "label"),
    [
        (dataclasses.replace(TASK, kind="classification"), torch.arange(8) % 3),
        (dataclasses.replace(TASK, kind="regression"), torch.rand(8)),
    ],
)
def test_whole_images_where_no_pixel_has_a_label(task: Task, label: Tensor) -> None:
    """Classification has a look for every class of image, regression one for all."""

    def made(shade: int) -> Batch:
        return dataclasses.replace(batch(many=8, shade=shade), label=label)

    def there(shade: int) -> Training:
        return Training(8, [f"p{n}" for n in range(8)], lambda: iter([made(shade)]), lambda: 0.5)

    first, second = (Style(StyleOptions(min_patients=2)) for _ in range(2))
    for style, shade, came in ((first, 70, None), (second, 0, "north")):
        style.setup(task)
        style.receive(carry((came, part)) if came and (part := first.own()) else None)
        style.begin(there(shade))
        style.learn(there(shade))
    drawn = second.draw(made(0))
    assert drawn is not None
    assert drawn.label is label
    before, after, wanted = (b.image.mean() for b in (made(0), drawn, made(70)))
    assert abs(after - wanted) < abs(before - wanted) / 4


def test_volumes() -> None:
    task = dataclasses.replace(TASK, channels=1, size=(16, 16, 8))
    drawn = begun(("north", some(task=task, shade=60)), task=task).draw(batch(1, task=task))
    assert drawn is not None
    assert drawn.image.shape == (8, 1, 16, 16, 8)
