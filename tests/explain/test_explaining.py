"""Whole images: the map lies on the image as it is stored, and says which part was explained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image
from torch import nn

from relay.config import Devices
from relay.data import DatasetOptions
from relay.errors import DataError, UserError
from relay.explain import Asked, explain, write_page
from relay.explain.picture import FOUND, WINDOW, sheet
from relay.report import Maps

METHODS = ("occlusion", "guided_grad_cam", "integrated_gradients")


def model(axes: int = 2, bias: float = 0.0, **options: Any) -> Any:
    """Class 1 where it is bright."""
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    net = nn.Sequential(kind(1, 2, 3, padding=1), nn.ReLU(), kind(2, 2, 1, bias=True))
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
        net[0].weight[(0, 0, *(1,) * axes)] = 1.0
        net[2].weight[1, 0] = 1.0
        net[2].bias[0] = 0.5 + bias
    if options.get("task") == "classification":
        net = nn.Sequential(*net, {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[axes](1), nn.Flatten())
    data = DatasetOptions(
        task_id=0, task_name="a", num_classes=2, channels=1, class_names=["dark", "bright"], **options
    )
    leg = SimpleNamespace(data=data)
    return SimpleNamespace(folder="m", kind="generalist", source=Path("m"), leg=leg, built=lambda: net.eval())


def explained(made: Any, path: Path, **asked: Any) -> Any:
    (found,) = explain(made, [(path,)], Asked(METHODS, **asked), Devices(), pytest.fail)
    return found


def picture(path: Path, size: tuple[int, int] = (32, 48)) -> Path:
    pixels = np.zeros(size, np.uint8)
    pixels[4:12, 20:30] = 250
    Image.fromarray(pixels).save(path)
    return path


def test_a_class_may_be_given_by_its_number(tmp_path: Path) -> None:
    one = explained(model(bias=-0.45), picture(tmp_path / "one.png"), output="1")
    assert (one.output, one.shown) == ("bright", None)
    assert one.found is not None
    assert one.found[5:11, 21:29].all()
    assert not one.found[20:].any()


@pytest.mark.parametrize("slices", ["axial", "coronal", "sagittal"])
def test_all_methods_show_the_same_slice_and_what_was_found_there(tmp_path: Path, slices: str) -> None:
    """The slice that was explained, whichever axis the net sees slices across."""
    pixels = np.random.default_rng(0).uniform(0, 40, (10, 12, 14)).astype(np.float32)
    pixels[6:9, 2:6, 8:12] += 100
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / "scan.nii.gz"))
    one = explained(model(2, slices=slices), tmp_path / "scan.nii.gz")
    assert one.part == f"slice {one.shown}"
    assert one.found.any(tuple(a for a in range(3) if a != one.axis)).nonzero()[0].tolist() == [one.shown]
    sheets = [np.asarray(sheet(one, heat)) for heat in one.heats]
    assert all((each == FOUND).all(-1).any() for each in sheets)
    image = [each[40:100, :200] for each in sheets]
    assert all(np.array_equal(image[0], each) for each in image)
    rows = [each[each.shape[0] - 80 :].reshape(-1, 3) for each in sheets]
    assert all((each == 128).all(-1).any() for each in rows), "the scale begins with the bare image"


def test_a_window_is_framed_and_named_in_the_picture(tmp_path: Path) -> None:
    path = picture(tmp_path / "one.png")
    whole, part = (explained(model(**options), path) for options in ({}, {"patch_size": [24, 24]}))
    assert whole.window is None
    assert part.window.sum() == 24 * 24
    assert part.window[5:11, 21:29].all(), "what was found is in it"
    framed = [np.asarray(sheet(one, one.heats[0])) for one in (whole, part)]
    assert [bool((each[:400] == WINDOW).all(-1).any()) for each in framed] == [False, True]


def test_a_wrong_layer_is_refused_whatever_the_methods(tmp_path: Path) -> None:
    asked = Asked(METHODS, layer="nope", skip=True)
    with pytest.raises(UserError, match="no convolution of this name"):
        list(explain(model(), [(picture(tmp_path / "one.png"),)], asked, Devices(), pytest.fail))


@pytest.mark.parametrize("options", [{}, {"img_size": [16, 24]}, {"patch_size": [24, 24]}, {"task": "classification"}])
def test_a_picture(tmp_path: Path, options: dict[str, Any]) -> None:
    found = explained(model(bias=-0.45, **options), picture(tmp_path / "one.png"), output="bright")
    assert [heat.method for heat in found.heats] == list(METHODS)
    for heat in found.heats:
        assert heat.map.shape == heat.untrained.shape == (32, 48)
        assert heat.map[4:12, 20:30].mean() > 3 * heat.map[20:].mean()
        assert heat.map.max() == 1
    assert found.part == ("a window of 24×24" if "patch_size" in options else "")
    assert "bright" in found.said


@pytest.mark.parametrize("options", [{}, {"patch_size": [8, 8, 8]}, {"slices": "axial"}])
def test_a_volume_s_map_lies_on_the_volume(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).uniform(0, 40, (10, 12, 14)).astype(np.float32)
    pixels[6:9, 2:6, 8:12] += 100
    scan = sitk.GetImageFromArray(pixels)
    scan.SetSpacing((0.5, 0.75, 2.0))
    scan.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix())
    path = tmp_path / "scan.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(scan, "RAS"), str(path))
    found = explained(model(2 if "slices" in options else 3, **options), path)
    files = list(write_page([found], "m", tmp_path / "out"))
    assert files[-1].name == "explanations.html"
    assert [file.name for file in files].count("occlusion.nii.gz") == 1
    stored = sitk.ReadImage(str(next(file for file in files if file.name == "occlusion.nii.gz")))
    assert np.allclose(stored.GetDirection(), sitk.ReadImage(str(path)).GetDirection())
    heat = sitk.GetArrayFromImage(sitk.DICOMOrient(stored, "LPS"))
    inside = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")) > 60
    if "slices" in options:
        number = int(found.part.removeprefix("slice "))
        assert heat[np.arange(10) != number].max() == 0
        assert number in (6, 7, 8)
    assert heat[inside].mean() > 3 * heat[~inside].mean()


def test_what_can_t_be_explained(tmp_path: Path) -> None:
    path = picture(tmp_path / "one.png")
    with pytest.raises(UserError, match="--class red: the model does not know it"):
        explained(model(), path, output="red")
    with pytest.raises(DataError, match="does not find any class but the background"):
        explained(model(bias=9.0), path)
    with pytest.raises(UserError, match="--layer conv: none of the methods occlusion looks at a layer"):
        Asked(["occlusion"], layer="conv")
    vote = model()
    vote.kind = "vote"
    with pytest.raises(UserError, match="several nets"):
        explained(vote, path)


def test_all_leaves_out_what_a_net_is_not_made_for(tmp_path: Path) -> None:
    made = model(bias=-0.45)
    net = nn.Sequential(*[each for each in made.built() if not isinstance(each, nn.ReLU)])
    made.built = lambda: net.eval()
    path, told = picture(tmp_path / "one.png"), []
    (found,) = explain(made, [(path,)], Asked(METHODS, "bright", skip=True), Devices(), told.append)
    assert [heat.method for heat in found.heats] == ["occlusion", "integrated_gradients"]
    assert [line for line in told if "guided_grad_cam is left out: the net has no ReLU" in line]
    with pytest.raises(UserError, match="no ReLU"):
        explained(made, path, output="bright")


def test_the_page_tells_of_maps_that_say_nothing(tmp_path: Path) -> None:
    found = explained(model(bias=-0.45), picture(tmp_path / "<b>one.png"), output="bright")
    heats = [heat.__class__(heat.method, heat.map, heat.map, 0.9) for heat in found.heats]
    told = found.__class__(found.path, found.image, found.said, found.output, found.part, heats)
    (weights := tmp_path / "last.ckpt").write_bytes(b"weights")
    page = list(write_page([told], "m", tmp_path / "explained" / "m", weights))[-1].read_text()
    (maps,) = tmp_path.glob("explained/m/*/maps.json")
    assert Maps.model_validate_json(maps.read_text()).likeness == dict.fromkeys(METHODS, 0.9)
    assert '"source": "last.ckpt"' in maps.read_text()
    assert "much alike (0.90)" in page
    assert "<b>one" not in page
