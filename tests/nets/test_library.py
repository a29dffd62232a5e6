"""Nets of monai by name: their keywords, what the data set fills in, sizes, several outputs, weights from a file."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks import nets
from torch import Tensor, nn

from relay import registry
from relay.config import Named, check
from relay.errors import UserError
from relay.leg import predict
from relay.losses.deep import DeepSupervision
from relay.nets.library import NETS
from relay.nets.wrapped import Wrapped
from relay.results import read_rows
from tests.studies import simulate
from tests.tasks.tiny import changes

SEGRESNET = {"init_filters": 4, "norm": ["GROUP", {"num_groups": 4}], "blocks_down": [1, 1], "blocks_up": [1]}
DYNUNET = {
    "kernel_size": [3, 3, 3],
    "strides": [1, 2, 2],
    "upsample_kernel_size": [2, 2],
    "filters": [4, 8, 8],
    "deep_supervision": True,
}


def made(name: str, /, size: tuple[int, ...] = (16, 16), **kwargs: Any) -> Any:
    """The plug-in, with what the data set says filled in (as the plan does)."""
    cls = registry.find("nets", f"monai:{name}")
    options, problems = check(cls.Options, kwargs)
    assert not problems
    said: dict[str, Any] = {"in_channels": 2, "num_classes": 3, "spatial_dims": len(size)}
    said |= {"img_size": list(size)} if hasattr(options, "img_size") else {}
    return cls(dataclasses.replace(options, **said))


def build(name: str, /, size: tuple[int, ...] = (16, 16), **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = made(name, size, **kwargs).build()
    return module


def said(name: str, **kwargs: Any) -> str:
    """The problems of some keywords, as a config's check tells them."""
    return "\n".join(map(str, check(registry.find("nets", f"monai:{name}").Options, kwargs)[1]))


@pytest.mark.parametrize("size", [(9, 17), (8, 6, 11), (1, 2)])
def test_any_size_in_is_the_size_out(size: tuple[int, ...]) -> None:
    net = build("SegResNet", size, **SEGRESNET)
    assert net(torch.randn(1, 2, *size)).shape == (1, 3, *size)


def test_what_it_divides_by_is_found_or_declared() -> None:
    def multiple(**more: Any) -> int:
        return build("UNet", channels=[4, 4, 4, 4], strides=[2, 2, 2], **more).multiple  # type: ignore[return-value]

    assert [multiple(), multiple(divisible_by=16), build("SegResNet", **SEGRESNET).multiple] == [8, 16, 2]


def test_a_net_of_no_size_is_refused() -> None:
    with pytest.raises(UserError, match="takes no image with 2 channels and 2 axes") as caught:
        build("UNet", channels=[4, 4], strides=[3])
    assert "divisible_by" in caught.value.advice()


def test_it_is_monais_net_with_the_same_weights() -> None:
    ours = build("SegResNet", **SEGRESNET).eval()
    torch.manual_seed(0)
    theirs = nets.SegResNet(2, 4, 2, 3, norm=("GROUP", {"num_groups": 4}), blocks_down=(1, 1), blocks_up=(1,)).eval()
    x = torch.randn(2, 2, 16, 12)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("name", "kwargs", "size"),
    [
        ("DenseNet121", {"init_features": 8, "growth_rate": 4, "block_config": [1, 1]}, (32, 32)),
        ("Classifier", {"channels": [4, 4], "strides": [2, 2]}, (16, 16)),
        ("Regressor", {"channels": [4, 4], "strides": [2, 2]}, (8, 8, 8)),
        ("resnet10", {"widen_factor": 0.0625}, (20, 20)),
    ],
)
def test_a_net_that_classifies(name: str, kwargs: dict[str, Any], size: tuple[int, ...]) -> None:
    net = build(name, size, **kwargs)
    assert net(torch.randn(2, 2, *size)).shape == (2, 3)


TINY_UNETR = {"feature_size": 4, "hidden_size": 8, "mlp_dim": 8, "num_heads": 2}
TINY_VIT = {"hidden_size": 12, "mlp_dim": 12, "num_layers": 1, "num_heads": 2}
TINY_SWIN = {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "divisible_by": 32}


@pytest.mark.parametrize(
    ("name", "kwargs", "size"),
    [
        ("SwinUNETR", TINY_SWIN, (64, 64)),
        ("UNETR", TINY_UNETR, (32, 32)),
        ("UNETR", TINY_UNETR, (16, 16, 32)),
        ("ViT", {**TINY_VIT, "patch_size": [8, 8]}, (16, 16)),
        ("ViT", {**TINY_VIT, "patch_size": [8, 8, 8]}, (16, 16, 16)),
        ("EfficientNetBN", {"model_name": "efficientnet-b0", "divisible_by": 32, "batch_norm": "group"}, (32, 32)),
        ("DynUNet", DYNUNET, (16, 16, 16)),
    ],
)
def test_nets_with_patches_train_a_step_and_predict_by_windows(
    name: str, kwargs: dict[str, Any], size: tuple[int, ...]
) -> None:
    net = build(name, size, **kwargs)
    x, before = torch.randn(2, 2, *size), copy.deepcopy(net.state_dict())
    answer = net.train()(x)
    criterion = DeepSupervision(loss=Named(name="CE")).build(3)
    criterion(answer, torch.zeros(2, *answer.shape[2:], dtype=torch.long)).backward()
    torch.optim.SGD(net.parameters(), 1e-3).step()
    assert any(not torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
    larger = torch.randn(1, 2, *(side + 3 for side in size))
    dense = answer.ndim > 2
    found = predict(net, larger, size) if dense else predict(net, x[:1])
    assert found.shape == (1, 3, *(larger.shape[2:] if dense else ()))
    assert found.isfinite().all()


@pytest.mark.parametrize(
    ("name", "size", "kwargs", "said"),
    [
        ("UNETR", (24, 32), {}, "must be multiples of 16, 16: monai:UNETR divides"),
        ("ViT", (20, 16), {"patch_size": [8, 8]}, "must be multiples of 8, 8: monai:ViT divides"),
        ("UNETR", (32, 32), {}, None),
        ("DynUNet", (15, 15), DYNUNET, None),
    ],
)
def test_sizes_that_patches_do_not_fill(
    name: str, size: tuple[int, ...], kwargs: dict[str, Any], said: str | None
) -> None:
    found = made(name, size, **kwargs).odd_size()
    assert found is None if said is None else said in found


def test_small_images_are_padded_for_a_net_that_classifies() -> None:
    small = {"init_features": 4, "growth_rate": 2, "block_config": [1, 1, 1]}
    assert build("DenseNet121", **small)(torch.randn(2, 2, 3, 5)).shape == (2, 3)


def test_the_first_of_several_outputs_is_the_answer() -> None:
    net, x = build("DynUNet", **DYNUNET), torch.randn(2, 2, 9, 10)
    answer: Any = net.train()(x)
    assert answer.shape == (2, 3, 9, 10)
    assert [each.shape for each in answer.deeper] == [answer.shape]
    assert net.eval()(x).deeper == []


def test_layers_with_two_names_travel_once() -> None:
    net, other = build("DynUNet", **DYNUNET), build("DynUNet", **DYNUNET)
    state = {name: tensor + 1 for name, tensor in net.state_dict().items()}
    assert len({tensor.data_ptr() for tensor in net.state_dict().values()}) == len(state)
    assert set(dict(net.named_parameters())) <= set(state)
    copy.deepcopy(other).load_state_dict(state)
    other.load_state_dict(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())


class Lists(nn.Module):
    """A net that gives a tuple: logits, and hidden states of another shape, as monai's ViT."""

    def forward(self, x: Tensor) -> Any:
        return x.mean((2, 3)), [x]


def test_what_is_no_answer_is_left_out() -> None:
    assert Wrapped(Lists(), 1, 1)(torch.ones(2, 3, 4, 4)).shape == (2, 3)


class Dicts(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return {"logits": x}


def test_a_net_without_an_answer_is_refused() -> None:
    with pytest.raises(UserError, match="the net gives dict, not a tensor"):
        Wrapped(Dicts(), 1, 1)(torch.ones(1, 1, 4, 4))


def test_mistakes_are_named_before_monai_is_imported() -> None:
    assert "init_filter = 4: unknown key; allowed: " in said("SegResNet", init_filter=4)
    assert "did you mean 'init_filters'?" in said("SegResNet", init_filter=4)
    assert "channels: must be given" in said("UNet", strides=[2]).replace(" = None", "")
    assert "init_filters = 'four': must be a whole number" in said("SegResNet", init_filters="four")
    assert "out_channels can't be given: relay fills in" in said("SegResNet", out_channels=2)
    assert "no such file: nothing is downloaded" in said("DenseNet121", pretrained="densenet121.pth")


@pytest.mark.parametrize(
    ("name", "message", "advice"),
    [
        ("SegResnet2", "monai has no net 'SegResnet2'", "Did you mean 'monai:SegResNet'?"),
        ("Discriminator", "does not map an image's channels to classes", "Those that do: AHNet, "),
        ("os", "monai has no net 'os'", ""),
    ],
)
def test_names_that_are_no_nets(name: str, message: str, advice: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        registry.find("nets", f"monai:{name}")
    assert advice in caught.value.advice()


def test_monais_own_complaint_is_passed_on() -> None:
    with pytest.raises(UserError, match=r"monai can't make SegResNet: num_channels \(4\) must be divisible by"):
        build("SegResNet", init_filters=4)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(**_: Any) -> None:
        raise ModuleNotFoundError("No module named 'einops'")

    monkeypatch.setattr(nets, "SegResNet", lacking)
    with pytest.raises(UserError, match=r"SegResNet needs a package that is not installed: .*einops"):
        build("SegResNet", **SEGRESNET)


def test_every_signature_is_as_python_sees_it() -> None:
    """The source is read without importing it: the same names and the same plain defaults must come out."""
    import inspect

    for name in ("SegResNet", "DynUNet", "UNet", "DenseNet121", "ViT", "SwinUNETR", "EfficientNetBN", "AttentionUnet"):
        theirs = inspect.signature(getattr(nets, name)).parameters
        ours = NETS.signature(name)
        assert {key for key in theirs if key != "kwargs"} <= set(ours)
        for key, parameter in ours.items():
            if key in theirs and not isinstance(parameter.default, str):
                assert parameter.required == (theirs[key].default is inspect.Parameter.empty)
                assert parameter.required or parameter.default == theirs[key].default


def test_nothing_heavy_is_imported_and_nothing_is_downloaded() -> None:
    code = (
        "import sys; from relay.registry import find; find('nets', 'monai:DenseNet121');"
        "print({'torch', 'monai'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert made("EfficientNetBN", model_name="efficientnet-b0").keywords()["pretrained"] is False


def test_batch_norm_is_told_of_and_replaced() -> None:
    small = {"init_features": 4, "growth_rate": 2, "block_config": [1, 1]}
    state = torch.get_rng_state()
    assert "model.kwargs.batch_norm: group" in (made("DenseNet121", **small).doubt() or "")
    assert torch.equal(state, torch.get_rng_state())
    assert made("DenseNet121", **small, batch_norm="group").doubt() is None
    kinds = {type(module) for module in build("DenseNet121", **small, batch_norm="group").modules()}
    assert nn.BatchNorm2d not in kinds
    assert nn.GroupNorm in kinds
    assert made("SegResNet", **SEGRESNET).doubt() is None


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    donor = nets.SegResNet(2, 4, 2, 5, norm=("GROUP", {"num_groups": 4}), blocks_down=(1, 1), blocks_up=(1,))
    torch.save(donor.state_dict(), path := tmp_path / "donor.pth")
    with pytest.raises(
        UserError, match=r"do not fit this net: of another shape: conv_final.2.conv.bias \(here"
    ) as caught:
        build("SegResNet", **SEGRESNET, pretrained=str(path))
    assert "model.kwargs.pretrained_without" in caught.value.advice()
    net: Any = build("SegResNet", **SEGRESNET, pretrained=str(path), pretrained_without=["conv_final.2"])
    assert torch.equal(net.net.convInit.conv.weight, donor.convInit.conv.weight)
    assert net.net.conv_final[2].conv.weight.shape[0] == 3
    with pytest.raises(UserError, match="begins with conv_finale"):
        build("SegResNet", **SEGRESNET, pretrained=str(path), pretrained_without=["conv_finale"])


def test_images_are_classified_with_all_that_a_config_may_say(tmp_path: Path) -> None:
    """A net of monai, balanced batches, augmented images, added gradients, the best weights, mirroring."""
    small = {"init_features": 4, "growth_rate": 2, "block_config": [1, 1], "batch_norm": "group"}
    chosen = {
        "common.model": {"name": "monai:DenseNet121", "kwargs": small},
        "common.train.num_epochs": 2,
        "common.train.batch_size": 4,
        "common.train.accumulate": 2,
        "common.train.warmup": 0.2,
        "common.train.keep": "best",
        "common.predict": {"mirror": True},
        "common.dataset.kwargs.balance": True,
        "common.dataset.kwargs.augment": {"train": ["light", {"name": "monai:RandGaussianNoised"}]},
        "current_tasks.task_ids": [1],
        "common.strategy.name": "local",
    }
    done = simulate(tmp_path, **changes("classification", **chosen))
    rows = read_rows(done.run_paths.leg("task_1").scores)
    by_sample: dict[Any, float] = defaultdict(float)
    for row in rows:
        by_sample[row["site"], row["sample"]] += row["value"] if row["metric"] == "probability" else 0
    assert by_sample
    assert all(total == pytest.approx(1, abs=1e-5) for total in by_sample.values())


@pytest.mark.parametrize(
    ("kind", "name", "kwargs"),
    [
        ("nets", "monai:DenseNet", {"init_features": 8, "block_config": [2, 2]}),
        ("nets", "monai:ViT", {"img_size": [32, 32], "patch_size": 16}),
        ("augmentations", "monai:RandGaussianNoised", {"prob": 0.5}),
        ("augmentations", "imgaug:GaussianBlur", {"sigma": [0.0, 1.0]}),
    ],
)
def test_what_is_named_after_a_library_can_go_to_another_process(kind: str, name: str, kwargs: dict[str, Any]) -> None:
    """One that is started anew, as for --jobs, or for num_workers on Windows and macOS."""
    cls = registry.find(kind, name)
    made = cls(cls.Options(**kwargs))
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is cls
    assert again.options == made.options
    assert copy.deepcopy(made).options == made.options
