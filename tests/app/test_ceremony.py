"""From new keys to the first page of a study, and a leg's forms."""

from __future__ import annotations

from pathlib import Path

import pytest

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
