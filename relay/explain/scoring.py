"""A model as a function that gives one number for each output and image: what is explained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from relay.errors import UserError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Scores(nn.Module):
    """One number for each output and image, ``(B, C, *S)`` to ``(B, outputs)``.

    Of a net that answers for each voxel: its logits' mean over the region in which the class was found, as Seg-Grad-CAM
    does (Vinogradova et al. 2020, 10.1609/aaai.v34i10.7244).

    Args:
        net: gives ``(B, outputs)``, or ``(B, outputs, *S)`` if there is a region. It is copied, because activations
            that overwrite their input would hide what a method has to see.
        region: float ``(1, 1, *S)``, 1 where the class was found; None for a net that answers for the whole image.
    """

    region: Tensor | None

    def __init__(self, net: nn.Module, region: Tensor | None = None) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).eval()
        self.register_buffer("region", region)
        for module in self.net.modules():
            if hasattr(module, "inplace"):
                vars(module)["inplace"] = False

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.net(image).float()
        if self.region is None:
            return logits
        found: Tensor = (logits * self.region).flatten(2).sum(2) / self.region.sum()
        return found


def deepest_layer(scores: Scores, image: Tensor) -> str:
    """The name of the convolution that a class activation map is drawn for: the last one of those with the coarsest
    output that still has several voxels along each axis.

    Raises:
        UserError: the net has no convolution.
    """
    sizes: dict[str, int] = {}

    def remember(name: str, output: Tensor) -> None:
        if min(output.shape[2:]) > 1:
            sizes[name] = prod(output.shape[2:])

    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: remember(name, output))
        for name, module in scores.named_modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    try:
        with torch.no_grad():
            scores(image)
    finally:
        for hook in hooks:
            hook.remove()
    if not sizes:
        raise UserError(
            "the net has no convolution whose output is a map, so there is no class activation map",
            "Choose another method: --method integrated_gradients or occlusion.",
        )
    return [name for name, size in sizes.items() if size == min(sizes.values())][-1]


def check_layer(scores: Scores, layer: str) -> str:
    """The full name of a layer that the user named.

    Raises:
        UserError: there is no such convolution.
    """
    known = [name for name, module in scores.net.named_modules() if isinstance(module, CONVOLUTIONS)]
    if layer not in known:
        raise UserError(
            f"--layer {layer}: the net has no convolution of this name",
            f"It has: {shortened(known)}." if known else "It has no convolutions: choose another method.",
        )
    return f"net.{layer}"


def shortened(names: Sequence[str], most: int = 12) -> str:
    """Names in a sentence; of many, the last ones, which are nearest to the answer."""
    left = len(names) - most
    return ", ".join(names[-most:]) + (f", and {left} earlier ones" if left > 0 else "")
