"""Whose library it is: the home that models are judged from, and its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import gettempdir

from relay.errors import UserError
from relay.exchange import Kept, StudyStore, utc_now
from relay.trust import Keys, Policy

KINDS: tuple[Kept, ...] = ("received", "signed")


@dataclass(frozen=True)
class Place:
    """A site's home.

    Args:
        unlock: gives its keys; called once, when the first sealed bundle is opened. None: sealed ones stay closed.
        clock: returns the time; replaced in tests.
    """

    home: Path
    unlock: Callable[[], Keys] | None = None
    clock: Callable[[], datetime] = utc_now

    @cached_property
    def opened(self) -> tuple[Keys | None, str]:
        """The keys, or why there are none."""
        if self.unlock is None:
            return None, "opening it needs a site's keys"
        try:
            return self.unlock(), ""
        except UserError as error:
            return None, str(error)

    @property
    def keys(self) -> Keys | None:
        """The keys; None if there are none, or if they can't be unlocked."""
        return self.opened[0]

    @property
    def spool(self) -> Path:
        """Where unsealed copies of bundles are kept while they are read."""
        return self.home if self.home.is_dir() else Path(gettempdir())

    def store(self, study: str) -> StudyStore:
        """The store of a study, which this home may not know."""
        return StudyStore(self.home, study, self.clock)

    @cached_property
    def stores(self) -> list[StudyStore]:
        """The studies that this home knows."""
        return [self.store(path.parent.name) for path in sorted(self.home.glob("studies/*/coordinator.json"))]

    @cached_property
    def limit(self) -> int:
        """The largest bundle that is opened, in bytes: the most that any study known here allows."""
        rosters = [store.trusted for store in self.stores]
        return max([Policy().max_bundle_bytes, *(r.roster.policy.max_bundle_bytes for r in rosters if r)])

    def kept(self) -> Iterator[Path]:
        """The folders of everything received or signed here."""
        for store in self.stores:
            yield from store.kept()

    def read_by(self, folder: Path) -> StudyStore | None:
        """The study of a model that was received here by someone who has no leg in it; None for any other folder."""
        found = self.own(folder)
        if found is None or found[2] != "received" or found[0].identity.name in found[0].roster.order:
            return None
        return found[0]

    def own(self, folder: Path) -> tuple[StudyStore, int, Kept] | None:
        """The study, leg and kind of one of those folders; None for any other folder."""
        there = folder.resolve()
        for store in self.stores:
            for kind in KINDS:
                if there.parent == (store.folder / kind).resolve() and there.name[4:].isdigit():
                    return store, int(there.name[4:]), kind
        return None
