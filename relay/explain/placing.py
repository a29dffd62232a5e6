"""The part of an image that the net sees at once, and the way of its map back to the image as read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relay.data import stacked
from relay.explain.finding import Found
from relay.leg import reflected, regridded

Map = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """A window on an image.

    Attributes:
        found: the prepared image.
        padded: it, reflected beyond its edges where it is smaller than a window, ``(1, C, *S)``.
        inside: where it is in there.
        window: what the net sees.
    """

    found: Found
    padded: Tensor
    inside: tuple[slice, ...]
    window: tuple[slice, ...]

    @classmethod
    def of(cls, found: Found, patch: Sequence[int] | None) -> View:
        """The window of the size that the net was trained on, in the middle of what was found; without such a size, the
        whole image."""
        if patch is None:
            everything = tuple(slice(0, side) for side in found.image.shape[2:])
            return cls(found, found.image, (slice(None), slice(None), *everything), everything)
        padded, inside = reflected(found.image, patch)
        sides = padded.shape[2:]
        middle = [side / 2 for side in sides]
        if found.region is not None:
            places = found.region.nonzero().float().mean(0).tolist()
            middle = [place + part.start for place, part in zip(places, inside[2:], strict=True)]
        begins = [min(max(0, round(m - p / 2)), side - p) for m, p, side in zip(middle, patch, sides, strict=True)]
        return cls(found, padded, inside, tuple(slice(b, b + p) for b, p in zip(begins, patch, strict=True)))

    @property
    def _all(self) -> tuple[slice, ...]:
        return (slice(None), slice(None), *self.window)

    @property
    def image(self) -> Tensor:
        """What the net sees, ``(1, C, *window)``."""
        return self.padded[self._all]

    @property
    def region(self) -> Tensor | None:
        """Where the class was found in there, float ``(1, 1, *window)``."""
        if self.found.region is None:
            return None
        whole = torch.zeros_like(self.padded[:, :1])
        whole[self.inside] = self.found.region.to(whole.dtype)
        return whole[self._all]

    def back(self, heat: Tensor, shape: Sequence[int], across: int | None, slices: int) -> Map:
        """A map of the window, ``(*window)``, on the grid of the image as read; 0 outside.

        Args:
            shape: of the image as read; ``across``: the axis across slices, None if there are none; ``slices``: how
                many there are.
        """
        whole = torch.zeros_like(self.padded[:, :1])
        whole[self._all] = heat
        return self._back(whole[self.inside], shape, across, slices)

    def framed(self, shape: Sequence[int], across: int | None, slices: int) -> NDArray[np.bool_] | None:
        """What the map is of, on the grid of the image as read; None for the whole image, or a whole slice of it."""
        if self.image.shape == self.padded.shape:
            return None
        return self.back(torch.ones_like(self.image[:, :1]), shape, across, slices) > 0.5

    def outlined(self, shape: Sequence[int], across: int | None, slices: int) -> NDArray[np.bool_] | None:
        """Where the class was found, on the grid of the image as read; None for an answer about the whole image."""
        if self.found.region is None:
            return None
        return self._back(self.found.region[None, None].float(), shape, across, slices) > 0.5

    def _back(self, whole: Tensor, shape: Sequence[int], across: int | None, slices: int) -> Map:
        """A map of the prepared image, ``(1, 1, *S)``, as :meth:`back`."""
        side = tuple(n for axis, n in enumerate(shape) if axis != across)
        # of two maps, what was cropped away is 1 in the first and 0 in the second
        both = torch.cat([torch.zeros_like(whole), whole], 1)
        flat: Map = regridded(both, side, self.found.case.grid)[0, 1].cpu().numpy()
        if across is None:
            return flat
        return stacked([flat if k == self.found.number else np.zeros_like(flat) for k in range(slices)], across)

    def told(self, across: int | None) -> str:
        """What part of the image it is, in words; empty for the whole image."""
        said = [] if across is None else [f"slice {self.found.number}"]
        if self.image.shape != self.padded.shape:
            said.append("a window of " + "×".join(map(str, self.image.shape[2:])))
        return ", ".join(said)
