"""What an augmentation is: a plug-in of the group ``relay.augmentations`` that changes a training batch."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
Images: TypeAlias = NDArray[Any]
"""uint8 0..255, or float."""


class Augmentation:
    """A plug-in of the group ``relay.augmentations``, constructed with its ``Options``, or without arguments if it has
    none.

    Attributes:
        Options: a class made with ``@options``; None for none.
        axes: for how many spatial axes it is: 2 for images, 3 for volumes.
        takes: which images it wants: ``bytes`` are uint8 0..255, and images stored as floats are refused; ``unit`` are
            float32 0..1, whatever is stored; ``any`` are as stored, uint8 0..255 or float16 -1..1: for one that only
            moves pixels.
    """

    Options: ClassVar[type | None] = None
    axes: ClassVar[tuple[int, ...]] = (2,)
    takes: ClassVar[Literal["bytes", "unit", "any"]] = "bytes"

    def __init__(self, options: Any = None) -> None:
        self.options = options

    @abstractmethod
    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """Augment a batch; the same seed gives the same batch.

        Args:
            images: ``(B, *S, C)``, see ``takes``; not to be written to.
            masks: uint8 ``(B, *S)``; likewise.
            seed: any non-negative integer; all randomness comes from it.

        Returns:
            Images and masks of the same shapes and types.
        """

    def check(self, channels: int) -> None:
        """Try what only a library can check about its kwargs, on a picture of that many channels; nothing to try here.

        Raises:
            UserError: they are wrong.
        """

    @property
    def eight_bits(self) -> bool:
        """Whether it is for 8-bit images only."""
        return self.takes == "bytes"

    def problem(self, axes: int) -> str | None:
        """Why it does not suit images of that many spatial axes; None if it does."""
        return None if axes in self.axes else "is not available for " + ("images" if axes == 2 else "volumes")
