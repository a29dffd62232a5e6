"""The step ``Normalise``: intensities of any scale to -1 to 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from typing_extensions import Self

from relay.config import Field, options
from relay.data.record import Case
from relay.data.sizes import WINDOW, bounds
from relay.data.steps.base import Step
from relay.errors import DataError

How = Literal["window", "percentile", "zscore", "minmax", "none"]
LEAST = 1e-12
"""Differences that count as zero."""


@options
class Normalise(Step):
    """Brings intensities into -1 to 1, channel by channel. What lies beyond is clipped.

    Attributes:
        how: ``window``: ``low`` and ``high`` are the same values for all images, such as Hounsfield units;
            ``percentile``: they are percentiles of the image; ``zscore``: the mean becomes 0, and ``clip`` standard
            deviations become 1; ``minmax``: from the lowest to the highest value; ``none``: values are in -1 to 1
            already.
        low: What becomes -1; for ``percentile``, 0.5 if left out.
        high: What becomes 1; for ``percentile``, 99.5 if left out.
        clip: For ``zscore``: how many standard deviations are kept on each side of the mean.
        foreground: For ``zscore`` and ``percentile``: measure only voxels that are not 0.
        channels: Which channels, from 0; None for all. Other channels need a ``Normalise`` of their own.
    """

    normalises: ClassVar[bool] = True

    how: How
    low: float | None = None
    high: float | None = None
    clip: Annotated[float, Field(gt=0)] = 5.0
    foreground: bool = False
    channels: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _what_is_needed(self) -> Self:
        given = {key for key in ("low", "high") if getattr(self, key) is not None}
        if self.how == "window" and given != {"low", "high"}:
            raise ValueError("window needs low and high, for example -160 and 240 (HU) for soft tissue in CT")
        if given and self.how not in ("window", "percentile"):
            raise ValueError(f"{' and '.join(sorted(given))}: only for window and percentile")
        if self.foreground and self.how not in ("zscore", "percentile"):
            raise ValueError("foreground is only for zscore and percentile")
        low, high = self._ends
        if not low < high:
            raise ValueError("low must be less than high")
        if self.how == "percentile" and not 0 <= low < high <= 100:
            raise ValueError("percentiles are from 0 to 100")
        return self

    @property
    def _ends(self) -> tuple[float, float]:
        low, high = self.low, self.high
        return WINDOW[0] if low is None else low, WINDOW[1] if high is None else high

    def process(self, case: Case) -> Case:
        """See :meth:`Step.process`."""
        image, notes = case.image.copy(), list(case.notes)
        several = image.shape[-1] > 1
        for channel in self.channels if self.channels is not None else range(image.shape[-1]):
            values = image[..., channel]
            low, high, told = WAYS[self.how](self, values)
            notes += [f"channel {channel}: {note}" if several else note for note in told]
            values -= low
            values *= 2 / max(high - low, LEAST)
            values -= 1
            np.clip(values, -1, 1, out=values)
        return replace(case, image=image, notes=tuple(notes))

    def measured(self, values: NDArray[Any]) -> NDArray[Any]:
        """The voxels that are measured: all, or those that are not 0 if there are any."""
        others = values[values != 0] if self.foreground else values
        return others if others.size else values


Ends = tuple[float, float, list[str]]
"""What becomes -1 and 1, and a phrase for everything suspicious."""


def _window(step: Normalise, values: NDArray[Any]) -> Ends:
    low, high = step._ends
    inside = float(((values > low) & (values < high)).mean())
    odd = [f"no voxel is inside the window {low:g} to {high:g}: it has another scale"] if not inside else []
    return low, high, odd


def _percentile(step: Normalise, values: NDArray[Any]) -> Ends:
    return bounds(step.measured(values), step._ends)


def _zscore(step: Normalise, values: NDArray[Any]) -> Ends:
    known = step.measured(values).astype(np.float64)
    mean, deviation = float(known.mean()), float(known.std())
    if deviation < LEAST:
        return mean - 1, mean + 1, [f"every voxel is {mean:g}; read as grey"]
    return mean - step.clip * deviation, mean + step.clip * deviation, []


def _minmax(step: Normalise, values: NDArray[Any]) -> Ends:
    low, high = float(values.min()), float(values.max())
    return low, high, [f"every voxel is {low:g}; read as black"] if low == high else []


def _none(step: Normalise, values: NDArray[Any]) -> Ends:
    low, high = float(values.min()), float(values.max())
    if low < -1 or high > 1:
        raise DataError(
            f"values from {low:g} to {high:g}, but with Normalise none they must be in -1 to 1",
            "Choose another way to normalise (window, percentile, zscore or minmax), or leave out Normalise.",
        )
    return -1.0, 1.0, []


WAYS: dict[How, Callable[[Normalise, NDArray[Any]], Ends]] = {
    "window": _window,
    "percentile": _percentile,
    "zscore": _zscore,
    "minmax": _minmax,
    "none": _none,
}
