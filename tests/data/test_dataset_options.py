from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from relay.data import DatasetOptions


def normalise(how: str, **kwargs: object) -> dict[str, object]:
    return {"name": "Normalise", "kwargs": {"how": how, **kwargs}}


GOOD = {"task_id": 0, "task_name": "drive", "num_classes": 2}


def test_what_is_not_given_has_a_default() -> None:
    options = DatasetOptions(**GOOD)
    assert options.augment == {"train": "none"}
    assert options.folder_names == ["."]
    assert options.names == ["background", "class 1"]
    assert options.intensity_range == (-1.0, 1.0)


def test_yaml_lists_are_taken() -> None:
    options = DatasetOptions(**GOOD, img_folder=["a", "b"], intensity_range=[0, 1], class_names=["none", "vessel"])
    assert options.folder_names == ["a", "b"]
    assert options.intensity_range == (0, 1)
    assert options.names == ["none", "vessel"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("task_id", -1, "greater than or equal to 0"),
        ("task_name", "", "match pattern"),
        ("task_name", "../x", "match pattern"),
        ("task_name", "a/b", "match pattern"),
        ("task_name", "ends.", "match pattern"),
        ("num_classes", 1, "greater than or equal to 2"),
        ("num_classes", 256, "less than or equal to 255"),
        ("class_names", ["vessel"], "must be 2 different names"),
        ("class_names", ["a", "a"], "must be 2 different names"),
        ("class_names", ["a", "a", "b"], "must be 2 different names"),
        ("num_classes", None, "must be given: segmentation needs the number of classes, background included"),
        ("task", "detection", "'segmentation', 'classification', 'multilabel' or 'regression'"),
        ("class_names", ["none", "a|b"], "match pattern"),
        ("class_names", ["none", "Gefäß"], "match pattern"),
        ("channels", 0, "greater than or equal to 1"),
        ("steps", [{"name": "Resamples", "kwargs": {}}], r"\[0\] \(Resamples\): unknown name.*mean 'Resample'"),
        ("steps", [{"name": "Resample", "kwargs": {"spacings": [1, 1]}}], "spacings.*unknown key.*mean 'spacing'"),
        ("steps", [{"name": "Crop", "kwargs": {}}], "exactly one of size and above"),
        ("steps", [{"name": "Crop", "kwargs": {"size": [4, 4], "margin": 1}}], "margin is for above"),
        ("steps", [normalise("window", low=3)], "window needs low and high"),
        ("steps", [normalise("window", low=3, high=3)], "low must be less than high"),
        ("steps", [normalise("percentile", low=-1)], "percentiles are from 0 to 100"),
        ("steps", [normalise("minmax", high=3)], "high: only for window and percentile"),
        ("steps", [normalise("minmax", foreground=True)], "only for zscore and percentile"),
        ("steps", [normalise("minmax", channels=[0])], "channels 1, 2 are not normalised"),
        ("steps", [normalise("minmax", channels=[3])], "there is no channel 3"),
        (
            "steps",
            [{"name": "Resize", "kwargs": {"size": [4, 4]}}, {"name": "Crop", "kwargs": {"size": [4, 4, 4]}}],
            "the same number of axes: Resize 2, Crop 3",
        ),
        ("foreground", 0.5, "set patch_size, too"),
        ("foreground", 1.5, "less than or equal to 1"),
        ("slices", "across", "'axial', 'coronal' or 'sagittal'"),
        ("img_size", [64], "at least 2 items"),
        ("img_size", [64, 0], "greater than or equal to 1"),
        ("patch_size", [8, 8, 8, 8], "at most 3 items"),
        ("intensity_range", [1, -1], "first number must be less"),
        ("repeats", 0, "greater than or equal to 1"),
        ("val_fraction", 1.0, "less than 1"),
        ("fold", "2", "such as 2/5"),
        ("fold", "1/1", "at least 2 folds"),
        ("fold", "0/3", "such as 2/5"),
        ("fold", "4/3", "from 1/3 to 3/3"),
        ("test_fraction", 0.9, "must leave patients"),
        ("augment", {"train": "flips"}, "unknown name 'flips' in relay.augmentations.*Did you mean 'flip'"),
        ("augment", {"test": "flip"}, "only training images are augmented"),
        ("augment", {"tests": "flip"}, "'train', 'val' or 'test'"),
        ("img_dir", "x", "Unexpected keyword"),
    ],
)
def test_wrong_values_are_refused_where_they_stand(key: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        DatasetOptions(**{**GOOD, key: value})
    assert [error["loc"][0] for error in caught.value.errors()] == [key]


def of_task(task: str, num_classes: int | None = None, **more: object) -> DatasetOptions:
    return DatasetOptions(**{**GOOD, "task": task, "num_classes": num_classes, **more})


def test_names_and_outputs_follow_the_task() -> None:
    assert (of_task("classification", 2).names, of_task("multilabel", 1).names) == (["class 0", "class 1"], ["label 0"])
    assert (of_task("regression").names, of_task("regression").outputs) == (["value"], 1)
    assert of_task("regression", class_names=["age in years"]).names == ["age in years"]


@pytest.mark.parametrize(
    ("task", "classes", "names", "message"),
    [
        ("classification", 1, None, "greater than or equal to 2, as classification needs"),
        ("classification", 2, ["a"], "must be 2 different names, one for each class \\["),
        ("multilabel", None, None, "must be given: multilabel needs the number of labels"),
        ("multilabel", 2, ["a", "a"], "2 different names, one for each label"),
        ("multilabel", 2, ["no finding", "finding"], "'no finding' is what results call images without another label"),
        ("regression", 1, None, "must be left out: regression has no classes"),
        ("regression", None, ["a", "b"], "must be 1 name, one for each value"),
    ],
)
def test_classes_follow_the_task(task: str, classes: int | None, names: list[str] | None, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        of_task(task, classes, class_names=names)


def test_a_patch_has_the_axes_of_the_size() -> None:
    with pytest.raises(ValidationError, match="as many axes as img_size: 2"):
        DatasetOptions(**GOOD, img_size=[64, 64], patch_size=[8, 8, 8])


def test_plug_ins_are_imported_without_the_heavy_libraries() -> None:
    heavy = {"torch", "monai", "imgaug", "SimpleITK", "pytorch_lightning", "scipy", "cv2"}
    code = (
        "import sys, relay.datasets.folder, relay.datasets.fundus, relay.datasets.synthetic;"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_patches_on_a_class_need_masks() -> None:
    options = {**GOOD, "task": "classification", "patch_size": [8, 8], "foreground": 0.5}
    with pytest.raises(ValidationError, match="needs masks: leave it out"):
        DatasetOptions(**options)


def test_an_augmentation_of_bytes_does_not_suit_floats() -> None:
    steps = [{"name": "Normalise", "kwargs": {"how": "minmax"}}]
    given = {"task_id": 1, "task_name": "made", "num_classes": 2, "steps": steps}
    DatasetOptions(**given, augment={"train": ["flip", "strong"]})
    for choice in ("colour", ["flip", {"name": "OneOf", "kwargs": {"transforms": ["imgaug:Fliplr"]}}]):
        with pytest.raises(ValidationError, match=r"train: is for 8-bit pictures, but .* Use flip, flip_rotate"):
            DatasetOptions(**given, augment={"train": choice})
