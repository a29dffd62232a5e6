"""Parts of figures."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from relay.numbers import MISSING
from relay.report.curves import MOST, Curve, _points
from relay.report.figures import calibration, curves, distributions, matrix, short, span, thinned
from relay.report.gather import read_run
from relay.report.plot_style import Picture, figure, styled
from tests.report import made


@given(st.lists(st.floats(0, 1), min_size=1), st.integers(2, 50))
def test_thinning_keeps_the_ends_and_the_order(values: list[float], most: int) -> None:
    values.sort()
    kept = thinned(values, most)
    assert len(kept) == min(len(values), most)
    assert (kept[0], kept[-1]) == (values[0], values[-1]) if len(values) > 1 else kept == values
    assert kept == sorted(kept)


@given(st.lists(st.floats(0, 1) | st.just(math.nan)))
def test_span_holds_all_values(values: list[float]) -> None:
    low, high = span(values)
    assert low < high
    assert all(math.isnan(v) or low - 1e-9 <= v <= high + 1e-9 for v in values)


def test_what_a_resumed_fit_did_twice_counts_once() -> None:
    class Event:
        def __init__(self, step: int, value: float) -> None:
            self.step, self.value = step, value

    events = [Event(0, 3.0), Event(10, 2.0), Event(20, 1.5), Event(10, 2.5), Event(20, 1.0)]
    assert _points(events, 100) == [(100, 3.0), (110, 2.5), (120, 1.0)]
    many = _points([Event(k, 0.0) for k in range(5000)], 0)
    assert (len(many), many[0][0], many[-1][0]) == (MOST, 0, 4999)


def test_two_figures_share_no_id() -> None:
    with styled():
        drawn = []
        for name in ("one", "two"):
            empty = figure(2)
            empty.subplots().plot([0, 1], "o-")
            drawn.append(Picture(name, "", "", "", empty).svg())
    assert drawn[0] != drawn[1]
    assert drawn[0].replace("one-", "two-") == drawn[1]
    assert "xmlns" not in drawn[0]


@pytest.mark.parametrize(("sites", "laps"), [(3, 1), (6, 1), (12, 1), (14, 1), (2, 7), (1, 14)])
def test_no_names_overlap_however_many_sites_and_laps_there_are(tmp_path: Path, sites: int, laps: int) -> None:
    names = [f"UNIVERSITY_HOSPITAL_{k:02}" for k in range(sites)]
    run = read_run(made.run(tmp_path / "run", names * laps, samples=4))
    found = [Curve(leg, {"loss": [(0, 1), (9, 0.5)]}, [(9, 0.7)], 10) for leg in sorted(run.scores.trained)]
    with styled():
        for picture in (matrix(run), distributions(run), calibration(run), curves(run, found)):
            assert picture is not None
            picture.figure.draw_without_rendering()
            tops = [axis for axes in picture.figure.axes for axis in axes.child_axes]
            for axes in (axes for axes in (*picture.figure.axes, *tops) if axes.get_visible()):
                labels = [label for label in axes.get_xticklabels() if label.get_visible() and label.get_text()]
                places = [label.get_window_extent() for label in labels]
                assert all(left.x1 <= right.x0 for left, right in pairwise(places)), picture.name
                boxes = [text.get_window_extent() for text in axes.texts if text.get_text() != MISSING]
                boxes.sort(key=lambda box: (round(box.y0), box.x0))
                assert all(a.x1 <= b.x0 or round(a.y0) != round(b.y0) for a, b in pairwise(boxes)), picture.name


def test_a_long_name_keeps_both_ends() -> None:
    assert short("university_hospital_07", 14) == "univers…tal_07"
    assert short("north", 5) == "north"
