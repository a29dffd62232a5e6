"""Place, size and values of volumes, against nibabel, which shares no code with the readers here."""

from __future__ import annotations

import shutil
import struct
from itertools import permutations
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from scipy.spatial.transform import Rotation

from relay.data.formats.raw import read_raw
from relay.errors import DataError
from relay.predict.masks import save_mask
from tests.dicoms import affine, nifti_affine

HIPPOCAMPUS = Path(__file__).parents[3] / "shared" / "data" / "hippocampus" / "image"
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ORDERS = list(permutations(range(3)))


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any orientation and spacing: axes exchanged, reversed, turned a little, of other lengths."""
    axes = np.eye(3)[list(draw(st.sampled_from(ORDERS)))] * draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    turned = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-0.5, 0.5)] * 3))).as_matrix() @ axes
    found = np.eye(4)
    found[:3, :3] = turned * draw(st.tuples(*[st.floats(0.3, 6)] * 3))
    found[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return found


def write(path: Path, values: np.ndarray, place: np.ndarray) -> Path:
    """By nibabel, with equal sform and qform."""
    image = nibabel.Nifti1Image(values, place)
    image.set_qform(place, 1)
    image.set_sform(place, 1)
    nibabel.save(image, path)
    return path


@QUICK
@given(place=affines(), seed=st.integers(0, 99), kind=st.sampled_from(["u1", "i2", "i4", "f4", "f8"]))
def test_a_volume_lies_where_nibabel_says(tmp_path: Path, place: np.ndarray, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    stored = rng.integers(0, 200, rng.integers(2, 6, 3)).astype(kind)
    path = write(tmp_path / "a.nii.gz", stored, place)
    raw = read_raw(path)
    theirs = nibabel.load(path)
    assert raw.geometry is not None
    assert np.array_equal(raw.values.transpose(2, 1, 0), np.asanyarray(theirs.dataobj))
    spread = np.abs(place[:3]).max()
    assert np.allclose(affine(raw.geometry), nifti_affine(path), atol=1e-5 * spread)
    assert np.allclose(raw.geometry.spacing, nibabel.affines.voxel_sizes(theirs.affine), rtol=1e-5)
    # turned: feet to head, front to back, right to left, as nibabel orients the nearest axes
    canonical = nibabel.as_closest_canonical(theirs)  # left to right, back to front, feet to head
    turned = raw.geometry.turn(raw.values)
    expected = np.asanyarray(canonical.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    cosines = np.sort(np.abs(place[:3, :3] / np.linalg.norm(place[:3, :3], axis=0)), axis=0)
    if (cosines[2] > 1.2 * cosines[1]).all():  # else, two orientations are equally near
        assert np.array_equal(turned, expected)


@QUICK
@given(place=affines(), seed=st.integers(0, 99))
def test_a_prediction_lies_exactly_on_its_image(tmp_path: Path, place: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stored = rng.integers(0, 3, rng.integers(2, 6, 3)).astype(np.uint8)
    path = write(tmp_path / "a.nii.gz", stored, place)
    raw = read_raw(path)
    assert raw.geometry is not None
    saved = save_mask(raw.geometry.turn(raw.values), path, tmp_path / "mask")
    assert np.array_equal(np.asanyarray(nibabel.load(saved).dataobj), stored)  # voxel for voxel
    assert np.allclose(nibabel.load(saved).affine, place, atol=1e-5 * np.abs(place[:3]).max())


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason=f"{HIPPOCAMPUS} is not here")
def test_real_scans() -> None:
    for path in sorted(HIPPOCAMPUS.glob("*.nii.gz"))[:5]:
        raw, theirs = read_raw(path), nibabel.load(path)
        assert raw.geometry is not None
        assert np.array_equal(raw.values.transpose(2, 1, 0), np.asanyarray(theirs.dataobj))
        assert np.allclose(affine(raw.geometry), nifti_affine(path), atol=1e-4)


@QUICK
@given(scale=st.floats(0.001, 100), added=st.floats(-2000, 2000))
def test_scaled_values_are_nibabels(tmp_path: Path, scale: float, added: float) -> None:
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = write(tmp_path / "a.nii", stored, np.eye(4))
    data = bytearray(path.read_bytes())
    struct.pack_into("<2f", data, 112, scale, added)
    path.write_bytes(bytes(data))
    values = read_raw(path).values.transpose(2, 1, 0)
    assert np.allclose(values, nibabel.load(path).get_fdata(), rtol=1e-5, atol=1e-3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 347), data=st.binary(min_size=1, max_size=8))
def test_a_broken_nifti_header_is_named(tmp_path: Path, at: int, data: bytes) -> None:
    path = tmp_path / "a.nii"
    if not (tmp_path / "good.nii").exists():
        write(tmp_path / "good.nii", np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([2, 1, 1.5, 1]))
    shutil.copy(tmp_path / "good.nii", path)
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(bytes(content))
    try:
        read_raw(path)
    except DataError as error:
        said, advice = str(error), error.own_advice
        assert str(path) in said
        assert advice
