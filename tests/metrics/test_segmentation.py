"""Overlap and surfaces against scipy, SimpleITK and monai, on random, analytic and degenerate maps."""

from __future__ import annotations

import math
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from relay.errors import DataError, RelayError, UserError
from relay.metrics.distances import edges
from relay.metrics.installed import ORDER
from relay.metrics.overlap_measures import Values, overlap
from relay.metrics.segmentation import Measuring, measure
from relay.metrics.voxels import counts

C, NAN = 3, math.nan
Labels = np.ndarray
SPACINGS = {2: [None, (0.4, 1.7)], 3: [None, (3.0, 0.5, 0.8)]}

METRICS = ORDER["segmentation"]


@st.composite
def maps(draw: st.DrawFn) -> tuple[Labels, Labels]:
    """Two label maps of one shape, often with classes absent; small ones, so that most voxels touch the border."""
    shape = draw(st.sampled_from([(1, 1), (6, 5), (1, 7), (3, 4, 4), (1, 3, 2)]))
    labels = st.integers(0, draw(st.integers(0, C - 1)))
    return tuple(draw(hnp.arrays(np.uint8, shape, elements=labels)) for _ in range(2))  # type: ignore[return-value]


def blobs(seed: int, shape: Sequence[int], count: int = C) -> Labels:
    """Connected regions of each class, some cut by the border."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(count, *shape)), (0, *(n / 10 for n in shape)))
    return noise.argmax(0).astype(np.uint8)


def by_monai(pred: Labels, truth: Labels, spacing: tuple[float, ...] | None, tolerance: float) -> Values:
    """What monai says, its infinite and NaN distances as missing."""
    one_hot = [torch.from_numpy(np.stack([m == c for c in range(C)]))[None].float() for m in (pred, truth)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            "hd95": compute_hausdorff_distance(*one_hot, percentile=95, spacing=spacing),
            "asd": compute_average_surface_distance(*one_hot, symmetric=True, spacing=spacing),
            "nsd": compute_surface_dice(*one_hot, [tolerance] * (C - 1), spacing=spacing),
        }
    values = {name: [NAN, *tensor[0].tolist()] for name, tensor in found.items()}
    for label in range(1, C):
        if not ((pred == label).any() and (truth == label).any()):
            values["hd95"][label] = values["asd"][label] = NAN
    return values


def by_distance_map(pred: Labels, truth: Labels, spacing: tuple[float, ...] | None) -> tuple[float, float, float]:
    """hd95, asd and the plain Hausdorff distance of class 1, by scipy alone."""
    rims = [m ^ binary_erosion(m) for m in (pred == 1, truth == 1)]
    away = [distance_transform_edt(~rim, sampling=spacing) for rim in rims]
    ways = [away[1][rims[0]], away[0][rims[1]]]
    return max(np.percentile(w, 95) for w in ways), float(np.concatenate(ways).mean()), max(w.max() for w in ways)


def same(found: Values, expected: Values, names: Sequence[str]) -> None:
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


@given(maps(), st.data())
def test_surfaces_are_monais_on_noise(pair: tuple[Labels, Labels], data: st.DataObject) -> None:
    spacing = data.draw(st.sampled_from(SPACINGS[pair[0].ndim]))
    tolerance = data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.0]))
    found = measure(*pair, C, spacing, tolerance)
    same(found, by_monai(*pair, spacing, tolerance), ("hd95", "asd", "nsd"))


@pytest.mark.parametrize("shape", [(64, 48), (12, 24, 20)])
@pytest.mark.parametrize("seed", range(3))
def test_surfaces_are_monais_on_regions(seed: int, shape: tuple[int, ...]) -> None:
    pred, truth = blobs(seed, shape), blobs(seed + 10, shape)
    for spacing in SPACINGS[len(shape)]:
        same(measure(pred, truth, C, spacing, 1.5), by_monai(pred, truth, spacing, 1.5), ("hd95", "asd", "nsd"))


@pytest.mark.parametrize("shape", [(64, 48), (12, 24, 20)])
def test_surfaces_are_those_of_distance_maps(shape: tuple[int, ...]) -> None:
    pred, truth = blobs(1, shape), blobs(2, shape)
    for spacing in SPACINGS[len(shape)]:
        found = measure(pred, truth, C, spacing)
        hd95, asd, hausdorff = by_distance_map(pred, truth, spacing)
        assert (found["hd95"][1], found["asd"][1]) == pytest.approx((hd95, asd))
        assert measure(pred, truth, C, spacing, hausdorff)["nsd"][1] == 1
        assert measure(pred, truth, C, spacing, hausdorff - 1e-3)["nsd"][1] < 1


@pytest.mark.parametrize("shape", [(64, 48), (12, 24, 20)])
def test_overlap_is_simpleitks(shape: tuple[int, ...]) -> None:
    pred, truth = blobs(3, shape), blobs(4, shape)
    found = measure(pred, truth, C)
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(sitk.GetImageFromArray(truth), sitk.GetImageFromArray(pred))
    for label in range(1, C):
        assert found["dice"][label] == pytest.approx(measures.GetDiceCoefficient(label))
        assert found["sensitivity"][label] == pytest.approx(np.mean(pred[truth == label] == label))
        assert found["specificity"][label] == pytest.approx(np.mean(pred[truth != label] != label))


@given(maps())
def test_edges_are_scipys(pair: tuple[Labels, Labels]) -> None:
    mask = pair[0] > 0
    np.testing.assert_array_equal(edges(mask), mask ^ binary_erosion(mask))


@given(maps())
def test_a_margin_of_background_changes_no_surface(pair: tuple[Labels, Labels]) -> None:
    names = ("hd95", "asd", "nsd")
    same(measure(*(np.pad(m, 2) for m in pair), C), measure(*pair, C), names)


@given(maps(), st.integers(0, 5))
def test_counts_add_up_over_slices(pair: tuple[Labels, Labels], at: int) -> None:
    whole = counts(*pair, C)
    parts = [counts(*(m[:at] for m in pair), C), counts(*(m[at:] for m in pair), C)]
    for name in ("tp", "fp", "fn", "tn"):
        np.testing.assert_array_equal(getattr(reduce(add, parts), name), getattr(whole, name))
        assert (getattr(whole, name) >= 0).all()
    np.testing.assert_array_equal(whole.tp + whole.fp + whole.fn + whole.tn, pair[0].size)
    same(overlap(reduce(add, parts)), overlap(whole), ("dice", "sensitivity", "specificity"))


def disc(radius: float, at: tuple[float, float] = (128, 128), size: int = 256) -> Labels:
    y, x = np.mgrid[:size, :size]
    return (np.hypot(y - at[0], x - at[1]) <= radius).astype(np.uint8)


def test_discs_of_known_dice_and_distance() -> None:
    found = measure(disc(40), disc(60), 2, tolerance=21)
    assert found["dice"][1] == pytest.approx(2 * 40**2 / (40**2 + 60**2), abs=2e-3)
    assert found["sensitivity"][1] == pytest.approx(40**2 / 60**2, abs=2e-3)
    assert found["specificity"][1] == 1
    assert found["asd"][1] == pytest.approx(20, abs=0.5)
    assert found["hd95"][1] == pytest.approx(20, abs=1)
    assert found["nsd"][1] == 1
    halved = measure(disc(40), disc(60), 2, (0.5, 0.5))
    assert halved["hd95"][1] == pytest.approx(found["hd95"][1] / 2)
    assert halved["asd"][1] == pytest.approx(found["asd"][1] / 2)


def test_shifted_squares_by_hand() -> None:
    truth = np.zeros((20, 30), np.uint8)
    truth[5:15, 5:15] = 1
    pred = np.roll(truth, 4, axis=1)
    found = measure(pred, truth, 2, (1.0, 0.25), 1.0)
    assert found["dice"] == pytest.approx([2 * 460 / (2 * 460 + 80), 0.6])
    assert found["sensitivity"] == pytest.approx([460 / 500, 0.6])
    assert found["hd95"][1] == pytest.approx(1.0)  # the far side is 4 columns of 0.25 mm away
    assert found["nsd"][1] == 1
    assert measure(pred, truth, 2, (1.0, 0.25), 0.99)["nsd"][1] < 1


def test_cubes_with_anisotropic_voxels_by_hand() -> None:
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[4:6, 2:10, 2:10] = 1
    pred = np.roll(truth, 2, axis=0)
    found = measure(pred, truth, 2, (2.5, 1.0, 1.0))
    assert found["dice"][1] == 0
    assert found["hd95"][1] == pytest.approx(5.0)  # two slices of 2.5 mm
    assert found["asd"][1] == pytest.approx(3.75)  # a slice's voxels are 2.5 or 5 mm from the other


@pytest.mark.parametrize("shape", [(8, 8), (4, 8, 8)])
def test_the_rule_for_absent_classes(shape: tuple[int, ...]) -> None:
    none, one = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    one[(0,) * len(shape)] = 1
    n = none.size
    absent, missed, invented = measure(none, none, C), measure(none, one, C), measure(one, none, C)
    for name in METRICS:
        assert math.isnan(absent[name][1]), name
        assert math.isnan(missed[name][2]), name
    assert absent["dice"][0] == absent["sensitivity"][0] == 1
    assert math.isnan(absent["specificity"][0])
    for found in (missed, invented):
        assert found["dice"][1] == found["nsd"][1] == 0
        assert math.isnan(found["hd95"][1])
        assert math.isnan(found["asd"][1])
        assert math.isnan(found["hd95"][0])
    assert missed["sensitivity"][1] == 0
    assert missed["specificity"][1] == 1
    assert math.isnan(invented["sensitivity"][1])
    assert invented["specificity"][1] == pytest.approx((n - 1) / n)


def test_one_pixel_and_everything() -> None:
    one, other = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    one[0, 0] = other[8, 8] = 1
    found = measure(one, other, 2, (3.0, 4.0))
    assert found["hd95"][1] == found["asd"][1] == pytest.approx(40)
    full = np.ones((9, 9), np.uint8)
    found = measure(full, full, 2)
    assert [found[name][1] for name in ("dice", "sensitivity", "hd95", "asd", "nsd")] == [1, 1, 0, 0, 1]
    assert math.isnan(found["specificity"][1])


def test_rounding_puts_nothing_beyond_the_tolerance() -> None:
    one, other = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    one[0, 0] = other[3, 0] = 1
    assert 3 * 0.1 > 0.3
    assert measure(one, other, 2, (0.1, 0.1), 0.3)["nsd"][1] == 1


def test_labels_beyond_the_classes_are_of_none_and_tensors_do() -> None:
    pred, truth = blobs(5, (16, 16)), blobs(6, (16, 16))
    stray = pred.copy()
    stray[pred == 2] = 255
    found = measure(torch.from_numpy(stray), torch.from_numpy(truth).long(), C)
    same(found, measure(stray, truth, C), METRICS)
    assert found["dice"][1] == measure(pred, truth, C)["dice"][1]
    assert found["dice"][2] == 0


GOOD = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pred": np.zeros((4, 5), np.uint8)}, r"sizes differ: prediction \(4, 5\), truth \(4, 4\)"),
        ({"spacing": (1.0,)}, "1 numbers; the image has 2 axes"),
        ({"spacing": (1.0, 0.0)}, "above 0"),
        ({"spacing": (1.0, -2.0)}, "above 0"),
        ({"spacing": (1.0, NAN)}, "finite"),
        ({"spacing": (1.0, math.inf)}, "finite"),
        ({"tolerance": -1.0}, "tolerance -1 must be finite and not negative"),
        ({"tolerance": NAN}, "tolerance nan"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        measure(**({"pred": GOOD, "truth": GOOD, "num_classes": 2} | change))  # type: ignore[arg-type]
    with Measuring() as measuring, pytest.raises(DataError, match=said):
        measuring.submit(**({"pred": GOOD, "truth": GOOD, "num_classes": 2} | change)).result()  # type: ignore[arg-type]


def test_workers_say_the_same_in_order_and_pass_errors_on() -> None:
    given = [(blobs(seed, (32, 32)), blobs(seed + 50, (32, 32))) for seed in range(12)]
    with Measuring(1) as measuring:
        jobs = [measuring.submit(torch.from_numpy(pred), truth, C, (1.0, 2.0)) for pred, truth in given]
        bad = measuring.submit(GOOD, given[0][1], C)
        found = [job.result() for job in jobs]
        with pytest.raises(DataError, match="sizes differ"):
            bad.result()
    for values, (pred, truth) in zip(found, given, strict=True):
        same(values, measure(pred, truth, C, (1.0, 2.0)), METRICS)
    assert len({values["dice"][1] for values in found}) == len(found)


def killed() -> None:
    """A worker dies between two samples."""
    with Measuring(1) as measuring:
        measuring.submit(GOOD, GOOD, C).result()
        (worker,) = measuring._pool._processes.values()  # type: ignore[union-attr]
        worker.kill()
        for _ in range(20):
            measuring.submit(GOOD, GOOD, C).result()


def test_a_worker_that_is_killed_is_told() -> None:
    with pytest.raises(RelayError, match="a process that measures was killed"):
        killed()


def test_workers_need_no_torch() -> None:
    assert pickle.loads(pickle.dumps(measure)) is measure
    code = (
        "import sys; from relay.metrics import measure; measure([[0, 1]], [[0, 1]], 2); "
        "sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


BROKEN = """
from relay.metrics import CountMetric, MaskMetric, NumberMetric
class Short(MaskMetric):
    name = "short"
    def measure(self, masks): return [1.0]
class Zero(CountMetric):
    name = "zero"
    def of_counts(self, counts): return [1 / 0]
class Nameless(MaskMetric):
    def measure(self, masks): return [1.0, 1.0]
class Empty(MaskMetric):
    name = "empty"
class Dice(Nameless):
    name = "dice"
class Error(NumberMetric):
    name = "error"
    def measure(self, numbers): return 1.0
class Never(Nameless):
    name = "never"
    def __init__(self): raise OSError("no such file")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of broken metrics in the current folder, which no other test knows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *filter(None, sys.path)])
    name = f"metrics_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(BROKEN)
    return name


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("Short", "metric 'short' failed: ValueError: it gave 1 numbers; it must give one for each of 2 classes"),
        ("Zero", "metric 'zero' failed: ZeroDivisionError: division by zero"),
        ("Nameless", "in relay.metrics has no name"),
        ("Empty", "in relay.metrics has no method measure"),
        ("Dice", "two metrics are called 'dice'"),
        ("Error", "metric 'error' is for regression, not for segmentation"),
        ("Never", "failed: OSError: no such file"),
    ],
)
def test_a_broken_metric_is_its_authors_error(metric: str, said: str, mine: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        measure(GOOD, GOOD, 2, more=(f"{mine}:{metric}",))
    if metric == "Zero":
        assert re.search(rf"Correct it: it stopped in line 8 of .*{mine}\.py", caught.value.advice())
    with Measuring(0, (f"{mine}:{metric}",)) as measuring, pytest.raises(UserError, match=said):
        measuring.submit(GOOD, GOOD, 2).result()


def test_a_broken_metric_in_another_process_says_the_same(mine: str) -> None:
    with Measuring(1, (f"{mine}:Zero",)) as measuring:
        job = measuring.submit(GOOD, GOOD, 2)
        with pytest.raises(UserError, match="metric 'zero' failed: ZeroDivisionError") as caught:
            job.result()
    assert "it stopped in line 8 of" in caught.value.advice()
