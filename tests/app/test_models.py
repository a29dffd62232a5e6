"""Models in the page: the library, one model's card, and forms that are their commands."""

from __future__ import annotations

import os
import shutil
from itertools import product
from pathlib import Path

import pytest

from tests.app.conftest import Browser, Opened
from tests.relays import At, World

FORMS = {
    "/models/compare": {"a": "a.relay", "b": "b.relay", "passphrase": " p "},
    "/models/diff": {"a": "a.relay", "b": "b.relay", "to": ".", "name": "d"},
    "/models/merge": {
        "a": "a.relay",
        "difference": "d.safetensors",
        "scale": "0.5",
        "to": ".",
        "name": "m.safetensors",
    },
    "/models/opened": {"folder": ".", "passphrase": "p"},
}
WORDS = {
    "/models/compare": ["models", "compare", "{here}/a.relay", "{here}/b.relay"],
    "/models/diff": ["models", "diff", "{here}/a.relay", "{here}/b.relay", "-o", "{here}/d.safetensors"],
    "/models/merge": [
        *("models", "merge", "{here}/a.relay", "{here}/d.safetensors", "--scale", "0.5", "-o", "{here}/m.safetensors"),
    ],
    "/models/opened": ["models", "list", "{here}"],
}


@pytest.mark.parametrize("path", FORMS)
def test_a_form_is_its_command(opened: Opened, queued: list, path: str) -> None:
    browser = opened()
    assert browser.post(path, FORMS[path]).status_code == 303
    ((words, secret, light),) = queued
    assert list(words) == [word.format(here=browser.desk.cwd.resolve()) for word in WORDS[path]]
    assert (secret, light) == (FORMS[path].get("passphrase"), True)


@pytest.mark.parametrize("path", FORMS)
def test_no_field_leads_outside_or_becomes_an_option(opened: Opened, queued: list, path: str) -> None:
    browser = opened()
    hostile = ("--home", "-o/etc", "../../etc/passwd", "/etc/passwd", "a/../../../x", "nan", "\0")
    for field, text in product(sorted(FORMS[path].keys() - {"passphrase"}), hostile):
        assert browser.post(path, {**FORMS[path], field: text}).status_code in (303, 422)
    for words, _, _ in queued:
        assert not {"--home", "-o/etc", "nan"} & set(words)
        assert not any("etc/passwd" in word or ".." in word or "\0" in word for word in words)


def seen(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def test_a_folder_is_a_library_and_each_model_has_its_card(at: At, opened: Opened, queued: list) -> None:
    world = at(3)
    browser = opened(world.stores["south"].home)
    assert "leg 1 by north" in seen(browser, "/models")  # received here
    assert "signed here, and unchanged since" in seen(browser, "/models")
    run = browser.desk.exps / "a" / "b" / "checkpoints" / "task_1"
    shutil.copytree(world.folder / "north" / "handover_1", run / "handover")
    with world.forged(3, to=[]) as parts:
        pass
    shutil.copy(parts.bundle, browser.desk.cwd / "vessels.leg-3.east.relay")
    shutil.copy(world.bundle(2), browser.desk.cwd)
    page = seen(browser, f"/models?folder={browser.desk.cwd}")
    for text in ("a/b, leg 1 by north", "vessels, leg 3 by east", "trained from leg 2 by south", "east 0.730"):
        assert text in page
    assert page.count('type="radio" name="a"') == 3  # the sealed one, too: a passphrase can be given with the form
    one = seen(browser, f"/models/show?path={browser.desk.cwd / 'vessels.leg-3.east.relay'}")
    assert "Model card, based on what its sites say" in one
    assert "<li>leg 1 by north (" in one
    assert "Show with the passphrase" in seen(browser, f"/models/show?path={browser.desk.cwd / world.bundle(2).name}")
    own = world.stores["south"].received(1)
    form = {"a": str(own), "b": str(run)}
    compared = browser.post("/models/compare", form).text  # it was received here, though the home is closed
    for text in ("A and B are the same model.", "Where their cards differ", "a/b", "0.710", "<strong>0</strong>"):
        assert text in compared
    assert browser.post("/models/diff", {**form, "to": ".", "name": "d"}).status_code == 303
    assert queued[0][0][2:4] == (str(own), str(run.resolve()))
    keys = browser.post("/models/compare", {"a": str(world.folder / "south" / "keys.json"), "b": str(run)})
    assert (keys.status_code, "this site&#39;s keys" in keys.text) == (422, True)


def test_hostile_names_and_cards_are_shown_harmless(at: At, opened: Opened) -> None:
    world: World = at(1)
    browser = opened(world.stores["south"].home)
    here = browser.desk.cwd
    names = ("<script>alert(1)</script>.safetensors", 'x" onclick="alert(1).safetensors', "a\nb\x1b[2J.safetensors")
    for name in (*names, os.fsdecode(b"\xff\xfe.safetensors")):
        (here / name.replace("/", "_")).write_bytes(b"\xff" * 20)
    with world.forged(1, signer="east", to=[], name="vessels.leg-1.x") as parts:
        parts.files["MODEL_CARD.md"] = b"<script>alert(1)</script>"
        head = parts.json("handover.json")
        parts.put("handover.json", {**head, "model": {**head["model"], "kwargs": {"depth": "<b>2</b>"}}})
    bundle = shutil.copy(parts.bundle, here)
    page, one = seen(browser, f"/models?folder={here}"), seen(browser, f"/models/show?path={Path(bundle)}")
    for text in (page, one):
        for harm in ("<script>alert", 'onclick="alert', "<b>2"):
            assert harm not in text
        assert "\x1b" not in text
    assert "&lt;b&gt;2&lt;/b&gt;" in one
    assert page.count("Rename it to use it here.") == 2
    assert page.count(">damaged</span>") == 4


def test_a_wrong_folder_is_the_errors_own_message(opened: Opened) -> None:
    browser = opened()
    assert "There is no model here" in seen(browser, "/models")
    for text in ("/etc", "gone", "../.."):
        answer = browser.get(f"/models?folder={text}")
        assert answer.status_code == 422
        assert "What to do" in answer.text
    for path in ("", "/etc/passwd", "gone"):
        assert browser.get(f"/models/show?path={path}").status_code == 422
