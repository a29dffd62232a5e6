"""Steps one by one, together, and back: a mask that is predicted perfectly lies on its image, voxel for voxel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from relay.data import Case, DatasetOptions, Grid, Store, prepare, prepared, restored, scaled, spec
from relay.data.sizes import resize_mask
from relay.data.steps.spatial import cropped, resized
from relay.errors import DataError

PATH = Path("scan.nii.gz")
SHAPE = (6, 10, 8)


def options(*steps: tuple[str, dict[str, Any]], **kwargs: Any) -> DatasetOptions:
    named = [{"name": name, "kwargs": given} for name, given in steps]
    return DatasetOptions(task_id=0, task_name="a", num_classes=3, **{"channels": 1, **kwargs}, steps=named)


def scan(shape: tuple[int, ...] = SHAPE, channels: int = 1, kind: Any = np.int16, spacing: Any = None) -> Case:
    rng = np.random.default_rng(1)
    image = rng.integers(-1000, 1000, (*shape, channels)).astype(kind)
    target = np.zeros(shape, np.uint8)
    target[tuple(slice(n // 4, n // 2) for n in shape)] = 1
    target[tuple(slice(n // 2, 3 * n // 4) for n in shape)] = 2
    return Case(image, target, spacing or (1.0,) * len(shape))


def done(case: Case, *steps: tuple[str, dict[str, Any]], **kwargs: Any) -> Case:
    return prepared(case, options(*steps, **kwargs), PATH)


def test_a_window_keeps_hounsfield_units_and_the_net_sees_its_range() -> None:
    case = scan()
    found = done(case, ("Normalise", {"how": "window", "low": -160, "high": 240}))
    assert found.image.dtype == np.float16
    assert found.grid is None
    expected = np.clip((case.image - 40.0) / 200, -1, 1)
    assert np.abs(found.image - expected).max() < 5e-4
    seen = scaled(torch.from_numpy(found.image), (0.0, 1.0)).numpy()
    assert np.abs(seen - (expected + 1) / 2).max() < 5e-4
    assert torch.equal(scaled(torch.from_numpy(found.image), (-1.0, 1.0)), torch.from_numpy(found.image).float())


def test_a_window_that_no_voxel_is_inside_is_a_note() -> None:
    found = done(scan(), ("Normalise", {"how": "window", "low": 5000, "high": 6000}))
    assert found.notes == ("no voxel is inside the window 5000 to 6000: it has another scale",)


@pytest.mark.parametrize("foreground", [False, True])
def test_zscore(foreground: bool) -> None:
    case = scan(channels=2)
    case.image[:3, ..., 0] = 0
    found = done(case, ("Normalise", {"how": "zscore", "clip": 4, "foreground": foreground}), channels=2).image * 4.0
    for c in range(2):
        values = case.image[..., c].astype(float)
        known = values[values != 0] if foreground else values
        expected = (values - known.mean()) / known.std()
        assert np.abs(found[..., c] - np.clip(expected, -4, 4)).max() < 4e-3


def test_percentile_and_minmax() -> None:
    case = scan()
    for steps, low, high in (
        ({"how": "percentile", "low": 10, "high": 80}, *np.percentile(case.image, (10, 80))),
        ({"how": "percentile"}, *np.percentile(case.image, (0.5, 99.5))),
        ({"how": "minmax"}, case.image.min(), case.image.max()),
    ):
        found = done(case, ("Normalise", steps)).image
        assert np.abs(found - np.clip((case.image - low) / (high - low) * 2 - 1, -1, 1)).max() < 6e-4


def test_each_channel_has_its_own_way() -> None:
    case = scan(channels=2)
    case.image[..., 1] = np.clip(case.image[..., 1], -1, 1)
    window = ("Normalise", {"how": "window", "low": 0, "high": 500, "channels": [0]})
    found = done(case, window, ("Normalise", {"how": "none", "channels": [1]}), channels=2).image
    assert np.array_equal(found[..., 1], case.image[..., 1])
    assert found[..., 0].min() == -1
    with pytest.raises(DataError, match=r"scan\.nii\.gz: values from -\d+ to \d+, but with Normalise none"):
        done(scan(), ("Normalise", {"how": "none"}))


def test_images_of_one_value_are_said() -> None:
    case = Case(np.full((4, 4, 1), 7.0), np.zeros((4, 4), np.uint8))
    for how, value in (("zscore", 0), ("minmax", -1), ("percentile", -1)):
        found = done(case, ("Normalise", {"how": how}))
        assert (found.image == value).all()
        assert "every voxel is 7" in found.notes[0]


def test_what_is_not_finite_is_the_lowest_value() -> None:
    case = scan(kind=np.float64)
    case.image[0, 0, 0], case.image[0, 0, 1], case.image[0, 0, 2] = np.nan, np.inf, -np.inf
    found = done(case, ("Normalise", {"how": "minmax"}))
    assert (found.image[0, 0, :3] == -1).all()
    assert found.notes == (f"3 of {case.image.size} voxels are NaN or infinite; read as the lowest value",)
    nothing = Case(np.full((4, 4, 1), np.nan), np.zeros((4, 4), np.uint8))
    assert (done(nothing, ("Normalise", {"how": "minmax"})).image == -1).all()


def test_without_normalise_there_are_8_bits_and_8_bit_pictures_are_exact() -> None:
    picture = Case(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), np.zeros((4, 4), np.uint8))
    found = done(picture, ("Crop", {"size": [2, 2]}), channels=3)
    assert found.image.dtype == np.uint8
    assert np.array_equal(found.image, picture.image[1:3, 1:3])
    case = scan()
    plain = prepared(Case(case.image, case.target), options(), PATH)
    assert plain.image.dtype == np.uint8
    assert (plain.image.min(), plain.image.max()) == (0, 255)


def test_a_crop_after_normalise_looks_at_what_normalise_gives() -> None:
    for above, right in ((0.5, True), (-500, False)):
        steps = ("Normalise", {"how": "minmax"}), ("Crop", {"above": above})
        with nullcontext() if right else pytest.raises(ValidationError, match="Crop above -500 comes after Normalise"):
            options(*steps)
        options(*reversed(steps))


def test_resample_changes_the_spacing_and_not_the_place() -> None:
    axis = np.arange(20.0)
    case = Case(np.broadcast_to(axis[None, :, None], (8, 20, 1)).copy(), np.zeros((8, 20), np.uint8), (2.0, 1.0))
    for interpolation in ("linear", "cubic"):
        kwargs = {"spacing": [None, 2.0], "interpolation": interpolation}
        found = done(case, ("Resample", kwargs), ("Normalise", {"how": "window", "low": 0, "high": 20}))
        assert found.image.shape == (8, 10, 1)
        assert found.spacing == (2.0, 2.0)
        values = (found.image[0, 1:-1, 0].astype(float) + 1) * 10
        assert np.abs(values - (2 * np.arange(10) + 0.5)[1:-1]).max() < 0.05
    with pytest.raises(DataError, match=r"scan\.nii\.gz: the file gives no spacing") as caught:
        done(Case(case.image, case.target), ("Resample", {"spacing": [1, 1]}))
    assert "Resize" in caught.value.advice()
    with pytest.raises(DataError, match="2 axes, but the step's spacing has 3"):
        done(case, ("Resample", {"spacing": [1, 1, 1]}))


def test_headers_in_which_no_spacing_is_likely() -> None:
    step = "Resample", {"spacing": [1, 1, 1]}
    with pytest.raises(DataError, match=r"makes .* voxels with"):
        done(scan(spacing=(1e308, 1.0, 1.0)), step, ("Normalise", {"how": "minmax"}))
    found = done(scan(spacing=(0.001, 1.0, 1.0)), step, ("Normalise", {"how": "minmax"}))
    assert found.notes == ("the step Resample makes a single voxel of 6: check the spacing in the file's header",)


def test_crop_finds_what_is_bright_and_pads_what_is_small() -> None:
    image = np.full((10, 12, 1), -1000, np.int16)
    image[3:5, 4:9] = 100
    case = Case(image, (image[..., 0] > 0).astype(np.uint8), (1.0, 1.0))
    found = done(case, ("Crop", {"above": -500, "margin": 1}))
    assert found.image.shape == (4, 7, 1)
    assert found.grid == Grid((10, 12), (2.0, 3.0), (1.0, 1.0))
    small = done(case, ("Crop", {"size": [16, 6]}), ("Normalise", {"how": "window", "low": -1000, "high": 0}))
    assert small.image.shape == (16, 6, 1)
    assert (small.image[:3] == -1).all()
    assert small.target.sum() == case.target[:, 3:9].sum()
    assert done(case, ("Crop", {"above": 5000})).image.shape == image.shape


def test_steps_know_the_size_they_lead_to() -> None:
    resize, crop = ("Resize", {"size": [8, 8]}), ("Crop", {"size": [None, 4]})
    assert options(resize, crop).fixed_size == [8, 4]
    assert options(crop).fixed_size is None
    whole = ("Resize", {"size": [None, 8, 6]})
    assert options(whole).fixed_size is None
    assert options(whole, slices="axial").fixed_size == [8, 6]
    assert options(whole, slices="coronal").fixed_size is None
    assert options(resize, ("Resample", {"spacing": [1, 1]})).fixed_size is None
    with pytest.raises(ValidationError, match="must be left out with steps"):
        options(resize, img_size=[8, 8])


def test_all_options_are_described() -> None:
    said = spec(options(("Normalise", {"how": "minmax"})).steps or [])
    assert said == [
        {
            "name": "Normalise",
            "kwargs": {
                "how": "minmax", "low": None, "high": None, "clip": 5.0, "foreground": False, "channels": None,
            },
        }
    ]  # fmt: skip


STEP = st.one_of(
    st.tuples(st.just("Crop"), st.fixed_dictionaries({"size": st.lists(st.integers(3, 30), min_size=2, max_size=2)})),
    st.tuples(st.just("Resize"), st.fixed_dictionaries({"size": st.lists(st.integers(3, 30), min_size=2, max_size=2)})),
    st.tuples(
        st.just("Resample"),
        st.fixed_dictionaries({"spacing": st.lists(st.floats(0.5, 2), min_size=2, max_size=2)}),
    ),
)


@settings(max_examples=40, deadline=None)
@given(STEP, st.tuples(st.integers(4, 24), st.integers(4, 24)))
def test_a_place_on_the_processed_image_is_the_same_place_as_read(step: Any, shape: tuple[int, int]) -> None:
    """A ramp of coordinates goes through the step as an image; the grid must say the same."""
    at = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in shape), indexing="ij"), -1)
    case = Case(at.astype(np.float32), np.zeros(shape, np.uint8), (1.0, 1.3))
    (made,) = options(step, channels=2).made_steps
    case = made.process(case)
    grid = case.grid or Grid.of(shape)
    for axis in (0, 1):
        centres = grid.begin[axis] + grid.scale[axis] * (np.arange(case.image.shape[axis]) + 0.5)
        inner = (centres > 2 * max(1, grid.scale[axis])) & (centres < shape[axis] - 2 * max(1, grid.scale[axis]))
        found = np.moveaxis(case.image[..., axis], axis, 0)
        found = found[:, found.shape[1] // 2]
        wrong = np.abs(found - centres)[inner & (found > 0.5)].max(initial=0)  # padding is 0.5, the lowest value
        assert wrong < 0.15 * max(1, grid.scale[axis])


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=4), st.tuples(st.integers(4, 24), st.integers(4, 24)))
def test_several_steps_are_one_map(chain: list[Any], shape: tuple[int, int]) -> None:
    case = Case(np.zeros((*shape, 1), np.float32), np.zeros(shape, np.uint8), (1.0, 1.3))
    maps = []
    for step in options(*chain).made_steps:
        before = case.image.shape[:-1]
        alone = step.process(dataclasses.replace(case, grid=None))
        maps.append(alone.grid or Grid.of(before))
        case = step.process(case)
    whole, place = case.grid or Grid.of(shape), np.array([0.3, 1.7])
    found = whole.begin + whole.scale * place
    for single in reversed(maps):
        place = single.begin + single.scale * place
    assert found == pytest.approx(place)
    assert whole.size == shape


@pytest.mark.parametrize("shape", [(6, 10, 8), (9, 7)])
@pytest.mark.parametrize(
    "steps",
    [
        [("Crop", {"above": -5000})],
        [("Crop", {"size": [5, 6, 8]})],
        [("Resize", {"size": [12, 20, 16]})],
        [("Crop", {"size": [8, 12, 10]}), ("Resize", {"size": [16, 24, 20]}), ("Crop", {"size": [14, 22, 18]})],
    ],
)
def test_a_perfect_prediction_comes_back_voxel_for_voxel(shape: tuple[int, ...], steps: list[Any]) -> None:
    steps = [
        (name, {k: v[: len(shape)] if isinstance(v, list) else v for k, v in given.items()}) for name, given in steps
    ]
    case = scan(shape)
    found = done(case, *steps)
    once = torch.nn.functional.one_hot(torch.from_numpy(found.target).long(), 3).movedim(-1, 0)[None].float()
    back = restored(once, found.grid or Grid.of(shape)).argmax(1)[0].numpy()
    kept = np.ones(shape, bool)
    for axis in range(len(shape)):
        at = (found.grid or Grid.of(shape)).places(axis)
        beyond = (at < 0) | (at > found.image.shape[axis])
        kept &= ~np.expand_dims(beyond, [a for a in range(len(shape)) if a != axis])
    assert np.array_equal(back, np.where(kept, case.target, 0))


def test_a_reversed_grid_is_that_of_the_reversed_images() -> None:
    grid, length = Grid((10,), (1.5,), (0.7,)), 9
    reversed_ = grid.flipped(0, length)
    assert np.allclose(reversed_.places(0), length - grid.places(0)[::-1])
    assert reversed_.flipped(0, length).begin == pytest.approx(grid.begin)


def test_a_store_keeps_what_the_steps_give_and_the_truth_keeps_its_size(made: Callable[..., Any]) -> None:
    steps = [{"name": "Resize", "kwargs": {"size": [3, 3]}}, {"name": "Normalise", "kwargs": {"how": "minmax"}}]
    site, plain = prepare(made([(6, 9)] * 5, steps=steps), seed=1), made([(6, 9)] * 5)
    store = site.test
    image, target = store[0]
    assert (image.dtype, image.shape, target.dtype) == (np.float16, (3, 3, 3), np.uint8)
    assert not image.flags.writeable
    assert store.nbytes == len(store) * 9 * (3 * 2 + 1)
    mask, spacing = site.truth("test", 0)
    assert np.array_equal(mask, plain[0].target)
    assert spacing == (1.0, 1.0)
    assert np.array_equal(target, resize_mask(mask, (3, 3)))
    only_values = prepare(made([(6, 9)] * 5, steps=steps[1:]), seed=1)
    assert only_values.test.grids == [None]
    assert only_values.truth("test", 0)[0] is not None
    assert only_values.dataset.reads == 1


def test_targets_of_any_kind_are_stored(made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made([(4, 4)] * 6, patch_size=[2, 2])
    targets = [np.int64(2), np.array([1, 0, 1], np.uint8), np.float32(0.5)]
    for value in targets:
        monkeypatch.setattr(
            dataset, "read", lambda sample, value=value: Case(np.zeros((4, 4, 3), np.uint8), np.asarray(value))
        )
        _, target = Store(dataset, dataset.listing)[4]
        assert target.dtype == value.dtype
        assert np.array_equal(target, value)


def test_cropping_and_resizing_leave_other_targets_alone() -> None:
    case = Case(np.zeros((4, 6, 1), np.float32), np.array([1, 2]))
    assert resized(case, (2, 3)).target is case.target
    assert cropped(case, (1, 1), (2, 2)).target is case.target
