"""The cache on disk: nothing is decoded twice, and nothing wrong ever comes out of it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from relay.data import Cache, Case, Dataset, DatasetOptions, Record, Store, kept
from relay.errors import DataError, UserError

STEPS = [{"name": "Crop", "kwargs": {"size": [3, 3]}}, {"name": "Normalise", "kwargs": {"how": "minmax"}}]


class Files(Dataset):
    """Four pictures that count how often one is read."""

    reads = 0

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(DatasetOptions(task_id=0, task_name="files", num_classes=2, channels=1, **options))
        self.folder = folder

    def samples(self) -> list[Record]:
        files = [self.folder / f"{i}.png" for i in range(4)]
        return [Record(path.stem, path.stem, (path,), path.with_suffix(".mask.png")) for path in files]

    def read(self, sample: Record) -> Case:
        type(self).reads += 1
        return super().read(sample)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Files, "reads", 0)
    monkeypatch.setattr(kept, "SETTLED", 0.0)
    for i in range(4):
        Image.fromarray(np.arange(25, dtype=np.uint8).reshape(5, 5) + i).save(tmp_path / f"{i}.png")
        Image.fromarray(np.eye(5, dtype=np.uint8)).save(tmp_path / f"{i}.mask.png")
    return tmp_path


def stored(folder: Path, **options: Any) -> Store:
    dataset = Files(folder, **options)
    return Store(dataset, dataset.listing)


def cache() -> Cache:
    found = Cache.of_environment()
    assert found is not None
    return found


def same(one: Store, other: Store) -> bool:
    facts = all(getattr(one, name) == getattr(other, name) for name in ("shapes", "spacings", "notes", "grids"))
    pixels = [(*one[i], *other[i]) for i in range(len(one))]
    return facts and all(
        np.array_equal(a, c) and np.array_equal(b, d) and (a.dtype, b.dtype) == (c.dtype, d.dtype)
        for a, b, c, d in pixels
    )


@pytest.mark.parametrize("options", [{}, {"steps": STEPS}, {"img_size": [7, 3]}], ids=["plain", "steps", "resized"])
def test_the_second_run_decodes_nothing(folder: Path, options: dict[str, Any]) -> None:
    first = stored(folder, **options)
    assert Files.reads == 4
    again = stored(folder, **options)
    assert Files.reads == 4
    assert same(first, again)
    assert len(cache().entries()) == 1
    assert cache().size() == sum(path.stat().st_size for path in cache().entries())


def test_what_changes_an_image_is_another_entry_and_what_does_not_is_not(folder: Path) -> None:
    stored(folder)
    stored(folder, repeats=3, val_fraction=0.4, intensity_range=[0, 1], patch_size=[2, 2], augment={"train": "flip"})
    assert Files.reads == 4
    stored(folder, steps=STEPS)
    stored(folder, steps=STEPS[1:])
    assert Files.reads == 12
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "2.png")
    os.utime(folder / "2.png", (1, 1))
    os.utime(folder / "3.mask.png", (1, 1))
    stored(folder)
    assert Files.reads == 14


def test_other_code_of_a_data_set_is_another_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = folder / "mine.py"
    code.write_text("# one")
    monkeypatch.setattr(sys.modules[__name__], "__file__", str(code))
    stored(folder)
    code.write_text("# another")
    stored(folder)
    assert Files.reads == 8


def test_entries_of_others_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    stored(folder)
    monkeypatch.setattr(os, "utime", refuse)
    stored(folder)
    assert Files.reads == 4
    assert caplog.text == ""
    assert len(cache().entries()) == 1


def test_without_the_variable_nothing_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELAY_CACHE")
    stored(folder)
    assert not (folder / "cache").exists()


@pytest.mark.parametrize("damage", ["cut", "middle", "index", "empty", "other"])
def test_a_damaged_pack_is_read_again(folder: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    first = stored(folder)
    (path,) = cache().entries()
    data = path.read_bytes()
    broken = {"cut": data[:-40], "middle": data[:16] + data[32:], "empty": b"", "other": b"x" * 99}
    broken["index"] = data.replace(b", null, []", b", [7], []")
    path.unlink()  # others may have mapped it
    path.write_bytes(broken[damage])
    assert same(stored(folder), first)
    assert Files.reads == 8
    assert f"{path}: damaged" in caplog.text
    assert same(stored(folder), first)
    assert Files.reads == 8


def test_an_image_that_is_damaged_in_a_pack_is_read_again_when_it_is_used(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = stored(folder)
    (path,) = cache().entries()
    data = bytearray(path.read_bytes())
    data[data.index(bytes(range(5, 12)))] ^= 255
    path.unlink()
    path.write_bytes(data)
    again = stored(folder)
    assert Files.reads == 4
    assert same(again, first)
    assert same(again, first)
    assert Files.reads == 5
    assert caplog.text.count(f"{path}: damaged") == 1
    with pytest.raises(ValueError, match="read-only"):
        again[0][0][:] = 0
    assert same(stored(folder), first)
    assert Files.reads == 9


def test_a_file_of_the_same_size_and_time_is_noticed(folder: Path) -> None:
    first = stored(folder)
    before = (folder / "2.png").stat()
    other = (folder / "3.png").read_bytes()
    assert len(other) == before.st_size
    (folder / "2.png").write_bytes(other)
    os.utime(folder / "2.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    again = stored(folder)
    assert Files.reads == 5
    assert np.array_equal(again[2][0], first[3][0])


def test_a_file_that_has_changed_only_just_now_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SETTLED", 3600.0)
    stored(folder)
    assert cache().entries() == []
    stored(folder)
    assert Files.reads == 8


def test_what_was_read_before_an_error_is_kept(folder: Path) -> None:
    (folder / "3.png").write_bytes(b"no picture")
    with pytest.raises(DataError):
        stored(folder)
    Image.fromarray(np.ones((5, 5), np.uint8)).save(folder / "3.png")
    stored(folder)
    assert Files.reads == 5


def test_other_splits_of_the_same_images_are_found(folder: Path) -> None:
    dataset = Files(folder)
    first = Store(dataset, dataset.listing[:3])
    Store(dataset, dataset.listing[3:])
    again = Store(dataset, dataset.listing[:0:-1])
    assert Files.reads == 4
    assert np.array_equal(again[2][0], first[1][0])
    assert np.array_equal(again[0][0], dataset[3].image)
    assert len(cache().entries()) == 2


def test_the_least_recently_used_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FULL_PACK", 1)
    stored(folder)
    entries = cache().entries()
    assert len(entries) == 4
    for age, path in enumerate(entries):
        os.utime(path, (1000 + age, 1000 + age))
    killed = folder / "cache" / "x.1.2.part"
    killed.touch()
    os.utime(killed, (1, 1))
    size = cache().size()
    monkeypatch.setenv("RELAY_CACHE_GB", repr(size / 2e9))
    cache().trim()
    assert cache().entries() == entries[2:]
    assert not killed.exists()
    assert cache().clear() == 2
    assert cache().entries() == []


def test_only_the_owner_may_read_it(folder: Path) -> None:
    stored(folder)
    assert (folder / "cache").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in cache().entries())


def test_several_may_write_and_read_at_once(folder: Path) -> None:
    made: list[Store] = []
    threads = [threading.Thread(target=lambda: made.append(stored(folder, steps=STEPS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert all(same(made[0], other) for other in made)
    assert not list((folder / "cache").glob("*.part"))


def test_a_disk_that_takes_nothing_stops_no_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("RELAY_CACHE", str(folder / "file" / "below"))
    assert len(stored(folder)) == 4
    assert caplog.text.count("can't be cached") == 1


@pytest.mark.parametrize("limit", ["much", "0", "-1", "nan", "inf"])
def test_a_limit_must_be_a_size(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("RELAY_CACHE_GB", limit)
    with pytest.raises(UserError, match="must be a number of gigabytes above 0"):
        Cache.of_environment()
