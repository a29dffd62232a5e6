"""Tables on the screen: names as they are, whole, however narrow it is."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from relay.report.screen import show_comparison, show_study

BAD = "[/a][red]x[merge=0.2]"


def console(width: int) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=width, force_terminal=False), text


def test_names_of_a_study_are_shown_as_text(tmp_path: Path) -> None:
    on, text = console(200)
    summary = {"study": f"s{BAD}", "matrix": {1: {BAD: 0.5, "b": None}}, "mean": 0.5, "forgetting": math.nan}
    show_study(on, summary, tmp_path)
    assert f"s{BAD}: Dice after each leg" in text.getvalue()
    assert text.getvalue().count(BAD) == 2
    assert "–" in text.getvalue()


def test_the_mean_of_the_table_is_that_of_the_line_below(tmp_path: Path) -> None:
    on, text = console(200)
    matrix = {1: {"a": 0.25, "b": 0.75, "abroad": 0.1}}
    relay = {"external": {"abroad": 0.1}}
    show_study(on, {"study": "s", "matrix": matrix, "mean": 0.5, "forgetting": 0.0, "relay": relay}, tmp_path)
    assert text.getvalue().count("0.500") == 2


@pytest.mark.parametrize("width", [80, 240])
def test_names_of_a_comparison_are_shown_whole(tmp_path: Path, width: int) -> None:
    label = "relay[merge=0.2,memory=null]"
    numbers = ("mean", "sd", "low", "high", "forgetting", "gap_closed", "to_joint_worst", "to_local_worst", "cost")
    row = {"strategy": label, "runs": 4, "bytes": 4096.0, "to_local_worst_site": BAD} | dict.fromkeys(numbers, 0.5)
    sites = dict.fromkeys((BAD, "south", "harbour"), 0.5)
    test = {"a": label, "b": "sequential", "pairs": 9} | dict.fromkeys(("difference", "low", "high", "effect"), 0.5)
    told = {
        "runs": [{"label": label, "final": sites}],
        "table": [row],
        "tests": [test | {"p": 0.25, "p_holm": 0.25}],
        "planned": 1,
        "method": f"by {BAD}",
    }
    on, text = console(width)
    show_comparison(on, told, tmp_path, tmp_path / "report.html")
    said = text.getvalue()
    assert "…" not in said
    if width > 80:
        assert said.count(label) == 3
    assert f"by {BAD}" in " ".join(said.split())
    first = "".join(line.split("│")[1].strip() for line in said.splitlines() if line.startswith("│"))
    assert first.count(label) == 3  # a row in each table
