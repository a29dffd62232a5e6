"""What a memory is: what travels beside the model so that earlier sites are not forgotten.

A strategy with a memory calls, in this order: :meth:`~Memory.setup`, :meth:`~Memory.receive` (what earlier legs wrote),
:meth:`~Memory.begin` (before the first phase), :meth:`~Memory.draw` at every step of the model's phase; fits
:meth:`~Memory.phases` after it; then :meth:`~Memory.learn`, and last :meth:`~Memory.own` and :meth:`~Memory.cumulative`
for what shall travel.

Options import no torch, like a strategy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from relay.phase import Batch, Phase, Task, Training

if TYPE_CHECKING:
    from torch import Tensor

    from relay.handover import Handover, MemoryState


class Memory:
    """Remembers nothing; sub-classes do.

    Attributes:
        kinds: of the parts that it writes.
        teacher: the frozen incoming model, images to logits; None at the first leg.
    """

    kinds: ClassVar[tuple[str, ...]] = ()
    task: Task
    teacher: Callable[[Tensor], Tensor] | None = None

    def __init__(self, options: Any = None) -> None:
        self.options = options

    def setup(self, task: Task) -> None:
        """Take in what there is to learn."""
        self.task = task

    def receive(self, handover: Handover | None) -> None:
        """Read what earlier legs wrote; None is the first leg.

        Others wrote it: hold names, shapes, types and values against the task and the options before anything is made
        of them, the number of rows, too. The acceptance gate calls this before a bundle is taken in.

        Raises:
            HandoverError: it is of another kind, or does not fit the task.
        """

    def begin(self, training: Training) -> None:
        """Look at the leg's images before the first phase, in every process alike."""

    def draw(self, batch: Batch) -> Batch | None:
        """A batch of as many samples that stands for earlier sites; None where none is remembered.

        Args:
            batch: of this site, on the device; it is not changed.

        Random numbers come from torch's own generator of that device, which is seeded at every epoch.
        """
        return None

    def phases(self) -> Sequence[Phase]:
        """The fits that renew it, after the model's."""
        return []

    def learn(self, training: Training) -> None:
        """Take in this site, after the last phase; on one process."""

    def own(self) -> MemoryState | None:
        """What is kept of this site alone, through all later legs."""
        return None

    def cumulative(self) -> MemoryState | None:
        """What is kept of all sites so far, until the next leg renews it."""
        return None
