"""What a guarantee costs: scores, time and memory of training with differential privacy, by epsilon and patients.

    python benchmarks/differential_privacy.py synthetic --patients 30 100 --epsilons 16 8 4 1 -o OUT

One site trains alone (``local``) and is tested on its own test images; each row is one training, plain or private. Rows
are appended to OUT/rows.csv, and one that is there is not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COLUMNS = ("set", "patients", "epsilon", "seed", "score", "noise", "steps", "cpu seconds", "megabytes")
SYNTHETIC = "evidence/synthetic"
HOW = {
    "synthetic": {"lr": 0.004, "epochs": 30, "share": 3, "batch": 8, "images": 2},
    "cxr_lungs": {"lr": 0.003, "epochs": 60, "share": 2, "batch": 8, "images": 1},
    "mednist": {"lr": 0.002, "epochs": 30, "share": 3, "batch": 16, "images": 1},
}
"""Of each set: learning rate and epochs; private steps of an epoch, and images of a plain step; images of a patient."""


PATHS = {"synthetic": (), "cxr_lungs": ("cxr",), "mednist": ("mednist",)}
SMALL = {
    "name": "monai:DenseNet",
    "kwargs": {"init_features": 16, "growth_rate": 8, "block_config": [2, 2, 2], "batch_norm": "group"},
}
"""The net for MedNIST, small enough for two cores."""


def blocks(name: str, patients: int, seed: int, data: Path) -> dict[str, Any]:
    """The config of one site with about so many patients to train on (of all, three in five are)."""
    from relay.config import locate, read

    config = {"synthetic": SYNTHETIC, "cxr_lungs": "evidence/cxr_lungs", "mednist": "mednist/mednist"}[name]
    given: dict[str, Any] = read(locate(config)[0], [f"paths.{key}={data / name}" for key in PATHS[name]])
    common, how = given["common"], HOW[name]
    common["random_seed"] = seed
    common["strategy"] = {"name": "local"}
    common["train"] |= {"num_mimgs": None, "num_epochs": how["epochs"], "batch_size": how["batch"]}
    common["train"]["optimizer"] = {"name": "Adam", "kwargs": {"lr": how["lr"]}}
    if name == "synthetic":
        common["dataset"]["kwargs"]["count"] = round(patients * 2 / 0.6)
        common["dataset"]["kwargs"]["repeats"] = 1
    if name == "mednist":  # about 90 patients for each last digit of the images' numbers
        common["model"] = SMALL
        given["all_tasks_datasets"][0]["kwargs"]["only"] = f"[0-{max(1, round(patients / 90)) - 1}]$"
    given["current_tasks"] = {"task_ids": [given["current_tasks"]["task_ids"][0]]}
    return given


def one(name: str, patients: int, epsilon: float | None, seed: int, folder: Path, data: Path) -> None:
    """Train and test once, in this process, and print the row."""
    from relay.leg import Progress, guarantee
    from relay.plan import plan
    from relay.simulate import Simulation

    given = blocks(name, patients, seed, data)
    simulation = Simulation(plan(given, name), folder)
    there = guarantee.patients([simulation.sites(simulation.study.legs[0].pool[0], train=True)])
    if epsilon is not None:
        train, how = given["common"]["train"], HOW[name]
        train |= {"batch_size": max(1, there // how["share"]), "privacy": {"epsilon": epsilon, "images": how["images"]}}
        given["common"]["dataset"]["kwargs"]["repeats"] = 1
        simulation = Simulation(plan(given, name), folder)
    simulation.sites.look(simulation.study)
    with Progress(steps := simulation.steps) as progress:
        began = time.process_time()
        summary = simulation.run(progress)
        seconds = round(time.process_time() - began, 1)
    (leg,) = simulation.study.legs
    paths = simulation.run_paths.leg(leg.folder)
    account = json.loads(paths.privacy.read_text()) if epsilon is not None else {"mechanisms": [{"noise": 0}]}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    score = next(iter(summary["final"].values()))
    noise = account["mechanisms"][0]["noise"]
    row = (name, there, epsilon or "none", seed, round(score, 4), noise, steps, seconds, round(memory))
    csv.writer(sys.stdout).writerow(row)


def main() -> None:
    """Make the rows that are missing, each in a process of its own, so that its memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("set", choices=HOW)
    parser.add_argument("--patients", type=int, nargs="+", default=[100])
    parser.add_argument("--epsilons", type=float, nargs="+", default=[16, 8, 4, 1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("-o", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder with mednist, cxr_lungs")
    parser.add_argument("--one", action="store_true", help="one row, in this process")
    given = parser.parse_args()
    if given.one:
        epsilon = given.epsilons[0] or None
        one(given.set, given.patients[0], epsilon, given.seeds[0], given.o, given.data)
        return
    given.o.mkdir(parents=True, exist_ok=True)
    print(*COLUMNS, sep=",")
    for patients in given.patients:
        for seed in given.seeds:
            for epsilon in (0.0, *given.epsilons):
                folder = given.o / f"{given.set}_{patients}_{epsilon:g}_{seed}"
                if folder.exists():
                    continue
                began, words = time.monotonic(), [given.set, "--patients", patients, "--epsilons", epsilon]
                command = [
                    sys.executable,
                    __file__,
                    *words,
                    "--seeds",
                    seed,
                    "--data",
                    given.data,
                    "-o",
                    folder,
                    "--one",
                ]
                done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
                said = done.stdout.strip().splitlines()[-1:] if done.returncode == 0 else [done.stderr[-2000:]]
                print(*said, f"({time.monotonic() - began:.0f} s)", flush=True)
                with (given.o / "rows.csv").open("a", encoding="utf-8") as file:
                    file.write((said[0] if done.returncode == 0 else f"failed: {folder.name}") + "\n")


if __name__ == "__main__":
    main()
