"""A net of monai as relay uses one: for any size, one output (imports torch and monai: import it late)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.networks import nets
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from relay.errors import UserError, first_line

from .base import LibraryOptions
from .modules import crop, pad, set_norm
from .pretrained import load_whole

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
PRIMES = (97, 47, 23, 11, 7, 5, 5)
"""A multiple times its prime is divisible by no more than that, and large enough for five halvings."""
_tried: dict[str, tuple[int, int]] = {}
"""What a trial found, by a net's name and keywords: nets are built several times in a leg."""


class Wrapped(nn.Module):
    """A net whose input is padded to what it divides by, and whose first output is its answer.

    Further outputs for the same classes (deep supervision) become the attribute ``deeper`` of the answer, enlarged to
    its size, in the net's order: a strategy knows of one answer, the loss ``DeepSupervision`` of all.
    """

    def __init__(self, net: nn.Module, multiple: int, least: int) -> None:
        super().__init__()
        self.net, self.multiple, self.least = net, multiple, least
        self.pads = (multiple, least, least)
        """As of :class:`~relay.nets.modules.PlainUNet`."""
        self._first_names = _first_names(self)

    def state_dict(self, *args: Any, prefix: str = "", **kwargs: Any) -> Any:
        """Each tensor once: monai's DynUNet has the same layers by two names, and a file has no tensor twice."""
        state = super().state_dict(*args, prefix=prefix, **kwargs)
        for name in self._first_names:
            del state[prefix + name]
        return state

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for name, first in self._first_names.items():
            if prefix + first in state_dict:
                state_dict[prefix + name] = state_dict[prefix + first]
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, *S)`` to logits ``(B, num_classes, *S)``, or ``(B, num_classes)`` without a map."""
        padded = pad(x, *self.pads)
        first, *others = _outputs(self.net(padded), x)
        if first.ndim != x.ndim:
            return first
        answer = crop(first, x)
        answer.deeper = [crop(_enlarged(each, padded.shape[2:]), x) for each in others]  # type: ignore[attr-defined]
        return answer


def wrapped(name: str, keywords: Mapping[str, Any], options: LibraryOptions) -> nn.Module:
    """A fresh net of monai.

    Raises:
        UserError: monai refuses the keywords, a package is missing, no size suits the net, or the weights don't fit.
    """
    net = _made(name, keywords)
    if options.batch_norm != "keep":
        set_norm(net, options.batch_norm)
    if options.pretrained is not None:
        load_whole(net, options.pretrained, options.pretrained_without)
    key = json.dumps([name, keywords, options.batch_norm], default=str, sort_keys=True)
    if hasattr(options, "img_size"):  # it takes one size only
        return Wrapped(net, 1, 1)
    if options.divisible_by is not None:
        return Wrapped(net, options.divisible_by, options.divisible_by)
    if key not in _tried:
        _tried[key] = _trial(name, net, int(keywords.get("in_channels", 0)) or options.in_channels or 1, options)
    return Wrapped(net, *_tried[key])


def has_batch_norm(build: Callable[[], nn.Module]) -> bool:
    """Whether a net has batch normalisation; torch's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        return any(isinstance(module, _BatchNorm) for module in build().modules())


def _made(name: str, keywords: Mapping[str, Any]) -> nn.Module:
    try:
        made = getattr(nets, name)(**keywords)
    except Exception as error:  # monai checks its keywords in many ways
        _check_packages(name, error)
        advice = f"Correct model.kwargs; the manual of monai.networks.nets.{name} says more."
        raise UserError(f"monai can't make {name}: {first_line(error)}", advice) from error
    assert isinstance(made, nn.Module)
    return made


def _first_names(net: nn.Module) -> dict[str, str]:
    """The further names of tensors that have several, each with the first."""
    every = [*net.named_parameters(remove_duplicate=False), *net.named_buffers(remove_duplicate=False)]
    firsts: dict[int, str] = {}
    return {name: first for name, tensor in every if (first := firsts.setdefault(id(tensor), name)) != name}


def _check_packages(name: str, error: Exception) -> None:
    """Tell a package that monai wants, and that is not here, from a wrong keyword.

    Raises:
        UserError: it is a package.
    """
    if "OptionalImport" in type(error).__name__ or isinstance(error, ImportError):
        advice = "Install that package at every site of the study, or choose another net."
        raise UserError(f"monai:{name} needs a package that is not installed: {first_line(error)}", advice) from error


def _enlarged(y: Tensor, size: Sequence[int]) -> Tensor:
    """``y`` (B, C, *S') at a larger size, by linear interpolation."""
    if tuple(y.shape[2:]) == tuple(size):
        return y
    return nn.functional.interpolate(y, tuple(size), mode="bilinear" if y.ndim == 4 else "trilinear")


def _outputs(given: Any, x: Tensor) -> list[Tensor]:
    """A net's outputs, the main one first.

    Raises:
        UserError: there is no tensor.
    """
    if isinstance(given, Tensor):
        # monai's DynUNet stacks its outputs during training: one axis more than the image
        return list(given.unbind(1)) if given.ndim == x.ndim + 1 else [given]
    found = [each for each in given if isinstance(each, Tensor)] if isinstance(given, list | tuple) else []
    if not found:
        raise UserError(f"the net gives {type(given).__name__}, not a tensor of logits", "Choose another net.")
    return [found[0], *(each for each in found[1:] if each.shape[:2] == found[0].shape[:2] and each.ndim == x.ndim)]


def _trial(name: str, net: nn.Module, channels: int, options: LibraryOptions) -> tuple[int, int]:
    """What the net's input must be a multiple of, and its least size: by tensors without content, which cost nothing.

    Raises:
        UserError: no size suits the net.
    """
    shadow, axes, why = copy.deepcopy(net).to("meta"), options.spatial_dims or 2, None
    for multiple, prime in zip(MULTIPLES, PRIMES, strict=True):
        if (why := _refuses(name, shadow, channels, [multiple * prime] * axes)) is None:
            sizes = [*(least for least in MULTIPLES if least >= multiple), multiple * prime]
            return multiple, next(s for s in sizes if not _refuses(name, shadow, channels, [s] * axes))
    raise UserError(
        f"monai:{name} takes no image with {channels} channels and {axes} axes: {why}",
        "Correct model.kwargs. If it needs sizes of a certain kind, give them: model.kwargs.divisible_by.",
    )


def _refuses(name: str, net: nn.Module, channels: int, size: Sequence[int]) -> str | None:
    """Why a net refuses a size; None if it takes it, and its output has the same size or none."""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for count, training in ((2, True), (1, False)):  # while training, batch norm can't do with a single value
                x = torch.empty(count, channels, *size, device="meta")
                first, *_ = _outputs(net.train(training)(x), x)
    except Exception as error:  # nets refuse sizes with any error of torch's
        _check_packages(name, error)
        return first_line(error)
    if first.ndim == 2 or first.shape[2:] == x.shape[2:]:
        return None
    return f"its output has the shape {tuple(first.shape)} for an image of {tuple(x.shape)}"
