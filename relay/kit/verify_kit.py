"""Verify a kit of relay, before anything from it is installed.

    python -I verify_kit.py [FOLDER]

It needs Python's standard library and nothing else, reads only, and ends with 0 if the kit is complete and unchanged,
with 3 if not. It prints fingerprints of 12 words: its own, that of the manifest, which lists the SHA-256 of every file,
and, of a signed kit, that of the keys that signed the manifest. Compare them by voice with those that were printed when
the kit was built. The signature proves that the holder of these keys made this kit; the words tell you who that is.

A changed verifier could print any words. So check this file first with a program that did not come on the stick, and
compare what that prints with the digest that was printed when the kit was built:

    sha256sum verify_kit.py                     (Linux)
    shasum -a 256 verify_kit.py                 (macOS)
    certutil -hashfile verify_kit.py SHA256     (Windows)
"""

from __future__ import annotations

import base64
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
USAGE, REFUSED = 2, 3
"""Exit codes. Asking for help is no verification, so it does not end with 0."""
KIND = "application/vnd.relay.kit+json"
P, Q = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
"""Of Ed25519: the prime of its field, and the order of its group."""
D = -121665 * pow(121666, P - 2, P) % P
BASE = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)
"""Of Ed25519: the constant of its curve -x² + y² = 1 + Dx²y², and the point that everything is a multiple of."""
Point = tuple[int, int, int, int]  # (X, Y, Z, T), with x = X/Z, y = Y/Z and xy = T/Z


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
        files, said = content["files"], [content["relay"], content["python"], content["accelerator"]]
        right = content["kind"] == "relay kit" and content["format"] == 1 and all(map(_is_entry, files.values()))
        right = right and all(isinstance(word, str) for word in said + content["platforms"])
    except OSError as error:
        raise BadKit(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadKit(f"{path} can't be read as the manifest of a kit") from error
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


def add(a: Point, b: Point) -> Point:
    """The sum of two points of Ed25519's curve (RFC 8032, section 5.1.4)."""
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    left, right = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    both, twice = 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    e, f, g, h = right - left, twice - both, twice + both, right + left
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(number: int, point: Point) -> Point:
    """A multiple of a point. Nothing here is secret, so it need not take the same time for every number."""
    total: Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add(total, point)
        point, number = add(point, point), number >> 1
    return total


def point_of(data: bytes) -> Point:
    """The point that 32 bytes stand for (RFC 8032, section 5.1.3).

    Raises:
        ValueError: they stand for none.
    """
    number = int.from_bytes(data, "little")
    y, odd = number & (2**255 - 1), number >> 255
    squared = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(squared, (P + 3) // 8, P)
    if (x * x - squared) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if len(data) != 32 or y >= P or (x * x - squared) % P or (x == 0 and odd):
        raise ValueError("not a point of Ed25519")
    x = P - x if x & 1 != odd else x
    return (x, y, 1, x * y % P)


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a message was signed with a key: Ed25519 (RFC 8032, section 5.1.7)."""
    try:
        public, r = point_of(key), point_of(signature[:32])
    except ValueError:
        return False
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= Q or times(8, public)[0] == 0:  # a key of small order would sign anything
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % Q
    left, right = times(s, (*BASE, 1, BASE[0] * BASE[1] % P)), add(r, times(h, public))
    return not any((left[at] * right[2] - right[at] * left[2]) % P for at in (0, 1))


def signer_of(folder: Path) -> tuple[str, str] | None:
    """The name and the fingerprint (SHA-256, in hex) of who signed the manifest; None if nobody did.

    Raises:
        BadKit: it is not signed with the keys beside it, or one of the two files is missing or damaged.
    """
    paths = [folder / name for name in (SIGNATURE, SIGNER)]
    if not any(path.exists() for path in paths):
        return None
    try:
        envelope, signer = (json.loads(path.read_bytes()) for path in paths)
        (one,) = envelope["signatures"]
        payload, signature = (base64.b64decode(text, validate=True) for text in (envelope["payload"], one["sig"]))
        name, key, sealing = str(signer["name"]), bytes.fromhex(signer["signing"]), signer["sealing"].encode()
        keyid, kind = one["keyid"], envelope["payloadType"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadKit(f"the kit is signed, but {SIGNATURE} or {SIGNER} is missing or damaged") from error
    if kind != KIND or payload != (folder / MANIFEST).read_bytes():
        raise BadKit(f"the signature is of something else than {MANIFEST}")
    parts = (b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(payload)).encode(), payload)
    if keyid != key.hex() or not is_signed(key, b" ".join(parts), signature):
        raise BadKit(f"{MANIFEST} was not signed with the keys in {SIGNER}")
    printable = "".join(letter if letter.isprintable() else "?" for letter in name[:40])
    return printable, hashlib.sha256(b"relay identity v1\0" + key + sealing).hexdigest()


def main(words: list[str]) -> int:
    """The command; returns its exit code."""
    if len(words) > 1 or "".join(words).startswith("-"):
        print(__doc__)
        return USAGE
    folder = Path(words[0]) if words else Path(__file__).resolve().parent
    try:
        manifest, signer = read_manifest(folder / MANIFEST), signer_of(folder)
    except BadKit as error:
        print(f"refused: {error}\nwhat to do: install nothing from it. Name the kit's folder, or copy the kit again.")
        return REFUSED
    for what, path in (("this verifier", Path(__file__)), ("the manifest ", folder / MANIFEST)):
        digest = sha256(path)
        print(f"{what}: {in_words(folder, digest)}\n  SHA-256 {digest}")
    print(f"signed by {signer[0]}: {in_words(folder, signer[1])}" if signer else "It is not signed.")
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
    print("Compare the words of every fingerprint with those that were printed when the kit was built.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
