"""The last screen of a run and of a comparison: one table, no word of it broken, and a sentence that is true."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from relay.metrics import about
from relay.report import sections, verdict
from relay.report.screen import show_comparison, show_study
from relay.tasks import named

BAD = "[/a][red]x[merge=0.2]"
NAN = math.nan
SITES = ("clinic_a", "clinic_b", "clinic_c", "clinic_d")
PAGE = Path("exps/a_study_with_a_long_name/a_note_that_is_long_as_well/results/report.html")


def console(width: int) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=width, force_terminal=False), text


def comparison(**means: float) -> dict[str, Any]:
    """What ``compare.json`` has of these strategies, the reference first where relay is not there."""
    table, low, high = [], means.get("sequential", NAN), means.get("joint", NAN)
    for name, value in means.items():
        closed = (value - low) / (high - low) if high - low >= 0.01 else NAN
        missing = {"mean": NAN, "difference": NAN, "lowest": {"site": None, "value": NAN}}
        one = missing | {"mean": value}
        table.append({"strategy": name, "gap_closed": closed, "at_home": one, "everywhere": one, "elsewhere": missing})
    runs = [{"label": name} for name in means]
    reference = "relay" if "relay" in means else next(iter(means))
    return {
        "study": "demo",
        "table": table,
        "runs": runs,
        "planned": len(runs),
        "reference": reference,
        "tests": [],
    }


DEMO = {"local": 0.913, "sequential": 0.465, "relay": 0.880, "joint": 0.948}
GAP = "the gap between fine-tuning from site to site ({}) and pooling all images ({})."


@pytest.mark.parametrize(
    ("means", "text"),
    [
        (DEMO, "Everywhere, relay closes 86 % of " + GAP.format("0.465", "0.948")),
        (DEMO | {"relay": 0.4651}, "Everywhere, relay closes none of " + GAP.format("0.465", "0.948")),
        (DEMO | {"relay": 0.9481}, "Everywhere, relay closes all of " + GAP.format("0.465", "0.948")),
        (
            DEMO | {"relay": 0.96},
            "Everywhere, relay (0.960) is better than fine-tuning from site to site (0.465), and even than pooling all "
            "images (0.948).",
        ),
        (
            DEMO | {"relay": 0.4},
            "Everywhere, relay (0.400) is worse than fine-tuning from site to site (0.465), and further from pooling "
            "all images (0.948).",
        ),
        (
            DEMO | {"joint": 0.46},
            "Everywhere, there is no gap to close: pooling all images (0.460) is not clearly better than fine-tuning "
            "from site to site (0.465); relay reaches 0.880.",
        ),
        ({"relay": 0.88}, "relay has a mean Dice of 0.880; there is no other strategy to compare it with."),
        ({"relay": 0.88, "sequential": 0.5}, "Everywhere, relay (0.880) is 0.380 better than sequential (0.500)."),
        (
            {"relay": 0.88, "local": 0.9, "sequential": 0.5},
            "Everywhere, relay (0.880) is 0.020 worse than local (0.900), the best of the others.",
        ),
        ({"relay": 0.88, "joint": 0.885}, "Everywhere, relay (0.880) is about as good as joint (0.885)."),
        ({"sequential": 0.5, "joint": 0.9}, "Everywhere, sequential (0.500) is 0.400 worse than joint (0.900)."),
        (
            {"relay": NAN, "sequential": 0.5, "joint": 0.9},
            "relay has no result; of the others joint has the best mean Dice (0.900).",
        ),
        ({"relay": NAN}, "No strategy has a result yet."),
    ],
)
def test_sentence_of_a_comparison_is_what_the_numbers_say(means: dict[str, float], text: str) -> None:
    content = comparison(**means)
    assert verdict.of_comparison(content) == text
    assert verdict.of_comparison(json.loads(json.dumps(content).replace("NaN", "null"))) == text


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_no_page_asks_for_a_calibration_that_is_never_measured(task: str) -> None:
    run: Any = SimpleNamespace(task=named(task))
    assert sections.calibration(run) is None


def test_an_error_rises_next_door() -> None:
    content = measured() | {"task": "regression"}
    assert "A lone model's mean absolute error rises to 0.060 next door" in verdict.of_comparison(content)


@pytest.mark.parametrize(
    ("relay", "local", "text"), [(0.002, 0.004, "0.002 better than"), (201.0, 200.0, "about as good as")]
)
def test_errors_differ_by_their_own_scale(relay: float, local: float, text: str) -> None:
    assert text in verdict.of_comparison(comparison(relay=relay, local=local) | {"task": "regression"})


def measured() -> dict[str, Any]:
    """A comparison with all three measures."""
    content = comparison(local=0.3, relay=0.9, joint=0.9)
    local, own, _ = content["table"]
    local |= {"worst_pair": {"model": "clinic_a", "site": "clinic_b", "value": 0.06}}
    lowest = {"site": "clinic_a", "value": -0.004}
    own["at_home"] = {"mean": 0.936, "difference": 0.023, "lowest": lowest}
    own["elsewhere"] = {"mean": 0.801, "difference": 0.005, "lowest": lowest}
    own["generalist"] = {"everywhere": own["at_home"] | {"mean": 0.931}}
    return content


def test_sentences_say_what_it_gives_at_home_everywhere_and_elsewhere() -> None:
    assert verdict.of_comparison(measured()) == (
        "At home, relay is +0.023 against each site's own model (local); lowest at clinic_a (-0.004). Everywhere, "
        "relay (0.900) is about as good as joint (0.900), the best of the others. Elsewhere, it reaches 0.801, +0.005 "
        "against joint. A lone model falls to 0.060 next door (clinic_a's at clinic_b)."
    )


@pytest.mark.parametrize("width", [50, 80])
def test_table_of_all_measures_has_a_line_for_the_generalist_and_fits(width: int) -> None:
    on, text = console(width)
    show_comparison(on, measured(), PAGE)
    lines = [line for line in text.getvalue().splitlines() if str(PAGE) not in line]
    assert max(map(len, lines)) <= width
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    whole = [["relay", "0.936", "-0.004", "0.900", "–", "0.801", "-0.004"]]
    whole += [["generalist", "–", "–", "0.931", "-0.004", "–", "–"]]
    shown = (0, 1, 2, 3, 4, 5, 6) if width == 80 else (0, 1, 3, 5)
    assert cells[1:3] == [[row[place] for place in shown] for row in whole]


FINAL = {"north": 0.9, "south": 0.8}
TWO = (("north",), ("south",))
LAST = "The last leg's model has a mean Dice of 0.850 over 2 sites, lowest at south (0.800)."


@pytest.mark.parametrize(
    ("final", "trained", "own", "lost", "text"),
    [
        (FINAL, TWO, False, 0.05, LAST +
         " Earlier sites lost 0.050 on the way."),
        (FINAL, TWO, False, -0.05, LAST +
         " Earlier sites gained 0.050."),
        (FINAL, TWO, False, 0.001, LAST +
         " Hardly anything was forgotten on the way (0.001)."),
        (FINAL, TWO, True, NAN, LAST.replace("The last leg's", "Each site's own")),
        (FINAL, (("south",),), False, NAN, "The model has a mean Dice of 0.800 at south."),  # north is external
        ({"north": NAN}, (("north",),), False, NAN, "No mean Dice could be measured."),
    ],
)  # fmt: skip
def test_sentence_of_a_run_is_what_the_numbers_say(
    final: dict[str, float], trained: Any, own: bool, lost: float, text: str
) -> None:
    assert verdict.of_study({"final": final, "forgetting": lost}, trained, own) == text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_comparison_ends_in_one_table_that_fits_and_the_page(width: int) -> None:
    on, text = console(width)
    show_comparison(on, comparison(**DEMO), PAGE)
    said = text.getvalue()
    lines = said.splitlines()
    assert max(len(line) for line in lines if str(PAGE) not in line) <= width
    assert said.count("┏") == 1
    assert str(PAGE) in said
    for word in ("strategy", "at home", "everywhere", *DEMO, "0.880"):
        assert any(word in line for line in lines), word
    assert len(lines) < 16


def test_table_is_narrow_on_a_wide_screen_too() -> None:
    on, text = console(240)
    show_comparison(on, comparison(**DEMO), PAGE)
    assert max(len(line) for line in text.getvalue().splitlines() if line.startswith("┃")) <= 80


def test_comparison_says_that_runs_are_missing() -> None:
    on, text = console(80)
    show_comparison(on, comparison(relay=0.5) | {"planned": 3}, PAGE)
    assert "Based on 1 of 3 runs." in text.getvalue()


@pytest.mark.parametrize("width", [60, 80, 240])
def test_names_of_a_comparison_are_shown_whole(width: int) -> None:
    label = "relay[merge=0.2,memory=null]"
    on, text = console(width)
    show_comparison(on, comparison(**{label: 0.5, BAD: 0.4}), PAGE)
    for name in (label, BAD):
        assert any(name in line for line in text.getvalue().splitlines() if line.startswith("│"))


def summary(sites: int) -> dict[str, Any]:
    names = [f"hospital_{n}" for n in range(1, sites + 1)]
    matrix = {leg: {name: 0.9 - 0.01 * (leg - n) for n, name in enumerate(names, 1)} for leg in range(1, sites + 1)}
    return {
        "study": f"s{BAD}",
        "strategy": "relay",
        "matrix": matrix,
        "final": matrix[sites],
        "forgetting": 0.02,
    }


@pytest.mark.parametrize("width", [60, 80])
def test_run_of_many_sites_ends_in_a_narrow_table_of_sites(width: int) -> None:
    on, text = console(width)
    content = summary(12)
    after = ["relay", "predict", "-c", "my study.yaml", "-n", "run"]
    show_study(on, content, [[name] for name in content["final"]], False, PAGE, after)
    lines = text.getvalue().splitlines()
    assert max(len(line) for line in lines if str(PAGE) not in line) <= width
    assert f"s{BAD}, relay: mean Dice of test images" in lines
    cells = [line.strip("│").split("│") for line in lines if line.startswith("│")]
    assert [part.strip() for part in cells[0]] == ["hospital_1", "0.900", "0.790", "-0.110"]
    assert [part.strip() for part in cells[-1]] == ["hospital_12", "0.900", "0.900", "+0.000"]
    assert f"The page: {PAGE}" in lines
    assert "Next: relay predict -c 'my study.yaml' -n run" in lines


def test_run_of_one_leg_has_a_column_and_what_was_not_measured_a_dash() -> None:
    on, text = console(60)
    content = {"study": "s", "strategy": "joint", "matrix": {3: {BAD: 0.5, "b": None}}, "forgetting": None}
    show_study(on, content | {"final": {BAD: 0.5, "b": None}}, [[BAD, "b"]], False, PAGE, ["relay"])
    cells = [line.strip("│").split("│") for line in text.getvalue().splitlines() if line.startswith("│")]
    assert [[part.strip() for part in row] for row in cells] == [[BAD, "0.500"], ["b", "–"]]


def test_run_shows_what_was_adopted_and_what_a_lone_model_is_worth_next_door() -> None:
    content = {"study": "s", "strategy": "x", "matrix": {1: {"a": 0.8, "b": 0.2}, 2: {"a": 0.4, "b": 0.9}}}
    content |= {"final": {"a": 0.4, "b": 0.9}, "forgetting": NAN}
    adopted = {"measures": {"at_home": {"a": 0.85, "b": 0.9}, "worst_pair": None}}
    pair = {"model": "a", "site": "b", "value": 0.2}
    lone = {"final": {"a": 0.8, "b": 0.9}, "measures": {"everywhere": {"a": 0.6, "b": 0.55}, "worst_pair": pair}}
    for more, own, head, cell in ((adopted, False, "adopted", "0.850"), (lone, True, "any site's model", "0.600")):
        on, text = console(80)
        show_study(on, content | more, [["a"], ["b"]], own, PAGE, ["relay"])
        said = text.getvalue()
        assert head in said
        (line,) = [line for line in said.splitlines() if line.startswith("│ a")]
        assert line.strip("│ ").split("│")[-1].strip() == cell
        assert ("falls to 0.200 next door (a's at b)" in said) == own


@pytest.mark.parametrize("width", [60, 80])
def test_score_of_masks_ends_in_one_table_that_fits(width: int) -> None:
    from relay.score.result import Score, show

    line = {"mean": 0.5, "low": 0.4, "high": 0.6, "measured": 123, "samples": 124}
    rows = [{"class": name, "metric": "sensitivity"} | line for name in ("background", "optic_cup")]
    content = {"study": "unet", "samples": 124, "patients": 62, "rows": rows, "classes": ["background", "optic_cup"]}
    content |= {
        "metrics": about(),
        "mean": {"dice": 0.7},
        "unit": "mm",
        "tolerance": 2.0,
        "rule": "r",
        "interval": "i",
        "subjects": rows,
    }
    on, text = console(width)
    show(on, Score([], content), Path("out"))
    said = text.getvalue()
    assert max(map(len, said.splitlines())) <= width
    assert said.count("┏") == 1
    assert "Mean Dice over classes but background: 0.700." in said
    for whole in ("sensitivity", "optic_cup", "0.400 to 0.600", *(["123 of 124"] if width == 80 else [])):
        assert whole in said


@pytest.mark.parametrize("width", [60, 80, 200])
def test_legs_of_a_chain_are_shown_in_a_table_that_fits(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from types import SimpleNamespace

    from relay.cli import show
    from relay.tasks import Segmentation

    monkeypatch.setenv("COLUMNS", str(width))
    results = {f"hospital_{n}": 0.9 - n / 100 for n in range(8)}
    facts = {"issued": "2026-01-02T03:04:05Z", "strategy": "relay", "samples": 16, "result": results, "scores": results}
    facts |= {"score_name": "mean Dice", "task": Segmentation}
    show.matrix([SimpleNamespace(leg=1, site="hospital_0", **facts)])  # type: ignore[list-item]
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= width
    assert ("0.830 hospital_7" in said) == (width < 200)
    assert ("hospital_3" in said) == (width == 200)
