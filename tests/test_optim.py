"""Optimisers and schedules against torch's own, and what their options refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from pydantic import ValidationError
from torch import nn, optim

from relay.config import options
from relay.errors import UserError
from relay.optim import Cosine, OptimizerOptions, Poly, Step, warmed
from relay.registry import find, names


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(3))


def rates(name: str, total: int, /, **options: Any) -> list[float]:
    """The rate in each step of a run as the training loop goes, and once after it."""
    optimizer = optim.SGD([parameter()], lr=2.0)
    scheduler = find("schedulers", name)(**options).build(optimizer, total)
    found = []
    for _ in range(total + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adam", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1, "amsgrad": True}),
        ("AdamW", {"lr": 0.01, "eps": 1e-6, "fused": True}),
        ("SGD", {"lr": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": 0.01}),
        ("RMSprop", {"alpha": 0.9, "momentum": 0.3}),
    ],
)
def test_they_step_as_torchs(name: str, options: dict[str, Any]) -> None:
    ours, theirs = parameter(), parameter()
    theirs_defaults = {"lr": 1e-3} if "lr" not in options else {}
    steppers = [
        (ours, find("optimizers", name)(**options).build([ours])),
        (theirs, getattr(optim, name)([theirs], **(options | theirs_defaults))),
    ]
    assert type(steppers[0][1]) is getattr(optim, name)
    for _ in range(3):
        for p, optimizer in steppers:
            optimizer.zero_grad()
            (p**2).sum().backward()
            optimizer.step()
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, parameter())


@pytest.mark.parametrize("name", names("optimizers"))
def test_groups_of_parameters_will_do(name: str) -> None:
    made = find("optimizers", name)().build([{"params": [parameter()]}, {"params": [parameter()], "lr": 0.5}])
    assert [group["lr"] for group in made.param_groups] == [find("optimizers", name)().lr, 0.5]


def test_the_default_is_adam_at_a_thousandth() -> None:
    assert find("optimizers", "Adam")().build([parameter()]).defaults["lr"] == 1e-3


def test_constant_is_constant() -> None:
    assert rates("constant", 5) == [2.0] * 6


def test_cosine_is_torchs() -> None:
    optimizer = optim.SGD([parameter()], lr=2.0)
    theirs = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.2)
    expected = []
    for _ in range(21):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert rates("cosine", 20, min_factor=0.1) == pytest.approx(expected)


@pytest.mark.parametrize("warmup", [{"warmup_steps": 4}, {"warmup_fraction": 0.2}])
def test_cosine_warms_up(warmup: dict[str, Any]) -> None:
    found = rates("cosine", 20, **warmup)
    assert found[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert found[4:] == pytest.approx(rates("cosine", 16))


def test_poly_is_torchs() -> None:
    optimizer = optim.SGD([parameter()], lr=2.0)
    theirs = optim.lr_scheduler.PolynomialLR(optimizer, total_iters=9, power=0.7)
    expected = []
    for _ in range(10):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert rates("poly", 9, power=0.7) == pytest.approx(expected)


def test_step_falls_at_its_milestones() -> None:
    found = rates("step", 10, milestones=(0.3, 0.7), gamma=0.5)
    assert found == pytest.approx([2.0] * 3 + [1.0] * 4 + [0.5] * 4)


@given(st.sampled_from([Cosine(), Cosine(warmup_fraction=0.3), Poly(), Step()]), st.integers(1, 500))
def test_a_rate_is_a_share_of_the_base_and_falls_after_the_warm_up(schedule: Any, total: int) -> None:
    factors = [schedule.factor(step, total) for step in range(total + 1)]
    assert all(0 <= f <= 1 for f in factors)
    peak = factors.index(max(factors))
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[0] > 0


@pytest.mark.parametrize("name", names("schedulers"))
def test_beyond_the_budget_the_rate_stays(name: str) -> None:
    optimizer = optim.SGD([parameter()], lr=2.0)
    scheduler = find("schedulers", name)().build(optimizer, 3)
    found = []
    for _ in range(6):
        optimizer.step()
        scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    assert found[2:] == [found[2]] * 4


@pytest.mark.parametrize("name", names("schedulers"))
def test_a_resumed_run_goes_on(name: str) -> None:
    whole = rates(name, 10)
    optimizer = optim.SGD([parameter()], lr=2.0)
    first = find("schedulers", name)().build(optimizer, 10)
    for _ in range(4):
        optimizer.step()
        first.step()
    saved = optimizer.state_dict(), first.state_dict()
    optimizer = optim.SGD([parameter()], lr=2.0)
    second = find("schedulers", name)().build(optimizer, 10)
    optimizer.load_state_dict(saved[0])
    second.load_state_dict(saved[1])
    found = []
    for _ in range(4, 11):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        second.step()
    assert found == whole[4:]


def test_a_warm_up_beyond_the_budget_is_a_users_error() -> None:
    with pytest.raises(UserError, match="warmup_steps = 50, but the budget is 50 steps"):
        rates("cosine", 50, warmup_steps=50)


@pytest.mark.parametrize("name", names("schedulers"))
def test_a_budget_has_a_step(name: str) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        rates(name, 0)


@pytest.mark.parametrize(
    ("made", "wrong"),
    [
        (find("optimizers", "Adam"), {"lr": 0}),
        (find("optimizers", "Adam"), {"lr": float("inf")}),
        (find("optimizers", "Adam"), {"betas": (0.9, 1.0)}),
        (find("optimizers", "Adam"), {"betas": (0.9,)}),
        (find("optimizers", "Adam"), {"momentum": 0.9}),
        (find("optimizers", "AdamW"), {"weight_decay": -1}),
        (find("optimizers", "SGD"), {"momentum": 1.0}),
        (find("optimizers", "SGD"), {"momentum": 0, "nesterov": True}),
        (find("optimizers", "RMSprop"), {"alpha": -0.1}),
        (find("schedulers", "constant"), {"power": 1}),
        (find("schedulers", "cosine"), {"warmup_steps": 3, "warmup_fraction": 0.1}),
        (find("schedulers", "cosine"), {"warmup_fraction": 1.0}),
        (find("schedulers", "cosine"), {"min_factor": 1.1}),
        (find("schedulers", "poly"), {"power": 0}),
        (find("schedulers", "step"), {"milestones": ()}),
        (find("schedulers", "step"), {"milestones": (0.7, 0.3)}),
        (find("schedulers", "step"), {"milestones": (0.5, 1.0)}),
        (find("schedulers", "step"), {"gamma": 0}),
    ],
)
def test_options_refuse(made: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(**wrong)


def test_the_options_need_no_torch() -> None:
    code = "import sys, relay.optim; print({'torch', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "said"), [("NoSuch", "has no attribute 'NoSuch'"), ("NAdam", "unexpected keyword argument 'wrong'")]
)
def test_one_that_torch_cannot_make_is_its_authors_to_correct(name: str, said: str) -> None:
    cls = options(type(name, (OptimizerOptions,), {"wrong": 1.0, "__annotations__": {"wrong": float}}))
    with pytest.raises(UserError, match=f"torch.optim can't make the optimiser {name}: .*{said}") as caught:
        cls().build([parameter()])
    assert "write its build(self, params)" in caught.value.advice()


def test_a_schedule_that_gives_no_number_is_its_authors_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wordy.py").write_text(
        "from relay.optim import Schedule\nclass Mine(Schedule):\n    def factor(self, step, total_steps): return 'x'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    schedule = find("schedulers", "wordy:Mine")()
    with pytest.raises(UserError, match=r"^Mine failed: TypeError: ") as caught:
        schedule.build(optim.SGD([parameter()], lr=1.0), 3)
    assert caught.value.advice() == "Correct wordy."


@pytest.mark.parametrize(("warmup", "steps"), [(4, 4), (0.2, 4)])
@pytest.mark.parametrize("name", ["constant", "poly"])
def test_any_schedule_can_be_warmed_up(name: str, warmup: float, steps: int) -> None:
    """It then has the steps that are left, at the rates of a run of that length."""
    optimizer = optim.SGD([parameter()], lr=2.0)
    scheduler = warmed(find("schedulers", name)(), optimizer, 20, warmup)
    found = []
    for _ in range(20):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert found[:steps] == pytest.approx([2 * (step + 1) / (steps + 1) for step in range(steps)])
    assert found[steps:] == pytest.approx(rates(name, 20 - steps)[:-1])


def test_a_warm_up_that_takes_all_is_refused() -> None:
    optimizer = optim.SGD([parameter()], lr=2.0)
    with pytest.raises(UserError, match="warmup is 20 steps, but the budget of a phase is 20"):
        warmed(Poly(), optimizer, 20, 20)
    with pytest.raises(UserError, match="the schedule object has no factor"):
        warmed(object(), optimizer, 20, 5)
    assert warmed(Poly(), optimizer, 20, 0.01).get_last_lr() == [2.0]
