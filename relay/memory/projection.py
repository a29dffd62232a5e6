"""Projectors of orthogonal weight modification (imports torch and Lightning: import it late).

A layer's output is linear in its weight: ``W @ x``, x being the layer's input at one position (for a convolution what
lies under its kernel, ``k*k*Cin`` values). A change of W that is orthogonal to the x of earlier sites does not change
what the layer makes of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, TypeAlias

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Layer: TypeAlias = nn.Linear | _ConvNd
POSITIONS = 512
"""Of a layer's input that are looked at, an image."""


def layers(solver: nn.Module) -> dict[str, Layer]:
    """The linear and (ungrouped) convolutional layers, by the name of their weight."""
    found = {f"{name}.weight" if name else "weight": module for name, module in solver.named_modules()}
    return {
        name: module
        for name, module in found.items()
        if isinstance(module, nn.Linear) or (isinstance(module, _ConvNd) and module.groups == 1)
    }


def features(layer: Layer) -> int:
    """The length of x."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    return layer.in_channels * (1 if isinstance(layer, _ConvTransposeNd) else prod(layer.kernel_size))


def inputs(layer: Layer, x: Tensor, draw: torch.Generator) -> Tensor:
    """At most :data:`POSITIONS` of the x in a layer's input, drawn at random: ``(n, features)``."""
    if isinstance(layer, nn.Linear):
        places = x.reshape(-1, layer.in_features)
        return places[torch.randperm(len(places), generator=draw)[:POSITIONS].to(x.device)]
    if not isinstance(layer, _ConvTransposeNd):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
        for axis, (k, stride, gap) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), 2):
            x = x.unfold(axis, gap * (k - 1) + 1, stride)[..., ::gap]  # a view: nothing is copied yet
    axes = len(layer.kernel_size)
    x = x.movedim(1, axes + 1)  # (B, *positions, C, *kernel)
    place = torch.randperm(x.shape[: axes + 1].numel(), generator=draw)[:POSITIONS].to(x.device)
    return x[torch.unravel_index(place, x.shape[: axes + 1])].flatten(1)


def project(layer: Layer, change: Tensor, projector: Tensor) -> Tensor:
    """A change of a layer's weight, as far as the (symmetric) projector lets it: of the same shape."""
    rows = change.flatten(1)
    out = projector @ rows if isinstance(layer, _ConvTransposeNd) else rows @ projector
    return out.view(change.shape)


@torch.no_grad()
def correlations(solver: nn.Module, images: Iterable[Tensor], seed: int) -> dict[str, Tensor]:
    """``sum(x x^T)`` of each layer over positions of the images, ``(features, features)``, by its weight's name."""
    draw = torch.Generator().manual_seed(seed)
    found = {name: layer.weight.new_zeros(features(layer), features(layer)) for name, layer in layers(solver).items()}

    def watch(name: str, layer: Layer) -> Any:
        def add(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            x = inputs(layer, args[0], draw)
            found[name] += x.T @ x

        return layer.register_forward_pre_hook(add)

    hooks = [watch(name, layer) for name, layer in layers(solver).items()]
    try:
        for image in images:
            solver(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def update(projector: Tensor, correlation: Tensor, alpha: float) -> Tensor:
    """A projector after a site: ``(P^-1 + R / alpha)^-1``, R being the correlation scaled to a mean eigenvalue of 1.

    It is what recursive least squares comes to (Zeng et al. 2019, equation 4), taken over all x at once.
    """
    p, r = projector.cpu().double(), correlation.cpu().double()
    power = r.diagonal().mean()
    if power <= 0:
        return projector
    new: Tensor = torch.linalg.solve(torch.eye(len(p), dtype=p.dtype) + p @ r / (alpha * power), p)
    return ((new + new.T) / 2).to(projector)


def root(projector: Tensor) -> Tensor:
    """Its symmetric square root; eigenvalues are taken as within 0 and 1."""
    values, vectors = torch.linalg.eigh(projector.cpu().double())
    half: Tensor = (vectors * values.clamp(0, 1).sqrt()) @ vectors.T
    return half.to(projector)


class Projectors(nn.Module):
    """Lets a solver's layers move only as far as their projectors allow.

    Weights are W = W_incoming + U P^(1/2), and the optimiser works on U: the gradient of U is dL/dW P^(1/2), and its
    step moves W by P^(1/2) once more. For plain gradient descent this is the paper's step, lr * dL/dW P. Adam rescales
    each value of a gradient; if only the gradient were projected, it would turn it out of the subspace again.
    """

    def __init__(self, solver: nn.Module, projectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.layers = tuple(layers(solver)[name] for name in projectors)  # a tuple: beside what is this module's own
        for place, projector in enumerate(projectors.values()):
            self.register_buffer(str(place), root(projector))

    @torch.no_grad()
    def before_step(self) -> None:
        """Gradients of W become those of U, put back into the place of W's."""
        self.weights = [layer.weight.clone() for layer in self.layers]
        for layer, half in zip(self.layers, self.buffers(), strict=True):
            if layer.weight.grad is not None:
                layer.weight.grad.copy_(project(layer, layer.weight.grad, half))

    @torch.no_grad()
    def after_step(self) -> None:
        """The step of U becomes that of W."""
        for layer, half, weight in zip(self.layers, self.buffers(), self.weights, strict=True):
            layer.weight.copy_(weight + project(layer, layer.weight - weight, half))


class Projected(pl.Callback):  # type: ignore[misc]
    """Calls :class:`Projectors` around each step of the optimiser."""

    def __init__(self, projectors: Projectors) -> None:
        self.projectors = projectors

    def on_before_optimizer_step(self, *_: Any) -> None:
        """Before gradients are clipped."""
        self.projectors.before_step()

    def on_train_batch_end(self, *_: Any) -> None:
        """Before anybody looks at the weights."""
        self.projectors.after_step()
