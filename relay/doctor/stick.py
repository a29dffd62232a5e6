"""A stick: that it is one, what its file system can't do, its space and its speed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from relay.bundle import FAT, file_system, writing_to
from relay.doctor import machine
from relay.doctor.finding import Finding, fault, ok, warning
from relay.errors import UserError

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs")
LEAST_SPACE = 4.0
"""GB that a bundle with experts and its receipts may need."""


def check_stick_at(folder: Path) -> Iterator[Finding]:
    """The folder of a stick, as it is mounted now."""
    private = {"stick": folder}
    if not folder.is_dir():
        yield fault(
            "stick", "there is no folder {stick}", "Plug the stick in, and name the folder it is mounted at.", **private
        )
        return
    kind = file_system(folder)
    if folder.resolve().stat().st_dev == Path.home().stat().st_dev:
        yield warning(
            "stick",
            "{stick} is a folder on this computer's own disk",
            "If you mean a stick, plug it in and name the folder it is mounted at.",
            **private,
        )
    elif kind in NETWORK:
        yield warning(
            "stick",
            f"{{stick}} is on the network ({kind})",
            "In relay learning nothing leaves by a network: use a stick.",
            **private,
        )
    yield _format(kind)
    yield _writing(folder)


def _format(kind: str | None) -> Finding:
    if kind is None:
        return ok("stick", "this system does not say which file system it has")
    if kind in FAT:
        return ok(
            "stick", "FAT32: a file has at most 4 GiB, so relay send splits a larger bundle into volumes by itself"
        )
    return ok("stick", f"file system {kind}")


def _writing(folder: Path) -> Finding:
    """Write to it, as relay send will."""
    try:
        with writing_to(folder):
            free, speed = shutil.disk_usage(folder).free / 1e9, machine.write_speed(folder)
    except UserError as error:
        return fault("stick", "it can't be used: {error}", error.advice(), error=error)
    text = f"{free:.1f} GB free, written at {speed:.0f} MB/s"
    if free < LEAST_SPACE:
        return warning(
            "stick", f"{text}; a bundle with experts may need {LEAST_SPACE:g} GB", "Delete what you don't need from it."
        )
    if speed < 1:
        return warning("stick", f"{text}; sending will take long", "Use another stick, or another socket.")
    return ok("stick", text)
