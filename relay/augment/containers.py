"""Several augmentations: all of them in turn, one of them, or some of them, for each sample anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, model_validator
from typing_extensions import Self

from relay.augment.base import Augmentation, Images, Pixels
from relay.augment.chosen import KWARGS, applied, made
from relay.config import Field, Named, options
from relay.errors import UserError


def _known(transforms: list[str | Named]) -> list[str | Named]:
    for place, each in enumerate(transforms):
        try:
            made(each)
        except UserError as error:
            cure = "" if error.advice() == KWARGS else f". {error.advice().rstrip('.')}"
            raise ValueError(f"[{place}]: {error}{cure}") from error
    return transforms


Transforms = Annotated[list[str | Named], Field(min_length=1), AfterValidator(_known)]
Probability = Annotated[float, Field(ge=0, le=1)]


@options
class SequentialOptions:
    """Options of :class:`Sequential`.

    Attributes:
        transforms: augmentations, each a name or a name with kwargs.
        probability: that a sample goes through them.
    """

    transforms: Transforms
    probability: Probability = 1.0


@options
class OneOfOptions(SequentialOptions):
    """Options of :class:`OneOf`.

    Attributes:
        weights: how likely each is, relative to the others; null for all alike.
    """

    weights: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _a_weight_each(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.transforms):
            raise ValueError(f"weights must have one number for each transform: {len(self.transforms)}")
        return self


@options
class SomeOfOptions(SequentialOptions):
    """Options of :class:`SomeOf`.

    Attributes:
        count: how many, from the first number to the second, in their order.
    """

    count: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (1, 2)

    @model_validator(mode="after")
    def _so_many(self) -> Self:
        if not self.count[0] <= self.count[1] <= len(self.transforms):
            raise ValueError(f"count must rise, to {len(self.transforms)} at most, the number of transforms")
        return self


class Sequential(Augmentation):
    """All of them, in their order. A plain list means the same."""

    Options = SequentialOptions
    axes, takes = (2, 3), "any"

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.parts: Sequence[Augmentation] = [made(each) for each in options.transforms]

    @property
    def eight_bits(self) -> bool:
        """See :attr:`Augmentation.eight_bits`: whether one of its parts is."""
        return any(part.eight_bits for part in self.parts)

    def check(self, channels: int) -> None:
        """See :meth:`Augmentation.check`: each of its parts."""
        for part in self.parts:
            part.check(channels)

    def problem(self, axes: int) -> str | None:
        """See :meth:`Augmentation.problem`: the first of its parts."""
        found = [(part, why) for part in self.parts if (why := part.problem(axes))]
        return next((why if "'" in why else f"'{vars(part)['called']}' {why}" for part, why in found), None)

    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """See :meth:`Augmentation.apply`."""
        rng = np.random.default_rng(seed)
        goes = self.chosen(len(images), rng) & (rng.random(len(images)) < self.options.probability)[:, None]
        for part, which in zip(self.parts, goes.T, strict=True):
            inner = int(rng.integers(2**32))
            if which.all():
                images, masks = applied(part, images, masks, inner)
            elif which.any():
                images, masks = images.copy(), masks.copy()
                images[which], masks[which] = applied(part, images[which], masks[which], inner)
        return images, masks

    def chosen(self, count: int, rng: np.random.Generator) -> Any:
        """Which of ``count`` samples goes through which part: booleans ``(count, parts)``."""
        return np.ones((count, len(self.parts)), bool)


class OneOf(Sequential):
    """One of them for each sample, drawn by ``weights``."""

    Options = OneOfOptions

    def chosen(self, count: int, rng: np.random.Generator) -> Any:
        """See :meth:`Sequential.chosen`."""
        weights = np.array(self.options.weights or [1.0] * len(self.parts))
        drawn = rng.choice(len(self.parts), count, p=weights / weights.sum())
        return drawn[:, None] == np.arange(len(self.parts))


class SomeOf(Sequential):
    """Some of them for each sample, in their order."""

    Options = SomeOfOptions

    def chosen(self, count: int, rng: np.random.Generator) -> Any:
        """See :meth:`Sequential.chosen`."""
        low, high = self.options.count
        ranks = rng.random((count, len(self.parts))).argsort(axis=1)
        return ranks < rng.integers(low, high, count, endpoint=True)[:, None]
