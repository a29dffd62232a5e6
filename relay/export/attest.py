"""The statement of an export: an in-toto Statement v1 about all of its files, with its lineage as the predicate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay.bundle import measure
from relay.errors import VerificationError
from relay.files import read_bytes, write_bytes
from relay.trust import Identity, Keys, Refused, Signed, canonical, read, shaped, statement

PREDICATE_TYPE = "urn:relay-learning:export:v1"
STATEMENT = "statement.json"
AGAIN = "Don't use it. Get the export again from its site, or export the model again."
CACHED = (
    "Running a script leaves such files, but no one signed them: delete each folder __pycache__, then verify again."
)


def write(folder: Path, lineage: Mapping[str, Any], keys: Keys | None) -> None:
    """Write the statement about all files in a folder, signed if there are keys."""
    subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in files_in(folder).items()]
    signer = None if keys is None else dataclasses.asdict(keys.identity)
    payload = canonical(
        {
            "_type": statement.STATEMENT_TYPE,
            "subject": subjects,
            "predicateType": PREDICATE_TYPE,
            "predicate": {**lineage, "signer": signer},
        }
    )
    write_bytes(folder / STATEMENT, payload if keys is None else keys.sign(payload, statement.KIND))


def files_in(folder: Path) -> dict[str, str]:
    """The digest of each file, by its path, also of bytecode: Python would run that in place of a script. What is no
    file has none, such as a link to a folder: Python would import from that, too."""
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: measure(path).sha256 if path.is_file() else "" for name, path in names.items() if name != STATEMENT}


def verify(folder: Path) -> tuple[dict[str, Any], Identity | None]:
    """What the statement in a folder says, after comparing every file with it, and who signed it; None: nobody.

    Who signed is who the statement says: compare the fingerprint with the site by voice.

    Raises:
        VerificationError: there is no statement, it is damaged or its signature wrong, or a file is missing, is new or
            differs.
    """
    try:
        data = read_bytes(folder / STATEMENT)
    except OSError as error:
        raise VerificationError(f"{folder / STATEMENT} can't be read: {error.strerror}", AGAIN) from error
    try:
        content, identity = _opened(data, str(folder / STATEMENT))
        said = {each["name"]: each["digest"]["sha256"] for each in content["subject"]}
        predicate: dict[str, Any] = content["predicate"]
    except (Refused, KeyError, TypeError) as error:
        raise VerificationError(f"{folder / STATEMENT} is not the statement of an export: {error}", AGAIN) from error
    there = files_in(folder)
    wrong = sorted(name for name in said.keys() | there.keys() if said.get(name) != there.get(name))
    if wrong:
        what = "missing" if wrong[0] not in there else "new" if wrong[0] not in said else "not what was exported"
        cached = what == "new" and all("__pycache__" in name.split("/") for name in wrong)
        more = f" (and {len(wrong) - 1} more)" * (len(wrong) > 1)
        raise VerificationError(f"{folder / wrong[0]} is {what}{more}", CACHED if cached else AGAIN)
    return predicate, identity


def _opened(data: bytes, what: str) -> tuple[Any, Identity | None]:
    """The content of a statement and who signed it, if anyone."""
    content = read(data, what)
    if content["_type" if "_type" in content else "payloadType"] == statement.STATEMENT_TYPE:
        if content["predicate"]["signer"] is not None:  # a signature that someone took off
            raise KeyError("it names a signer but has no signature")
        return content, None
    signed = Signed(data, statement.KIND, what)
    inside = read(signed.unverified, what)
    identity = shaped(Identity, inside["predicate"]["signer"], what)
    signed.verify(identity.signing)
    return inside, identity
