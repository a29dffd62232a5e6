"""What a run's rows add up to, and what it says where they are lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay.errors import DataError
from relay.leg.paths import LegPaths
from relay.results import COLUMNS, write_rows
from relay.simulate import outcome
from tests.studies import TINY, study

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
    found = outcome(rows(), study(**{"common.strategy.name": strategy, "all_tasks_datasets": datasets}).legs)
    assert found["mean"] == pytest.approx(mean)
    assert set(found["final"]) == {"clinic_a", "clinic_b"} | ({"clinic_c"} if strategy == "sequential" else set())


def test_a_legs_scores_that_are_lost_or_empty_say_what_to_remove(tmp_path: Path) -> None:
    paths = LegPaths(tmp_path / "task_1")
    for spoil in (lambda: None, lambda: write_rows(paths.scores, []), lambda: paths.scores.write_text("x")):
        spoil()
        with pytest.raises(DataError, match=r"scores\.csv") as caught:
            paths.rows()
        assert f"Remove {paths.root}" in caught.value.advice()
    write_rows(paths.scores, rows())
    assert len(paths.rows()) == 12
