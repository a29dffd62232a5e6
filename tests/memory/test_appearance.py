"""Describing and repainting: against NumPy, in 2D and 3D, grey and in colour."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from relay.memory.appearance import (
    ENDS,
    Form,
    areas_to_perimeters,
    curves,
    describe,
    enlarged,
    quantiles,
    repaint,
    softened,
)
from relay.memory.describing import descriptions, tiled

SHAPES = [((24, 20), 1), ((24, 20), 3), ((8, 10, 12), 1)]


def drawn(shape: tuple[int, ...], channels: int, seed: int = 0, many: int = 3) -> tuple[Tensor, Tensor]:
    """Images with a block of class 1 in the middle, and one of class 2 within it."""
    draw = torch.Generator().manual_seed(seed)
    region = torch.zeros(many, *shape, dtype=torch.long)
    for number in (1, 2):
        inside = tuple(slice(number * n // 6, n - number * n // 6) for n in shape)
        region[(slice(None), *inside)] = number
    noise = torch.randint(-20, 21, (many, channels, *shape), generator=draw)
    return (60 + 60 * region[:, None] + noise).to(torch.uint8), region


@pytest.mark.parametrize(("shape", "channels"), SHAPES)
def test_quantiles_are_those_of_numpy(shape: tuple[int, ...], channels: int) -> None:
    image, region = drawn(shape, channels)
    form = Form(3, channels, 7, True)
    found = quantiles(image, region, form).numpy()
    for one in range(3):
        for number in range(3):
            inside = image[one][:, region[one] == number].numpy()
            wanted = np.quantile(inside, np.linspace(*ENDS, 7), axis=1, method="inverted_cdf").T
            assert np.abs(found[one, number] - wanted).max() <= 1


def test_a_region_of_a_few_pixels_is_not_described() -> None:
    image, region = drawn((24, 20), 3)
    region[0][region[0] == 2] = 1
    found = describe(image, region, Form(3, 3, 5, True))
    assert found[0, 2 * 15 : 3 * 15].isnan().all()
    assert found[0, -1].isnan()
    assert found[1:].isfinite().all()
    assert found[1:].abs().max() <= 1


@pytest.mark.parametrize("side", [6, 12])
def test_the_area_to_perimeter_of_a_square_is_a_quarter_of_its_side(side: int) -> None:
    region = torch.zeros(1, 40, 40, dtype=torch.long)
    region[:, 5 : 5 + side, 9 : 9 + side] = 1
    assert float(areas_to_perimeters(region, 2)) == pytest.approx(side / 4)


@given(st.integers(0, 500))
def test_curves_are_monotone_and_meet_the_quantiles(seed: int) -> None:
    draw = np.random.default_rng(seed)
    source = torch.from_numpy(np.sort(draw.choice(256, 9, replace=False))).float()
    target = torch.from_numpy(np.sort(draw.uniform(0, 255, 9))).float()
    (table,) = curves(source[None], target[None])
    assert (table.diff() >= -1e-3).all()
    assert torch.allclose(table[source.long()], target, atol=0.5)
    assert 0 <= table.min() <= table.max() <= 255


def test_curves_of_a_region_of_one_colour_are_finite() -> None:
    table = curves(torch.full((1, 9), 128.0), torch.linspace(0, 255, 9)[None])
    assert table.isfinite().all()


@pytest.mark.parametrize(("shape", "channels"), SHAPES)
def test_a_repainted_image_has_the_quantiles_that_were_wanted(shape: tuple[int, ...], channels: int) -> None:
    """Where regions meet they are blended, so that the outermost quantiles may be off a little."""
    image, region = drawn(shape, channels)
    form = Form(3, channels, 5, True)
    own = describe(image, region, form)
    wanted = own.clone()
    wanted[:, : form.intensities] = wanted[:, : form.intensities] * 0.5 + 0.1
    painted, moved = repaint(image, region, wanted, wanted[0], form)
    assert torch.equal(moved, region)
    found = describe(painted.round().to(torch.uint8), moved, form)[:, : form.intensities]
    assert (found - wanted[:, : form.intensities]).abs().median() < 5 / 127.5


def test_its_own_look_changes_an_image_but_at_borders_little() -> None:
    image, region = drawn((24, 20), 3)
    form = Form(3, 3, 33, True)
    own = describe(image, region, form)
    painted, _ = repaint(image, region, own, own[0], form)
    assert (painted - image).abs().median() <= 1


def test_repainting_is_monotone_within_a_region() -> None:
    """Away from borders, what was brighter stays at least as bright: nothing is drawn into the image."""
    image, region = drawn((32, 32), 1, many=1)
    form = Form(3, 1, 9, True)
    wanted = describe(image, region, form).clamp(-0.5, 0.7)
    painted, _ = repaint(image, region, wanted, wanted[0], form)
    core = softened((region[:, None] == 0).float())[0, 0] == 1
    order = image[0, 0][core].argsort(stable=True)
    assert (painted[0, 0][core][order].diff() >= -1e-3).all()


@pytest.mark.parametrize(("shape", "channels"), SHAPES)
def test_larger_areas_to_perimeters_enlarge_the_image_with_its_regions(shape: tuple[int, ...], channels: int) -> None:
    image, region = drawn(shape, channels)
    factor = torch.tensor([0.5, 1.0, 2.0])
    bigger, moved = enlarged(image, region, factor)
    assert bigger.dtype == torch.uint8
    assert torch.equal(bigger[1], image[1])
    assert torch.equal(moved[1], region[1])
    inner = [(moved[one] == 2).float().mean() for one in range(3)]
    assert inner[0] < inner[2]
    assert inner[2] > inner[1]


@given(st.integers(1, 5), st.integers(1, 5))
def test_softening_keeps_the_sum_of_the_shares(rows: int, columns: int) -> None:
    region = torch.arange(rows * columns).view(1, rows, columns) % 3
    share = softened(torch.nn.functional.one_hot(region, 3).movedim(-1, 1).float())
    assert torch.allclose(share.sum(1), torch.ones(1, rows, columns))


def test_tiles_cover_the_image_from_its_first_corner() -> None:
    image = torch.arange(2 * 7 * 9).view(2, 1, 7, 9)
    tiles = tiled(image, (3, 4))
    assert tiles.shape == (2 * 2 * 2, 1, 3, 4)
    assert torch.equal(tiles[0, 0], image[0, 0, :3, :4])
    assert {tuple(tile.flatten().tolist()) for tile in tiles} == {
        tuple(image[one, 0, r : r + 3, c : c + 4].flatten().tolist()) for one in (0, 1) for r in (0, 3) for c in (0, 4)
    }
    assert tiled(image, (10, 4)).shape == (4, 1, 7, 4)
    assert tiled(image, None) is image


def test_what_a_patient_lacks_is_filled_from_the_patient_alone() -> None:
    """Alone, from the patient's own image; else so that the mean is over those who have it."""
    image, region = drawn((24, 20), 1, many=6)
    region[0][region[0] == 2] = 1
    form = Form(3, 1, 5, True)
    patients = [f"p{number}" for number in range(6)]
    batch = [(image, region, torch.arange(6))]
    made = descriptions(batch, patients, form, None, 7)
    assert made.whose == patients
    assert made.behind[:5].eq(6).all()
    assert made.behind[10:15].eq(5).all()
    found, among = made.filled(alone=True), made.filled()
    assert found.isfinite().all()
    whole = describe(image[:1], torch.zeros_like(region[:1]), Form(1, 1, 5, False))
    assert torch.allclose(found[:1, 10:15], whole)
    others = describe(image[1:], region[1:], form)[:, 10:15].mean(0)
    assert torch.allclose(among[0, 10:15], others, atol=1e-6)
    assert torch.equal(found[1:], among[1:])


def test_no_pixel_position_is_kept() -> None:
    """The same pixels in any other order within their regions give the same intensities."""
    image, region = drawn((24, 20), 3, many=1)
    shuffled = image.clone()
    for number in range(3):
        inside = region[0] == number
        order = torch.randperm(int(inside.sum()), generator=torch.Generator().manual_seed(number))
        shuffled[0][:, inside] = image[0][:, inside][:, order]
    form = Form(3, 3, 9, True)
    assert not torch.equal(image, shuffled)
    assert torch.equal(describe(image, region, form), describe(shuffled, region, form))
