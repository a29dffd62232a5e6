"""The report of real runs: what a simulation leaves is what the page shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay.report import write_report
from relay.report.custody import read_custody
from relay.report.gather import read_run
from relay.report.tables import custody
from tests.report.reading import read
from tests.report.test_page import SECTIONS, check_schema, table, titles
from tests.studies import simulate


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    simulate(root, **{"common.train.log_every_n_steps": 1})
    return root


@pytest.mark.usefixtures("page_alone")
def test_page_of_a_simulation(root: Path) -> None:
    html = write_report(root).read_text()
    check_schema(html)
    page = read(html)
    assert [section.attrs["id"] for section in page.all("section")] == SECTIONS
    assert "Learning curves" in titles(page)
    assert "Loss on training images (lower is better)" in [t.text for t in page.all("text")]
    software = table(page, "Software and time of each leg")
    assert list(software) == ["1 · clinic_a", "2 · clinic_b"]
    assert table(page, "Settings; if the legs differ, the values are in the order of the legs")["random_seed"] == {
        "value": "7"
    }
    assert str(root) not in html


def test_custody_is_that_of_the_ledgers(root: Path) -> None:
    known = read_custody(read_run(root))
    (chain,), broken = known.chains, known.broken
    assert not broken
    assert [(hop.leg, hop.site, hop.fits) for hop in chain] == [(1, "clinic_a", True), (2, "clinic_b", True)]
    home = root / "handoff" / "task_2" / "clinic_b" / "studies" / "simulation"
    events = [json.loads(line) for line in (home / "ledger.jsonl").read_text().splitlines()]
    said = {leg: digest for e in events if e["event"] == "signed" for leg, (digest, _) in e["facts"]["chain"].items()}
    assert {str(hop.leg): hop.digest for hop in chain} == said
    (received,) = [event["time"] for event in events if event["event"] == "received"]
    assert [hop.received for hop in chain] == [received, ""]
    assert chain[0].to == ("clinic_b",)
    assert len(chain[0].in_words.split()) == len(chain[0].signer.split()) == 12


def test_without_the_ledgers_custody_is_that_of_the_records(root: Path) -> None:
    run = read_run(root)
    aside = (root / "handoff").rename(root / "aside")
    try:
        (chain,) = read_custody(run).chains
    finally:
        aside.rename(root / "handoff")
    assert [(hop.site, hop.to, hop.signer) for hop in chain] == [("clinic_a", ("clinic_b",), ""), ("clinic_b", (), "")]
    assert chain[0].digest == run.legs[1].record["start"]


def test_a_forged_signature_is_seen(root: Path) -> None:
    path = root / "handoff" / "task_2" / "clinic_b" / "studies" / "simulation" / "signed" / "leg_0002"
    envelope = path / "statement.dsse.json"
    kept = envelope.read_bytes()
    said = json.loads(kept)
    first = said["signatures"][0]["sig"]
    said["signatures"][0]["sig"] = ("B" if first[0] == "A" else "A") + first[1:]
    envelope.write_text(json.dumps(said, separators=(",", ":"), sort_keys=True))
    try:
        known = read_custody(read_run(root))
    finally:
        envelope.write_bytes(kept)
    assert [hop.fits for hop in known.chains[0]] == [True, False]
    assert known.broken == ["the signature of leg 2 (clinic_b) does not fit."]


STATEMENTS = [
    "clinic_a/studies/simulation/signed/leg_0001",
    "clinic_b/studies/simulation/received/leg_0001",
    "clinic_b/studies/simulation/signed/leg_0002",
    "clinic_b/studies/simulation/signed/leg_0002/chain/0001",
]


@pytest.mark.usefixtures("page_alone")
@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("way", ["flipped", "a list", "no text"])
def test_a_damaged_chain_does_not_look_like_an_unsigned_run(root: Path, statement: str, way: str) -> None:
    path = root / "handoff" / "task_2" / statement / "statement.dsse.json"
    kept = path.read_bytes()
    flipped = bytearray(kept)
    flipped[len(kept) // 2] ^= 1
    path.write_bytes({"flipped": bytes(flipped), "a list": b"[]", "no text": b"\xff\x00"}[way])
    try:
        html = write_report(root).read_text()
    finally:
        path.write_bytes(kept)
    check_schema(html)
    (alert,) = [p for p in read(html).all("p") if p.attrs.get("role") == "alert"]
    assert alert.text.startswith("The chain of custody can't be verified: ")
    assert str(root) not in html
    assert "not signed" not in html
    assert "Nothing was handed over" not in html


def test_legs_keep_their_numbers_when_one_is_gone(root: Path) -> None:
    aside = (root / "checkpoints" / "task_1").rename(root / "aside")
    try:
        assert [(leg.number, leg.folder) for leg in read_run(root).legs] == [(2, "task_2")]
        scores = (root / "checkpoints" / "task_2" / "scores.csv").rename(root / "scores")
        assert [(leg.number, leg.folder) for leg in read_run(root).legs] == [(2, "task_2")]  # as the config says
        scores.rename(root / "checkpoints" / "task_2" / "scores.csv")
    finally:
        aside.rename(root / "checkpoints" / "task_1")


def test_what_is_not_known_of_a_hand_over_is_unknown(root: Path) -> None:
    rows = custody(read_custody(read_run(root)).chains[0]).rows
    assert rows[-1][-1] == "unknown"
    assert "–" not in [cell for row in rows for cell in row]
