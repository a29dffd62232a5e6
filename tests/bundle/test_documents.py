"""What lies beside a claim is no free text, and does not contradict it: held by who sends it and who gets it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay.bundle import cards, documents, manifest, schemas
from relay.bundle.handover_files import DIGESTS
from relay.bundle.manifest import CONFIG, DATA_CARD, HANDOVER, MANIFEST, MEMORY, RESULTS, STATEMENT, card_of
from relay.errors import UserError
from relay.exchange import drafting
from relay.trust import statement
from relay.trust.document import canonical, digest, parse
from relay.trust.policy import Policy
from relay.trust.refusals import BadDocument, PolicyBreach, Refused
from tests.relays import CONFIG as HONEST, At, Parts, World, contents, payload_of, remembered

EVIL = "\x1b[2J"
CARD = card_of(MEMORY)
ROW = {"site": "north", "label": "vessel", "metric": "dice", "mean": 0.5}
SCORE = {"model": "generalist", "mean": 0.5, "images": 16}
LEAVES_OUT = object()


def changed(content: Any, path: str, value: Any) -> Any:
    """Plain values with one of them replaced, added, or left out."""
    *parents, last = path.split("/")
    node = content = json.loads(json.dumps(content))
    for key in parents:
        node = node[int(key) if isinstance(node, list) else key]
    if value is LEAVES_OUT:
        del node[last]
    else:
        node[last] = value
    return content


WRONG_FORMS: list[tuple[str, str, Any]] = [
    (RESULTS, "patient", "Doe, Jane"),
    (RESULTS, "format", 2),
    (RESULTS, "leg", LEAVES_OUT),
    (RESULTS, "leg", "1"),
    (RESULTS, "rows", {}),
    (RESULTS, "zero_shot", LEAVES_OUT),
    (RESULTS, "zero_shot", [{**SCORE, "mean": 1e16}]),
    (RESULTS, "zero_shot", [{**SCORE, "images": -1}]),
    (RESULTS, "zero_shot", [{**SCORE, "sample": "Doe"}]),
    (RESULTS, "zero_shot", [SCORE, {**SCORE, "mean": None}]),
    (RESULTS, "zero_shot", [{**SCORE, "site": "north"}]),
    (RESULTS, "zero_shot", [{**SCORE, "model": "expert"}]),
    (RESULTS, "rows", [{**ROW, "patient": "Doe"}]),
    (RESULTS, "rows", [{**ROW, "mean": 1e16}]),
    (RESULTS, "rows", [{**ROW, "mean": "0.5"}]),
    (RESULTS, "rows", [{**ROW, "label": f"vessel {EVIL}"}]),
    (RESULTS, "rows", [{**ROW, "metric": "| dice |"}]),
    (RESULTS, "rows", [{**ROW, "site": "north west"}]),
    (DATA_CARD, "files", ["/home/x/Doe_Jane.png"]),
    (DATA_CARD, "site", LEAVES_OUT),
    (DATA_CARD, "task", "<script>"),
    (DATA_CARD, "classes", ["background", "x" * 101]),
    (DATA_CARD, "classes", []),
    (DATA_CARD, "channels", 0),
    (DATA_CARD, "size", [64]),
    (DATA_CARD, "size", [64, 0.5]),
    (DATA_CARD, "images/train", -1),
    (DATA_CARD, "images/train", 16.5),
    (DATA_CARD, "images/all", 16),
    (DATA_CARD, "patients", 16),
    (DATA_CARD, "corrected", None),
    (DATA_CARD, "corrected", -1),
    (HANDOVER, "note", "hello"),
    (HANDOVER, "model/path", "/home/x"),
    (HANDOVER, "model/kwargs", [1]),
    (HANDOVER, "model/kwargs/depth", EVIL),
    (HANDOVER, "model/name", EVIL),
    (HANDOVER, "data/classes", ["background", "a|b"]),
    (HANDOVER, "data/intensity_range", [0.0, 1.0, 2.0]),
    (HANDOVER, "data/steps", "Normalise"),
    (HANDOVER, "data/slices", "oblique"),
    (HANDOVER, "data/task", None),
    (CARD, "note", "hello"),
    (CARD, "format", 2),
    (CARD, "kind", "x y"),
    (CARD, "privacy/derived", "nothing"),
    (CARD, "privacy/patients", -1),
    (CARD, "privacy/epsilon", 4),
    (CARD, "privacy/delta", 0.1),
    (CARD, "privacy/unit", "image"),
    (CARD, "about", None),
    (CARD, "about", {"a b": 1}),
    (CARD, "audit", []),
    (CARD, "audit", {"found": "two\nlines"}),
    (CARD, "audit", LEAVES_OUT),
    (CONFIG, f"train.{EVIL}", 1),
    (CONFIG, "train lr", 1),
    (CONFIG, "", 1),
    (CONFIG, "train.lr", "x" * 201),
    (CONFIG, "train.lr", "two\nlines"),
    (CONFIG, "train.lr", ["a", ["b", EVIL]]),
    (CONFIG, "train.lr", [{"a b": 1}]),
    (CONFIG, "train.lr", [0] * 1001),
    (CONFIG, "train.lr", json.loads("[" * 300 + "]" * 300)),
]


@pytest.mark.parametrize(("name", "path", "value"), WRONG_FORMS)
def test_documents_of_another_form_are_not_taken_in(name: str, path: str, value: Any, at: At) -> None:
    """Signed by north, whose program does not look."""
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.put(name, changed(parts.json(name), path, value))
        parts.claim["config"] = digest(parts.files[CONFIG])
    world.refuses(parts.bundle, "south", BadDocument, f"{name} of leg 1", fit=None)


@pytest.mark.parametrize(("name", "path", "value"), WRONG_FORMS)
def test_documents_of_another_form_do_not_leave(name: str, path: str, value: Any, at: At) -> None:
    """Better heard from this program than from the next site's."""
    world = at(0)
    folder = world.train(1)
    (folder / name).write_bytes(canonical(changed(json.loads((folder / name).read_bytes()), path, value)))
    (folder / DIGESTS).unlink()
    before = world.stores["north"].ledger.lines()
    with pytest.raises(UserError, match="leg 1 can't be sent") as caught:
        drafting.draft(world.stores["north"], folder)
    assert name in str(caught.value)
    assert str(caught.value).isprintable()
    assert "bundle-format" in caught.value.advice()
    assert world.stores["north"].ledger.lines() == before
    assert not contents(world.stick)


@pytest.mark.parametrize("name", [HANDOVER, CONFIG, DATA_CARD, RESULTS, CARD])
@pytest.mark.parametrize("content", [[], None, "x", 7])
def test_they_are_objects(name: str, content: Any, at: At) -> None:
    world = at(0)
    folder = world.train(1)
    (folder / name).write_bytes(canonical(content))
    with pytest.raises(UserError, match=name):
        drafting.draft(world.stores["north"], folder)


AGAINST_THE_CLAIM: list[tuple[str, str, Any, type[Refused], str]] = [
    (RESULTS, "leg", 2, BadDocument, "says leg 2, by north"),
    (RESULTS, "trained", "south", BadDocument, "says leg 1, by south"),
    (DATA_CARD, "site", "south", BadDocument, "by north, is from south"),
    (DATA_CARD, "images/train", 17, PolicyBreach, "images.train = 17"),
    (DATA_CARD, "patients/val", 3, PolicyBreach, "patients.val = 3"),
    (DATA_CARD, "counts", "exact", PolicyBreach, "calls them exact"),
    (CARD, "privacy/patients", 17, PolicyBreach, "memory.json: privacy.patients = 17"),
]


@pytest.mark.parametrize(("name", "path", "value", "why", "says"), AGAINST_THE_CLAIM)
def test_they_agree_with_the_claim(name: str, path: str, value: Any, why: type[Refused], says: str, at: At) -> None:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.put(name, changed(parts.json(name), path, value))
    world.refuses(parts.bundle, "south", why, "leg 1", says)


@pytest.mark.parametrize(("name", "path", "value", "why", "says"), AGAINST_THE_CLAIM)
def test_so_do_those_of_earlier_legs(name: str, path: str, value: Any, why: type[Refused], says: str, at: At) -> None:
    """North lied, and south has gone on from it; east finds out."""
    world = at(2)
    with world.forged(2, signer="south") as parts:
        north_says(world, parts, lambda link: link.put(name, changed(link.json(name), path, value)))
    world.refuses(parts.bundle, "east", why, "leg 1", says)


@pytest.mark.parametrize(
    ("name", "path", "value"), [row for row in WRONG_FORMS if row[0] in (*manifest.CHAIN, CARD)][::4]
)
def test_documents_of_earlier_legs(name: str, path: str, value: Any, at: At) -> None:
    world = at(2)
    with world.forged(2, signer="south") as parts:
        north_says(world, parts, lambda link: link.put(name, changed(link.json(name), path, value)))
    world.refuses(parts.bundle, "east", BadDocument, f"{name} of leg 1")


STAY = (RESULTS, DATA_CARD, *manifest.KEPT)


def north_says(
    world: World, parts: Parts, change: Callable[[Parts], None], memory: Sequence[str] = manifest.KEPT
) -> None:
    """The record of leg 1, changed and signed anew by north; south's leg continues it.

    Args:
        memory: which of its two files north's manifest lists.
    """
    names = (*manifest.CHAIN, *manifest.KEPT)
    link = Parts({name: parts.files[manifest.earlier(1, name)] for name in names}, parts.bundle)
    change(link)
    listed = manifest.parse(link.files[MANIFEST]) | {n: digest(link.files[n]) for n in STAY}
    left_out = set(manifest.KEPT) - set(memory)
    link.files[MANIFEST] = manifest.write({n: value for n, value in listed.items() if n not in left_out})
    link.payload["subject"][0]["digest"]["sha256"] = digest(link.files[MANIFEST])
    link.files[STATEMENT] = world.keys["north"].sign(canonical(link.payload), statement.KIND)
    parts.files.update({manifest.earlier(1, name): data for name, data in link.files.items()})
    parts.claim["previous"] = digest(payload_of(link.files[STATEMENT]))


def test_an_honest_link_signed_anew_passes(at: At) -> None:
    """What the tests above change is what they are refused for."""
    world = at(2)
    with world.forged(2, signer="south") as parts:
        north_says(world, parts, lambda link: None)
    world.deliver(parts.bundle, "east")


def test_samples_in_the_claim_are_rounded(at: At) -> None:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.claim["samples"] = 17
    world.refuses(parts.bundle, "south", PolicyBreach, "samples = 17", "powers of two")


def test_exact_counts_where_the_policy_says_so_and_later_no_more(at: At) -> None:
    """Leg 1 was made under roster 2, which asked for them; roster 3 does not, and leg 1 stands."""
    world = at(0)
    world.with_policy(install=["north", "south"], sample_counts="exact")
    world.deliver(world.make(1), "south")
    world.with_policy(done=1, install=["south"], sample_counts="rounded")
    world.make(2, cumulative=remembered(2))
    with world.forged(2, to=["east"]) as parts:
        cards = [parts.json(name) for name in (manifest.earlier(1, CARD), CARD, "cumulative.json")]
    assert [card["privacy"]["patients"] for card in cards] == [19, 16, 16]
    assert [made.claim.samples for made in world.deliver(world.bundle(2), "east").statements] == [19, 16]


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -0.5, "", "Gefäß", "x" * 200, [], [1, ["a", None]], {}, {"a.b-c_d": [{"e": 1}]}, [0] * 1000],
)
@pytest.mark.parametrize("name", [CONFIG, HANDOVER])
def test_plain_values_travel(name: str, value: Any, at: At) -> None:
    world = at(1)
    path = "strategy.kwargs.odd" if name == CONFIG else "model/kwargs/odd"
    with world.forged(1, signer="north") as parts:
        parts.put(name, changed(parts.json(name), path, value))
        parts.claim["config"] = digest(parts.files[CONFIG])
    world.deliver(parts.bundle, "south", fit=None)


scores = st.one_of(st.just(float("nan")), st.floats(0, 1))
words = st.text("abc XYZ09_.:+/()-", min_size=1, max_size=20)
sites = st.text("abcXYZ09_", min_size=1, max_size=10)


@given(st.lists(st.fixed_dictionaries({"site": sites, "class": words, "metric": st.just("dice"), "value": scores})))
def test_results_have_their_form(rows: list[dict[str, Any]]) -> None:
    made = cards.results(3, "north", rows)
    found = parse(schemas.Results, canonical(made), RESULTS)
    assert (found.leg, found.trained) == (3, "north")
    assert {(r.site, r.label, r.metric) for r in found.rows} == {(r["site"], r["class"], r["metric"]) for r in rows}


def test_rows_of_other_models_than_the_generalist_are_left_out() -> None:
    row = {"site": "north", "class": "vessel", "metric": "dice"}
    rows = [{**row, "value": 0.5}, {**row, "model": "generalist", "value": 0.7}, {**row, "model": "vote", "value": 0.9}]
    made = cards.results(3, "north", rows, [SCORE])
    assert [found["mean"] for found in made["rows"]] == [0.6]
    assert made["zero_shot"] == [SCORE]


def test_zero_shot_counts_are_rounded_and_may_be_signed_again(at: At) -> None:
    world = at(2)
    with world.forged(2) as parts:
        assert {score["images"] for score in parts.json(RESULTS)["zero_shot"]} == {16}
    world.with_policy(2, ["north", "south", "east"], sample_counts="exact")
    world.put(2, world.folder / "south" / "handover_2")
    with world.forged(2) as parts:
        assert {score["images"] for score in parts.json(RESULTS)["zero_shot"]} == {19}
        assert [score["model"] for score in parts.json(RESULTS)["zero_shot"]] == ["generalist", "vote"]


@given(st.integers(0, 2**40))
def test_what_is_disclosed_is_a_power_of_two_and_stays_it(count: int) -> None:
    said = documents.disclosed(count, Policy())
    assert said & (said - 1) == 0
    assert count / 1.5 <= said <= count * 1.5
    assert documents.disclosed(said, Policy()) == said
    assert documents.disclosed(count, Policy(sample_counts="exact")) == count
    group = documents.grouped(count, Policy())
    assert group == (max(said, documents.SMALLEST) if count else 0)
    assert documents.disclosed(group, Policy()) == group, "earlier versions read it, too"


@given(st.binary(max_size=60) | st.recursive(st.none() | st.text(), st.lists).map(canonical))
@pytest.mark.parametrize("name", list(documents.SCHEMAS))
def test_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    if name == CONFIG and data == b"{}":
        return
    with pytest.raises(BadDocument, match=name):
        documents.read(name, data)


def test_an_honest_config_is_read_as_it_is() -> None:
    assert documents.read(CONFIG, canonical(HONEST)) == HONEST
