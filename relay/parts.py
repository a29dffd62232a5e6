"""Named parts of a training step, for whoever measures where its time goes: ``with part("teacher"): …``.

While nobody listens, a part only looks whether somebody does. Nothing that is computed changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]
"""Is told which part begins."""
_now: list[str] = []
_listening: list[Listener] = []


@contextmanager
def part(name: str) -> Iterator[None]:
    """Do a part of a step; the time of a part within another one is its own, not the other's."""
    if not _listening:
        yield
        return
    _now.append(name)
    _listening[-1](name)
    try:
        yield
    finally:
        if _now:  # else the listening has ended meanwhile
            _now.pop()
        if _listening:
            _listening[-1](_now[-1] if _now else "")


def listen(listener: Listener | None) -> None:
    """Tell ``listener``, and nobody else, of each part that begins; of "" where none does. None: nobody any more."""
    _now.clear()
    _listening[:] = [listener] if listener else []
