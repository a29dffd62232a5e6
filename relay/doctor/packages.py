"""Python, and the installed packages against what relay requires and against the lock it was tested with."""

from __future__ import annotations

import csv
import os
import platform
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, version
from pathlib import Path, PurePath, PurePosixPath

from relay import installed
from relay.doctor import loading
from relay.doctor.finding import Finding, fault, ok, warning
from relay.errors import some, typed

OTHER_PYTHON = "Install another Python, and relay into it."
UNSET = "set PYTHONPATH=" if sys.platform == "win32" else "unset PYTHONPATH"
OPENCV = "cv2"
"""Its failure costs some augmentations, and most often means that the system lacks libraries."""
REPAIR = "Install relay again from its kit (sh install.sh, on Windows install.bat)"


def check_python() -> Iterator[Finding]:
    """The interpreter: its version against the range that relay supports, and that it is a 64-bit one."""
    from packaging.specifiers import SpecifierSet

    here = platform.python_version()
    allowed = installed.ourselves().metadata["Requires-Python"] or ""
    bits = struct.calcsize("P") * 8
    if not SpecifierSet(allowed).contains(here, prereleases=True):
        yield fault("Python", f"version {here}; relay needs {allowed}", OTHER_PYTHON)
    elif bits < 64:
        yield fault("Python", f"version {here} for {bits} bit; torch needs 64", OTHER_PYTHON)
    else:
        yield ok("Python", f"{here}, {bits} bit, {platform.system()} {platform.machine()}")
    if sys.prefix == sys.base_prefix:
        yield warning(
            "Python",
            "relay is not installed in an environment of its own: another program's packages can break it",
            "Make one: python -m venv relay-env. Install relay into it.",
        )


def check_packages() -> Iterator[Finding]:
    """Every package that relay requires is there, whole, in a version that it admits, and better in the locked one; and
    those with compiled code can be imported."""
    missing, unfit = _against_requirements()
    if missing:
        yield fault("packages", f"not installed: {some(missing)}", f"{REPAIR}: {typed(*missing)}.")
    if unfit:
        yield fault("packages", f"versions that relay does not admit: {some(unfit)}", f"{REPAIR}.")
    broken = _incomplete()
    if broken:
        yield fault(
            "packages",
            f"installed, but with files missing or of another size: {some(list(broken.values()))}",
            f"{REPAIR}: {typed(*broken)}.",
        )
    unloadable = [_unloadable(name, why) for name, why in _failures().items() if name != OPENCV]
    yield from unloadable
    if missing or unfit or broken or unloadable:
        return
    locked = read_lock()
    if locked is None:
        yield warning(
            "packages",
            "all that relay requires are there, but the lock is not, so nobody knows whether they were tested together",
            f"{REPAIR}: it brings the lock.",
        )
        return
    other = _against_lock(locked)
    if other:
        yield warning(
            "packages",
            f"other versions than relay was tested with: {some(other)}",
            f"{REPAIR}, unless the site needs these versions.",
        )
    else:
        yield ok("packages", "all that relay requires are there, in the versions of the lock")


def check_libraries() -> Iterator[Finding]:
    """OpenCV, which imgaug's augmentations use, needs libraries that a small Linux lacks, and no wheel brings."""
    kind, _, error = _failures().get(OPENCV, "").partition(": ")
    if gone := re.match(r"lib[\w.+-]+\.so[.\d]*", error):
        yield warning(
            "libraries",
            f"OpenCV can't be loaded: {gone[0]} is missing ({{error}}). Augmentations with imgaug will fail",
            "Have an administrator install it: libgl1 and libglib2.0-0 on Debian and Ubuntu, mesa-libGL and glib2 on "
            "Red Hat. Or use other augmentations: relay list augmentations",
            error=error,
        )
    elif kind:
        found = _unloadable(OPENCV, f"{kind}: {error}")
        text = f"OpenCV: {found.text}. Augmentations with imgaug will fail"
        yield replace(found, subject="libraries", level="warning", text=text)


def broken() -> set[str]:
    """The modules of packages that are not whole, or can't be imported. To import one can end this process."""
    required = installed.required()
    files = [path for name in _incomplete() for path, _ in _code_of(required[name])]
    return {path.parts[0].partition(".")[0] for path in files} | set(_failures())


def _failures() -> dict[str, str]:
    """Why packages can't be imported; not tried before all of them are there and whole."""
    return {} if _incomplete() or _against_requirements()[0] else loading.failures()


def _unloadable(name: str, why: str) -> Finding:
    """A package that can't be imported: from where it was installed, or from where PYTHONPATH hides it with another."""
    kind, _, error = why.partition(": ")
    folder = loading.shadow(name)
    text = f"{name} can't be imported: {kind}: {{error}}"
    if folder is None:
        return fault("packages", text, f"{REPAIR}.", error=error)
    cure = "PYTHONPATH names {folder}, which has another one. Take that folder out of PYTHONPATH"
    return fault(
        "packages",
        text,
        cure if os.pathsep in os.environ["PYTHONPATH"] else f"{cure}: {UNSET}",
        error=error,
        folder=folder,
    )


def _against_requirements() -> tuple[list[str], list[str]]:
    """The names of what is missing, and ``name version (allowed range)`` of what does not fit."""
    from packaging.requirements import Requirement

    missing, unfit = [], []
    for line in installed.ourselves().requires or ():
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            here = version(wanted.name)
        except PackageNotFoundError:
            missing.append(wanted.name)
            continue
        if not wanted.specifier.contains(here, prereleases=True):
            unfit.append(f"{wanted.name} {here} (must be {wanted.specifier})")
    return sorted(missing), sorted(unfit)


@cache
def _incomplete() -> dict[str, str]:
    """By the name of each package that relay requires, directly or not, and whose code is not whole: what is missing or
    of another size than the package says. Nothing is imported, and packages that don't list files are not looked at."""
    found = {}
    for name, package in installed.required().items():
        code = _code_of(package)
        if wrong := [said for path, size in code if (said := _wrong(package, path, size))]:
            found[name] = f"{name} ({len(wrong)} of {len(code)}, such as {wrong[0]})"
    return dict(sorted(found.items()))


def _code_of(package: Distribution) -> list[tuple[PurePath, int | None]]:
    """The files that a package can't do without, as it lists them, with their sizes. From Python 3.12 on,
    ``package.files`` leaves out those that are missing."""
    rows = csv.reader((package.read_text("RECORD") or "").splitlines())
    listed = [(PurePosixPath(row[0]), int(row[2]) if row[2:] and row[2].isdecimal() else None) for row in rows if row]
    return [(path, size) for path, size in listed if _is_code(path)]


def _wrong(package: Distribution, path: PurePath, size: int | None) -> str:
    """The name of a file that is missing, and also its size if that is another; empty if it is right."""
    try:
        here = Path(str(package.locate_file(str(path)))).stat().st_size
    except OSError:
        return str(path)
    return "" if size in (None, here) else f"{path}, {here} of {size} bytes"


def _is_code(path: PurePath) -> bool:
    """Whether a program can't do without a file: not so for tests, nor for what was compiled from others."""
    inside = path.parts[0] != ".." and not {"test", "tests"} & set(path.parts)
    return inside and (path.suffix in (".py", ".pyd", ".dll", ".dylib") or ".so" in path.suffixes)


def read_lock() -> dict[str, str] | None:
    """The locked version of each package, by its normalised name; None if there is no lock here."""
    found = installed.lock_here()
    locked = {} if found is None else installed.parse_lock(found.read_text(encoding="utf-8"))
    return None if found is None else {name: version for name, (_, version) in locked.items()}


def _against_lock(locked: Mapping[str, str]) -> list[str]:
    """``name version (lock: version)`` of every package that relay requires, directly or not, and that is another one.
    A local label (torch's ``+cpu``) is no other version."""
    other = []
    for name, package in installed.required().items():
        here, pinned = package.version, locked.get(name)
        if pinned is not None and here.partition("+")[0] != pinned.partition("+")[0]:
            other.append(f"{name} {here} (lock: {pinned})")
    return sorted(other)
