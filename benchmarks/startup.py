"""How long a person waits: for --help, against an interpreter that does nothing; for the first step, against torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from setting import report, scratch

PAIRS = 7
IMAGES, SIDE = 60, 64
COMMANDS = {
    "relay --help": [sys.executable, "-m", "relay", "--help"],
    "train.py --help": [sys.executable, "train.py", "--help"],
    "predict_test.py --help": [sys.executable, "predict_test.py", "--help"],
}

TORCH = "import torch, time; print(time.process_time())"
LIGHTNING = "import torch, pytorch_lightning, time; print(time.process_time())"
FIRST = """
import os, time
from relay.cli.app import script, train
from relay.leg import Learner

def step(self, batch, place):
    print(time.process_time(), flush=True)
    os._exit(0)

Learner.training_step = step
script(train)
"""
"""A run of train.py that ends where its first step would begin."""
STUDY = """
common:
  random_seed: 1
  dataset: {name: folder, kwargs: {root_path: images, num_classes: 2, channels: 1, repeats: 8}}
  strategy: {name: relay}
  model: {name: U-Net, kwargs: {backbone: plain, features: [8, 16, 32, 64, 64]}}
  train: {num_epochs: 1, batch_size: 16, loss: {name: DiceCE}, optimizer: {name: Adam, kwargs: {lr: 0.002}}}
all_tasks_datasets:
  - kwargs: {task_id: 1, task_name: a, img_folder: a}
  - kwargs: {task_id: 2, task_name: b, img_folder: b}
current_tasks: {task_ids: [1, 2]}
"""


def seconds(command: list[str]) -> float:
    """Wall-clock time of a process."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def imports_torch(command: list[str]) -> bool:
    """Whether the process imported torch."""
    traced = [command[0], "-X", "importtime", *command[1:]]
    said = subprocess.run(traced, check=True, capture_output=True, text=True).stderr
    return any(line.rsplit("|", 1)[-1].strip() == "torch" for line in said.splitlines())


def processor(folder: Path, code: str, *arguments: str) -> float:
    """Processor time that a program, run in a folder, says it took."""
    command = [sys.executable, "-c", code, *arguments]
    unset = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    there = {**unset, "RELAY_CACHE": str(folder / "cache")}
    said = subprocess.run(command, cwd=folder, env=there, check=True, capture_output=True, text=True).stdout
    return float(said.split()[-1])


def draw(folder: Path) -> None:
    """A study of two sites, with images of noise."""
    rng = np.random.default_rng(0)
    for site in ("a", "b"):
        for kind, values in (("image", 255), ("mask", 2)):
            (folder / "images" / site / kind).mkdir(parents=True)
            for i in range(IMAGES):
                drawn = rng.integers(0, values, (SIDE, SIDE), np.uint8)
                Image.fromarray(drawn).save(folder / "images" / site / kind / f"{i}.png")
    (folder / "study.yaml").write_text(STUDY)
    time.sleep(3)  # images of files that were just written are not kept


def first_step() -> None:
    """From ``python train.py`` to the first step, above importing torch."""
    folder = scratch()
    draw(folder)
    train = (FIRST, "-c", "study", "-n", "run")
    processor(folder, *train)  # images are cached now, and modules compiled
    timed = [[processor(folder, *program) for program in (train, (TORCH,), (LIGHTNING,))] for _ in range(PAIRS)]
    report(
        "train.py to its first step : import torch, processor time", [run / torch for run, torch, _ in timed], "none"
    )
    print(f"  {median(run - torch for run, torch, _ in timed):.1f} s above importing torch (target: at most 3 s)")
    print(f"  of which importing Lightning takes {median(lightning - torch for _, torch, lightning in timed):.1f} s")
    shutil.rmtree(folder)


if __name__ == "__main__":
    nothing = [sys.executable, "-c", "pass"]
    for name, command in COMMANDS.items():
        pairs = [(seconds(command), seconds(nothing)) for _ in range(PAIRS)]
        report(f"{name} : python -c pass", [a / b for a, b in pairs], "as small as may be")
        print(f"  {median(a for a, _ in pairs):.2f} s (target: under 0.5 s); imports torch: {imports_torch(command)}")
    first_step()
