"""Verify a kit of relay, before anything from it is installed.

    python -I verify_kit.py [FOLDER]

It needs Python's standard library and nothing else, reads only, and ends with 0 if the kit is complete and unchanged,
with 3 if not. It prints two fingerprints of 12 words: its own, and that of the manifest, which lists the SHA-256 of
every file. Compare both by voice with those that were printed when the kit was built.

A changed verifier could print any words. So check this file first with a program that did not come on the stick, and
compare what that prints with the digest that was printed when the kit was built:

    sha256sum verify_kit.py                     (Linux)
    shasum -a 256 verify_kit.py                 (macOS)
    certutil -hashfile verify_kit.py SHA256     (Windows)
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

MANIFEST, SIGNATURE, SIGNER, WORDS = "MANIFEST.json", "MANIFEST.dsse.json", "SIGNER.json", "words.txt"
LIST_SHA256 = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
"""Of BIP39's English word list."""
SCRIPTS = (".bat", ".cmd", ".exe", ".ps1", ".pth", ".py", ".pyc", ".sh")
"""What somebody could run by mistake. Other files that are not listed are never used, and only named."""
CHUNK = 2**20
REFUSED = 3


class BadKit(Exception):
    """The manifest is missing, or is not one."""


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def read_manifest(path: Path) -> dict:  # type: ignore[type-arg]
    """What a manifest says: ``files`` has the ``bytes`` and the ``sha256`` of each file, by its path in the kit.

    Raises:
        BadKit: it can't be read, is not a kit's manifest, or names a file outside the kit.
    """
    try:
        content = json.loads(path.read_bytes())
        files = content["files"]
        right = content["kind"] == "relay kit" and content["format"] == 1 and all(map(_is_entry, files.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadKit(f"{path} can't be read as the manifest of a kit: {error!r}") from error
    if not right:
        raise BadKit(f"{path} is not the manifest of a kit that this program can verify")
    if outside := [name for name in files if not is_inside(name)]:
        raise BadKit(f"{path} names a file outside the kit: {outside[0]!r}")
    return content  # type: ignore[no-any-return]


def _is_entry(entry: dict) -> bool:  # type: ignore[type-arg]
    return isinstance(entry["sha256"], str) and isinstance(entry["bytes"], int)


def is_inside(name: str) -> bool:
    """Whether a path leads to a file in the kit, on every system."""
    return not any(part in ("", ".", "..") for part in name.split("/")) and not set(name) & set('\\:*?"<>|')


def problems(folder: Path, files: dict) -> list[str]:  # type: ignore[type-arg]
    """What is missing or changed, one line for each file."""
    found = []
    for name, entry in sorted(files.items()):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            found.append(f"missing: {name}")
        elif path.stat().st_size != entry["bytes"]:
            found.append(f"changed: {name} has {path.stat().st_size} bytes instead of {entry['bytes']}")
        elif sha256(path) != entry["sha256"]:
            found.append(f"changed: {name} has another SHA-256")
    return found


def unlisted(folder: Path, files: dict) -> list[str]:  # type: ignore[type-arg]
    """What is in the folder, but not in the manifest."""
    known = {*files, MANIFEST, SIGNATURE, SIGNER}
    there = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted({path.relative_to(folder).as_posix() for path in there} - known)


def is_script(name: str) -> bool:
    """Whether somebody could run a file by mistake; unlisted, such a file is refused."""
    return name.lower().endswith(SCRIPTS)


def in_words(folder: Path, digest: str) -> str:
    """The first 128 bits of a digest as 12 words (BIP39); in groups of hex digits if the list of words is not there."""
    try:
        data = (folder / WORDS).read_bytes()
    except OSError:
        data = b""
    entropy = bytes.fromhex(digest)[:16]
    if hashlib.sha256(data).hexdigest() != LIST_SHA256:
        return " ".join(digest[at : at + 4] for at in range(0, 32, 4))
    book = data.decode().split()
    bits = (int.from_bytes(entropy, "big") << 4) | (hashlib.sha256(entropy).digest()[0] >> 4)
    return " ".join(book[bits >> 11 * place & 2047] for place in reversed(range(12)))


def main(words: list[str]) -> int:
    """The command; returns its exit code."""
    folder = Path(words[0]) if words else Path(__file__).resolve().parent
    try:
        manifest = read_manifest(folder / MANIFEST)
    except BadKit as error:
        print(f"refused: {error}\nwhat to do: name the kit's folder, or copy the kit again.")
        return REFUSED
    for what, path in (("this verifier", Path(__file__)), ("the manifest ", folder / MANIFEST)):
        digest = sha256(path)
        print(f"{what}: {in_words(folder, digest)}\n  SHA-256 {digest}")
    files = manifest["files"]
    extra = unlisted(folder, files)
    wrong = problems(folder, files) + [f"not in the manifest: {name}" for name in extra if is_script(name)]
    for line in wrong[:20]:
        print(f"  {line}")
    if wrong:
        print(f"refused: {len(wrong)} file(s) are not as they were when the kit was built")
        print("what to do: install nothing from it. Delete what is not in the manifest, and copy the rest again.")
        return REFUSED
    if extra:
        print(f"{len(extra)} file(s) are not part of this kit and are not used, for example {extra[0]}")
    print(f"complete and unchanged: {len(files)} files, {sum(e['bytes'] for e in files.values()) / 1e6:,.0f} MB")
    print("Compare the words of both fingerprints with those that were printed when the kit was built.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
