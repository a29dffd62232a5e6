"""Pretrained encoders from local files of torchvision's form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from relay.errors import UserError
from relay.nets.modules import ResNetEncoder
from relay.nets.unet import UNet

BLOCKS = {"resnet18": [2, 2, 2, 2], "resnet34": [3, 4, 6, 3], "resnet50": [3, 4, 6, 3]}


def torchvision_weights(backbone: str) -> dict[str, Tensor]:
    """Random weights under the names and shapes of torchvision's resnet (written down from its docs)."""
    g = torch.Generator().manual_seed(0)
    wide = backbone == "resnet50"
    weights: dict[str, Tensor] = {}

    def conv(name: str, out: int, into: int, kernel: int) -> None:
        weights[f"{name}.weight"] = 0.05 * torch.randn(out, into, kernel, kernel, generator=g)

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{name}.{part}"] = torch.rand(channels, generator=g) + 0.5
        weights[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    into = 64
    for level, count in enumerate(BLOCKS[backbone], start=1):
        planes = 32 * 2**level
        out = planes * 4 if wide else planes
        for block in range(count):
            at = f"layer{level}.{block}"
            shapes = [(planes, into, 1), (planes, planes, 3), (out, planes, 1)]
            for i, shape in enumerate(shapes if wide else [(planes, into, 3), (planes, planes, 3)], start=1):
                conv(f"{at}.conv{i}", *shape)
                norm(f"{at}.bn{i}", shape[0])
            if block == 0 and (level > 1 or wide):
                conv(f"{at}.downsample.0", out, into, 1)
                norm(f"{at}.downsample.1", out)
            into = out
    weights["fc.weight"], weights["fc.bias"] = torch.randn(1000, into), torch.randn(1000)
    return weights


def saved(folder: Path, weights: Any, name: str = "weights.pth") -> str:
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return str(path)


def encoder(path: str, backbone: str = "resnet18", channels: int = 3, norm: Any = "batch") -> ResNetEncoder:
    options = UNet.Options(
        backbone=backbone,  # type: ignore[arg-type]
        in_channels=channels,
        num_classes=2,
        norm=norm,
        pretrained=path,
    )
    found = UNet(options).build().get_submodule("encoder")
    assert isinstance(found, ResNetEncoder)
    return found


@pytest.mark.parametrize("backbone", list(BLOCKS))
@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.safetensors"])
def test_a_torchvision_file_fits_exactly_minus_fc(backbone: str, name: str, tmp_path: Path) -> None:
    weights = torchvision_weights(backbone)
    loaded = encoder(saved(tmp_path, weights, name), backbone).state_dict()
    assert loaded.keys() == weights.keys() - {"fc.weight", "fc.bias"}
    assert all(torch.equal(loaded[key], weights[key]) for key in loaded)


def test_the_forward_pass_is_a_resnet18_written_out(tmp_path: Path) -> None:
    """The features against the same net in plain functional torch, from the file's tensors alone."""
    w = torchvision_weights("resnet18")
    net = encoder(saved(tmp_path, w)).eval()
    F = nn.functional

    def norm(x: Tensor, at: str) -> Tensor:
        stats = [w[f"{at}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *stats)

    x = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    y = F.relu(norm(F.conv2d(x, w["conv1.weight"], stride=2, padding=3), "bn1"))
    expected = [y]
    y = F.max_pool2d(y, 3, 2, 1)
    for level in range(1, 5):
        for block in range(2):
            at, stride = f"layer{level}.{block}", 2 if level > 1 and block == 0 else 1
            short = y
            if stride == 2:
                short = norm(F.conv2d(y, w[f"{at}.downsample.0.weight"], stride=2), f"{at}.downsample.1")
            y = F.relu(norm(F.conv2d(y, w[f"{at}.conv1.weight"], stride=stride, padding=1), f"{at}.bn1"))
            y = F.relu(norm(F.conv2d(y, w[f"{at}.conv2.weight"], padding=1), f"{at}.bn2") + short)
        expected.append(y)
    with torch.no_grad():
        for ours, theirs in zip(net(x), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_one_channel_answers_as_grey_in_three(tmp_path: Path) -> None:
    path = saved(tmp_path, torchvision_weights("resnet18"))
    grey = torch.linspace(-1, 1, 64 * 64).reshape(1, 1, 64, 64)
    one, three = encoder(path, channels=1), encoder(path, channels=3)
    torch.testing.assert_close(one.conv1(grey), three.conv1(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)
    rest = one.state_dict().keys() - {"conv1.weight"}
    assert all(torch.equal(one.state_dict()[key], three.state_dict()[key]) for key in rest)


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_other_norms_keep_scale_and_shift(norm: str, tmp_path: Path) -> None:
    weights = torchvision_weights("resnet18")
    loaded = encoder(saved(tmp_path, weights), norm=norm).state_dict()
    assert {key for key in weights if "running" not in key and "tracked" not in key and "fc" not in key} == set(loaded)
    assert all(torch.equal(loaded[key], weights[key]) for key in loaded)


def test_old_files_without_batch_counts_fit(tmp_path: Path) -> None:
    weights = {k: v for k, v in torchvision_weights("resnet18").items() if "num_batches" not in k}
    loaded = encoder(saved(tmp_path, weights)).state_dict()
    assert torch.equal(loaded["layer4.1.conv2.weight"], weights["layer4.1.conv2.weight"])


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    weights = torchvision_weights("resnet18")
    del weights["layer1.0.bn1.running_mean"]
    weights["layer1.9.conv1.weight"] = torch.zeros(1)
    weights["bn1.bias"] = torch.zeros(65)
    with pytest.raises(UserError) as caught:
        encoder(saved(tmp_path, weights))
    text = str(caught.value)
    assert "missing: layer1.0.bn1.running_mean;" in text
    assert "unexpected: layer1.9.conv1.weight;" in text
    assert "bn1.bias (here (64,), in the file (65,))" in text


def test_weights_of_another_backbone_are_refused_briefly(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing: .* and \d+ more") as caught:
        encoder(saved(tmp_path, torchvision_weights("resnet18")), "resnet50")
    assert len(str(caught.value)) < 1500


def test_four_channels_do_not_fit_three(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"conv1.weight \(here \(64, 4, 7, 7\), in the file \(64, 3, 7, 7\)\)"):
        encoder(saved(tmp_path, torchvision_weights("resnet18")), channels=4)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_broken_file_is_a_users_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(UserError, match=f"{name} can't be read"):
        encoder(str(tmp_path / name))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(2)])
def test_a_file_of_other_things_is_a_users_error(content: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a state dict"):
        encoder(saved(tmp_path, content))


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harm.txt"),))


def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="can't be read"):
        encoder(saved(tmp_path, {"conv1.weight": Harmful()}))
    assert not Path("harm.txt").exists()


@pytest.mark.parametrize("wrong", [{"backbone": "plain"}, {"backbone": "resnet18", "spatial_dims": 3}])
def test_only_2d_resnets_are_pretrained(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="resnet"):
        UNet.Options(**wrong, pretrained=saved(tmp_path, {}))
