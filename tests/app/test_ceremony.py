"""From new keys to the first page of a study, and a leg's forms."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from relay.report.curves import Curve
from tests.app.conftest import Opened
from tests.relays import At

FORMS = {
    "/keys/new": {"name": "north", "passphrase": "x" * 9, "again": "x" * 9},
    "/keys/request": {"invitation": "i.json", "folder": ".", "fingerprint": "a b", "passphrase": " p "},
    "/keys/install": {"roster": "r.json"},
    "/leg/verify": {"bundle": "b.relay", "passphrase": "p"},
    "/leg/receive": {"config": "demo", "stick": ".", "passphrase": "p"},
    "/leg/train": {"config": "demo", "note": "n", "gpus": "0", "overrides": "a.b=1\nc=2", "passphrase": ""},
    "/leg/adopt": {"config": "demo", "note": "n"},
}
WORDS = {
    "/keys/new": ["keys", "new", "--name", "north"],
    "/keys/request": ["request", "{here}/i.json", "-o", "{here}", "--fingerprint", "a b"],
    "/keys/install": ["roster", "install", "{here}/r.json"],
    "/leg/verify": ["verify", "{here}/b.relay"],
    "/leg/receive": ["receive", "-c", "demo", "{here}"],
    "/leg/train": ["train", "-c", "demo", "-n", "n", "-g", "0", "a.b=1", "c=2"],
    "/leg/adopt": ["adopt", "-c", "demo", "-n", "n"],
}


@pytest.mark.parametrize("path", FORMS)
def test_a_form_is_its_command(opened: Opened, queued: list, path: str) -> None:
    browser = opened()
    assert browser.post(path, FORMS[path]).status_code == 303
    ((words, secret, _),) = queued
    assert list(words) == [word.format(here=browser.desk.cwd.resolve()) for word in WORDS[path]]
    assert secret == (FORMS[path].get("passphrase") or None)  # unchanged: blanks may be part of it


@pytest.mark.parametrize("path", ["/leg/verify", "/leg/receive"])
def test_of_several_studies_one_is_chosen(opened: Opened, queued: list, path: str) -> None:
    browser = opened()
    assert 'name="study"' not in browser.get("/leg").text
    for name in ("lungs", "veins"):
        (folder := browser.desk.home / "studies" / name).mkdir(parents=True)
        (folder / "coordinator.json").write_text("{}")
    assert browser.get("/leg").text.count("<option>veins</option>") == 2
    browser.post(path, {**FORMS[path], "study": "veins"})
    assert browser.post(path, {**FORMS[path], "study": "other"}).status_code == 422
    ((words, _, _),) = queued
    assert words[-2:] == ("-s", "veins")


@pytest.mark.parametrize(
    ("path", "field"),
    [(path, field) for path, form in FORMS.items() for field in form if field not in ("passphrase", "again")],
)
def test_no_field_leads_outside_or_becomes_an_option(opened: Opened, queued: list, path: str, field: str) -> None:
    browser = opened()
    for text in ("--home", "-o/etc", "../../etc/passwd", "/etc/passwd"):
        answer = browser.post(path, {**FORMS[path], field: text})
        assert answer.status_code in (303, 422)
        for words, _, _ in queued:
            assert "--home" not in words
            assert "-o/etc" not in words
            assert field in ("name", "fingerprint", "note", "gpus") or not any("etc/passwd" in word for word in words)
        queued.clear()


def test_two_passphrases_must_match(opened: Opened, queued: list) -> None:
    answer = opened().post("/keys/new", {**FORMS["/keys/new"], "again": "y"})
    assert (answer.status_code, "match" in answer.text, queued) == (422, True, [])


@pytest.mark.parametrize(
    ("path", "wrong", "said"),
    [
        ("/keys/new", {"passphrase": "", "again": ""}, "no passphrase is given"),
        ("/keys/new", {"passphrase": "short", "again": "short"}, "needs at least 8"),
        ("/keys/new", {"name": "../x"}, "the name ../x"),
        ("/keys/request", {"passphrase": ""}, "no passphrase is given"),
    ],
)
def test_what_no_command_would_take_is_said_before_one_is_queued(
    opened: Opened, queued: list, path: str, wrong: dict[str, str], said: str
) -> None:
    answer = opened().post(path, {**FORMS[path], **wrong})
    assert (answer.status_code, said in answer.text, queued) == (422, True, [])


def test_curves_of_a_run_whose_loss_was_no_number(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = opened()
    (browser.desk.exps / "a" / "run" / "tensorboard" / "task_1").mkdir(parents=True)
    curve = Curve(0, {"learn": [(1.0, 0.5), (2.0, math.nan), (3.0, math.inf)]}, [], 3.0)
    monkeypatch.setattr("relay.app.curves.curve_in", lambda folder: curve)
    (leg,) = browser.get("/leg/curves?run=exps/a/run").json()
    assert leg == {"leg": "task_1", "loss": [{"phase": "learn", "points": [[1.0, 0.5]]}], "score": []}


def test_a_run_that_works_is_shown_whoever_started_it(opened: Opened) -> None:
    browser = opened()
    (logs := browser.desk.exps / "a" / "b" / "run" / "logs").mkdir(parents=True)
    (logs / "progress.json").write_text('{"doing": "training", "share": 0.5, "left": "1 min"}')
    assert "exps/a/b/run" in browser.get("/leg/part").text
    (drawn := logs / "validation").mkdir()
    (drawn / "about.json").write_text('{"step": 5, "captions": ["<b>p1"]}')
    (drawn / "1.png").write_bytes(b"a picture")
    assert "over &lt;b&gt;p1" in browser.get("/leg/part").text
    answer = browser.get("/leg/validation?run=exps/a/b/run&image=1")
    assert (answer.content, answer.headers["content-type"]) == (b"a picture", "image/png")
    for wrong in ("2", "../about", "x", ""):
        assert browser.get(f"/leg/validation?run=exps/a/b/run&image={wrong}").status_code == 422
    (drawn / "about.json").write_text("[")  # it is being replaced
    assert "<img" not in browser.get("/leg/part").text
    os.utime(logs / "progress.json", (0, 0))
    assert "No run works now" in browser.get("/leg/part").text


def test_a_new_home_is_led_through_the_ceremony(opened: Opened) -> None:
    browser = opened()
    first = browser.get("/").text
    assert "no keys yet" in first
    assert 'href="/keys"' in first
    assert "Make the keys" in browser.get("/keys").text


@pytest.mark.parametrize(
    ("leg", "site", "said"),
    [
        (0, "north", "Yours is the first leg"),
        (0, "south", "Wait for leg 1 from north"),
        (1, "north", "no further turn"),
        (2, "south", "no further turn"),
    ],
)
def test_the_first_page_says_what_to_do_next(at: At, opened: Opened, leg: int, site: str, said: str) -> None:
    page = opened(at(leg).stores[site].home).get("/")
    assert page.status_code == 200, page.text
    assert said in page.text
    for name in ("north", "south", "east"):
        assert f"<strong>{name}</strong>" in page.text
    assert "Roster 1 was installed" in page.text


def test_a_damaged_ledger_is_the_commands_own_message(at: At, opened: Opened) -> None:
    home: Path = at(1).stores["north"].home
    (ledger,) = home.glob("studies/*/ledger.jsonl")
    ledger.write_bytes(ledger.read_bytes()[:-9])
    page = opened(home).get("/")
    assert (page.status_code, "ledger" in page.text, "What to do:" in page.text) == (422, True, True)
