"""What is in a bundle is what was signed for, and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from relay.bundle import manifest
from relay.bundle.manifest import (
    CONFIG,
    CUMULATIVE,
    DATA_CARD,
    HANDOVER,
    MANIFEST,
    MODEL,
    MODEL_CARD,
    RESULTS,
    STATEMENT,
)
from relay.trust.document import canonical, digest
from relay.trust.refusals import BadContainer, BadDocument, DigestMismatch, Incomplete, PolicyBreach, Refused
from tests.relays import At, Parts, packed, taken_apart, unsealed

FILES = [MODEL_CARD, HANDOVER, CONFIG, DATA_CARD, RESULTS, *manifest.KEPT, MODEL]
MAY_BE_ABSENT = [[*manifest.KEPT], [manifest.EXPERT]]


@pytest.mark.parametrize("name", [*FILES, manifest.EXPERT])
def test_no_file_can_be_exchanged(name: str, at: At) -> None:
    world = at(1)
    with world.forged(1) as parts:
        parts.files[name] = canonical({"other": 1})
    world.refuses(parts.bundle, "south", DigestMismatch, name)


@pytest.mark.parametrize("name", [STATEMENT, MANIFEST, "rosters/0001.dsse.json", *FILES])
@pytest.mark.parametrize("signer", [None, "north"])
def test_none_can_be_left_out(name: str, signer: str | None, at: At) -> None:
    world = at(1)
    with world.forged(1, signer=None if name in (STATEMENT, MANIFEST) else signer) as parts:
        del parts.files[name]
    world.refuses(parts.bundle, "south", BadContainer, "no roster" if "roster" in name else name)


@pytest.mark.parametrize("names", MAY_BE_ABSENT)
@pytest.mark.parametrize("signer", [None, "north"])
def test_what_was_signed_for_can_not_be_left_out(signer: str | None, names: list[str], at: At) -> None:
    """It may be absent; but then nobody must have signed for it."""
    world = at(1)
    with world.forged(1, signer=signer) as parts:
        for name in names:
            del parts.files[name]
    world.refuses(parts.bundle, "south", PolicyBreach if signer else BadContainer, names[-1])


@pytest.mark.parametrize(
    "name",
    [
        "model.ckpt",
        "optimizer.safetensors",
        "images/0001.png",
        "setup.py",
        "relay.pth",
        "model.pkl",
        "__init__.py",
        "chain/0001/model.safetensors",
        "chain/0000/results.json",
        "chain/9999/results.json",
        "rosters/0000.dsse.json",
        "rosters/01.dsse.json",
        "STATEMENT.DSSE.JSON2",
        "memory.safetensors.001",
        "chain/0001/memory.json",
        "chain/0001/expert.safetensors",
        "expert.json",
        CUMULATIVE,
    ],
)
def test_none_can_be_added(name: str, at: At) -> None:
    """Not even by a site that signs for it."""
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.files[name] = b"x"
    world.refuses(parts.bundle, "south", BadContainer, "entries")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../../etc/passwd", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:/autoexec.bat", "absolute"),
        ("a\\b", "backslash"),
        ("x/", "folder"),
        ("$(touch pwned)", "letters"),
        ("-rf", "letters"),
        (".bashrc", "letters"),
        ("caf\u00e9.json", "letters"),
        ("a\x1b[2J", "letters"),
        ("MODEL.safetensors", "twice"),
    ],
)
def test_names(name: str, says: str, at: At) -> None:
    """Bytes of a name exchanged in the container itself, headers and directory."""
    world = at(1)
    bare = unsealed(world.bundle(1).read_bytes(), world.keys["south"])
    old = next(n for n in taken_apart(bare) if len(n) == 19).encode()
    new = name.encode()
    new = new + b"x" * (len(old) - len(new)) if says not in ("folder", "twice") else new
    bare = renamed(bare, old, new)
    world.refuses(world.reseal(bare, "south"), "south", BadContainer, says)


def renamed(bare: bytes, old: bytes, new: bytes) -> bytes:
    """An entry under another name, in both of its headers, with lengths that fit."""
    for mark, at, fixed in ((b"PK\3\4", 26, 30), (b"PK\1\2", 28, 46)):
        place = bare.index(mark, max(0, bare.index(old) - fixed) if mark == b"PK\3\4" else bare.rindex(old) - fixed)
        head = bytearray(bare[place : place + fixed])
        head[at : at + 2] = struct.pack("<H", len(new))
        bare = bare[:place] + bytes(head) + new + bare[place + fixed + len(old) :]
    return bare


@pytest.mark.parametrize(
    ("trick", "why"),
    [
        (lambda b: b"\0" + b, BadContainer),
        (lambda b: b + b"\0", BadContainer),
        (lambda b: b + b, BadContainer),
        (lambda b: b"", Incomplete),
        (lambda b: b"PK", Incomplete),
        (lambda b: b[:-1], Incomplete),
        (lambda b: b[: len(b) // 2], Incomplete),
        (lambda b: b.replace(b"PK\5\6", b"PK\5\7"), BadContainer),
        (lambda b: b.replace(b"PK\1\2", b"PK\1\3", 1), BadContainer),
        (lambda b: b[:8] + b"\x08\0" + b[10:], BadContainer),
        (lambda b: b[:6] + b"\x01\0" + b[8:], BadContainer),
        (lambda b: b[:6] + b"\x08\0" + b[8:], BadContainer),
        (lambda b: b[:22] + b"\xff\xff\xff\x7f" + b[26:], BadContainer),
        (lambda b: b[:18] + b"\xff\xff\xff\x7f" * 2 + b[26:], Incomplete),
        (lambda b: packed(dict(reversed(taken_apart(b).items()))), BadContainer),
        (lambda b: packed({**taken_apart(b), MODEL: b""}), DigestMismatch),
        (lambda b: b"age-encryption.org/v2\n" + b, BadContainer),
        (lambda b: b"\x1f\x8b\x08" + b, BadContainer),
        (lambda b: b"\x80\x04\x95", Incomplete),
        (lambda b: b"\x80\x04\x95" * 99, BadContainer),
    ],
)
def test_tricks_with_bytes(trick: Callable[[bytes], bytes], why: type[Refused], at: At) -> None:
    world = at(1)
    bare = trick(unsealed(world.bundle(1).read_bytes(), world.keys["south"]))
    world.refuses(world.reseal(bare, "south"), "south", why)
    world.refuses(world.reseal(bare), "south", why)


def test_a_seal_in_a_seal(at: At) -> None:
    world = at(1)
    world.refuses(world.reseal(world.bundle(1).read_bytes(), "south"), "south", BadContainer)


@pytest.mark.parametrize(
    ("change", "why", "says"),
    [
        (lambda lines: lines[::-1], BadContainer, "where"),
        (lambda lines: lines[:-1], BadContainer, "missing model.safetensors"),
        (lambda lines: [*lines, "0" * 64 + "  more.json"], BadContainer, "extra more.json"),
        (lambda lines: [*lines, lines[0]], BadDocument, "twice"),
        (lambda lines: ["0" * 64 + lines[0][64:], *lines[1:]], DigestMismatch, "rosters/0001"),
        (lambda lines: [lines[0].upper(), *lines[1:]], BadDocument, "line 1"),
        (lambda lines: [lines[0].replace("  ", " *"), *lines[1:]], BadDocument, "line 1"),
        (lambda lines: ["", *lines], BadDocument, "line 1"),
        (lambda lines: ["0" * 64 + "  ../up", *lines], BadDocument, "line 1"),
        (lambda lines: ["\x1b[2J", *lines], BadDocument, "line 1"),
        (lambda lines: [], BadDocument, "manifest"),
    ],
)
def test_manifests(change: Callable[[list[str]], list[str]], why: type[Refused], says: str, at: At) -> None:
    """Signed by north, who can't write another one than the one there is."""
    world = at(1)
    with world.forged(1) as parts:
        lines = parts.files[MANIFEST].decode().splitlines()
        parts.files[MANIFEST] = "".join(f"{line}\n" for line in change(lines)).encode()
        resign(parts, world.keys["north"])
    world.refuses(parts.bundle, "south", why, says)


def test_another_manifest_than_the_one_signed(at: At) -> None:
    world = at(1)
    with world.forged(1) as parts:
        parts.files[MANIFEST] = parts.files[MANIFEST].replace(b"config.json", b"config.yaml")
    world.refuses(parts.bundle, "south", DigestMismatch, "manifest")


@pytest.mark.parametrize(
    "subject",
    [
        [],
        [{"name": MANIFEST, "digest": {"sha256": "0" * 64}}] * 2,
        [{"name": MODEL, "digest": {"sha256": "0" * 64}}],
        [{"name": MANIFEST, "digest": {"sha1": "0" * 40}}],
        [{"name": MANIFEST, "digest": {}}],
        [{"name": MANIFEST}],
        {"name": MANIFEST, "digest": {"sha256": "0" * 64}},
        None,
    ],
)
def test_subjects(subject: object, at: At) -> None:
    world = at(1)
    with world.forged(1) as parts:
        parts.payload["subject"] = subject
        parts.files[STATEMENT] = world.keys["north"].sign(canonical(parts.payload), "application/vnd.in-toto+json")
    world.refuses(parts.bundle, "south", BadDocument, "the statement")


def test_the_config_is_the_one_in_the_claim(at: At) -> None:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.claim["config"] = "0" * 64
    world.refuses(parts.bundle, "south", DigestMismatch, "config.json")


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format":2,"model":{},"data":{}}',
        b'{"a":1,"a":2}',
        b"[NaN]",
        b"\xff",
        b"[" * 10**5,
        b"1e999",
    ],
)
@pytest.mark.parametrize("name", [HANDOVER])
def test_documents_that_are_none(name: str, odd: bytes, at: At) -> None:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.files[name] = odd
    world.refuses(parts.bundle, "south", BadDocument, name)


def test_documents_are_not_boundless(at: At) -> None:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.files["rosters/0002.dsse.json"] = b" " * (4 * 2**20 + 1)
    world.refuses(parts.bundle, "south", BadContainer, "rosters/0002", "4194305")


@pytest.mark.parametrize(("size", "why"), [(2**18, BadDocument), (2**18 + 1, BadContainer)])
@pytest.mark.parametrize("name", [STATEMENT, manifest.earlier(1, STATEMENT)])
def test_statements_are_small(name: str, size: int, why: type[Refused], at: At) -> None:
    """There may be a thousand of them, and they are looked at before anybody is believed."""
    world = at(2)
    with world.forged(2, signer="south" if "chain" in name else None) as parts:
        parts.files[name] = b" " * size
    world.refuses(parts.bundle, "east", why, *([name, str(size)] if why is BadContainer else []))


def resign(parts: Parts, own: object) -> None:
    """A statement about the manifest as it stands."""
    parts.payload["subject"][0]["digest"]["sha256"] = digest(parts.files[MANIFEST])
    parts.files[STATEMENT] = own.sign(canonical(parts.payload), "application/vnd.in-toto+json")  # type: ignore[attr-defined]


def test_the_manifest_lists_what_is_there(at: At) -> None:
    world = at(3)
    files = world.opened(3)
    listed = manifest.parse(files[MANIFEST])
    assert listed == {name: digest(data) for name, data in files.items() if name not in (STATEMENT, MANIFEST)}
    assert list(listed) == list(files)[2:]
