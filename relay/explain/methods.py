"""Methods that draw a heat map: each takes the scores, an image and the number of an output.

Every map is float32 ``(*S)``, on the image's grid, 0 or more: the higher, the more the answer depends on the place.
Sources: Selvaraju et al. 2017 (Grad-CAM, 10.1109/ICCV.2017.74), Chattopadhay et al. 2018 (Grad-CAM++,
10.1109/WACV.2018.00097), Springenberg et al. 2015 (guided back-propagation, arXiv 1412.6806), Zeiler and Fergus 2014
(occlusion, 10.1007/978-3-319-10590-1_53) and Sundararajan et al. 2017 (integrated gradients, arXiv 1703.01365).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from relay.errors import UserError
from relay.explain.scoring import Scores

Method = Callable[[Scores, Tensor, int, str | None], Tensor]
"""Scores, image ``(1, C, *S)``, output, and the layer of a class activation map, as in :func:`cam`."""
STEPS = 32
"""How many places of the path integrated gradients look at; Sundararajan et al. find 20 to 300 enough."""
PARTS = {2: 8, 3: 4}
"""How many occluding patches lie side by side along an axis, in 2 and 3 axes; neighbours overlap by half."""
RECTIFIERS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ReLU6)


def grad_cam(scores: Scores, image: Tensor, output: int, layer: str | None) -> Tensor:
    """Activations of a deep layer, each channel weighted by the mean of its gradient."""
    from monai.visualize import GradCAM

    return cam(GradCAM, scores, image, output, layer)


def grad_cam_plus_plus(scores: Scores, image: Tensor, output: int, layer: str | None) -> Tensor:
    """As :func:`grad_cam`, with weights that find several objects of one class."""
    from monai.visualize import GradCAMpp

    return cam(GradCAMpp, scores, image, output, layer)


def cam(kind: Callable[..., object], scores: Scores, image: Tensor, output: int, layer: str | None) -> Tensor:
    """A class activation map of MONAI's, interpolated to the image's grid."""
    found = kind(scores, target_layers=layer, postprocessing=lambda raw: raw)(image, class_idx=output)  # type: ignore[operator]
    heat: Tensor = torch.as_tensor(found)[0, 0].detach()
    return heat.clamp(min=0).float()


def guided_backpropagation(scores: Scores, image: Tensor, output: int, layer: str | None) -> Tensor:
    """The gradient at each voxel, of which rectifiers let only what raises the score pass."""
    with _guided(scores):
        return gradient(scores, image, output).abs().amax(0)


def guided_grad_cam(scores: Scores, image: Tensor, output: int, layer: str | None) -> Tensor:
    """The product of :func:`guided_backpropagation`, which is fine, and :func:`grad_cam`, which knows the class."""
    return guided_backpropagation(scores, image, output, layer) * grad_cam(scores, image, output, layer)


def integrated_gradients(scores: Scores, image: Tensor, output: int, layer: str | None) -> Tensor:
    """The gradient's mean on the way from the darkest image to this one, times the way; of all channels together.

    The values, with their signs, add up to the difference of the two images' scores.
    """
    return attributions(scores, image, output).sum(0).abs()


def attributions(scores: Scores, image: Tensor, output: int, steps: int = STEPS) -> Tensor:
    """Integrated gradients with their signs, ``(C, *S)``, by the midpoint rule."""
    dark = torch.full_like(image, float(image.min()))
    way = image - dark
    places = ((k + 0.5) / steps for k in range(steps))
    return torch.stack([gradient(scores, dark + place * way, output) for place in places]).mean(0) * way[0]


@torch.no_grad()
def occlusion(scores: Scores, image: Tensor, output: int, layer: str | None) -> Tensor:
    """By how much the score falls when a patch takes the image's mean: of all patches over a voxel, their mean.

    MONAI's own indexes tensors in a way that torch is giving up.
    """
    sides = [max(1, side // PARTS[image.ndim - 2]) for side in image.shape[2:]]
    whole, mean = scores(image)[0, output], image.mean()
    fallen, times = torch.zeros_like(image[0, 0]), torch.zeros_like(image[0, 0])
    for place in _patches(image.shape[2:], sides):
        hidden, here = image.clone(), (slice(None), slice(None), *place)
        hidden[here] = mean
        fallen[place] += whole - scores(hidden)[0, output]
        times[place] += 1
    return (fallen / times).clamp(min=0).float()


def _patches(shape: Sequence[int], sides: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Patches that cover an image and overlap by half."""
    begins = [
        sorted({*range(0, max(1, length - side), max(1, side // 2)), max(0, length - side)})
        for length, side in zip(shape, sides, strict=True)
    ]
    for corner in product(*begins):
        yield tuple(slice(begin, begin + side) for begin, side in zip(corner, sides, strict=True))


def gradient(scores: Scores, image: Tensor, output: int) -> Tensor:
    """Of an output with respect to the image, ``(C, *S)``."""
    image = image.detach().clone().requires_grad_()
    found: Tensor = torch.autograd.grad(scores(image)[0, output], image)[0]
    return found[0]


def _risen(module: nn.Module, to: Any, from_: Any) -> tuple[Tensor, ...]:
    return (to[0].clamp(min=0), *to[1:])


@contextmanager
def _guided(scores: Scores) -> Iterator[None]:
    """While open, gradients that would lower the score end at each rectifier.

    MONAI's own finds rectifiers by their names, and silently leaves the gradient as it is where they have others.

    Raises:
        UserError: the net has none.
    """
    found = [module for module in scores.modules() if isinstance(module, RECTIFIERS)]
    if not found:
        raise UserError(
            "the net has no ReLU, so guided back-propagation is not defined",
            "Choose another method: --method integrated_gradients or occlusion.",
        )
    hooks = [module.register_full_backward_hook(_risen) for module in found]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


METHODS: Mapping[str, Method] = {
    "grad_cam": grad_cam,
    "grad_cam++": grad_cam_plus_plus,
    "guided_backpropagation": guided_backpropagation,
    "guided_grad_cam": guided_grad_cam,
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
}
NEED_A_LAYER = ("grad_cam", "grad_cam++", "guided_grad_cam")


def methods_of(text: str) -> list[str]:
    """Methods from their names, separated by commas; ``all`` is every one.

    Raises:
        UserError: there is no such method, or one is named twice.
    """
    names = list(METHODS) if text.strip() == "all" else [name.strip() for name in text.split(",")]
    if wrong := [name for name in names if name not in METHODS]:
        raise UserError(
            f"--method {text}: there is no method '{wrong[0]}'", f"Choose from {', '.join(METHODS)}; or all."
        )
    if len(set(names)) < len(names):
        raise UserError(f"--method {text} names a method twice", "Name each once.")
    return names
