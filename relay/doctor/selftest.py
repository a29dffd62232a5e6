"""The self-test: two sites train a tiny leg each with real keys, on this computer; then a training is stopped and
resumed, and must end with the same weights. Every step is a command that people type, in a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from relay.doctor.finding import Finding, fault, ok, warning
from relay.errors import some
from relay.files import read_bytes
from relay.trust import digest

TINY = (
    "common.dataset.kwargs.count=24",
    "common.dataset.kwargs.repeats=1",
    "common.model.kwargs.features=[8,8,8,8,8]",
    "common.strategy.name=sequential",
    "common.train.batch_size=4",
    "common.train.check_val_every_n_epoch=1",
    "common.train.num_epochs=4",
)
"""Overrides of the config ``demo``: seconds of training, of a net with a few thousand weights."""
STEPS = {
    "keys and roster": ("keys", "invite", "request", "roster"),
    "train, sign, seal; verify, train on": ("train",),
    "receipts": ("receipt", "verify"),
    "receive the end": ("receive",),
    "stop and resume": ("resume",),
}
"""What is timed together, and the commands it consists of."""
REFERENCE = {
    "keys and roster": 16.0,
    "train, sign, seal; verify, train on": 29.0,
    "receipts": 1.2,
    "receive the end": 6.8,
    "stop and resume": 16.1,
}
"""Seconds that each step took with ``relay doctor --selftest`` on a virtual server with two cores and little else to
do, torch 2.13 on the CPU."""
SLOW = 4.0
"""How many times longer a step may take without a warning."""
PATIENCE = 600
"""Seconds after which a training that has not ended its first epoch is stopped."""
TYPED = re.compile(r"^\w+\$ relay (\w+)")
WEIGHTS = "model.safetensors"
CURE = "Run it again by hand in an empty folder, to see where it stops: relay rehearse -c demo -o FOLDER"


def self_test() -> Iterator[Finding]:
    """Rehearse a tiny study, stop and resume a training, in a temporary folder that is then removed.

    Returns:
        One finding for each step that was done, with its time as a multiple of the reference; a fault ends the test.
    """
    with tempfile.TemporaryDirectory(prefix="relay-selftest-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lines: list[str] = []
        seconds, code = _rehearse(folder, lines)
        if code:
            yield _failed("a rehearsal", code, lines)
            return
        begin = time.perf_counter()
        wrong = _resume(folder)
        if wrong is not None:
            yield wrong
            return
        seconds["resume"] = time.perf_counter() - begin
    yield from timed(seconds)


def _rehearse(folder: Path, lines: list[str]) -> tuple[dict[str, float], int]:
    """Run ``relay rehearse``; return the seconds that each command took, and the exit code.

    Args:
        lines: what it prints is appended to these.
    """
    seconds: dict[str, float] = {}
    doing, begin = "", time.perf_counter()
    with _start(folder, "rehearse", "-c", "demo", "-o", str(folder / "study"), *TINY, ids="1,2") as running:
        for line in running.stdout or ():
            lines.append(line)
            if found := TYPED.match(line):
                seconds[doing] = seconds.get(doing, 0.0) + time.perf_counter() - begin
                doing, begin = found[1], time.perf_counter()
        seconds[doing] = seconds.get(doing, 0.0) + time.perf_counter() - begin
    return seconds, running.returncode


def _resume(folder: Path) -> Finding | None:
    """Stop a training after its first epoch, run it again, and compare the weights with those of the rehearsal."""
    run = folder / "exps/demo/run/checkpoints/task_1"
    command = ("train", "-c", "demo", *TINY)
    with _start(folder, *command, ids="1") as first:
        end = time.monotonic() + PATIENCE
        while first.poll() is None and time.monotonic() < end and not list(run.glob("phase_*.ckpt")):
            time.sleep(0.01)
        first.terminate()
        said = (first.stdout.read() if first.stdout else "").splitlines(keepends=True)
    if not list(run.glob("phase_*.ckpt")) and not (run / "last.ckpt").exists():
        return _failed("a training", first.returncode, said)
    with _start(folder, *command, ids="1") as second:
        said = list(second.stdout or ())
    if second.returncode:
        return _failed("a resumed training", second.returncode, said)
    listing = folder / "study/clinic_a/home/studies/rehearsal/signed/leg_0001/manifest-sha256.txt"
    if digest(read_bytes(run / "handover" / WEIGHTS)) not in listing.read_text():
        return fault(
            "self-test",
            "a resumed training ended with other weights than one that was not stopped",
            "Don't train here before this is explained: check the memory of this computer, and report it.",
        )
    return None


def _start(folder: Path, *words: str, ids: str) -> subprocess.Popen[str]:
    """Start a relay command in a folder, without this user's own settings."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RELAY_")}
    return subprocess.Popen(
        [sys.executable, "-m", "relay", *words, f"current_tasks.task_ids=[{ids}]"],
        cwd=folder,
        env=environment | {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def _failed(what: str, code: int, lines: list[str]) -> Finding:
    """A command of the self-test failed: quote its own error."""
    told = [line.strip() for line in lines if line.startswith(("error:", "refused", "what to do:"))]
    said = some(told or [line.strip() for line in lines[-3:]], 4, " ")
    return fault("self-test", f"{what} exited with code {code}: {{said}}", CURE, said=said)


def timed(seconds: dict[str, float]) -> Iterator[Finding]:
    """The time of each step, as a multiple of the reference's."""
    for step, commands in STEPS.items():
        took = sum(seconds.get(name, 0.0) for name in commands)
        ratio = took / REFERENCE[step]
        text = f"{step}: {took:.1f} s, {ratio:.1f} times as long as on the reference machine"
        if ratio > SLOW:
            yield warning("self-test", text, "Close other programs, and plan more time for a leg on this computer.")
        else:
            yield ok("self-test", text)
