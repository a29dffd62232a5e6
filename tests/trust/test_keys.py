from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import pty
import shutil
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, strategies as st

from relay.errors import UserError
from relay.trust import key_checks, keys, passphrases
from relay.trust.document import canonical, moment, parse
from relay.trust.envelope import Signed
from relay.trust.keys import Identity, Keys
from relay.trust.refusals import BadDocument, ExpiredKey

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
PASSPHRASE = "correct horse"
P = 2**255 - 19


@pytest.fixture
def mine() -> Keys:
    return keys.new("Ljubljana", now=NOW)


@pytest.fixture
def home(mine: Keys, tmp_path: Path) -> Path:
    keys.save(mine, tmp_path / "home", None)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keys, Path]:
    """A home under a passphrase."""
    made, home = keys.new("A", now=NOW), tmp_path_factory.mktemp("sealed") / "home"
    keys.save(made, home, PASSPHRASE)
    return made, home


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# -- identities ------------------------------------------------------------------------------------------------------


def test_new_keys_belong_together(mine: Keys) -> None:
    identity = mine.identity
    assert identity.signing == mine.signing.public_key().public_bytes_raw().hex()
    assert identity.sealing == key_checks.recipient(mine.sealing)
    assert (moment(identity.created), moment(identity.expires)) == (NOW, NOW + timedelta(days=730))
    assert parse(Identity, canonical(identity), "it") == identity


def test_two_are_never_the_same() -> None:
    first, second = keys.new("A").identity, keys.new("A").identity
    assert first.signing != second.signing
    assert first.sealing != second.sealing


@pytest.mark.parametrize("name", ["", "a b", "../a", "a\n", ".", "x" * 41, "Zürich"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="can't be a site's name"):
        keys.new(name)


@pytest.mark.parametrize("years", [0, -1, 0.009, 21, float("inf"), float("nan")])
def test_odd_lives_are_refused(years: float) -> None:
    with pytest.raises(UserError, match=r"choose 0.01 to 20"):
        keys.new("A", years)


def test_fingerprint_of_known_keys_never_changes() -> None:
    identity = Identity(
        name="A",
        signing="03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        sealing="age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
        created="2026-01-01T00:00:00Z",
        expires="2027-01-01T00:00:00Z",
    )
    assert identity.fingerprint == (
        "faint fine donate entire together better champion innocent column found green grain"
    )


def test_fingerprint_covers_both_keys(mine: Keys) -> None:
    other = keys.new("B", now=NOW).identity
    words = {
        mine.identity.fingerprint,
        dataclasses.replace(mine.identity, signing=other.signing).fingerprint,
        dataclasses.replace(mine.identity, sealing=other.sealing).fingerprint,
    }
    assert len(words) == 3
    assert dataclasses.replace(mine.identity, name="B").fingerprint == mine.identity.fingerprint


def test_expired_after_the_last_moment(mine: Keys) -> None:
    last = moment(mine.identity.expires)
    mine.identity.check_alive(last)
    with pytest.raises(ExpiredKey, match=r"Ljubljana expired at 2028-02-29T12:00:00Z"):
        mine.identity.check_alive(last + timedelta(seconds=1))


def test_life_must_not_end_before_it_begins(mine: Keys) -> None:
    with pytest.raises(BadDocument, match="expire at"):
        dataclasses.replace(mine.identity, expires=mine.identity.created)


def test_signs(mine: Keys) -> None:
    assert Signed(mine.sign(b"x", "kind"), "kind", "it").verify(mine.identity.signing) == b"x"


def test_repr_shows_no_secret(mine: Keys) -> None:
    text = repr(mine) + str(mine)
    assert "AGE-SECRET" not in text
    assert mine.signing.private_bytes_raw().hex() not in text


# -- points ----------------------------------------------------------------------------------------------------------


def hexed(y: int, sign: int = 0) -> str:
    return (y | sign << 255).to_bytes(32, "little").hex()


ORDER_8 = [
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
]


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", [0, 1, P - 1, *ORDER_8, P, P + 1])
def test_points_of_small_order_sign_for_nobody(y: int, sign: int) -> None:
    with pytest.raises(BadDocument, match="anyone could sign with"):
        key_checks.check_signing(hexed(y, sign), "it")


@pytest.mark.parametrize("y", [2, P + 3, 2**255 - 1])
def test_what_is_no_point_or_oddly_spelt_is_refused(y: int) -> None:
    with pytest.raises(BadDocument, match="it is not an Ed25519 public key"):
        key_checks.check_signing(hexed(y), "it")


@given(st.binary(min_size=32, max_size=32))
def test_every_honest_signing_key_is_sound(seed: bytes) -> None:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    key_checks.check_signing(public.hex(), "it")


def bech32(raw: bytes, prefix: str = "age") -> str:
    """As BIP173 says it; written here again, so that the reader under test has somebody to disagree with."""
    charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    bits = "".join(f"{byte:08b}" for byte in raw) + "0" * (-8 * len(raw) % 5)
    data = [int(bits[i : i + 5], 2) for i in range(0, len(bits), 5)]
    check = 1
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + data + [0] * 6
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> i & 1 else 0
    data += [(check ^ 1) >> 5 * (5 - i) & 31 for i in range(6)]
    return f"{prefix}1" + "".join(charset[d] for d in data)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_agree_is_x25519_of_the_raw_keys(one: bytes, two: bytes) -> None:
    private = [X25519PrivateKey.from_private_bytes(raw) for raw in (one, two)]
    secret = [bech32(raw, "age-secret-key-").upper() for raw in (one, two)]
    public = [bech32(key.public_key().public_bytes_raw()) for key in private]
    assert [key_checks.recipient(s) for s in secret] == public
    expected = private[0].exchange(private[1].public_key())
    assert key_checks.agree(secret[0], public[1]) == key_checks.agree(secret[1], public[0]) == expected


@pytest.mark.parametrize("u", [0, 1, P - 1])
def test_points_of_small_order_seal_for_nobody(u: int) -> None:
    with pytest.raises(BadDocument, match="anyone could open"):
        key_checks.check_sealing(bech32(u.to_bytes(32, "little")), "it")


@pytest.mark.parametrize("u", [P, P + 9, 9 | 1 << 255])
def test_second_spellings_of_a_sealing_key_are_refused(u: int) -> None:
    with pytest.raises(BadDocument, match="non-standard spelling"):
        key_checks.check_sealing(bech32(u.to_bytes(32, "little")), "it")


@pytest.mark.parametrize("change", [str.upper, lambda s: s[:-1] + ("q" if s[-1] != "q" else "p"), lambda s: s[:-1]])
def test_a_damaged_sealing_key_is_refused(mine: Keys, change: Any) -> None:
    with pytest.raises(BadDocument):
        key_checks.check_sealing(change(mine.identity.sealing), "it")
    content = {**dataclasses.asdict(mine.identity), "sealing": change(mine.identity.sealing)}
    with pytest.raises(BadDocument):
        parse(Identity, canonical(content), "it")


def test_an_unsound_key_never_becomes_an_identity(mine: Keys) -> None:
    content = {**dataclasses.asdict(mine.identity), "signing": hexed(1)}
    with pytest.raises(BadDocument, match="signing key of Ljubljana"):
        parse(Identity, canonical(content), "it")


# -- a home ----------------------------------------------------------------------------------------------------------


def same(one: Keys, two: Keys) -> bool:
    return (one.identity, one.signing.private_bytes_raw(), one.sealing) == (
        two.identity,
        two.signing.private_bytes_raw(),
        two.sealing,
    )


def test_throw_away_home(home: Path, mine: Keys) -> None:
    assert sorted(p.name for p in home.iterdir()) == ["identity.json", "keys.json"]
    assert (mode(home), mode(home / "keys.json")) == (0o700, 0o600)
    assert same(keys.load(home, None), mine)
    assert keys.identity(home) == mine.identity


def test_a_folder_that_is_there_already_is_closed_to_others(mine: Keys, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    keys.save(mine, tmp_path, None)
    assert mode(tmp_path) == 0o700


def test_a_throw_away_home_asks_for_no_passphrase(home: Path, mine: Keys) -> None:
    assert same(keys.load(home, lambda: pytest.fail("asked")), mine)


def test_home_under_a_passphrase(sealed: tuple[Keys, Path]) -> None:
    made, home = sealed
    assert sorted(p.name for p in home.iterdir()) == ["identity.json", "keys.age"]
    assert (mode(home), mode(home / "keys.age")) == (0o700, 0o600)
    assert b"SECRET" not in (home / "keys.age").read_bytes()
    assert same(keys.load(home, lambda: PASSPHRASE), made)


def test_age_makes_each_guess_slow(
    mine: Keys, tmp_path: Path, age_itself: Callable[[bytes, str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyrage.passphrase, "encrypt", age_itself)
    keys.save(mine, tmp_path / "home", PASSPHRASE)
    stanza = (tmp_path / "home/keys.age").read_bytes().splitlines()[1]
    assert int(stanza.split()[-1]) >= 15, "rounds, as a power of two"
    assert same(keys.load(tmp_path / "home", PASSPHRASE), mine)


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_memory_is_closed_before_a_key_is_in_it(sealed: tuple[Keys, Path]) -> None:
    libc, get, put = ctypes.CDLL(None), 3, 4
    before = libc.prctl(get, 0, 0, 0, 0)
    try:
        libc.prctl(put, 1, 0, 0, 0)
        keys.load(sealed[1], lambda: PASSPHRASE if libc.prctl(get, 0, 0, 0, 0) == 0 else pytest.fail("open to others"))
        assert libc.prctl(get, 0, 0, 0, 0) == 0
    finally:
        libc.prctl(put, before, 0, 0, 0)


def test_wrong_passphrase(sealed: tuple[Keys, Path]) -> None:
    with pytest.raises(UserError, match=r"wrong passphrase for .*keys\.age") as caught:
        keys.load(sealed[1], "wrong horse")
    assert "Type it again" in caught.value.advice()


def test_no_passphrase_where_one_is_needed(sealed: tuple[Keys, Path]) -> None:
    with pytest.raises(UserError, match="none was given"):
        keys.load(sealed[1], None)


def test_cut_keys_are_damaged(sealed: tuple[Keys, Path], tmp_path: Path) -> None:
    home = shutil.copytree(sealed[1], tmp_path / "home")
    for size in (0, 10, 80):
        (home / "keys.age").write_bytes((sealed[1] / "keys.age").read_bytes()[:size])
        with pytest.raises(UserError, match="damaged"):
            keys.load(home, PASSPHRASE)


@pytest.mark.skipif(not shutil.which("age"), reason="age is not on this machine")
def test_age_itself_opens_it(sealed: tuple[Keys, Path], tmp_path: Path) -> None:
    made, home = sealed
    pid, terminal = pty.fork()
    if pid == 0:  # the child, with a terminal of its own to be asked at
        os.execlp("age", "age", "-d", "-o", str(tmp_path / "plain"), str(home / "keys.age"))
    os.write(terminal, f"{PASSPHRASE}\n".encode())
    try:
        while os.read(terminal, 1000):
            pass
    except OSError:  # how a terminal ends
        pass
    assert os.waitpid(pid, 0)[1] == 0
    assert json.loads((tmp_path / "plain").read_bytes())["sealing"] == made.sealing


def test_short_passphrase_is_refused_before_anything_is_written(mine: Keys, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 7 characters; it needs at least 8"):
        keys.save(mine, tmp_path / "home", "1234567")
    assert not (tmp_path / "home").exists()


def test_keys_are_not_overwritten(home: Path, mine: Keys) -> None:
    with pytest.raises(UserError, match="already has keys") as caught:
        keys.save(keys.new("B"), home, None)
    assert "--replace" in caught.value.advice()
    assert same(keys.load(home, None), mine)


def test_replaced_keys_are_kept_beside(home: Path, mine: Keys) -> None:
    old = mine.identity.signing[:8]
    new = keys.new("Ljubljana")
    keys.save(new, home, None, replace=True)
    assert same(keys.load(home, None), new)
    names = {"identity.json", "keys.json", f"identity.{old}.json", f"keys.{old}.json"}
    assert {p.name for p in home.iterdir()} == names
    assert mode(home / f"keys.{old}.json") == 0o600
    assert json.loads((home / f"keys.{old}.json").read_bytes())["sealing"] == mine.sealing


def test_replaced_where_the_public_part_is_lost(home: Path, mine: Keys) -> None:
    (home / "identity.json").unlink()
    keys.save(keys.new("B"), home, None, replace=True)
    kept = [p for p in home.glob("keys.*.json") if json.loads(p.read_bytes())["sealing"] == mine.sealing]
    assert len(kept) == 1


def test_private_keys_are_never_readable_by_others(mine: Keys, tmp_path: Path, monkeypatch: Any) -> None:
    old = os.umask(0)
    try:
        seen = []
        monkeypatch.setattr(os, "fsync", lambda fd: seen.append(os.fstat(fd).st_mode & 0o777))
        keys.save(mine, tmp_path / "home", None)
    finally:
        os.umask(old)
    assert seen[0] == 0o600
    assert mode(tmp_path / "home" / "keys.json") == 0o600


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620])
def test_keys_that_others_can_reach_are_refused(home: Path, bits: int) -> None:
    (home / "keys.json").chmod(bits)
    with pytest.raises(UserError, match=rf"others can .*keys.json \(mode {bits:o}\)") as caught:
        keys.load(home, None)
    assert "chmod 600" in caught.value.advice()


def test_no_home(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no keys in") as caught:
        keys.load(tmp_path / "nowhere", None)
    assert "relay keys new" in caught.value.advice()


def test_public_part_alone(home: Path) -> None:
    (home / "keys.json").unlink()
    with pytest.raises(UserError, match="no private keys"):
        keys.load(home, None)


def test_keys_of_another_site(home: Path) -> None:
    (home / "identity.json").write_bytes(canonical(keys.new("B").identity))
    with pytest.raises(UserError, match="do not belong to"):
        keys.load(home, None)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"[" * 100_000, b'{"signing":1,"sealing":2}', b"\xff", b'{"signing":"00"}']
)
def test_damaged_plain_keys(home: Path, content: bytes) -> None:
    (home / "keys.json").write_bytes(content)
    with pytest.raises(UserError, match="does not contain two private keys"):
        keys.load(home, None)


@pytest.mark.parametrize("part", ["signing", "sealing"])
def test_damaged_secrets_are_shown_nowhere(home: Path, part: str) -> None:
    content = json.loads((home / "keys.json").read_bytes())
    secret = content[part]
    content[part] = secret[:-2] + "!!"
    (home / "keys.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        keys.load(home, None)
    error: BaseException | None = caught.value
    assert secret[:16] not in str(error)
    assert error.__suppress_context__  # so that no traceback shows it either
    assert error.__cause__ is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_damaged_public_part(home: Path, content: bytes) -> None:
    (home / "identity.json").write_bytes(content)
    with pytest.raises(UserError, match=r"identity\.json"):
        keys.load(home, None)


def test_folder_that_can_not_be_made(mine: Keys, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't write keys to"):
        keys.save(mine, tmp_path / "file" / "home", None)


# -- passphrases -----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_passphrase_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (passphrases.PASSPHRASE, passphrases.PASSPHRASE_FILE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("from a file\n")
    path.chmod(0o600)
    return path


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
    answers = iter(typed)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(passphrases, "getpass", lambda prompt: next(answers))


def test_file_goes_before_environment_before_its_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_PASSPHRASE_FILE", str(file))
    assert keys.passphrase() == "from a file"
    monkeypatch.setenv("RELAY_PASSPHRASE", "from the environment")
    assert keys.passphrase() == "from the environment"
    assert keys.passphrase(file) == "from a file"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_only_the_end_of_the_line_is_cut(file: Path, end: str) -> None:
    file.write_bytes(f" two  words {end}".encode())
    assert keys.passphrase(file) == " two  words "


def test_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_terminal(monkeypatch, "typed", "not asked for")
    assert keys.passphrase() == "typed"


def test_prompt_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_terminal(monkeypatch, "typed", "typed")
    assert keys.passphrase(confirm=True) == "typed"
    at_a_terminal(monkeypatch, "typed", "tipped")
    with pytest.raises(UserError, match="don't match"):
        keys.passphrase(confirm=True)


def test_prompt_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def left(prompt: str) -> str:
        raise EOFError

    at_a_terminal(monkeypatch)
    monkeypatch.setattr(passphrases, "getpass", left)
    with pytest.raises(UserError, match="no passphrase was typed"):
        keys.passphrase()


def test_no_terminal_tells_the_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UserError, match="no terminal") as caught:
        keys.passphrase()
    for way in ("in a terminal", "--passphrase-file", "RELAY_PASSPHRASE_FILE", "set RELAY_PASSPHRASE."):
        assert way in caught.value.advice()


def test_file_that_others_can_read_is_refused(file: Path) -> None:
    file.chmod(0o644)
    with pytest.raises(UserError, match="others can"):
        keys.passphrase(file)


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\0", b"\xff"])
def test_file_that_holds_no_line_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(UserError, match="passphrase"):
        keys.passphrase(file)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        keys.passphrase(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UserError, match="is not a file"):
            keys.passphrase(path)
