"""The container: written in one way, read in one way, everything else refused."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from relay.bundle import container, zipform
from relay.bundle.container import Limits, measure, scan, write
from relay.errors import UserError
from relay.trust.refusals import BadContainer, DigestMismatch, Incomplete, Refused

GIB = 2**30
FILES = [("statement.json", b'{"a":1}'), ("chain/0001/results.json", b""), ("model.safetensors", bytes(range(256)))]

words = st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,8}", fullmatch=True)
names = st.lists(words, min_size=1, max_size=3).map("/".join)
files = st.lists(st.tuples(names, st.binary(max_size=200)), min_size=1, max_size=6, unique_by=lambda pair: pair[0])


def packed(sources: list[tuple[str, bytes]] = FILES) -> bytes:
    return io.BufferedReader(write(list(sources))).read()


def scanned(data: bytes, limits: Limits | None = None) -> list[container.Entry]:
    return scan(io.BytesIO(data), len(data), limits or Limits())


def unpacked(data: bytes) -> list[tuple[str, bytes]]:
    return [(entry.name, container.read(io.BytesIO(data), entry)) for entry in scanned(data)]


def changed(data: bytes, at: int, *new: int) -> bytes:
    return data[:at] + bytes(new) + data[at + len(new) :]


@given(files)
def test_what_was_written_is_read(sources: list[tuple[str, bytes]]) -> None:
    data = packed(sources)
    assert unpacked(data) == sources
    assert write(list(sources)).size == len(data)


@given(files)
def test_python_reads_the_same(sources: list[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(io.BytesIO(packed(sources))) as file:
        assert [(info.filename, file.read(info)) for info in file.infolist()] == sources
        assert file.testzip() is None


def test_unzip_finds_no_fault(tmp_path: Path) -> None:
    if not shutil.which("unzip"):
        pytest.skip("unzip is not on this machine")
    (tmp_path / "x.relay").write_bytes(packed())
    done = subprocess.run(["unzip", "-o", "x.relay"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert {name: (tmp_path / name).read_bytes() for name, _ in FILES} == dict(FILES)


def test_files_and_bytes_and_measured_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"weights" * 1000)
    path = measure(tmp_path / "model")
    assert (path.size, path.crc) == (7000, zlib.crc32(b"weights" * 1000))
    assert path.sha256 == hashlib.sha256(b"weights" * 1000).hexdigest()
    streams = [write([("model", source)]) for source in (b"weights" * 1000, tmp_path / "model", path)]
    assert len({io.BufferedReader(stream).read() for stream in streams}) == 1


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"weights")
    stream = write([("model", tmp_path / "model")])
    (tmp_path / "model").write_bytes(b"Weights")
    with pytest.raises(UserError, match="changed while it was being packed as model"):
        io.BufferedReader(stream).read()


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"can't read .*model: No such file"):
        write([("model", tmp_path / "model")])


@given(st.data())
@settings(max_examples=400)
def test_any_changed_byte_around_the_data_is_refused(data: st.DataObject) -> None:
    good = packed()
    inside = {at for e in scanned(good) for at in range(e.offset, e.offset + e.size)}
    at = data.draw(st.sampled_from(sorted(set(range(len(good))) - inside)))
    bad = changed(good, at, good[at] ^ data.draw(st.integers(1, 255)))
    # the name and the CRC-32 of an entry stand twice, so one of them alone can't be changed
    with pytest.raises(Refused):
        scanned(bad)


@given(st.data())
@settings(max_examples=300)
def test_any_inserted_or_removed_bytes_are_refused(data: st.DataObject) -> None:
    good = packed()
    at = data.draw(st.integers(0, len(good) - 1))
    more = data.draw(st.binary(max_size=40))
    bad = good[:at] + more + good[at + data.draw(st.integers(0 if more else 1, 40)) :]
    if bad != good and len(bad) != len(good):
        with pytest.raises(Refused):
            scanned(bad)


def test_any_cut_is_incomplete() -> None:
    good = packed()
    for count in range(len(good)):
        with pytest.raises(Incomplete):
            scanned(good[:count])


def test_changed_data_is_found_when_it_is_read() -> None:
    good = packed()
    entry = scanned(good)[-1]
    bad = changed(good, entry.offset, good[entry.offset] ^ 1)
    with pytest.raises(DigestMismatch, match=r"model\.safetensors is damaged"):
        container.read(io.BytesIO(bad), scanned(bad)[-1])


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, b"PK\3\4" + noise):
        with pytest.raises(Refused):
            scanned(data)


def python_zip(**options: int) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w", **options) as target:
        target.writestr(zipfile.ZipInfo("a.json"), b"{}" * 50)
    return file.getvalue()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"", None),
        (b"GIF89a" + b"\0" * 99, "not a ZIP"),
        (b"PK\5\6" + bytes(18), "not a ZIP of files"),
        (python_zip(), "has ZIP version 20"),
        (changed(packed(), 6, 1), "statement.json at byte 0 is encrypted"),
        (changed(packed(), 6, 8), "does not give its size in advance"),
        (changed(packed(), 7, 8), "has flags 0x800"),
        (changed(packed(), 8, 8), r"is compressed \(method 8\)"),
        (changed(packed(), 10, 1), "has a time other than 1980-01-01 00:00"),
        (changed(packed(), 18, 6), "has 6 bytes packed and 7 unpacked"),
        (changed(packed(), 26, 101), "has 101 bytes; the limit is 100"),
        (changed(packed(), 28, 4), "extra field that is not ZIP64's"),
        (packed() + b"\0", "1 bytes after its end"),
        (packed() + packed(), "bytes after its end"),
        (b"\0" + packed(), "not a ZIP of files"),
    ],
)
def test_the_message_says_what_is_wrong(bad: bytes, message: str | None) -> None:
    with pytest.raises(BadContainer if message else Incomplete, match=message):
        scanned(bad)


def test_a_gap_is_refused() -> None:
    good = packed()
    end = scanned(good)[0].offset + scanned(good)[0].size
    with pytest.raises(BadContainer, match="between the entries, at byte"):
        scanned(good[:end] + b"\0" + good[end:])


def test_a_directory_of_other_entries_is_refused() -> None:
    good, other = packed(), packed([(name.replace("a", "b"), data) for name, data in FILES])
    start = scanned(good)[-1].offset + scanned(good)[-1].size
    with pytest.raises(BadContainer, match="the directory at its end does not match"):
        scanned(good[:start] + other[start:])


def raw(name: bytes, content: bytes = b"", extra: bytes = b"", size: int | None = None) -> bytes:
    count = len(content) if size is None else size
    crc = zlib.crc32(content)
    head = struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, 0, 0, 0x21, crc, count, count, len(name), len(extra))
    return head + name + extra + content


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"../x", "leads out"),
        (b"a/../../x", "leads out"),
        (b"/etc/passwd", "absolute"),
        (b"C:x", "absolute"),
        (b"a\\b", "backslash"),
        (b"folder/", "folder"),
        (b"", "1 to 100 bytes"),
        (b"a//b", "only ASCII letters"),
        (b"./a", "only ASCII letters"),
        (b".hidden", "only ASCII letters"),
        (b"a\nb", "only ASCII letters"),
        (b"a\0b", "only ASCII letters"),
        (b"a b", "only ASCII letters"),
        ("ä".encode(), "only ASCII letters"),
        (b"\xff\xfe", "only ASCII letters"),
        (b"a\n", "only ASCII letters"),
    ],
)
def test_odd_names_are_refused_by_reader_and_writer(name: bytes, message: str) -> None:
    with pytest.raises(BadContainer, match=message):
        scanned(raw(name))
    if name.isascii():
        with pytest.raises(BadContainer, match=message):
            write([(name.decode(), b"")])


def test_a_name_that_is_there_twice_is_refused_whatever_its_case() -> None:
    with pytest.raises(BadContainer, match=r"'A\.json': it appears twice"):
        scanned(raw(b"a.json") + raw(b"A.json"))
    with pytest.raises(BadContainer, match="appears twice"):
        write([("a.json", b""), ("A.json", b"")])


def test_limits_hold() -> None:
    many = packed([(f"f{k}", b"") for k in range(6)])
    assert len(scanned(many, Limits(entries=6))) == 6
    with pytest.raises(BadContainer, match="more than 5 entries"):
        scanned(many, Limits(entries=5))
    with pytest.raises(BadContainer, match=f"has {len(many)} bytes; the limit is 100"):
        scanned(many, Limits(total=100))
    with pytest.raises(BadContainer, match=r"model.* has 256 bytes; the limit is 255"):
        container.read(io.BytesIO(packed()), scanned(packed())[-1], 255)


def test_a_promise_of_more_than_there_is_costs_nothing() -> None:
    with pytest.raises(Incomplete, match=r"big should have 4000000000 bytes; the bundle ends after 3 of them"):
        scanned(raw(b"big", b"abc", size=4_000_000_000))
    wide = struct.pack("<2H2Q", 1, 16, 2**63, 2**63)
    with pytest.raises(Incomplete, match="should have 9223372036854775808 bytes"):
        scanned(raw(b"big", b"abc", wide, 0xFFFFFFFF))


@pytest.mark.parametrize("wide", [(7, 7), (0xFFFFFFFE, 0xFFFFFFFE), (2**32, 2**32 + 1)])
def test_zip64_where_it_must_not_be_is_refused(wide: tuple[int, int]) -> None:
    extra = struct.pack("<2H2Q", 1, 16, *wide)
    for size in (0xFFFFFFFF, 7):
        with pytest.raises(BadContainer, match="has a ZIP64 field where none is needed, or a wrong one"):
            scanned(raw(b"a", b"1234567", extra, size))


def test_a_full_size_without_zip64_is_refused() -> None:
    with pytest.raises(BadContainer, match="ZIP64"):
        scanned(raw(b"a", b"1234567", size=0xFFFFFFFF))


class Holes(io.RawIOBase):
    """A container with zeros of any length in it, without their bytes: for sizes that a test has no time for."""

    def __init__(self, pieces: list[bytes | int]) -> None:
        self.pieces, self.at = pieces, 0
        self.size = sum(piece if isinstance(piece, int) else len(piece) for piece in pieces)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        start = 0
        for piece in self.pieces:
            length = piece if isinstance(piece, int) else len(piece)
            if start <= self.at < start + length:
                inside = self.at - start
                count = min(len(buffer), length - inside)
                buffer[:count] = bytes(count) if isinstance(piece, int) else piece[inside : inside + count]
                self.at += count
                return count
            start += length
        return 0


def with_holes(sizes: list[int]) -> Holes:
    """What :func:`write` makes of zeros of these sizes, with its data left out (their CRC-32s are not asked for)."""
    parts = [(f"f{k}", container.Measured(b"", size, 0, "")) for k, size in enumerate(sizes)]
    source = container.Source(parts)
    pieces: list[bytes | int] = []
    for entry in source.entries:
        pieces += [zipform.local(entry.name, entry.size, entry.crc), entry.size]
    holes = Holes([*pieces, zipform.tail(source.entries)])
    assert holes.size == source.size
    return holes


@pytest.mark.parametrize(
    "sizes",
    [
        [0xFFFFFFFE],
        [0xFFFFFFFF],
        [5 * GIB, 3],
        [0xFFFFFFFF - 32, 3],  # the second entry starts at 0xffffffff
        [0xFFFFFFFF - 33, 3],
        [1, 3 * GIB, 3 * GIB, 5 * GIB, 1],
    ],
)
def test_beyond_4_gib(sizes: list[int]) -> None:
    holes = with_holes(sizes)
    file = io.BufferedReader(holes)  # type: ignore[type-var]
    found = scan(file, holes.size, Limits(total=2**40))
    assert [entry.size for entry in found] == sizes
    with zipfile.ZipFile(file) as theirs:
        starts = [info.header_offset + 32 + 20 * (info.file_size >= 0xFFFFFFFF) for info in theirs.infolist()]
        assert [info.file_size for info in theirs.infolist()] == sizes
    assert starts == [entry.offset for entry in found]


@pytest.mark.slow
def test_a_real_file_beyond_4_gib(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(4 * GIB + 5)
    with (tmp_path / "x.relay").open("wb") as target:
        shutil.copyfileobj(write([("big", tmp_path / "big"), ("small", b"abc")]), target, 2**20)
    with (tmp_path / "x.relay").open("rb") as file:
        entries = scan(file, (tmp_path / "x.relay").stat().st_size)
        assert sum(map(len, container.data(file, entries[0]))) == 4 * GIB + 5
    subprocess.run(["unzip", "-tqq", "x.relay"], cwd=tmp_path, check=True)
