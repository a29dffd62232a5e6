"""What a leg says about its images to other sites."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from relay.bundle import documents, manifest
from relay.data import DatasetOptions
from relay.errors import HandoverError
from relay.leg.handover_writer import input_spec
from relay.leg.run import check_input_spec

STEPS = [
    {"name": "Resample", "kwargs": {"spacing": [1.5, None, 1]}},
    {"name": "Normalise", "kwargs": {"how": "zscore"}},
]


def leg(**options: Any) -> Any:
    return SimpleNamespace(data=DatasetOptions(task_id=0, task_name="a", num_classes=2, channels=1, **options))


def test_all_that_a_model_expects_is_described() -> None:
    images = {"classes": ["background", "class 1"], "channels": 1, "intensity_range": [-1.0, 1.0]}
    plain = {**images, "task": "segmentation", "steps": None, "slices": None}
    assert input_spec(leg()) == plain
    assert input_spec(leg(slices="axial")) == {**plain, "slices": "axial"}


def test_classes_and_labels_of_the_same_names_are_not_mistaken() -> None:
    names = {"class_names": ["mass", "edema"]}
    said = input_spec(leg(task="multilabel", **names))
    with pytest.raises(HandoverError, match="task is 'multilabel' there, 'classification' here"):
        check_input_spec(leg(task="classification", **names), {"data": said}, "x")


def test_steps_are_written_with_all_their_options_and_are_compared() -> None:
    said = input_spec(leg(steps=STEPS))
    assert said["steps"][0] == {"name": "Resample", "kwargs": {"spacing": [1.5, None, 1.0], "interpolation": "linear"}}
    assert said["slices"] is None
    documents.check_schema(manifest.HANDOVER, {"format": 1, "model": {"name": "U-Net", "kwargs": {}}, "data": said})
    check_input_spec(leg(steps=STEPS), {"data": said}, "x")
    for other in (leg(), leg(steps=STEPS[1:]), leg(steps=STEPS, slices="axial")):
        with pytest.raises(HandoverError, match=r"(steps|slices) is"):
            check_input_spec(other, {"data": said}, "x")
