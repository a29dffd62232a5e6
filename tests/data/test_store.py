from __future__ import annotations

import errno
import io
import os
import pickle
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest

from relay.data import SiteData, Split, Spool, Store, prepare
from relay.data.problems import refuse
from relay.errors import DataError
from relay.files import disk_full

SHAPES = [(4, 5), (6, 3), (4, 5)]


@pytest.mark.parametrize("max_ram", [1 << 20, 100, 0], ids=["ram", "some", "file"])
def test_what_is_stored_is_what_was_read(made, tmp_path: Path, max_ram: int) -> None:
    dataset = made(SHAPES)
    store = Store(dataset, dataset.listing, Spool(tmp_path / "spool", max_ram))
    assert len(store) == 3
    assert store.shapes == SHAPES
    for i, sample in enumerate(dataset.listing):
        image, mask = store[i]
        assert (image == dataset.load(sample).image).all()
        assert (mask == dataset.load(sample).target).all()
        assert image.dtype == mask.dtype == np.uint8


def test_the_file_has_no_name(made, tmp_path: Path) -> None:
    dataset = made(SHAPES)
    store = Store(dataset, dataset.listing, Spool(tmp_path, max_ram=0))
    assert isinstance(store._buffer.pixels(), np.memmap)
    assert list(tmp_path.iterdir()) == []
    assert not Store(dataset, dataset.listing)._buffer.pixels().flags.writeable


def test_stores_share_the_limit_and_the_file(made, tmp_path: Path) -> None:
    dataset, spool = made(SHAPES), Spool(tmp_path, max_ram=2 * sum(h * w * 4 for h, w in SHAPES))
    stores = [Store(dataset, dataset.listing, spool) for _ in range(4)]
    assert [isinstance(store._buffer.pixels(), np.memmap) for store in stores] == [False, False, True, True]
    assert all((store[i][0] == stores[0][i][0]).all() for store in stores for i in range(3))


def test_what_rests_is_not_in_ram_until_it_is_used(made, tmp_path: Path) -> None:
    dataset = made(SHAPES)
    store = Store(dataset, dataset.listing, Spool(tmp_path, max_ram=0))
    assert store._buffer._pixels is None  # reading alone maps nothing
    before = store[1][0].copy()
    store.rest()
    assert store._buffer._pixels is None
    assert (store[1][0] == before).all()
    assert dataset.reads == 3


@pytest.mark.parametrize("max_ram", [1 << 20, 0], ids=["ram", "file"])
def test_a_store_can_go_to_a_process_that_is_started_anew(made, tmp_path: Path, max_ram: int) -> None:
    dataset = made(SHAPES)
    buffer = Store(dataset, dataset.listing, Spool(tmp_path, max_ram))._buffer
    again = pickle.loads(pickle.dumps(buffer))
    assert (again.pixels() == buffer.pixels()).all()
    assert again.nbytes == buffer.nbytes


def test_a_worker_that_was_forked_writes_nothing_to_the_file(made, tmp_path: Path) -> None:
    """Whatever the buffer of the open file still held, each worker would write again."""
    spool = Spool(tmp_path, max_ram=0)
    buffer = Store(made(SHAPES), made(SHAPES).listing, spool)._buffer
    assert spool._file is not None
    assert os.fstat(spool._file.fileno()).st_size == buffer._end > 0


def test_a_full_disk_is_that_of_the_file(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("relay.data.spool.TemporaryFile", lambda dir: Full())
    with pytest.raises(OSError, match="No space left") as caught:
        Store(made(SHAPES), made(SHAPES).listing, Spool(tmp_path / "spool", max_ram=0))
    said = disk_full(caught.value, Path("elsewhere"))
    assert said is not None
    assert f"the disk is full: {tmp_path / 'spool'} can't be written" in said
    assert said.endswith("MB are free there")  # "now" is for whoever says it when all is over


@pytest.mark.parametrize("ahead", [1, 3 * 20, 1 << 20])
def test_few_large_images_are_read_at_a_time(made, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    dataset, held, most = made([(10, 10)] * 40), 0, 0
    monkeypatch.setattr("relay.data.store.AHEAD", ahead * 4)
    monkeypatch.setattr("relay.data.store.os.cpu_count", lambda: 4)
    load, lock = dataset.load_slices, Lock()

    def counted(volume):
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return load(volume)

    def stored():
        nonlocal held
        with lock:
            held -= 1

    monkeypatch.setattr(dataset, "load_slices", counted)
    Store(dataset, dataset.listing, step=stored)
    assert most <= (2 if ahead < 100 else 4 * 4 + 1)


def test_fewer_wait_once_larger_images_come(made, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, held = made([(2, 2)] * 20 + [(10, 10)] * 40), [0]
    monkeypatch.setattr("relay.data.store.AHEAD", 2 * 400)
    monkeypatch.setattr("relay.data.store.os.cpu_count", lambda: 4)
    load, lock = dataset.load_slices, Lock()

    def counted(volume):
        with lock:
            held.append(held[-1] + 1)
        return load(volume)

    def stored():
        with lock:
            held.append(held[-1] - 1)

    monkeypatch.setattr(dataset, "load_slices", counted)
    Store(dataset, dataset.listing, step=stored)
    assert max(held[:30]) > 4
    assert max(held[-40:]) <= 4


def test_slices_that_are_read_with_their_volume_count_together(made, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, held, most = made([(10, 10)]), 0, 0
    case, lock = dataset.load(dataset.listing[0]), Lock()
    slices = [replace(dataset.listing[0], images=(Path(str(n)),), slice=k) for n in range(30) for k in range(20)]
    monkeypatch.setattr("relay.data.store.AHEAD", 2 * 20 * (case.image.nbytes + case.target.nbytes))

    def counted(volume):
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return [case] * len(volume)

    def stored():
        nonlocal held
        with lock:
            held -= 1 / 20

    monkeypatch.setattr(dataset, "load_slices", counted)
    Store(dataset, slices, step=stored)
    assert most <= 4


def test_a_picture_takes_its_pixels_and_is_read_once(made) -> None:
    dataset = made([(50, 40)] * 30)
    store = Store(dataset, dataset.listing)
    for _ in range(2):
        for i in range(30):
            assert np.shares_memory(store[i][0], store._buffer.pixels())
    assert store.nbytes == 30 * 50 * 40 * (3 + 1)
    assert dataset.reads == 30


def test_nobody_writes_to_a_store(made) -> None:
    store = Store(made(SHAPES), made(SHAPES).listing)
    with pytest.raises(ValueError, match="read-only"):
        store[0][0][:] = 0


def test_grey_pictures_have_one_channel(made) -> None:
    dataset = made(SHAPES, channels=1)
    store = Store(dataset, dataset.listing)
    assert [store[i][0].shape for i in range(3)] == [(*shape, 1) for shape in SHAPES]
    assert store[2][0].max() == 2


def test_all_bad_files_of_all_splits_are_reported_together(made) -> None:
    dataset = made([(2, 2)] * 12, bad=(1, 3, 4, 5, 6, 7, 11))
    site, read = prepare(dataset, seed=1), []
    with pytest.raises(DataError) as caught:
        site.read(("train", "val", "test"), lambda: read.append(1))
    lines = str(caught.value).splitlines()
    assert lines[0] == "task 'made': images that can't be used (7):"
    assert len(lines) == 7
    assert lines[-1] == "  - and 2 more"
    assert len(read) == 5
    assert caught.value.advice() == "Fix or remove the files named above."


def test_each_cause_is_shown_with_its_own_cure() -> None:
    mask_values = [DataError(f"{i}: values 9", "Set mask_values.") for i in range(6)]
    with pytest.raises(DataError) as caught:
        refuse([*mask_values, DataError("x: can't be read"), DataError("y: size", "Resize it.")], "bad", "Remove them.")
    assert str(caught.value).splitlines() == [
        "bad (8):", "  - 0: values 9", "  - 1: values 9", "  - 2: values 9", "  - x: can't be read", "  - y: size",
        "  - and 3 more",
    ]  # fmt: skip
    assert caught.value.advice() == "Set mask_values.\n  Remove them.\n  Resize it."
    with pytest.raises(DataError) as caught:
        refuse(["x: can't be read"], "bad")
    assert "mask_values" not in caught.value.advice()


def test_a_wrong_number_of_axes(made) -> None:
    with pytest.raises(DataError, match=r"4×4×4 can't be resized to img_size 8×8"):
        made([(4, 4, 4)], img_size=[8, 8])[0]


def test_an_image_and_its_mask_have_one_size(made, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made([(4, 4)])
    picture = dataset[0]
    object.__setattr__(picture, "target", picture.target[:3])
    monkeypatch.setattr(dataset, "read", lambda sample: picture)
    with pytest.raises(DataError, match="0: size 4×4, but its mask 3×4"):
        dataset[0]


def test_nothing_is_read_before_it_is_needed(made) -> None:
    dataset = made([(4, 4)] * 10)
    site = prepare(dataset, seed=1)
    assert dataset.reads == 0
    assert len(site.test) == 2
    assert dataset.reads == 2
    assert site.store("test") is site.test
    assert [len(site.train), len(site.val)] == [6, 2]


def test_the_truth_has_the_original_size(made) -> None:
    small, plain = made([(6, 9)] * 5, img_size=[3, 3]), made([(6, 9)] * 5)
    for dataset in (small, plain):
        mask, spacing = prepare(dataset, seed=1).truth("test", 0)
        assert (mask == plain[0].target).all()
        assert spacing == (1.0, 1.0)
    store = prepare(small, seed=1).test
    assert store[0][1].shape == (3, 3)
    assert store.spacings == [(2.0, 3.0)]


def test_empty_splits(made) -> None:
    with pytest.raises(DataError, match="'made': the test split is empty: 1 images of 1 patients"):
        prepare(made([(4, 4)]), seed=1)
    assert len(prepare(made([(4, 4)]), seed=1, splits=("train",)).train) == 1
    assert len(prepare(made([(4, 4)] * 2), seed=1).val) == 0
    with pytest.raises(DataError, match="'made': no images in"):
        prepare(made([]), seed=1)


def test_ids_are_unique(made, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made([(4, 4)] * 2)
    twice = dataset.samples() + dataset.samples()[:1]
    monkeypatch.setattr(dataset, "samples", lambda: twice)
    with pytest.raises(DataError, match=r"duplicate sample ids \(1\):\n  - s0") as caught:
        prepare(dataset, seed=1)
    assert caught.value.advice().startswith("Name each folder only once in img_folder")


def test_a_site_made_by_hand(made) -> None:
    dataset = made([(4, 4)] * 3)
    site = SiteData(dataset, Split(dataset.listing[:1], [], dataset.listing[1:]))
    assert [sample.id for sample in site.test.samples] == ["s1", "s2"]
