"""One image: its mask lies where the image lies, however that is stored."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from relay.config.devices import Devices
from relay.data import DatasetOptions, read_images
from relay.errors import DataError
from relay.leg import evaluate
from relay.leg.progress import Progress
from relay.predict.image import predict_images, probabilities


def model(**options: Any) -> Any:
    """One that tells left from right, front from back, and up from down."""
    torch.manual_seed(0)
    channels, classes = options.setdefault("channels", 1), options.setdefault("num_classes", 3)
    net = (torch.nn.Conv2d if "slices" in options else torch.nn.Conv3d)(channels, classes, 3, padding=1)
    data = DatasetOptions(task_id=0, task_name="a", **options)
    leg = SimpleNamespace(data=data, conf=SimpleNamespace(predict=SimpleNamespace(postprocess=[])))
    return SimpleNamespace(folder="m", digest="0", leg=leg, weights=net.state_dict(), net=lambda devices: net)


STEPS = [
    {"name": "Resample", "kwargs": {"spacing": [1.0, 1.0, 0.5]}},
    {"name": "Crop", "kwargs": {"size": [10, 5, 6]}},
    {"name": "Normalise", "kwargs": {"how": "zscore", "clip": 1.0}},
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"img_size": [8, 6, 7]},
    {"patch_size": [4, 4, 4]},
    {"steps": STEPS},
    {"steps": STEPS, "patch_size": [4, 4, 4]},
    {"slices": "axial"},
    {"slices": "coronal", "img_size": [8, 8]},
    {"slices": "sagittal", "steps": [STEPS[2]]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_same_scan_is_predicted_the_same_however_it_is_stored(tmp_path: Path, options: dict[str, Any]) -> None:
    scan = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32))
    scan.SetSpacing((0.5, 0.75, 2.0))
    scan.SetOrigin((3.0, -4.0, 9.0))
    scan.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix())
    found = {}
    for code in ("LPS", "RAS", "SAR"):
        path = tmp_path / code / "scan.nii.gz"
        path.parent.mkdir()
        stored = sitk.DICOMOrient(scan, code)
        sitk.WriteImage(stored, str(path))
        made, _ = predict_images(model(**options), [path], path.parent, Devices(), Progress(1), warn=pytest.fail)
        mask = sitk.ReadImage(str(made))
        for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(mask, what)() == pytest.approx(getattr(stored, what)(), abs=1e-5)
        found[code] = sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS"))
    assert set(np.unique(found["LPS"])) == {0, 1, 2}
    assert np.array_equal(found["RAS"], found["LPS"])
    assert np.array_equal(found["SAR"], found["LPS"])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_probabilities_come_in_parts_that_make_up_the_mask(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "SLAB", 1)
    values = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path := tmp_path / "scan.nii.gz"))
    one = model(**options)
    made, _ = predict_images(one, [path], tmp_path, Devices(), Progress(1), warn=pytest.fail)
    case = read_images([path], eight_bits="steps" not in options)
    mask = np.full(case.image.shape[:-1], 9)
    for place, likely in probabilities(one, one.net(Devices()), case, path):
        assert (mask[place] == 9).all(), "two parts lie on each other"
        mask[place] = likely.argmax(0)
    assert np.array_equal(mask, read_images([made], eight_bits=False).image[..., 0])


def test_what_is_suspicious_about_an_image_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "black.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 5, 6), 7, np.int16)), str(path))
    assert len(list(predict_images(model(), [path], tmp_path, Devices(), Progress(1), told.append))) == 2
    assert told == [f"{path}: every voxel is 7; read as black"]


def test_an_image_of_another_number_of_axes_is_refused_with_a_cure(tmp_path: Path) -> None:
    flat, deep = tmp_path / "flat.png", tmp_path / "deep.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.eye(6, dtype=np.uint8)), str(flat))
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 5, 6), np.int16)), str(deep))
    for path, options, said, cure in (
        (flat, {}, "has 2 axes; the model takes volumes", "whole volume in one file"),
        (deep, {"img_size": [8, 8]}, "has 3 axes; the model takes 2D images", "slices"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            list(predict_images(model(**options), [path], tmp_path, Devices(), Progress(1), pytest.fail))
        assert cure in caught.value.advice()


def test_files_of_one_image_are_its_channels(tmp_path: Path) -> None:
    """As nnU-Net names them, in any order; what lacks one says so, and the others are predicted."""
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{name}.nii.gz" for name in ("b_0001", "a_0001", "a_0000", "b_0000", "alone")]
    for path in files:
        sitk.WriteImage(sitk.GetImageFromArray(rng.integers(0, 9, (4, 5, 6)).astype(np.int16)), str(path))
    made: list[str] = []
    found = predict_images(model(channels=2), files, tmp_path / "out", Devices(), Progress(1), warn=pytest.fail)
    with pytest.raises(DataError, match="out of 3 images") as caught:
        made.extend(path.name for path in found)
    assert "alone.nii.gz has 1 channel; the model takes 2" in str(caught.value)
    assert "Give every channel of an image" in caught.value.advice()
    assert [name[:6] for name in made] == ["b_0000", "b_0000", "a_0000", "a_0000"]
