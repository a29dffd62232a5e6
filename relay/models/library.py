"""Many models together: each with its whole lineage, and its score at every site that measured it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from relay.bundle import FACTS
from relay.errors import UserError
from relay.models import about as told
from relay.models.about import About
from relay.models.entry import Entry, read
from relay.models.finding import Search, located, search
from relay.models.lineage import Link
from relay.models.place import Place

LAST = 10_000
"""Where models that no leg trained are sorted: a study has at most 9999 legs."""


@dataclass(frozen=True)
class Library:
    """Models, sorted by study, leg and path.

    Attributes:
        skipped: folders that can't be read, and why.
        more: whether there are more models than are listed.
    """

    entries: Sequence[Entry]
    skipped: Sequence[str] = ()
    more: bool = False

    def scores(self, one: Entry) -> dict[str, float | None]:
        """Test set → score of a model: as its own leg measured it, else as the site of the next leg did on arrival.

        The latter come from verified models only; those of a model that isn't signed may come from runs, too.
        """
        if one.about is None:
            return {}
        found: dict[str, float | None] = dict(one.about.scores)
        believed = {"verified", "unsigned"} if one.trust.level == "unsigned" else {"verified"}
        for entry in self.entries:
            if entry.about is not None and entry.trust.level in believed:
                arrived = entry.about.arrived.get(one.about.link.id, {})
                found |= {site: score for site, score in arrived.items() if site not in found}
        return found


def library(folders: Iterable[Path], place: Place) -> Library:
    """All models in these folders and their subfolders.

    Raises:
        UserError: a folder can't be read.
    """
    done: Search = search(folders)
    entries = traced([read(found, place) for found in done.models], place)
    return Library(sorted(entries, key=_order), done.skipped, done.more)


def entries_of(paths: Iterable[Path], place: Place) -> list[Entry]:
    """The models at these paths, in this order.

    Raises:
        UserError: at one of them there is none, or there are several.
    """
    return traced([read(located(path), place) for path in paths], place)


def _order(entry: Entry) -> tuple[bool, str, int, str]:
    if entry.about is None:
        return True, "", 0, str(entry.path)
    return False, entry.about.study, entry.about.leg or LAST, str(entry.path)


def traced(entries: list[Entry], place: Place) -> list[Entry]:
    """The entries with their lineages completed: a run names only the model it started from, so the models before it
    are looked for among the entries, in its own run, and in what was received or signed here."""
    if not any(entry.about and entry.about.start for entry in entries):
        return entries
    known = {about.link.id: about for about in _relatives(entries, place)}
    believed = [entry.about for entry in entries if entry.trust.level in ("verified", "unsigned")]
    known |= {about.link.id: about for about in believed if about}
    return [
        replace(entry, about=_traced(entry.about, known)) if entry.about and entry.about.start else entry
        for entry in entries
    ]


def _traced(own: About, known: dict[str, About]) -> About:
    lineage, start, seen = own.lineage, own.start, {own.link.id}
    while start is not None and start not in seen:  # a forged run could name itself
        seen.add(start)
        before = known.get(start)
        lineage = (*(before.lineage if before else (Link(id=start),)), *lineage)
        start = before.start if before else None
    return replace(own, lineage=lineage)


def _relatives(entries: Iterable[Entry], place: Place) -> Iterator[About]:
    """What the other legs of the same runs say, and everything that was received or signed here."""
    places = [entry.path.resolve().parents for entry in entries if entry.kind in ("run", "adopted")]
    for run in sorted({run for above in places for run in above[1:3]}):
        for facts in sorted(run.glob(f"checkpoints/*/handover/{FACTS}")):
            yield from _read(told.of_run, facts.parent)
    for folder in place.kept():
        yield from _read(told.of_folder, folder)


def _read(how: Callable[[Path], About], folder: Path) -> Iterator[About]:
    try:
        yield how(folder)
    except (UserError, OSError):  # the lineage then ends here; the model itself says what is wrong if it is listed
        return
