"""Who gets in, and who doesn't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay.app import ring
from relay.app.doorbell import links_of, open_at
from relay.app.guard import FRESH, HEADERS, QUIET, Door
from relay.app.server import LOOPBACK, listen
from relay.errors import UserError
from tests.app.conftest import ORIGIN, Opened


def test_a_link_works_once_and_only_this_pages_links_do(opened: Opened) -> None:
    browser = opened()
    link = browser.door.link()
    browser.client.cookies.clear()
    assert browser.get("/").status_code == 403
    assert browser.get("/enter?token=guess").status_code == 403
    assert browser.get("/enter").status_code == 403
    first = browser.get(f"/enter?token={link}", follow_redirects=False)
    assert first.status_code == 303
    assert {"HttpOnly", "SameSite=strict"} <= {word.strip() for word in first.headers["set-cookie"].split(";")}
    browser.client.cookies.clear()
    again = browser.get(f"/enter?token={link}")
    assert (again.status_code, "used before" in again.text) == (403, True)


@pytest.mark.parametrize(("later", "stays"), [(1.0, False), (90.0, True)])
def test_who_took_a_link_from_the_browser_is_locked_out_when_it_comes(
    opened: Opened, later: float, stays: bool
) -> None:
    now = [0.0]
    other = opened(clock=lambda: now[0])
    other.client.cookies.clear()
    link = f"/enter?token={other.door.link()}"
    assert other.get(link).status_code == 200
    now[0] = later
    assert other.get(link).status_code == 403
    assert (other.get("/jobs").status_code == 200) is stays


@pytest.mark.parametrize("host", ["evil.example", "localhost:8000", "127.0.0.1:9000", "127.0.0.1", ""])
def test_a_request_must_name_this_server(opened: Opened, host: str) -> None:
    answer = opened().get("/jobs", headers={"host": host})
    assert (answer.status_code, "<html" in answer.text) == (421, False)


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:9000", f"{ORIGIN}.evil.example"]
)
def test_what_changes_something_must_come_from_the_page(opened: Opened, queued: list, origin: str | None) -> None:
    browser = opened()
    headers = {"origin": origin} if origin else {}
    data = {"form_token": browser.token, "name": "north", "passphrase": "x" * 9, "again": "x" * 9}
    assert browser.client.post("/keys/new", data=data, headers=headers).status_code == 403
    assert not queued


def test_a_form_must_hold_its_sessions_token(opened: Opened, queued: list) -> None:
    one, data = opened(), {"name": "north", "passphrase": "x" * 9, "again": "x" * 9}
    other = one.door.enter(one.door.link())
    from relay.app.guard import csrf_of

    for token in ("", "0" * 64, csrf_of(str(other))):
        answer = one.post("/keys/new", {**data, "form_token": token})
        assert (answer.status_code, "another session" in answer.text) == (422, True)
    assert not queued
    assert one.post("/keys/new", data).status_code == 303
    assert len(queued) == 1


def test_the_page_locks_when_nobody_uses_it_though_it_asks_by_itself(opened: Opened) -> None:
    now = [0.0]
    browser = opened(clock=lambda: now[0])
    now[0] = 590
    assert browser.get("/jobs").status_code == 200
    now[0] = 1180
    assert browser.get("/jobs/rows", headers={QUIET: "1"}).status_code == 200
    now[0] = 1200
    locked = browser.get("/jobs")
    assert (locked.status_code, "locked" in locked.text) == (403, True)


def test_a_link_that_nobody_used_ends(opened: Opened) -> None:
    now = [0.0]
    browser = opened(clock=lambda: now[0])
    link = browser.door.link()
    now[0] = FRESH + 1
    assert browser.get(f"/enter?token={link}").status_code == 403


def test_the_page_is_locked_at_once(opened: Opened) -> None:
    browser = opened()
    assert "relay ui --link" in browser.post("/lock").text
    assert browser.get("/jobs").status_code == 403


def test_its_user_gets_a_new_link_to_an_open_page(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(UserError, match="no page of this home is open"):
        ring(home)
    door = Door(600, beside=links_of(home))
    with open_at(home, 7), open_at(home, 8):  # the first that is open answers
        link = ring(home)
        assert link.startswith("http://127.0.0.1:7/enter?token=")
        token = link.partition("=")[2]
        assert token not in "".join(path.name for path in links_of(home).iterdir())
        assert door.enter("../open.json") is None
        assert door.enter(token)
        assert door.enter(token) is None
        late = ring(home).partition("=")[2]
        (left,) = links_of(home).iterdir()
        os.utime(left, (0, 0))
        assert door.enter(late) is None
    with pytest.raises(UserError, match="no page of this home is open"):
        ring(home)


@pytest.mark.parametrize(("left", "message"), [(None, "only starting"), ("{}", "open.json is damaged")])
def test_a_page_that_has_not_said_its_port_gets_no_link(tmp_path: Path, left: str | None, message: str) -> None:
    with open_at(tmp_path, 7):
        said = tmp_path / "page/open.json"
        said.unlink() if left is None else said.write_text(left)
        with pytest.raises(UserError, match=message):
            ring(tmp_path)


@pytest.mark.parametrize("path", ["/jobs", "/static/live.js", "/nowhere", "/jobs/7"])
def test_every_answer_forbids_what_is_not_the_pages_own(opened: Opened, path: str) -> None:
    browser = opened()
    answer = browser.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    browser.client.cookies.clear()
    assert browser.get(path).headers["content-security-policy"] == HEADERS["content-security-policy"]


def test_no_page_has_a_script_or_a_style_of_its_own(opened: Opened) -> None:
    browser = opened()
    for path in ("/", "/keys", "/leg", "/jobs", "/browse"):
        text = browser.get(path).text
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick" not in text
        assert text.count("<script") == text.count('<script type="module" src="/static/')


@pytest.mark.enable_socket
def test_only_this_computer_can_reach_it() -> None:
    with listen(0) as found:
        assert found.getsockname()[0] == LOOPBACK == "127.0.0.1"


def test_what_goes_wrong_has_a_page(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = opened()
    long = browser.get(f"/data/new?source={'x' * 300}")
    assert (long.status_code, "File name too long" in long.text) == (422, True)
    monkeypatch.setattr("relay.app.sources.layout_of", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # the terminal shows it
        browser.get("/data/new?source=.")
    monkeypatch.setattr(browser.client._transport, "raise_server_exceptions", False)
    answer = browser.get("/data/new?source=.")
    assert (answer.status_code, "a bug in relay" in answer.text) == (500, True)
    assert answer.headers["content-security-policy"] == HEADERS["content-security-policy"]


def test_the_page_is_there_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from relay.app import Desk, Roots; from relay.app.guard import Door; "
        "from relay.app.server import application; place = Path.cwd(); "
        "application(Desk(place, place, Roots.of([place], []), None), Door(60), ''); "
        "print({'torch', 'monai', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert said.stdout.strip() == "set()", said.stderr
