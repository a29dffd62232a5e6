"""What a leg says of itself has the form that other sites ask for; that it has not is said before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay.bundle import documents, manifest
from relay.bundle.handover_files import read_facts
from relay.errors import ConfigError, UserError
from relay.leg import handover_writer
from relay.leg.progress import Progress
from relay.simulate import Simulation
from relay.trust.document import travels
from tests.studies import simulate, study


def test_what_a_finished_leg_wrote_has_its_form(tmp_path: Path) -> None:
    done = simulate(tmp_path, **{"current_tasks.task_ids": [1]})
    folder = done.run_paths.leg("task_1").handover
    for name in (manifest.HANDOVER, manifest.CONFIG, manifest.RESULTS):
        documents.read(name, (folder / name).read_bytes())
    found = documents.read(manifest.RESULTS, (folder / manifest.RESULTS).read_bytes())
    facts = read_facts(folder)
    assert {row.label for row in found.rows} == {"background", "rim", "cup"}
    for site, dice in facts.result.items():
        means = [r.mean for r in found.rows if r.site == site and r.label != "background" and r.mean is not None]
        assert dice == pytest.approx(sum(means) / len(means), abs=1e-5)


@pytest.mark.parametrize("odd", ["x" * 201, "a\x1b[2J", ["a\nb"]])
def test_an_option_that_does_not_travel_is_told_first(
    odd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plug-in may have options of any kind."""
    monkeypatch.setattr(handover_writer, "net_of", lambda leg: {"name": "U-Net", "kwargs": {"odd": odd}})
    simulation = Simulation(study(), tmp_path / "run")
    with Progress(1) as progress, pytest.raises(UserError, match=r"task 1: .* model\.kwargs\.odd") as caught:
        simulation.run(progress)
    assert "bundle-format" in caught.value.advice()
    assert not (tmp_path / "run").exists()


def test_all_settings_are_told_of_every_strategy() -> None:
    for name in ("sequential", "relay", "local", "joint"):
        for leg in study(**{"common.strategy.name": name}).legs:
            handover_writer.check(leg)


@pytest.mark.parametrize("value", [1e17, -1e17, 2.0**53, 1e20, 10**30, [1, 2e16], {"a": 3e18}])
def test_what_another_site_would_read_otherwise_is_found(value: Any) -> None:
    assert travels({"train.lr": 0.1, "train.odd": value}) == ["train.odd"]


@pytest.mark.parametrize(
    "value", [0, -0.0, 0.1, 2.0**53 - 1, 1e21, 5e-324, True, None, "Ärztin", [1, 2.5], {"a": 1e300}]
)
def test_what_is_read_as_it_was_written_travels(value: Any) -> None:
    assert travels({"train.odd": value}) == []


def test_a_number_that_can_not_be_signed_is_refused_before_the_training(tmp_path: Path) -> None:
    """gradient_clip: 1e17 trained a whole leg that could not be sent."""
    with pytest.raises(ConfigError, match=r"train\.gradient_clip = 1e\+17") as caught:
        simulate(tmp_path / "run", **{"common.train.gradient_clip": 1e17})
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("odd", "allowed", "cure"),
    [
        (float("nan"), "numbers must be finite", "finite number"),
        ([1.0, float("inf")], "numbers must be finite", "finite number"),
        ({"a": {"b": 2.0**60}}, "numbers must be below 2^53", "in that range"),
        (10**30, "numbers must be below 2^53", "in that range"),
        ("a\udc80", "text must be valid UTF-8", "Type the text again"),
    ],
)
def test_what_does_not_travel_is_told_with_its_own_cure(
    odd: Any, allowed: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover_writer, "scientific", lambda leg: {"train.odd": odd})
    with pytest.raises(ConfigError) as caught:
        handover_writer.check(study().legs[0])
    (problem,) = caught.value.problems
    assert allowed in problem.allowed
    assert cure in caught.value.advice()
