"""The page in a real browser: Debian's Chromium, driven by playwright; every request it makes is watched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.studies import given

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.enable_socket
SITES = ("clinic_a", "clinic_b", "clinic_c")
SECRET = "five or six random words"
WAIT = 180


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser. Where the gate runs, there must be one; elsewhere, its tests skip."""
    there = shutil.which("chromium") or shutil.which("google-chrome")
    if there is None:
        told = "there is no Chromium: apt install chromium"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=there, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Served:
    """A page that is served by ``relay ui``, and a browser's tab at it, with what went wrong in it."""

    page: Page
    url: str
    home: Path
    wrong: list[str]

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def fill(self, form: str, **fields: str) -> None:
        """Fill in the form that is sent to ``form``, and send it."""
        within = self.page.locator(f'form[action="{form}"]')
        for name, value in fields.items():
            within.locator(f'[name="{name}"]').fill(value)
        within.locator("button:not([type=button])").click()

    def over(self) -> str:
        """Wait for the job that is shown, and return its state."""
        state = self.page.locator("[data-over]")
        state.wait_for(timeout=1000 * WAIT)
        return str(state.inner_text())


Serve = Callable[..., Any]


@contextmanager
def serving(home: Path, cwd: Path, *words: str) -> Iterator[str]:
    """``relay ui`` in a process of its own; yields its link."""
    home.mkdir(mode=0o700, exist_ok=True)
    environment = {**os.environ, "RELAY_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "relay", "ui", "--no-browser", *words]
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(rb"http://127\.0\.0\.1:[0-9]+/enter\?token=\S+", line):
                yield found[0].decode()
                break
        else:
            pytest.fail("relay ui gave no link")
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def opened(browser: Browser, home: Path, cwd: Path, *words: str) -> Iterator[Served]:
    """The page of a home, in a context of its own, as another browser would have it."""
    with serving(home, cwd, *words) as link, ExitStack() as after:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        after.callback(context.close)
        wrong: list[str] = []
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(link[:17]) or wrong.append(request.url))
        page.goto(link)
        yield Served(page, link.partition("/enter")[0], home, wrong)
        assert not wrong


def config(cwd: Path, task: int, stick: Path) -> None:
    """A deployment's config for one of three synthetic sites."""
    sets = [{"kwargs": {"task_id": i, "task_name": name, "camera": name}} for i, name in enumerate(SITES, 1)]
    current = {"mode": "deployment", "task_ids": [task]}
    handoff = {"study": "three", "receive": str(stick), "send": str(stick)}
    blocks = given(**{"common.train.num_epochs": 1, "common.strategy.name": "relay"})
    blocks |= {"all_tasks_datasets": sets, "current_tasks": {**current, "handoff": handoff}}
    (cwd / "configs").mkdir(parents=True)
    (cwd / "configs" / "deploy.yaml").write_text(yaml.safe_dump(blocks))


def relay(home: Path, *words: str | Path) -> None:
    """A command of the coordinator, in a terminal."""
    environment = {**os.environ, "RELAY_HOME": str(home), "RELAY_PASSPHRASE": SECRET}
    command = [sys.executable, "-m", "relay", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


def words_of(home: Path) -> str:
    from relay.trust import keys

    return keys.identity(home).fingerprint


def test_keys_are_made_a_reload_finds_the_job_and_two_browsers_see_it(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "work" / "deep").mkdir(parents=True)
    with opened(chromium, tmp_path / "home", tmp_path / "work") as site:
        site.page.get_by_role("link", name="Set up this site").click()
        site.fill("/keys/new", name="north", passphrase=SECRET, again=SECRET)
        site.page.reload()
        assert site.over() == "done"
        assert "New keys for north" in site.page.locator(".output").inner_text()
        site.go("/jobs")
        site.page.get_by_role("button", name="Open this page in another browser").click()
        link = site.page.locator(".command code").inner_text()
        other = chromium.new_context()
        (second := other.new_page()).goto(link)
        second.goto(f"{site.url}/jobs")
        assert "Make this site's keys" in second.inner_text("main")
        other.close()
        assert words_of(site.home) in (site.go("/keys") or site.page.inner_text("main"))


def test_a_folder_is_chosen_in_a_dialog_by_keyboard(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "work" / "deep" / "<i>er").mkdir(parents=True)
    with opened(chromium, tmp_path / "home", tmp_path / "work") as site:
        site.go("/leg")
        site.page.locator('[data-browse="stick"]').focus()
        site.page.keyboard.press("Enter")
        dialog = site.page.get_by_role("dialog")
        dialog.get_by_role("button", name="deep/").press("Enter")
        dialog.get_by_role("button", name="<i>er/").press("Enter")
        dialog.get_by_role("heading", name="<i>er").wait_for()
        dialog.get_by_role("button", name="Choose this folder").press("Enter")
        assert site.page.locator("#stick").input_value() == str((tmp_path / "work/deep/<i>er").resolve())
        assert site.page.evaluate("document.activeElement.id") == "stick"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_hospitals_from_keys_to_the_last_report(chromium: Browser, tmp_path: Path) -> None:
    """Each hospital has its own home, folder and port; only the coordinator, and the stick, are shared."""
    stick, centre = tmp_path / "stick", tmp_path / "centre"
    stick.mkdir()
    relay(centre, "keys", "new", "--name", "centre")
    relay(centre, "invite", "three", "-o", stick)
    with ExitStack() as stack:
        sites = {}
        for task, name in enumerate(SITES, 1):
            config(cwd := tmp_path / name, task, stick)
            words = ("-c", "deploy", "--root", str(stick))
            sites[name] = stack.enter_context(opened(chromium, tmp_path / f"{name}.home", cwd, *words))
        for name, site in sites.items():
            site.go("/keys")
            site.fill("/keys/new", name=name, passphrase=SECRET, again=SECRET)
            assert site.over() == "done"
            site.go("/keys")
            fields = {"invitation": str(stick / "three.invitation.json"), "folder": str(stick)}
            site.fill("/keys/request", **fields, fingerprint=words_of(centre), passphrase=SECRET)
            assert site.over() == "done", site.page.inner_text("main")
        requests = [stick / f"three.{name}.request.json" for name in SITES]
        relay(centre, "roster", "make", *requests, "--order", ",".join(SITES), "-o", stick, "-s", "three", "--yes")
        for leg, (name, site) in enumerate(sites.items(), 1):
            site.go("/keys")
            site.fill("/keys/install", roster=str(stick / "three.roster-1.json"))
            assert site.over() == "done"
            site.go("/")
            if leg > 1:
                site.page.get_by_role("link", name="Receive from the stick").click()
                site.fill("/leg/receive", stick=str(stick), passphrase=SECRET)
                assert site.over() == "done", site.page.inner_text("main")
                site.go("/")
            site.page.get_by_role("link", name=f"Train leg {leg}").click()
            site.fill("/leg/train", passphrase=SECRET)
            site.page.locator(".state.running").wait_for(timeout=1000 * WAIT)
            site.page.reload()
            assert site.over() == "done", site.page.inner_text("main")
            assert list((tmp_path / name / "exps/deploy/run").rglob("report.html"))
            site.go("/")
            assert f"Leg {leg} was written to a stick" in site.page.inner_text("main")
        last = sites[SITES[-1]]
        assert last.page.locator(".line .done").count() == len(SITES)
        last.page.get_by_role("link", name="Choose a model").click()
        last.fill("/leg/adopt", passphrase=SECRET)
        assert last.over() == "done", last.page.inner_text("main")
