"""Run the unfinished runs, one after another in this process."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relay.compare.jobs import Job
from relay.config import Devices
from relay.errors import Interrupted, RelayError
from relay.leg import RunPaths, is_first

if TYPE_CHECKING:
    from relay.leg import Known, Progress
    from relay.plan import Study

log = logging.getLogger(__name__)
RUNS, FIRST_LEGS = "runs", "first_legs"


@dataclass(frozen=True)
class Failed:
    """A failed run: the reason, the log with details, and the error's class."""

    job: Job
    message: str
    log: Path
    kind: str


def paths_of(job: Job, root: Path) -> RunPaths:
    """The run's folder, inside the comparison's folder."""
    return RunPaths(root / RUNS / job.folder)


def log_of(folder: Path) -> Path:
    """A run's log."""
    return folder / "logs" / "run.log"


def unfinished(jobs: Sequence[Job], root: Path) -> list[Job]:
    """The runs with an unfinished leg, or a site that has not adopted its model.

    Raises:
        ChangedConfigError: a leg was made with another config.
    """
    from relay.adopt import AdoptPaths
    from relay.simulate import adopting

    left = []
    for job in jobs:
        places = [paths_of(job, root).leg(leg.folder) for leg in job.study.legs]
        for paths, leg in zip(places, job.study.legs, strict=True):
            paths.check(leg.scientific())
        own = [AdoptPaths.of(paths_of(job, root), leg.task_name) for leg in adopting(job.study)]
        if not all(paths.finished for paths in places) or not all(paths.record.is_file() for paths in own):
            left.append(job)
    return left


def drop_first_legs(root: Path) -> None:
    """Remove the first legs that the runs of a finished comparison have shared."""
    shutil.rmtree(root / FIRST_LEGS, ignore_errors=True)


def execute(study: Study, folder: Path, devices: Devices, progress: Progress, known: Known | None = None) -> None:
    """One run, with its log in its folder.

    Args:
        known: what earlier runs have learned about the same sites.

    Raises:
        RelayError: the run failed, or another process is running it.
    """
    from relay.leg import Known
    from relay.logs import logged
    from relay.simulate import Simulation

    with ExitStack() as held:
        if is_first():
            held.enter_context(RunPaths(folder).alone())
            held.enter_context(logged(log_of(folder)))
        try:
            known = known or Known(folder.parents[1] / FIRST_LEGS)
            Simulation(study, folder, devices, known=known).run(progress)
        except Exception:
            log.exception("failed")
            raise


def run_here(
    todo: Sequence[Job], root: Path, devices: Devices, progress: Progress, steps: Sequence[int]
) -> list[Failed]:
    """Run one after another in this process; a failed run does not stop the others. Runs of one seed share images.

    Args:
        steps: planned optimiser steps of each run, for the bar.
    """
    from relay.leg import Known

    failed, known = [], Known(root / FIRST_LEGS)
    for count, (job, planned) in enumerate(zip(todo, steps, strict=True), 1):
        progress.say(f"run {count}/{len(todo)}: {job}")
        folder, reached = paths_of(job, root).root, progress.done + planned
        try:
            execute(job.study, folder, devices, progress, known)
        except Interrupted:
            raise
        except Exception as error:
            if devices.world_size > 1:
                raise  # otherwise, the processes of a fit would no longer be in the same run
            failed.append(Failed(job, reason_of(error), log_of(folder), type(error).__name__))
            progress.say(f"failed: {job}: {reason_of(error)}")
        progress.advance(reached - progress.done, made=False)
    return failed


def planned_steps(todo: Sequence[Job], root: Path, devices: Devices) -> list[int]:
    """Optimiser steps of each run; this reads the names of the images.

    Raises:
        DataError: a site's data have problems.
    """
    from relay.leg import Known
    from relay.simulate import Simulation

    known = Known()
    return [Simulation(job.study, paths_of(job, root).root, devices, known=known).steps for job in todo]


def reason_of(error: BaseException) -> str:
    """An error in words, with its class unless it is a RelayError."""
    return str(error) if isinstance(error, RelayError) else f"{type(error).__name__}: {error}"
