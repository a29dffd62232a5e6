"""Writing and verifying a bundle against ``sha256sum`` and ``age`` on a file of its size, and the memory it takes.

    python benchmarks/handoff.py [MiB]

The weights are random bytes in a valid safetensors file (a whole number of MiB, by default 2048; about five times that
is needed on the disk). Every step is a process of its own; ``relay`` is timed without its start, the other tools whole.
``age`` (https://age-encryption.org) is left out where it isn't installed.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from argparse import SUPPRESS
from pathlib import Path
from typing import TYPE_CHECKING

from arguments import Parser, whole

if TYPE_CHECKING:
    from relay.trust import Policy

SITES = ("north", "south")
PAIRS = 3


def make_handover(folder: Path, size: int) -> None:
    """A handover whose model has so many bytes."""
    from relay.bundle import FACTS, Facts
    from relay.trust import canonical

    folder.mkdir()
    count = size // 4
    head = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for _ in range(4 * count // 2**20):
            file.write(os.urandom(2**20))
    facts = Facts(
        leg=1, site="north", strategy="relay", start=None, samples=100, result={"north": 0.8}, tensors={"model": 1},
        torch="2",
    )  # fmt: skip
    documents = {
        "handover.json": {
            "format": 1,
            "model": {"name": "U-Net", "kwargs": {}},
            "data": {
                "task": "segmentation",
                "classes": ["background", "vessel"],
                "channels": 3,
                "intensity_range": [0, 1],
                "steps": None,
                "slices": None,
            },
        },
        "config.json": {},
        "data-card.json": {
            "format": 1,
            "site": "north",
            "task": "segmentation",
            "classes": ["background", "vessel"],
            "channels": 3,
            "size": [64, 64],
            "images": {"train": 100, "val": 0, "test": 10},
            "patients": {"train": 100, "val": 0, "test": 10},
        },
        "results.json": {"format": 1, "leg": 1, "trained": "north", "rows": [], "zero_shot": []},
        FACTS: facts,
    }
    for name, content in documents.items():
        (folder / name).write_bytes(canonical(content))


def step(root: Path, what: str) -> dict[str, float]:
    """One step in a process of its own: its seconds, and the growth of its memory in MB."""
    command = [sys.executable, __file__, "--step", what, str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run(root: Path, what: str) -> None:
    """What :func:`step` starts."""
    import setting  # noqa: F401 - all modules, so that none is imported while the clock runs

    from relay.bundle import find
    from relay.exchange import drafting, receive, sending, verify
    from relay.leg import SimulatedStudy

    study = SimulatedStudy(root / "study", SITES, policy())
    study.begin()
    site = "north" if what in ("write", "split") else "south"
    store, keys = study.store(site), study.keys(site)
    before, began = peak(), time.perf_counter()
    if what == "write":
        sending.sign(store, keys, drafting.draft(store, root / "handover"))
        sending.export(store, 1, study.stick)
    elif what == "split":
        (whole,) = study.stick.iterdir()
        sending.export(store, 1, study.stick, whole.stat().st_size // 3)
    elif what == "receive":
        receive(store, keys, find(study.stick)[0].path)
    else:
        verify(store, keys, find(study.stick)[0].path)
    print(json.dumps({"seconds": time.perf_counter() - began, "MB": peak() - before}))


def policy() -> Policy:
    """The default policy, for bundles as large as one likes."""
    from relay.trust import Policy

    return Policy(max_bundle_bytes=2**40 - 1)


def peak() -> float:
    """MB of RAM at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def seconds(*command: object) -> float:
    """Of another tool."""
    began = time.perf_counter()
    subprocess.run([*map(str, command)], check=True, capture_output=True)
    return time.perf_counter() - began


def age(root: Path, weights: Path) -> tuple[float, float]:
    """Seconds that ``age`` takes to encrypt a file, and to decrypt it again."""
    key, sealed, opened = root / "age-key", root / "sealed.age", root / "opened"
    if not key.exists():
        subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
    public = subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
    took = seconds("age", "-r", public, "-o", sealed, weights), seconds("age", "-d", "-i", key, "-o", opened, sealed)
    sealed.unlink()
    opened.unlink()
    return took


def main(size: int) -> None:
    """Measure and print."""
    from setting import report

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        weights = root / "handover" / "model.safetensors"
        make_handover(root / "handover", size)
        write, check, memory, sealing, opening = [], [], [], [], []
        for _ in range(PAIRS):
            shutil.rmtree(root / "study", ignore_errors=True)
            hashed_first = seconds("sha256sum", weights)
            written = step(root, "write")["seconds"]
            write.append(hashed_first / written)
            hashed_again = seconds("sha256sum", weights)
            verified = step(root, "verify")
            check.append(hashed_again / verified["seconds"])
            memory.append(verified["MB"])
            if shutil.which("age-keygen"):
                sealed, opened = age(root, weights)
                sealing.append((hashed_first + sealed) / written)
                opening.append((hashed_again + opened) / verified["seconds"])
        report("speed of writing with seal : sha256sum", write, "at least 1/3")
        report("speed of verifying : sha256sum", check, "at least 1/2")
        if sealing:
            report("speed of writing with seal : sha256sum, then age", sealing, "none")
            report("speed of verifying : age -d, then sha256sum", opening, "none")
        else:
            print("age is not installed: not compared")
        print(
            f"memory of verifying, above the interpreter's with all modules: {max(memory):.0f} MB (target: under 300)"
        )


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("size", metavar="MiB", type=whole, nargs="?", default=2048, help="of the weights")
    parser.add_argument("--step", nargs=2, help=SUPPRESS)  # what to do, and in which folder: see step()
    given = parser.parse_args()
    if given.step:
        run(Path(given.step[1]), given.step[0])
    else:
        main(given.size * 2**20)
