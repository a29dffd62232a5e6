"""Attacks on parts of a handover, each made so that it must tell: importances, averages, rare classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from relay.bundle import audits
from relay.handover import Handover, MemoryState, Privacy
from relay.leg import RunPaths, Sites
from relay.memory import named, trained
from relay.privacy import evidence
from relay.privacy.auditing import _start
from relay.privacy.carding import card_of
from relay.privacy.leaving import Leaving
from relay.privacy.on_importance import of_importance
from relay.privacy.on_memories import Memories, _classes, _states
from relay.privacy.on_models import _alone, _models
from relay.privacy.signals import gradients_of
from relay.privacy.subjects import Subjects, subjects_of
from tests.studies import study

CPU = torch.device("cpu")
LEGS = [{"leg": 1, "site": "here", "train_samples": 8}, {"leg": 2, "site": "there", "train_samples": 8}]


def left(now: Handover, before: Handover | None) -> Leaving:
    return Leaving(Path(), "here", 3, now, before, 1)


def memory(kind: str = "style", **about: Any) -> MemoryState:
    return MemoryState({}, kind, Privacy(derived="weights"), about)


def test_a_model_is_taken_out_of_an_average() -> None:
    old, own = ({"a": torch.randn(5), "n": torch.tensor(seed)} for seed in (1, 2))
    average = {"a": 0.75 * old["a"] + 0.25 * own["a"], "n": torch.tensor(2)}
    before = Handover(old, cumulative=memory("fedavg", samples=24))
    found = _alone(left(Handover(average, cumulative=memory("fedavg", samples=32)), before))
    assert found is not None
    torch.testing.assert_close(found["a"], own["a"])
    assert _alone(left(Handover(average, cumulative=memory("fedavg", samples=24)), before)) is None
    assert _alone(left(Handover(average, cumulative=memory("ewc")), before)) is None


def test_shadow_models_start_where_the_leg_did() -> None:
    """In a round, from its beginning: what arrived is the average of those who have trained since."""
    begun, mixed = {"a": torch.zeros(1)}, {"a": torch.ones(1)}
    state = MemoryState(begun, "fedavg", Privacy(derived="weights"), {"samples": 8})
    assert _start(left(Handover(mixed, cumulative=state), Handover(mixed, cumulative=state))) is begun
    assert _start(left(Handover(mixed, cumulative=memory("ewc")), Handover(mixed))) is mixed
    assert _start(left(Handover(mixed, cumulative=state), None)) is None


def test_what_earlier_laps_left_is_attacked_again() -> None:
    w = {"a": torch.zeros(1)}
    before = Handover(w, {1: memory(), 2: memory()}, memory("ewc"), {"legs": LEGS}, {1: w, 2: w})
    leg = left(Handover(w, {3: memory()}, memory("ewc"), experts={3: w}), before)
    assert list(_models(leg)) == [("model", ""), ("expert", ""), ("expert", " of leg 1")]
    found = [(part, which, earlier is not None) for part, which, _, earlier in _states(leg)]
    assert found == [("memory", " of leg 1", False), ("memory", "", True), ("cumulative", "", True)]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Subjects]:
    leg = study().legs[0]
    sites = Sites(leg.conf.random_seed, RunPaths(tmp_path_factory.mktemp("run")))
    return leg, subjects_of([sites(dataset, train=True) for dataset in leg.pool])


def test_importance_tells_of_those_whose_gradients_it_sums(there: tuple[Any, Subjects]) -> None:
    leg, subjects = there
    torch.manual_seed(0)
    model = leg.net.build()
    square = torch.stack(list(gradients_of(model, subjects.members(), leg, CPU))).square()
    old = torch.rand(square.shape[1]) * square.mean()
    then, now = (
        MemoryState(named(values.float(), trained(model)), "ewc", Privacy(derived="weights"))
        for values in (old, old + square.sum(0))
    )
    found = of_importance(leg, subjects, now, then, model, CPU)
    assert set(found) == {("cumulative", "gradient along ewc"), ("difference", "gradient along ewc")}
    assert evidence.auc(found["difference", "gradient along ewc"], subjects.member) > 0.6


def test_a_class_of_few_is_flagged_without_its_name_or_number(there: tuple[Any, Subjects]) -> None:
    leg, subjects = there
    found, many = Memories(), len(subjects.whose)
    inside = subjects.member[subjects.whose]
    distance = np.ones((3, many)) + 0.1 * np.random.default_rng(0).random((3, many))
    rare = np.flatnonzero(inside)[:1]
    distance[2, np.setdiff1d(np.flatnonzero(inside), rare)] = np.nan
    distance[2, rare] = 0.01
    _classes(found, leg, subjects, ("memory", "mean appearance"), distance)
    (small,) = [one for one in found.classes if one.suspicious]
    assert (small.name, small.patients) == (leg.data.names[2], 1)
    assert list(found.copies) == [("memory", "mean appearance of small classes")]
    card = card_of({}, found.copies, subjects.member)
    assert [one.by for one in card.copied] == ["mean appearance of small classes"]
    assert card.copied[0].nearest == audits.NEAR / 2, "the number of a patient"
