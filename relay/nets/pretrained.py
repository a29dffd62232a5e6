"""Pretrained encoders, from a local file (imports torch: import it late)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from relay import tensorfile
from relay.errors import UserError, some


def load_encoder(encoder: nn.Module, path: str) -> None:
    """Load a torchvision-style ResNet state dict into ``encoder``, in place; its ``fc`` is left out.

    An encoder of one input channel takes the sum over the file's three: the answer is that for the grey image
    repeated in red, green and blue.

    Raises:
        UserError: the file can't be read, or keys are missing, unexpected or of another shape (named).
    """
    weights = {key: value for key, value in read_weights(path).items() if not key.startswith("fc.")}
    expected = encoder.state_dict()
    stem = weights.get("conv1.weight")
    if stem is not None and stem.ndim == 4 and stem.shape[1] == 3 and expected["conv1.weight"].shape[1] == 1:
        weights["conv1.weight"] = stem.sum(dim=1, keepdim=True)
    if differences := _differences(expected, weights):
        raise UserError(
            f"the pretrained weights {path} do not fit this net: {'; '.join(differences)}",
            "Give a torchvision ResNet state dict of the same backbone (1 or 3 input channels), or none.",
        )
    encoder.load_state_dict(weights, strict=False)  # old files have no num_batches_tracked


def load_whole(net: nn.Module, path: str, without: Sequence[str]) -> None:
    """Load a file's weights into a whole net, in place.

    Args:
        without: beginnings of names that are left as they are in ``net``, such as a head of another size.

    Raises:
        UserError: the file can't be read; keys are missing, unexpected or of another shape; or a beginning fits none.
    """
    found, expected = read_weights(path), net.state_dict()
    if idle := [start for start in without if not any(key.startswith(start) for key in found | expected)]:
        raise UserError(
            f"pretrained_without: no tensor of {path} or of this net begins with {', '.join(idle)}",
            f"The net's begin with {some(list(dict.fromkeys(key.split('.')[0] for key in expected)), 8)}.",
        )
    left = {name: value for name, value in expected.items() if not name.startswith(tuple(without) or "\0")}
    weights = {name: value for name, value in found.items() if not name.startswith(tuple(without) or "\0")}
    if differences := _differences(left, weights):
        raise UserError(
            f"the pretrained weights {path} do not fit this net: {'; '.join(differences)}",
            "Give the weights of the same net with the same keywords. To start a part afresh, such as a head of "
            "another size, name the beginning of its tensors in model.kwargs.pretrained_without.",
        )
    net.load_state_dict(weights, strict=False)


def read_weights(path: str) -> dict[str, Tensor]:
    """The named tensors of a file: .safetensors, or .pth and .pt by ``torch.load(weights_only=True)``.

    Raises:
        UserError: it can't be read, or holds anything but named tensors.
    """
    try:
        if Path(path).suffix == ".safetensors":
            weights = tensorfile.load(Path(path), metadata=True)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise nearly anything over a broken file
        raise UserError(f"{path} can't be read as weights: {error}") from error
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{path} is not a state dict: it must hold named tensors and nothing else")
    return dict(weights)


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    needed = {key for key in expected if not key.endswith("num_batches_tracked")}
    shapes = [
        f"{key} (here {tuple(expected[key].shape)}, in the file {tuple(found[key].shape)})"
        for key in sorted(expected.keys() & found.keys())
        if expected[key].shape != found[key].shape
    ]
    kinds: dict[str, Iterable[str]] = {
        "missing": sorted(needed - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "of another shape": shapes,
    }
    return [f"{kind}: {some(list(keys))}" for kind, keys in kinds.items() if keys]
