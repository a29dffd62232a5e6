"""What memories hold of single patients: what one changes, classes of few, and samples that are alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from relay.handover import MemoryState, Privacy
from relay.memory import repeated_samples
from relay.memory.inversion import by_class
from relay.memory.patient_influence import influence
from relay.memory.repeated_samples import duplicates
from relay.memory.style import Style, StyleOptions
from relay.phase import Batch, Training
from tests.memory.test_style import TASK, batch, learned

PATIENTS = [f"p{number // 2}" for number in range(12)]


def images(without: str | None = None) -> Batch:
    """Twelve images of six patients, who differ; of the last one, there is no class 2."""
    found = batch(many=12)
    image = found.image + torch.arange(12).view(-1, 1, 1, 1) // 2 / 16
    label = found.label.clone()
    label[10:][label[10:] == 2] = 1
    kept = torch.tensor([name != without for name in PATIENTS])
    return Batch(image.clamp(-1, 1)[kept], label[kept], torch.arange(int(kept.sum())))


def style(without: str | None = None) -> MemoryState:
    names = [name for name in PATIENTS if name != without]

    def batches() -> Iterator[Batch]:
        yield images(without)

    made = Style(StyleOptions(min_patients=4))
    made.setup(TASK)
    there = Training(len(names), names, batches, lambda: 0.5)
    made.begin(there)
    made.learn(there)
    state = made.own()
    assert state is not None
    return state


def test_the_most_that_one_patient_changes_is_that_of_learning_without_each() -> None:
    whole = style()
    found = {one.what: one for one in influence(whole, lambda: [images()], PATIENTS, TASK)}
    mean = found["mean appearance of the classes"]
    changed = [(style(name).tensors["mean"] - whole.tensors["mean"]).abs().max() / 2 for name in set(PATIENTS)]
    assert mean.measured == pytest.approx(float(max(changed)), rel=1e-4)
    assert mean.patients == 5, "of class 2"
    looks = found["mean appearance of whole images"]
    changed = [(style(n).tensors["look.mean"] - whole.tensors["look.mean"]).abs().max() / 2 for n in set(PATIENTS)]
    assert looks.measured == pytest.approx(float(max(changed)), rel=1e-4)
    assert all(one.measured <= one.bound and one.same for one in found.values())
    assert len(found) == 3
    other = dataclasses.replace(whole, tensors={**whole.tensors, "mean": whole.tensors["mean"] + 0.01})
    assert not next(influence(other, lambda: [images()], PATIENTS, TASK)).same


def test_of_what_was_released_with_noise_the_guarantee_says_more() -> None:
    noisy = learned(epsilon=8.0)
    assert noisy is not None
    assert not list(influence(noisy, lambda: [images()], PATIENTS, TASK))


def test_a_class_of_one_patient_is_as_near_as_its_mean() -> None:
    state = style()
    ((_, alone),) = by_class(style(), lambda: [images()], TASK, {})
    assert alone.shape == (3, 12)
    assert alone[2, 10:].isnan().all(), "who has none of a class is at no distance from it"
    assert alone.nan_to_num(1).min() > 0
    ((_, one),) = by_class(_only(state, "p3"), lambda: [images()], TASK, {})
    assert one[:, 6:8].max() < one[:, :6].min() / 2


def _only(state: MemoryState, patient: str) -> MemoryState:
    """The memory, with the mean of one patient alone."""
    from relay.memory.appearance import Form, describe, eight_bits

    found = describe(eight_bits(images().image, (-1, 1)), images().label, Form(**dict(state.about)))
    mine = torch.tensor([name == patient for name in PATIENTS])
    return dataclasses.replace(state, tensors={**state.tensors, "mean": found[mine].mean(0)})


def test_samples_that_are_alike_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    pool = torch.randint(0, 256, (20, 3, 16, 16), generator=draw, dtype=torch.uint8)
    pool[5:8] = pool[4]
    pool[9] = pool[8]
    monkeypatch.setattr(repeated_samples, "drawn", lambda *_: pool)
    state: Any = MemoryState({}, "flow", Privacy(derived="generator"))
    real = Batch(torch.rand(12, 3, 16, 16, generator=draw) * 2 - 1, torch.zeros(12), torch.arange(12))
    found = duplicates(state, lambda: [real], PATIENTS, TASK)
    assert found is not None
    assert (found.samples, found.repeated, found.largest) == (20, 6, 4)
    assert duplicates(state, lambda: [real], ["one"] * 12, TASK) is None
    assert duplicates(style(), lambda: [real], PATIENTS, TASK) is None
