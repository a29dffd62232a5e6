"""Which checks there are, and in what order they run. A check that itself fails is a fault, and the next one runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from relay.doctor import clock, encoding, gpu, machine, packages, permissions, stick
from relay.doctor.finding import Finding, fault

BUG = "This may be a bug in relay: send the report (--report) to the people who help you."


def check_machine(home: Path, folder: Path) -> Iterator[Finding]:
    """Everything that can be checked in seconds.

    Args:
        home: this site's own folder, with its keys and ledgers; it need not exist.
        folder: where runs are written.
    """
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "Python": packages.check_python,
        "packages": packages.check_packages,
        "libraries": packages.check_libraries,
        "GPU": gpu.check_gpu,
        "memory": machine.check_memory,
        "disk": partial(machine.check_disk, folder),
        "clock": partial(clock.check_clock, home),
        "keys": partial(permissions.check_permissions, home),
        "encoding": partial(encoding.check_encoding, folder),
    }
    for subject, check in checks.items():
        yield from _survived(subject, check)


def check_stick(folder: Path) -> Iterator[Finding]:
    """What can be checked of a stick.

    Args:
        folder: where it is mounted.
    """
    yield from _survived("stick", partial(stick.check_stick_at, folder))


def _survived(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # one broken part must not hide what the other checks find
        yield fault(
            subject, f"could not be checked: {type(error).__name__}: {{error}}", BUG, error=str(error) or "no message"
        )
