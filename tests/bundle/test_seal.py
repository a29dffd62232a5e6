"""The seal: whoever it is for can open it, nobody else, and nothing changed or cut gets through."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings, strategies as st

from relay.bundle.seal import HEADER, MAGIC, Seal, is_sealed, seal, seal_of, sealed_size, unseal
from relay.errors import RelayError, UserError
from relay.trust.refusals import BadContainer, CannotOpen, DigestMismatch, Incomplete, Refused

MINE, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
PLAIN = bytes(range(256)) * 1024  # four of age's 64 KiB pieces


def sealed(plain: bytes, *identities: pyrage.x25519.Identity) -> bytes:
    seal(io.BytesIO(plain), target := io.BytesIO(), [str(i.to_public()) for i in identities or (MINE,)])
    return target.getvalue()


def opened(data: bytes, identity: pyrage.x25519.Identity = MINE, limit: int | None = None) -> bytes:
    count = unseal(io.BytesIO(data), target := io.BytesIO(), str(identity), limit)
    assert count == len(target.getvalue())
    return target.getvalue()


SEALED = sealed(PLAIN)


@pytest.mark.parametrize("size", [0, 1, 2**16 - 1, 2**16, 2**16 + 1, 3 * 2**20 + 7])
def test_round_trip(size: int) -> None:
    plain = os.urandom(size)
    data = sealed(plain, MINE, OTHER)
    assert opened(data) == opened(data, OTHER) == plain
    assert is_sealed(data[: len(MAGIC)])
    assert not is_sealed(plain)
    assert 0 <= sealed_size(size, 2) - len(data) <= 1200


def test_the_estimate_holds_for_many() -> None:
    assert 0 <= sealed_size(3, 50) - len(sealed(b"abc", *[MINE] * 50)) < 2048  # age adds a stanza of random length


def test_age_opens_it_and_is_opened(tmp_path: Path) -> None:
    if not shutil.which("age"):
        pytest.skip("age is not on this machine")
    (tmp_path / "key").write_text(f"{MINE}\n")
    (tmp_path / "ours.age").write_bytes(SEALED)
    command = ["age", "-d", "-i", tmp_path / "key", tmp_path / "ours.age"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == PLAIN
    command = ["age", "-r", str(MINE.to_public())]
    assert opened(subprocess.run(command, input=PLAIN, capture_output=True, check=True).stdout) == PLAIN


def test_it_is_not_for_everybody() -> None:
    with pytest.raises(CannotOpen, match="not to this site's key"):
        opened(SEALED, OTHER)
    with pytest.raises(CannotOpen):
        opened(pyrage.passphrase.encrypt(PLAIN[:1000], "passphrase"))


@pytest.mark.parametrize("count", [0, 5, 21, 22, 60, 150, 199])
def test_cut_in_the_header(count: int) -> None:
    with pytest.raises(Incomplete):
        opened(SEALED[:count])


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 2**16, 2**16 + 16, 3 * (2**16 + 16), 4 * (2**16 + 16) - 1])
def test_cut_in_the_data(cut: int) -> None:
    with pytest.raises(Incomplete, match="near its end"):
        opened(SEALED[:-cut])


def test_changed_in_the_middle() -> None:
    at = len(SEALED) - 2 * (2**16 + 16)
    with pytest.raises(DigestMismatch, match="was changed or damaged"):
        opened(SEALED[:at] + bytes([SEALED[at] ^ 1]) + SEALED[at + 1 :])


def test_continued_after_its_end() -> None:
    with pytest.raises(Refused):
        opened(SEALED + b"\0")
    with pytest.raises(Refused):
        opened(SEALED + SEALED)


@given(st.integers(0, 999), st.integers(1, 255))
@settings(max_examples=200)
def test_any_changed_byte_is_refused(at: int, change: int) -> None:
    small = sealed(b"x" * 900)
    at %= len(small)
    with pytest.raises(Refused):
        opened(small[:at] + bytes([small[at] ^ change]) + small[at + 1 :])


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, MAGIC + noise, SEALED[: SEALED.index(b"\n---")] + noise):
        with pytest.raises(Refused):
            opened(data)


def test_other_forms_of_age_are_refused() -> None:
    for armored in (b"-----BEGIN AGE ENCRYPTED FILE-----\n", MAGIC.replace(b"v1", b"v2")):
        with pytest.raises(BadContainer, match="not sealed in age format"):
            opened(armored + SEALED)


def test_a_header_without_end_is_not_read() -> None:
    source = io.BytesIO(MAGIC + b"-> X25519 a\n" * 10**6)
    with pytest.raises(BadContainer, match=f"exceeds the limit of {HEADER} bytes"):
        unseal(source, io.BytesIO(), str(MINE))
    assert source.tell() <= 2 * 2**20


def test_no_more_comes_out_than_allowed() -> None:
    assert opened(SEALED, limit=len(PLAIN)) == PLAIN
    with pytest.raises(BadContainer, match=f"exceeds the limit of {len(PLAIN) - 1} bytes"):
        opened(SEALED, limit=len(PLAIN) - 1)
    large, target = sealed(bytes(5 * 2**20)), io.BytesIO()
    with pytest.raises(BadContainer):
        unseal(io.BytesIO(large), target, str(MINE), 2**20)
    assert len(target.getvalue()) <= 2**20


def test_wrong_keys_are_errors() -> None:
    with pytest.raises(UserError, match="age1nonsense: not all of these are age public keys"):
        seal(io.BytesIO(), io.BytesIO(), ["age1nonsense"])
    with pytest.raises(UserError, match="no recipients to seal"):
        seal(io.BytesIO(), io.BytesIO(), [])
    with pytest.raises(UserError, match="not an age key") as caught:
        unseal(io.BytesIO(SEALED), io.BytesIO(), "AGE-SECRET-KEY-1SECRET")
    assert "SECRET" not in str(caught.value)


class Breaking(io.BytesIO):
    """A stream that fails after some calls."""

    def __init__(self, data: bytes, error: BaseException, good: int) -> None:
        super().__init__(data)
        self.error, self.good = error, good
        self.late: list[bytes] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self._count()
        return super().read(size)

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.late.append(data)
        self._count()
        return super().write(data)

    def _count(self) -> None:
        self.good -= 1
        if self.good < 0:
            raise self.error


class Odd(RelayError):
    pass


@pytest.mark.parametrize("good", [0, 1])
@pytest.mark.parametrize("error", [Odd("mine"), KeyboardInterrupt(), ValueError("x")])
def test_errors_of_streams_come_back_as_they_are(error: BaseException, good: int) -> None:
    plain = bytes(5 * 2**20)
    data = sealed(plain)
    for source, target in (
        (Breaking(plain, error, good), io.BytesIO()),
        (io.BytesIO(plain), Breaking(b"", error, good)),
    ):
        with pytest.raises(type(error)) as caught:
            seal(source, target, [str(MINE.to_public())])
        assert caught.value is error
        assert len(getattr(target, "late", [])) <= 2
    for source, target in ((Breaking(data, error, good), io.BytesIO()), (io.BytesIO(data), Breaking(b"", error, good))):
        with pytest.raises(type(error)) as caught:
            unseal(source, target, str(MINE))
        assert caught.value is error


def test_a_stick_that_goes_away_and_a_full_disk_are_told() -> None:
    data = sealed(bytes(5 * 2**20))
    with pytest.raises(Incomplete, match="can't be read to its end: Input/output error"):
        unseal(Breaking(data, OSError(errno.EIO, os.strerror(errno.EIO)), 2), io.BytesIO(), str(MINE))
    with pytest.raises(UserError, match="can't write the bundle: No space left"):
        unseal(io.BytesIO(data), Breaking(b"", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2), str(MINE))


def stanza(kind: str) -> bytes:
    return f"-> {kind} {'A' * 43}\n{'A' * 43}\n".encode()


@pytest.mark.parametrize("many", [1, 2, 7])
def test_the_header_says_how_many_can_open_it(many: int) -> None:
    """Whatever age writes beside them to be passed over."""
    for _ in range(5):
        assert seal_of(sealed(b"x", *[MINE] * many)[:HEADER]) == Seal(many)


def test_other_ways_to_open_it_are_named() -> None:
    first, rest = SEALED.split(b"\n", 1)
    for kind in ("ssh-ed25519", "piv-p256", "X25519x", "mlkem768x25519", "grease"):
        assert seal_of(first + b"\n" + stanza(kind) + rest) == Seal(1, (kind,))
    assert seal_of(first + b"\n" + stanza("X25519") + stanza("a-grease") + rest) == Seal(2)
    assert seal_of(pyrage.passphrase.encrypt(b"x", "secret")) == Seal(0, ("scrypt",))
    assert seal_of(first + b"\n" + stanza("\x1b[2J") + rest).others[0].isprintable()
    assert str(seal_of(first + b"\n" + stanza("b") + rest)) == "1 recipient(s) and 1 other key(s) (b)"
