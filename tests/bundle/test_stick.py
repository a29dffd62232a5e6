"""Sticks as they are: put on them whole or not at all, found and read however they come back."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings, strategies as st

from relay.bundle import seal, stick
from relay.bundle.container import write
from relay.bundle.stick import Found, bundle_name, fat32, find, open_volumes, put
from relay.errors import RelayError, UserError
from relay.trust.refusals import Incomplete

NAME = "fundus.leg-1.north.relay"
DATA = bytes(range(250)) * 10


class Bytes(io.BytesIO):
    size = property(lambda self: len(self.getvalue()))


def there(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def volumes(folder: Path, data: bytes = DATA, size: int = 1000) -> list[Path]:
    return put(Bytes(data), folder, NAME, size)


def joined(path: Path) -> bytes:
    with open_volumes(path) as file:
        return file.read()


# --- putting


@pytest.mark.parametrize("volume", [None, len(DATA), 10**9])
def test_one_file_where_it_fits(tmp_path: Path, volume: int | None) -> None:
    assert put(Bytes(DATA), tmp_path, NAME, volume, check=True) == [tmp_path / NAME]
    assert there(tmp_path) == {NAME: DATA}


def test_volumes_where_it_does_not(tmp_path: Path) -> None:
    paths = put(Bytes(DATA), tmp_path, NAME, 1000, check=True)
    assert [path.name for path in paths] == [f"{NAME}.001", f"{NAME}.002", f"{NAME}.003"]
    assert there(tmp_path) == {f"{NAME}.{k + 1:03d}": DATA[1000 * k : 1000 * (k + 1)] for k in range(3)}


@given(st.binary(min_size=1, max_size=300), st.integers(1, 400), st.integers(0, 300))
@settings(max_examples=50)
def test_what_was_put_is_read(tmp_path_factory: pytest.TempPathFactory, data: bytes, volume: int, at: int) -> None:
    folder = tmp_path_factory.mktemp("stick")
    paths = put(Bytes(data), folder, NAME, volume)
    with open_volumes(paths[-1] if len(paths) > 1 else folder / NAME) as file:
        assert (file.size, file.read()) == (len(data), data)
        file.seek(at)
        assert file.read() == data[at:]
        assert file.seek(-1, os.SEEK_END) == len(data) - 1
    shutil.rmtree(folder)


def test_a_container_goes_straight_onto_it(tmp_path: Path) -> None:
    source = write([("a.json", b"{}"), ("model", DATA)])
    put(source, tmp_path, NAME, 1000)
    assert len(joined(tmp_path / NAME)) == source.size


def test_sealed_on_the_way(tmp_path: Path) -> None:
    key = pyrage.x25519.Identity.generate()
    paths = put(Bytes(DATA * 100), tmp_path, f"{NAME}.age", 10**5, recipients=[str(key.to_public())], check=True)
    assert len(paths) == 3
    with open_volumes(tmp_path / f"{NAME}.age") as file:
        seal.unseal(file, target := io.BytesIO(), str(key))
    assert target.getvalue() == DATA * 100


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    put(Bytes(b""), tmp_path, NAME)
    assert there(tmp_path) == {NAME: b""}


def test_the_old_one_is_replaced_in_all_its_forms(tmp_path: Path) -> None:
    (tmp_path / "other.relay").write_bytes(b"stays")
    volumes(tmp_path)
    volumes(tmp_path, b"n" * 1500)
    assert there(tmp_path).keys() == {f"{NAME}.001", f"{NAME}.002", "other.relay"}
    put(Bytes(b"new"), tmp_path, NAME)
    assert there(tmp_path) == {NAME: b"new", "other.relay": b"stays"}
    (tmp_path / NAME).rename(tmp_path / NAME.upper())
    volumes(tmp_path)
    assert there(tmp_path).keys() == {f"{NAME}.00{k}" for k in (1, 2, 3)} | {"other.relay"}
    assert joined(tmp_path / NAME) == DATA


def test_what_a_broken_attempt_left_goes(tmp_path: Path) -> None:
    for name in (f".{NAME}.007.part", f".{NAME.upper()}.001.PART"[:-5] + ".part", ".other.001.part"):
        (tmp_path / name).write_bytes(b"half")
    put(Bytes(DATA), tmp_path, NAME)
    assert there(tmp_path) == {NAME: DATA, ".other.001.part": b"half"}


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (folder := tmp_path / "stick").mkdir()
    (folder / f".{NAME}.001.part").symlink_to(tmp_path / "elsewhere")
    put(Bytes(DATA), folder, NAME)
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (folder / f".{NAME}.001.part").symlink_to(tmp_path / "elsewhere")
    put(Bytes(DATA), folder, NAME)
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"
    assert there(folder) == {NAME: DATA}


def test_a_folder_where_a_part_is_to_be_does_not_block(tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.001.part" / "inner").mkdir(parents=True)
    put(Bytes(DATA), tmp_path, NAME)
    assert there(tmp_path) == {NAME: DATA}
    sealed = f"{NAME}.age"
    put(Bytes(DATA), tmp_path, sealed)
    assert (tmp_path / sealed).stat().st_mode & 0o777 == 0o644, "the next hospital's user has another number"


# --- what can go wrong


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(stick.shutil, "disk_usage", lambda _: usage(2499))
    with pytest.raises(UserError, match=r"needs 2\.5 kB; .* has 2\.5 kB free") as caught:
        put(Bytes(DATA), tmp_path, NAME)
    assert "larger" in caught.value.advice()
    assert there(tmp_path) == {}
    monkeypatch.setattr(stick.shutil, "disk_usage", lambda _: usage(2500))
    put(Bytes(DATA), tmp_path, NAME)


def test_the_stick_is_not_in(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"can't list .*: No such file") as caught:
        put(Bytes(DATA), tmp_path / "stick", NAME)
    assert "stick is plugged in" in caught.value.advice()
    assert not (tmp_path / "stick").exists()


@pytest.mark.parametrize("volume", [-1, 0, 1])
def test_volumes_too_small(tmp_path: Path, volume: int) -> None:
    with pytest.raises(UserError, match=f"does not fit into 999 volumes of {volume} bytes"):
        put(Bytes(DATA), tmp_path, NAME, volume)
    assert there(tmp_path) == {}


class Stick(io.FileIO):
    """A file on a stick with a fault."""

    error: int | None = None
    room = 0  # bytes that are taken before the error
    most = 2**30  # bytes a write takes
    flip = False  # what is written is not what is kept

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]
        if type(self).error and type(self).room < len(data):
            raise OSError(type(self).error, os.strerror(type(self).error))
        type(self).room -= len(data)
        data = data[: type(self).most]
        return super().write(bytes(b ^ 1 for b in data) if type(self).flip else data)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> type[Stick]:
    class Faulty(Stick):
        pass

    true = Path.open

    def faulty(self: Path, mode: str = "r", *args: object, **more: object) -> object:
        return Faulty(self, "x") if mode == "xb" else true(self, mode, *args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", faulty)
    return Faulty


@pytest.mark.parametrize(
    ("code", "message", "advice"),
    [
        (errno.ENOSPC, "it is full", "larger one"),
        (errno.EROFS, "it is read-only", "write protection"),
        (errno.EFBIG, "can't store a file this large", "FAT32"),
        (errno.EIO, "does not respond", "Plug it in again"),
        (errno.ENOENT, "does not respond", "Plug it in again"),
        (errno.ENODEV, "does not respond", "Plug it in again"),
        (errno.EACCES, "permission to write", "Mount it"),
        (errno.ETIMEDOUT, "timed out", "again"),
    ],
)
@pytest.mark.parametrize("volume", [None, 1000])
@pytest.mark.parametrize("recipients", [(), (str(pyrage.x25519.Identity.generate().to_public()),)])
def test_writing_fails_mid_way(
    tmp_path: Path,
    fault: type[Stick],
    code: int,
    message: str,
    advice: str,
    volume: int | None,
    recipients: tuple[str, ...],
) -> None:
    put(Bytes(b"old" * 1000), tmp_path, NAME, volume)
    before = there(tmp_path)
    fault.error, fault.room = code, 1000
    with pytest.raises(UserError, match=message) as caught:
        put(Bytes(DATA), tmp_path, NAME, volume, recipients=recipients)
    assert advice in caught.value.advice()
    assert there(tmp_path) == before


@pytest.mark.parametrize("volume", [None, 1000])
def test_flushing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volume: int | None) -> None:
    volumes(tmp_path)
    before = there(tmp_path)

    def fsync(handle: int) -> None:
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="does not respond"):
        put(Bytes(b"new" * 1000), tmp_path, NAME, volume)
    assert there(tmp_path) == before


@pytest.mark.parametrize("good", [0, 1, 2])
@pytest.mark.parametrize("old", [b"", b"old" * 1000])
def test_renaming_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: int, old: bytes) -> None:
    """Then there is no first volume, so that nobody takes the rest for a bundle."""
    if old:
        volumes(tmp_path, old)
    left = iter([True] * good)
    true = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if not next(left, False):
            raise OSError(errno.EIO, "gone")
        return true(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(UserError, match="does not respond"):
        volumes(tmp_path)
    assert f"{NAME}.001" not in there(tmp_path)
    assert not [name for name, data in there(tmp_path).items() if name.endswith(".part") or data in DATA]
    with pytest.raises(RelayError):
        open_volumes(tmp_path / NAME)


def test_renaming_a_single_file_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes(tmp_path)
    before = there(tmp_path)

    def replace(self: Path, target: Path) -> Path:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(UserError, match="read-only"):
        put(Bytes(b"new"), tmp_path, NAME)
    assert there(tmp_path) == before


def test_a_stick_that_forgets(tmp_path: Path, fault: type[Stick]) -> None:
    fault.flip = True
    with pytest.raises(UserError, match="does not return what was written"):
        put(Bytes(DATA), tmp_path, NAME, 1000, check=True)
    assert there(tmp_path) == {}


def test_the_system_may_take_less_than_it_is_given(tmp_path: Path, fault: type[Stick]) -> None:
    fault.most = 7
    put(Bytes(DATA), tmp_path, NAME, 1000, check=True)
    assert joined(tmp_path / NAME) == DATA


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("source")])
def test_the_source_stops(tmp_path: Path, error: BaseException) -> None:
    class Stops(Bytes):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise error
            return super().read(100)

    volumes(tmp_path)
    before = there(tmp_path)
    with pytest.raises(type(error)):
        put(Stops(DATA), tmp_path, NAME)
    assert there(tmp_path) == before


# --- reading


def test_any_name_of_it_opens_it(tmp_path: Path) -> None:
    volumes(tmp_path)
    for name in (NAME, f"{NAME}.001", f"{NAME}.003", NAME.upper()):
        assert joined(tmp_path / name) == DATA
    for path in tmp_path.iterdir():
        path.rename(tmp_path / path.name.upper())
    assert joined(tmp_path / NAME) == DATA
    assert find(tmp_path) == [Found(tmp_path / f"{NAME.upper()}.001", "fundus", 1, "north", False)]


@pytest.mark.parametrize("missing", ["001", "002"])
def test_a_missing_volume_is_named(tmp_path: Path, missing: str) -> None:
    volumes(tmp_path)
    (tmp_path / f"{NAME}.{missing}").unlink()
    with pytest.raises(Incomplete, match=rf"missing: {NAME}\.{missing}$"):
        open_volumes(tmp_path / NAME)


def test_a_single_volume_lacks_the_second(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.001").write_bytes(DATA)
    with pytest.raises(Incomplete, match=r"missing: .*\.002"):
        open_volumes(tmp_path / f"{NAME}.001")


@pytest.mark.parametrize(("number", "size"), [("001", 999), ("002", 0), ("003", 0), ("002", 400)])
def test_a_volume_cut_short_is_named(tmp_path: Path, number: str, size: int) -> None:
    volumes(tmp_path)
    os.truncate(tmp_path / f"{NAME}.{number}", size)
    with pytest.raises(Incomplete, match=rf"\.{number} has {size} bytes; it was truncated"):
        open_volumes(tmp_path / NAME)


def test_a_stick_pulled_out_while_reading(tmp_path: Path) -> None:
    volumes(tmp_path)
    with open_volumes(tmp_path / NAME) as file:
        (tmp_path / f"{NAME}.002").unlink()
        with pytest.raises(Incomplete, match=r"\.002 can't be read at byte 0: No such file"):
            file.read()
    volumes(tmp_path)
    with open_volumes(tmp_path / NAME) as file:
        os.truncate(tmp_path / f"{NAME}.003", 100)
        with pytest.raises(Incomplete, match=r"\.003 ends early, after 100 bytes"):
            list(iter(lambda: file.read(600), b""))


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "folder.relay").mkdir()
    (tmp_path / f"{NAME}.000").write_bytes(b"x")
    for name in ("x.relay", "folder.relay"):
        with pytest.raises(UserError, match="there is no bundle"):
            open_volumes(tmp_path / name)
    with pytest.raises(UserError, match="can't list"):
        open_volumes(tmp_path / "no" / NAME)
    with pytest.raises(Incomplete):
        open_volumes(tmp_path / NAME)


# --- finding


def test_find_goes_by_names_newest_leg_first(tmp_path: Path) -> None:
    names = [
        "a.leg-2.north.relay",
        "a.leg-10.St.Mary.relay.age",
        "A.LEG-3.B_C.RELAY.AGE.001",
        "A.LEG-3.B_C.RELAY.AGE.002",
    ]
    others = [
        ".a.leg-4.x.relay.001.part",
        "a.leg-5.x.relay.part",
        "._a.leg-6.x.relay",
        "a.leg-0.x.relay",
        "leg-1.relay",
    ]
    for name in names + others:
        (tmp_path / name).touch()
    (tmp_path / "a.leg-7.x.relay").mkdir()
    assert find(tmp_path) == [
        Found(tmp_path / names[1], "a", 10, "st.mary", True),
        Found(tmp_path / names[2], "a", 3, "b_c", True),
        Found(tmp_path / names[0], "a", 2, "north", False),
    ]


@pytest.mark.parametrize("sealed", [True, False])
def test_find_reads_what_bundle_name_writes(tmp_path: Path, sealed: bool) -> None:
    for site in ("North_1", "x.relay", "a.leg-2.b", "north.relay.age"):
        (tmp_path / bundle_name("my-study", 12, site, sealed)).touch()
        (found,) = find(tmp_path)
        assert (found.study, found.leg, found.site, found.sealed) == ("my-study", 12, site.lower(), sealed)
        found.path.unlink()


def test_find_where_there_is_no_stick(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't list"):
        find(tmp_path / "stick")


# --- FAT32


def test_fat32_is_known_from_the_mounts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    place = str(tmp_path.resolve())
    lines = [
        "/dev/sda1 / ext4 rw 0 0",
        rf"/dev/sdb1 {place}/my\040stick vfat rw 0 0",
        f"/dev/sdc1 {place}/ex exfat rw 0 0",
        f"/dev/sdd1 {place}/twice vfat rw 0 0",
        f"/dev/sde1 {place}/twice ext4 rw 0 0",
        "odd",
    ]
    mounts.write_text("\n".join(lines))
    for name, is_fat in (("my stick", True), ("my stick/sub", True), ("ex", False), ("twice", False), ("my", False)):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        assert fat32(tmp_path / name, mounts) is is_fat
    assert not fat32(tmp_path / "my stick", tmp_path / "no mounts")


def test_volumes_are_cut_on_fat32_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for is_fat, volume in ((True, 4 * 2**30 - 2**16), (False, None)):
        monkeypatch.setattr(stick, "fat32", lambda _, is_fat=is_fat: is_fat)
        assert stick.default_volume(tmp_path) == volume
