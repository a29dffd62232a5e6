"""Whether an image has the axes and channels that are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import SimpleITK as sitk
from PIL import Image

from relay.data import axes_of, check_image, kind_of, suits
from relay.errors import DataError
from tests.rooms import ROOT


@pytest.mark.parametrize(
    ("shape", "axes", "channels", "said", "cure"),
    [
        ((4, 5, 1), [3], 1, r"i.png has 2 axes; the model takes volumes \(3 axes\)", "the whole volume in one file"),
        ((4, 5, 6, 1), [2], 1, r"has 3 axes; the model takes 2D images \(2 axes\)", "Save the slices"),
        ((4, 1), [2, 3], 1, r"has 1 axis; the model takes 2D images \(2 axes\) or volumes \(3 axes\)", "slices"),
        ((4, 5, 1), [2], 2, "has 1 channel; the model takes 2", "NAME_0000"),
        ((4, 5, 4), [2], 3, "has 4 channels; the model takes 3", "NAME_0000"),
    ],
)
def test_what_does_not_suit_is_told_with_its_cure(
    shape: tuple[int, ...], axes: list[int], channels: int, said: str, cure: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        check_image(Path("i.png"), shape, axes, channels)
    assert cure in caught.value.advice()


def test_grey_and_rgb_are_converted() -> None:
    check_image(Path("i.png"), (4, 5, 3), [2], 1)
    assert suits(1, 3)
    assert suits(2, 2)
    assert not suits(1, 2)
    assert kind_of(4) == "images of 4 axes"


def test_a_header_tells_the_axes(tmp_path: Path) -> None:
    Image.new("L", (4, 5)).save(tmp_path / "i.png")
    sitk.WriteImage(sitk.Image([4, 5, 6], sitk.sitkUInt8), tmp_path / "v.nii.gz")
    sitk.WriteImage(sitk.Image([4, 5, 1], sitk.sitkUInt8), tmp_path / "s.nii.gz")
    assert [axes_of(tmp_path / name) for name in ("i.png", "v.nii.gz", "s.nii.gz", "i.txt")] == [2, 3, 2, None]


def test_shapes_and_endings_are_written_once() -> None:
    """The script of an export stands alone; every other part of relay takes them from here."""
    own = {"data/suiting.py", "export/standalone.py"}
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}
    for what in ("{1, 3}", "(2 axes)", '".nii.gz", ".nii"', '!= ".dcm"'):
        assert {name for name, text in texts.items() if what in text} <= own | {"data/formats/files.py"}, what
