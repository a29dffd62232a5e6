from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from relay.data import sizes
from relay.data.sizes import as_channels, resize_image, resize_mask


def window(values: np.ndarray) -> np.ndarray:
    return sizes.window(values)[0]


@given(st.floats(0.01, 1e4), st.floats(-1e4, 1e4))
def test_a_window_does_not_care_for_the_scale(factor: float, offset: float) -> None:
    values = np.random.default_rng(0).normal(size=(12, 12, 12))
    assert np.abs(window(values * factor + offset).astype(int) - window(values)).max() <= 1


def test_a_window_runs_from_the_low_to_the_high_percentile() -> None:
    values = np.arange(1001.0)
    seen = window(values)
    assert (seen[:6] == 0).all()
    assert (seen[995:] == 255).all()
    assert seen[500] in (127, 128)


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_a_window_of_one_value_is_black(value: float) -> None:
    assert (window(np.full((3, 3), value)) == 0).all()


def test_not_finite_is_black() -> None:
    values = np.array([np.nan, np.inf, -np.inf, *np.linspace(1, 2, 50)])
    assert (window(values)[:3] == 0).all()
    assert window(values)[-1] == 255


def test_channels() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    assert (as_channels(grey, 3) == grey).all()
    assert as_channels(grey, 3).shape == (3, 4, 3)
    assert (as_channels(as_channels(grey, 3), 1) == grey).all()
    assert as_channels(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8), 1).tolist() == [
        [[76], [150], [29]]
    ]


SPARSE = np.zeros(10_000)
SPARSE[:60] = np.arange(1, 61)


@pytest.mark.parametrize("count", [1, 3, 49, 51, 60])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_sparse_picture_keeps_its_gradation(count: int, sign: int) -> None:
    values = np.where(count >= SPARSE, SPARSE, 0)
    seen, notes = sizes.window(1000 + sign * 10 * values)
    share = f"{(10_000 - count) / 100:.4g}"
    assert notes == (f"{share} % of its voxels are 1000; its window is based on the others",)
    levels = seen[:count].astype(int)
    assert np.abs(levels - (values[:count] if sign > 0 else count - values[:count]) * 255 / count).max() <= 3
    assert (seen[count:] == (0 if sign > 0 else 255)).all()
    assert len(np.unique(seen)) >= count


def test_a_hot_voxel_does_not_destroy_a_sparse_picture() -> None:
    values = np.zeros(100_000)
    values[:1000], values[1000] = np.arange(1, 1001), 1e6
    assert len(np.unique(sizes.window(values)[0])) > 250


def test_a_usual_picture_has_the_percentile_window_exactly() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=5000), rng.integers(0, 4000, 5000), np.maximum(0, rng.normal(-1.6, 1, 5000))):
        low, high = np.percentile(values, (0.5, 99.5))
        expected = np.rint(np.clip((values.astype(float) - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)
        seen, notes = sizes.window(values)
        assert np.array_equal(seen, expected)
        assert notes == ()


@pytest.mark.parametrize("scale", [1e-20, 1e-13, 1e37, 1e308])
def test_no_scale_destroys_contrast(scale: float) -> None:
    values = np.linspace(-1, 1, 1001)
    with np.errstate(all="raise", under="ignore"):
        assert np.abs(window(values * scale).astype(int) - window(values)).max() <= 1
        if scale < 1e38:
            assert np.abs(window((values * scale * 9).astype(np.float32)).astype(int) - window(values)).max() <= 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full(9, 7), "every voxel is 7; read as black"),
        (np.array([5.0]), "every voxel is 5; read as black"),
        (np.full(9, np.nan), "no voxel is a finite number; read as black"),
        (np.array([np.nan, np.inf, *np.linspace(1, 2, 50)]), "2 of 52 voxels are NaN or infinite; read as black"),
        (
            np.concatenate([np.linspace(0, 1000, 990), np.full(10, 1e9)]),
            "outliers stretch its window: 90 % of its intensities fall into 0 of 256 grey levels",
        ),
    ],
)
def test_what_is_suspicious_is_said(values: np.ndarray, said: str) -> None:
    assert sizes.window(values)[1] == (said,)


SHAPES = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=12)


@given(SHAPES, st.data())
def test_no_class_is_invented(shape: tuple[int, ...], data: st.DataObject) -> None:
    mask = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 3, 200])))
    size = data.draw(st.lists(st.integers(1, 20), min_size=len(shape), max_size=len(shape)))
    resized = resize_mask(mask, size)
    assert resized.shape == tuple(size)
    assert set(np.unique(resized)) <= set(np.unique(mask))


@given(SHAPES, st.sampled_from([1, 3]), st.integers(0, 255), st.data())
def test_a_plain_image_stays_plain(shape, channels: int, level: int, data: st.DataObject) -> None:
    size = data.draw(st.lists(st.integers(1, 20), min_size=len(shape), max_size=len(shape)))
    resized = resize_image(np.full((*shape, channels), level, np.uint8), size)
    assert resized.shape == (*size, channels)
    assert (resized == level).all()


@pytest.mark.parametrize("axes", [2, 3])
def test_shrinking_averages(axes: int) -> None:
    checkers = (np.indices((24,) * axes).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    inner = resize_image(checkers, [6] * axes)[(slice(1, -1),) * axes]
    assert np.abs(inner.astype(int) - 127).max() < 20


@pytest.mark.parametrize("shape", [(20, 30), (10, 20, 30)])
def test_mask_and_image_stay_together(shape: tuple[int, ...]) -> None:
    for axis, n in enumerate(shape):
        mask = ((np.indices(shape)[axis] >= n // 5) & (np.indices(shape)[axis] < n // 2)).astype(np.uint8)
        for size in ([2 * n for n in shape], [n // 2 + 1 for n in shape]):
            bright = resize_image(mask[..., None] * 255, size)[..., 0]
            resized = resize_mask(mask, size)
            assert (resized[bright > 140] == 1).all()
            assert (resized[bright < 115] == 0).all()


def test_each_axis_of_a_volume_is_its_own() -> None:
    axes = np.indices((4, 6, 8)).astype(np.uint8)
    for axis, size in enumerate(([8, 6, 8], [4, 12, 8], [4, 6, 16])):
        expected = np.repeat(axes[axis], 2, axis=axis)
        assert (resize_mask(axes[axis], size) == expected).all()
