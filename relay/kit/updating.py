"""Carry only what changed from one kit to the next."""

from __future__ import annotations

import shutil
from pathlib import Path

from relay.errors import UserError
from relay.kit import verify_kit
from relay.kit.building import PROGRAMS
from relay.kit.manifest import check_empty, open_to_all, opened
from relay.trust import BadDocument


def update(kit: Path, against: Path, folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Copy what an earlier kit does not have, into a new or empty folder; beside it, what every kit begins with: its
    programs, its manifest and the signature.

    Args:
        kit: the new kit, which is verified first.
        against: the manifest of the earlier kit.

    Returns:
        The files that are new or changed, those that were copied beside them, and those of the earlier kit that are no
        longer part of it.

    Raises:
        UserError: the folder has files, there is no kit or no file ``against``, or the changes need more space than is
            free.
        Refused: the new kit is damaged, or ``against`` is not a manifest.
    """
    check_empty(folder, "Give a new folder.")
    if not against.is_file():
        raise UserError(
            f"there is no file {against}", f"Name the {verify_kit.MANIFEST} of the earlier kit (--against)."
        )
    try:
        before = verify_kit.read_manifest(against)["files"]
    except verify_kit.BadKit as error:
        raise BadDocument(str(error), f"Name the {verify_kit.MANIFEST} of the earlier kit (--against).") from error
    now = opened(kit).content["files"]
    new = [name for name, entry in now.items() if before.get(name) != entry]
    always = (*PROGRAMS, verify_kit.MANIFEST, verify_kit.SIGNATURE, verify_kit.SIGNER)
    beside = [name for name in always if name not in new and (kit / name).exists()]
    _make_room(folder, sum((kit / name).stat().st_size for name in (*new, *beside)))
    for name in (*new, *beside):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kit / name, folder / name)
    open_to_all(folder)
    return new, beside, sorted(set(before) - set(now))


def _make_room(folder: Path, need: int) -> None:
    """Check, before anything is copied, that a disk has space."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if need > free:
        raise UserError(
            f"the changes need {need / 1e6:,.1f} MB; {place} has {free / 1e6:,.1f} MB free",
            "Delete what you don't need there, or use a larger stick. Then run the command again.",
        )
