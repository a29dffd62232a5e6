"""Post-processing of predicted masks, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relay.config import Named
from relay.errors import UserError
from relay.postprocess import cleaned, steps_of

MASK = np.array(
    [
        [1, 1, 1, 0, 0, 2, 2],
        [1, 0, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 2, 0, 0],
        [0, 0, 0, 1, 0, 0, 1],
    ],
    np.uint8,
)


def after(name: str, mask: np.ndarray = MASK, **kwargs: Any) -> list[list[int]]:
    kept = mask.copy()
    found = cleaned(mask, steps_of([Named(name=name, kwargs=kwargs)]))
    assert (mask == kept).all()
    assert found.dtype == np.uint8
    return found.tolist()  # type: ignore[no-any-return]


def test_the_largest_part_of_each_class_stays() -> None:
    """Parts that touch at a corner are one."""
    expected = MASK.copy()
    expected[3, 6] = expected[2, 4] = 0
    assert after("largest_component") == expected.tolist()
    expected[2, 4] = 2
    assert after("largest_component", classes=[1, 7]) == expected.tolist()


def test_holes_are_filled_with_what_is_around_them() -> None:
    expected = MASK.copy()
    expected[1, 1] = 1
    assert after("fill_holes") == expected.tolist()
    ring = np.ones((5, 5), np.uint8)
    ring[2, 2] = 2
    assert after("fill_holes", ring) == ring.tolist()  # another class is no hole


def test_small_parts_go() -> None:
    expected = MASK.copy()
    expected[3, 6] = expected[2, 4] = 0
    assert after("minimum_size", voxels=2) == expected.tolist()
    assert after("minimum_size", voxels=1) == MASK.tolist()
    assert not np.any(after("minimum_size", voxels=100))


def test_volumes_and_empty_masks() -> None:
    volume = np.zeros((4, 6, 6), np.uint8)
    volume[:3, 1:4, 1:4] = 1
    volume[1, 2, 2], volume[3, 5, 5] = 0, 1
    steps = steps_of([Named(name="largest_component"), Named(name="fill_holes")])
    found = cleaned(volume, steps)
    assert found.sum() == 27
    assert found[1, 2, 2] == 1
    assert not cleaned(np.zeros((3, 3), np.uint8), steps).any()


@pytest.mark.parametrize(
    ("name", "kwargs", "said"),
    [
        ("largest_part", {}, "unknown name 'largest_part' in relay.postprocessing"),
        ("minimum_size", {}, "voxels.*must be given"),
        ("minimum_size", {"voxels": 0}, "greater than or equal to 1"),
        ("fill_holes", {"classes": [0]}, "greater than or equal to 1"),
        ("fill_holes", {"class": [1]}, "did you mean 'classes'"),
    ],
)
def test_mistakes_are_named(name: str, kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        steps_of([Named(name=name, kwargs=kwargs)])
