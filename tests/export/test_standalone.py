"""The script that goes with an export does to an image what relay does, without a line of relay."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from relay.config import Predict
from relay.config.devices import Devices
from relay.data import DatasetOptions
from relay.export import standalone
from relay.export.recipe import recipe
from relay.leg import applied
from relay.leg.progress import Progress
from relay.predict.image import predict_images

VOLUME_STEPS = [
    {"name": "Resample", "kwargs": {"spacing": [1.0, 1.0, 0.5]}},
    {"name": "Crop", "kwargs": {"size": [10, 5, 6]}},
    {"name": "Normalise", "kwargs": {"how": "zscore", "clip": 1.0}},
]
AFTER = [{"name": "fill_holes"}, {"name": "largest_component", "kwargs": {"classes": [1]}}]
SMALL = [{"name": "minimum_size", "kwargs": {"voxels": 3}}]
NORMALISED = [
    [{"name": "Normalise", "kwargs": {"how": "percentile", "low": 2, "high": 90, "foreground": True}}],
    [{"name": "Normalise", "kwargs": {"how": "minmax"}}, {"name": "Resize", "kwargs": {"size": [30, None]}}],
    [{"name": "Resize", "kwargs": {"size": [20, 33], "interpolation": "cubic"}}],
    [{"name": "Crop", "kwargs": {"above": 90.0, "margin": 2}}, *VOLUME_STEPS[2:]],
    [{"name": "Normalise", "kwargs": {"how": "window", "low": 20, "high": 200}}],
]


def case(options: dict[str, Any], **how: Any) -> tuple[Any, dict[str, Any], standalone.Net]:
    """A model for relay, and the same for the script: two convolutions that see left from right."""
    torch.manual_seed(0)
    channels, flat = options.setdefault("channels", 1), options.pop("flat", False)
    kind: Any = torch.nn.Conv2d if flat or "slices" in options else torch.nn.Conv3d
    net = torch.nn.Sequential(kind(channels, 3, 3, padding=1), torch.nn.Tanh(), kind(3, 3, 3, padding=1))
    data, conf = DatasetOptions(task_id=0, task_name="a", num_classes=3, **options), Predict(**how)
    leg = SimpleNamespace(data=data, conf=SimpleNamespace(predict=conf))
    mine = applied(net, conf)
    model = SimpleNamespace(folder="m", digest="0", leg=leg, weights=net.state_dict(), net=lambda devices: mine)
    axes = 2 if kind is torch.nn.Conv2d else 3
    sizes = {"multiple": 2, "least": [1] * axes, "size": None, "batch": True}
    said = recipe(data, conf, SimpleNamespace(least=[1] * axes, takes=lambda: sizes), 1, {})  # type: ignore[arg-type]
    low, high = data.intensity_range

    def run(x: Any) -> tuple[Any, Any]:
        with torch.no_grad():
            scaled = x * (high - low) / (255 if data.image_type is np.uint8 else 2)
            logits = net(torch.from_numpy(scaled + (low if data.image_type is np.uint8 else (high + low) / 2)).float())
        return logits.numpy(), logits.softmax(1).numpy()

    return model, said, run


def same(tmp_path: Path, path: Path, options: dict[str, Any], **how: Any) -> None:
    """Both give one mask."""
    model, said, run = case(dict(options), **how)
    own = next(predict_images(model, [path], tmp_path / "own", Devices(), Progress(1), warn=str))
    whole = standalone.read([path], said)
    prepared = standalone.prepare(whole, said)
    answers = [standalone.probabilities(run, each, said) for each in prepared]
    found = standalone.save(standalone.mask_of(answers, prepared, whole, said), path, tmp_path / "theirs")
    if own.suffix == ".png":
        both = [np.array(Image.open(each)) for each in (own, found)]
        assert len(np.unique(both[0])) > 1
        assert np.array_equal(*both)
        return
    mine, theirs = sitk.ReadImage(str(own)), sitk.ReadImage(str(found))
    assert mine.GetSize() == theirs.GetSize()
    assert np.allclose(mine.GetDirection(), theirs.GetDirection(), atol=1e-5)
    assert np.allclose(mine.GetOrigin(), theirs.GetOrigin(), atol=1e-4)
    one, other = sitk.GetArrayFromImage(mine), sitk.GetArrayFromImage(theirs)
    assert len(np.unique(one)) > 1
    assert np.array_equal(one, other)


@pytest.mark.parametrize("code", ["LPS", "RAS", "SAR"])
@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({}, {}),
        ({"img_size": [8, 6, 7]}, {"postprocess": AFTER}),
        ({"patch_size": [4, 4, 4]}, {"mirror": True}),
        ({"patch_size": [8, 4, 4], "steps": VOLUME_STEPS}, {"postprocess": SMALL}),
        ({"slices": "axial"}, {}),
        ({"slices": "coronal", "img_size": [8, 8]}, {}),
        ({"slices": "sagittal", "steps": VOLUME_STEPS[2:]}, {"postprocess": AFTER}),
    ],
    ids=str,
)
def test_a_volume(tmp_path: Path, options: dict[str, Any], how: dict[str, Any], code: str) -> None:
    scan = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32))
    scan.SetSpacing((0.5, 0.75, 2.0))
    scan.SetOrigin((3.0, -4.0, 9.0))
    scan.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix())
    path = tmp_path / "scan.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(scan, code), str(path))
    same(tmp_path, path, options, **how)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_slice_is_a_picture(tmp_path: Path, axis: int) -> None:
    size = [6, 7, 8]
    size[axis] = 1
    path = tmp_path / "slice.nii.gz"
    scan = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=size).astype(np.float32))
    sitk.WriteImage(sitk.DICOMOrient(scan, "RAS"), str(path))
    same(tmp_path, path, {"flat": True, "slices": "axial"})


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
@pytest.mark.parametrize("steps", [None, *NORMALISED], ids=str)
def test_a_picture(tmp_path: Path, mode: str, steps: Any) -> None:
    values = np.random.default_rng(0).gamma(2.0, 40, (24, 31, 3)).clip(0, 255).astype(np.uint8)
    values[:4] = 0
    image = Image.fromarray(values)
    if mode != "RGB":
        image = image.convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 7)
    image.save(tmp_path / "picture.png")
    same(tmp_path, tmp_path / "picture.png", {"flat": True, "channels": 3, "steps": steps, "patch_size": [16, 16]})


def test_a_stranger_is_told_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.json").write_text("{}")
    assert standalone.main(["x.png", "--model", str(tmp_path)]) == 2
    (tmp_path / "model.onnx").touch()
    digest = hashlib.sha256(b"").hexdigest()
    (tmp_path / "model.json").write_text(json.dumps({"model": {"file": "model.onnx", "sha256": digest}, "input": {}}))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert standalone.main(["x.png", "--model", str(tmp_path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "does not belong to an export" in first
    assert "Install it: README.md names the packages" in second


def test_what_is_no_image_and_no_folder_to_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"input": {"axes": 3}, "slices": None, "read": {"files": 1}, "task": "segmentation"}
    monkeypatch.setattr(standalone, "load", lambda folder: (said, None))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for given, code, told in (
        ([str(tmp_path), "-o", str(tmp_path / "out")], 1, "/*.nii.gz"),
        ([str(tmp_path / "pipe"), "-o", str(tmp_path / "out")], 1, "not a file, but a pipe"),
        (["a.png", "b.png", "-o", str(tmp_path / "file" / "out")], 2, "Not a directory"),
    ):
        assert standalone.main(given) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert told in line


def test_images_of_other_axes_and_images_of_one_name_are_refused() -> None:
    said = {"input": {"axes": 2}, "slices": None, "read": {"files": 1}, "task": "segmentation"}
    volume = standalone.Picture.of(np.zeros((4, 4, 4, 1), np.uint8), None)
    with pytest.raises(ValueError, match="has 3 axes, and the net takes images of 2"):
        standalone.prepare(volume, said)
    series = [Path("1.2.840.nii.gz"), Path("1.2.841.nii.gz"), Path("1.2.840.png")]
    assert standalone.images_of(series, said) == [[file] for file in series]
    with pytest.raises(ValueError, match=r"two images are called 1\.2\.840"):
        standalone.images_of([*series, Path("other/1.2.840.nii.gz")], said)


def test_what_the_script_imports_is_no_part_of_relay() -> None:
    """Of the packages, only those that README.md of an export names."""
    tree = ast.parse(Path(standalone.__file__).read_text(encoding="utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    others = {name.split(".")[0] for name in found} - sys.stdlib_module_names
    assert others == {"numpy", "PIL", "SimpleITK", "onnxruntime", "torch"}


def test_what_the_script_does_not_know_is_said() -> None:
    _, said, run = case({"flat": True})
    picture = standalone.Picture.of(np.zeros((4, 4, 1), np.uint8), None)
    for wrong, why in (
        ({"steps": [{"name": "mine:Odd", "kwargs": {}}]}, "mine:Odd is a plug-in"),
        ({"steps": [{"name": "Resample", "kwargs": {"spacing": [1, 1]}}]}, "no spacing"),
        ({"input": {**said["input"], "channels": 2}}, "1 channels, but the model takes 2"),
    ):
        with pytest.raises(ValueError, match=why):
            standalone.prepare(picture, {**said, **wrong})
    with pytest.raises(ValueError, match="odd is a plug-in"):
        standalone.clean(np.zeros((2, 2), np.uint8), {"postprocess": [{"name": "odd", "kwargs": {}}]})
    with pytest.raises(ValueError, match=r"images of \[8, 8\] only"):
        standalone.fitted(run, {**said["input"], "size": [8, 8]})(np.zeros((1, 1, 4, 4), np.float32))
