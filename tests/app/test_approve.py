"""The page on which a person approves what leaves: the whole list first, then one command with its digest."""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from relay.app.overview import next_step
from relay.trust.policy import Policy
from tests import relays
from tests.app.conftest import Browser, Opened
from tests.cli.typed import typed
from tests.relays import World

HANDOVER = "exps/study/run/checkpoints/task_1/handover"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(relays, "START", datetime.now(timezone.utc).replace(microsecond=0))
    return World(tmp_path, policy=Policy(approval="required"))


@pytest.fixture
def page(world: World, opened: Opened) -> Browser:
    """North's page; its leg is finished in a run under exps/."""
    work = world.folder / "work"
    place = work / HANDOVER
    place.parent.mkdir(parents=True)
    shutil.move(world.train(1), place)
    shutil.move(world.stick, work / "stick")
    return opened(world.folder / "north", work)


def listed(page: Browser) -> str:
    text: str = page.get("/approve", params={"study": "vessels", "handover": HANDOVER}).text
    return text


def filled(page: Browser, **changes: Any) -> dict[str, str]:
    found = re.search(r'name="list" value="([0-9a-f]{64})"', listed(page))
    assert found
    fields = {"study": "vessels", "handover": HANDOVER, "list": found[1], "name": "Ada", "reason": "reviewed"}
    return {**fields, "folder": str(page.desk.cwd / "stick"), "passphrase": "p", "read": "yes", **changes}


def test_the_whole_list_is_shown_before_anything_is_asked(page: Browser) -> None:
    address = f"/approve?study=vessels&amp;handover={HANDOVER.replace('/', '%2F')}"
    assert f'href="{address}">Look at what would leave</a>' in page.get("/").text
    first = page.get("/approve").text
    assert HANDOVER in first
    assert "Approve and send" not in first
    text = listed(page)
    for said in (
        "model.safetensors",
        "the weights of the model",
        "expert.safetensors",
        "was not measured",
        "north 0.710",
    ):
        assert said in text
    assert "The study's policy requires an approval." in text
    assert not (page.desk.home / "studies/vessels/.signing").exists()


def test_what_was_approved_is_sent_by_the_command_with_its_digest(
    page: Browser, queued: list[Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = filled(page)
    assert page.post("/approve/send", fields).status_code == 303
    ((words, secret, light),) = queued
    assert (secret, light) == ("p", True)
    assert words[:2] == ("send", HANDOVER)
    assert {"--yes", "--approved-list", fields["list"], "--approved-by=Ada", "--reason=reviewed"} <= {*words}
    done = typed(*words, cwd=page.desk.cwd, RELAY_HOME=str(page.desk.home))
    assert done.code == 0, done.err
    assert [line.event for line in world.stores["north"].ledger.lines()[-3:]] == ["approved", "signed", "sent"]
    store = world.stores["north"]
    monkeypatch.setattr("relay.exchange.StudyStore.sent", lambda _: [])
    step = next_step(store, store.roster, store.record(), lambda _: None)
    assert step.href == "/approve?study=vessels&handover="  # of several studies, this one
    again = page.get("/approve", params={"handover": ""}).text
    assert "signed already" in again
    assert "approved by Ada" in again


WRONG: list[tuple[dict[str, str], str]] = [
    ({"read": ""}, "it is not said that the list was read"),
    ({"name": " "}, "who approves what leaves"),
    ({"reason": "two\nlines"}, "--reason can&#39;t be kept"),
    ({"handover": "../../etc"}, "outside the folders"),
    ({"handover": "../north/handover_1"}, "the folder with this site&#39;s keys"),
    ({"handover": "exps/study"}, "is not the handover of a finished leg"),
    ({"folder": "/etc"}, "outside the folders"),
    ({"study": "-x"}, "can&#39;t be used"),
]


def test_what_is_wrong_is_said_and_nothing_is_queued(page: Browser, queued: list[Any]) -> None:
    fields = filled(page)
    for changes, says in WRONG:
        answer = page.post("/approve/send", {**fields, **changes})
        assert (answer.status_code, queued) == (422, [])
        assert says in answer.text


def test_a_study_that_is_not_known_is_said(page: Browser) -> None:
    answer = page.get("/approve", params={"study": "../../x", "handover": ""})
    assert (answer.status_code, "no such study" in answer.text) == (422, True)
