"""Parts of figures."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from relay.report.curves import MOST, _points
from relay.report.figures import calibration, distributions, matrix, span, thinned
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


@pytest.mark.parametrize("many", [3, 14])
def test_no_names_overlap_however_many_sites_there_are(tmp_path: Path, many: int) -> None:
    run = read_run(made.run(tmp_path / "run", [f"hospital {k}" for k in range(many)], samples=4))
    with styled():
        for make in (matrix, distributions, calibration):
            picture = make(run)
            assert picture is not None
            drawn = picture.figure
            drawn.draw_without_rendering()
            for axes in (axes for axes in drawn.axes if axes.get_visible()):
                places = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_visible()]
                assert all(left.x1 <= right.x0 for left, right in pairwise(places)), make
                inside = [text for text in axes.texts if text.get_text() not in ("", "—")]
                boxes = sorted((text.get_window_extent() for text in inside), key=lambda box: (round(box.y0), box.x0))
                assert all(left.x1 <= right.x0 or left.y0 != right.y0 for left, right in pairwise(boxes)), make
