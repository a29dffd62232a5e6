"""One palette for all that is drawn."""

from __future__ import annotations

import re

from relay import palette
from tests.rooms import ROOT


def test_a_colour_is_written_as_a_page_wants_it() -> None:
    assert palette.css(palette.BLUE) == "#0072b2"
    assert len(set(palette.PALETTE)) == 8


def test_the_page_has_the_palettes_blue_and_orange() -> None:
    page = (ROOT / "report" / "page.css").read_text()
    light, dark = page.split("@media", 1)[0], page
    assert f"--blue: {palette.css(palette.BLUE)}" in light
    assert f"--edge: {palette.css(palette.ORANGE)}" in dark


def test_no_colour_of_it_is_written_a_second_time() -> None:
    texts = [re.escape(f"({', '.join(map(str, colour))})") for colour in palette.PALETTE[1:]]
    texts += [re.escape(palette.css(colour)) for colour in palette.PALETTE[1:]]
    twice = [p.name for p in ROOT.rglob("*.py") if p.stem != "palette" and re.search("|".join(texts), p.read_text())]
    assert not twice
