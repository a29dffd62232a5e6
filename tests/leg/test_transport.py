"""A deployment's leg: what it receives and sends through the stick, and what it refuses before it trains."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch

from relay.bundle.handover_files import load
from relay.errors import Interrupted, TrainingError, UserError
from relay.exchange.drafting import draft
from relay.exchange.receiving import chain_in
from relay.exchange.store import utc_now
from relay.leg import run as leg_run
from relay.leg.acceptance import check_memory
from relay.leg.paths import LegPaths, RunPaths
from relay.leg.progress import Progress
from relay.leg.simulated_transport import STUDY, SimulatedStudy, transport_of
from relay.leg.transport import Transport
from relay.simulate import Simulation
from relay.trust.keys import Keys
from relay.trust.policy import Gate, Policy
from relay.trust.refusals import ConfigMismatch, Fork, GateFailed, PolicyBreach
from relay.trust.roster import sign_roster
from relay.trust.roster_builder import amend
from tests.leg.test_resume import StopAt
from tests.studies import finished, simulate, study

SITES = ("clinic_a", "clinic_b")
RELAY = {"common.strategy.name": "relay", "common.train.num_epochs": 1}


class Amendable(SimulatedStudy):
    """A throw-away study that keeps its coordinator's keys."""

    @cached_property
    def lead(self) -> Keys:
        return super().coordinator()

    def coordinator(self) -> Keys:
        return self.lead

    def amended(self, done: int) -> bytes:
        roster = self.store(self.sites[0]).roster
        return sign_roster(amend(roster, utc_now(), done=done), self.lead)


class Sites:
    """Two hospitals with a home each, a run folder each, and one stick."""

    def __init__(self, root: Path, policy: Policy | None = None, order: Sequence[str] = SITES) -> None:
        self.root = root
        self.study = Amendable(root / "homes", order, policy or Policy())
        self.study.begin()

    def leg(self, task: int, note: str = "run", **changes: Any) -> Simulation:
        """Run ``train.py``'s work at a site; returns what was run."""
        site = SITES[task - 1]
        stick = str(self.study.stick)
        handoff = {"study": STUDY, "key": str(self.study.root / site), "receive": stick, "send": stick}
        changes = {"current_tasks.handoff": handoff} | changes
        deploy = {"current_tasks.mode": "deployment", "current_tasks.task_ids": [task], **RELAY}
        run = Simulation(study(**{**deploy, **changes}), self.root / note / site)
        run.transport.prepare(run.study.legs[0])
        with Progress(run.steps) as progress:
            run.run(progress)
        return run


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return Sites(tmp_path)


@pytest.fixture(scope="module")
def _one_leg(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    sites = Sites(tmp_path_factory.mktemp("one_leg"))
    sites.leg(1)
    return sites


@pytest.fixture
def sent(_one_leg: Sites, tmp_path: Path) -> Sites:
    """Sites of one's own, the first of which has sent its leg."""
    shutil.copytree(_one_leg.root, tmp_path, dirs_exist_ok=True)
    sites = Sites(tmp_path)
    sites.study.lead = _one_leg.study.lead
    return sites


def test_site_by_site_equals_the_simulation_bit_for_bit(sent: Sites, tmp_path: Path) -> None:
    sent.leg(2)
    finished(tmp_path / "simulated", **RELAY)
    deployed = load(tmp_path / "run/clinic_b/checkpoints/task_2/handover").model
    simulated = load(tmp_path / "simulated/checkpoints/task_2/handover").model
    assert all(torch.equal(deployed[name], simulated[name]) for name in simulated)
    scores = (tmp_path / "run/clinic_b/results/summary.json").read_text()
    assert '"matrix": {\n  "2"' in scores


def test_what_a_person_must_approve_is_not_sent_by_training(tmp_path: Path) -> None:
    sites = Sites(tmp_path, Policy(approval="required"))
    handoff = {"study": STUDY, "key": str(sites.study.root / "clinic_a"), "send": str(sites.study.stick)}
    deploy = {"current_tasks.mode": "deployment", "current_tasks.task_ids": [1], "current_tasks.handoff": handoff}
    run = RunPaths(finished(tmp_path / "run", **RELAY))
    planned = study(**{**deploy, **RELAY})
    said: list[str] = []
    transport_of(planned, run).send(planned.legs[0], said.append)
    (told,) = said
    assert told.startswith("not sent: the study's policy requires that a person approves what leaves: relay send ")
    assert not sites.study.store("clinic_a").ledger.record().signed
    assert not list(sites.study.stick.iterdir())


def test_running_it_again_changes_and_sends_nothing(sent: Sites) -> None:
    before = {p: p.stat().st_mtime_ns for p in sent.root.rglob("*.relay.age")}
    lines = sent.study.store("clinic_a").ledger.lines()
    sent.leg(1)
    assert {p: p.stat().st_mtime_ns for p in sent.root.rglob("*.relay.age")} == before
    assert sent.study.store("clinic_a").ledger.lines() == lines


def test_a_stick_that_was_pulled_out_is_written_when_the_command_runs_again(sites: Sites) -> None:
    stick = sites.study.stick
    stick.rename(stick.with_name("in the pocket"))
    with pytest.raises(UserError, match="stick"):
        sites.leg(1)
    stick.with_name("in the pocket").rename(stick)
    sites.leg(1)
    assert [path.name for path in stick.iterdir()] == ["simulation.leg-1.clinic_a.relay.age"]


def test_an_interrupted_leg_goes_on_without_the_stick(sent: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    monkeypatch.setattr(StopAt, "left", 4)
    with pytest.raises(Interrupted):
        sent.leg(2)
    monkeypatch.undo()
    stick = sent.study.stick
    stick.rename(stick.with_name("in the pocket"))
    with pytest.raises(UserError, match="stick"):
        sent.leg(2)  # it has trained by now, and has nowhere to put it
    assert LegPaths(sent.root / "run/clinic_b/checkpoints/task_2").finished
    stick.with_name("in the pocket").rename(stick)
    sent.leg(2)
    assert len(list(stick.iterdir())) == 2


def test_a_newer_roster_does_not_make_a_leg_leave_again(sent: Sites) -> None:
    store = sent.study.store("clinic_a")
    before = chain_in(store.signed(1))
    store.install(sent.study.amended(done=1))
    sent.leg(1)
    assert chain_in(store.signed(1)) == before


def test_a_second_turn_needs_a_note_of_its_own(tmp_path: Path) -> None:
    sites = Sites(tmp_path, order=("clinic_a", "clinic_b", "clinic_a"))
    sites.leg(1)
    sites.leg(1)  # leg 3 is not yet on the stick
    sites.leg(2)
    with pytest.raises(UserError, match="leg 1, which is finished; the next turn is leg 3") as caught:
        sites.leg(1)
    assert "-n" in caught.value.advice()
    sites.leg(1, note="lap 2")
    assert [made.claim.site for made in chain_in(sites.study.store("clinic_a").signed(3))] == [*sites.study.sites]


def test_counters_of_batches_tell_no_count(tmp_path: Path) -> None:
    """Batch normalisation counts its batches: exact sample counts, where the policy says rounded. And the budget may be
    in millions of images."""
    budget = {"common.train.num_epochs": None, "common.train.num_mimgs": 0.00004}
    simulate(tmp_path, **{**RELAY, "common.model.kwargs.norm": "batch", **budget})
    legs = [{"leg": 1}, {"leg": 2}]
    handover = load(tmp_path / "checkpoints/task_2/handover", legs)
    for weights in (handover.model, handover.experts[2]):
        counters = [tensor for name, tensor in weights.items() if name.endswith("num_batches_tracked")]
        assert counters
        assert any(name.endswith("running_mean") for name in weights)
        assert not any(counter.any() for counter in counters)


def test_second_site_without_a_bundle_is_told_what_to_do(sites: Sites) -> None:
    with pytest.raises(UserError, match="leg"):
        sites.leg(2)
    assert not (sites.root / "run/clinic_b/checkpoints").exists()


def test_keys_of_another_site_are_refused(sites: Sites) -> None:
    handoff = {"study": STUDY, "key": str(sites.study.root / "clinic_b")}
    with pytest.raises(UserError, match=r"'clinic_a', but the keys in .*'clinic_b'"):
        sites.leg(1, **{"current_tasks.handoff": handoff})


def test_another_net_is_refused_before_it_is_parsed_and_nothing_is_kept(sent: Sites) -> None:
    with pytest.raises(ConfigMismatch, match=r"model\.kwargs"):
        sent.leg(2, **{"common.model.kwargs.features": [8, 8, 8, 8, 16]})
    assert not sent.study.store("clinic_b").ledger.record().received
    assert not (sent.study.store("clinic_b").folder / "received").exists()
    sent.leg(2)


def test_what_was_received_without_a_config_must_fit_it_before_the_training(sent: Sites) -> None:
    from relay.exchange.receiving import receive

    store, stick = sent.study.store("clinic_b"), sent.study.stick
    receive(store, sent.study.keys("clinic_b"), next(stick.iterdir()))
    with pytest.raises(ConfigMismatch, match=r"model\.kwargs"):
        sent.leg(2, **{"common.model.kwargs.features": [8, 8, 8, 8, 16]})
    handoff = {"study": STUDY, "key": str(store.home)}
    run = sent.leg(2, **{"current_tasks.handoff": handoff})
    assert run.run_paths.leg("task_2").finished


def test_weights_are_scored_on_the_validation_images_where_they_are_made_and_where_they_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = Sites(tmp_path, Policy(gate=Gate(min_score=0.999)))
    with pytest.raises(
        TrainingError, match=r"leg 1 \(clinic_a\) can't be handed over.* scores 0\.\d+ \(mean Dice\) on the"
    ) as caught:
        sites.leg(1)
    store = sites.study.store("clinic_a")
    assert "it is still your turn" in caught.value.advice()
    assert (store.next_turn(), dict(store.record().signed)) == (1, {})
    with monkeypatch.context() as patch:  # a sender that does not look
        patch.setattr(Transport, "check", lambda *_, **__: None)
        sites.leg(1)
    with pytest.raises(GateFailed, match=r"scores 0\.\d+ \(mean Dice\) on the local validation images, below 0\.999"):
        sites.leg(2)
    assert not sites.study.store("clinic_b").ledger.record().received


def test_too_few_samples_are_told_before_the_training(tmp_path: Path) -> None:
    sites = Sites(tmp_path, Policy(min_samples=13))
    with pytest.raises(PolicyBreach, match="clinic_a has 12 training samples; the study requires at least 13"):
        sites.leg(1)
    assert not list((tmp_path / "run").rglob("*.ckpt"))


@pytest.mark.parametrize(("kinds", "memory", "odd"), [(["flow"], ["style"], "flow"), (["b", "a", "b"], [], "a, b")])
def test_a_memory_that_may_not_travel_is_told_before_the_training(
    kinds: list[str], memory: list[str], odd: str
) -> None:
    policy = Policy(memory=memory)  # type: ignore[arg-type]
    with pytest.raises(PolicyBreach, match=f"of the kind {odd} may not travel in this study; allowed: ") as caught:
        check_memory(kinds, policy)
    assert "policy.memory" in caught.value.advice()


def test_other_memories_travel() -> None:
    check_memory([], Policy(memory=()))
    check_memory(["style", "ewc"], Policy())
    check_memory(["flow", "theirs"], Transport.policy)  # of simulations


def test_a_leg_trained_anew_after_it_was_signed_does_not_leave(sent: Sites, tmp_path: Path) -> None:
    simulate(tmp_path / "anew", **{"current_tasks.task_ids": [1], "common.train.num_epochs": 1})
    with pytest.raises(UserError, match="no turn left"):
        sent.leg(1, note="again")
    handover = tmp_path / "anew/checkpoints/task_1/handover"
    with pytest.raises(Fork, match="already signed here"):
        draft(sent.study.store("clinic_a"), handover)
