"""What a run is doing, its progress, and the time left. Every line also goes to the log.

A terminal shows a progress bar with the current stage above it; elsewhere, there is one line per leg and per minute.
For programs that watch a run, a file says the same every second, and is gone when the command has ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress as Bar, TaskProgressColumn, TextColumn
from rich.text import Text

from relay.errors import shown
from relay.files import write_text
from relay.leg.pace import Pace, spoken

log = logging.getLogger(__name__)
MINUTE = 60.0
FILE = "progress.json"
"""In a run's folder ``logs``: ``doing``, ``share`` (0 to 1) and ``left``, as :class:`Progress` shows them."""
T = TypeVar("T")


def progress_of(run: Path) -> Path:
    """The file that says how far the command is that works in a run's folder."""
    return run / "logs" / FILE


class Progress:
    """Stages, and steps done of all steps of a run.

    Attributes:
        spent: seconds of the current leg by stage, "" being between two.

    Args:
        total: optimiser steps of the whole run; use :meth:`expect` if not yet known.
        console: where to show it; None to show nothing (processes other than the first, tests).
        clock: returns the time in seconds.
        beat: seconds between two lines without a terminal.
        file: what watchers read; None for none.
    """

    def __init__(
        self,
        total: int = 0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        beat: float = MINUTE,
        file: Path | None = None,
    ) -> None:
        self.console, self.pace = console, Pace(total)
        self._clock, self._then, self._beat = clock, clock(), beat
        self._title = self._stage = self._note = ""
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._training = True  # without legs, as in a comparison, progress is measured by what is counted
        self._lock, self._over = threading.Lock(), threading.Event()
        live = console is not None and console.is_terminal
        self._bar = _Bar(self.doing, lambda: self.pace.total > 0, console) if live and console else None
        self._file = file
        self._threads = [threading.Thread(target=self._beats, daemon=True)] if console and not live else []
        self._threads += [threading.Thread(target=self._writes, daemon=True)] if file else []

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._bar:
            self._bar.stop()

    @property
    def done(self) -> int:
        """Steps made so far, including those made earlier."""
        return self.pace.done

    def expect(self, total: int) -> None:
        """Set the total number of steps of the run."""
        self.pace.total = total

    def leg(self, title: str, steps: int = 0) -> None:
        """Start a leg of ``steps`` steps."""
        self._spend()
        self._title, self._note, self._training = title, "", False
        self.spent = defaultdict(float)
        self.pace.begin(steps)
        log.info(title)
        if self.console and not self._bar:
            self.console.print(f"{title} …", soft_wrap=True, markup=False, emoji=False, highlight=False)

    def skip(self, title: str, steps: int) -> None:
        """Skip a leg that is already finished: its steps count as done."""
        self.say(f"{title}: already finished, skipped")
        self._title, self._training = title, False
        self.spent = defaultdict(float)
        self.advance(steps, made=False)
        self.pace.begin(0)

    @contextmanager
    def stage(self, name: str, training: bool = False) -> Iterator[None]:
        """Name the current stage; ``training`` marks the stage in which steps are counted."""
        self._spend()
        before = self._stage, self._training
        self._stage, self._training, self._note = name, training, ""
        log.info(": ".join(filter(None, (self._title, name))))
        self._show()
        try:
            yield
        finally:
            self._spend()
            (self._stage, self._training), self._note = before, ""
            self._show()

    def through(self, items: Iterable[T], name: str, count: int) -> Iterator[T]:
        """Yield items in a stage that shows which of ``count`` is next."""
        with self.stage(name):
            for number, item in enumerate(items, 1):
                self._note = f"{number} of {count}"
                self._show()
                yield item

    def counted(self, items: Sequence[T], name: str) -> Iterator[T]:
        """Yield items, each of which is a step of the run: for a run without legs."""
        with self.stage(name, training=True):
            for number, item in enumerate(items, 1):
                self._note = f"{number} of {len(items)}"
                self._show()
                yield item
                self.advance()

    def advance(self, steps: int = 1, made: bool = True) -> None:
        """Advance by ``steps``, ``made`` now or earlier."""
        self._spend()
        self.pace.done += steps
        self.pace.made += steps if made else 0
        self._show()

    def finish_leg(self) -> None:
        """End the leg, however many steps were counted."""
        self._spend()
        self.pace.finish()
        self._show()

    def divide(self, stage: str, parts: Mapping[str, float]) -> None:
        """Say more of what the time of a stage that is over went to: ``parts``, in seconds."""
        with self._lock:
            self.spent.pop(stage, None)
            for name, seconds in parts.items():
                self.spent[name] += seconds

    def note(self, text: str) -> None:
        """Show a few words after the stage."""
        log.info("%s: %s", self._title, text)
        self._note = text
        self._show()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        log.info(text)
        if self.console:
            self.console.print(shown(text), soft_wrap=True, markup=False, emoji=False, highlight=False)

    def doing(self) -> str:
        """Leg and stage: ``relay · leg 2/4 · south: testing on north, 3 of 20``."""
        stage = ", ".join(filter(None, (self._stage, self._note)))
        return ": ".join(filter(None, (self._title, stage)))

    def left(self) -> str:
        """``leg 2 min, run 14 min left``; empty until something has been measured."""
        self._spend()
        leg, run = self.pace.left() or (0.0, 0.0)
        if run < 1:  # nothing is measured yet; or it takes longer than estimated, and the stage says more
            return ""
        if leg < 1:
            return f"run: about {spoken(run)} left"
        return f"about {spoken(leg)} left" if leg == run else f"leg {spoken(leg)}, run {spoken(run)} left"

    def _spend(self) -> None:
        with self._lock:  # the beat thread reads the clock, too
            now = self._clock()
            self.pace.spend(now - self._then, self._training)
            self.spent[self._stage] += now - self._then
            self._then = now

    def _show(self) -> None:
        if self._bar:
            self._bar.show(self.pace.share(), self.left())

    def line(self) -> str:
        """The line shown each minute without a terminal."""
        steps = f"step {self.done} of {self.pace.total}" if self.pace.total else ""
        return "; ".join(filter(None, (self.doing(), steps, self.left())))

    def _beats(self) -> None:
        while not self._over.wait(self._beat):
            self.say(f"  {self.line()}")

    def _writes(self) -> None:
        """Watchers can do without: what the disk refuses here ends no training."""
        assert self._file is not None
        while not self._over.wait(1):
            told = {"doing": self.doing(), "share": self.pace.share(), "left": self.left()}
            with contextlib.suppress(OSError):
                write_text(self._file, json.dumps(told) + "\n")
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)


class _Bar(Bar):
    """Two lines: the current work; then the progress and the time left, once the total is known."""

    def __init__(self, doing: Callable[[], str], known: Callable[[], bool], console: Console) -> None:
        self.doing, self.known = doing, known
        columns = BarColumn(bar_width=None), TaskProgressColumn(), TextColumn("{task.fields[left]}")
        super().__init__(*columns, console=console, transient=True, expand=True)
        self.task = self.add_task("", total=1.0, left="")

    def show(self, share: float, left: str) -> None:
        """Update the bar."""
        self.update(self.task, completed=share, left=left)

    def get_renderables(self) -> Iterator[RenderableType]:
        """The stage on its own line: 80 columns leave no room for it beside the bar."""
        yield Text(self.doing(), no_wrap=True, overflow="ellipsis")
        if self.known():
            yield self.make_tasks_table(self.tasks)
