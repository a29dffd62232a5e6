"""``light`` and ``strong``: images and volumes, any channels, any stored type, masks that follow."""

from __future__ import annotations

import numpy as np
import pytest

from relay.augment import augment


def ball(shape: tuple[int, ...], channels: int, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball off the centre; its mask."""
    places = np.stack(np.mgrid[tuple(slice(n) for n in shape)], -1) / shape
    mask = (((places - 0.4) ** 2).sum(-1) < 0.06).astype(np.uint8) * 2
    masks = np.repeat(mask[None], count, axis=0)
    return np.repeat((masks * 60 + 60)[..., None], channels, axis=-1), masks


@pytest.mark.parametrize("name", ["light", "strong"])
@pytest.mark.parametrize(("shape", "channels"), [((40, 40), 1), ((30, 44), 4), ((12, 24, 24), 2), ((2, 9, 9), 1)])
def test_masks_follow_in_any_shape(name: str, shape: tuple[int, ...], channels: int) -> None:
    images, masks = ball(shape, channels)
    new_images, new_masks = augment(name, images, masks, 3)
    assert new_images.shape == images.shape
    assert new_images.dtype == new_masks.dtype == np.uint8
    assert set(np.unique(new_masks)) <= {0, 2}
    assert (new_masks != masks).any()
    for image, mask in zip(new_images[..., 0].astype(float), new_masks, strict=True):
        if (mask == 2).sum() > 8:
            assert image[mask == 2].mean() > image[mask == 0].mean() + 20


@pytest.mark.parametrize("name", ["flip", "flip_rotate", "light", "strong"])
def test_floats_stay_floats_in_their_range(name: str) -> None:
    images, masks = ball((16, 16), 2)
    floats = (images / 127.5 - 1).astype(np.float16)
    new, _ = augment(name, floats, masks, 4)
    assert new.dtype == np.float16
    assert -1 <= new.min() <= new.max() <= 1
    bytes_, _ = augment(name, images, masks, 4)
    assert np.abs((new.astype(float) + 1) * 127.5 - bytes_).max() <= 2


@pytest.mark.parametrize("targets", [np.array([3, 1, 0, 2]), np.ones((4, 5), np.uint8), np.ones(4, np.float32)])
def test_targets_of_whole_images_stay(targets: np.ndarray) -> None:
    for shape in ((9, 9), (5, 6, 7)):
        images, _ = ball(shape, 1)
        new, same = augment("strong", images, targets, 1)
        assert (new != images).any()
        assert same is targets


def test_a_volume_is_turned_within_its_slices_first() -> None:
    """Even by quarters: it is no axial slice any more otherwise, and its slices are far apart."""
    images, masks = ball((4, 8, 8), 1, count=40)
    images[:, 0], images[:, -1] = 10, 250
    new, _ = augment("flip_rotate", images, masks, 1)
    ends = {(int(v[0].max()), int(v[-1].max())) for v in new}
    assert ends == {(10, 250), (250, 10)}
    sideways = new[:, 1:-1]
    assert any((a != b).any() for a, b in zip(sideways, sideways.swapaxes(2, 3), strict=True))


def test_brightness_is_changed_alike_in_all_channels() -> None:
    images = np.full((6, 8, 8, 3), 100, np.uint8)
    new, _ = augment("light", images, np.zeros(6, np.int64), 0)
    middle = new[:, 4, 4].astype(int)
    assert (np.ptp(middle, axis=1) < 25).all()
    assert np.ptp(middle.mean(1)) > 3
