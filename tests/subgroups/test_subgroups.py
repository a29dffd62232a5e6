"""Groups of patients: how they are made, measured and told."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from relay.cli.subgroups import _values
from relay.errors import UserError
from relay.subgroups import Sample, compare, divide, read_samples, sentence, write_page

HEADER = ["study", "strategy", "leg", "trained", "model", "site", "patient", "sample", "class", "metric", "value"]


def keyed(values: list[str]) -> dict[tuple[str, str], str]:
    return {("a", str(k)): value for k, value in enumerate(values)}


def scored(values: list[float], images: int = 1) -> dict[tuple[str, str], Sample]:
    """Patients with several images each."""
    return {("a", str(k)): Sample(("a", str(k // images)), {"dice": value}) for k, value in enumerate(values)}


def test_words_are_groups_and_empty_cells_are_not_known() -> None:
    found = divide("sex", keyed(["F", "M", "", "F ", " "]))
    assert (found.order, found.unknown) == (["F", "M"], 2)
    assert found.of["a", "3"] == "F"


def test_few_numbers_are_groups_in_their_order() -> None:
    assert divide("stage", keyed(["10", "2", "1", "2"])).order == ["1", "2", "10"]


def test_numbers_are_divided_where_asked() -> None:
    found = divide("age", keyed(["39.9", "40", "59", "60", "90"]), [40, 60])
    assert list(found.of.values()) == ["under 40", "40 to under 60", "40 to under 60", "60 or more", "60 or more"]
    assert found.order == ["under 40", "40 to under 60", "60 or more"]


@given(st.lists(st.integers(0, 100), min_size=8, max_size=60))
def test_every_number_is_in_one_band(ages: list[int]) -> None:
    found = divide("age", keyed([str(age) for age in ages]))
    assert set(found.of.values()) == set(found.order)
    assert len(found.of) == len(ages)


@pytest.mark.parametrize(
    ("values", "cuts", "message"),
    [
        (["", " "], (), "no test image has a value"),
        (["1", "old"], (40,), "'old' is no number"),
        ([f"p{k}" for k in range(30)], (), "30 different values"),
    ],
)
def test_columns_that_can_t_be_compared(values: list[str], cuts: tuple[float, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        divide("x", keyed(values), cuts)


def test_a_gap_is_found_and_chance_is_not() -> None:
    """Over 40 draws, a planted gap is found every time, and a p-value below 0.05 without one about 2 times."""
    rng = np.random.default_rng(0)
    groups = divide("sex", keyed(["F", "M"] * 20))
    chance = 0
    for seed in range(40):
        noise = rng.normal(0.8, 0.05, 40)
        planted = noise - 0.1 * (np.arange(40) % 2)
        (found,) = compare(scored(planted.tolist()), "dice", [groups], 5, seed)
        assert found.p < 0.05
        (nothing,) = compare(scored(noise.tolist()), "dice", [groups], 5, seed)
        chance += nothing.p < 0.05
    assert chance <= 6


def test_patients_and_not_images_are_counted() -> None:
    """Ten images of each of four patients are four independent values: two against two can't differ significantly."""
    values = [0.9] * 20 + [0.1] * 20
    groups = divide("sex", keyed(["F"] * 20 + ["M"] * 20))
    (found,) = compare(scored(values, images=10), "dice", [groups], 2, 0)
    assert found.gap == pytest.approx(0.8)
    assert found.p > 0.3
    assert [group.patients for group in found.groups] == [2, 2]


def test_small_groups_are_counted_but_not_shown(tmp_path: Path) -> None:
    groups = divide("sex", keyed(["F"] * 8 + ["M"] * 3))
    (found,) = compare(scored([0.5] * 8 + [0.123456] * 3), "dice", [groups], 5, 0)
    assert math.isnan(found.gap)
    table, page = write_page([found], "dice", "the own model", 5, tmp_path)
    assert "0.123" not in table.read_text() + page.read_text()
    assert "With fewer than 5 patients, not shown: M" in page.read_text()
    assert "no column has two groups" in sentence([found], "dice").lower()


def test_p_values_are_corrected_for_all_columns() -> None:
    values = [0.9, 0.8] * 10
    columns = [divide("sex", keyed(["F", "M"] * 10)), divide("room", keyed(["1"] * 10 + ["2"] * 10))]
    one, two = compare(scored(values), "dice", columns, 5, 0)
    assert one.corrected == pytest.approx(2 * one.p)
    assert two.corrected == pytest.approx(two.p)


def written(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])
    return path


def test_scores_are_the_last_leg_s_without_the_background(tmp_path: Path) -> None:
    rows = [
        ["s", "relay", leg, "a", "generalist", "a", "p1", sample, name, "dice", value]
        for leg, sample, name, value in [
            (1, "i1", "back", 1.0), (1, "i1", "disc", 0.1), (1, "i1", "cup", 0.1),
            (2, "i1", "back", 1.0), (2, "i1", "disc", 0.4), (2, "i1", "cup", 0.6),
            (2, "", "back", 1.0), (2, "", "disc", 0.0), (2, "", "cup", 0.0),
        ]
    ]  # fmt: skip
    main, samples = read_samples(written(tmp_path / "samples.csv", rows))
    assert main == "dice"
    assert samples == {("a", "i1"): Sample(("a", "p1"), {"dice": 0.5})}


def test_rows_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("patient,sex\np1,F\np2,M\np1,M\n")
    samples = {("a", "i1"): Sample(("a", "p1"), {"dice": 0.5})}
    with pytest.raises(UserError, match="line 4: p1 has sex 'M', but 'F' in an earlier line"):
        _values(None, samples, "sex", path, "patient")  # type: ignore[arg-type]
    path.write_text("patient,sex\np1,F\np1,F\n")
    assert _values(None, samples, "sex", path, "patient") == {("a", "i1"): "F"}  # type: ignore[arg-type]


def test_files_that_are_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"can't be read"):
        read_samples(tmp_path / "samples.csv")
    rows = [["s", "relay", 1, "a", "generalist", "a", "p1", "i1", "disc", "dice", "much"]]
    with pytest.raises(UserError, match="is damaged"):
        read_samples(written(tmp_path / "samples.csv", rows))
    with pytest.raises(UserError, match="no score of any sample"):
        read_samples(written(tmp_path / "samples.csv", []))
