"""The three measures, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from relay.measures import counted, measured
from relay.results import ADOPTED, COLUMNS, GENERALIST, VOTE
from relay.tasks import Segmentation

TRAINED = [["a"], ["b"]]


def rows(leg: int, values: dict[str, float], model: str = GENERALIST) -> list[dict[str, Any]]:
    """A sample of each site, after a leg: a is trained in the first, b in the second one, x is external."""
    return [
        dict(zip(COLUMNS, ("study", "s", leg, " ab"[leg], model, site, "p", "s1", name, "dice", dice), strict=True))
        for site, value in values.items()
        for name, dice in (("back", 1.0), ("cup", value))
    ]


ROWS = [*rows(1, {"a": 0.8, "b": 0.2, "x": 0.3}), *rows(2, {"a": 0.4, "b": 0.9, "x": 0.7})]


def test_one_model_for_everybody() -> None:
    found = measured(ROWS, TRAINED, alone=False, task=Segmentation)
    assert found["at_home"] == found["everywhere"] == {"a": 0.4, "b": 0.9}
    assert found["elsewhere"] == {"x": 0.7}
    assert (found["generalist"], found["worst_pair"], found["best_single"]) == ({}, None, {})


def test_a_model_for_each_site() -> None:
    found = measured(ROWS, TRAINED, alone=True, task=Segmentation)
    assert found["at_home"] == {"a": 0.8, "b": 0.9}
    assert found["everywhere"] == {"a": pytest.approx(0.6), "b": pytest.approx(0.55)}
    assert found["elsewhere"] == {"x": pytest.approx(0.5)}
    assert found["worst_pair"] == {"model": "a", "site": "b", "value": 0.2}
    assert found["best_single"] == {"x": 0.7}


def test_adopted_models_count_at_home_and_the_vote_everywhere_and_elsewhere() -> None:
    more = [*rows(1, {"a": 0.95}, ADOPTED), *rows(2, {"a": 0.85, "b": 0.9, "x": 0.75}, VOTE)]
    found = measured([*ROWS, *more], TRAINED, alone=False, task=Segmentation)
    assert found["at_home"] == {"a": 0.95, "b": 0.9}  # b has adopted none
    assert found["generalist"]["everywhere"] == {"a": 0.4, "b": 0.9}
    assert (found["everywhere"], found["elsewhere"]) == ({"a": 0.85, "b": 0.9}, {"x": 0.75})


def test_what_was_adopted_for_other_patients_does_not_count() -> None:
    found = measured([*ROWS, *rows(1, {"b": 0.1}, ADOPTED)], TRAINED, False, Segmentation)
    assert found["at_home"] == {"a": 0.4, "b": 0.9}


def test_what_was_not_measured_is_missing() -> None:
    holed = [row | {"value": math.nan} if row["site"] == "x" else row for row in ROWS]
    found = measured(holed, TRAINED, alone=True, task=Segmentation)
    assert math.isnan(found["elsewhere"]["x"])
    assert math.isnan(found["best_single"]["x"])
    assert measured(ROWS[:0], TRAINED, alone=True, task=Segmentation)["worst_pair"]["site"] is None


def test_the_rows_that_count_are_those_of_the_numbers() -> None:
    lone = counted(ROWS, TRAINED, alone=True)
    assert [row["value"] for row in lone["everywhere"] if row["class"] == "cup"] == pytest.approx([0.6, 0.55])
    assert {row["trained"] for row in lone["at_home"]} == {"a", "b"}
