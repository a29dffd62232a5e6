"""A classifier's metrics against scikit-learn and sums in NumPy; what can't be measured is missing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import multiclass_calibration_error

from relay.errors import DataError
from relay.metrics.calibration import BINS, CalibrationBins
from relay.metrics.classification import classification
from relay.metrics.installed import ORDER

NAN = math.nan


def drawn(seed: int, count: int = 200, classes: int = 4, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + skill * np.eye(classes)[target]
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), target


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_all_of_it_is_scikit_learns(seed: int, classes: int) -> None:
    probs, target = drawn(seed, classes=classes)
    found, named = classification(probs, target), probs.argmax(1)
    assert set(ORDER["classification"]) <= found.keys()
    one_hot = np.eye(classes)[target]
    confusion = sk.confusion_matrix(target, named, labels=range(classes))
    true_negatives = [(~one_hot.astype(bool)[:, c] & (named != c)).sum() for c in range(classes)]
    expected = {
        "accuracy": sk.accuracy_score(target, named),
        "balanced_accuracy": sk.balanced_accuracy_score(target, named),
        "auroc": [sk.roc_auc_score(target == c, probs[:, c]) for c in range(classes)],
        "f1": sk.f1_score(target, named, average=None),
        "sensitivity": sk.recall_score(target, named, average=None),
        "specificity": [n / (target != c).sum() for c, n in enumerate(true_negatives)],
        "brier": np.square(probs - one_hot).sum(1).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(found["confusion"], confusion)
    assert found["mean"]["auroc"] == pytest.approx(sk.roc_auc_score(one_hot, probs, multi_class="ovr"))
    theirs = multiclass_calibration_error(torch.from_numpy(probs), torch.from_numpy(target), classes, n_bins=BINS)
    assert found["ece"] == pytest.approx(float(theirs))


def test_bins_are_scikit_learns() -> None:
    probs, target = drawn(3, 500)
    bins = [bin for bin in classification(probs, target)["bins"] if bin["count"]]
    right, sure = calibration_curve(probs.argmax(1) == target, probs.max(1), n_bins=BINS)
    np.testing.assert_allclose([bin["accuracy"] for bin in bins], right)
    np.testing.assert_allclose([bin["confidence"] for bin in bins], sure)
    assert sum(bin["count"] for bin in bins) == 500


def test_brier_of_two_classes_is_twice_the_binary_one() -> None:
    probs, target = drawn(5, classes=2)
    assert classification(probs, target)["brier"] == pytest.approx(2 * sk.brier_score_loss(target, probs[:, 1]))


def test_a_class_without_samples_is_missing_and_left_out_of_means() -> None:
    probs, target = drawn(1)
    keep = target < 2
    probs, target = probs[keep], target[keep]
    probs[:, 3] = 0
    probs[0, 2] = 9  # so that class 2 is predicted once, and class 3 never
    probs /= probs.sum(1, keepdims=True)
    found = classification(probs, target)
    for name in ("auroc", "sensitivity"):
        assert [math.isnan(value) for value in found[name]] == [False, False, True, True]
        assert found["mean"][name] == pytest.approx(np.mean(found[name][:2]))
    assert found["f1"][2] == 0
    assert math.isnan(found["f1"][3])
    assert found["balanced_accuracy"] == pytest.approx(
        sk.recall_score(target, probs.argmax(1), labels=[0, 1], average="macro")
    )


def test_a_set_of_one_class_has_no_auroc_and_no_specificity_of_it() -> None:
    found = classification([[0.8, 0.2], [0.4, 0.6]], [0, 0])
    assert math.isnan(found["auroc"][0])
    assert math.isnan(found["mean"]["auroc"])
    assert math.isnan(found["specificity"][0])
    assert found["specificity"][1] == found["sensitivity"][0] == 0.5


def test_ties_count_half() -> None:
    assert classification([[0.5, 0.5]] * 4, [0, 1, 0, 1])["auroc"] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("probs", "target", "said"),
    [
        ([[0.5, 0.5], [NAN, 0.5]], [0, 1], "row 1: probability of class 0 is nan"),
        ([[0.5, 0.5], [0.5, math.inf]], [0, 1], "row 1: probability of class 1 is inf"),
        ([[1.2, -0.2]], [0], "row 0: probability of class 0 is 1.2"),
        ([[0.9, 0.9]], [0], "row 0: probabilities add up to 1.8"),
        ([[0.5, 0.5]], [2], "row 0: class 2 is not one of 0 to 1"),
        ([[0.5, 0.5], [0.5, 0.5]], [0, -1], "row 1: class -1"),
        ([[0.5, 0.5]], [0, 1], r"shapes \(1, 2\) and \(2,\)"),
        ([0.5, 0.5], [0, 1], "shapes"),
        (np.zeros((0, 2)), np.zeros(0, int), "shapes"),
    ],
)
def test_what_can_not_be_scored_is_refused_and_named(probs: Any, target: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        classification(probs, target)


def voxels(seed: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probs = torch.randn(batch, 3, 6, 7, generator=generator).softmax(1)
    return probs, torch.randint(0, 3, (batch, 6, 7), generator=generator)


def test_bins_add_up_over_batches_and_voxels() -> None:
    batches = [voxels(seed, batch) for seed, batch in enumerate((2, 1, 3))]
    metric = CalibrationBins(3)
    for probs, target in batches:
        metric.update(probs, target)
    flat = torch.cat([probs.movedim(1, -1).flatten(0, -2) for probs, _ in batches])
    expected = classification(flat, torch.cat([target.flatten() for _, target in batches]))
    found = metric.compute()
    assert found["ece"] == pytest.approx(expected["ece"], rel=1e-5)
    assert [bin["count"] for bin in found["bins"]] == [bin["count"] for bin in expected["bins"]]


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_bins_of_known_answers() -> None:
    metric = CalibrationBins(2)
    assert math.isnan(metric.compute()["ece"])
    probs = torch.tensor([[0.9, 0.1]] * 4 + [[0.0, 1.0]] * 2 + [[0.8, 0.2]], dtype=torch.float64)
    metric.update(probs, torch.tensor([0, 0, 1, 1, 1, 1, 0]))
    found = metric.compute()
    assert found["bins"][13] == {"count": 4, "confidence": pytest.approx(0.9), "accuracy": 0.5}
    assert found["bins"][14] == {"count": 2, "confidence": 1, "accuracy": 1}
    assert found["bins"][11]["count"] == 1  # 0.8 is the bound of 12 bins of 15: the upper bound belongs to a bin
    assert math.isnan(found["bins"][0]["confidence"])
    assert found["ece"] == pytest.approx((4 * 0.4 + 0 + 0.2) / 7)


@pytest.mark.parametrize("bad", [NAN, 1.5])
def test_bins_refuse_what_is_no_probability(bad: float) -> None:
    metric, (probs, target) = CalibrationBins(3), voxels(1, 1)
    probs[0, :, 2, 2] = bad
    metric.update(probs, target)
    with pytest.raises(DataError, match="1 of 42 probabilities are no numbers"):
        metric.compute()


def test_an_update_never_waits_for_the_device() -> None:
    """On the meta device there is nothing to wait for: asking for a value is an error."""
    metric = CalibrationBins(3).to("meta")
    metric.update(torch.zeros(2, 3, 8, 8, device="meta"), torch.zeros(2, 8, 8, dtype=torch.int64, device="meta"))
    assert all(state.is_meta for state in metric.metric_state.values())
