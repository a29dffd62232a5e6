"""What a run's rows add up to, and what it says where they are lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.adopt import AdoptPaths
from relay.bundle import measure
from relay.data.spool import Buffer
from relay.data.store import Store
from relay.errors import DataError, UserError
from relay.leg import Progress
from relay.leg.paths import LegPaths, RunPaths
from relay.predict.models import finished as finished_models
from relay.results import COLUMNS, no_nan, read_rows, write_rows
from relay.simulate import Simulation, outcome, summarise
from tests.studies import TINY, finished, simulate, study

EXTERNAL = {"kwargs": {"task_id": 3, "task_name": "clinic_c", "camera": "clinic_c"}}


def rows() -> list[dict[str, Any]]:
    """Dice of three test sets after two legs: 0.1, 0.2, … in the order of legs, then sites."""
    cells = [(leg, site) for leg in (1, 2) for site in ("clinic_a", "clinic_b", "clinic_c")]
    return [
        dict(zip(COLUMNS, ("tiny", "x", leg, "", "generalist", site, "p", "s", name, "dice", paths / 10), strict=True))
        for paths, (leg, site) in enumerate(cells, 1)
        for name in ("background", "cup")
    ]


@pytest.mark.parametrize(("strategy", "mean"), [("sequential", (0.4 + 0.5) / 2), ("local", (0.1 + 0.5) / 2)])
def test_the_mean_is_over_the_sites_trained_on(strategy: str, mean: float) -> None:
    datasets = [*TINY["all_tasks_datasets"], EXTERNAL]
    made = study(**{"common.strategy.name": strategy, "all_tasks_datasets": datasets})
    found = outcome(rows(), made.legs, made.task)
    assert found["mean"] == pytest.approx(mean)
    assert set(found["final"]) == {"clinic_a", "clinic_b"} | ({"clinic_c"} if strategy == "sequential" else set())


def test_what_sites_adopted_counts_at_home_and_nowhere_else(tmp_path: Path) -> None:
    finished(tmp_path)
    one, run = study(), RunPaths(tmp_path)
    before = summarise(one, run)
    paths = AdoptPaths(tmp_path / "adopted" / "clinic_a")
    about = {"study": "tiny", "strategy": "sequential", "leg": 2, "trained": "clinic_a", "model": "adopted"}
    sample = {"site": "clinic_a", "patient": "p", "sample": "s", "metric": "dice"}
    write_rows(paths.scores, [about | sample | {"class": name, "value": 0.5} for name in ("background", "class 1")])
    assert summarise(one, run)["measures"] == before["measures"]  # without a record, it was not adopted yet
    facts = {"model": "tuned", "site": "clinic_a", "why": "", "from": "", "handover": "", "candidates": {"tuned": {}}}
    paths.record.write_text(json.dumps(facts | {"sha256": {"scores.csv": measure(paths.scores).sha256}}))
    after = summarise(one, run)
    assert after["measures"]["at_home"] == before["measures"]["at_home"] | {"clinic_a": 0.5}
    assert no_nan(after | {"measures": before["measures"]}) == no_nan(before)
    paths.scores.write_text(paths.scores.read_text()[:-4])
    with pytest.raises(UserError, match="not what relay adopt wrote"):
        summarise(one, run)


def test_a_legs_scores_that_are_lost_or_empty_say_what_to_remove(tmp_path: Path) -> None:
    paths = LegPaths(tmp_path / "task_1")
    for spoil in (lambda: None, lambda: write_rows(paths.scores, []), lambda: paths.scores.write_text("x")):
        spoil()
        with pytest.raises(DataError, match=r"scores\.csv") as caught:
            paths.rows()
        assert f"Remove {paths.root}" in caught.value.advice()
    write_rows(paths.scores, rows())
    assert len(paths.rows()) == 12


THREE = [
    {"kwargs": {"task_id": n, "task_name": f"clinic_{c}", "camera": f"clinic_{c}"}} for n, c in enumerate("abc", 1)
]
FEW: dict[str, Any] = {
    "common.dataset.kwargs": {"num_classes": 3, "count": 10, "size": 16, "img_size": [16, 16]},
    "common.train": {"num_epochs": 1, "batch_size": 4},
    "all_tasks_datasets": THREE,
    "current_tasks": {"task_ids": [1, 2, 3], "tests": "needed"},
}


def test_only_what_the_results_need_is_tested_and_nothing_is_held_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[Store] = []
    held: list[set[str]] = []
    build, pixels = Store.__init__, Buffer.pixels

    def built(self: Store, *given: Any, **more: Any) -> None:
        build(self, *given, **more)
        stores.append(self)

    def mapped(self: Buffer) -> Any:
        found = pixels(self)
        held.append(
            {s._dataset.options.task_name for s in stores if s._buffer._in_file and s._buffer._pixels is not None}
        )
        return found

    monkeypatch.setattr(Store, "__init__", built)
    monkeypatch.setattr(Buffer, "pixels", mapped)
    done = simulate(tmp_path, **FEW)
    rows = [(row["leg"], row["site"]) for row in read_rows(tmp_path / "results" / "scores.csv")]
    a, b, c = ("clinic_a", "clinic_b", "clinic_c")
    assert set(rows) == {(1, a), (1, b), (2, b), (2, c), (3, a), (3, b), (3, c)}
    whole = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert {*whole["final"]} == {a, b, c}
    assert whole["relay"]["backward"] is not None
    assert whole["forgetting"] is None, "the best score of a site may not have been measured"
    assert max(map(len, held)) == 2  # the site of the leg, and the one it is tested on
    assert {name for names in held for name in names} == {a, b, c}
    models = finished_models(done.study, tmp_path)
    assert [model.sites for model in models] == [(a, b), (b, c), (a, b, c)]
    simulate(tmp_path, **FEW)  # a finished run goes on being one


def test_legs_that_start_from_nothing_are_tested_everywhere() -> None:
    one = study(**FEW | {"common.strategy.name": "local"})
    assert [len(one.tested(leg)) for leg in one.legs] == [3, 3, 3]
    assert [len(one.tested(leg)) for leg in study(**FEW).legs] == [2, 2, 3]
    assert [len(study().tested(leg)) for leg in study().legs] == [2, 2]


@pytest.mark.parametrize(
    ("strategy", "tests", "said"),
    [
        (
            "sequential",
            "all",
            ["9 test sets in all; current_tasks.tests=needed makes 7 of these tests, and leaves"],
        ),
        ("sequential", "needed", []),
        ("local", "all", []),
    ],
)
def test_a_run_of_many_tests_says_how_to_do_with_fewer_where_that_is_so(
    strategy: str, tests: str, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.simulate.MANY", 7)
    told: list[str] = []
    monkeypatch.setattr(Progress, "say", lambda self, text: told.append(text))
    current = {"task_ids": [1, 2, 3], "tests": tests}
    simulation = Simulation(study(**FEW | {"current_tasks": current, "common.strategy.name": strategy}), tmp_path)
    with Progress() as progress:
        simulation.begin(progress)
    assert len(said) == len(told)
    assert all(part in whole for part, whole in zip(said, told, strict=True))
