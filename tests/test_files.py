"""Files and folders are whole, old or new, whatever happens on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay import files
from relay.files import add_files, atomic, make_folder, write_bytes, write_folder, write_text

OLD = {"a.txt": b"old a", "b.txt": b"old b"}
NEW = {"a.txt": b"new a", "c.txt": b"new c"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FULL = OSError(28, "No space left on device")


def fail_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int, error: BaseException = FULL) -> None:
    """The ``call``-th call of a function is the one that fails: by default, there is no space."""
    real, count = getattr(owner, name), [0]

    def failing(*args: object, **kwargs: object) -> object:
        count[0] += 1
        if count[0] == call:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


def test_parents_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_text(tmp_path / "x" / "y" / "file.txt", "μ = 1\n")
    assert (tmp_path / "x/y/file.txt").read_bytes() == "μ = 1\n".encode()
    assert os.listdir(tmp_path / "x/y") == ["file.txt"]  # noqa: PTH208


def test_a_file_is_replaced(tmp_path: Path) -> None:
    for data in (b"first", b"", b"third"):
        write_bytes(tmp_path / "f", data)
        assert content(tmp_path) == {"f": data}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    write_bytes(tmp_path / "f", b"old")
    fail_at(monkeypatch, files.os if step == "fsync" else Path, step, 1)
    with pytest.raises(OSError, match="No space"):
        write_bytes(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    write_bytes(tmp_path / "f", b"newer")
    assert content(tmp_path) == {"f": b"newer"}


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "f", b"old")
    seen = []
    real = os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda fd: (seen.append((tmp_path / "f").read_bytes()), real(fd)))
    write_bytes(tmp_path / "f", b"new")
    assert seen[0] == b"old"
    assert set(seen[1:]) <= {b"new"}, "then the folder is flushed, too"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "deep" / "c", OLD)
    assert content(tmp_path / "deep" / "c") == OLD
    write_folder(tmp_path / "deep" / "c", NEW)
    assert content(tmp_path / "deep" / "c") == NEW
    assert os.listdir(tmp_path / "deep") == ["c"]  # noqa: PTH208


@pytest.mark.parametrize(("step", "call"), [("fsync", 1), ("fsync", 2), ("replace", 1), ("replace", 2)])
def test_a_failure_half_way_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    write_folder(tmp_path / "c", OLD)
    fail_at(monkeypatch, files.os if step == "fsync" else Path, step, call)
    with pytest.raises(OSError, match="No space"):
        write_folder(tmp_path / "c", NEW)
    assert content(tmp_path / "c") == OLD
    write_folder(tmp_path / "c", NEW)
    assert content(tmp_path / "c") == NEW
    assert os.listdir(tmp_path) == ["c"]  # noqa: PTH208


def test_a_failure_leaves_no_folder_where_there_was_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, files.os, "fsync", 2)
    with pytest.raises(OSError, match="No space"):
        write_folder(tmp_path / "c", NEW)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(("owner", "step", "call"), [(files.os, "fsync", 3), (Path, "replace", 4)])
@pytest.mark.parametrize("stop", [FULL, KeyboardInterrupt()])
def test_all_files_are_added_to_a_folder_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, step: str, call: int, stop: BaseException
) -> None:
    """Stopped between two that are written, or two that are moved."""
    write_bytes(tmp_path / "b.txt", b"another")
    with monkeypatch.context() as patch:
        fail_at(patch, owner, step, call, stop)
        with pytest.raises(type(stop)):
            add_files(tmp_path, NEW)
    assert content(tmp_path) == {"b.txt": b"another"}
    (tmp_path / ".new.part").mkdir()
    write_bytes(tmp_path / ".new.part" / "x", b"left by a process that was killed")
    add_files(tmp_path, NEW)
    assert content(tmp_path) == {"b.txt": b"another", **NEW}


def test_leftovers_of_a_killed_write_do_not_get_in(tmp_path: Path) -> None:
    for leftover in (".c.part", ".c.old"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "stale.txt").write_text("of a write that was killed")
    (tmp_path / ".f.part").write_bytes(b"half of something long")
    write_folder(tmp_path / "c", OLD)
    write_folder(tmp_path / "c", NEW)
    write_bytes(tmp_path / "f", b"new")
    assert content(tmp_path / "c") == NEW
    assert sorted(os.listdir(tmp_path)) == ["c", "f"]  # noqa: PTH208


def test_a_link_that_lies_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("secret")
    (tmp_path / ".out.part").symlink_to(tmp_path / "mine")
    write_bytes(tmp_path / "out", b"new")
    assert (tmp_path / "mine").read_text() == "secret"
    assert not (tmp_path / "out").is_symlink()
    assert (tmp_path / "out").read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_or_a_device_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="a pipe or a device, not a file") as caught:
            files.read_bytes(path)
        assert caught.value.filename == str(path)
    (tmp_path / "file").write_bytes(b"x")
    assert files.read_bytes(tmp_path / "file") == b"x"
    with pytest.raises(IsADirectoryError):
        files.read_bytes(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_only_its_owner_can_read_what_is_written_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a" / "b" / "page.html", "x")
        write_folder(tmp_path / "c" / "figures", NEW)
        with atomic(tmp_path / "d" / "mask.nii.gz") as beside:
            beside.write_bytes(b"x")
        (tmp_path / "open").mkdir()
        (tmp_path / "open" / "page.html").touch()
        write_text(tmp_path / "open" / "page.html", "x")
        make_folder(tmp_path / "open" / "e" / "f")
    finally:
        os.umask(before)
    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes.pop("open") == 0o755, "an existing folder keeps its mode"
    assert all(mode == (0o700 if (tmp_path / name).is_dir() else 0o600) for name, mode in modes.items())


def test_a_folder_is_not_made_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "file" / "below")
