"""A net as one graph: from intensities as stored to logits and probabilities, without any code of relay.

What a graph can hold is inside: bringing intensities to the range that the net was trained with, the net, and softmax
or sigmoid. Everything else is told in ``model.json`` (:mod:`relay.export.recipe`).
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from relay.data import DatasetOptions
from relay.errors import RelayError, first_line
from relay.export.standalone import fitted

log = logging.getLogger(__name__)
PROBE = 1e-4
"""Largest difference between a graph and its net, as a share of the largest logit, by which a graph is chosen."""
OTHER = "Choose another --to, or another net. The log says more (-v)."


class Graph(nn.Module):
    """What is exported.

    Args:
        net: from scaled images to logits.
        options: of the images that it was trained with.
    """

    def __init__(self, net: nn.Module, options: DatasetOptions) -> None:
        super().__init__()
        low, high = options.intensity_range
        self.net, self.answer = net, options.does.answer
        eight_bits = options.image_type is np.uint8
        self.factor = (high - low) / (255 if eight_bits else 2)
        self.shift = low if eight_bits else (high + low) / 2

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 ``(B, C, *S)``, 0 to 255 or after ``Normalise`` -1 to 1, to logits and probabilities or, of a
        regression, values: ``(B, K, *S)`` or ``(B, K)``."""
        logits = self.net(image * self.factor + self.shift)
        return logits, self.answer(logits).clone()  # two outputs can't be one tensor


@dataclass(frozen=True)
class Exported:
    """A graph as torch exports it, and the sizes that it takes.

    Attributes:
        multiple: each side must be a multiple of this.
        least: the shortest that each side may be.
        size: the only size it takes; None for any.
        batch: whether it takes several images at once.
    """

    program: ExportedProgram
    multiple: int
    least: tuple[int, ...]
    size: tuple[int, ...] | None
    batch: bool

    def takes(self) -> dict[str, Any]:
        """The sizes, for ``model.json``."""
        size = None if self.size is None else list(self.size)
        return {"multiple": self.multiple, "least": list(self.least), "size": size, "batch": self.batch}


def export(net: nn.Module, options: DatasetOptions, size: Sequence[int]) -> Exported:
    """A net's graph: for any size if it can be, else for one size, and at last for one image at a time.

    Args:
        net: in evaluation mode, on the CPU.
        size: of images, or of windows, as the net will see them.

    Raises:
        RelayError: torch can't export the net.
    """
    graph, why = Graph(net, options).eval(), "it does not keep to what the net says"
    for sizes, batch in ((True, True), (False, True), (False, False)):
        try:
            found = _traced(graph, options.channels, tuple(size), sizes, batch)
            if _agrees(found, graph, options.channels, tuple(size)):
                return found
        except Exception as error:  # torch and the nets refuse with errors of any kind
            log.info("no graph for %s: %s", f"any size: {sizes}, any number of images: {batch}", error)
            why = first_line(error)
    raise RelayError(f"torch can't make a graph of {type(net).__name__}: {why}", OTHER)


def _traced(graph: Graph, channels: int, size: tuple[int, ...], sizes: bool, batch: bool) -> Exported:
    """A graph for sizes that can vary, or for this one.

    A graph never pads: it takes the sizes that its net would be padded to, and others are padded outside. torch
    distinguishes 0 and 1 from longer sides, also deep in a net, so that the shortest side is twice what a net needs.
    """
    multiple, stride, last = getattr(graph.net, "pads", (1, 1, 1))
    least = max(last, 2 * stride, 2 * multiple) if sizes else 1
    if sizes and any(max(n, last) < least for n in size):
        raise ValueError(f"a graph for any size takes {least} voxels or more along each axis")
    side = tuple(-(-max(n, least) // multiple) * multiple for n in size) if sizes else size
    shape = {0: Dim("batch", min=1)} if batch else {}
    if sizes:
        shape |= {k: _side(k, multiple, least) for k in range(2, 2 + len(size))}
    image = torch.rand(2 if batch else 1, channels, *side)
    with torch.no_grad():
        made = torch.export.export(
            _bare(graph) if sizes else graph, (image,), dynamic_shapes={"image": shape}, strict=False
        )
    shortest = (least,) * len(size) if sizes else size
    _forget_places(made)
    return Exported(made, multiple if sizes else 1, shortest, None if sizes else size, batch)


def _forget_places(made: ExportedProgram) -> None:
    """Remove where each operation was written: paths of this computer, which may name its user."""
    for module in made.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)


def _bare(graph: Graph) -> Graph:
    """A copy whose net does not pad: how much depends on the size in a way that torch can't follow."""
    copied = copy.deepcopy(graph)
    if hasattr(copied.net, "pads"):
        copied.net.pads = (1, 1, 1)  # type: ignore[assignment]
    return copied


def _side(axis: int, multiple: int, least: int) -> Any:
    """A side that can vary in steps of ``multiple``."""
    steps = Dim(f"side_{axis - 1}", min=math.ceil(least / multiple))
    return multiple * steps if multiple > 1 else steps


def _agrees(found: Exported, graph: Graph, channels: int, size: tuple[int, ...]) -> bool:
    """Whether a graph says what its net says, also of another number of images, and of a size that it was not traced
    with."""
    module = found.program.module()

    def run(x: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        logits, answer = module(torch.from_numpy(x))
        return logits.numpy(), answer.numpy()

    trials = [(1, size)]
    if found.size is None:
        trials.append((3 if found.batch else 1, tuple(n + 3 + 2 * found.multiple for n in size)))
    with torch.no_grad():
        for many, sides in trials:
            image = torch.rand(many, channels, *sides)
            wanted = graph(image)[0].numpy()
            logits = fitted(run, found.takes())(image.numpy())[0]
            if np.abs(logits - wanted).max() > PROBE * max(1.0, float(np.abs(wanted).max())):
                return False
    return True
