"""Any orientation a file may have, against SimpleITK's own."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, strategies as st

from relay.data.formats.geometry import Geometry

CODES = ["".join(code) for axes in permutations(("LR", "AP", "IS")) for code in product(*axes)]
FLIPPED = (-1, 0, 0, 0, 1, 0, 0, 0, 1)


def scan(code: str, size: tuple[int, int, int] = (2, 3, 4), tilt: tuple[float, ...] = (0, 0, 0)) -> Any:
    """A volume of ``size`` along left, back and head, every voxel another number, stored in an orientation."""
    image = sitk.GetImageFromArray(np.arange(np.prod(size), dtype=np.int32).reshape(size[::-1]))
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((-7.0, 11.0, 3.5))
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), *tilt).GetMatrix())
    return sitk.DICOMOrient(image, code)


TILTS = st.tuples(*[st.floats(-0.3, 0.3)] * 3)


def test_there_are_48_orientations() -> None:
    assert len(CODES) == 48


@given(st.sampled_from(CODES), TILTS)
def test_a_volume_is_turned_as_simpleitk_does_and_back(code: str, tilt: tuple[float, ...]) -> None:
    stored = scan(code, tilt=tilt)
    expected = sitk.DICOMOrient(stored, "LPS")
    geometry, values = Geometry.of(stored), sitk.GetArrayFromImage(stored)
    turned = geometry.turn(values)
    assert np.array_equal(turned, sitk.GetArrayFromImage(expected))
    assert geometry.turned_spacing == expected.GetSpacing()[::-1]
    assert geometry.turns == (code != "LPS")
    assert np.array_equal(geometry.turn_back(turned), values)
    colours = np.stack([values, -values], axis=-1)
    assert np.array_equal(geometry.turn_back(geometry.turn(colours)), colours)
    for voxel in ((0, 0, 0), (1, 2, 0), (0, 1, 3)):
        there = np.argwhere(values == turned[voxel[::-1]])[0][::-1].tolist()
        where = stored.TransformIndexToPhysicalPoint(there)
        assert expected.TransformIndexToPhysicalPoint(voxel) == pytest.approx(where, abs=1e-6)


@given(st.sampled_from(CODES), st.permutations([1, 3, 4]), TILTS)
def test_a_single_slice_is_the_same_picture_however_it_is_stored(code: str, size: Any, tilt: Any) -> None:
    stored, plain = scan(code, tuple(size), tilt), scan("LPS", tuple(size))
    geometry, values = Geometry.of(stored), sitk.GetArrayFromImage(stored)
    picture = geometry.turn(values)
    upright = sitk.GetArrayFromImage(plain).squeeze()
    upright = upright if size[2] == 1 else upright[::-1]  # heads are up
    assert np.array_equal(picture, upright)
    spacing = [mm for mm, voxels in zip((2.0, 0.75, 0.5), size[::-1], strict=True) if voxels > 1]
    assert geometry.turned_spacing == pytest.approx(tuple(spacing))
    assert np.array_equal(geometry.turn_back(picture), values)


@pytest.mark.parametrize("flip", [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, 1, 0)])
def test_two_axes(flip: tuple[int, ...]) -> None:
    image = sitk.GetImageFromArray(np.arange(12).reshape(3, 4))
    image.SetSpacing((0.5, 2.0))
    image.SetDirection(flip)
    geometry, values = Geometry.of(image), sitk.GetArrayFromImage(image)
    matrix = np.reshape(flip, (2, 2))
    expected = values if matrix[0, 0] else values.T
    expected = np.flip(expected, [1 - axis for axis in (0, 1) if matrix[axis].sum() < 0])
    assert np.array_equal(geometry.turn(values), expected)
    assert geometry.turned_spacing == ((2.0, 0.5) if matrix[0, 0] else (0.5, 2.0))
    assert np.array_equal(geometry.turn_back(expected), values)


def test_noise_of_a_header_decides_no_tie() -> None:
    half = np.sqrt(0.5)
    turns = set()
    for noise in (-1e-7, 0, 1e-7):
        direction = (half + noise, -half + noise, 0, half - noise, half + noise, 0, 0, 0, 1)
        turns.add(Geometry((2, 3, 4), (1.0,) * 3, (0.0,) * 3, direction).way)
    assert len(turns) == 1


def changed(setter: str, values: tuple[float, ...]) -> Any:
    image = sitk.Image(2, 3, 4, sitk.sitkUInt8)
    image.SetSpacing((0.5, 1.0, 2.0))
    getattr(image, setter)(values)
    return image


@pytest.mark.parametrize(
    ("setter", "values", "found"),
    [
        ("SetSpacing", (0.5, 1.0, 2.0 + 1e-3), []),  # half a thousandth of a voxel
        ("SetSpacing", (0.5, 1.0, 2.003), [("spacing", "(0.5, 1, 2.003)", "(0.5, 1, 2)")]),
        ("SetOrigin", (4e-4, 0, 0), []),
        ("SetOrigin", (6e-4, 0, 0), [("origin", "(0.0006, 0, 0)", "(0, 0, 0)")]),
        ("SetOrigin", (0, 0, 1e-3), []),
        ("SetDirection", FLIPPED, [("direction", "(-1, 0, 0, 0, 1, 0, 0, 0, 1)", "(1, 0, 0, 0, 1, 0, 0, 0, 1)")]),
        ("SetDirection", (1, -9e-4, 0, 9e-4, 1, 0, 0, 0, 1), []),
    ],
)  # fmt: skip
def test_differences(setter: str, values: tuple[float, ...], found: list[tuple[str, str, str]]) -> None:
    plain = changed("SetOrigin", (0, 0, 0))
    assert Geometry.of(changed(setter, values)).differences(Geometry.of(plain)) == found


@pytest.mark.parametrize(("one", "found"), [((4, 3, 2), True), ((3, 2, 4), True), ((2, 3, 5), False), ((2, 3), False)])
def test_a_volume_stored_along_other_axes_is_another(one: tuple[int, ...], found: bool) -> None:
    axes = len(one)
    other = Geometry((2, 3, 4), (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
    told = Geometry(one, (1.0,) * axes, (0.0,) * axes, tuple(np.eye(axes).ravel())).differences(other)
    assert told == ([("size", f"({one[0]}, {one[1]}, {one[-1]})", "(2, 3, 4)")] if found else [])


def test_numbers_that_place_nothing() -> None:
    with pytest.raises(ValueError, match=r"the origin \(nan, 0, 0\) in its header is not possible"):
        Geometry.of(changed("SetOrigin", (np.nan, 0, 0)))
