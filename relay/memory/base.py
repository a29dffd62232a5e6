"""The base of memories: what travels beside the model so that earlier sites are not forgotten.

A strategy with a memory calls, in this order: :meth:`~Memory.setup`, :meth:`~Memory.receive` (what earlier legs wrote),
:meth:`~Memory.begin` (before the first phase), :meth:`~Memory.draw` at every step of the model's phase. Then it fits
:meth:`~Memory.phases`, calls :meth:`~Memory.learn`, and finally :meth:`~Memory.own` and :meth:`~Memory.cumulative`
for what travels.

Options must not import torch, like a strategy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from relay.phase import Batch, Phase, Task, Training

if TYPE_CHECKING:
    from torch import Tensor

    from relay.handover import Handover, MemoryState


class Memory:
    """Remembers nothing; subclasses do.

    Attributes:
        kinds: kinds of the memories that it writes.
        noised: whether it takes nothing of this site's images but a mean with noise, where there is one
            (:attr:`.Training.noisy_mean`): such a memory is covered by ``train.privacy``.
        teacher: the frozen incoming model, images to logits; None at the first leg.
    """

    kinds: ClassVar[tuple[str, ...]] = ()
    noised: Any = False
    task: Task
    teacher: Callable[[Tensor], Tensor] | None = None

    def __init__(self, options: Any = None) -> None:
        self.options = options

    def setup(self, task: Task) -> None:
        """Receive the task."""
        self.task = task

    def doubt(self, patients: int) -> str | None:
        """Before any training, after :meth:`setup`: why so many patients are too few for this memory, if they are."""
        return None

    def doubt_noise(self, patients: int, strong: float) -> str | None:
        """Likewise for a mean with noise that is ``strong``-GDP for replacing a patient; of a ``noised`` memory."""
        return None

    def receive(self, handover: Handover | None) -> None:
        """Read what earlier legs wrote; None for the first leg.

        It is untrusted: check names, shapes (including the number of rows), types and values against the task and the
        options before using them. The acceptance check calls this before a bundle is accepted.

        Raises:
            HandoverError: it has another kind, or does not match the task.
        """

    def begin(self, training: Training) -> None:
        """Use the leg's images before the first phase; this runs identically in every process."""

    def draw(self, batch: Batch) -> Batch | None:
        """A batch of the same size that represents earlier sites; None if none is remembered.

        Args:
            batch: of this site, on the device; don't change it.

        Take random numbers from torch's own generator of that device, which is seeded at every epoch.
        """
        return None

    def phases(self) -> Sequence[Phase]:
        """The fits that renew the memory, after the model's."""
        return []

    def learn(self, training: Training) -> None:
        """Add this site, after the last phase, in one process."""

    def own(self) -> MemoryState | None:
        """The memory of only this site, kept through all later legs."""
        return None

    def cumulative(self) -> MemoryState | None:
        """The memory of all sites so far, until the next leg renews it."""
        return None
