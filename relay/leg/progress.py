"""One bar for a whole run: which leg, how far, how long still. What it says is in the log, too."""

from __future__ import annotations

import logging
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

log = logging.getLogger(__name__)


class Progress:
    """Steps done of all steps of a run; where there is no terminal, a line per leg instead of a moving bar.

    Args:
        total: optimiser steps of the whole run.
        console: where to show it; None shows nothing (other processes than the first, tests).
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.console, self.total, self.done, self._title = console, total, 0, ""
        self._start = 0
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
        )
        live = console is not None and console.is_terminal
        self._bar = Bar(*columns, console=console, transient=True) if live else None
        self._task = self._bar.add_task("", total=total, note="") if self._bar else None

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def leg(self, title: str) -> None:
        """A leg begins."""
        self._title, self._start = title, self.done
        log.info(title)
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=title, note="")
        elif self.console:
            self.console.print(f"{title} …")

    def skip(self, title: str, steps: int) -> None:
        """A leg that need not run: its steps count as done."""
        self.say(f"{title}: finished before, skipped")
        self.advance(steps)

    def advance(self, steps: int = 1) -> None:
        """So many steps more."""
        self.done += steps
        if self._bar and self._task is not None:
            self._bar.update(self._task, advance=steps)

    def finish_leg(self, steps: int) -> None:
        """The leg of so many planned steps is over, however many were counted."""
        self.advance(self._start + steps - self.done)

    def note(self, text: str) -> None:
        """A few words behind the bar."""
        log.info("%s: %s", self._title, text)
        if self._bar and self._task is not None:
            self._bar.update(self._task, note=text)

    def say(self, text: str) -> None:
        """A line that stays."""
        log.info(text)
        if self.console:
            self.console.print(text, soft_wrap=True, markup=False, highlight=False)
