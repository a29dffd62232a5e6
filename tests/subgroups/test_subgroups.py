"""Groups of patients: how they are made, measured and told."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from relay.cli.subgroups import _values
from relay.errors import UserError
from relay.subgroups import Sample, Scored, compare, divide, read_samples, sentence, sets, write_page
from tests.cli.typed import typed

HEADER = ["study", "strategy", "leg", "trained", "model", "site", "patient", "sample", "class", "metric", "value"]


def keyed(values: list[str]) -> dict[tuple[str, str], str]:
    return {("a", str(k)): value for k, value in enumerate(values)}


def scored(values: list[float], images: int = 1) -> Scored:
    """Patients with several images each."""
    samples = {("a", str(k)): Sample(("a", str(k // images)), {"dice": value}) for k, value in enumerate(values)}
    return Scored("dice", samples, None)


def test_words_are_groups_and_empty_cells_are_not_known() -> None:
    found = divide("sex", keyed(["F", "M", "", "F ", " "]))
    assert (found.order, found.unknown) == (["F", "M"], 2)
    assert found.of["a", "3"] == "F"


def test_a_usual_word_for_a_missing_value_is_none() -> None:
    found = divide("age", keyed(["39", "n/a", "60", "-"]), [40])
    assert (found.unknown, found.of) == (2, {("a", "0"): "under 40", ("a", "2"): "40 or more"})


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
        (["1", "old"], (40,), r"'old' \(1\) is no number"),
        (["1", "52,5", "old", "52,5"], (40,), r"'52,5' \(1, 3\), 'old' \(2\) are no numbers"),
        ([*(f"{k}" for k in range(30)), "52,5"], (), r"--by x: '52,5' \(30\) is no number"),
        (["n/a", "?"], (), "no test image has a value"),
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
        (found,) = compare(scored(planted.tolist()), [groups], 5, seed)
        assert found.p < 0.05
        (nothing,) = compare(scored(noise.tolist()), [groups], 5, seed)
        chance += nothing.p < 0.05
    assert chance <= 6


def test_patients_and_not_images_are_counted() -> None:
    """Ten images of each of four patients are four independent values: two against two can't differ significantly."""
    values = [0.9] * 20 + [0.1] * 20
    groups = divide("sex", keyed(["F"] * 20 + ["M"] * 20))
    (found,) = compare(scored(values, images=10), [groups], 2, 0)
    assert found.gap == pytest.approx(0.8)
    assert found.p > 0.3
    assert [group.patients for group in found.groups] == [2, 2]


def test_small_groups_are_counted_but_not_shown(tmp_path: Path) -> None:
    groups = divide("sex", keyed(["F"] * 8 + ["M"] * 3))
    (found,) = compare(scored([0.5] * 8 + [0.123456] * 3), [groups], 5, 0)
    assert math.isnan(found.gap)
    table, page = write_page([found], "dice", "the own model", 5, tmp_path)
    assert "0.123" not in table.read_text() + page.read_text()
    assert "With fewer than 5 patients, not shown: M" in page.read_text()
    assert "no column has two groups" in sentence([found], "dice").lower()


def test_p_values_are_corrected_for_all_columns() -> None:
    values = [0.9, 0.8] * 10
    columns = [divide("sex", keyed(["F", "M"] * 10)), divide("room", keyed(["1"] * 10 + ["2"] * 10))]
    one, two = compare(scored(values), columns, 5, 0)
    assert one.corrected == pytest.approx(2 * one.p)
    assert two.corrected == pytest.approx(two.p)


def written(path: Path, rows: list[list[object]], task: str = "segmentation") -> Path:
    path.with_name("evaluation.json").write_text(json.dumps({"task": task}))
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
    found = read_samples(written(tmp_path / "samples.csv", rows))
    assert (found.main, found.task) == ("dice", None)
    assert found.samples == {("a", "i1"): Sample(("a", "p1"), {"dice": 0.5})}


def test_scores_of_other_models_of_a_leg_are_left_out(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["s", "relay", 1, "a", model, "a", "p1", "i1", name, "dice", value]
        for model, value in (("generalist", 0.4), ("vote", 0.8), ("adopted", 1.0))
        for name in ("back", "disc")
    ]
    path = written(tmp_path / "samples.csv", rows)
    assert read_samples(path, "generalist").samples["a", "i1"].scores == {"dice": 0.4}


def answered(path: Path, metrics: list[list[tuple[str, str, float]]], task: str) -> Path:
    """A file of two images of each patient, who are in turn; each image with its rows of class, metric and value."""
    rows = [
        ["s", "relay", 1, "a", "generalist", "a", f"p{k // 2}", f"i{k}", name, metric, value]
        for k, image in enumerate(metrics)
        for name, metric, value in image
    ]
    return written(path, rows, task)


def classified(truth: int, probability: float) -> list[tuple[str, str, float]]:
    names, right = ("well", "ill"), float((probability > 0.5) == truth)
    said = zip(names, (1 - probability, probability), strict=True)
    return [(names[truth], "correct", right), *((name, "probability", value) for name, value in said)]


def test_metrics_of_whole_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One group is classified right, the other by chance: every metric says so, and where the gap is."""
    monkeypatch.setattr(sets, "RESAMPLES", 30)
    rng = np.random.default_rng(0)
    truths = [k // 2 % 2 for k in range(96)]
    probabilities = [0.1 + 0.8 * truth if k < 48 else rng.uniform() for k, truth in enumerate(truths)]
    images = [classified(*pair) for pair in zip(truths, probabilities, strict=True)]
    found = read_samples(answered(tmp_path / "samples.csv", images, "classification"))
    of = {key: "F" if int(key[1][1:]) < 48 else "M" for key in found.samples}
    (column,) = compare(found, [divide("sex", of)], 5, 0)
    perfect, chance = (group.of_set for group in column.groups)
    assert {"auroc", "balanced_accuracy", "ece", "brier"} <= perfect.keys()
    assert perfect["auroc"].value == perfect["balanced_accuracy"].value == 1
    assert perfect["ece"].value == pytest.approx(0.1)
    cases, others = ([p for p, t in zip(probabilities[48:], truths[48:], strict=True) if t == is_] for is_ in (1, 0))
    assert chance["auroc"].value == pytest.approx(np.mean([one > other for one in cases for other in others]))
    low, high = chance["auroc"].bounds
    assert low < chance["auroc"].value < high < 0.9
    assert (column.gaps["auroc"].high, column.gaps["auroc"].low) == ("F", "M")
    assert column.gaps["auroc"].bounds[0] > 0.1
    table, page = write_page([column], found.main, "the own model", 5, tmp_path)
    assert "sex,F,auroc,24,48,1,1,1" in table.read_text()
    assert "Metrics of whole groups by sex" in page.read_text()
    assert "F over M" in page.read_text()


@pytest.mark.parametrize("patients", [8, 3])
def test_whole_groups_of_few_patients(tmp_path: Path, patients: int) -> None:
    """Few have no interval; fewer than the least are not shown."""
    images = [
        [("age", "absolute_error", 1.0), ("age", "prediction", k + 1.0), ("age", "truth", float(k))]
        for k in range(2 * patients)
    ]
    found = read_samples(answered(tmp_path / "samples.csv", images, "regression"))
    (column,) = compare(found, [divide("room", dict.fromkeys(found.samples, "1"))], 5, 0)
    told = column.groups[0].of_set
    if patients < 5:
        assert not told
    else:
        assert told["mae"].value == told["rmse"].value == 1
        assert all(math.isnan(end) for end in told["mae"].bounds)
    assert not column.gaps


def test_labels_of_whole_groups(tmp_path: Path) -> None:
    image = [("no flu", "correct", 1.0), ("cold", "correct", 0.0), ("flu", "probability", 0.2)]
    found = read_samples(answered(tmp_path / "samples.csv", [[*image, ("cold", "probability", 0.4)]], "multilabel"))
    assert found.samples["a", "i0"] == Sample(("a", "p0"), {"correct": 0.5}, [0.2, 0.4], [0, 1])
    with pytest.raises(UserError, match="is damaged"):
        read_samples(answered(tmp_path / "samples.csv", [image[:2]], "multilabel"))


def test_rows_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("patient,sex\np1,F\np2,M\np1,M\n")
    samples = {("a", "i1"): Sample(("a", "p1"), {"dice": 0.5})}
    with pytest.raises(UserError, match="line 4: p1 has sex 'M', but 'F' in an earlier line"):
        _values(None, samples, "sex", path, "patient")  # type: ignore[arg-type]
    path.write_text("patient,sex\np1,F\np1,F\n")
    assert _values(None, samples, "sex", path, "patient") == {("a", "i1"): "F"}  # type: ignore[arg-type]
    path.write_text("patient,sex\nP–001,F\n")
    samples = {("a", "i1"): Sample(("a", "p-001"), {"dice": 0.5})}
    assert _values(None, samples, "sex", path, "patient") == {("a", "i1"): "F"}  # type: ignore[arg-type]
    path.write_text("patient,sex\nq1,F\n")
    with pytest.raises(
        UserError, match=r"none of the 1 test patients \(p-001\) is in its column patient, which has q1"
    ):
        _values(None, samples, "sex", path, "patient")  # type: ignore[arg-type]


def test_files_that_are_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"can't be read"):
        read_samples(tmp_path / "samples.csv")
    rows = [["s", "relay", 1, "a", "generalist", "a", "p1", "i1", "disc", "dice", "much"]]
    with pytest.raises(UserError, match="is damaged"):
        read_samples(written(tmp_path / "samples.csv", rows))
    with pytest.raises(UserError, match="no score of any sample"):
        read_samples(written(tmp_path / "samples.csv", []))


def test_the_task_is_the_one_that_was_measured(tmp_path: Path) -> None:
    image = classified(1, 0.8)
    path = answered(tmp_path / "samples.csv", [image], "classification")
    assert read_samples(path).samples["a", "i0"].truth == 1
    answered(path, [image], "multilabel")
    with pytest.raises(UserError, match="1 rows of correct for 2 classes of a multilabel"):
        read_samples(path)
    answered(path, [image], "segmentation")
    with pytest.raises(UserError, match=r"no score of any sample .segmentation: rows of the metric dice"):
        read_samples(path)
    record = path.with_name("evaluation.json")
    for content, said in (("{}", "'task' is missing"), ('{"task": "guess"}', "'guess' is no task"), ("{", "damaged")):
        record.write_text(content)
        with pytest.raises(UserError, match=said) as caught:
            read_samples(path)
        assert "predict_test.py again" in caught.value.advice()
    record.unlink()
    with pytest.raises(UserError, match="is missing: it says what task"):
        read_samples(path)


@pytest.mark.parametrize("option", [[], ["--model", "generalist"]])
def test_the_scores_are_looked_for_where_predict_writes_them(option: list[str], tmp_path: Path) -> None:
    done = typed("subgroups", "-c", "demo", "--by", "site", *option, cwd=tmp_path)
    done.refused(2, "demo/run/results/samples.csv can't be read", advice="Run predict_test.py first")
