"""The table and the tests of known runs, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from relay.compare.compared import ComparedRun
from relay.compare.gains import away, elsewhere
from relay.compare.table import against, beside, interval_of, row, rule
from relay.results import matrix as matrix_of, mean
from relay.statistics import holm
from relay.tasks import named

NAN = math.nan


def made(label: str, order: str, seed: int, final: dict[str, float], **more: Any) -> ComparedRun:
    """A run whose one model is used everywhere; ``more`` replaces keys of the summary."""
    summary = {"label": label, "order": order.split(), "seed": seed, "final": final, "mean": sum(final.values()) / 2}
    measures = {"at_home": final, "everywhere": final, "elsewhere": {}, "generalist": {}, "worst_pair": None}
    summary |= {"left_out": None, "measures": measures | {"best_single": {}} | more.pop("measures", {})}
    return ComparedRun(
        {**summary, "forgetting": NAN, "backward": NAN, "forward": NAN, "seconds": 10.0, "bytes": 0, **more}, {}
    )


BY = {
    "local": [made("local", "", 1, {"a": 0.8, "b": 0.9}), made("local", "", 2, {"a": 0.7, "b": 0.9})],
    "joint": [made("joint", "", 1, {"a": 0.9, "b": 0.9}), made("joint", "", 2, {"a": 0.8, "b": 0.8})],
    "sequential": [
        made("sequential", "a b", 1, {"a": 0.5, "b": 0.9}, forgetting=0.3),
        made("sequential", "b a", 1, {"a": 0.8, "b": 0.6}, forgetting=0.3, seconds=20.0),
        made("sequential", "a b", 2, {"a": 0.7, "b": 0.9}, forgetting=0.0),
    ],
    "relay": [
        made("relay", "a b", 1, {"a": 0.8, "b": 0.9}, forgetting=0.01, seconds=13.0, bytes=2048),
        made("relay", "b a", 1, {"a": 0.8, "b": 0.8}, forgetting=0.03, seconds=22.0, bytes=3072),
        made("relay", "a b", 2, {"a": 0.8, "b": 0.8}, forgetting=0.02, seconds=12.0, bytes=2048),
    ],
}


def test_a_row_by_hand() -> None:
    found = row("relay", BY)
    assert found["runs"] == 3
    assert found["mean"] == pytest.approx((0.85 + 0.8 + 0.8) / 3)
    assert found["sd"] == pytest.approx(0.05 / math.sqrt(3))
    assert found["forgetting"] == pytest.approx(0.02)
    assert found["gap_closed"] == pytest.approx((2.45 - 2.2) / (2.6 - 2.2))  # relay, sequential, joint: 3 runs each
    assert found["at_home"]["difference"] == pytest.approx((0.1 / 3 - 0.2 / 3) / 2)
    assert found["at_home"]["lowest"] == {"site": "b", "value": pytest.approx(-0.2 / 3)}
    assert found["everywhere"]["mean"] == pytest.approx(found["mean"])
    assert found["everywhere"]["worst"] == {"site": "a", "value": pytest.approx(0.8)}
    assert found["everywhere"]["lowest"] == {"site": "a", "value": pytest.approx(-0.2 / 3)}
    assert math.isnan(found["elsewhere"]["mean"])
    assert found["cost"] == pytest.approx(1.2)  # the median of 1.3, 1.1, 1.2
    assert found["bytes"] == 3072


def test_baselines_are_their_own_measure() -> None:
    assert row("sequential", BY)["gap_closed"] == 0
    assert row("joint", BY)["gap_closed"] == pytest.approx(1)
    assert row("local", BY)["at_home"]["lowest"]["value"] == 0
    assert math.isnan(row("joint", BY)["forgetting"])


def test_the_rule_speaks_of_what_the_task_has() -> None:
    for name, said in (
        ("segmentation", "Mean Dice: mean over test images, then over the classes except the background, then"),
        ("classification", "over test images, then over the classes, then"),
        ("multilabel", "over test images, then over the labels, then"),
        ("regression", "over test images, then over runs"),
    ):
        assert said in rule(named(name))


def test_without_baselines_their_columns_are_missing() -> None:
    found = row("relay", {"relay": BY["relay"]})
    assert found["at_home"]["lowest"]["site"] is found["everywhere"]["lowest"]["site"] is None
    for key in ("gap_closed", "cost", "low", "high"):
        assert math.isnan(found[key]), key


def test_a_strategy_of_which_every_run_failed_has_an_emptyrow() -> None:
    found = row("relay", {**BY, "relay": []})
    assert found["runs"] == 0
    assert all(math.isnan(found[key]) for key in ("mean", "sd", "low", "forgetting", "gap_closed", "cost", "bytes"))


def test_a_gap_that_is_none_is_no_ratio() -> None:
    by = {"sequential": [made("sequential", "a", 1, {"a": 0.8, "b": 0.8})]}
    by["joint"] = [made("joint", "", 1, {"a": 0.805, "b": 0.805})]
    assert math.isnan(row("sequential", by)["gap_closed"])


def test_a_gap_between_errors_is_measured_on_their_scale() -> None:
    errors = {"sequential": 0.004, "relay": 0.003, "joint": 0.002}
    by = {label: [made(label, "", 1, {"a": error}, task="regression")] for label, error in errors.items()}
    assert row("relay", by)["gap_closed"] == pytest.approx(0.5)


def scored(label: str, order: str, seed: int, shift: float, patients: int = 7) -> ComparedRun:
    """Patients of site a with two samples each; the second one's cup is missing."""
    values = {("a", f"p{k}", f"s{s}", "cup"): 0.5 + k * shift * (s + 1) for k in range(patients) for s in (0, 1)}
    values |= {("a", f"p{k}", "s2", "cup"): NAN for k in range(patients)}
    return ComparedRun(made(label, order, seed, {"a": 0.5, "b": 0.5}).summary, values)


def test_tests_pair_runs_of_one_seed_and_order_patient_by_patient() -> None:
    by = {
        "relay": [scored("relay", "a b", 1, 0.02), scored("relay", "b a", 1, 0.01)],
        "joint": [scored("joint", "", 1, 0.03), scored("joint", "", 2, 0.9)],
        "few": [scored("few", "a b", 1, 0.0, patients=5)],
        "elsewhere": [scored("elsewhere", "a b", 3, 0.5)],
    }
    joint, few = against(by, "relay")[0]
    assert (joint["a"], joint["b"], joint["pairs"]) == ("joint", "relay", 7)
    apart = [k * (0.03 - (0.02 + 0.01) / 2) * 1.5 for k in range(7)]
    assert joint["difference"] == pytest.approx(sum(apart) / 7)
    assert (joint["p"], joint["effect"]) == (4 / 2**7, pytest.approx(1.0))  # one patient differs by nothing
    assert joint["p_holm"] == joint["p"]  # the other has none and does not count
    assert (few["a"], few["pairs"]) == ("few", 5)
    assert math.isnan(few["p"])
    assert math.isnan(few["p_holm"])


def test_table_and_tests_do_not_contradict_each_other() -> None:
    """A strategy that is better at a small site and a little worse at a large one, with a class that is often missing:
    the test's difference is that of the table's means, pooled patients would give the other sign."""

    def run(label: str, order: str, small: float, large: float) -> ComparedRun:
        scores = {}
        for site, patients, level in (("a", 6, small), ("b", 40, large)):
            for p in range(patients):
                for s in range(1 + p % 3):
                    scores[site, f"p{p}", f"s{s}", "rim"] = level + 0.001 * (p % 7)
                    scores[site, f"p{p}", f"s{s}", "cup"] = level if p % 5 else NAN
        rows = [
            {"leg": 1, "model": "generalist", "metric": "dice", "site": k[0], "class": k[3], "value": v}
            for k, v in scores.items()
        ]
        head = [
            {"leg": 1, "model": "generalist", "metric": "dice", "site": site, "class": "background", "value": 1.0}
            for site in "ab"
        ]
        final = matrix_of([*head, *rows])[1]
        return ComparedRun({**made(label, order, 1, final).summary, "mean": mean(final.values())}, scores)

    by = {
        "relay": [run("relay", "a b", 0.6, 0.7), run("relay", "b a", 0.6, 0.7)],
        "sequential": [run("sequential", "a b", 0.71, 0.68), run("sequential", "b a", 0.69, 0.68)],
    }
    table = {label: row(label, by) for label in by}
    (test,), sites = against(by, "relay")
    assert test["difference"] == pytest.approx(table["sequential"]["mean"] - table["relay"]["mean"], abs=1e-12)
    assert test["difference"] == pytest.approx(0.04)
    assert test["effect"] > 0
    assert test["low"] < test["difference"] < test["high"]
    assert [(found["site"], found["pairs"]) for found in sites] == [("a", 6), ("b", 40)]
    assert [found["difference"] for found in sites] == pytest.approx([0.1, -0.02])
    assert [found["effect"] for found in sites] == pytest.approx([1, -1])
    assert [found["p_holm"] for found in sites] == holm([found["p"] for found in sites])
    assert sites[0]["p"] == 2 / 2**6


def test_the_interval_is_of_the_mean_that_is_told() -> None:
    """A class that few images have, two sites of unlike size, two runs: classes, then sites, then runs count alike."""
    values: dict[tuple[str, str, str, str], float] = {}
    for site, patients in (("a", 20), ("b", 12)):
        for p in range(patients):
            for s in range(1 + p % 3):
                values[site, f"p{p}", f"s{s}", "rim"] = 0.9 + 0.001 * p
                values[site, f"p{p}", f"s{s}", "cup"] = 0.2 + 0.01 * p if p < 4 else NAN
    second = {key: value - 0.1 for key, value in values.items() if key[0] == "a" or key[3] == "rim"}
    wanted = []
    for scores in (values, second):
        rows = [
            {"leg": 1, "model": "generalist", "metric": "dice", "site": k[0], "class": k[3], "value": v}
            for k, v in scores.items()
        ]
        head = [
            {"leg": 1, "model": "generalist", "metric": "dice", "site": site, "class": "background", "value": 1.0}
            for site in "ab"
        ]
        wanted.append(mean(matrix_of([*head, *rows])[1].values()))
    runs = [ComparedRun({}, values), ComparedRun({}, second)]
    for found, summary in ((interval_of("x", runs[:1]), wanted[0]), (interval_of("x", runs), mean(wanted))):
        assert found.mean == pytest.approx(summary, abs=1e-12)
        assert found.method == "BCa"
        assert found.low < summary < found.high
        assert found.high - found.low < 0.1


def test_an_interval_of_few_patients_says_so() -> None:
    few, none = ({("a", f"p{p}", "s", "cup"): 0.5 + p / 10 for p in range(count)} for count in (5, 2))
    assert interval_of("x", [ComparedRun({}, few)]).method == "t"
    assert interval_of("x", [ComparedRun({}, none)]).method == interval_of("x", []).method == "none"


def test_a_run_beside_local_and_joint_of_its_seed() -> None:
    matrix: Any = {1: {"a": 0.8, "b": 0.3}, 2: {"a": 0.7, "b": 0.9}}
    trained = [["a"], ["b"]]
    run = ComparedRun({**made("relay", "a b", 2, {"a": 0.7, "b": 0.9}).summary, "matrix": matrix}, {}, trained)
    found = beside(run, BY).summary
    assert found["forward"] == pytest.approx(0.3 - 0.9)
    assert found["to_joint"] == pytest.approx({"a": -0.1, "b": 0.1})
    assert found["to_local"] == pytest.approx({"a": 0.0, "b": 0.0})
    alone = beside(run, {"relay": [run]}).summary
    assert math.isnan(alone["forward"])
    assert alone["to_joint"] == alone["to_local"] == {}
    runs = [beside(run, BY), ComparedRun({**run.summary, "forward": 0.2, "backward": -0.1}, {}, trained)]
    summary = row("relay", {**BY, "relay": runs})
    assert summary["forward"] == pytest.approx((-0.6 + 0.2) / 2)
    assert summary["backward"] == pytest.approx(-0.1)


# -- the three measures ------------------------------------------------------------------------------------------------


def outside(label: str, order: str, site: str | None, values: dict[str, float], **more: Any) -> ComparedRun:
    """A run that left out a site, or one with an external site; with votes there."""
    return made(label, order, 1, {"a": 0.5, "b": 0.5}, left_out=site, measures={"elsewhere": values, **more})


def test_sites_that_took_no_part_are_compared_with_runs_that_left_out_the_same() -> None:
    by = {
        "relay": [outside("relay", "a b", None, {"x": 0.6})],
        "joint": [outside("joint", "", None, {"x": 0.7})],
        "local": [outside("local", "", None, {"x": 0.3}, best_single={"x": 0.4})],
    }
    matrix = {1: {"a": 0.9, "b": 0.2}, 2: {"a": 0.1, "b": 0.8}}
    local = by["local"][0]
    by["local"] = [ComparedRun({**local.summary, "matrix": matrix}, {}, [["a"], ["b"]], alone=True)]
    single = {"generalist": {"elsewhere": {"a": 0.75, "x": 0.1}}}
    left = {
        "relay": [outside("relay", "b", "a", {"a": 0.8, "x": 0.1}, **single), outside("relay", "a", "b", {"b": 0.7})],
        "joint": [outside("joint", "", "a", {"a": 0.7}), outside("joint", "", "b", {"b": 0.9})],
        "local": [],
    }
    gone = away(left, by)
    found = row("relay", by, gone)
    assert found["elsewhere"]["sites"] == {"x": 0.6, "a": 0.8, "b": 0.7}  # x of the run with all sites only
    assert found["elsewhere"]["difference"] == pytest.approx((-0.1 + 0.1 - 0.2) / 3)
    assert found["elsewhere"]["lowest"] == {"site": "b", "value": pytest.approx(-0.2)}
    assert found["generalist"]["elsewhere"]["sites"] == {"a": 0.75}
    assert found["runs"] == 1
    assert row("local", by, gone)["elsewhere"]["sites"] == {"x": 0.3, "a": 0.1, "b": 0.2}  # the other site's model
    sites = elsewhere(by, gone)
    assert [(site["site"], site["left_out"]) for site in sites] == [("x", False), ("a", True), ("b", True)]
    assert [list(site["strategies"].values()) for site in sites] == [[0.6, 0.7, 0.3], [0.8, 0.7, 0.1], [0.7, 0.9, 0.2]]
    assert [site["best_single"] for site in sites] == [0.4, 0.1, 0.2]
    assert elsewhere({"relay": BY["relay"]}, away({"relay": []}, {"relay": BY["relay"]})) == []
