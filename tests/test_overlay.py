"""Pictures of predictions: what is where, in which colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relay.overlay import ADDED, CONFUSED, GAP, MISSED, PREDICTION, SIDE, TRUTH, contours, overlay, save_overlay

SIZE = 24


def square(top: int, side: int = 8, label: int = 1) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[top : top + side, 4 : 4 + side] = label
    return mask


def panels(prediction: np.ndarray, truth: np.ndarray | None, image: np.ndarray | None = None) -> list[np.ndarray]:
    """The panels at the image's own size."""
    image = np.full((*prediction.shape[-2:], 1), 200, np.uint8) if image is None else image
    sheet, factor = np.asarray(overlay(image, prediction, truth)), SIDE // SIZE
    width = SIZE * factor
    starts = range(0, sheet.shape[1], width + GAP)
    return [sheet[:width, start : start + width] for start in starts]


def colours(panel: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(int(value) for value in colour) for colour in np.unique(panel.reshape(-1, 3), axis=0)}


def test_an_edge_is_what_touches_another_class() -> None:
    mask = square(4, side=4)
    mask[5:7, 5:7] = 2
    found = contours(mask)
    assert found.sum() == 12 + 4
    assert not found[mask == 0].any()


def test_a_class_that_fills_the_image_has_no_edge_at_its_border() -> None:
    assert not contours(np.ones((5, 5), np.uint8)).any()


def test_the_panels_show_image_contours_and_disagreement() -> None:
    plain, contours, differing = panels(square(4), square(8))
    assert colours(plain) == {(200, 200, 200)}
    assert colours(contours) == {(200, 200, 200), TRUTH, PREDICTION}
    assert colours(differing) == {(100, 100, 100), MISSED, ADDED}
    factor = SIDE // SIZE
    assert tuple(differing[5 * factor, 5 * factor]) == ADDED
    assert tuple(differing[13 * factor, 5 * factor]) == MISSED
    assert tuple(differing[9 * factor, 5 * factor]) == (100, 100, 100)


def test_another_class_is_neither_missed_nor_added() -> None:
    assert colours(panels(square(4), square(4, label=2))[2]) == {(100, 100, 100), CONFUSED}


def test_without_a_truth_there_are_two_panels() -> None:
    plain, contours = panels(square(4), None)
    assert colours(contours) - colours(plain) == {PREDICTION}


def test_of_a_volume_the_fullest_slice_is_shown() -> None:
    volume = np.stack([square(4, side=2), square(4), np.zeros((SIZE, SIZE), np.uint8)])
    image = np.stack([np.full((SIZE, SIZE, 3), grey, np.uint8) for grey in (10, 20, 30)])
    assert colours(panels(volume, volume, image)[0]) == {(20, 20, 20)}


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_other_channels_than_three_are_shown_by_the_first(channels: int) -> None:
    image = np.full((SIZE, SIZE, channels), 200, np.uint8)
    image[..., 0] = 40
    assert colours(panels(square(4, side=0), None, image)[0]) == {(40, 40, 40)}


@pytest.mark.parametrize("size", [(1, 1), (700, 900), (3, 50)])
def test_any_size_is_drawn_and_saved(tmp_path: Path, size: tuple[int, int]) -> None:
    mask = np.zeros(size, np.uint8)
    path = save_overlay(np.zeros((*size, 3), np.uint8), mask, mask, tmp_path / "deep" / "s.1")
    assert path.name == "s.1.png"
    with Image.open(path) as image:
        assert image.size[0] >= 3 * size[1]


def test_a_huge_image_is_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.overlay.LARGEST", 200)
    mask = np.zeros((90, 500), np.uint8)
    mask[30:60, 300:400] = 1
    sheet = np.asarray(overlay(np.full((*mask.shape, 1), 200, np.uint8), mask, mask))
    width = 167  # every third column
    assert sheet.shape[1] == 3 * width + 2 * GAP
    assert colours(sheet[:30, :width]) == {(200, 200, 200)}
    assert colours(sheet[:30, width + GAP : 2 * width + GAP]) == {(200, 200, 200), PREDICTION}
