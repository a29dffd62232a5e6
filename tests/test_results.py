"""Rows, the matrix they make, and forgetting, against numbers worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay.errors import DataError
from relay.results import (
    COLUMNS,
    average,
    backward,
    cell,
    forgetting,
    forward,
    matrix,
    mean,
    no_nan,
    of_relay,
    own_legs,
    read_rows,
    worst,
    write_rows,
)
from relay.tasks import Segmentation

NAN = math.nan


def row(leg: int, site: str, name: str, value: float, sample: str = "s1") -> dict[str, Any]:
    about = ("study", "relay", leg, "a", "generalist", site, "p1", sample, name, "dice", value)
    return dict(zip(COLUMNS, about, strict=True))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=12)
rows = st.builds(
    lambda words, leg, value: {**dict(zip(COLUMNS, words, strict=True)), "leg": leg, "value": value},
    st.lists(texts, min_size=len(COLUMNS), max_size=len(COLUMNS)),
    st.integers(1, 99),
    st.floats(0, 1) | st.just(NAN),
)


@given(given_rows=st.lists(rows, max_size=4))
def test_what_is_written_is_read(given_rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("csv") / "deep" / "scores.csv"
    write_rows(path, given_rows)
    for old, new in zip(given_rows, read_rows(path), strict=True):
        assert new.pop("value") == pytest.approx(old["value"], rel=5e-9, nan_ok=True)
        assert new == {key: value for key, value in old.items() if key != "value"}


def test_rows_from_before_a_leg_had_more_than_one_model_are_the_generalists(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_rows(path, [row(1, "a", "cup", 0.5)])
    new = read_rows(path)
    path.write_text(path.read_text().replace("trained,model,", "trained,").replace("a,generalist,", "a,"))
    assert read_rows(path) == new


def test_missing_is_an_empty_cell_and_zero_is_zero(tmp_path: Path) -> None:
    write_rows(tmp_path / "x.csv", [row(1, "a", "cup", NAN), row(1, "a", "cup", 0.0), row(1, "a", "cup", 1 / 3)])
    head, *lines = (tmp_path / "x.csv").read_text().split()
    assert head == "study,strategy,leg,trained,model,site,patient,sample,class,metric,value"
    assert [line.rsplit(",", 1)[1] for line in lines] == ["", "0.0", "0.333333333"]


@given(st.floats(allow_infinity=False, allow_nan=False) | st.integers(-(10**15), 10**15))
def test_small_numbers_stay_and_whole_ones_are_exact(value: float) -> None:
    told = float(cell(value))
    assert told == pytest.approx(value, rel=5e-9, abs=0)
    assert float(cell(told)) == told
    if isinstance(value, int):
        assert cell(value) == str(value)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace(b"value", b"valu", 1), "the first line must be study,"),
        (lambda text: b"", "the first line must be study,"),
        (lambda text: text.replace(b"0.5", b"x"), "line 2: leg or value is not a number"),
        (lambda text: text.replace(b"relay,1", b"relay,one"), "line 2: leg or value is not a number"),
        (lambda text: text[:-10], "line 2 has 10 cells, not 11"),
        (lambda text: text.replace(b"relay", b"rel\xffay"), "not UTF-8"),
        (lambda text: text.replace(b"p1", b'"p1'), "end of data"),
        (lambda text: text.replace(b"p1", b"p" * 200000), "field larger"),
    ],
)
def test_a_damaged_file_is_named(spoil: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_rows(path, [row(1, "a", "cup", 0.5)])
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=said) as caught:
        read_rows(path)
    assert str(path) in str(caught.value)


def test_a_lost_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.csv can't be read: No such file"):
        read_rows(tmp_path / "x.csv")


def test_no_rows_are_a_head(tmp_path: Path) -> None:
    write_rows(tmp_path / "x.csv", [])
    assert read_rows(tmp_path / "x.csv") == []
    assert (tmp_path / "x.csv").read_text().strip() == ",".join(COLUMNS)


def test_mean_leaves_out_what_is_missing() -> None:
    assert mean([0.2, NAN, 0.6]) == pytest.approx(0.4)
    assert math.isnan(mean([NAN, NAN]))
    assert math.isnan(mean([]))


def test_matrix_is_the_mean_over_samples_then_over_classes_without_background() -> None:
    found = matrix(
        [
            *(row(1, "a", name, value) for name, value in (("back", 0.99), ("disc", 0.8), ("cup", NAN))),
            *(row(1, "a", name, value, "s2") for name, value in (("back", 0.97), ("disc", 0.6), ("cup", 0.1))),
            *(row(1, "b", name, value) for name, value in (("back", 0.5), ("disc", NAN), ("cup", NAN))),
            *(row(2, "a", name, value) for name, value in (("back", 0.5), ("disc", 0.4), ("cup", 0.0))),
        ]
    )
    assert found[1]["a"] == pytest.approx((0.7 + 0.1) / 2)  # not (0.8 + 0.6 + 0.1) / 3
    assert math.isnan(found[1]["b"])
    assert found[2] == {"a": pytest.approx(0.2)}
    assert list(found) == [1, 2]


def test_each_model_of_a_leg_has_its_own_matrix() -> None:
    one = [row(1, "a", name, 0.4) for name in ("back", "cup")]
    other = [row(1, "a", name, 0.8) | {"model": "vote"} for name in ("back", "cup")]
    assert (matrix([*other, *one]), matrix([*other, *one], "vote")) == ({1: {"a": 0.4}}, {1: {"a": 0.8}})


def test_forgetting_by_hand() -> None:
    """a: best of 0.8, 0.9 minus 0.5; b: 0.7 minus 0.75, a gain; c is the last site and does not count."""
    table = {
        1: {"a": 0.8, "b": 0.95, "c": 0.1},
        2: {"a": 0.9, "b": 0.7, "c": 0.2},
        3: {"a": 0.5, "b": 0.75, "c": 0.9},
    }
    assert forgetting(table, ["a", "b", "c"], Segmentation) == pytest.approx((0.4 - 0.05) / 2)


def test_forgetting_counts_a_site_of_two_laps_once_from_its_first_leg_on() -> None:
    """a: best of 0.8, 0.5, 0.9 minus 0.7; b: best of 0.6, 0.4 minus 0.65, though the last leg is its own."""
    table = {
        1: {"a": 0.8, "b": 0.95},
        2: {"a": 0.5, "b": 0.6},
        3: {"a": 0.9, "b": 0.4},
        4: {"a": 0.7, "b": 0.65},
    }
    assert forgetting(table, ["a", "b", "a", "b"], Segmentation) == pytest.approx((0.2 - 0.05) / 2)


def test_forgetting_needs_two_legs_and_a_score_at_both_ends() -> None:
    assert math.isnan(forgetting({1: {"a": 0.8}}, ["a"], Segmentation))
    assert math.isnan(forgetting({1: {"b": 0.8}, 2: {"a": 0.5}}, ["a", "b"], Segmentation))
    assert math.isnan(forgetting({1: {"a": 0.8}, 2: {"b": 0.5}}, ["a", "b"], Segmentation))


def test_forgetting_needs_the_scores_in_between() -> None:
    whole = {1: {"a": 0.8, "b": 0.1}, 2: {"a": 0.9, "b": 0.7}, 3: {"a": 0.5, "b": 0.75, "c": 0.9}}
    assert forgetting(whole, ["a", "b", "c"], Segmentation) == pytest.approx((0.4 - 0.05) / 2)
    del whole[2]["a"]
    assert math.isnan(forgetting(whole, ["a", "b", "c"], Segmentation))


@pytest.mark.parametrize("first", [0.8, NAN])
@pytest.mark.parametrize("second", [0.6, NAN])
def test_forgetting_leaves_out_scores_that_are_missing(first: float, second: float) -> None:
    table = {1: {"a": first, "b": 0.1}, 2: {"a": second, "b": 0.9}, 3: {"a": 0.5, "b": 0.7}}
    there = [score for score in (first, second) if not math.isnan(score)]
    of_a = [max(there) - 0.5] if there else []
    assert forgetting(table, ["a", "b", "c"], Segmentation) == pytest.approx(mean([*of_a, 0.9 - 0.7]))


@given(
    st.lists(st.lists(st.floats(0, 1) | st.just(NAN), min_size=3, max_size=3), min_size=1, max_size=3),
)
def test_forgetting_is_bounded_whatever_is_missing(scores: list[list[float]]) -> None:
    table = {leg: dict(zip("abc", line, strict=True)) for leg, line in enumerate(scores, 1)}
    lost = forgetting(table, list("abc")[: len(scores)], Segmentation)
    assert math.isnan(lost) or -1 <= lost <= 1


def test_json_has_no_nan() -> None:
    tree = {1: {"a": NAN, "b": [0.5, NAN, (NAN, "x")]}, "n": None, "i": 3, "t": True}
    assert no_nan(tree) == {"1": {"a": None, "b": [0.5, None, [None, "x"]]}, "n": None, "i": 3, "t": True}
    json.dumps(no_nan(tree), allow_nan=False)


# -- the relay ---------------------------------------------------------------------------------------------------------

TABLE = {
    1: {"a": 0.8, "b": 0.3, "c": 0.1, "x": 0.6},
    2: {"a": 0.6, "b": 0.7, "c": 0.2, "x": 0.5},
    3: {"a": 0.5, "b": 0.75, "c": 0.9, "x": 0.4},
}
TRAINED = [["a"], ["b"], ["c"]]


def test_numbers_of_a_relay_by_hand() -> None:
    said = of_relay(
        TABLE,
        TRAINED,
        joint={"a": 0.9, "b": 0.9, "c": 0.9},
        local={"a": 0.8, "b": NAN},
        baseline={"b": 0.1, "c": 0.15},
        carried=12,
        seconds=3.5,
        task=Segmentation,
    )
    assert said["average"] == pytest.approx((0.5 + 0.75 + 0.9) / 3)
    assert said["backward"] == pytest.approx((-0.3 + 0.05) / 2)
    assert said["forward"] == pytest.approx((0.2 + 0.05) / 2)
    assert said["forgetting"] == pytest.approx((0.3 - 0.05) / 2)
    assert said["worst"] == {"site": "a", "value": 0.5}
    assert said["external"] == {"x": 0.4}
    assert said["to_joint"] == pytest.approx({"a": -0.4, "b": -0.15, "c": 0.0})
    assert said["to_local"] == pytest.approx({"a": -0.3, "b": NAN, "c": NAN}, nan_ok=True)
    assert (said["bytes"], said["seconds"]) == (12, 3.5)


def test_what_was_not_measured_or_not_given_is_missing() -> None:
    said = of_relay({1: {"a": NAN}}, [["a"]], task=Segmentation)
    assert said["worst"]["site"] is None
    for value in (said["worst"]["value"], *(said[k] for k in ("average", "backward", "forward", "forgetting"))):
        assert math.isnan(value)
    assert math.isnan(said["bytes"])
    assert math.isnan(said["seconds"])
    assert said["external"] == said["to_joint"] == said["to_local"] == {}
    assert math.isnan(backward({1: {"a": 0.8}, 2: {"b": 0.5}}, [["a"], ["b"]], Segmentation))
    assert math.isnan(forward(TABLE, TRAINED, {"a": 0.5}, Segmentation))


def test_a_site_that_is_missing_is_left_out_of_the_means_and_is_not_zero() -> None:
    holed = {leg: {**row, "b": NAN} for leg, row in TABLE.items()}
    assert average(holed, TRAINED) == pytest.approx((0.5 + 0.9) / 2)
    assert backward(holed, TRAINED, Segmentation) == pytest.approx(-0.3)
    assert worst({"a": NAN, "b": 0.0, "c": 0.5}, Segmentation) == {"site": "b", "value": 0.0}


def test_with_laps_the_own_leg_is_the_last_backward_and_the_first_forward() -> None:
    table = {
        1: {"a": 0.8, "b": 0.3},
        2: {"a": 0.6, "b": 0.7},
        3: {"a": 0.9, "b": 0.5},
        4: {"a": 0.7, "b": 0.8},
    }
    laps = [["a"], ["b"], ["a"], ["b"]]
    assert own_legs(laps) == {"a": 2, "b": 3}
    assert backward(table, laps, Segmentation) == pytest.approx(0.7 - 0.9)
    assert forward(table, laps, {"a": 0.0, "b": 0.1}, Segmentation) == pytest.approx(0.3 - 0.1)


def test_pooled_sites_are_trained_on_and_own_models_transfer_nothing() -> None:
    pooled = of_relay({1: {"a": 0.8, "b": 0.6, "x": 0.5}}, [["a", "b"]], task=Segmentation)
    assert pooled["average"] == pytest.approx(0.7)
    assert pooled["external"] == {"x": 0.5}
    assert math.isnan(pooled["backward"])
    assert math.isnan(pooled["forgetting"])
    alone = of_relay(TABLE, TRAINED, final={"a": 0.8, "b": 0.7, "c": 0.9}, task=Segmentation)
    assert alone["average"] == pytest.approx(0.8)
    assert alone["worst"] == {"site": "b", "value": 0.7}
    assert all(math.isnan(v) for v in (alone["backward"], alone["forgetting"], alone["external"]["x"]))


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=3, max_size=3))
def test_what_is_lost_backward_is_at_most_what_is_forgotten(scores: list[list[float]]) -> None:
    """Forgetting counts from the best score, backward transfer from the own leg's."""
    table = {leg: dict(zip("abc", line, strict=True)) for leg, line in enumerate(scores, 1)}
    assert -backward(table, TRAINED, Segmentation) <= forgetting(table, list("abc"), Segmentation) + 1e-12
