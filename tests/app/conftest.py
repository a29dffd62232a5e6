"""A page without a socket: its application, asked directly."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from relay.app import Desk, Roots
from relay.app.guard import Door
from relay.app.server import application

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium

HOST = "127.0.0.1:8000"
ORIGIN = f"http://{HOST}"


@dataclass
class Browser:
    """A browser that came by a link; ``post`` sends a form as the page would."""

    client: TestClient
    desk: Desk
    door: Door

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, **options)

    @property
    def token(self) -> str:
        found = re.search(r'name="relay-token" content="([0-9a-f]+)"', self.get("/jobs").text)
        assert found
        return found[1]

    def post(self, path: str, data: Mapping[str, Any] | None = None, **options: Any) -> Any:
        fields = {"form_token": self.token, **(data or {})}
        return self.client.post(path, data=fields, headers={"origin": ORIGIN}, follow_redirects=False, **options)


Opened = Callable[..., Browser]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """``opened()``: a browser at the page of a new home; ``opened(home)``: of this one."""

    def browser(
        home: Path | None = None, cwd: Path | None = None, clock: Any = None, config: str | None = None
    ) -> Browser:
        place, here = home or tmp_path / "home", cwd or tmp_path / "work"
        place.mkdir(mode=0o700, exist_ok=True)
        here.mkdir(exist_ok=True)
        desk = Desk(place, here, Roots((here.resolve(),), (place.resolve(),)), config)
        door = Door(600, clock) if clock else Door(600)
        client = TestClient(application(desk, door, HOST), base_url=ORIGIN)
        assert client.get(f"/enter?token={door.link()}", follow_redirects=False).status_code == 303
        return Browser(client, desk, door)

    return browser


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], str | None, bool]]:
    """The words, the passphrase and the weight of each command that a page would queue; nothing runs."""
    from relay.app.jobs import Job, Jobs

    found: list[tuple[tuple[str, ...], str | None, bool]] = []

    def start(self: Jobs, words: Any, title: str, cwd: Path, passphrase: str | None = None, light: bool = False) -> Job:
        found.append((tuple(words), passphrase, light))
        return Job(self.root, len(found), title, tuple(words), str(cwd), light, passphrase is not None, "")

    monkeypatch.setattr(Jobs, "start", start)
    return found


@pytest.fixture(scope="package")
def chromium() -> Iterator[Chromium]:
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
