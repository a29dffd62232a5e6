"""From an image's files to its heat maps, on the image's own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from relay.config import Devices
from relay.data import Pixels, viewable
from relay.errors import DataError, UserError, first_line
from relay.explain.finding import find
from relay.explain.methods import METHODS, NEED_A_LAYER
from relay.explain.placing import Map, View
from relay.explain.sanity import likeness, randomised
from relay.explain.scoring import Scores, check_layer, deepest_layer
from relay.leg import device_of
from relay.overlay import Mask
from relay.predict import SINGLE, Model, prepare
from relay.results import VOTE

Warn = Callable[[str], None]
HIGHEST = 0.995
"""The quantile of a map's values above 0 that is drawn as 1."""


@dataclass(frozen=True)
class Asked:
    """What to explain, and how.

    Attributes:
        methods: names in :data:`~relay.explain.methods.METHODS`.
        output: the name of a class or label, or its number; None: the one that the model finds.
        layer: the convolution that class activation maps are drawn for; None: the deepest one.
        skip: leave out methods that the net is not made for, with a warning.
    """

    methods: Sequence[str]
    output: str | None = None
    layer: str | None = None
    skip: bool = False

    def __post_init__(self) -> None:
        if self.layer is not None and not set(self.methods) & set(NEED_A_LAYER):
            raise UserError(
                f"--layer {self.layer}: none of the methods {', '.join(self.methods)} looks at a layer",
                f"Leave it out, or choose one that does: --method {', '.join(NEED_A_LAYER)}.",
            )


@dataclass(frozen=True)
class Heat:
    """One method's maps of an image, float32 ``(*S)`` as the image was read, each from 0 to 1.

    Attributes:
        method: its name.
        map: of the model; ``untrained``: of the same net with random weights.
        likeness: rank correlation of the two in the part that was explained; None if one of them is flat there.
    """

    method: str
    map: Map
    untrained: Map
    likeness: float | None


@dataclass(frozen=True)
class Explained:
    """An image and why the model says what it says.

    Attributes:
        path: the image's first file.
        image: uint8 ``(*S, C)``, for looking at it.
        said: what the model says of it, in words.
        output: the class, label or value that is explained.
        part: what part of the image was explained, in words; empty for the whole.
        heats: a map for each method.
        found: bool ``(*S)``: where the model finds the class; None for an answer about the whole image.
        axis: across which a volume is shown: the one that it was cut across for the net, else the first.
        window: bool ``(*S)``: what was explained, if that is a window of the image.
    """

    path: Path
    image: Pixels
    said: str
    output: str
    part: str
    heats: Sequence[Heat]
    found: Mask | None = None
    axis: int = 0
    window: Mask | None = None

    @property
    def shown(self) -> int | None:
        """The slice of a volume that is shown, the same for all methods: the one that was explained, or that has most
        of what was found or, without a mask, of the heat; None of a picture."""
        if self.image.ndim == 3:
            return None
        maps = [self.found] if self.found is not None and self.found.any() else [heat.map for heat in self.heats]
        others = tuple(axis for axis in range(3) if axis != self.axis)
        return int(sum(each.sum(others, dtype=np.float64) for each in maps).argmax()) if maps else 0


def explain(
    model: Model, images: Sequence[tuple[Path, ...]], asked: Asked, devices: Devices, warn: Warn
) -> Iterator[Explained]:
    """Explain a model's answer to each image; of a volume that the net sees slice by slice, to one slice.

    Args:
        images: the files of each.
        warn: called with everything suspicious about an image.

    Raises:
        UserError: the model is a vote; or the net, or its task, lacks what was asked for.
        DataError: an image can't be read, or does not suit this model.
    """
    if model.kind == VOTE:
        raise UserError(
            f"{model.source}: the vote of all sites' models is several nets, and has no explanation of its own",
            f"Explain one of them: {SINGLE}",
        )
    net = model.built().to(device_of(devices)).eval()
    for files in images:
        yield _explained(model, net, files, asked, warn)


def _explained(model: Model, net: nn.Module, files: Sequence[Path], asked: Asked, warn: Warn) -> Explained:
    options = model.leg.data
    read, cases, across = prepare(model, net, files, warn)
    found = find(model, net, cases, asked.output, files[0])
    view = View.of(found, options.patch_size)
    trained, untrained = (Scores(each, view.region) for each in (net, randomised(net)))
    layer = (
        check_layer(trained, asked.layer) if asked.layer else None
    )  # a wrong name leaves out no method: it is refused

    def at(method: str) -> str | None:
        return (layer or deepest_layer(trained, view.image)) if method in NEED_A_LAYER else None

    def heat(method: str, scores: Scores) -> Tensor:
        try:
            return METHODS[method](scores, view.image, found.output, at(method))
        except (RuntimeError, ValueError) as error:  # raised by nets that have no gradient, or for too little memory
            why = first_line(error)
            raise DataError(f"{files[0]}: {method} fails with this net: {why}", "Choose another --method.") from error

    def back(raw: Tensor) -> Map:
        return _normalised(view.back(raw, read.image.shape[:-1], across, len(cases)))

    heats = []
    for method in asked.methods:
        try:
            one, other = heat(method, trained), heat(method, untrained)
        except UserError as error:
            if not asked.skip or isinstance(error, DataError):
                raise
            warn(f"{method} is left out: {error}")
            continue
        heats.append(Heat(method, back(one), back(other), likeness(one.cpu().numpy(), other.cpu().numpy())))
    name = options.does.names[found.output]
    place = read.image.shape[:-1], across, len(cases)
    said = (files[0], viewable(read.image), found.said, name, view.told(across), heats)
    return Explained(*said, view.outlined(*place), across or 0, view.framed(*place))


def _normalised(heat: Map) -> Map:
    """From 0 to 1. A few single voxels, as gradients have, don't leave the rest in the dark."""
    hot = heat[heat > 0]
    return (heat / np.quantile(hot, HIGHEST)).clip(0, 1).astype(np.float32) if hot.size else heat
