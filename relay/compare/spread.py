"""Spread runs over processes of this machine or a cluster: Slurm with submitit, or :mod:`.ray_cluster`."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.compare.jobs import Job
from relay.compare.running import Failed, execute, log_of, paths_of, reason_of
from relay.config import Devices
from relay.errors import UserError, first_line

if TYPE_CHECKING:
    from relay.leg import Progress

WEEK, DAY = 7 * 24 * 60, 24 * 60
"""Time limits of a run here and on a cluster, in minutes; submitit's own are only a few minutes."""
POLL = 0.2
"""Seconds."""
THREADS, GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Share:
    """What one of the runs that go on at the same time may use.

    Attributes:
        devices: for its training.
        environment: for its process; None removes a variable.
    """

    devices: Devices
    environment: Mapping[str, str | None] = field(default_factory=dict)


def shares_of(jobs: int, devices: Devices) -> list[Share]:
    """This machine in equal shares: as many cores each, at least one, and one GPU each, in turn, if there are GPUs.

    A number of threads that the user has set stays.

    Raises:
        UserError: there are more GPUs than runs at a time, so some would be idle.
    """
    gpus = devices.devices if isinstance(devices.devices, list) else []
    if len(gpus) > jobs:
        raise UserError(
            f"--jobs {jobs}: each run uses one GPU, and -g names {len(gpus)}",
            f"Do as many runs at a time: --jobs {len(gpus)}. To train each run on several GPUs, leave out --jobs.",
        )
    threads = str(max(_cores() // jobs, 1)) if jobs > 1 else None
    # submitit hides GPUs that it has not been asked for; which ones this process sees is what counts
    environment = {THREADS: os.environ.get(THREADS, threads), GPUS: os.environ.get(GPUS)}
    own = [replace(devices, devices=[gpu]) for gpu in gpus] or [devices]
    return [Share(own[i % len(own)], environment) for i in range(jobs)]


def _cores() -> int:
    """Of this machine, as far as this process may use them."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def executor_of(folder: Path, devices: Devices, slurm: Mapping[str, Any] | None) -> Any:
    """submitit's executor: for processes of this machine, or for Slurm with these parameters.

    Args:
        slurm: arguments of ``submitit.AutoExecutor.update_parameters``: ``timeout_min``, ``slurm_partition``, …

    Raises:
        UserError: submitit is not installed, Slurm is not available, or a parameter is unknown.
    """
    try:
        import submitit
    except ImportError as error:
        raise UserError(
            "--jobs and --slurm need submitit, which is not installed", 'pip install "relay-learning[cluster]"'
        ) from error
    gpus = 1 + max(devices.devices) if isinstance(devices.devices, list) else 0
    given = {"timeout_min": WEEK, "gpus_per_node": gpus} if slurm is None else {"timeout_min": DAY, **slurm}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster="local" if slurm is None else "slurm")
        executor.update_parameters(**given)
    except (NameError, RuntimeError, AssertionError, TypeError, ValueError) as error:
        if slurm is not None and not shutil.which("srun"):
            raise UserError(
                "--slurm: this machine has no srun, so it is not part of a Slurm cluster",
                "Give the command on a login node, or run several at a time here: --jobs 2",
            ) from error
        raise UserError(
            f"--slurm: {error}", "Give submitit's parameters: --slurm timeout_min=600,slurm_partition=gpu"
        ) from error
    return executor


def run_spread(
    todo: Sequence[Job], root: Path, progress: Progress, executor: Any, shares: Sequence[Share]
) -> list[Failed]:
    """Submit runs to an executor; a killed or failed one does not stop the others.

    Args:
        progress: counts runs.
        shares: as many runs go on at a time; each has one of them.
    """
    waiting, free, failed = list(todo), list(shares), []
    flying: list[tuple[Job, Share, Any]] = []
    try:
        while waiting or flying:
            taken = list(zip(waiting, free, strict=False))
            waiting, free = waiting[len(taken) :], free[len(taken) :]
            if taken:
                with _deaf(), executor.batch():
                    sent = [executor.submit(work, *_parcel(job, root, share)) for job, share in taken]
                flying += [(*pair, handle) for pair, handle in zip(taken, sent, strict=True)]
            done = [one for one in flying if one[2].done()]
            flying = [one for one in flying if one not in done]
            for job, share, handle in done:
                free.append(share)
                problem = _came_of(job, handle, root)
                failed += [problem] if problem else []
                progress.advance()
                progress.say(f"{job}: {f'failed: {problem.message}' if problem else 'done'}")
            time.sleep(POLL)
    except BaseException:
        for _, _, handle in flying:
            _stop(handle)
        raise
    return failed


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started here ignore Ctrl-C, which a terminal sends to all: this process notifies them, once."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(handle: Any) -> None:
    """Stop a run. A local one gets SIGTERM, which its controller forwards; submitit would send Ctrl-C."""
    submitit = sys.modules.get("submitit")
    if submitit is None or not isinstance(handle, submitit.LocalJob):
        handle.cancel(check=False)
    elif not handle.done():
        os.kill(int(handle.job_id), signal.SIGTERM)


def _parcel(job: Job, root: Path, share: Share) -> tuple[Any, ...]:
    return job.given, job.study.name, paths_of(job, root).root.resolve(), share


def _came_of(job: Job, handle: Any, root: Path) -> Failed | None:
    try:
        problem = next(filter(None, handle.results()), None)  # one for each process of a fit
    except Exception as error:  # its process died: its last output is in submitit's own log
        first = first_line(error)
        return Failed(
            job, f"its process ended without a result: {first}", Path(handle.paths.stderr), type(error).__name__
        )
    return Failed(job, problem[0], log_of(paths_of(job, root).root), problem[1]) if problem else None


def work(given: Mapping[str, Any], name: str, folder: Path, share: Share) -> tuple[str, str] | None:
    """Do one run in its own process; return the problem and the error's class, or None."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for variable, value in share.environment.items():  # before torch is imported
        os.environ.pop(variable, None)
        if value is not None:
            os.environ[variable] = value
    from relay.leg import Progress
    from relay.plan import plan

    try:
        execute(plan(given, name), folder, share.devices, Progress(0))
    except Exception as error:
        return reason_of(error), type(error).__name__
    return None
