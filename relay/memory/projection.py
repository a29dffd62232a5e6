"""Projectors of orthogonal weight modification (imports torch and Lightning: import it late).

A layer's output is linear in its weight: ``W @ x``, x being the layer's input at one position (for a convolution what
is under its kernel, ``k*k*Cin`` values). A change of W that is orthogonal to the x of earlier sites does not change
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

from relay.errors import HandoverError
from relay.handover import Handover
from relay.memory.weights import ADVICE, read
from relay.parts import part

Conv: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
Transposed: TypeAlias = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Layer: TypeAlias = nn.Linear | Conv | Transposed
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
POSITIONS = 64
"""How many positions of a layer's input are sampled per image."""
SPARE = 16
"""Directions computed in addition to those that are kept, which brings these closer to the exact ones."""
ITERATIONS = 8
"""Passes of the subspace iteration, for the same reason."""
LOOSE = 1e-4
"""How far rounding may lift the norm of what is held above 1."""
EPSILON = 1e-6
"""The smallest share of a direction that is let through, in single precision."""


def layers(model: nn.Module) -> dict[str, Layer]:
    """The linear and (ungrouped) convolutional layers, by the name of their weight."""
    found = {f"{name}.weight" if name else "weight": module for name, module in model.named_modules()}
    return {
        name: module
        for name, module in found.items()
        if isinstance(module, nn.Linear) or (isinstance(module, (*CONVS, *TRANSPOSED)) and module.groups == 1)
    }


def features(layer: Layer) -> int:
    """The length of x."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    return layer.in_channels * (1 if isinstance(layer, TRANSPOSED) else prod(layer.kernel_size))


def inputs(layer: Layer, x: Tensor, draw: torch.Generator) -> Tensor:
    """At most :data:`POSITIONS` of the x in a layer's input, drawn at random: ``(n, features)``."""
    if isinstance(layer, nn.Linear):
        places = x.reshape(-1, layer.in_features)
        return places[torch.randperm(len(places), generator=draw)[:POSITIONS].to(x.device)]
    if not isinstance(layer, TRANSPOSED):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = F.pad(x, padding(layer), mode=mode)
        # im2col as views: of a window of gap * (k - 1) + 1 positions every gap-th is under the kernel
        for axis, (k, stride, gap) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), 2):
            x = x.unfold(axis, gap * (k - 1) + 1, stride)[..., ::gap]  # a view: nothing is copied yet
    axes = len(layer.kernel_size)
    x = x.movedim(1, axes + 1)  # (B, *positions, C, *kernel)
    place = torch.randperm(x.shape[: axes + 1].numel(), generator=draw)[:POSITIONS].to(x.device)
    return x[torch.unravel_index(place, x.shape[: axes + 1])].flatten(1)


def padding(layer: Conv) -> list[int]:
    """What a convolution adds at both ends of each axis, the last axis first, as ``F.pad`` takes it."""
    if layer.padding == "valid":
        return [0] * 2 * len(layer.kernel_size)
    if layer.padding == "same":  # what is odd goes to the far end
        whole = [gap * (k - 1) for k, gap in zip(layer.kernel_size, layer.dilation, strict=True)]
        ends = [(n // 2, n - n // 2) for n in whole]
    else:
        ends = [(int(n), int(n)) for n in layer.padding]
    return [n for pair in reversed(ends) for n in pair]


def nothing(model: nn.Module, directions: int) -> dict[str, Tensor]:
    """What is held before the first site: for each layer, at most ``directions`` columns of zeros,
    ``(features, K)``, by the name of its weight."""
    sizes = {name: features(layer) for name, layer in layers(model).items()}
    return {name: torch.zeros(size, min(size, directions)) for name, size in sizes.items()}


def received(handover: Handover, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is held for the earlier legs.

    Raises:
        HandoverError: there is none, it does not fit, or it would make a step larger instead of smaller.
    """
    held = read(handover, "owm", {name: tuple(columns.shape) for name, columns in like.items()})
    for name, columns in held.items():
        if float(torch.linalg.matrix_norm(columns, 2)) > 1 + LOOSE:
            raise HandoverError(f"the incoming memory 'owm' is no projection: {name}", ADVICE)
    return held


def project(layer: Layer, change: Tensor, held: Tensor, strength: Tensor) -> Tensor:
    """A change of a layer's weight without what is held of it: ``x - held @ diag(strength) @ held^T @ x`` for each row.

    Args:
        change: of the weight, and of its shape.
        held: columns, ``(features, K)``.
        strength: ``(K,)``; ones give the projection P, :func:`half` of it P^(1/2).
    """
    rows = change.flatten(1)
    # A transposed convolution's weight (Cin, Cout, *k) alone has its inputs in rows: P is on its left.
    if isinstance(layer, TRANSPOSED):
        out = rows - held * strength @ (held.T @ rows)
    else:
        out = rows - rows @ held * strength @ held.T
    return out.view(change.shape)


@torch.no_grad()
def seen(model: nn.Module, images: Iterable[Tensor], seed: int) -> dict[str, Tensor]:
    """Some of each layer's x in the images, ``(n, features)``, by its weight's name; none of a layer that the model
    never calls."""
    draw = torch.Generator().manual_seed(seed)
    found = {name: [layer.weight.new_empty(0, features(layer))] for name, layer in layers(model).items()}

    def hook_of(name: str, layer: Layer) -> Any:
        def add(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            found[name].append(inputs(layer, args[0], draw))

        return layer.register_forward_pre_hook(add)

    hooks = [hook_of(name, layer) for name, layer in layers(model).items()]
    try:
        for image in images:
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(rows) for name, rows in found.items()}


def update(held: Tensor, rows: Tensor, alpha: float, seed: int) -> Tensor:
    """What is held after a site: ``P' = (P^-1 + R / alpha)^-1``.

    R is the correlation of a site's x, scaled to a mean eigenvalue of 1. This is what recursive least squares comes to
    (Zeng et al. 2019, equation 4), taken over all x at once, and kept as far as K directions say it: those in which P'
    lets least through, found by subspace iteration (Halko et al. 2011, 10.1137/090771806). Neither P nor R is ever
    made: they would be the square of a layer's inputs.

    Args:
        held: ``(features, K)``: orthogonal columns, each as long as the square root of what P takes of its direction:
            ``P = I - held @ held^T``.
        rows: a site's x, ``(n, features)``.
        seed: of the iteration's start.
    """
    # P = I - H H^T, H's columns orthogonal and of squared length h: along each P is 1 - h and P^-1 is 1 / (1 - h), so
    # P^-1 - I = B B^T where B has H's columns, each divided by sqrt(1 - h). A direction held fully (h = 1) has no
    # inverse: EPSILON stands for what is let through of it.
    old, x = held.cpu().double(), rows.cpu().double()
    power = x.square().sum() / x.shape[1]  # the mean eigenvalue of x^T x, which is thereby scaled to 1
    if power <= 0:
        return held
    before = old / (1 - old.square().sum(0)).clamp_min(EPSILON).sqrt()  # before @ before^T is P^-1 - I
    # P'^-1 - I = (P^-1 - I) + R / alpha is a sum of two such squares, and so the square of both roots stacked
    root = torch.cat([x / (alpha * power).sqrt(), before.T])
    many = held.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, values, vectors = torch.svd_lowrank(root, min(*root.shape, many + SPARE), niter=ITERATIONS)
    # Back again: where P'^-1 - I has the eigenvalue v, P' is 1 / (1 + v), and 1 - P', which is held, v / (1 + v)
    values = values[:many].square()
    new = torch.zeros_like(old)
    new[:, : len(values)] = vectors[:, :many] * (values / (1 + values)).sqrt()
    return new.to(held)


def weaker(held: Tensor, weight: float) -> Tensor:
    """What is held if all inputs so far count ``weight`` times, 0 to 1: ``(P^-1 - I) * weight + I`` instead of P^-1, as
    if :func:`update` had divided each alpha by it."""
    # along a column of squared length h, P^-1 - I is h / (1 - h)
    length = held.square().sum(0).clamp_max(1)
    return held * (weight / (1 - length + weight * length).clamp_min(EPSILON)).sqrt()


def half(held: Tensor) -> Tensor:
    """The strengths, ``(K,)``, with which :func:`project` gives the projector's square root: (1 - sqrt(1 - h)) / h,
    h being a column's squared length, at most 1."""
    # multiplied by (1 + sqrt(1 - h)) above and below, so that h = 0 is no division by zero
    return 1 / (1 + (1 - held.square().sum(0)).clamp_min(0).sqrt())


class Projectors(nn.Module):
    """Lets a model's layers move only as far as their projectors allow.

    Weights are W = W_incoming + U P^(1/2), and the optimiser works on U: the gradient of U is dL/dW P^(1/2), and its
    step moves W by P^(1/2) once more. For plain gradient descent this is the paper's step, lr * dL/dW P. Adam rescales
    each value of a gradient; if only the gradient were projected, it would turn it out of the subspace again.
    """

    def __init__(self, model: nn.Module, held: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.layers = tuple(layers(model)[name] for name in held)  # a tuple: beside what is this module's own
        self.held = nn.ParameterList(nn.Parameter(columns, requires_grad=False) for columns in held.values())
        self.strengths = nn.ParameterList(nn.Parameter(half(columns), requires_grad=False) for columns in held.values())

    @torch.no_grad()
    def before_step(self) -> None:
        """Gradients of W become those of U, put back into the place of W's."""
        self.weights = [layer.weight.clone() for layer in self.layers]
        for layer, held, strength in zip(self.layers, self.held, self.strengths, strict=True):
            if layer.weight.grad is not None:
                layer.weight.grad.copy_(project(layer, layer.weight.grad, held, strength))

    @torch.no_grad()
    def after_step(self) -> None:
        """The step of U becomes that of W."""
        for layer, held, strength, weight in zip(self.layers, self.held, self.strengths, self.weights, strict=True):
            layer.weight.copy_(weight + project(layer, layer.weight - weight, held, strength))


class Projected(pl.Callback):  # type: ignore[misc]
    """Calls :class:`Projectors` around each step of the optimiser."""

    def __init__(self, projectors: Projectors) -> None:
        self.projectors, self.stepped = projectors, False

    def on_before_optimizer_step(self, *_: Any) -> None:
        """Before gradients are clipped."""
        with part("projection"):
            self.projectors.before_step()
        self.stepped = True

    def on_train_batch_end(self, *_: Any) -> None:
        """Before anything else reads the weights; a batch whose gradients are only added up is no step."""
        if self.stepped:
            with part("projection"):
                self.projectors.after_step()
        self.stepped = False
