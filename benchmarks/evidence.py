"""All strategies over several orders of the sites and several seeds, side by side, at a size for two cores.

::

    python benchmarks/evidence.py --study vessels paths.vessels=FOLDER
    python benchmarks/evidence.py --study synthetic
    python benchmarks/evidence.py --study synthetic --ablation
    python benchmarks/evidence.py --study synthetic --table

Runs are simulations, each on one thread, ``--workers`` of them at a time. A finished one is a line of
``<out>/<study>.jsonl`` and is not run again: it counts for the config that it was made with, whatever the code was.
``--table`` runs nothing and prints what is there. Orders are the sites' rotations, then the same backwards. A seed is
``common.random_seed``: it decides who is in train, validation and test (but not who is in a publisher's test split),
the first weights, patches, batches and augmentation. So runs of one seed are compared one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

from evidence_jobs import Job, jobs, rows
from evidence_tables import report

from relay.errors import RelayError

STUDIES = {"vessels": "evidence/vessels", "synthetic": "evidence/synthetic"}
STRATEGIES = "local,sequential,joint,relay,lwf,merge,ewc,si,owm,der,fedavg"

Result: TypeAlias = "dict[str, Any] | str"
"""What came of a run; a text says why it failed."""


def execute(job: Job) -> dict[str, Any]:
    """Run it, and say what came of it.

    Returns:
        Plain JSON: ``final`` (site → Dice), ``mean`` and ``forgetting`` as in a summary, ``matrix``; ``seconds`` of
        training (fits, and what a strategy does before and after them; no test); ``bytes`` of all memories at the end.
    """
    import torch

    from relay.leg.progress import Progress
    from relay.results import no_nan
    from relay.simulate import Simulation

    torch.set_num_threads(1)
    study, began = job.study(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="relay-evidence-") as folder:
        simulation = Simulation(study, Path(folder))
        with Progress(simulation.steps) as progress:
            summary = simulation.run(progress)
        places = [simulation.run_place.leg(leg.folder) for leg in study.legs]
        seconds = sum(place.record()["train_seconds"] for place in places)
        size = beside([place.carry for place in places]) if job.order else 0
    about = {"key": job.key, "label": job.label, "order": job.order, "seed": job.seed}
    cost = {"seconds": round(seconds, 1), "bytes": size, "wall": round(time.perf_counter() - began, 1)}
    return about | cost | {name: no_nan(summary[name]) for name in ("final", "mean", "forgetting", "matrix")}


def beside(carries: Sequence[Path]) -> int:
    """Bytes of all memories in the last bundle, with their cards: each leg's own, and the last one's running one."""
    files = [*(file for carry in carries for file in carry.glob("memory.*")), *carries[-1].glob("running.*")]
    return sum(file.stat().st_size for file in files)


def attempt(job: Job) -> Result:
    """A run that fails is no reason to give up the others."""
    try:
        return execute(job)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def results(todo: Sequence[Job], workers: int) -> Iterator[tuple[Job, Result]]:
    """Each run as soon as it is over; with one worker, in this process."""
    if workers == 1:
        yield from ((job, attempt(job)) for job in todo)
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # before the workers import torch
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(attempt, job): job for job in todo}
        try:
            yield from ((futures[done], done.result()) for done in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def finished(path: Path) -> dict[str, dict[str, Any]]:
    """Earlier runs, by key."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return {run["key"]: run for run in map(json.loads, lines)}


def run(todo: Sequence[Job], path: Path, workers: int) -> bool:
    """Run what is not finished yet; whether all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, well = finished(path), True
    left = list({job.key: job for job in todo if job.key not in done}.values())
    for count, (job, result) in enumerate(results(left, workers), 1):
        if isinstance(result, str):
            well, said = False, f"failed: {result}"
        else:
            said = f"{result['mean']:.3f} ({result['wall']:.0f} s)"
            with path.open("a") as file:
                file.write(json.dumps(result) + "\n")
        print(f"{count}/{len(left)} {job}: {said}", file=sys.stderr, flush=True)
    return well


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--study", choices=STUDIES, required=True)
    parser.add_argument("--strategies", default=STRATEGIES, help="names, with commas between")
    parser.add_argument("--orders", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ablation", action="store_true", help="not strategies, but relay with single options changed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("exps/evidence"))
    parser.add_argument("--table", action="store_true", help="run nothing; print the tables of what is there")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="over the config")
    args = parser.parse_intermixed_args(argv)
    path = args.out / f"{args.study}.jsonl"
    try:
        chosen = rows(args.strategies.split(","), args.ablation)
        todo = jobs(STUDIES[args.study], chosen, args.orders, args.seeds, args.overrides)
        for job in todo:
            job.study()
    except RelayError as error:
        print(f"{error}\n{error.advice()}", file=sys.stderr)
        return 2
    well = args.table or run(todo, path, args.workers)
    done = finished(path)
    print(report([done[job.key] | {"label": job.label} for job in todo if job.key in done]))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
