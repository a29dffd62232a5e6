"""The manifest of a kit: the size and SHA-256 of every file, and who signed it."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.config import fault
from relay.errors import UserError, some
from relay.files import read_bytes, write_bytes
from relay.kit import verify_kit
from relay.trust import BadDocument, BadSignature, DigestMismatch, Identity, Incomplete, Keys, Signed, canonical, parse

KIND = verify_kit.KIND
LARGEST = 4 * 2**30 - 1
"""Bytes that a file on FAT32 can have."""
LONGEST = 200
"""Characters of a path inside a kit: Windows admits 260 for the whole."""
BUILD = "Install nothing from it. Copy the kit again from where it was built, or build it again."
ANOTHER = "Give a new folder. Carry only what changed since an earlier kit with: relay kit update"


def check_empty(folder: Path, cure: str = ANOTHER) -> None:
    """Check that a folder is new or empty: nothing that is there already may become part of a kit.

    Args:
        cure: what to do if it is not.

    Raises:
        UserError: it is not.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty", cure)


def written(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest of what is in a folder; return it.

    Args:
        about: what else it says: versions and systems.

    Raises:
        UserError: a file can't be on a FAT32 stick.
    """
    names = verify_kit.unlisted(folder, {})
    files = {name: {"bytes": (folder / name).stat().st_size} for name in names}
    check_portable({name: entry["bytes"] for name, entry in files.items()})
    content = {
        "kind": "relay kit",
        "format": 1,
        **about,
        "files": {name: {**entry, "sha256": verify_kit.sha256(folder / name)} for name, entry in files.items()},
    }
    write_bytes(folder / verify_kit.MANIFEST, canonical(content))
    open_to_all(folder)
    return content


def open_to_all(folder: Path) -> None:
    """Let everyone with the stick read a kit: what commands write is private, and its user has another id elsewhere."""
    if os.name == "posix":
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def check_portable(sizes: dict[str, int]) -> None:
    """Check that files can be on a FAT32 stick, and be read by every system.

    Args:
        sizes: the bytes of each file, by its path.

    Raises:
        UserError: some can't, with the reason for each.
    """
    times = Counter(name.lower() for name in sizes)
    wrong = []
    for name, size in sizes.items():
        if size > LARGEST:
            wrong.append(f"{name} has {size / 1e9:.1f} GB; files on FAT32 have at most 4.3 GB")
        elif len(name) > LONGEST:
            wrong.append(f"{name} is a path of more than {LONGEST} characters")
        elif times[name.lower()] > 1:
            wrong.append(f"{name} differs from another name only in upper and lower case")
        elif why := next(filter(None, map(fault, name.split("/"))), None):
            wrong.append(f"a name in {name} {why}")
    if wrong:
        raise UserError(
            "these files can't be on every stick:\n  " + some(wrong, between="\n  "),
            "Leave them out or rename them. A torch larger than that needs a smaller accelerator build.",
        )


def sign(folder: Path, keys: Keys) -> None:
    """Sign the manifest of a kit, and put the public keys beside it."""
    write_bytes(folder / verify_kit.SIGNATURE, keys.sign(read_bytes(folder / verify_kit.MANIFEST), KIND))
    write_bytes(folder / verify_kit.SIGNER, canonical(keys.identity))
    open_to_all(folder)


@dataclass(frozen=True)
class Opened:
    """A verified kit: what its manifest says, who signed it (None: nobody), and the files that are not part of it."""

    content: dict[str, Any]
    signer: Identity | None
    unlisted: tuple[str, ...]


def opened(folder: Path) -> Opened:
    """Verify a kit: every file, and the signature if there is one. Whose it is, the caller must judge.

    Raises:
        UserError: there is no kit in the folder.
        Refused: something is missing, changed, or wrongly signed.
    """
    path = folder / verify_kit.MANIFEST
    if not path.is_file():
        raise UserError(f"there is no kit in {folder}: it has no {path.name}", "Name the folder of the kit itself.")
    try:
        content = verify_kit.read_manifest(path)
    except verify_kit.BadKit as error:
        raise BadDocument(str(error), BUILD) from error
    signer = _signer(folder)
    extra = verify_kit.unlisted(folder, content["files"])
    scripts = [f"not in the manifest: {name}" for name in extra if verify_kit.is_script(name)]
    wrong = verify_kit.problems(folder, content["files"]) + scripts
    if wrong:
        missing = all(line.startswith("missing") for line in wrong)
        told = f"{len(wrong)} file(s) of the kit in {folder} are not as they were: {some(wrong, between='; ')}"
        cure = "Install nothing from it. Delete what is not in the manifest, and copy the rest again."
        raise Incomplete(told, cure) if missing else DigestMismatch(told, cure)
    return Opened(content, signer, tuple(extra))


def _signer(folder: Path) -> Identity | None:
    """Who signed a kit; None if nobody did.

    Raises:
        BadSignature: the signature is not of this manifest, or not by the keys beside it.
    """
    paths = [folder / name for name in (verify_kit.SIGNATURE, verify_kit.SIGNER)]
    if not any(path.exists() for path in paths):
        return None
    if not all(path.is_file() for path in paths):
        gone = next(path.name for path in paths if not path.is_file())
        raise Incomplete(f"the kit in {folder} is signed, but {gone} is missing", BUILD)
    signature, signer = (read_bytes(path) for path in paths)
    identity = parse(Identity, signer, verify_kit.SIGNER)
    if Signed(signature, KIND, "the kit's manifest").verify(identity.signing) != read_bytes(
        folder / verify_kit.MANIFEST
    ):
        raise BadSignature("the signature is of another manifest than the one in this kit", BUILD)
    return identity
