"""A model on whole images: windows, sizes, what is missing, and how the model is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from relay.config import Named, Predict
from relay.data import Case, Dataset, DatasetOptions, Grid, Record, SiteData, prepare, scaled
from relay.leg import evaluate, inference as leg_predict
from relay.leg.evaluate import Predicted, predictions, resized, rows, slabs
from relay.leg.inference import applied, batches, predict
from relay.postprocess import steps_of
from relay.tasks import Segmentation

CPU = torch.device("cpu")


class Made(Dataset):
    """Pictures made by a function of their number; grey 40 times the class, so that a net can know it."""

    def __init__(self, mask: Callable[[int], np.ndarray], count: int = 6, **options: Any) -> None:
        given = {"task_id": 1, "task_name": "made", "num_classes": 3, "channels": 1, **options}
        super().__init__(DatasetOptions(**given))
        self.mask, self.count = mask, count

    def folders(self) -> list[Path]:
        return []

    def samples(self) -> list[Record]:
        parts = ("test", "train")
        return [Record(f"s{i}", f"p{i}", (Path(str(i)),), Path(), parts[i % 2]) for i in range(self.count)]

    def read(self, sample: Record) -> Case:
        mask = self.mask(int(sample.image.name))
        return Case((40 * mask)[..., None].astype(np.uint8), mask)


class Oracle(nn.Module):
    """Knows the class of a voxel from its grey value, -1..1, by the nearest of 0, 40, 80."""

    def forward(self, image: Tensor) -> Tensor:
        wanted = torch.tensor([0.0, 40.0, 80.0], device=image.device) * (2 / 255) - 1
        return -1000 * (image - wanted.view(1, 3, *[1] * (image.ndim - 2))).abs()


def blobs(number: int, size: Sequence[int] = (20, 24)) -> np.ndarray:
    """A disc around a smaller one, at another place in each picture."""
    grid = np.meshgrid(*map(np.arange, size), indexing="ij")
    away = sum((axis - n / 2 - number % 3) ** 2 for axis, n in zip(grid, size, strict=True))
    return ((away < 50).astype(np.uint8) + (away < 12)).astype(np.uint8)


def site(mask: Callable[[int], np.ndarray] = blobs, **options: Any) -> SiteData:
    return prepare(Made(mask, **options), seed=0)


def found(model: nn.Module, data: SiteData) -> list[Predicted]:
    return list(predictions(model, data, CPU))


# -- windows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "patch"),
    [
        ((40, 31), (16, 16)),
        ((16, 16), (16, 16)),
        ((9, 40), (16, 16)),
        ((1, 5), (16, 16)),
        ((9, 17, 12), (8, 8, 8)),
        ((3, 20, 20), (16, 16, 16)),
    ],
)
def test_windows_of_a_net_that_looks_at_single_voxels_give_the_whole_image(
    size: tuple[int, ...], patch: tuple[int, ...]
) -> None:
    net: Any = (nn.Conv2d if len(size) == 2 else nn.Conv3d)(2, 3, 1)
    image = torch.rand(2, 2, *size)
    whole, windows = predict(net, image), predict(net, image, patch)
    assert windows.shape == (2, 3, *size)
    assert torch.allclose(whole, windows, atol=1e-5)


def test_a_window_is_as_large_as_a_training_patch_and_reflected_as_in_training() -> None:
    seen = []

    class Spy(nn.Conv2d):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(image)
            return super().forward(image)

    image = torch.arange(3.0).view(1, 1, 1, 3).expand(1, 1, 8, 3)
    predict(Spy(1, 1, 1), image, (8, 8))
    assert seen[0].shape[1:] == (1, 8, 8)
    assert seen[0][0, 0, 0].tolist() == np.pad(np.arange(3), (2, 3), "reflect").tolist()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("patch", [None, (8, 8)])
def test_prediction_is_in_evaluation_mode_and_the_mode_is_given_back(training: bool, patch: Any) -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.9)).train(training)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    logits = predict(net, torch.rand(1, 1, 8, 8), patch)
    assert net.training == net[1].training == training
    assert not logits.requires_grad
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_the_mode_is_given_back_after_a_failure() -> None:
    net = nn.Conv2d(3, 1, 1).train()
    with pytest.raises(RuntimeError):
        predict(net, torch.rand(1, 1, 8, 8))
    assert net.training


def test_intensities_are_scaled_to_the_range() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert scaled(image, (-1, 1)).tolist() == pytest.approx([-1, -0.6, 1])
    assert scaled(image, (0, 1)).tolist() == pytest.approx([0, 0.2, 1])
    assert image.tolist() == [0, 51, 255]


def test_large_images_go_alone_and_small_ones_together(monkeypatch: pytest.MonkeyPatch) -> None:
    data = site(count=10)
    assert [len(batch["index"]) for batch in batches(data.test)] == [5]
    monkeypatch.setattr(leg_predict, "MAX_VOXELS", 20 * 24 * 2)
    assert [batch["index"].tolist() for batch in batches(data.test)] == [[0, 1], [2, 3], [4]]
    monkeypatch.setattr(leg_predict, "MAX_VOXELS", 5)
    assert len(list(batches(data.test))) == 5


# -- scores ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patch_size": [16, 16]},
        {"patch_size": [32, 32]},
        {"img_size": [20, 24]},
        {"img_size": [60, 96]},
        {"img_size": [60, 96], "patch_size": [16, 16]},
    ],
)
def test_an_oracle_scores_one_at_the_images_own_size(options: dict[str, Any]) -> None:
    """Enlarged images lose next to nothing at the borders of the classes; all others nothing at all."""
    scores = found(Oracle(), site(**options))
    assert [one.sample.id for one in scores] == ["s0", "s2", "s4"]
    for one in scores:
        assert one.mask.shape == one.truth.shape == (20, 24)
        assert one.mask.dtype == np.uint8
        assert (one.truth == blobs(int(one.sample.id[1:]))).all()
        assert one.scores == (
            pytest.approx([1, 1, 1], abs=0.1) if "img_size" in options and options["img_size"][0] > 20 else [1, 1, 1]
        )


def test_an_oracle_in_three_dimensions_and_of_several_sizes() -> None:
    data = site(lambda i: blobs(i, (9 + i, 14, 15)), patch_size=[8, 8, 8])
    scores = found(Oracle(), data)
    assert [one.mask.shape for one in scores] == [(9, 14, 15), (11, 14, 15), (13, 14, 15)]
    assert all(one.scores == [1, 1, 1] for one in scores)


def test_a_score_is_about_the_hospitals_image_not_the_nets() -> None:
    """Of stripes one pixel wide nothing is left at half the size, and the score says so."""
    striped = site(lambda _: np.tile(np.array([0, 1], np.uint8), (20, 12)), img_size=[10, 12], num_classes=3)
    assert all(one.scores[1] < 0.8 for one in found(Oracle(), striped))


def test_a_class_in_neither_is_missing_and_one_in_either_is_zero() -> None:
    class Constant(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.tensor([0.0, 1.0, -1.0]).view(1, 3, 1, 1).expand(len(image), 3, *image.shape[2:])

    for one in found(Constant(), site(lambda _: np.zeros((20, 24), np.uint8))):
        assert one.scores[:2] == [0, 0]
        assert math.isnan(one.scores[2])
    (*_, last) = rows(
        found(Constant(), site(lambda _: np.zeros((20, 24), np.uint8)))[0], Segmentation(3, ["b", "x", "y"]), leg=1
    )
    assert {k: last[k] for k in ("patient", "sample", "class", "metric", "leg")} == {
        "patient": "p0",
        "sample": "s0",
        "class": "y",
        "metric": "dice",
        "leg": 1,
    }
    assert math.isnan(last["value"])


def test_probabilities_are_resized_not_classes() -> None:
    """Between a sure 0 and an unsure 1 the border is nearer to the 1; with logits it would be nearer."""
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 0, 0, 0], logits[0, 1, 0, 1] = 9.0, 1.0
    assert resized(logits, (1, 2)).argmax(1).tolist() == [[[0, 1]]]
    assert resized(logits, (1, 8)).argmax(1)[0, 0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert resized(logits[..., None], (1, 8, 1)).shape == (1, 2, 1, 8, 1)


class Leftish(nn.Module):
    """Sure of class 1, the more so the further to the left a voxel is; of a whole image, of nothing."""

    def forward(self, image: Tensor) -> Tensor:
        left = torch.linspace(1, 0, image.shape[-1]).expand(len(image), *image.shape[2:])
        return torch.stack([image[:, 0], left], dim=1)


def test_mirrored_is_the_mean_over_all_mirror_images() -> None:
    image = torch.rand(2, 1, 4, 6)
    once, all_ = predict(Leftish(), image), predict(applied(Leftish(), Predict(mirror=True)), image)
    assert torch.allclose(all_[:, 0], once[:, 0])  # mirrored back
    assert torch.allclose(all_[:, 1], torch.full((2, 4, 6), 0.5))
    whole = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    predict(whole, volume := torch.rand(1, 1, 2, 3, 4))
    ways = [[axis for axis, on in zip((2, 3, 4), which, strict=True) if on] for which in product((0, 1), repeat=3)]
    views = [volume.flip(way) for way in ways]
    expected = torch.stack([predict(whole, view) for view in views]).mean(0)
    assert torch.allclose(predict(applied(whole, Predict(mirror=True)), volume), expected, atol=1e-6)
    assert applied(whole, Predict()) is whole


def test_scores_are_of_the_mask_after_its_steps() -> None:
    """Each image has three voxels that touch at their corners."""
    data = site(lambda number: np.pad(np.eye(3, dtype=np.uint8), ((2, 9), (2, 9))) + 0 * number)
    kept = list(predictions(Oracle(), data, CPU, steps=steps_of([Named(name="minimum_size", kwargs={"voxels": 4})])))
    assert all(one.scores[1] == 1 for one in found(Oracle(), data))
    assert all(one.scores[1] == 0 and not one.mask.any() for one in kept)


GRIDS = {
    "same": ((7, 5, 6), None),
    "moved": ((9, 8, 7), Grid((9, 8, 7), (1.0, 0.5, 0.0), (0.8, 0.7, 0.9))),
    "resized": ((9, 8, 7), None),
    "resized, by its grid": ((9, 8, 7), Grid((9, 8, 7), (0.0, 0.0, 0.0), (9 / 7, 8 / 5, 7 / 6))),
}


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("most", [1, 3 * 40 * 2, 1 << 20])
def test_a_large_image_is_decided_in_parts_as_it_would_be_at_once(
    kind: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "SLAB", most)
    size, grid = GRIDS[kind]
    logits = torch.randn(1, 3, 7, 5, 6, generator=torch.Generator().manual_seed(1))
    whole, parts = resized(logits, size, grid), list(slabs(logits, size, grid))
    assert torch.cat([part for _, part in parts], 2).allclose(whole, atol=1e-6)
    assert [whole[:, :, where].shape for where, _ in parts] == [part.shape for _, part in parts]
    assert (len(parts) > 1) == (most < 1 << 20)
