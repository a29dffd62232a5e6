"""Volumes read as slices."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydantic import ValidationError

from relay.data import Case, Dataset, DatasetOptions, Record, Store, prepare, read_mask, read_pair, stacked
from relay.data.steps.slicing import AXES, cut
from relay.errors import DataError
from relay.leg import Predicted
from relay.predict.study import _Pictures

SHAPE = (4, 6, 5)
PLANES = sorted(AXES)


class Scans(Dataset):
    """Volumes with an oblique header, each its patient's only one."""

    def __init__(self, folder: Path, count: int = 5, **options: Any) -> None:
        super().__init__(DatasetOptions(task_id=0, task_name="scans", num_classes=3, channels=1, **options))
        self.folder, self.count, self.reads = folder, count, 0

    def samples(self) -> list[Record]:
        files = [self.folder / f"s{i}.nii.gz" for i in range(self.count)]
        return [Record(f"s{i}", f"p{i}", (path,), self.folder / f"m{i}.mha") for i, path in enumerate(files)]

    def read(self, sample: Record) -> Case:
        self.reads += 1
        return super().read(sample)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(5):
        for name, values in (
            (f"s{i}.nii.gz", rng.normal(size=SHAPE).astype(np.float32)),
            (f"m{i}.mha", rng.integers(0, 3, SHAPE).astype(np.uint8)),
        ):
            image = sitk.GetImageFromArray(values)
            image.SetSpacing((1.0, 2.0, 3.0))
            image.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.1, 0.2, 0.3).GetMatrix())
            sitk.WriteImage(sitk.DICOMOrient(image, "RAS" if i % 2 else "SPL"), str(tmp_path / name))
    return tmp_path


@pytest.mark.parametrize("plane", PLANES)
def test_a_slice_is_what_a_single_slice_file_is(folder: Path, tmp_path: Path, plane: str) -> None:
    """ITK cuts the slice out of the file; reading it turns it as any file with one slice."""
    dataset = Scans(folder, slices=plane)
    scan, axis = sitk.DICOMOrient(sitk.ReadImage(str(folder / "s1.nii.gz")), "LPS"), AXES[plane]
    mask = sitk.DICOMOrient(sitk.ReadImage(str(folder / "m1.mha")), "LPS")
    samples = [sample for sample in dataset.listing if sample.patient == "p1"]
    assert [sample.id for sample in samples] == [f"s1#{i:03d}" for i in range(scan.GetSize()[2 - axis])]
    for sample in samples:
        where = [slice(None)] * 3
        where[2 - axis] = slice(sample.slice, (sample.slice or 0) + 1)
        for image, name in ((scan, "one.mha"), (mask, "drawn.mha")):
            sitk.WriteImage(image[tuple(where)], str(tmp_path / name))
        one = read_pair(tmp_path / "one.mha", tmp_path / "drawn.mha", range(3))
        found = dataset.original(sample)
        assert np.array_equal(found.target, one.target)
        assert found.spacing == pytest.approx(one.spacing)
        assert np.array_equal(dataset.load(sample).target, one.target)


@pytest.mark.parametrize("plane", PLANES)
def test_slices_make_the_volume_again(plane: str) -> None:
    case = Case(np.zeros((*SHAPE, 1), np.uint8), np.arange(120, dtype=np.uint8).reshape(SHAPE), (1.0, 2.0, 3.0))
    axis = AXES[plane]
    slices = [cut(case, axis, i) for i in range(SHAPE[axis])]
    assert np.array_equal(stacked([each.target for each in slices], axis), case.target)
    assert slices[0].spacing == tuple(mm for i, mm in enumerate((1.0, 2.0, 3.0)) if i != axis)


def test_each_volume_is_read_once_and_a_patient_stays_in_one_split(folder: Path) -> None:
    dataset = Scans(folder, slices="axial")
    site = prepare(dataset, seed=1)
    stores = [site.train, site.val, site.test]
    assert dataset.reads == 5
    patients = [{sample.patient for sample in store.samples} for store in stores]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 5
    assert all(shape == stores[0].shapes[0] and len(shape) == 2 for store in stores for shape in store.shapes)
    whole = Dataset.load(Scans(folder), Scans(folder).listing[0])
    store = Store(dataset, [sample for sample in dataset.listing if sample.patient == "p0"])
    assert np.array_equal(stacked([store[i][1] for i in range(len(store))], 0), whole.target)
    assert np.array_equal(stacked([store[i][0][..., 0] for i in range(len(store))], 0), whole.image[..., 0])


def test_the_truth_of_resized_slices_reads_each_volume_once(folder: Path) -> None:
    resize = [{"name": "Resize", "kwargs": {"size": [None, 8, 8]}}]
    for options in ({"img_size": [8, 8]}, {"steps": resize}):
        dataset = Scans(folder, slices="axial", **options)
        site = prepare(dataset, seed=1)
        before, plain = (len(site.test), dataset.reads)[1], Scans(folder, slices="axial")
        for i, sample in enumerate(site.split.test):
            mask, spacing = site.truth("test", i)
            assert np.array_equal(mask, plain.original(sample).target)
            assert spacing == plain.original(sample).spacing
            assert site.test.shapes[i] == (8, 8)
        assert dataset.reads == before + len({sample.patient for sample in site.split.test})


def test_steps_may_not_change_the_number_of_slices(folder: Path) -> None:
    dataset = Scans(folder, slices="axial", steps=[{"name": "Resize", "kwargs": {"size": [3, 8, 8]}}])
    with pytest.raises(DataError, match=r"s0\.nii\.gz: the steps change the number of slices from \d to 3") as caught:
        dataset.load(dataset.listing[0])
    assert "Give null for the axis across the slices" in caught.value.advice()


def test_nor_put_others_in_their_place(folder: Path) -> None:
    steps = [{"name": "Crop", "kwargs": {"size": [2, None, None]}}, {"name": "Resize", "kwargs": {"size": [4, 8, 8]}}]
    dataset = Scans(folder, slices="axial", steps=steps)
    with pytest.raises(DataError, match=r"s0\.nii\.gz: the steps move the slices"):
        dataset.load(dataset.listing[0])


def test_steps_of_slices_are_for_volumes(folder: Path) -> None:
    with pytest.raises(ValidationError, match="steps see the whole volume: give Resample"):
        Scans(folder, slices="axial", steps=[{"name": "Resample", "kwargs": {"spacing": [1, 1]}}])
    for key in ("patch_size", "img_size"):
        with pytest.raises(ValidationError, match="must be rows, columns"):
            Scans(folder, slices="axial", **{key: [4, 4, 4]})


def test_the_wrong_number_of_axes_is_one_error(folder: Path) -> None:
    class Plain(Scans):
        read = Dataset.read

    steps = [{"name": "Resample", "kwargs": {"spacing": [1, 1]}}]
    for options, key in (({"steps": steps}, "steps"), ({"img_size": [8, 8]}, "img_size")):
        with pytest.raises(DataError, match=rf"\.nii\.gz has 3 axes, but {key} is for 2") as caught:
            prepare(Plain(folder, **options), seed=1).read(["train", "test"])
        assert "slices, rows, columns" in caught.value.advice()
    (folder / "s0.nii.gz").write_bytes(b"damaged")
    (folder / "s1.nii.gz").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"images that can't be used \(2\)"):
        prepare(Plain(folder, img_size=[8, 8, 8]), seed=1).read(["train", "val", "test"])
    with pytest.raises(ValidationError, match="must have as many axes as the steps: 2"):
        Plain(folder, steps=steps, patch_size=[2, 2, 2])


def test_pictures_have_no_slices(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Scans(folder, slices="axial")
    monkeypatch.setattr(dataset, "samples", lambda: [Record("a", "a", (folder / "a.png",), folder / "b.png")])
    with pytest.raises(DataError, match=r"a\.png: a 2D picture has no slices"):
        _ = dataset.listing


@pytest.mark.parametrize("plane", PLANES)
def test_masks_of_slices_are_saved_as_one_volume(folder: Path, tmp_path: Path, plane: str) -> None:
    site = prepare(Scans(folder, slices=plane), seed=1)
    cell: Any = SimpleNamespace(model=SimpleNamespace(folder="m"), options=site.dataset.options)
    pictures = _Pictures(site, cell, tmp_path / "out")
    for i, sample in enumerate(site.split.test):
        truth, spacing = site.truth("test", i)
        pictures.save(Predicted(sample, truth, [], truth, spacing, []))
    names = sorted({sample.id.partition("#")[0] for sample in site.split.test})
    saved = sorted((tmp_path / "out").rglob("*.nii.gz"))
    assert [path.name for path in saved] == [f"{name}.nii.gz" for name in names]
    for path in saved:
        number = path.name[1]
        assert np.array_equal(read_mask(path), read_mask(folder / f"m{number}.mha"))
        image, mask = (sitk.ReadImage(str(file)) for file in (folder / f"s{number}.nii.gz", path))
        for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(mask, what)() == pytest.approx(getattr(image, what)(), abs=1e-5)
    assert len(list((tmp_path / "out").rglob("*.png"))) == len(site.split.test)
