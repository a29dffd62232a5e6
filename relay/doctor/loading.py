"""Whether packages can be imported, tried in a process of its own: a damaged library ends the process that loads it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

MODULES = (
    "numpy",
    "yaml",
    "pydantic",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "pyrage",
    "safetensors",
    "PIL.Image",
    "scipy.ndimage",
    "matplotlib",
    "SimpleITK",
    "cv2",
    "torch",
)
"""The modules with compiled code that relay imports. One comes after those that it needs, the largest is last."""
PATIENCE = 300
"""Seconds after which the process is stopped."""
CHILD = """
import os, sys
sys.path[:] = sys.argv[1].split(os.pathsep)
told = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
os.dup2(2, 1)
broken = set()
for module in sys.argv[2:]:
    name = module.partition(".")[0]
    print(name, end="\\t", file=told, flush=True)
    try:
        __import__(module)
        why = ""
    except BaseException as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        while error is not None:
            if str(getattr(error, "name", None)).partition(".")[0] in broken:
                why = ""
            error = error.__cause__ or error.__context__
        broken.add(name)
        sys.modules[name] = None
    print(why, file=told, flush=True)
os._exit(0)
"""
"""Says each module's name before it imports it, then why it could not; nothing if only a broken one kept it from that.
It ends without what a package does at the end of Python."""


@cache
def failures() -> dict[str, str]:
    """Why each package that can't be imported can't be. After one that ends the process, no other is tried."""
    command = [sys.executable, "-c", CHILD, os.pathsep.join(sys.path), *MODULES]
    none = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=none, stdout=subprocess.PIPE, stderr=none) as running:
        try:
            said, _ = running.communicate(timeout=PATIENCE)
            end = _end(running.returncode)
        except subprocess.TimeoutExpired:
            running.kill()
            said, _ = running.communicate()
            end = f"Timeout: no answer in {PATIENCE} s"
    lines = said.decode("utf-8", "replace").splitlines()
    found = dict(line.split("\t", 1) for line in lines)
    if lines and lines[-1].endswith("\t") and not said.endswith(b"\n"):
        found[lines[-1].strip()] = end
    return {name: why for name, why in found.items() if why}


def _end(code: int) -> str:
    if code >= 0:
        return f"Exit: it ended Python with code {code}"
    return f"{signal.Signals(-code).name}: it ended Python"


def shadow(name: str) -> Path | None:
    """The folder of PYTHONPATH that a package is found in, instead of where it was installed."""
    found = PathFinder.find_spec(name)
    if found is None or not found.origin:
        return None
    named = [Path(folder).absolute() for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    return next((folder for folder in named if Path(found.origin).is_relative_to(folder)), None)
