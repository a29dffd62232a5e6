"""Wheels for another system, resolved and downloaded by pip.

``pip download --platform`` takes the wheels of another system, but decides by the *running* system which requirements
apply (``colorama ; sys_platform == "win32"``). So pip is started with the other system's markers. A check stops it if
its inner workings have changed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import gettempdir

from relay.errors import RelayError, UserError, plain
from relay.files import FULL, expanded
from relay.kit.platforms import Platform
from relay.kit.verify_kit import sha256

CHANGED = 77
"""Exit code of the launcher if this pip can't be told about another system."""
LAUNCHER = f"""
import json, sys
from pip._vendor.packaging import markers
target = json.loads(sys.argv.pop(1))
markers.default_environment = lambda: dict(target)
if not all(markers.Marker(f"{{name}} == {{value!r}}").evaluate() for name, value in target.items()):
    sys.exit({CHANGED})
from pip._internal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
MAX_SAID = 900
"""Maximum length of what is quoted of pip, in characters."""
NONE_FOUND = "No matching distribution found for "


def download(
    requirements: Sequence[str],
    platform: Platform,
    python: str,
    folder: Path,
    lock: Path | None = None,
    indexes: Iterable[str] = (),
) -> list[Path]:
    """Download the wheels of requirements, and of all that those require, for a system.

    Args:
        requirements: as pip takes them, or paths of wheels.
        python: the version of CPython there, such as ``3.11``.
        folder: where to put them; it is created.
        lock: a constraints file.
        indexes: further indexes (URLs) and folders of wheels, beside those that pip is configured with.

    Returns:
        The wheels, sorted by name.

    Raises:
        UserError: something can't be had for this system.
        RelayError: pip failed for another reason.
    """
    where = [word for index in indexes for word in _where(index)]
    tags = [word for tag in platform.tags for word in ("--platform", tag)]
    pip = ["download", "--quiet", "--no-input", "--disable-pip-version-check", "--only-binary=:all:"]
    pip += ["--dest", str(folder), "--implementation", "cp", "--python-version", python, *tags, *where]
    pip += ["-c", str(lock)] if lock else []
    markers = json.dumps(platform.environment(python))
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, markers, *pip, *requirements],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise disk_is_full(done.stderr, folder.parent) or _failed(done, platform)  # which stays
    return sorted(folder.glob("*.whl"))


def disk_is_full(stderr: str, folder: Path) -> RelayError | None:
    """An error for pip that had no space left; None if that is not what it said."""
    if not any(f"[Errno {number}]" in stderr or os.strerror(number) in stderr for number in FULL):
        return None
    return RelayError(
        f"the disk is full: pip writes to {folder}, and temporary files to {gettempdir()}",
        "Make room, or use another disk: -o FOLDER for the kit, the variable TMPDIR for temporary files. Then run the "
        "same command again; nothing of this kit was kept.",
    )


def said_by_pip(stderr: str) -> str:
    """What pip said, as lines of a message: its errors, else the last lines, but not the warnings before them."""
    lines = [line for line in stderr.strip().splitlines() if line.strip() and not line.startswith("WARNING:")]
    first = next((n for n, line in enumerate(lines) if line.startswith("ERROR:")), 0)
    said = plain("\n".join(lines[first:]), keep="\n")
    return (said if len(said) <= MAX_SAID else "…" + said[-MAX_SAID:]).replace("\n", "\n  ")


def _where(index: str) -> tuple[str, str]:
    """A folder of wheels, or an index."""
    return ("--extra-index-url", index) if "://" in index else ("--find-links", str(expanded(index)))


def _failed(done: subprocess.CompletedProcess[str], platform: Platform) -> RelayError:
    if done.returncode == CHANGED:
        return UserError(
            f"this version of pip can't choose wheels for {platform.name}",
            "Build the kit on a machine of that kind, or with another version of pip.",
        )
    said = said_by_pip(done.stderr)
    for line in done.stderr.splitlines():
        if NONE_FOUND in line:
            wanted = plain(line.partition(NONE_FOUND)[2], most=80)
            return UserError(f"pip finds no wheel of {wanted} for {platform.name}:\n  {said}", _other_index(wanted))
    if "ResolutionImpossible" in done.stderr:
        return UserError(
            f"the versions asked for contradict each other for {platform.name}:\n  {said}",
            "pip may have constraints of its own on this machine, which pip config list shows: build without them.",
        )
    return RelayError(
        f"pip could not download the wheels for {platform.name}:\n  {said}",
        "Check this machine's network and pip's settings (pip config list), then run the command again.",
    )


def _other_index(wanted: str) -> str:
    if wanted.startswith("torch=="):
        return (
            "Builds of torch for one accelerator are on indexes of PyTorch's own. Its page 'Get started' names the one "
            "for yours: give that address with --index."
        )
    return "Give the index or the folder that has it (--index), or leave out this platform."


def lock_lines(wheels: Iterable[Path]) -> str:
    """A requirements file that pins wheels by version and SHA-256, for ``pip install --require-hashes``."""
    from packaging.utils import parse_wheel_filename

    lines = []
    for wheel in wheels:
        name, version, *_ = parse_wheel_filename(wheel.name)
        lines.append(f"{name}=={version} --hash=sha256:{sha256(wheel)}\n")
    return "".join(sorted(lines))
