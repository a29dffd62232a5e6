"""Install relay from the kit that this file is in, without a network. Started by install.sh and install.bat.

    python -I install_kit.py [ENVIRONMENT]

It verifies the kit, makes a virtual environment (by default ``relay-env`` in the current folder), and installs the
wheels that the lock names, and no others. It needs Python's standard library and nothing else.
"""

from __future__ import annotations

import platform
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
UNPACKED = 5
"""How many times the size of the wheels an installation needs: torch's alone unpack to four times theirs."""
SYSTEMS = {
    ("Linux", "x86_64"): "linux_x86_64",
    ("Linux", "aarch64"): "linux_aarch64",
    ("Windows", "AMD64"): "win_amd64",
    ("Darwin", "arm64"): "macosx_arm64",
}


class CanNotInstall(Exception):
    """Something that the user must change: what, and what to do."""


def lock_for(kit: Path, python: str) -> Path:
    """The lock of this system.

    Args:
        python: the version of Python that the kit is for, such as ``3.11``.

    Raises:
        CanNotInstall: the kit is for another system or another Python.
    """
    here = ".".join(platform.python_version_tuple()[:2])
    if here != python:
        raise CanNotInstall(
            f"this kit is for Python {python}; this is Python {here}",
            f"Install Python {python}, or start this program with it: python{python} -I install_kit.py",
        )
    system = SYSTEMS.get((platform.system(), platform.machine()), "")
    lock = kit / "locks" / f"{system or 'none'}.txt"
    if not lock.is_file():
        there = ", ".join(sorted(path.stem for path in (kit / "locks").glob("*.txt")))
        raise CanNotInstall(
            f"this kit is for {there}; this is {platform.system()} {platform.machine()}",
            "Ask for a kit that was built for this system, too: relay kit build --platform",
        )
    return lock


def environment(target: Path) -> Path:
    """Make a virtual environment; return its Python. If it can't be made or somebody ends it, nothing is left of it.

    Raises:
        CanNotInstall: it is already there, or this Python can't make one.
    """
    if target.exists():
        raise CanNotInstall(f"{target} already exists", "Give another folder, or delete this one.")
    try:
        if subprocess.run([sys.executable, "-m", "venv", str(target)], check=False).returncode:
            raise CanNotInstall(
                "this Python can't make a virtual environment",
                "On Debian and Ubuntu, install the package python3-venv. Else use the Python from python.org.",
            )
    except BaseException:  # also if somebody ends it
        shutil.rmtree(target, ignore_errors=True)  # without ensurepip, too, venv leaves half of one
        raise
    windows = target / "Scripts" / "python.exe"
    return windows if windows.exists() else target / "bin" / "python"


def make_room(target: Path, files: dict) -> None:  # type: ignore[type-arg]
    """Check that the disk has space for the installed wheels.

    Args:
        files: as the manifest lists them.

    Raises:
        CanNotInstall: it has not, or there is no folder for the environment.
    """
    if not target.parent.is_dir():
        raise CanNotInstall(f"there is no folder {target.parent}", "Make it first, or give another one.")
    need = UNPACKED * sum(entry["bytes"] for name, entry in files.items() if name.startswith("wheels/"))
    free = shutil.disk_usage(target.parent).free
    if free < need:
        raise CanNotInstall(
            f"installing takes about {need / 1e6:,.1f} MB; {target.parent} has {free / 1e6:,.1f} MB free",
            "Free some space there, or give a folder on another disk.",
        )


def install(python: Path, kit: Path, lock: Path) -> None:
    """Install what a lock names; pip takes nothing whose SHA-256 the lock doesn't have.

    Raises:
        CanNotInstall: pip failed.
    """
    pip = [str(python), "-I", "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet"]
    pip += ["--no-cache-dir", "--no-index", "--find-links", str(kit / "wheels"), "--require-hashes", "-r", str(lock)]
    if subprocess.run(pip, check=False).returncode:
        raise CanNotInstall("pip could not install the wheels; its message is above", "Check that the disk has space.")


def main(words: list[str]) -> int:
    """The command; returns its exit code."""
    if len(words) > 1 or "".join(words).startswith("-"):
        print(__doc__)
        return 2
    verifier = runpy.run_path(str(HERE / "verify_kit.py"), run_name="verifier")
    if code := verifier["main"]([str(HERE)]):
        return int(code)
    target = Path(words[0] if words else "relay-env").absolute()
    try:
        said = verifier["read_manifest"](HERE / verifier["MANIFEST"])
        lock = lock_for(HERE, said["python"])
        make_room(target, said["files"])
        print(f"Installing into {target} …", flush=True)
        python = environment(target)
        try:
            install(python, HERE, lock)
        except BaseException:  # also if somebody ends it
            shutil.rmtree(target, ignore_errors=True)  # half an environment would only be in the way
            raise
    except CanNotInstall as error:
        print(f"error: {error.args[0]}\nwhat to do: {error.args[1]}")
        return 2
    print(f"Installed. Next: {python.parent / 'relay'} doctor --selftest")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
