"""The time left for a leg and for the whole run, estimated from what was measured so far in this process."""

from __future__ import annotations

from dataclasses import dataclass

USUAL = 0.1
"""Assumed share of reading, testing and sealing, relative to a leg's training time, until a leg has been measured."""


@dataclass
class Pace:
    """Counts steps and seconds.

    Attributes:
        total: number of steps of the whole run.
        done: steps made, or skipped because they were made before.
        made: steps made in this process, in ``training`` seconds.
        other: seconds that the finished legs spent on other things than training; ``planned``: the steps of these legs.
        leg_total, leg_other: steps planned for the current leg; its seconds so far on other things than training.
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
        """Start a leg of ``steps`` steps."""
        self.leg_start, self.leg_total, self.leg_other = self.done, steps, 0.0

    def finish(self) -> None:
        """End the leg, however many steps were counted."""
        self.done = self.leg_start + self.leg_total
        self.other += self.leg_other
        self.planned += self.leg_total
        self.begin(0)

    def spend(self, seconds: float, training: bool) -> None:
        """Record that time has passed."""
        if training:
            self.training += seconds
        else:
            self.leg_other += seconds

    @property
    def measured(self) -> bool:
        """Whether a whole leg has been measured, so that the time outside training is known, too."""
        return self.planned > 0

    def left(self) -> tuple[float, float] | None:
        """Seconds left for the leg and for the run; None before the first step."""
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
        """The finished share of the run, from 0 to 1; 1 only when everything is finished."""
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
    """The time left, with sensible precision: ``40 s``, ``12 min``, ``3 h 10 min``."""
    if seconds < 55:
        return f"{max(10, 10 * round(seconds / 10))} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(10 * round(minutes / 10), 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
