"""How long a person waits: for --help, against an interpreter that does nothing; for the first step, against torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from setting import report, scratch

PAIRS = 7
COMMANDS = {
    "relay --help": [sys.executable, "-m", "relay", "--help"],
    "train.py --help": [sys.executable, "train.py", "--help"],
    "predict_test.py --help": [sys.executable, "predict_test.py", "--help"],
}

TORCH = "import torch, time; print(time.process_time())"
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
    said = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    return float(said.split()[-1])


def first_step() -> None:
    """From ``python train.py`` to the first step of the demo, above importing torch."""
    folder = scratch()
    train = (FIRST, "-c", "demo", "-n", "run")
    processor(folder, *train)  # images are cached now
    pairs = [(processor(folder, *train), processor(folder, TORCH)) for _ in range(PAIRS)]
    report("train.py to its first step : import torch, processor time", [a / b for a, b in pairs], "none")
    print(f"  {median(a - b for a, b in pairs):.1f} s above importing torch (target: at most 3 s)")
    shutil.rmtree(folder)


if __name__ == "__main__":
    nothing = [sys.executable, "-c", "pass"]
    for name, command in COMMANDS.items():
        pairs = [(seconds(command), seconds(nothing)) for _ in range(PAIRS)]
        report(f"{name} : python -c pass", [a / b for a, b in pairs], "as small as may be")
        print(f"  {median(a for a, _ in pairs):.2f} s (target: under 0.5 s); imports torch: {imports_torch(command)}")
    first_step()
