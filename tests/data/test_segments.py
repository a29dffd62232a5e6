"""Masks in DICOM-SEG files, written and read by highdicom, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk

from relay.data.dicom.segments import is_segmentation, read_drawn
from relay.data.formats.raw import read_raw
from relay.data.read import read_pair
from relay.errors import DataError
from tests.dicoms import NAME, OBLIQUE, affine, segmentation, series, uid

STORED = np.random.default_rng(0).integers(0, 3000, (5, 4, 6)).astype(np.int16)
MASK = np.zeros(STORED.shape, np.uint8)
MASK[1, 1:3, 2:5], MASK[3, 0, 0], MASK[3, 3, 5] = 1, 2, 2


def places(chosen: np.ndarray, voxels_to_mm: np.ndarray) -> np.ndarray:
    """Where the chosen voxels are in mm, sorted."""
    found = np.argwhere(chosen) @ voxels_to_mm[:3, :3].T + voxels_to_mm[:3, 3]
    return np.array(sorted(np.round(found, 3).tolist()))


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), OBLIQUE])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_lie_on_their_image(tmp_path: Path, orientation: Any, kind: str) -> None:
    folder = series(tmp_path / "s", STORED, orientation=orientation)
    path = segmentation(tmp_path / "seg.dcm", folder, MASK, (1, 2), kind=kind)
    assert is_segmentation(path)
    assert not is_segmentation(folder)
    drawn = read_drawn(path, read_raw(folder))
    assert np.array_equal(drawn.values, MASK)
    theirs = highdicom.seg.segread(path).get_volume(combine_segments=True)
    assert drawn.geometry is not None
    mine = affine(drawn.geometry)[:, [2, 1, 0, 3]]  # of (z, y, x)
    for number in (1, 2):
        assert np.allclose(places(drawn.values == number, mine), places(theirs.array == number, theirs.affine))
    case = read_pair(folder, path, range(3))
    assert np.unique(case.target).tolist() == [0, 1, 2]
    assert case.image.shape[:-1] == case.target.shape


def test_a_mask_of_nifti_beside(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", STORED, orientation=OBLIQUE)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    drawn = sitk.GetImageFromArray(MASK)
    drawn.CopyInformation(reader.Execute())
    sitk.WriteImage(drawn, str(tmp_path / "mask.nii.gz"))
    by_segments = read_pair(folder, segmentation(tmp_path / "seg.dcm", folder, MASK, (1, 2)), range(3))
    case = read_pair(folder, tmp_path / "mask.nii.gz", range(3))
    assert np.array_equal(case.target, by_segments.target)
    assert case.notes == ()
    drawn.SetOrigin((0, 0, 0))
    sitk.WriteImage(drawn, str(tmp_path / "mask.nii.gz"))
    with pytest.raises(DataError, match=r"mask.nii.gz: origin .*, but that of its image"):
        read_pair(folder, tmp_path / "mask.nii.gz", range(3))


def test_segments_that_do_not_fit(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", STORED)
    path = segmentation(tmp_path / "seg.dcm", folder, MASK, (1, 2))
    for name, tags, message in (
        ("other", {"SeriesInstanceUID": uid("other")}, "refers to the series"),
        ("turned", {"orientation": OBLIQUE}, "has another orientation or pixel size"),
        ("coarse", {"PixelSpacing": [1, 1]}, "has another orientation or pixel size"),
        ("dense", {"step": 1.5}, "lies between the voxels of its image"),
        ("part", {}, "outside"),
    ):
        other = series(tmp_path / name, STORED[:2] if name == "part" else STORED, **tags)
        with pytest.raises(DataError) as caught:
            read_drawn(path, read_raw(other))
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
        assert caught.value.own_advice


def test_probabilities_and_overlaps_are_refused(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", STORED)
    image = read_raw(folder)
    path = segmentation(tmp_path / "p.dcm", folder, (MASK > 0) * 0.5, kind="FRACTIONAL")
    with pytest.raises(DataError, match="fractions of voxels"):
        read_drawn(path, image)
    path = segmentation(tmp_path / "whole.dcm", folder, (MASK > 0) * 1.0, kind="FRACTIONAL")
    assert np.array_equal(read_drawn(path, image).values, MASK > 0)
    both = np.stack([MASK > 0, MASK == 2], axis=-1).astype(np.uint8)
    path = segmentation(tmp_path / "both.dcm", folder, both, (1, 2))
    with pytest.raises(DataError, match="overlaps another segment"):
        read_drawn(path, image)
    with pytest.raises(DataError, match=r"values 2 are not classes"):
        read_pair(folder, segmentation(tmp_path / "two.dcm", folder, MASK, (1, 2)), range(2))


def test_no_name_in_what_is_said(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", STORED)
    path = segmentation(tmp_path / "seg.dcm", folder, MASK, (1, 2))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError) as caught:
        read_drawn(path, read_raw(folder))
    assert not any(word in f"{caught.value} {caught.value.advice()}" for word in NAME.split("^"))
