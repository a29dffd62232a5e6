from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relay.augment import augment
from relay.errors import UserError
from relay.registry import find, names

NAMES = [name for name in names("augmentations") if find("augmentations", name).Options is None]


def batch(*shape: int, channels: int = 3, count: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (count, *shape)).astype(np.uint8)
    images = rng.integers(0, 256, (count, *shape, channels)).astype(np.uint8)
    images[..., 0] = masks * 100 + 20  # so that image and mask can be compared after they were moved
    return images, masks


def blocks(size: int = 32, count: int = 16) -> tuple[np.ndarray, np.ndarray]:
    masks = np.zeros((count, size, size), np.uint8)
    masks[:, size // 4 : size // 2, size // 4 : -size // 4] = 2
    return np.repeat(masks[..., None] * 100 + 20, 3, axis=-1), masks


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_types_and_seeds(name: str, channels: int) -> None:
    images, masks = batch(16, 12, channels=channels)
    kept = images.copy(), masks.copy()
    once, again, other = (augment(name, images, masks, seed) for seed in (7, 7, 2**40 + 8))
    for new, old in zip(once, (images, masks), strict=True):
        assert new.shape == old.shape
        assert new.dtype == np.uint8
    assert (once[0] == again[0]).all()
    assert (once[1] == again[1]).all()
    assert (once[0] != other[0]).any() == (name != "none")
    assert (images == kept[0]).all()
    assert (masks == kept[1]).all()
    assert set(np.unique(once[1])) <= {0, 1, 2}


@pytest.mark.parametrize("name", NAMES)
def test_what_came_before_does_not_matter(name: str) -> None:
    images, masks = batch(16, 16)
    first = augment(name, images, masks, 3)[0]
    augment(name, images[:5], masks[:5], 4)
    assert (augment(name, images, masks, 3)[0] == first).all()


@pytest.mark.parametrize(("name", "shape"), [("flip", (5, 7)), ("flip", (3, 4, 5)), ("flip_rotate", (6, 6))])
def test_flips_lose_nothing_and_move_both(name: str, shape: tuple[int, ...]) -> None:
    images, masks = batch(*shape)
    new_images, new_masks = augment(name, images, masks, 1)
    assert (new_images[..., 0] == new_masks * 100 + 20).all()
    for old, new in zip(images, new_images, strict=True):
        assert (np.sort(old, axis=None) == np.sort(new, axis=None)).all()


@pytest.mark.parametrize(
    ("name", "shape", "ways"),
    [("flip", (3, 4), 4), ("flip", (3, 4, 5), 8), ("flip_rotate", (4, 4), 8), ("flip_rotate", (3, 4), 4)],
)
def test_all_symmetries_come_up(name: str, shape: tuple[int, ...], ways: int) -> None:
    images, masks = (np.repeat(part[:1], 200, axis=0) for part in batch(*shape))
    assert len({image.tobytes() for image in augment(name, images, masks, 1)[0]}) == ways


@pytest.mark.parametrize("name", ["geometric", "full"])
def test_masks_follow_the_image(name: str) -> None:
    images, masks = blocks()
    new_images, new_masks = augment(name, images, masks, 1)
    moved = (new_masks != masks).any(axis=(1, 2))
    assert moved.mean() > 0.8
    for image, mask in zip(new_images[..., 0], new_masks, strict=True):
        inside = np.median(image[mask == 2]) if (mask == 2).any() else 255
        assert inside > np.median(image[mask == 0])
    if name == "geometric":
        bright = new_images[..., 0] > 120
        assert ((new_masks == 2) == bright).mean() > 0.97


def test_what_comes_in_is_black_background() -> None:
    full = np.full((32, 24, 24, 3), 200, np.uint8), np.full((32, 24, 24), 2, np.uint8)
    images, masks = augment("geometric", *full, 1)
    assert set(np.unique(masks)) == {0, 2}
    assert (images[masks == 0] < 200).mean() > 0.9


def test_colours_leave_masks_alone() -> None:
    images, masks = blocks()
    new_images, new_masks = augment("colour", images, masks, 1)
    assert (new_masks == masks).all()
    assert (new_images != images).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("name", ["geometric", "colour", "full"])
def test_what_is_for_pictures_only(name: str) -> None:
    with pytest.raises(
        UserError, match=f"'{name}' is not available for volumes: one of flip, flip_rotate, light, none"
    ):
        augment(name, *batch(3, 4, 5), 1)


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match=r"unknown name 'flips' in relay\.augmentations"):
        augment("flips", *batch(3, 4), 1)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "return images[:1], masks",
            r"ValueError: images became uint8 \(1, 3, 4, 3\); they must stay uint8 \(16, 3, 4, 3\)",
        ),
        ("return images, masks / 2", r"ValueError: masks became float64 .* must stay uint8"),
        ("return images.nothing", "AttributeError: .* has no attribute 'nothing'"),
    ],
)
def test_a_broken_one_is_its_authors_error(
    body: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"augment_{tmp_path.name}".replace("-", "_")
    text = (
        "from relay.augment import Augmentation\nclass Mine(Augmentation):\n    def apply(self, images, masks, seed):\n"
    )
    (tmp_path / f"{name}.py").write_text(f"{text}        {body}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=f"augmentation '{name}:Mine' failed: {said}"):
        augment(f"{name}:Mine", *batch(3, 4), 1)
