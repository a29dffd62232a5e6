"""Which checks there are, and in what order they run. A check that itself fails is a fault, and the next one runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from relay.doctor.finding import Finding, fault

BUG = "This may be a bug in relay: send the report (--report) to the people who help you."


def check_machine(home: Path, folder: Path) -> Iterator[Finding]:
    """Everything that can be checked in seconds.

    Args:
        home: this site's own folder, with its keys and ledgers; it need not exist.
        folder: where runs are written.
    """
    yield from _survived("packages", "check_python")
    yield from _survived("packages", "check_packages")
    yield from _survived("packages", "check_libraries")
    with _without_broken():
        yield from _survived("gpu", "check_gpu")
        yield from _survived("machine", "check_memory")
        yield from _survived("machine", "check_disk", folder)
        yield from _survived("clock", "check_clock", home)
        yield from _survived("permissions", "check_permissions", home)
        yield from _survived("encoding", "check_encoding", folder)


def check_stick(folder: Path) -> Iterator[Finding]:
    """What can be checked of a stick.

    Args:
        folder: where it is mounted.
    """
    with _without_broken():
        yield from _survived("stick", "check_stick_at", folder)


@contextmanager
def _without_broken() -> Iterator[None]:
    """Meanwhile, a broken package counts as missing: to import one can end this process, and with it the report."""
    try:
        names = import_module("relay.doctor.packages").broken() - sys.modules.keys()
    except Exception:  # the checks of packages have said it
        names = set()
    sys.modules.update(dict.fromkeys(names))  # None: it can't be imported
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)


def _survived(module: str, check: str, *given: Path) -> Iterator[Finding]:
    """What a check finds. Its module is imported only now: a missing package must not keep the others from being
    found."""
    try:
        yield from getattr(import_module(f"relay.doctor.{module}"), check)(*given)
    except ModuleNotFoundError as error:
        gone = str(error.name).partition(".")[0]
        if sys.modules.get(gone, gone) is None:
            cure = "Do what is said of packages above, and run relay doctor again."
            yield fault(module, f"could not be checked: the package {gone} is broken", cure)
            return
        yield fault(module, f"could not be checked: the package {gone} is missing", "Install relay again from its kit.")
    except Exception as error:  # one broken part must not hide what the other checks find
        yield fault(
            module, f"could not be checked: {type(error).__name__}: {{error}}", BUG, error=str(error) or "no message"
        )
