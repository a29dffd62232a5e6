"""Pages that are made from the code are up to date, and links between pages lead somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_config_reference_is_what_the_code_checks() -> None:
    made = runpy.run_path(str(ROOT / "docs/reference/make_config.py"))["page"]()
    assert made == (ROOT / "docs/reference/config.md").read_text(), "run: python docs/reference/make_config.py"


def test_figure_is_what_its_script_draws(tmp_path: Path) -> None:
    draw = runpy.run_path(str(ROOT / "docs/figures/way_of_a_leg.py"))["draw"]
    draw().savefig(tmp_path / "now.svg")
    assert (tmp_path / "now.svg").stat().st_size > 10_000
    assert (ROOT / "docs/figures/way_of_a_leg.svg").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken
