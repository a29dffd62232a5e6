"""Stages by name, time left by what was measured, a line a minute where there is no terminal."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from relay.leg.pace import spoken
from relay.leg.progress import Progress
from tests.studies import study


class Clock:
    """Goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def trained(progress: Progress, clock: Clock, steps: int, seconds: float) -> None:
    with progress.stage("training, phase 'learn'", training=True):
        for _ in range(steps):
            clock.now += seconds
            progress.advance()


def test_time_left_of_leg_and_run_is_that_of_steps_and_of_what_else_a_leg_takes() -> None:
    clock = Clock()
    progress = Progress(200, clock=clock)
    with progress.stage("reading and checking images"):
        clock.now += 600  # no step takes longer for it
    progress.leg("relay · leg 1/2 · north", 100)
    assert progress.left() == ""
    trained(progress, clock, 50, 2.0)  # 50 steps are left, and a tenth of a leg's 200 s: 120 s; then as long as a leg
    assert progress.pace.left() == pytest.approx((120, 120 + 220))
    assert progress.left() == "leg 2 min, run 6 min left"
    trained(progress, clock, 50, 2.0)
    with progress.stage("testing on north"):
        clock.now += 100
        assert progress.left() == "run: about 4 min left"  # longer than was thought
    progress.finish_leg()
    progress.leg("relay · leg 2/2 · south", 100)
    assert progress.pace.left() == pytest.approx((300, 300))  # 200 s of steps, 100 s of tests as in the first leg
    assert progress.left() == "about 5 min left"
    trained(progress, clock, 100, 2.0)
    assert progress.pace.left() == pytest.approx((100, 100))
    assert progress.pace.share() == pytest.approx(1 - 100 / 600)  # not 100 % while the tests are still to come
    with progress.stage("testing on south"):
        clock.now += 99
        assert progress.pace.share() < 1
    progress.finish_leg()
    assert progress.pace.share() == 1
    assert progress.left() == ""


def test_what_was_made_before_does_not_count_as_fast() -> None:
    clock = Clock()
    progress = Progress(300, clock=clock)
    progress.skip("leg 1", 100)
    progress.finish_leg()
    progress.leg("leg 2", 100)
    with progress.stage("training", training=True):
        progress.advance(50, made=False)  # a resumed phase
    trained(progress, clock, 10, 1.0)
    assert progress.done == 160
    assert progress.pace.left() == pytest.approx((40 + 10, 50 + 110))


def test_runs_that_others_make_are_counted_without_legs() -> None:
    clock = Clock()
    progress = Progress(4, clock=clock)
    clock.now = 120
    progress.advance()
    assert progress.pace.left() == pytest.approx((0, 3 * 132))
    assert progress.left() == "run: about 7 min left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "10 s"), (44, "40 s"), (56, "1 min"), (119, "2 min"), (5940, "99 min"), (6000, "1 h 40 min"), (7200, "2 h")],
)
def test_times_are_no_more_exact_than_they_can_be(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


def test_without_a_terminal_there_is_a_line_a_minute_with_leg_stage_steps_and_time() -> None:
    text, clock = io.StringIO(), Clock()
    console = Console(file=text, force_terminal=False, width=80)
    with Progress(200, console, clock, beat=0.01) as progress:
        progress.leg("relay · leg 1/2 · north", 100)
        trained(progress, clock, 50, 2.0)
        with progress.stage("testing on north"):
            progress.note("3 of 20")
            until = time.monotonic() + 5
            while "3 of 20" not in text.getvalue() and time.monotonic() < until:
                time.sleep(0.01)
    lines = text.getvalue().splitlines()
    assert lines[0] == "relay · leg 1/2 · north …"
    line = "  relay · leg 1/2 · north: testing on north, 3 of 20; step 50 of 200; leg 2 min, run 6 min left"
    assert line in lines
    said = len(lines)
    time.sleep(0.05)
    assert len(text.getvalue().splitlines()) == said  # it ends with the run


def test_on_a_terminal_of_80_columns_stage_and_time_left_are_whole() -> None:
    text, clock = io.StringIO(), Clock()
    console = Console(file=text, force_terminal=True, width=80, height=20, color_system=None)
    with Progress(400, console, clock) as progress:
        progress.leg("sequential · leg 3/4 · clinic_c", 100)
        trained(progress, clock, 50, 20.0)
        with progress.stage("testing on clinic_d"):
            progress.note("12 of 24")
            assert progress._bar
            progress._bar.refresh()
    said = text.getvalue()
    assert "sequential · leg 3/4 · clinic_c: testing on clinic_d, 12 of 24" in said
    assert "leg 20 min, run 2 h 10 min left" in said
    assert "100%" not in said


def test_there_is_no_bar_before_it_is_known_how_much_there_is_to_do() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, color_system=None)
    with Progress(console=console) as progress, progress.stage("writing the report"):
        assert progress._bar
        progress._bar.refresh()
    assert "writing the report" in text.getvalue()
    assert "%" not in text.getvalue()


def test_every_stage_of_a_leg_has_a_name(tmp_path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:  # type: ignore[no-untyped-def]
    from relay.simulate import Simulation

    simulation = Simulation(study(**{"common.strategy.name": "relay", "common.train.num_epochs": 1}), tmp_path)
    with caplog.at_level("INFO", logger="relay.leg.progress"), Progress(simulation.steps) as progress:
        simulation.run(progress)
    stages = [line.split(": ", 1)[1] for line in caplog.messages if "leg 2/2" in line and ": " in line]
    named = [stage for stage in stages if not stage.startswith("val Dice")]
    assert caplog.messages[0] == "reading and checking images"
    assert named[:3] == ["receiving", "scoring what arrived", "preparing"]
    assert named[-8:] == [
        "making the memory",
        "checking the handover",
        "testing on clinic_a",
        "testing on clinic_b",
        "testing the vote on clinic_a",
        "testing the vote on clinic_b",
        "writing the handover",
        "signing and sealing",
    ]
    assert all(stage.startswith("training, phase '") for stage in named[3:-8])
    assert progress.pace.share() == 1


def test_what_has_no_legs_is_counted_and_timed() -> None:
    clock, said = Clock(), []
    with Progress(4, Console(file=io.StringIO()), clock) as progress:
        for _ in progress.counted("abcd", "scoring"):
            said.append(progress.line())
            clock.now += 60
    assert said[0] == "scoring, 1 of 4; step 0 of 4"
    assert said[2] == "scoring, 3 of 4; step 2 of 4; run: about 2 min left"
    assert progress.done == 4
