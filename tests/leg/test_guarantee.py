"""Legs that are trained with differential privacy: what is refused, what is charged, what is repeated after a stop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from relay.bundle.handover_files import load
from relay.config import Devices, PrivateTraining
from relay.data import patient_loader, patients_of
from relay.errors import ConfigError, Interrupted, UserError
from relay.exchange.drafting import draft
from relay.leg import doubts, guarantee, run as leg_run
from relay.leg.paths import RunPaths
from relay.leg.pricing import MEAN, priced
from relay.leg.release import Release
from relay.leg.simulated_transport import Simulated
from relay.noise import Axes, Mechanism, Secret, epsilon_of
from relay.phase import Batch
from relay.trust import Cost, DamagedLedger, Ledger, Policy, PolicyBreach
from tests.leg.test_resume import StopAt
from tests.leg.test_transport import Sites
from tests.studies import simulate, study

PRIVATE: dict[str, Any] = {
    "common.train.privacy": {"noise": 1.0, "accountant": "rdp", "budget": 100.0},
    "common.train.batch_size": 3,
    "current_tasks.task_ids": [1],
}


def account(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / "checkpoints" / "task_1" / "privacy.json").read_text()))


def weights(root: Path) -> dict[str, torch.Tensor]:
    return dict(load(RunPaths(root).leg("task_1").handover).model)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"common.train.keep": "best"}, "train.keep = 'best': with train.privacy, must be last: validation patients"),
        ({"common.train.early_stopping": {"patience": 1}}, "early_stopping: with train.privacy, must be null"),
        ({"common.train.accumulate": 2}, "accumulate = 2: with train.privacy, must be 1"),
        ({"common.train.compile": True}, "compile = True: with train.privacy, must be false: gradients are computed"),
        ({"common.train.precision": "bf16"}, "precision = 'bf16': with train.privacy, must be 32 or 64"),
        ({"common.strategy": {"name": "relay"}}, "no 'owm' memory can be handed over"),
        (
            {"common.strategy": {"name": "der", "kwargs": {"memory": {"name": "style", "kwargs": {"epsilon": 2}}}}},
            "no 'style' memory can be handed over: it has an epsilon of its own",
        ),
        ({"common.strategy": {"name": "ewc"}}, "no 'ewc' memory can be handed over: it is measured"),
        ({"common.train.privacy": {"clip": 1.0}}, "give one of epsilon and noise"),
        ({"common.train.privacy": {"epsilon": 3, "budget": 2}}, "one leg would cost more"),
        (
            {"common.train.privacy": {"epsilon": 3, "budget": 5}, "current_tasks.laps": 2},
            "with leg 2, clinic_a would have spent epsilon 6",
        ),
    ],
)
def test_a_config_that_it_cannot_cover_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        study(**{**PRIVATE, **changes})


def test_batch_normalisation_is_named() -> None:
    (leg,) = study(**PRIVATE, **{"common.model.kwargs.norm": "batch"}).legs
    with pytest.raises(UserError, match=r"U-Net has layers that mix patients: .*BatchNorm2d.* and \d+ more") as refused:
        guarantee.check(leg, Devices())
    assert "norm=group" in refused.value.advice()


def test_it_is_charged_once_however_often_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the second of two epochs and resumed: the same key, the same account, and the steps are all there."""
    changes = PRIVATE | {"common.train.privacy": {**PRIVATE["common.train.privacy"], "randomness": "seed"}}
    simulate(tmp_path / "whole", **changes)
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    StopAt.left = 6
    with pytest.raises(Interrupted):
        simulate(tmp_path / "broken", **changes)
    before = account(tmp_path / "broken")
    StopAt.left = 10**9
    simulate(tmp_path / "broken", **changes)
    assert account(tmp_path / "broken") == before == account(tmp_path / "whole")
    whole, broken = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    made = [Mechanism(**each) for each in before["mechanisms"]]
    assert [(each.rate, each.steps) for each in made] == [(0.5, 8)]  # 6 patients, 3 expected, 2 epochs, repeats 2
    assert 0 <= before["epsilon"] - epsilon_of(made, before["delta"], "rdp") < 1
    card = json.loads((RunPaths(tmp_path / "whole").leg("task_1").handover / "data-card.json").read_text())
    assert (card["privacy"]["epsilon"], card["privacy"]["private"]) == (before["epsilon"], False)


def test_a_budget_that_is_spent_refuses_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = [Cost("an earlier leg", 98.5, 1e-5), Cost("a leg before it", 1.0, 1e-5)]
    monkeypatch.setattr(Simulated, "costs", lambda self, leg: spent)
    with pytest.raises(UserError, match=r"leg 1 would cost epsilon \d+; clinic_a has spent 99.5 of its budget of 100"):
        simulate(tmp_path, **PRIVATE)
    assert not (tmp_path / "checkpoints" / "task_1" / "privacy.json").exists()


def test_noise_that_is_too_little_for_the_study_is_refused_and_not_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Simulated, "policy", Policy(min_samples=1, max_training_epsilon=2))
    with pytest.raises(PolicyBreach, match=r"leg 1 would have an epsilon of \d+; this study allows 2") as refused:
        simulate(tmp_path, **PRIVATE)
    assert "epsilon: 2" in refused.value.advice()
    assert not (tmp_path / "checkpoints" / "task_1" / "privacy.json").exists()


def test_a_ledger_counts_each_training_once(tmp_path: Path) -> None:
    ledger, now = Ledger(tmp_path), datetime.now(timezone.utc)
    for key in ("a", "b", "a"):
        ledger.append("charged", now, leg=1, key=key, epsilon=2.5, delta=1e-5)
    assert ledger.costs() == [Cost("a", 2.5, 1e-5), Cost("b", 2.5, 1e-5)]
    ledger.append("charged", now, leg=1)
    with pytest.raises(DamagedLedger, match=r"line 4 .* does not say what was charged"):
        ledger.costs()


def test_a_strategy_that_reads_images_beside_its_fits_is_stopped() -> None:
    from relay.phase import Training

    training = guarantee.guarded(Training(1, ["a"], lambda: iter(()), lambda: 0.0), None)
    for use in (training.batches, training.score):
        with pytest.raises(UserError, match="outside the fits, without noise"):
            use()


def test_a_mean_is_released_once_of_each_patient_alone_and_only_if_it_is_charged() -> None:
    from relay.data import prepare

    (leg,) = study(**PRIVATE).legs
    site, seen = prepare(leg.pool[0], 7), []

    def describe(images: Iterator[Batch]) -> torch.Tensor:
        seen.append(torch.cat([batch.index for batch in images]).tolist())
        return torch.tensor([0.1 * len(seen), 0.0, float("nan")])

    release = Release(leg, [site], torch.device("cpu"))
    asked = describe, Axes.of((1, 1, 3), 0), 0.75
    charged = SimpleNamespace(strong=1e9, secret=Secret(b"k" * 32))
    for account in (None, SimpleNamespace(strong=None), charged):
        release.guarantee = account  # type: ignore[assignment]
        if account is not charged:
            with pytest.raises(UserError, match="a mean of its images that is not in the account"):
                release(*asked)
    assert release(*asked).mean.tolist() == pytest.approx([0.35, 0, 0], abs=1e-6)  # of 0.1, 0.2, … 0.6
    assert seen == list(patients_of([site.split.train]).values())
    with pytest.raises(UserError, match="not in the account"):
        release(*asked)


def test_a_mean_takes_its_share_of_epsilon_and_training_the_rest() -> None:
    options = PrivateTraining(epsilon=4, accountant="rdp")
    with_, without = (priced(options, 1.0, {"learn": 20}, release) for release in (True, False))
    made = [Mechanism(**each) for each in with_["mechanisms"]]
    assert [each.name for each in made] == ["phase learn", MEAN]
    assert 3.9 <= epsilon_of(made, options.delta, "rdp") <= 4
    noise = without["mechanisms"][0]["noise"]
    assert noise < made[0].noise < 1.1 * noise
    by_noise = priced(PrivateTraining(noise=noise, accountant="rdp"), 1.0, {"learn": 20}, True)
    assert 4 < by_noise["epsilon"] < 5


def test_too_few_patients_for_what_the_memory_releases_are_warned_of() -> None:
    from relay.data import prepare

    strategy = {"name": "relay", "kwargs": {"owm_alpha": None}}
    changes = PRIVATE | {"common.strategy": strategy, "common.train.privacy": {"epsilon": 8}}
    (leg,) = study(**changes).legs
    told = [doubt.text for doubt in doubts._settings(leg, [prepare(leg.pool[0], 7)])]
    assert any(text.startswith("with privacy.epsilon 8 and 6 patients to train on, the noise in its") for text in told)


@pytest.fixture
def loader() -> Any:
    from relay.data import prepare

    (leg,) = study(**PRIVATE).legs
    site = prepare(leg.pool[0], 7)
    rng = np.random.default_rng(0)
    draw = {step: rng.random(6) < 0.3 for step in range(400)}
    draw[0] = np.zeros(6, bool)
    return patient_loader([site.train], leg.data, lambda many, step: draw[step], steps=40, images=1, seed=1, site="a")


def test_patients_take_part_independently_and_see_nobody_else(loader: Any) -> None:
    steps = list(loader)
    assert steps[0]["batches"] == []
    sizes = [len(step["names"]) for step in steps]
    assert 0.15 < np.mean(sizes) / 6 < 0.45
    assert all(len(batch["index"]) == 1 for step in steps for batch in step["batches"])
    number, patients = loader.sampler.step(0, int(np.argmax(sizes)))
    alone = loader.dataset[(number, patients[-1:])]["batches"][0]
    among = loader.dataset[(number, patients)]["batches"][-1]
    assert torch.equal(alone["image"], among["image"])


def test_a_deployed_leg_is_charged_in_the_ledger_and_says_so_on_its_card(tmp_path: Path) -> None:
    """So does its memory; and another leg would be over the budget."""
    sites = Sites(tmp_path, Policy(min_samples=1))
    private = {"epsilon": 5, "accountant": "rdp", "budget": 8}
    changes = {"common.strategy.name": "der", "common.train.num_epochs": 1, "common.train.privacy": private}
    sites.leg(1, **changes)
    store = sites.study.store("clinic_a")
    assert [line.event for line in store.ledger.lines()] == ["roster", "charged", "signed", "sent"]
    assert [cost.epsilon for cost in store.ledger.costs()] == [5]
    card = (store.signed(1) / "MODEL_CARD.md").read_text()
    assert "Differential privacy of this leg's training: ε = 5, δ = 1e-05 for each training patient" in card
    assert list(tmp_path.rglob("noise.key")) == []
    made = draft(store, tmp_path / "run/clinic_a/checkpoints/task_1/handover")
    beside = dict(made.beside(store.roster.policy))
    assert beside["differential privacy of the training"].startswith("ε = 5")
    assert any("ε = 3, δ = 1e-05 for replacing a patient" in text for text in beside.values())
    (leg,), charged = study(**PRIVATE).legs, store.ledger.costs()
    with pytest.raises(UserError, match="would cost epsilon 5; clinic_a has spent 5 of its budget of 8"):
        guarantee.check_budget(leg, PrivateTraining(**private), {"key": "", "epsilon": 5, "delta": 1e-5}, charged)
