"""What a guarantee costs, and what it protects from: the tables of docs/explanation/differential-privacy.md.

    python benchmarks/differential_privacy.py synthetic --patients 30 100 300 -o OUT
    python benchmarks/differential_privacy.py attack -o OUT

One site trains alone (``local``; of chest X-rays, four places are pooled) and is tested on its own test images; each
row is one training, plain or private, in a process of its own. ``attack`` overfits small nets to a few patients and
attacks them. Rows are appended to OUT/rows.csv, and one that is there is not made again; at the end, the means over
seeds are shown.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import resource
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relay.config import locate, options, read
from relay.nets import Net, NetOptions

if TYPE_CHECKING:
    from torch import nn

COLUMNS = ("set", "patients", "epsilon", "seed", "score", "noise", "steps", "cpu seconds", "megabytes")
CONFIGS = {"synthetic": "evidence/synthetic", "cxr_lungs": "evidence/cxr_lungs", "mednist": "mednist/mednist"}
PATHS = {"synthetic": (), "cxr_lungs": ("cxr",), "mednist": ("mednist",)}
HOW = {
    "synthetic": {"lr": 0.004, "epochs": 30, "share": 3, "batch": 8, "images": 2, "of": 0},
    "cxr_lungs": {"lr": 0.004, "epochs": 30, "share": 1, "batch": 8, "images": 1, "of": 53},
    "mednist": {"lr": 0.1, "epochs": 30, "share": 1, "batch": 16, "images": 1, "of": 1500},
}
"""Of each set: learning rate and epochs; private steps of an epoch; images of a plain step, and of a patient in a
private one; of how many patients those asked for are trained on, the others being tested (of MedNIST, each image is
one; of the X-rays, 55 patients of four places, the split of each place is rounded). The last set's values were chosen
with seeds from 1000 on, which no table has; nothing was tuned for the others."""


@options
class PooledOptions(NetOptions):
    """Options of :class:`Pooled`.

    Attributes:
        side: means along each side of an image.
    """

    side: int = 8


class Pooled(Net):
    """Logistic regression on the mean intensities of the cells of a grid: few weights, so little noise."""

    Options = PooledOptions
    options: PooledOptions

    def build(self) -> nn.Module:
        """See :meth:`relay.nets.Net.build`."""
        from torch import nn

        channels, classes = self.channels()
        side = self.options.side
        return nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.Linear(channels * side * side, classes))


def blocks(name: str, patients: int, seed: int, data: Path) -> dict[str, Any]:
    """The config of one site with so many patients to train on."""
    given: dict[str, Any] = read(locate(CONFIGS[name])[0], [f"paths.{key}={data / name}" for key in PATHS[name]])
    common, how = given["common"], HOW[name]
    common["random_seed"] = seed
    common["train"] |= {"num_mimgs": None, "num_epochs": how["epochs"], "batch_size": how["batch"]}
    common["train"] |= {"optimizer": {"name": "Adam", "kwargs": {"lr": how["lr"]}}, "check_val_every_n_epoch": 10**6}
    common["strategy"] = {"name": "joint" if name == "cxr_lungs" else "local"}
    kwargs = common["dataset"]["kwargs"]
    kwargs["repeats"] = 1
    if name == "synthetic":
        kwargs["count"] = round(patients * 2 / 0.6)  # of whom half are trained on
    else:
        kwargs |= {"val_fraction": 0.0, "test_fraction": 1 - patients / how["of"], "augment": {"train": "none"}}
    if name == "cxr_lungs":
        kwargs["img_size"] = [48, 48]
    if name == "mednist":
        common["model"] = {"name": "differential_privacy:Pooled"}
        given["all_tasks_datasets"][0]["kwargs"].pop("only")
    if name != "cxr_lungs":
        given["all_tasks_datasets"] = given["all_tasks_datasets"][:1]
        given["current_tasks"] = {"task_ids": [1]}
    return given


def one(name: str, patients: int, epsilon: float | None, seed: int, folder: Path, data: Path) -> None:
    """Train and test once, in this process, and print the row."""
    from relay.leg import Progress, guarantee
    from relay.plan import plan
    from relay.simulate import Simulation

    given = blocks(name, patients, seed, data)
    simulation = Simulation(plan(given, name), folder)
    there = guarantee.patients([simulation.sites(each, train=True) for each in simulation.study.legs[0].pool])
    if epsilon is not None:
        given["common"]["train"]["batch_size"] = max(1, there // HOW[name]["share"])
        given["common"]["train"]["privacy"] = {"epsilon": epsilon, "images": HOW[name]["images"]}
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
    score = np.mean(list(summary["final"].values()))
    noise = account["mechanisms"][0]["noise"]
    row = (name, there, epsilon or "none", seed, round(float(score), 4), noise, steps, seconds, round(memory))
    csv.writer(sys.stdout).writerow(row)


MEMBERS, STEPS, CLIP, DELTA = 20, 60, 1.0, 1e-5


def attack(epsilon: float | None, seed: int) -> dict[str, Any]:
    """Overfit a net to 20 patients, half with wrong labels, all in each step; attack them and 20 others.

    Returns:
        ``loss``: scores by the final model's loss, as the audit's. ``steps``: of an attacker who sees each step's noisy
        gradient and knows all other patients, as the guarantee assumes. Members first. ``noise``: the multiplier.
    """
    import torch
    from torch.nn import functional as F

    from relay.noise import Secret, clipped, noise_for, noisy_mean_gradient
    from relay.privacy.controls import CLASSES, drawn
    from relay.privacy.overfitting import fitted

    image, label = drawn(seed, False, 2 * MEMBERS)
    net, secret = fitted(image[:1], label[:1], CLASSES, seed, until=math.inf), Secret.from_seed(seed, "attack", epsilon)
    weights = list(net.parameters())
    noise = noise_for(epsilon, DELTA, 1.0, STEPS, (), "prv") if epsilon else 0.0
    optimizer, seen = torch.optim.Adam(weights, lr=1e-2), np.zeros(2 * MEMBERS)

    def of(one: int) -> Any:
        return F.cross_entropy(net(image[one : one + 1]), label[one : one + 1])

    for step in range(STEPS):
        normal = secret.normal(sum(weight.numel() for weight in weights), step)
        clip = CLIP if epsilon else 1e9
        made = noisy_mean_gradient(
            map(of, range(MEMBERS)), weights, clip, noise, MEMBERS, lambda _, normal=normal: normal
        )
        for one in range(2 * MEMBERS if epsilon else 0):
            own = torch.autograd.grad(of(one), weights)
            mine = clipped(torch.cat([part.flatten() for part in own]).double(), clip)
            left = torch.from_numpy(normal) * clip * noise  # of the sum, without the other patients
            seen[one] += float((left + (mine if one < MEMBERS else 0)) @ mine)
        for weight, part in zip(weights, made, strict=True):
            weight.grad = part
        optimizer.step()
    with torch.no_grad():
        loss = -F.cross_entropy(net(image), label, reduction="none").numpy()
    return {"loss": loss, "steps": seen, "noise": noise}


def auc(members: Any, others: Any) -> float:
    """How often a member has a higher score than another patient."""
    member, other = members[:, None], others[None]
    return float((member > other).mean() + (member == other).mean() / 2)


def across(scores: Any) -> tuple[float, float]:
    """AUC of members of one net against others of *another*, and its standard error, by bootstrap over nets.

    Patients of one net are scored with the same noise, so that within it they are easier to tell apart than one is.
    """
    nets = range(len(scores))
    each = np.array([[auc(scores[i, :MEMBERS], scores[j, MEMBERS:]) for j in nets] for i in nets])
    rng, found = np.random.default_rng(0), []
    for _ in range(500):
        drawn = rng.choice(len(scores), len(scores))
        found.append(np.mean([each[i, j] for i in drawn for j in drawn if i != j]))
    return float(each[~np.eye(len(scores), dtype=bool)].mean()), float(np.std(found))


def attacks(epsilons: list[float], seeds: list[int], folder: Path) -> None:
    """The table of attacks: for each epsilon, AUCs with their standard errors, and what theory allows."""
    from scipy.stats import norm

    folder.mkdir(parents=True, exist_ok=True)
    lines = ["epsilon,noise,auc by loss,error,auc by steps,error,largest auc of gauss,largest auc"]
    print(lines[0])
    for epsilon in (None, *epsilons):
        found = [attack(epsilon, seed) for seed in seeds]
        by_loss = [auc(one["loss"][:MEMBERS], one["loss"][MEMBERS:]) for one in found]
        cells = [found[0]["noise"], np.mean(by_loss), np.std(by_loss, ddof=1) / math.sqrt(len(seeds))]
        if epsilon:
            strength = math.sqrt(STEPS) / found[0]["noise"]
            cells += [*across(np.stack([one["steps"] for one in found]))]
            cells += [norm.cdf(strength / math.sqrt(2)), 1 / (1 + math.exp(-epsilon))]
        lines.append(",".join([str(epsilon or "none"), *(f"{cell:.3f}" for cell in cells)]))
        print(lines[-1], flush=True)
    (folder / "attack.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(path: Path) -> None:
    """Show the means of the rows over seeds, with the lowest and the highest."""
    rows = defaultdict(list)
    for row in csv.reader(path.open(encoding="utf-8")):
        if len(row) == len(COLUMNS):
            rows[row[0], int(row[1]), row[2]].append([float(row[4]), float(row[7]), float(row[8])])
    for (name, patients, epsilon), found in sorted(rows.items()):
        score, seconds, memory = zip(*found, strict=True)
        print(
            f"{name}, {patients} patients, epsilon {epsilon}: {np.mean(score):.3f} ({min(score):.3f} to "
            f"{max(score):.3f}, {len(score)} seeds), {np.mean(seconds):.0f} s, {np.mean(memory):.0f} MB"
        )


def main() -> None:
    """Make the rows that are missing, each in a process of its own, so that its memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("set", choices=[*HOW, "attack"])
    parser.add_argument("--patients", type=int, nargs="+", default=[30])
    parser.add_argument("--epsilons", type=float, nargs="+", default=[16, 8, 4, 1])
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("-o", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder with mednist, cxr_lungs")
    parser.add_argument("--one", action="store_true", help="one row, in this process")
    given = parser.parse_args()
    if given.set == "attack":
        attacks(given.epsilons, given.seeds or list(range(10)), given.o)
        return
    if given.one:
        epsilon = given.epsilons[0] or None
        one(given.set, given.patients[0], epsilon, given.seeds[0], given.o, given.data)
        return
    given.o.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds or [1, 2, 3]:
        for patients in given.patients:
            for epsilon in (0.0, *given.epsilons):
                folder = given.o / f"{given.set}_{patients}_{epsilon:g}_{seed}"
                if not folder.exists():
                    row(given.set, patients, epsilon, seed, folder, given)
    table(given.o / "rows.csv")


def row(name: str, patients: int, epsilon: float, seed: int, folder: Path, given: Any) -> None:
    """One row, in a process of its own."""
    began = time.monotonic()
    words = [__file__, name, "--patients", patients, "--epsilons", epsilon, "--seeds", seed]
    command = [sys.executable, *words, "--data", given.data, "-o", folder, "--one"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    said = done.stdout.strip().splitlines()[-1:] if done.returncode == 0 else [done.stderr[-2000:]]
    print(*said, f"({time.monotonic() - began:.0f} s)", flush=True)
    with (given.o / "rows.csv").open("a", encoding="utf-8") as file:
        file.write((said[0] if done.returncode == 0 else f"failed: {folder.name}") + "\n")


if __name__ == "__main__":
    main()
