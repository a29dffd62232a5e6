"""Options under the names that they once had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay.config.load import read
from relay.config.published import translate
from relay.errors import Problem


def config(**kwargs: Any) -> dict[str, Any]:
    return {
        "common": {"dataset": {"name": "folder", "kwargs": kwargs}},
        "all_tasks_datasets": [{"kwargs": {"task_id": 1, "num_replica": 3}}],
        "current_tasks": {"task_confs": {1: {"dataset": {"kwargs": {"num_replica": 4}}}, 2: None}},
    }


def test_old_names_are_read_wherever_a_data_set_is_configured() -> None:
    read = translate(config(num_replica=2, out_range=[0, 1])).config
    assert read["common"]["dataset"]["kwargs"] == {"repeats": 2, "intensity_range": [0, 1]}
    assert read["all_tasks_datasets"][0]["kwargs"]["repeats"] == 3
    assert read["current_tasks"]["task_confs"][1]["dataset"]["kwargs"] == {"repeats": 4}


def test_a_problem_is_named_by_the_key_in_the_file() -> None:
    reading = translate(config(num_replica=0))
    here = Problem("common.dataset.kwargs.repeats", 0, "must be at least 1")
    assert reading.in_file(here).path == "common.dataset.kwargs.num_replica"


def test_both_names_are_one_too_many() -> None:
    reading = translate(config(num_replica=2, repeats=3))
    (problem,) = reading.problems
    assert reading.config["common"]["dataset"]["kwargs"] == {"repeats": 3}  # and no second problem
    assert problem.cure == "Remove num_replica."
    assert problem.path == "common.dataset.kwargs.num_replica"
    assert "old name of repeats" in problem.allowed


def test_what_is_no_config_is_left_for_the_check() -> None:
    for odd in ({}, {"common": 3}, {"all_tasks_datasets": {"a": 1}}, {"current_tasks": {"task_confs": [1]}}):
        assert translate(odd).config == odd


@pytest.mark.parametrize(("below", "own"), [("num_replica", "repeats"), ("repeats", "num_replica")])
def test_what_is_put_over_a_config_may_use_the_other_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, own: str
) -> None:
    """Be it a config that extends it, the machine's own values, or the command line."""
    monkeypatch.chdir(tmp_path)
    base, over = "common: {dataset: {kwargs: {%s: 2, count: 8}}}\n", "common: {dataset: {kwargs: {%s: 3}}}\n"
    Path("base.yaml").write_text(base % below)
    Path("mine.yaml").write_text("extends: base.yaml\n" + over % own)
    wanted = {"count": 8, own: 3}
    assert read(Path("mine.yaml"))["common"]["dataset"]["kwargs"] == wanted
    assert read(Path("base.yaml"), [f"common.dataset.kwargs.{own}=3"])["common"]["dataset"]["kwargs"] == wanted
    Path("paths.local.yaml").write_text(over % own)
    assert read(Path("base.yaml"))["common"]["dataset"]["kwargs"] == wanted
