"""Models in a real browser: a library, two compared, a difference added; without one in ``test_models.py``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.models import Place, entries_of, make_difference
from tests.app.test_browser import Served, opened
from tests.relays import At

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]


def choose(site: Served) -> None:
    """A: leg 1; B: leg 2."""
    site.go("/models")
    for name, leg in (("a", 1), ("b", 2)):
        site.page.locator("tr", has_text=f"b/c, leg {leg} by").locator(f"[name={name}]").check()


def test_two_models_are_compared_and_combined(chromium: Browser, at: At, tmp_path: Path) -> None:
    world, work = at(2), tmp_path / "work"
    exps = work / "exps"
    runs = [exps / "b" / "c" / "checkpoints" / f"task_{leg}" / "handover" for leg in (1, 2)]
    for leg, (name, run) in enumerate(zip(("north", "south"), runs, strict=True), 1):
        shutil.copytree(world.folder / name / f"handover_{leg}", run)
    place = Place(tmp_path / "nobody")
    one, other = entries_of(runs, place)
    make_difference(one, other, exps / "change.safetensors", place, pytest.fail)
    (exps / "<img src=x onerror=alert(1)>.safetensors").write_bytes(b"no model")
    with opened(chromium, tmp_path / "home", work) as site:
        choose(site)
        assert "<img src=x onerror=alert(1)>.safetensors" in site.page.inner_text("main")
        site.page.get_by_role("button", name="Compare").click()
        told = site.page.inner_text("main")
        assert "B descends from A, which is leg 1 by north" in told
        choose(site)
        site.page.fill("#to", str(exps))
        site.page.fill("#name", "half")
        site.page.fill("#difference", str(exps / "change.safetensors"))
        site.page.fill("#scale", "0.5")
        site.page.get_by_role("button", name="Write the model").click()
        assert site.over() == "done", site.page.inner_text("main")
        site.go("/models")
        site.page.get_by_role("link", name="half.safetensors").click()
        assert "0.5 × (leg 2 by south" in site.page.inner_text("main")
