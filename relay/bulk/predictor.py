"""What every model can do for bulk prediction, whether it is a net of relay's or an export."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from relay.bulk.views import View
from relay.data import Case, Pixels
from relay.tasks import Task

Member = tuple[float, NDArray[Any]]
"""How much an answer weighs, and the answer: ``(outputs, *S)`` or ``(outputs,)``, in the voxels of the prepared
image."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image that is ready for the net.

    Attributes:
        read: as it was read.
        items: what the net sees: the image, or each slice of a volume.
        across: the axis across the slices; None for a whole image.
        notes: what is legal but suspicious about it.
    """

    read: Case
    items: Sequence[Any]
    across: int | None
    notes: Sequence[str] = field(default=())

    @property
    def size(self) -> tuple[int, ...]:
        """Of an item, on the voxels of the image as read."""
        return tuple(side for axis, side in enumerate(self.read.image.shape[:-1]) if axis != self.across)


class Predictor(ABC):
    """A model for bulk prediction. It can be pickled, so that other processes of this command can use it.

    Attributes:
        task: what it predicts.
        digest: that of its weights.
        about: what is known of it, as JSON: where it comes from.
        channels, one_file: what it takes as one image (:class:`relay.predict.Takes`).
        axes: how many axes an image may have.
        mirror: whether mirror images are like those that it was trained on.
    """

    task: Task
    digest: str
    about: Mapping[str, Any]
    channels: int
    one_file: bool
    axes: tuple[int, ...]
    mirror: bool

    @abstractmethod
    def start(self) -> None:
        """Load what this process needs; before anything else, once in each process."""

    @abstractmethod
    def prepare(self, files: Sequence[Path]) -> Prepared:
        """Read an image.

        Raises:
            DataError: it can't be read, or does not suit this model.
        """

    @abstractmethod
    def ready(self, case: Case, path: Path) -> Prepared:
        """Prepare an image that has been read.

        Raises:
            DataError: it does not suit this model.
        """

    @abstractmethod
    def answer(self, item: Any, path: Path) -> NDArray[Any]:
        """What the model says of an item, without a measure of doubt: as in :data:`Member`."""

    @abstractmethod
    def members(self, item: Any, path: Path) -> Iterator[Member]:
        """What each of its nets says of an item; weights have the sum 1."""

    @abstractmethod
    def seen(self, item: Any, view: View) -> Any:
        """A view of an item."""

    @abstractmethod
    def restored(self, answer: NDArray[Any], item: Any, size: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Maps on the voxels of the image as read, of this size: ``(outputs, *part)`` for each part of a volume along
        its first axis, since all classes of all voxels may be too much for the memory."""

    @abstractmethod
    def cleaned(self, mask: Pixels) -> Pixels:
        """A mask after the model's post-processing."""

    def strange(self, item: Any) -> bool | None:
        """Whether an item looks unlike the images of every site; None if that isn't known."""
        return None
