"""A dossier is read for a false claim: each digest is measured again, each value is looked up in the file it cites."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from datetime import timedelta
from email import message_from_string
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from relay import files
from relay.bundle import manifest
from relay.dossier import log, read_record, write_dossier
from relay.dossier.change_plan import CHANGE_PLAN
from relay.dossier.ethics import ETHICS_SHEET
from relay.dossier.log import EVENTS, event_log
from relay.dossier.model_card import MODEL_CARD
from relay.dossier.rows import privacy
from relay.dossier.soup import roots
from relay.errors import UserError
from relay.exchange import StudyStore, receipt, sharing
from relay.installed import lock_here
from relay.trust import BadSignature, DamagedLedger, DigestMismatch, Policy, Refused
from relay.trust.ledger import Event
from tests.cli.typed import typed
from tests.relays import At, World, remembered

ROW = re.compile(r"^\| (.*?) \| (.*) \| (.*?) \|$")
PAPERS = ("model-card", "change-control-plan", "technical-documentation", "log", "ethics-cover-sheet", "software")


@pytest.fixture
def store(at: At) -> StudyStore:
    return at(2).stores["south"]


def written(store: StudyStore, folder: Path) -> dict[str, str]:
    """The papers of a study, by name, as Markdown."""
    folder.mkdir()
    slip = folder.parent / "receipt.txt"
    slip.write_text(receipt.write(store).text())
    write_dossier(read_record(store), folder, lock_here(), [slip])
    return {name: (folder / f"{name}.md").read_text() for name in PAPERS}


def test_every_statement_is_what_the_cited_file_says(store: StudyStore, tmp_path: Path) -> None:
    papers = written(store, folder := tmp_path / "dossier")
    for paper in papers.values():
        assert_true(paper, store.home, folder)
    assert_digests(folder, store.home)
    for true, false in (
        ("| 0.72, measured", "| 0.92, measured"),
        ("dice of vessel on the test images of south: 0.72", "dice: 0.92"),
    ):
        assert true in papers["model-card"]
        with pytest.raises(AssertionError):
            assert_true(papers["model-card"].replace(true, false), store.home, folder)
    assert (
        "| Intended use | [to be filled in by the sponsor: which decision, of whom, on which patients] |"
        in (papers["model-card"])
    )
    assert "training at south: made on" in papers["change-control-plan"]
    assert "training at east: planned, not in this record" in papers["change-control-plan"]
    assert re.search(r"^\| torch \| 2\.\S+; by PyTorch", papers["software"], re.MULTILINE)
    assert "leg 1, made by north, was received; SHA-256 of its statement" in papers["log"]
    for page in folder.glob("*.html"):
        html = page.read_text()
        assert not re.findall(r'<script|src=|href=(?!"(#|data:,"))', html)
        assert "Draft" in html
    with pytest.raises(UserError, match="exists already"):
        write_dossier(read_record(store), folder, None)


def test_before_the_first_leg_there_is_only_a_plan(at: At) -> None:
    record = read_record(at(0).stores["east"])
    assert CHANGE_PLAN.page(record).markdown().count("planned, not in this record") == 3
    assert "none was received or signed here yet" in MODEL_CARD.page(record).markdown()


def test_a_leg_that_must_be_done_again_is_left_out_and_what_has_expired_since_is_not(at: At) -> None:
    world = at(2)
    world.amend(1, ["south"])
    world.now += timedelta(days=3000)
    record = read_record(world.stores["south"])
    assert [leg.number for leg in record.legs] == [1]
    assert len(record.rosters) == 2


def test_an_audit_and_a_guarantee_are_told_as_the_card_has_them(store: StudyStore) -> None:
    attack = {"part": "model", "name": "lira", "auc": 0.53, "low": 0.41, "high": 0.64, "p": 0.7}
    audit = {"members": 16, "others": 8, "shadows": 4, "measurable": True, "p": 0.7, "attacks": [attack]}
    guarantee = {"epsilon": 3.0, "delta": 1e-05, "unit": "patient", "private": True}
    record = read_record(store)
    record.legs[0].card.content.update(privacy_audit=audit, privacy=guarantee)
    told = [str(fact.said) for fact in privacy(record)]
    assert told[0] == "ε = 3, δ = 1e-05 for each patient; noise is secret: yes"
    assert "16 (12 to 22) patients trained on, 8 (1 to 11) not; counts are rounded; 4 shadow models" in told[1]
    assert told[2] == "lira on the model: AUC 0.53 (interval 0.41 to 0.64), p = 0.7"


def test_a_memory_of_all_legs_is_told_beside_that_of_one(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    ewc = remembered(1, "ewc", derived="weights", patients=0)
    made = world.make(1, memory=None, cumulative=ewc)
    world.deliver(made, "south")
    world.make(2, cumulative=remembered(2, "ewc", derived="weights", patients=0))
    papers = written(world.stores["south"], folder := tmp_path / "dossier")
    for paper in papers.values():
        assert_true(paper, world.stores["south"].home, folder)
    kept = "ewc, derived from weights; fewest patients behind a number: not counted; epsilon: none stated |"
    assert f"| Leg 2, south: memory of all legs so far | {kept}" in papers["model-card"]
    assert "| Leg 2, south: memory that travels | style, derived from aggregates" in papers["model-card"]
    sizes = (
        r"\| Leg 1, north: its own weights \| model \d+ bytes \+ memory of all legs \d+ bytes \+ expert \d+ bytes \|"
    )
    assert re.search(sizes, papers["ethics-cover-sheet"])


@pytest.mark.parametrize("name", ["home.sha256", "software.md", "model-card.html"])
def test_a_lock_takes_the_place_of_no_paper(name: str, store: StudyStore, tmp_path: Path) -> None:
    (tmp_path / name).write_text("torch==2.13.0\n")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=f"two files are named {name}"):
        write_dossier(read_record(store), tmp_path / "out", tmp_path / name)
    assert not list((tmp_path / "out").iterdir())


def test_a_count_is_told_with_what_it_can_stand_for(store: StudyStore) -> None:
    text = MODEL_CARD.page(read_record(store)).markdown()
    assert (
        "16 (12 to 22) to train, 0 to validate, 8 (1 to 11) to test; counts are rounded; a number in brackets" in text
    )
    assert "| Leg 1, north: training images, in the statement | 16 (12 to 22); counts are rounded |" in text
    of = "measured on 8 (1 to 11) images of 8 (1 to 11) patients; counts are rounded"
    assert f"| Leg 1, north: score on north | 0.71, {of} |" in text
    assert "| Leg 1, north: score on outside | not measured |" in text
    assert "the generalist that arrived, before this leg: 0.5, measured on 16 (12 to 22) images" in text
    assert "fewest patients behind a number: 16 (12 to 22)" in text
    assert "over one, it is that patient's result" in text


@pytest.mark.parametrize(("exact", "says"), [(4, "4 (3 to 5)"), (9, "8 (6 to 11)")])
def test_two_ranges_of_one_count_are_explained(exact: int, says: str, tmp_path: Path) -> None:
    world = World(tmp_path / "world", policy=Policy(min_samples=1))
    world.make(1, samples=exact)
    papers = written(world.stores["north"], folder := tmp_path / "dossier")
    for paper in papers.values():
        assert_true(paper, world.stores["north"].home, folder)
    assert "| Leg 1, north: images | 8 (1 to 11) to train" in papers["model-card"]
    statement = f"training images, in the statement | {says}; counts are rounded; both documents are signed, and this"
    assert f"{statement} narrower range holds: the statement rounds the number, while" in papers["model-card"]


def test_exact_counts_have_no_range(tmp_path: Path) -> None:
    world = World(tmp_path / "world", policy=Policy(sample_counts="exact", sealed=False))
    world.make(1)
    record = read_record(world.stores["north"])
    assert "| 19 to train, 0 to validate, 5 to test; counts are exact |" in MODEL_CARD.page(record).markdown()
    of = "its bundle is for | south; sealed: no, so anybody who has the file can read it |"
    assert of in ETHICS_SHEET.page(record).markdown()


def test_noise_that_anyone_can_subtract_guarantees_nothing(store: StudyStore) -> None:
    record = read_record(store)
    record.legs[0].card.content.update(privacy={"epsilon": 3.0, "delta": 1e-05, "unit": "patient", "private": False})
    assert str(next(privacy(record)).said).startswith("none: a test with noise that anyone can subtract")


def test_what_left_is_told_whole_to_the_board(at: At, tmp_path: Path) -> None:
    world = at(2)
    world.deliver(world.bundle(2), "east")
    world.with_policy(2, install=["north", "south", "east"], share="sites")
    world.deliver(world.make(3), "north")
    store, reader = world.stores["north"], world.new_keys("clinic").identity
    world.amend(3, ["north"], withdraw=["south"])
    for experts in (False, True):
        found = sharing.shareable(store, reader, experts)
        sharing.share(store, world.keys["north"], reader, found, world.stick)
    papers = written(store, folder := tmp_path / "dossier")
    for paper in papers.values():
        assert_true(paper, store.home, folder)
    sheet, log = papers["ethics-cover-sheet"], papers["log"]
    assert "| Leg 1, north: its bundle is for | south; sealed: yes |" in sheet
    assert "| Leg 3, east: its bundle is for | north, south; sealed: yes |" in sheet
    assert "| Legs whose experts no longer travel | 2 |" in sheet
    whole = "of leg 1: statement, manifest, results, data card, card of the memory, memory, expert; of leg 2: "
    assert re.search(
        rf"\| Leg 3, east: files of its bundle \| statement, manifest, roster 1, roster 2, .*; {whole}", sheet
    )
    assert sheet.count("| Copy of leg 3, given by this site |") == 2
    out = "left out: card of the memory, memory, expert; of leg 1: card of the memory, memory, expert; of leg 2: "
    for paper in (sheet, log):
        assert out in paper
        assert "left out: of leg 2: expert" in paper
        assert "chain/0" not in paper[: paper.index("## Sources")]
    first = "the weights of the model that is best at north, which only its images taught last: they tell more about"
    for paper in (sheet, papers["model-card"], papers["technical-documentation"]):
        assert f"| Leg 1, north: expert that travelled | {first} its patients" in paper
        assert re.search(
            r"Leg 1, north: expert .*, in bundles or copies for south, east, north, clinic; each can", paper
        )
        assert re.search(r"Leg 2, south: expert .*, in bundles or copies for east, north, south; each can keep", paper)
    whom = "Who may give the final model to a hospital outside the study"
    assert f"| {whom} | each of the sites |" in sheet
    assert "| Copies that other sites gave | [to be filled in by each site" in sheet
    assert "a copy of leg 3 for clinic, outside the study, was put on a stick, as vessels.leg-3.share-clinic" in log
    assert "| Receipt that this site printed | leg 3," in log


def test_no_expert_is_told_of_where_none_travels(tmp_path: Path) -> None:
    world = World(tmp_path / "world", policy=Policy(experts="none"))
    world.make(1)
    sheet = ETHICS_SHEET.page(read_record(world.stores["north"])).markdown()
    assert "expert that travelled" not in sheet
    assert "| Who may give the final model to a hospital outside the study | none of the sites" in sheet


def test_every_kind_of_event_is_told_in_words() -> None:
    assert {*EVENTS} == {*get_args(Event)}


def test_every_fact_of_a_share_is_told_once_in_words() -> None:
    facts = {"leg": 3, "site": "east", "share": "ab12", "left_out": ["chain/0002/expert.safetensors"]}
    received = log._told("received", facts)
    assert "left out: of leg 2: expert" in received
    shared = log._told("shared", facts | {"reader": "outside", "files": ["a"], "sealing": "age1", "statement": "cd"})
    assert shared.count("share") == shared.count("outside the study") == shared.count("ab12") == 1
    assert "left_out" not in received + shared


def test_a_receipt_says_who_printed_it(at: At, tmp_path: Path) -> None:
    world = at(2)
    (slip := tmp_path / "south.txt").write_text(receipt.write(world.stores["south"], 1).text())
    text = event_log([slip]).page(read_record(world.stores["north"])).markdown()
    assert "| Receipt that another site printed | leg 1, statement " in text
    assert "It can't find that somebody who may write to this folder has written the whole ledger anew" in text


def test_a_gap_names_whom_the_paper_is_left_to(at: At) -> None:
    text = CHANGE_PLAN.page(read_record(at(0).stores["east"])).markdown()
    assert "| Net | [to be filled in by the manufacturer: not in the record] |" in text
    assert "| Roll-out | [to be filled in by the manufacturer: how users are told, and labelling is changed] |" in text
    assert "the sponsor" not in text


def _ledger(store: StudyStore) -> None:
    text = store.ledger.path.read_text()
    store.ledger.path.write_text(text.replace("received", "ReceIved", 1))


def _card(store: StudyStore) -> None:
    path = next(iter(store.folder.glob("signed/*/results.json")))
    path.write_text(path.read_text().replace("0.72", "0.92"))


def _signature(store: StudyStore) -> None:
    """The first leg's signature is another one; the statement is the same."""
    path = next(iter(store.folder.glob("signed/*/chain/0001/statement.dsse.json")))
    said = json.loads(path.read_text())
    flipped = bytearray(base64.b64decode(said["signatures"][0]["sig"]))
    flipped[3] ^= 1
    said["signatures"][0]["sig"] = base64.b64encode(flipped).decode()
    path.write_text(json.dumps(said, sort_keys=True, separators=(",", ":")))


@pytest.mark.parametrize(
    ("damage", "why"), [(_ledger, DamagedLedger), (_card, DigestMismatch), (_signature, DigestMismatch)]
)
def test_nothing_is_written_from_a_record_that_does_not_verify(
    store: StudyStore, damage: Any, why: type[Refused]
) -> None:
    damage(store)
    with pytest.raises(why) as caught:
        read_record(store)
    assert caught.value.exit_code == 3


def test_signatures_are_checked_again(store: StudyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from relay.exchange import proving

    _signature(store)
    monkeypatch.setattr(proving, "check_kept", lambda *_: None)
    with pytest.raises(BadSignature):
        read_record(store)


def test_what_is_no_lock_is_refused(store: StudyStore, tmp_path: Path) -> None:
    (lock := tmp_path / "lock.txt").write_text("not a lock at all\n")
    (tmp_path / "dossier").mkdir()
    with pytest.raises(UserError, match="is not a lock"):
        write_dossier(read_record(store), tmp_path / "dossier", lock)
    assert not list((tmp_path / "dossier").iterdir())


def test_the_command(store: StudyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (out := tmp_path / "papers").mkdir()
    words = ("dossier", "--home", store.home, "-o", out)
    typed("dossier", "--home", tmp_path, "-o", out).refused(2, "no study is known", advice="relay request")
    typed(*words, "--lock", "no.txt").refused(2, "there is no file no.txt", advice="leave --lock out")
    typed(*words, "--receipt", store.home / "identity.json").refused(3, "identity.json: this receipt is incomplete")
    assert typed(*words, "--receipt", "no.txt").err.count("no.txt") == 1
    assert not list(out.iterdir())
    monkeypatch.setattr("relay.installed.lock_here", lambda: None)
    written: list[Path] = []

    def stopped(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_bytes", stopped)
        done = typed(*words)
    assert done.code == 130
    assert "it begins from the start" in done.err
    assert not list(out.iterdir())
    done = typed(*words)
    assert done.code == 0, done.err
    assert "(constraints.txt) is not here" in done.err
    assert "there is no lock here]" in (out / "software.md").read_text()
    assert "The record verifies: 2 leg(s)." in done.out
    _ledger(store)
    typed(*words).refused(3, "line ", advice="Restore it from a backup")


# -- a reader who trusts nothing --------------------------------------------------------------------------------------


def assert_true(paper: str, home: Path, folder: Path) -> None:
    """Each statement of a paper cites a file that has its digest, and says what is at the place that it names."""
    files, checked = listed(paper, home, folder), 0
    for what, said, sources in rows(paper):
        if said.startswith("[to be filled in by "):
            assert not sources, what
            continue
        values = [value for number, places in cited(sources) for value in found(files[number], places)]
        assert values, f"{what}: {said} cites nothing"
        assert_says(said, values, what)
        checked += 1
    assert checked > 4


@cache
def packages() -> dict[str, Path]:
    """The folders of installed packages, by the name of their root."""
    return {name: folder for folder, name in roots().items()}


def assert_digests(folder: Path, home: Path) -> None:
    """The digests of all cited files are listed as sha256sum reads them."""
    roots = {f"{name.replace(' ', '-')}.sha256": root for name, root in packages().items()}
    roots |= {"home.sha256": home, "this-folder.sha256": folder}
    there = {path.name for path in folder.glob("*.sha256")}  # one for each place that something is cited from
    assert {"home.sha256", "this-folder.sha256"} < there <= roots.keys()
    for name in sorted(there):
        root, lines = roots[name], (folder / name).read_text().splitlines()
        assert lines
        for line in lines:
            sha256, path = line.split("  ")
            assert hashlib.sha256((root / path).read_bytes()).hexdigest() == sha256, path


def rows(paper: str) -> list[tuple[str, str, str]]:
    """What, what is said, and the sources, of each row before the list of sources."""
    text = paper[: paper.index("## Sources")]
    found = [match.groups() for line in text.splitlines() if (match := ROW.match(line)) and "---" not in line]
    return [(what, said, sources) for what, said, sources in found if what != "what"]


def listed(paper: str, home: Path, folder: Path) -> dict[int, Path]:
    """The files that a paper lists, by number, each after its digest was measured."""
    roots, files = {**packages(), "home": home, "this folder": folder}, {}
    for line in paper[paper.index("## Sources") :].splitlines():
        if match := re.match(r"^\| (\d+) \| (\S+) \((.*)\) \| ([0-9a-f]{64}) \|$", line):
            number, name, root, sha256 = match.groups()
            files[int(number)] = roots[root] / name
            assert hashlib.sha256((roots[root] / name).read_bytes()).hexdigest() == sha256, name
    assert files
    return files


def cited(sources: str) -> list[tuple[int, list[str]]]:
    """The number of each file, and the places in it."""
    found = re.findall(r"\[(\d+)\]([^;]*)", sources)
    return [(int(number), [place.strip() for place in places.split(",")]) for number, places in found]


def found(path: Path, places: list[str]) -> list[Any]:
    """The values at these places of a file."""
    if path.name == manifest.MANIFEST:
        return [dict(line.split("  ")[::-1] for line in path.read_text().splitlines()) for _ in places]
    if path.name == "METADATA":
        return [message_from_string(path.read_text())[place] for place in places]
    if path.name == "receipt.txt":
        return [path.read_text().splitlines()[int(place[5:]) - 1].partition(":")[2].strip() for place in places]
    if path.suffix == ".txt":
        return [pinned(path.read_text().splitlines()[int(place.removeprefix("line ")) - 1]) for place in places]
    return [value(path, place) for place in places]


def pinned(line: str) -> str:
    """The version in a line of a lock."""
    return line.split("==")[1].split()[0]


def value(path: Path, place: str) -> Any:
    """The value at a JSON Pointer; of a ledger, in one of its lines; of an envelope, in what was signed."""
    text, pointer = path.read_text(), place
    if path.suffix == ".jsonl":
        line, pointer = re.fullmatch(r"line (\d+) ?(.*)", place).groups()  # type: ignore[union-attr]
        text = text.splitlines()[int(line) - 1]
    content = json.loads(text)
    if path.name.endswith(".dsse.json"):
        content = json.loads(base64.b64decode(content["payload"]))
    if pointer.endswith(" (absent)"):
        *above, last = pointer.removesuffix(" (absent)").strip("/").split("/")
        assert last not in (content[above[0]] if above else content)
        key = pointer.removesuffix(" (absent)").rpartition("/")[2]
        return getattr(Policy(), key, "none stated")
    for key in pointer.split("/")[1:]:
        key = key.replace("~1", "/").replace("~0", "~")
        content = content[int(key) if isinstance(content, list) else key]
    return content


def assert_says(said: str, values: list[Any], what: str) -> None:
    """Every value is said, and no number is that is in none of them."""
    text = said.replace("\\|", "|").replace("&lt;", "<").replace("\\\\", "\\")
    words = [word for value in values for word in plain(value)]
    if not any(isinstance(value, dict) for value in values):  # of an object, only a part may be said
        assert all(word in text for word in words), f"{what}: {text} does not say {words}"
    if "rounded" in words:  # then the ranges that counts stand for are said, too
        words += [str(bound) for word in words if word.isdigit() for bound in stood_for(int(word))]
    numbers = re.findall(r"(?<![\w.+-])-?\d+(?:\.\d+)?(?![\w.-])", text)
    assert all(any(number in word for word in words) for number in numbers), f"{what}: {numbers} not in {words}"


def stood_for(count: int) -> set[int]:
    """The least and the largest number that is published as a count, by trying all; 1 if small groups are raised."""
    there = [n for n in range(1, 4 * count) if 2 ** round(math.log2(n)) == count]
    return {1 if count == 8 else min(there), min(there), max(there)} if there else set()


def plain(value: Any) -> list[str]:
    """The words that a value is told in."""
    if isinstance(value, dict):
        return [word for key, inner in value.items() for word in (str(key), *plain(inner))]
    if isinstance(value, list):
        return [word for inner in value for word in plain(inner)]
    if value is None:
        return []
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [f"{value:.4g}" if isinstance(value, float) else str(value)]
