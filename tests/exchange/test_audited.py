"""Under a policy that asks for it, a leg leaves only with a privacy audit of exactly its weights that passes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay.bundle import audits, manifest
from relay.bundle.audits import Attack, AuditRecord, PrivacyAudit
from relay.exchange import approving, drafting, receiving
from relay.leg import RunPaths
from relay.privacy.leaving import arrived_at, parts_of
from relay.trust.document import canonical, parse
from relay.trust.policy import Policy
from relay.trust.refusals import NotAudited, PolicyBreach
from tests.exchange.second_reader import Bad, read
from tests.relays import At, World


def attack(auc: float, p: float, **what: Any) -> Attack:
    low, high = max(0.0, auc - 0.1), min(1.0, auc + 0.1)
    said = {"low": low, "high": high, "right": 0.5, "tpr_1": None, "tpr_01": None, **what}
    return Attack(part="model", name="lira", auc=auc, p=p, **said)


def card(auc: float = 0.52, p: float = 0.4, **what: Any) -> PrivacyAudit:
    said = {"members": 19, "others": 10, "shadows": 4, "strength": 1.0, "copies": [], "measurable": True, **what}
    return PrivacyAudit(attacks=[attack(auc, p)], detectable=0.8, p=p, epsilon=None, delta=None, **said)


def audited(folder: Path, found: PrivacyAudit) -> Path:
    record = AuditRecord(parts=parts_of(folder), card=found)
    (folder / audits.RECORD).write_bytes(canonical(record))
    return folder


def under(at: At, audit: str, **policy: Any) -> World:
    world = at(0)
    world.with_policy(install=["north", "south", "east"], audit=audit, **policy)
    return world


def test_a_policy_and_a_data_card_from_before_keep_their_bytes() -> None:
    assert b"audit" not in canonical(Policy())
    asks = Policy(audit="require", audit_limit=0.7)
    assert parse(Policy, canonical(asks), "it") == asks


def test_without_an_audit_nothing_that_needs_one_is_signed(at: At) -> None:
    world = under(at, "require")
    folder = world.train(1)
    with pytest.raises(NotAudited, match="leg 1 can't leave: it was not audited") as caught:
        world.put(1, folder)
    assert "relay audit -c CONFIG" in caught.value.advice()
    assert not world.stores["north"].record().signed
    bundle = world.put(1, audited(folder, card()))
    world.deliver(bundle, "south")
    with world.forged(1) as parts:
        told = parts.json(manifest.DATA_CARD)["privacy_audit"]
        assert (told["members"], told["others"]) == (16, 8)
        assert audits.RECORD not in parts.files
        assert "Strongest attack: lira on the model" in parts.files[manifest.MODEL_CARD].decode()


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (card(0.9, 0.0001), "its privacy audit says: leaks .strongest attack: lira on the model, AUC 0.90"),
        (card(measurable=False), "too few patients"),
    ],
)
def test_an_audit_that_does_not_pass_is_refused(found: PrivacyAudit, why: str, at: At) -> None:
    world = under(at, "require")
    with pytest.raises(NotAudited, match=why) as caught:
        world.put(1, audited(world.train(1), found))
    assert "fewer epochs" in caught.value.advice()


def test_an_audit_of_other_weights_does_not_count(at: At) -> None:
    world = under(at, "require")
    record = (audited(world.train(1), card()) / audits.RECORD).read_bytes()
    other = world.train(1, samples=40, model={"conv.weight": world_weight()})
    (other / audits.RECORD).write_bytes(record)
    with pytest.raises(NotAudited, match=r"of another handover: .*model\.safetensors"):
        world.put(1, other)
    (other / audits.RECORD).write_bytes(b"{}")
    with pytest.raises(NotAudited, match="can't be read"):
        world.put(1, other)


def world_weight() -> Any:
    import torch

    return torch.ones(4, 3, 3, 3)


def test_what_a_study_tolerates_is_for_its_coordinator(at: At) -> None:
    world = under(at, "require", audit_limit=0.95)
    world.deliver(world.put(1, audited(world.train(1), card(0.9, 0.0001))), "south")


@pytest.mark.parametrize(("policy", "told"), [("report", True), ("none", False)])
def test_a_study_that_does_not_require_an_audit(policy: str, told: bool, at: At) -> None:
    world = under(at, policy)
    folder = audited(world.train(1), card(0.9, 0.0001))
    seen = approving.preview(world.stores["north"], drafting.draft(world.stores["north"], folder))
    said = [item["text"] for item in seen["beside"] if item["what"].startswith("privacy audit")]
    assert any("picks the right one 90 times in 100" in text for text in said) is told
    assert len(said) == (3 if told else 1)
    world.deliver(world.put(1, folder), "south")


def test_an_audit_finds_what_a_site_received_and_what_came_with_it(at: At, tmp_path: Path) -> None:
    world = at(2)
    _, start = receiving.reopen(world.stores["south"], 1)
    study: Any = SimpleNamespace(handoff=SimpleNamespace(key=world.stores["south"].home, study=world.study))
    found = arrived_at(start, study, RunPaths(tmp_path))
    assert found is not None
    assert [made["site"] for made in found.legs] == ["north"]
    assert list(found.experts) == list(found.memories) == [1]
    assert arrived_at("0" * 64, study, RunPaths(tmp_path)) is None


def test_the_next_site_refuses_what_was_not_audited(at: At) -> None:
    """North's relay is a dishonest one: it leaves the audit out, under a roster that requires one."""
    world = under(at, "require")
    world.put(1, audited(world.train(1), card()))
    with world.forged(1, signer="north") as parts:
        said = parts.json(manifest.DATA_CARD)
        parts.put(manifest.DATA_CARD, {k: v for k, v in said.items() if k != "privacy_audit"})
    world.refuses(parts.bundle, "south", PolicyBreach, "needs a privacy audit that passes, but it was not audited")
    pinned, key = json.loads(canonical(world.coordinator.identity)), world.keys["south"].sealing
    read(world.bundle(1).read_bytes(), world.study, pinned, world.now, key)
    with pytest.raises(Bad, match="no audit that passes"):
        read(parts.bundle.read_bytes(), world.study, pinned, world.now, key)
