from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, strategies as st

from relay.errors import ConfigError, RelayError, UserError
from relay.trust import keys
from relay.trust.document import canonical, digest, moment, parse, stamp
from relay.trust.envelope import Signed
from relay.trust.keys import Identity, Keys
from relay.trust.policy import Policy
from relay.trust.refusals import (
    BadDocument,
    BadRoster,
    BadSignature,
    ExpiredKey,
    Fork,
    OldRoster,
    UnknownFormat,
    UnknownKey,
    WrongStudy,
)
from relay.trust.roster import (
    KIND,
    Gate,
    Revoked,
    Roster,
    TrustedRoster,
    check_roster,
    ending,
    newer,
    open_roster,
    read_policy,
    roster_name,
    sign_roster,
)
from relay.trust.roster_builder import amend, describe, first
from tests.relays import At

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
THEN = NOW + timedelta(days=10)
LEAD = keys.new("Lead", now=NOW)
SITES = {name: keys.new(name, now=NOW).identity for name in "ABCD"}
A, B, C, D = SITES.values()


def made(order: str = "ABC", readers: str = "", **more: Any) -> Roster:
    sites = [SITES[name] for name in sorted({*order, *readers})]
    return first("fundus", LEAD.identity, sites, list(order), Policy(), NOW, readers=list(readers), **more)


def trusted(roster: Roster, by: Keys = LEAD) -> TrustedRoster:
    return open_roster(sign_roster(roster, by), by.identity, roster.study)


def changed(roster: Roster, **change: Any) -> bytes:
    """Signed by the coordinator, without any checks."""
    return LEAD.sign(canonical(dataclasses.replace(roster, **change)), KIND)


def names(roster: Roster, leg: int) -> str:
    return "".join(name if len(name) == 1 else f"({name})" for name, _ in roster.recipients(leg))


# -- signed and opened -----------------------------------------------------------------------------------------------


def test_what_is_signed_is_opened() -> None:
    roster = made(readers="C")
    found = trusted(roster)
    assert found.roster == roster
    assert found.digest == digest(Signed(found.data, KIND, "it").unverified) == digest(canonical(roster))
    assert roster_name("fundus", 3) == "fundus.roster-3.json"


def test_another_coordinator_is_refused() -> None:
    other = keys.new("Lead", now=NOW)
    data = sign_roster(made(), LEAD)
    with pytest.raises(BadRoster, match="the coordinator pinned here is Lead"):
        open_roster(data, other.identity, "fundus")
    borrowed = data.replace(LEAD.identity.signing.encode(), other.identity.signing.encode())
    with pytest.raises(BadSignature):
        open_roster(borrowed, other.identity, "fundus")


def test_another_sealing_key_of_the_coordinator_is_refused() -> None:
    swapped = dataclasses.replace(LEAD.identity, sealing=D.sealing)
    with pytest.raises(BadRoster, match="whose name or sealing key differs"):
        open_roster(changed(made(), coordinator=swapped), LEAD.identity, "fundus")


def test_another_study_is_refused() -> None:
    with pytest.raises(WrongStudy, match="'fundus'; this is 'vessels'"):
        open_roster(sign_roster(made(), LEAD), LEAD.identity, "vessels")


def test_another_kind_is_refused() -> None:
    with pytest.raises(UnknownFormat):
        open_roster(LEAD.sign(canonical(made()), "application/json"), LEAD.identity, "fundus")


@pytest.mark.parametrize("change", [{"version": 0}, {"order": "ABC"}, {"more": 1}, {"policy": {"gate": {"x": 1}}}])
def test_what_is_no_roster_is_refused(change: dict[str, Any]) -> None:
    content = {**dataclasses.asdict(made()), **change}
    with pytest.raises(BadDocument):
        open_roster(LEAD.sign(canonical(content), KIND), LEAD.identity, "fundus")


def test_only_the_coordinator_signs() -> None:
    with pytest.raises(BadRoster, match="these are the keys of A"):
        sign_roster(made(), keys.new("A"))


def test_nothing_is_signed_or_believed_after_the_keys_have_expired() -> None:
    late = dataclasses.replace(made(), issued=stamp(NOW + timedelta(days=800)))
    with pytest.raises(ExpiredKey):
        sign_roster(late, LEAD)
    with pytest.raises(ExpiredKey):
        open_roster(LEAD.sign(canonical(late), KIND), LEAD.identity, "fundus")


CONTRADICTIONS: Mapping[str, Mapping[str, Any]] = {
    "its order is empty": {"order": ()},
    "'D' is in the order but is not one of the sites": {"order": ("A", "D")},
    "'a' is in the order": {"order": ("a",)},
    "'D' is a reader but is neither": {"readers": ("D",)},
    "'A' is listed twice as a reader": {"readers": ("A", "A")},
    "the name 'a' is used twice": {"sites": (A, B, C, dataclasses.replace(D, name="a"))},
    "the name 'lead' is used twice": {"sites": (A, B, C, dataclasses.replace(D, name="LEAD"))},
    f"the key {A.signing[:16]}… is used twice": {"sites": (A, B, C, dataclasses.replace(D, signing=A.signing))},
    f"the key {A.sealing[:16]}… is used twice": {"sites": (A, B, C, dataclasses.replace(D, sealing=A.sealing))},
    f"the key {LEAD.identity.sealing[:16]}… is used twice": {
        "sites": (A, B, C, dataclasses.replace(D, sealing=LEAD.identity.sealing))
    },
    "it begins at": {"not_after": stamp(NOW)},
    "the key of C is revoked after leg 2, but C has a later leg": {
        "revoked": (Revoked(key=C.signing, site="C", last_leg=2, reason="lost"),)
    },
    "the key of A is revoked, but A is a reader": {
        "revoked": (Revoked(key=A.signing, site="A", last_leg=1, reason="lost"),),
        "readers": ("A",),
    },
    "the key of A is listed as a revoked key of B": {
        "revoked": (Revoked(key=A.signing, site="B", last_leg=3, reason="lost"),)
    },
    "is revoked twice": {"revoked": (Revoked(key=D.signing, site="D", last_leg=0, reason="lost"),) * 2},
    "the coordinator's own key is revoked": {
        "revoked": (Revoked(key=LEAD.identity.signing, site="Lead", last_leg=0, reason="lost"),)
    },
}


@pytest.mark.parametrize("message", CONTRADICTIONS, ids=range(len(CONTRADICTIONS)))  # keys are new each time
def test_contradictions_are_neither_signed_nor_believed(message: str) -> None:
    change = CONTRADICTIONS[message]
    with pytest.raises(BadRoster) as caught:
        open_roster(changed(made(), **change), LEAD.identity, "fundus")
    assert message in str(caught.value)
    with pytest.raises(BadRoster):
        sign_roster(dataclasses.replace(made(), **change), LEAD)


def test_all_contradictions_are_listed() -> None:
    with pytest.raises(BadRoster, match=r"order is empty; 'D' is a reader.*; it begins at"):
        check_roster(dataclasses.replace(made(), order=(), readers=("D",), not_after=stamp(NOW)))


@pytest.mark.parametrize("reason", ["", "two\nlines", "\x1b[2J", "\u202e", "x" * 201])
def test_a_reason_is_one_line_that_can_be_printed(reason: str) -> None:
    content = dataclasses.asdict(Revoked(key=A.signing, site="A", last_leg=0, reason="lost"))
    with pytest.raises(BadDocument, match="at reason"):
        parse(Revoked, canonical({**content, "reason": reason}), "it")


# -- newer -----------------------------------------------------------------------------------------------------------


def test_newer_replaces_older_and_never_the_other_way_round() -> None:
    old = trusted(made())
    new = trusted(amend(old.roster, THEN, done=0, add=[D]))
    newer(old, new)
    newer(old, old)
    with pytest.raises(OldRoster, match=r"this is roster 1 .* roster 2 is already known"):
        newer(new, old)


def test_two_of_one_version_are_a_fork() -> None:
    with pytest.raises(Fork, match="two different rosters 1"):
        newer(trusted(made()), trusted(made("AB")))


def test_higher_version_issued_earlier_is_refused() -> None:
    old = trusted(made())
    with pytest.raises(BadRoster, match="before roster 1"):
        newer(
            old, trusted(dataclasses.replace(amend(old.roster, NOW, done=0), issued=stamp(NOW - timedelta(seconds=1))))
        )


def test_a_clock_that_was_once_ahead_does_not_stop_the_study() -> None:
    ahead = amend(made(), NOW + timedelta(days=400), done=0)
    back = amend(ahead, NOW, done=0)
    newer(trusted(ahead), trusted(back))
    assert back.not_before <= stamp(NOW)


def test_the_past_of_a_roster_does_not_change() -> None:
    old = trusted(amend(made(), THEN, done=1))
    assert old.roster.done == (0, 1)
    with pytest.raises(BadRoster, match="which legs were done then"):
        newer(old, trusted(dataclasses.replace(amend(old.roster, THEN, done=1), done=(0, 2, 1))))


def test_a_leg_is_void_by_any_roster_after_the_one_it_was_made_under() -> None:
    roster = amend(amend(made(), THEN, done=0), THEN, done=1)
    assert roster.done == (0, 0, 1)
    assert [roster.void(1, version) for version in (1, 2, 3)] == [True, False, False]
    assert [roster.void(2, version) for version in (1, 2, 3)] == [True, True, False]


# -- questions to a roster -------------------------------------------------------------------------------------------


def test_turns() -> None:
    roster = made("ABA")
    assert [roster.turn(leg) for leg in range(-1, 6)] == [None, None, "A", "B", "A", None, None]


def test_site_by_name() -> None:
    assert made().site("B") == B
    assert made().site("Lead") == LEAD.identity
    with pytest.raises(UnknownKey, match="D is not in roster 1"):
        made().site("D")


@pytest.mark.parametrize(
    ("order", "readers", "leg", "expected"),
    [
        ("ABC", "", 1, "B"),
        ("ABC", "", 2, "C"),
        ("ABC", "", 3, "AB"),
        ("ABC", "D", 1, "BD"),
        ("ABC", "D", 3, "ABD"),
        ("ABC", "B", 1, "B"),
        ("ABC", "A", 1, "B"),
        ("ABC", "A", 2, "CA"),
        ("ABAB", "", 2, "A"),
        ("ABAB", "", 4, "A"),
        ("AAB", "", 1, "A"),
        ("AAB", "C", 1, "AC"),
        ("A", "", 1, "A"),
        ("A", "A", 1, "A"),
        ("A", "B", 1, "B"),
    ],
)
def test_recipients(order: str, readers: str, leg: int, expected: str) -> None:
    roster = made(order, readers)
    assert names(roster, leg) == expected
    assert all(sealing == SITES[name].sealing for name, sealing in roster.recipients(leg))


def test_the_coordinator_can_read_too() -> None:
    roster = dataclasses.replace(made(), readers=("Lead",))
    assert roster.recipients(1) == [("B", B.sealing), ("Lead", LEAD.identity.sealing)]
    assert names(roster, 3) == "AB(Lead)"


def test_a_site_that_left_gets_no_more() -> None:
    roster = amend(made("ABCA", readers="A"), THEN, done=1, drop=["A"])
    assert names(roster, 3) == "B"


def test_keys_that_stand() -> None:
    roster = made()
    assert roster.key_stands(A.signing, "A", 1)
    assert roster.key_stands(A.signing, "A", 99)
    assert not roster.key_stands(A.signing, "B", 1)
    assert not roster.key_stands(D.signing, "D", 1)


# -- making them -----------------------------------------------------------------------------------------------------


def test_the_first() -> None:
    roster = made(days=30)
    assert (roster.version, roster.study, roster.revoked) == (1, "fundus", ())
    assert (roster.issued, roster.not_before, roster.not_after) == (
        stamp(NOW),
        stamp(NOW),
        stamp(NOW + timedelta(days=30)),
    )


@pytest.mark.parametrize("change", [{"study": "X"}, {"order": ["E"]}, {"sites": [A, A]}, {"days": 0}, {"days": 4000}])
def test_a_first_that_makes_no_sense_is_the_users_to_mend(change: dict[str, Any]) -> None:
    given: dict[str, Any] = {
        "study": "fundus",
        "coordinator": LEAD.identity,
        "sites": [A, B],
        "order": ["A", "B"],
        "policy": Policy(),
        "now": NOW,
    }
    assert first(**given)
    with pytest.raises(UserError) as caught:
        first(**{**given, **change})
    assert caught.value.exit_code == 2


def test_amended_for_nothing_is_the_same_but_for_version_and_time() -> None:
    old = made(readers="C")
    assert amend(old, THEN, done=1) == dataclasses.replace(old, version=2, issued=stamp(THEN), done=(0, 1))


def test_what_is_given_changes() -> None:
    old = made()
    new = amend(old, THEN, done=0, policy=Policy(sealed=False), readers=["Lead"], days=5)
    assert new.policy == Policy(sealed=False)
    assert new.readers == ("Lead",)
    assert new.not_after == stamp(THEN + timedelta(days=5))


def test_a_site_that_joins_late_comes_last_or_where_the_order_says() -> None:
    old = made()
    assert amend(old, THEN, done=2, add=[D]).order == (*"ABCD",)
    new = amend(old, THEN, done=2, add=[D], order=[*"ABDC"])
    assert new.order == (*"ABDC",)
    assert new.sites == (A, B, C, D)
    assert new.revoked == ()


def test_replaced_keys() -> None:
    old = made("ABAB")
    fresh = keys.new("A").identity
    new = amend(old, THEN, done=1, add=[fresh])
    assert new.site("A") == fresh
    assert new.order == old.order
    assert new.revoked == (Revoked(key=A.signing, site="A", last_leg=1, reason="new keys"),)
    assert new.key_stands(A.signing, "A", 1)
    assert not new.key_stands(A.signing, "A", 2)
    assert not new.key_stands(A.signing, "B", 1)
    assert new.key_stands(fresh.signing, "A", 3)
    assert dict(new.recipients(2)) == {"A": fresh.sealing}


def test_replaced_keys_with_a_reason() -> None:
    fresh = keys.new("A").identity
    for who in ("A", A.signing):
        new = amend(made(), THEN, done=0, add=[fresh], revoke={who: "laptop stolen"})
        assert [r.reason for r in new.revoked] == ["laptop stolen"]


def test_the_same_key_again_is_not_revoked() -> None:
    longer = dataclasses.replace(A, expires="2040-01-01T00:00:00Z")
    new = amend(made(), THEN, done=1, add=[longer])
    assert new.site("A") == longer
    assert new.revoked == ()


def test_a_revoked_site_needs_new_keys_or_must_leave() -> None:
    with pytest.raises(UserError, match="key of B is revoked after leg 1, but B has a later leg"):
        amend(made(), THEN, done=1, revoke={"B": "lost"})
    new = amend(made(), THEN, done=1, revoke={"B": "lost"}, drop=["B"])
    assert new.order == ("A", "C")
    assert [(r.key, r.last_leg, r.reason) for r in new.revoked] == [(B.signing, 1, "lost")]
    assert not new.key_stands(B.signing, "B", 2)


def test_a_site_that_drops_out_before_its_turn_is_gone() -> None:
    new = amend(made(readers="B"), THEN, done=1, drop=["B"])
    assert (new.order, new.sites, new.readers, new.revoked) == (("A", "C"), (A, C), (), ())


def test_a_site_that_drops_out_after_its_turn_stays_for_what_it_did() -> None:
    new = amend(made("ABCAB"), THEN, done=2, drop=["A"])
    assert new.order == (*"ABCB",)
    assert new.sites == (A, B, C)
    assert new.key_stands(A.signing, "A", 1)
    assert not new.key_stands(A.signing, "A", 3)
    assert new.revoked[0].reason == "left the study"


def test_who_left_can_come_back_with_new_keys() -> None:
    left = amend(made("AB"), THEN, done=1, drop=["A"])
    fresh = keys.new("A").identity
    back = amend(left, THEN, done=2, add=[fresh], order=[*"ABA"])
    assert back.site("A") == fresh
    assert [(r.key, r.last_leg) for r in back.revoked] == [(A.signing, 1)]
    with pytest.raises(UserError, match="revoked"):
        amend(left, THEN, done=2, add=[A], order=[*"ABA"])


def test_a_leg_done_again_is_not_done_with_an_older_key() -> None:
    once = amend(made("ABC"), THEN, done=2, add=[keys.new("B").identity])
    again = amend(once, THEN, done=1)
    assert once.key_stands(B.signing, "B", 2)
    assert not again.key_stands(B.signing, "B", 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"done": 2, "order": [*"ACB"]}, "begin with the legs that are done: A, B"),
        ({"done": 2, "order": ["A"]}, "begin with the legs that are done"),
        ({"done": 4}, "4 legs can't be done: the order has 3"),
        ({"done": -1}, "-1 legs can't be done"),
        ({"drop": ["Lead"]}, "'Lead' is not a site"),
        ({"drop": ["D"]}, "'D' is not a site"),
        ({"drop": [*"ABC"]}, "order is empty"),
        ({"revoke": {"0" * 64: "lost"}}, "is not a site"),
        ({"revoke": {"A": "\n"}, "drop": ["A"], "done": 1}, "reason"),
        ({"add": [keys.new("A").identity], "drop": ["A"]}, "added and dropped at once"),
        ({"add": [D, dataclasses.replace(D, name="D")]}, "have the same name"),
        ({"add": [dataclasses.replace(D, name="a")]}, "the name 'a' is used twice"),
        ({"add": [dataclasses.replace(A, name="D")]}, "… is used twice"),
        ({"order": [*"ABCD"]}, "'D' is in the order"),
        ({"readers": ["D"]}, "'D' is a reader"),
        ({"days": 0}, "can't be valid for 0 days"),
        ({"withdraw": ["D"]}, "'D' is not a site of roster 1"),
        ({"withdraw": ["A"]}, "A has no expert to withdraw: none of legs 1 to 0 is its own"),
        ({"withdraw": ["C"], "done": 2}, "C has no expert to withdraw"),
    ],
)
def test_amendments_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        amend(made(), THEN, **{"done": 0, **change})
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_withdrawn_experts() -> None:
    """All of a site's completed legs, for good; only those of legs that must be done again are forgotten."""
    roster = amend(made("ABACA"), THEN, done=3, withdraw=["A"])
    assert roster.withdrawn_experts == (1, 3)
    assert [roster.lets_travel(leg) for leg in range(1, 6)] == [False, True, False, True, True]
    assert ("experts", "withdrawn, no longer travel: leg 1 (A), leg 3 (A)") in describe(roster)
    assert amend(roster, THEN, done=4, withdraw=["C"]).withdrawn_experts == (1, 3, 4)
    assert amend(roster, THEN, done=2).withdrawn_experts == (1,)
    assert amend(roster, THEN, done=3, drop=["A"]).withdrawn_experts == (1, 3)
    none = dataclasses.replace(roster, policy=Policy(experts="none"))
    assert not any(map(none.lets_travel, range(1, 6)))


@pytest.mark.parametrize(
    ("legs", "says"), [((1, 1), "leg 1 is withdrawn twice"), ((4,), "leg 4 is withdrawn, but that leg is not done")]
)
def test_experts_that_can_not_be_withdrawn(legs: tuple[int, ...], says: str) -> None:
    with pytest.raises(BadRoster, match=says):
        check_roster(dataclasses.replace(amend(made("ABACA"), THEN, done=3), withdrawn_experts=legs))


def test_a_site_that_is_nearly_known() -> None:
    old = first("fundus", LEAD.identity, [dataclasses.replace(A, name="Aachen")], ["Aachen"], Policy(), NOW)
    with pytest.raises(UserError, match="did you mean 'Aachen'"):
        amend(old, THEN, done=0, drop=["Achen"])


FRESH = {name: [keys.new(name, now=NOW).identity for _ in range(3)] for name in "ABCD"}


@given(st.data())
def test_whatever_is_amended_keeps_what_was_done(data: st.DataObject) -> None:
    """Any run of amendments either is refused or leaves the done legs, and who may sign them, as they were."""
    roster = made("ABCAB")
    for _ in range(3):
        done = data.draw(st.integers(0, len(roster.order)))
        known = [s.name for s in roster.sites]
        picked: list[Identity] = [
            data.draw(st.sampled_from(FRESH[n])) for n in data.draw(st.sets(st.sampled_from("ABCD")))
        ]
        drop = data.draw(st.sets(st.sampled_from(known)))
        try:
            new = amend(roster, THEN, done=done, add=picked, drop=sorted(drop))
        except UserError:
            continue
        assert new.order[:done] == roster.order[:done]
        assert new.version == roster.version + 1
        for leg in range(1, done + 1):
            site = roster.order[leg - 1]
            key = roster.site(site).signing
            assert new.key_stands(key, site, leg) == roster.key_stands(key, site, leg)
        for leg in range(done + 1, len(new.order) + 1):
            standing = [s for s in new.sites if new.key_stands(s.signing, new.order[leg - 1], leg)]
            assert [s.name for s in standing] == [new.order[leg - 1]]
            assert not {*new.recipients(leg)} & {(s.name, s.sealing) for s in roster.sites if s.name in drop}
        newer(trusted(roster), trusted(new))
        roster = new


@given(st.binary(max_size=300))
def test_no_bytes_end_in_a_traceback(data: bytes) -> None:
    for content in (data, LEAD.sign(data, KIND)):
        with pytest.raises(RelayError):
            open_roster(content, LEAD.identity, "fundus")


GOOD = sign_roster(made(readers="D"), LEAD)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_no_changed_byte_is_believed(at: int, byte: int) -> None:
    assume(GOOD[at] != byte)
    with pytest.raises(RelayError):
        open_roster(GOOD[:at] + bytes([byte]) + GOOD[at + 1 :], LEAD.identity, "fundus")


# -- for people ------------------------------------------------------------------------------------------------------


def test_described_for_people() -> None:
    roster = amend(made("ABAB", readers="C"), THEN, done=1, add=[keys.new("A", now=NOW).identity])
    lines = describe(roster)
    assert ("site B", f"{B.fingerprint} (keys until 2028-02-29)") in lines
    assert ("leg 3", "A") in lines
    assert ("readers", "C") in lines
    assert ("revoked", f"A, key {A.signing[:16]}…, valid up to leg 1: new keys") in lines
    assert ("policy", "sealed = yes") in lines
    assert ("gate", "min_score = not checked") in lines
    assert {label for label, _ in lines} >= {"study", "valid", "coordinator"}
    told = "\n".join(text for label, text in lines if label in {"policy", "gate"})
    for field in (*dataclasses.fields(Policy), *dataclasses.fields(Gate)):
        assert field.name == "gate" or f"{field.name} = " in told


# -- policies --------------------------------------------------------------------------------------------------------


def policy_of(text: str, folder: Path) -> Policy:
    (folder / "policy.yaml").write_text(text)
    return read_policy(folder / "policy.yaml")


def test_policy_from_yaml(tmp_path: Path) -> None:
    assert policy_of("", tmp_path) == Policy()
    found = policy_of("sealed: false\ngate:\n  on_failure: warn\n  max_outlier: null\n", tmp_path)
    assert found == Policy(sealed=False, gate=Gate(on_failure="warn", max_outlier=None))
    assert parse(Policy, canonical(found), "it") == found


def test_all_problems_of_a_policy_are_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_of("seeled: false\nmin_samples: 0\ngate:\n  on_failure: ignore\n  min_score: high\n", tmp_path)
    text = str(caught.value)
    for part in (
        "4 problems",
        "did you mean 'sealed'",
        "min_samples = 0",
        "gate.on_failure",
        "gate.min_score = 'high'",
    ):
        assert part in text


@pytest.mark.parametrize("text", ["- 1\n", "a: [", "x", "!!python/object/apply:os.getcwd []\n", "a: \0"])
def test_what_is_no_policy_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        policy_of(text, tmp_path)


@pytest.mark.parametrize("value", [".inf", ".nan", "1e30", "0", "-1"])
def test_limits_are_numbers_that_can_be_signed(value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_outlier"):
        policy_of(f"gate:\n  max_outlier: {value}\n", tmp_path)


def test_policy_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_policy(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("days", "says"),
    [(100, None), (15, None), (14, "ends in 14 day(s)"), (1, "ends in 1 day(s)"), (0, "ended on"), (-3, "ended on")],
)
def test_a_roster_warns_before_it_ends(days: int, says: str | None, at: At) -> None:
    roster = at(0).roster
    found = ending(roster, moment(roster.not_after) - timedelta(days=days))
    assert found is None if says is None else says in (found or "") and roster.not_after[:10] in (found or "")
