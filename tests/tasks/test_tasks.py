"""Each task: how it reads a target, what the net's output means, and that its scores add up to the primary metric."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from relay.data import DatasetOptions, Record
from relay.errors import DataError
from relay.metrics import classification, metrics, multilabel, regression
from relay.tasks import TASKS, Task, named, of_metric, task_of


def task(name: str, num_classes: int | None = None) -> Task:
    return task_of(DatasetOptions(task_id=0, task_name="a", task=name, num_classes=num_classes))  # type: ignore[arg-type]


def record(target: object) -> Record:
    return Record("one", "ann", (Path("one.png"),), target)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("which", "given", "kind"),
    [
        (task("classification", 3), 2, np.int64),
        (task("multilabel", 2), (0, 1), np.uint8),
        (task("regression"), 61.5, np.float32),
        (task("regression"), 61, np.float32),
        (task("regression"), np.float32(61), np.float32),
    ],
)
def test_a_target_is_read(which: Task, given: object, kind: type) -> None:
    found = which.target(record(given))
    assert found.dtype == kind
    assert found.tolist() == (list(given) if isinstance(given, tuple) else given)


@pytest.mark.parametrize(
    ("which", "given", "message"),
    [
        (task("classification", 3), 3, "has the target 3; it must be the index of a class, 0 to 2 .class 0, class 1"),
        (task("classification", 3), -1, "has the target -1"),
        (task("classification", 3), 1.0, "has the target 1.0"),
        (task("classification", 3), True, "has the target True"),
        (task("classification", 3), None, "one.png: has no target; it must be the index"),
        (task("multilabel", 2), (0, 2), "must be 2 numbers, each 0 or 1, one for each label"),
        (task("multilabel", 2), (0,), "must be 2 numbers"),
        (task("multilabel", 2), 1, "must be 2 numbers"),
        (task("regression"), math.nan, "must be a finite number"),
        (task("regression"), "61", "must be a finite number"),
        (task("regression"), 1e39, r"must be a finite number, up to 3\.4e\+38"),
        (task("regression"), 10**400, "must be a finite number"),
    ],
)
def test_a_wrong_target_is_refused(which: Task, given: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        which.target(record(given))
    assert caught.value.advice()


@pytest.mark.parametrize("scale", [None, (62.0, 12.5)])
def test_training_sees_standardised_numbers_and_everything_else_their_own_unit(
    scale: tuple[float, float] | None,
) -> None:
    which = task_of(DatasetOptions(task_id=0, task_name="a", task="regression", target_scale=scale))
    stored, logits = torch.tensor([50.0, 62.0, 80.0]), torch.tensor([[-1.0], [0.5], [2.0]])
    mean, deviation = scale or (0.0, 1.0)
    assert which.label(stored)[:, 0].tolist() == ((stored - mean) / deviation).tolist()
    answer = which.answer(logits)
    assert answer.tolist() == (logits * deviation + mean).tolist()
    assert torch.allclose(which.logits(answer), logits)
    assert torch.allclose(values(which, logits, stored), (answer - stored[:, None]).abs())
    assert which.measure(answer.tolist(), stored).values[0] == (
        "",
        "mae",
        pytest.approx(values(which, logits, stored).mean()),
    )


def values(which: Task, logits: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
    return which.values(which.decide(logits), which.label(stored))


def test_the_scores_of_samples_add_up_to_the_primary_metric() -> None:
    torch.manual_seed(3)
    classes, labels, number = task("classification", 3), task("multilabel", 2), task("regression")
    three, two, one = torch.randn(40, 3), torch.randn(40, 2), torch.randn(40, 1)
    kind = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 40, replacement=True)
    flags, truth = torch.randint(2, (40, 2)).to(torch.uint8), torch.randn(40)
    wanted = {
        "classification": classification.classification(classes.answer(three), kind)["balanced_accuracy"],
        "multilabel": multilabel.multilabel(labels.answer(two), flags)["mean"]["balanced_accuracy"],
        "regression": regression.regression(one[:, 0], truth)["mae"],
    }
    for which, logits, stored in ((classes, three, kind), (labels, two, flags), (number, one, truth)):
        (name, meter), *_ = which.meters().items()
        assert name == which.primary.name
        for some in (slice(0, 25), slice(25, 40)):
            meter.update(which.decide(logits[some]), which.label(stored[some]))
        found = values(which, logits, stored)
        assert found.shape == (40, len(which.groups))
        assert float(meter.class_mean()) == pytest.approx(wanted[which.name], abs=1e-6)
        assert float(which.each(found).mean()) == pytest.approx(wanted[which.name], abs=1e-6)


def test_a_group_without_samples_counts_in_no_mean() -> None:
    which = task("classification", 3)
    found = values(which, torch.eye(3)[[0, 0, 1]], torch.tensor([0, 1, 1]))
    assert float(which.each(found).mean()) == 0.75


def test_segmentation_scores_the_classes_without_background() -> None:
    which = task("segmentation", 3)
    mask = torch.tensor([[[0, 0, 1, 1]]])
    found = which.values(mask, mask)
    assert found[0, :2].tolist() == [1, 1]
    assert found[0, 2].isnan()
    assert which.each(found).tolist() == [1.0]
    assert list(which.meters()) == ["dice", "dice_voxel"]


def test_a_task_knows_its_direction() -> None:
    up, down = named("classification"), named("regression")
    assert (up.gain(0.7, 0.5), down.gain(5.0, 7.0)) == (pytest.approx(0.2), 2.0)
    assert (up.best([1, 3, 2]), down.best([1, 3, 2]), up.worst([1, 3, 2]), down.worst([1, 3, 2])) == (3, 1, 1, 3)


def test_a_difference_is_clear_by_the_scale_of_its_metric() -> None:
    assert named("segmentation").clear(0.5) == named("multilabel").clear(0.0) == 0.01
    assert [named("regression").clear(error) for error in (200.0, 0.002, 0.0)] == [2.0, 0.00002, 0.01]


def test_every_task_has_its_metrics_and_is_found_by_the_metric_of_its_rows() -> None:
    for name, which in TASKS.items():
        assert which.primary.name in metrics((), name)  # type: ignore[arg-type]
        found = of_metric(which.sample_metric)
        assert found is not None
        assert (found.background, found.primary.higher_is_better) == (which.background, which.primary.higher_is_better)
    assert of_metric("hd95") is None
    assert named(None).name == "segmentation"
    with pytest.raises(ValueError, match="'detection' is no task; the tasks are segmentation, "):
        named("detection")
