"""What is done to a predicted mask, by name: plug-ins of the group ``relay.postprocessing``.

Each is the options of one step, with ``clean``. Steps run in the order of the config, on the mask at the image's own
size, in evaluation and prediction alike; where volumes are read as slices, on each slice. Importable without torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relay import registry
from relay.config import Field, Named, check, options
from relay.errors import UserError

Mask: TypeAlias = NDArray[np.uint8]


@options
class Postprocessing:
    """A step.

    Attributes:
        classes: the classes it looks at, one by one, in this order; null for all but the background.
    """

    classes: Annotated[tuple[Annotated[int, Field(ge=1, le=255)], ...], Field(min_length=1)] | None = None

    @abstractmethod
    def clean(self, mask: Mask) -> Mask:
        """The mask after the step: uint8 ``(*S)``, of the same size; ``mask`` is not to be written to."""

    def chosen(self, mask: Mask) -> list[int]:
        """Those of the classes that occur in a mask."""
        there = np.unique(mask).tolist()
        return [each for each in (self.classes or there) if each and each in there]


@options
class LargestComponent(Postprocessing):
    """Keeps the largest connected part of each class; the others become background. Voxels that touch at a corner are
    connected; of parts of one size, the first is kept."""

    def clean(self, mask: Mask) -> Mask:
        """See :meth:`Postprocessing.clean`."""
        new: Mask = mask.copy()
        for each in self.chosen(mask):
            parts, sizes = _parts(mask == each)
            new[(parts > 0) & (parts != 1 + int(sizes.argmax()))] = 0
        return new


@options
class FillHoles(Postprocessing):
    """Gives background that a class surrounds to the class: in 2D by its edge, in 3D on all sides."""

    def clean(self, mask: Mask) -> Mask:
        """See :meth:`Postprocessing.clean`."""
        from scipy.ndimage import binary_fill_holes

        new: Mask = mask.copy()
        for each in self.chosen(mask):
            new[binary_fill_holes(new == each) & (new == 0)] = each
        return new


@options
class MinimumSize(Postprocessing):
    """Turns connected parts of a class that have fewer voxels than ``voxels`` into background.

    Attributes:
        voxels: of the smallest part that stays.
    """

    voxels: Annotated[int, Field(ge=1)]

    def clean(self, mask: Mask) -> Mask:
        """See :meth:`Postprocessing.clean`."""
        new: Mask = mask.copy()
        for each in self.chosen(mask):
            parts, sizes = _parts(mask == each)
            small = np.concatenate([[False], sizes < self.voxels])
            new[small[parts]] = 0
        return new


def steps_of(chosen: Sequence[Named]) -> list[Postprocessing]:
    """The steps of a config.

    Raises:
        UserError: one does not exist, or its kwargs are wrong.
    """
    return list(_made(chosen))


def cleaned(mask: Mask, steps: Sequence[Postprocessing]) -> Mask:
    """A predicted mask after all steps.

    Raises:
        UserError: a step is a plug-in, and failed.
    """
    for step in steps:
        with registry.blamed(f"post-processing '{type(step).__name__}'", step):
            new = step.clean(mask)
            if new.shape != mask.shape or new.dtype != np.uint8:
                raise ValueError(f"the mask became {new.dtype} {new.shape}; it must stay uint8 {mask.shape}")
        mask = new
    return mask


def _made(chosen: Sequence[Named]) -> Iterator[Postprocessing]:
    for named in chosen:
        made, problems = check(registry.find("postprocessing", named.name), named.kwargs)
        if made is None:
            told = "; ".join(map(str, problems))
            raise UserError(f"post-processing '{named.name}': {told}", "Correct its kwargs.")
        yield made


def _parts(there: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Connected parts, numbered from 1, and the number of voxels of each."""
    from scipy.ndimage import generate_binary_structure, label

    parts, count = label(there, generate_binary_structure(there.ndim, there.ndim))
    return parts, np.bincount(parts.ravel(), minlength=count + 1)[1:]
