"""How long a person waits for --help, against an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from setting import report

PAIRS = 7
COMMANDS = {
    "relay --help": [sys.executable, "-m", "relay", "--help"],
    "train.py --help": [sys.executable, "train.py", "--help"],
    "predict_test.py --help": [sys.executable, "predict_test.py", "--help"],
}


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


if __name__ == "__main__":
    nothing = [sys.executable, "-c", "pass"]
    for name, command in COMMANDS.items():
        pairs = [(seconds(command), seconds(nothing)) for _ in range(PAIRS)]
        report(f"{name} : python -c pass", [a / b for a, b in pairs], "as small as may be")
        print(f"  {median(a for a, _ in pairs):.2f} s (target: under 0.5 s); imports torch: {imports_torch(command)}")
