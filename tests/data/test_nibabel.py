"""Orientation, spacing and values against nibabel, a reader that shares no code with ours."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings, strategies as st

from relay.data import prepared_slices, read_images
from relay.data.options import DatasetOptions
from relay.data.read import read_pair
from relay.data.steps import spatial
from relay.errors import DataError
from relay.predict.masks import save_mask

REAL = sorted((Path(__file__).parents[3] / "shared/data/hippocampus/image").glob("*.nii.gz"))[:5]
REUSED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def as_read(path: Path) -> tuple[np.ndarray, tuple[float, ...], nib.Nifti1Image]:
    """Values along S, P, L and the spacing, by nibabel: the nearest of its 48 orientations, no voxel interpolated."""
    image = nib.load(path)
    turned = image.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(("S", "P", "L"))
        )
    )
    return np.asarray(turned.dataobj), tuple(map(float, turned.header.get_zooms()[:3])), image


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    x, y, z = angles
    cx, cy, cz, sx, sy, sz = np.cos(x), np.cos(y), np.cos(z), np.sin(x), np.sin(y), np.sin(z)
    about_x, about_y = (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]]),
        np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]),
    )
    return about_x @ about_y @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])


AXES = st.permutations(range(3))
SIGNS = st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)
ANGLES = st.tuples(*[st.floats(-0.6, 0.6)] * 3)
SPACING = st.tuples(*[st.floats(0.2, 6.0)] * 3)
ORIGIN = st.tuples(*[st.floats(-300, 300)] * 3)


@REUSED
@given(axes=AXES, signs=SIGNS, angles=ANGLES, spacing=SPACING, origin=ORIGIN)
def test_any_header_is_read_as_nibabel_reads_it_and_masks_lie_on_their_image(
    tmp_path: Path,
    axes: list[int],
    signs: tuple[float, ...],
    angles: tuple[float, float, float],
    spacing: tuple[float, ...],
    origin: tuple[float, ...],
) -> None:
    """Oblique, flipped and anisotropic ones, too."""
    values = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    affine = np.eye(4)
    affine[:3, :3] = rotation(angles) @ np.eye(3)[axes] @ np.diag(np.multiply(signs, spacing))
    affine[:3, 3] = origin
    path = tmp_path / "scan.nii"
    image = nib.Nifti1Image(values, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)
    case = read_images(path, eight_bits=False)
    expected, zooms, stored = as_read(path)
    nearest = np.sort(np.abs(nib.affines.voxel_sizes(affine)))
    assert np.allclose(np.sort(case.spacing or ()), nearest, rtol=1e-5)
    cosines = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    if (cosines > 0.75).sum() == 3:  # otherwise, the nearest axis is a matter of taste
        assert np.array_equal(case.image[..., 0], expected)
        assert np.allclose(case.spacing or (), zooms, rtol=1e-5)
    mask = (case.image[..., 0] > 30).astype(np.uint8)
    saved = nib.load(save_mask(mask, path, tmp_path / "mask"))
    assert np.allclose(saved.affine, stored.affine, atol=1e-3)
    assert np.array_equal(np.asarray(saved.dataobj), (values > 30).astype(np.uint8))


@settings(REUSED, max_examples=20)
@given(axes=AXES, signs=SIGNS, flips=SIGNS, angles=ANGLES, spacing=SPACING, origin=ORIGIN)
def test_a_mask_that_nibabel_stored_along_other_axes_lies_on_its_image(
    tmp_path: Path,
    axes: list[int],
    signs: tuple[float, ...],
    flips: tuple[float, ...],
    angles: tuple[float, float, float],
    spacing: tuple[float, ...],
    origin: tuple[float, ...],
) -> None:
    values = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    affine = np.eye(4)
    affine[:3, :3] = rotation(angles) @ np.diag(np.multiply(signs, spacing))
    affine[:3, 3] = origin
    image = nib.Nifti1Image(values, affine)
    mask = nib.Nifti1Image((values % 3).astype(np.uint8), affine)
    nib.save(image, tmp_path / "scan.nii")
    turned = mask.as_reoriented(np.stack([axes, flips], 1))
    for number, stored in enumerate((turned, nib.as_closest_canonical(mask))):
        nib.save(stored, tmp_path / f"mask{number}.nii")
        case = read_pair(tmp_path / "scan.nii", tmp_path / f"mask{number}.nii", range(3), eight_bits=False)
        assert np.array_equal(case.target, case.image[..., 0] % 3)
    shifted = turned.affine @ nib.affines.from_matvec(np.eye(3), [0, 0, 1])
    nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), shifted), tmp_path / "shifted.nii")
    with pytest.raises(DataError, match="but that of its image is"):
        read_pair(tmp_path / "scan.nii", tmp_path / "shifted.nii", range(3))


@pytest.mark.skipif(not REAL, reason="shared/data/hippocampus is not here")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_volumes(path: Path) -> None:
    case = read_images(path, eight_bits=False)
    expected, zooms, _ = as_read(path)
    assert np.array_equal(case.image[..., 0], expected)
    assert case.spacing == pytest.approx(zooms)
    steps = [{"name": "Normalise", "kwargs": {"how": "zscore", "clip": 4}}]
    options = DatasetOptions(task_id=0, task_name="a", num_classes=3, channels=1, steps=steps, slices="axial")
    slices = prepared_slices(case, options, path, range(len(expected)))
    found = np.stack([each.image[..., 0] for each in slices]).astype(float) * 4
    wanted = (expected - expected.mean()) / expected.std()
    assert np.abs(found - np.clip(wanted, -4, 4)).max() < 4e-3


FIELDS = {"dim": (40, "<8h"), "pixdim": (76, "<8f"), "sform": (280, "<12f"), "quaternion": (256, "<6f")}
FIELDS |= {
    "codes": (252, "<2h"),
    "scale": (112, "<2f"),
    "offset": (108, "<f"),
    "datatype": (70, "<h"),
    "bitpix": (72, "<h"),
}
FLOATS = st.floats(width=32) | st.sampled_from([0.0, -1.0, 1e30, float("nan"), float("inf")])
SHORTS = st.integers(-3, 12) | st.integers(-(2**15), 2**15 - 1)


@settings(REUSED, max_examples=60)
@given(data=st.data(), which=st.sampled_from(sorted(FIELDS)))
def test_no_header_ends_in_anything_but_an_image_or_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject, which: str
) -> None:
    """With a file's name and what to do; and what is read is finite, or says so."""
    import struct

    path = tmp_path / "scan.nii"
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([1.0, 2.0, 3.0, 1.0]))
    nib.save(image, path)
    place, form = FIELDS[which]
    count = int("".join(c for c in form[1:] if c.isdigit()) or 1)
    numbers = data.draw(st.lists(SHORTS if form.endswith("h") else FLOATS, min_size=count, max_size=count))
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, place, *numbers)
    path.write_bytes(content)
    steps = [
        {"name": "Resample", "kwargs": {"spacing": [2, None, None]}},
        {"name": "Normalise", "kwargs": {"how": "minmax"}},
    ]
    options = DatasetOptions(task_id=0, task_name="a", num_classes=3, channels=1, steps=steps)
    found, error = None, None
    monkeypatch.setattr(spatial, "MOST_VOXELS", 1 << 16)
    try:
        (found,) = prepared_slices(read_images(path, eight_bits=False), options, path, [None])
    except DataError as said:
        error = said
    if error is not None:
        assert str(error).startswith(f"{path}: ")
        assert error.own_advice
    elif found is not None:
        assert np.isfinite(found.image).all()
        assert min(found.spacing or (1,)) > 0


NUMBERS = st.sampled_from(["0", "-1", "1", "2", "3.5", "1e30", "1e-30", "nan", "inf", "x", "", "99999"])


@settings(REUSED, max_examples=60)
@given(
    key=st.sampled_from(
        [
            b"NDims",
            b"DimSize",
            b"ElementSpacing",
            b"Offset",
            b"TransformMatrix",
            b"ElementNumberOfChannels",
            b"ElementType",
        ]
    ),
    words=st.lists(NUMBERS | st.sampled_from(["MET_FLOAT", "MET_UCHAR", "MET_OTHER"]), min_size=1, max_size=9),
)
def test_nor_does_a_metaimage(tmp_path: Path, key: bytes, words: list[str]) -> None:
    path = tmp_path / "scan.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5)), str(path))
    lines = path.read_bytes().split(b"\n", 12)
    assert b"ElementDataFile" in b"".join(lines)
    changed = [key + b" = " + " ".join(words).encode() if line.startswith(key + b" ") else line for line in lines]
    if changed == lines:
        changed.insert(4, key + b" = " + " ".join(words).encode())
    path.write_bytes(b"\n".join(changed))
    error = None
    try:
        case = read_images(path)
    except DataError as said:
        error = said
    if error is None:
        assert case.image.dtype == np.uint8
        assert min(case.spacing or (1,)) > 0
    else:
        assert str(error).startswith(f"{path}: ")
        assert error.own_advice
