"""What is installed here: relay's own package, all that it requires, and the lock that it was tested with."""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import relay

NAME = "relay-learning"
LOCK = "constraints.txt"


def ourselves() -> Distribution:
    """The package of relay itself."""
    return distribution(NAME)


def required() -> dict[str, Distribution]:
    """The installed packages that relay requires, and those that these require in turn, by their normalised names."""
    from packaging.requirements import Requirement

    found: dict[str, Distribution] = {}
    new = list(ourselves().requires or ())
    while new:
        wanted = Requirement(new.pop())
        name = normal(wanted.name)
        if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        new += found[name].requires or ()
    return found


def lock_here() -> Path | None:
    """The lock that relay was tested with; None if it is not here.

    The lock is ``constraints.txt``: beside the sources, or in ``share/relay``, where a wheel puts it.
    """
    places = (Path(relay.__file__).parents[1] / LOCK, Path(sys.prefix) / "share" / "relay" / LOCK)
    return next((path for path in places if path.is_file()), None)


def parse_lock(text: str) -> dict[str, tuple[int, str]]:
    """The lines ``name==version`` of a lock that apply to this Python: by normalised name the line's number, from 1,
    and the version.

    Raises:
        InvalidRequirement: a line is something else.
    """
    from packaging.requirements import Requirement

    locked = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith(("#", " ", "-")):
            pinned = Requirement(line.rstrip(" \\"))
            if not pinned.marker or pinned.marker.evaluate():
                locked[normal(pinned.name)] = number, str(pinned.specifier).removeprefix("==")
    return locked


def normal(name: str) -> str:
    """A package's name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
