"""How long is left of a leg and of a whole run, going by what was measured so far in this process."""

from __future__ import annotations

from dataclasses import dataclass

USUAL = 0.1
"""Of a leg's training time: what reading, testing and sealing are taken for until a leg has been measured."""


@dataclass
class Pace:
    """Counts steps and seconds.

    Attributes:
        total: steps of the whole run.
        done: of them made, or skipped because they were made before.
        made: made in this process while ``training`` seconds went by.
        other: seconds of the finished legs that were not training; ``planned`` were the steps of these legs.
        leg_total, leg_other: steps planned for the present leg; its seconds so far that were not training.
    """

    total: int
    done: int = 0
    made: int = 0
    training: float = 0.0
    other: float = 0.0
    planned: int = 0
    leg_start: int = 0
    leg_total: int = 0
    leg_other: float = 0.0

    def begin(self, steps: int) -> None:
        """A leg of so many steps begins."""
        self.leg_start, self.leg_total, self.leg_other = self.done, steps, 0.0

    def finish(self) -> None:
        """The leg is over, however many steps were counted."""
        self.done = self.leg_start + self.leg_total
        self.other += self.leg_other
        self.planned += self.leg_total
        self.begin(0)

    def spend(self, seconds: float, training: bool) -> None:
        """So much time went by."""
        if training:
            self.training += seconds
        else:
            self.leg_other += seconds

    @property
    def measured(self) -> bool:
        """Whether a whole leg has been measured, so that what is not training is known, too."""
        return self.planned > 0

    def left(self) -> tuple[float, float] | None:
        """Seconds left of the leg and of the run; None before any step was made."""
        if not self.made:
            return None
        step = self.training / self.made
        rest = self.other / self.planned if self.measured else step * USUAL
        ahead = max(0, self.leg_start + self.leg_total - self.done)
        leg = ahead * step + max(0.0, self.leg_total * rest - self.leg_other)
        later = max(0, self.total - self.leg_start - self.leg_total)
        if not self.leg_total:  # between two legs, or a run that has none
            leg, later = 0.0, max(0, self.total - self.done)
        return leg, leg + later * (step + rest)

    def share(self) -> float:
        """How much of the run is over, from 0 to 1; 1 only when all of it is."""
        if not self.total:
            return 0.0
        left = self.left()
        if left is None:
            return min(self.done / self.total, 0.99)
        step = self.training / self.made
        whole = self.total * (step + (self.other / self.planned if self.measured else step * USUAL))
        over = self.done >= self.total and not self.leg_total
        return 1.0 if over else min(0.99, max(0.0, 1 - left[1] / whole)) if whole else 0.0


def spoken(seconds: float) -> str:
    """A time left for people, no more exact than it can be: ``40 s``, ``12 min``, ``3 h 10 min``."""
    if seconds < 55:
        return f"{max(10, 10 * round(seconds / 10))} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(10 * round(minutes / 10), 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
