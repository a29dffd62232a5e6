"""Masks as files: in their image's geometry, at a place that stays below the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, strategies as st
from PIL import Image

from relay.data import Record
from relay.data.read import read_image, read_mask, read_pair
from relay.errors import DataError
from relay.predict.masks import path_of, save_mask

LABELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3


@given(st.text(alphabet="ab./\\ ", max_size=12))
def test_no_id_leads_out_of_the_folder(name: str) -> None:
    place = Path("/folder") / path_of(Record(name, "p", (Path(),), Path()))
    assert ".." not in place.parts
    assert place.parts[:2] == ("/", "folder")


@given(st.lists(st.text(alphabet="ab./ ", max_size=8), unique=True, min_size=2, max_size=6))
def test_different_ids_have_different_places(names: list[str]) -> None:
    assert len({path_of(Record(name, "p", (Path(),), Path())) for name in names}) == len(names)
    assert path_of(Record("site/scan.1", "p", (Path(),), Path())) == Path("site/scan.1")


def test_a_picture_gets_a_palette(tmp_path: Path) -> None:
    path = save_mask(LABELS[0], Path("scan.jpg"), tmp_path / "a" / "scan.v2")
    assert path == tmp_path / "a" / "scan.v2.png"
    with Image.open(path) as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), LABELS[0])


def test_no_class_looks_like_background(tmp_path: Path) -> None:
    with Image.open(save_mask(np.arange(256, dtype=np.uint8)[None], Path("scan.png"), tmp_path / "mask")) as image:
        colours = np.asarray(image.convert("RGB"))[0]
    assert not colours[0].any()
    assert colours[1:].any(axis=1).all()
    assert np.array_equal(colours[1], colours[8])


@pytest.mark.parametrize("mask", [LABELS, LABELS[:1, :, :].reshape(3, 4)], ids=["volume", "one slice"])
def test_a_volume_keeps_its_geometry(tmp_path: Path, mask: np.ndarray) -> None:
    stored = mask.reshape(-1, 3, 4)
    like = sitk.GetImageFromArray(stored.astype(np.float32))
    like.SetSpacing((0.5, 0.7, 3.0))
    like.SetOrigin((7.0, -3.0, 2.5))
    like.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    sitk.WriteImage(like, str(tmp_path / "scan.nii.gz"))
    read = read_mask(tmp_path / "scan.nii.gz").astype(np.uint8)
    assert read.shape == (*mask.shape[:-2], 4, 3)
    path = save_mask(read, tmp_path / "scan.nii.gz", tmp_path / "mask")
    saved = sitk.ReadImage(str(path))
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(saved, what)() == pytest.approx(getattr(like, what)(), abs=1e-6)
    assert np.array_equal(sitk.GetArrayFromImage(saved), stored)
    assert not list(tmp_path.glob(".part*"))
    with pytest.raises(DataError, match="its mask can't be saved"):
        save_mask(read.T[1:], tmp_path / "scan.nii.gz", tmp_path / "mask")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_a_mask_lies_as_its_photograph_is_stored(tmp_path: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.repeat(LABELS[1] * 100, 8, 0).repeat(8, 1))
    stored.save(tmp_path / f"scan.{ending}", exif=exif)
    upright = read_image(tmp_path / f"scan.{ending}")[0][..., 0]
    seen = (upright // 90).astype(np.uint8)
    path = save_mask(seen, tmp_path / f"scan.{ending}", tmp_path / "mask")
    assert np.array_equal(read_mask(path), seen)
    with Image.open(path) as saved:
        assert np.array_equal(np.asarray(saved), np.asarray(stored) // 90)
    read_pair(tmp_path / f"scan.{ending}", path, range(3))
