"""U-Nets: shapes, norms, gradients and what their options refuse."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from monai.networks.nets import BasicUNet
from pydantic import ValidationError
from torch import Tensor, nn

from relay import registry
from relay.nets.unet import UNet


def build(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return UNet(UNet.Options(**{"in_channels": 1, "num_classes": 3} | options)).build()


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("backbone", ["plain", "resnet18", "resnet50"])
@pytest.mark.parametrize("size", [(64, 96), (61, 67), (1, 3), (33, 200)])
def test_any_size_in_is_the_size_out(backbone: str, size: tuple[int, int]) -> None:
    net = build(backbone=backbone)
    assert net(torch.randn(2, 1, *size)).shape == (2, 3, *size)


# the other norms of a ResNet: test_one_kind_of_norm_all_over, and here those of the plain net
@pytest.mark.parametrize(
    ("backbone", "norm"),
    [
        *(("plain", norm) for norm in ("group", "instance", "batch")),
        ("resnet18", "group"),
        *(pytest.param("resnet18", norm, marks=pytest.mark.slow) for norm in ("instance", "batch")),
    ],
)
def test_one_small_odd_volume_trains(backbone: str, norm: str) -> None:
    net = build(backbone=backbone, norm=norm, spatial_dims=3).train()
    y = net(torch.randn(1, 1, 9, 17, 5))
    assert y.shape == (1, 3, 9, 17, 5)
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_the_default_is_small() -> None:
    assert 0.3e6 < parameters(build()) < 0.5e6


def test_features_are_the_widths_of_the_levels() -> None:
    narrow, wide = build(features=(4, 4, 8, 8, 16)), build(features=(8, 8, 16, 16, 32))
    assert 3 < parameters(wide) / parameters(narrow) < 5


@pytest.mark.parametrize("backbone", ["plain", "resnet34"])
@pytest.mark.parametrize(
    ("norm", "kind"), [("group", nn.GroupNorm), ("instance", nn.InstanceNorm2d), ("batch", nn.BatchNorm2d)]
)
def test_one_kind_of_norm_all_over(backbone: str, norm: str, kind: type[nn.Module]) -> None:
    found = [m for m in build(backbone=backbone, norm=norm).modules() if "Norm" in type(m).__name__]
    assert {type(m) for m in found} == {kind}
    assert len(found) == {"plain": 18, "resnet34": 46}[backbone]


def test_groups_are_8_or_the_largest_divisor() -> None:
    net = build(features=(6, 14, 16, 20, 22))
    groups = {m.num_channels: m.num_groups for m in net.modules() if isinstance(m, nn.GroupNorm)}
    assert groups == {6: 6, 14: 7, 16: 8, 20: 5, 22: 2}


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("backbone", ["plain", "resnet18"])
def test_without_batch_norm_nothing_of_the_batch_is_kept_or_mixed(norm: str, backbone: str) -> None:
    net = build(norm=norm, backbone=backbone).train()
    x = torch.randn(3, 1, 64, 64)
    assert not list(net.buffers())
    torch.testing.assert_close(net(x)[:1], net(x[:1]), rtol=1e-4, atol=1e-4)


def test_the_shortcuts_learn() -> None:
    net = build(backbone="resnet18")
    net(torch.randn(1, 1, 64, 64)).square().mean().backward()
    for layer in (2, 3, 4):
        grad = net.get_parameter(f"encoder.layer{layer}.0.downsample.0.weight").grad
        assert grad is not None
        assert grad.abs().max() > 0


def test_where_nothing_needs_padding_it_is_monais_own_answer() -> None:
    """The padding of odd sizes is switched off where it would do nothing: the answer must not change."""
    from monai.networks.nets import BasicUNet

    net = build(norm="batch").eval()
    theirs = BasicUNet(2, 1, 3, features=(16, 16, 32, 64, 96, 16), norm="batch", bias=False).eval()
    theirs.load_state_dict(net.state_dict())
    for size in [(64, 48), (61, 67), (64, 67)]:
        x = torch.randn(1, 1, *size)
        torch.testing.assert_close(net(x), theirs(x))


def test_dropout_is_for_training_only() -> None:
    net = build(dropout=0.5)
    x = torch.randn(1, 1, 32, 32)

    def same(a: Tensor, b: Tensor) -> bool:
        return torch.equal(a, b)

    assert not same(net.train()(x), net(x))
    assert same(net.eval()(x), net(x))


def test_the_seed_makes_the_weights() -> None:
    first, second = build(backbone="resnet18").state_dict(), build(backbone="resnet18").state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("backbone", ["plain", "resnet18"])
def test_it_learns_to_tell_bright_from_dark(backbone: str) -> None:
    net = build(backbone=backbone, num_classes=2).train()
    x = torch.randn(4, 1, 24, 24)
    x = nn.functional.avg_pool2d(x, 9, 1, 4)
    target = (x[:, 0] > 0).long()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(net(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_channels_must_be_known_by_then() -> None:
    unknown = UNet.Options(in_channels=None, num_classes=2)
    with pytest.raises(ValueError, match="in_channels"):
        UNet(unknown).build()
    assert UNet(replace(unknown, in_channels=2)).channels() == (2, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"backbone": "resnet19"},
        {"norm": "layer"},
        {"features": (16, 32)},
        {"features": (16, 16, 32, 64, 1)},
        {"spatial_dims": 4},
        {"dropout": 1.0},
        {"in_channels": 0},
        {"num_classes": 0},
        {"width": 16},
        {"backbone": "resnet18", "pretrained": "no/such/file.pth"},
        {"backbone": "resnet18", "pretrained": __file__},
    ],
)
def test_options_refuse(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UNet.Options(**wrong)


def test_it_is_found_by_name() -> None:
    assert registry.find("nets", "U-Net") is UNet


def test_the_options_need_no_torch() -> None:
    """A config is checked, with the options of all plug-ins, before anything heavy is imported."""
    code = "import sys, relay.nets.unet; print({'torch', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("axes", "size"), [(2, (64, 48)), (2, (61, 67)), (2, (50, 34)), (3, (17, 33, 34))])
def test_the_plain_net_is_monais_own(axes: int, size: tuple[int, ...]) -> None:
    """The way through the net is written out in relay/nets/modules.py, since monai copies maps that fit already; where
    monai's own way has changed, change it there, too."""
    net = build(backbone="plain", spatial_dims=axes).eval()
    x = torch.randn(1, 1, *size)
    with torch.no_grad():
        ours, monais = net(x), BasicUNet.forward(net, x)
    assert torch.equal(ours, monais)
