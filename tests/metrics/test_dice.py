"""Dice against set sizes in NumPy, SimpleITK and torchmetrics, and on degenerate maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from torch import Tensor
from torchmetrics.segmentation import DiceScore

from relay.metrics import SampleDice, VoxelDice, sample_dice
from relay.metrics.dice import class_mean

C = 4
NAN = float("nan")
Maps = list[tuple[Tensor, Tensor]]


def dice_of_sets(pred: np.ndarray, target: np.ndarray, label: int) -> float:
    p = set(np.flatnonzero(pred == label).tolist())
    t = set(np.flatnonzero(target == label).tolist())
    return 2 * len(p & t) / (len(p) + len(t)) if p or t else NAN


@st.composite
def batches(draw: st.DrawFn) -> Maps:
    """Up to three batches of label maps, from noise to constant, often with classes absent."""
    size = draw(st.sampled_from([(5,), (4, 3), (3, 2, 4)]))
    made = []
    for _ in range(draw(st.integers(1, 3))):
        shape = (draw(st.integers(1, 3)), *size)
        labels = st.integers(0, draw(st.integers(0, C - 1)))
        pred, target = (draw(hnp.arrays(np.int64, shape, elements=labels)) for _ in range(2))
        made.append((torch.from_numpy(pred), torch.from_numpy(target)))
    return made


@given(batches())
def test_sample_dice_is_that_of_sets(maps: Maps) -> None:
    for pred, target in maps:
        expected = [
            [dice_of_sets(p, t, c) for c in range(C)] for p, t in zip(pred.numpy(), target.numpy(), strict=True)
        ]
        np.testing.assert_allclose(sample_dice(pred, target, C).numpy(), expected, rtol=1e-6)


@given(batches())
def test_sample_dice_accumulates(maps: Maps) -> None:
    metric = SampleDice(C)
    for pred, target in maps:
        metric.update(pred, target)
    each = np.concatenate([sample_dice(pred, target, C).numpy() for pred, target in maps])
    expected = [np.mean(d[~np.isnan(d)]) if (~np.isnan(d)).any() else NAN for d in each.T]
    np.testing.assert_allclose(metric.compute().numpy(), expected, rtol=1e-5)


@given(batches())
def test_voxel_dice_is_that_of_one_volume(maps: Maps) -> None:
    metric = VoxelDice(C)
    for pred, target in maps:
        metric.update(pred, target)
    pred, target = (torch.cat([m[i].flatten() for m in maps]).numpy() for i in (0, 1))
    expected = [dice_of_sets(pred, target, c) for c in range(C)]
    np.testing.assert_allclose(metric.compute().numpy(), expected, rtol=1e-6)


@given(batches())
def test_torchmetrics_agrees(maps: Maps) -> None:
    pred, target = maps[0]
    for level, metric in [("samplewise", SampleDice(C)), ("global", VoxelDice(C))]:
        theirs = DiceScore(C, average="none", aggregation_level=level, input_format="index")
        theirs.update(pred, target)
        metric.update(pred, target)
        torch.testing.assert_close(metric.compute(), theirs.compute(), equal_nan=True)


def itk_dice(pred: np.ndarray, target: np.ndarray, label: int) -> float:
    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(*(sitk.GetImageFromArray(a.astype(np.uint8)) for a in (target, pred)))
    return float(measure.GetDiceCoefficient(label))


@pytest.mark.parametrize("size", [(32, 40), (8, 12, 10)])
def test_simpleitk_agrees(size: tuple[int, ...]) -> None:
    g = torch.Generator().manual_seed(0)
    pred, target = (torch.randint(0, C, (1, *size), generator=g) for _ in range(2))
    found = sample_dice(pred, target, C)[0].tolist()
    expected = [itk_dice(pred[0].numpy(), target[0].numpy(), c) for c in range(1, C)]
    assert found[1:] == pytest.approx(expected)


def test_simpleitk_agrees_on_a_real_vessel_tree(shared_data: Path) -> None:
    path = sorted((shared_data / "fundus_vessels" / "drive" / "mask").glob("*.png"))[0]
    with Image.open(path) as image:
        truth = (np.asarray(image.convert("L")) > 0).astype(np.int64)
    truth = truth if truth.any() else pytest.fail(f"no vessel in {path}")
    shifted = np.roll(truth, 2, axis=1)
    found = sample_dice(torch.from_numpy(shifted)[None], torch.from_numpy(truth)[None], 2)[0, 1].item()
    assert 0 < found < 1
    assert found == pytest.approx(itk_dice(shifted, truth, 1))


def test_a_class_in_neither_is_missing_and_in_one_is_zero() -> None:
    pred = torch.tensor([[0, 0, 1, 2], [0, 0, 1, 1]])
    target = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
    expected = torch.tensor([[1, 2 / 3, 0, NAN], [1, 1, NAN, NAN]])
    torch.testing.assert_close(sample_dice(pred, target, C), expected, equal_nan=True)
    metric = SampleDice(C)
    metric.update(pred, target)
    torch.testing.assert_close(metric.compute(), torch.tensor([1, 5 / 6, 0, NAN]), equal_nan=True)
    assert metric.class_mean().item() == pytest.approx((5 / 6 + 0) / 2)


def test_a_label_of_no_class_overlaps_with_nothing() -> None:
    pred, target = torch.tensor([[1, 1, 255]]), torch.tensor([[1, 255, 255]])
    assert sample_dice(pred, target, 2)[0, 1].item() == pytest.approx(2 / 3)


def test_class_mean_leaves_background_and_missing_out() -> None:
    dice = torch.tensor([[1.0, 0.2, NAN, 0.4], [1.0, NAN, NAN, NAN]])
    torch.testing.assert_close(class_mean(dice), torch.tensor([0.3, NAN]), equal_nan=True)


@pytest.mark.parametrize("metric", [SampleDice(2), VoxelDice(2)])
def test_an_empty_set_is_missing(metric: SampleDice | VoxelDice) -> None:
    nothing = torch.zeros(0, 4, 4, dtype=torch.int64)
    metric.update(nothing, nothing)
    assert metric.compute().isnan().all()
    assert metric.class_mean().isnan()


@pytest.mark.parametrize("metric", [SampleDice(2), VoxelDice(2)])
def test_reset_forgets(metric: SampleDice | VoxelDice) -> None:
    ones, zeros = torch.ones(1, 4, dtype=torch.int64), torch.zeros(1, 4, dtype=torch.int64)
    metric.update(ones, zeros)
    assert metric.class_mean().item() == 0
    metric.reset()
    metric.update(ones, ones)
    assert metric.class_mean().item() == 1


def test_many_voxels_are_counted_exactly() -> None:
    metric = VoxelDice(2)
    ones = torch.ones(1, 2**20, dtype=torch.uint8)
    metric.update(ones, ones)
    metric.both *= 2**14  # 2**35 voxels: beyond int32 and float32's whole numbers
    metric.either *= 2**14
    metric.update(ones[:, :1], ones[:, :1])
    assert metric.both[1].item() == 2 * (2**34 + 1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integers_will_do(dtype: torch.dtype) -> None:
    pred = torch.tensor([[0, 1, 1, 2]]).to(dtype)
    assert sample_dice(pred, pred.long(), 3).tolist() == [[1, 1, 1]]


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        sample_dice(torch.zeros(2, 1, 4).long(), torch.zeros(2, 4).long(), 2)


@pytest.mark.parametrize("kind", [SampleDice, VoxelDice])
def test_processes_add_up(kind: type[SampleDice] | type[VoxelDice]) -> None:
    """Two processes of unlike batches, the network between them played by ``gather``, count as one would."""
    g = torch.Generator().manual_seed(0)
    pred, target = (torch.randint(0, 2, (5, 6, 6), generator=g) for _ in range(2))
    target[4, :, 0] = 2  # a class that only one of the two sees
    other, whole = kind(3), kind(3)
    other.update(pred[3:], target[3:])
    theirs = iter(other.metric_state.values())

    def gather(ours: Tensor, group: object) -> list[Tensor]:
        return [ours, next(theirs)]

    here = kind(3, dist_sync_fn=gather, distributed_available_fn=lambda: True)
    here.update(pred[:3], target[:3])
    whole.update(pred, target)
    torch.testing.assert_close(here.compute(), whole.compute())


@pytest.mark.parametrize("kind", [SampleDice, VoxelDice])
def test_an_update_never_waits_for_the_device(kind: type[SampleDice] | type[VoxelDice]) -> None:
    """On the meta device there is nothing to wait for: asking for a value is an error."""
    maps = torch.zeros(2, 8, 8, dtype=torch.int64, device="meta")
    metric = kind(3).to("meta")
    metric.update(maps, maps)
    assert all(state.is_meta for state in metric.metric_state.values())
