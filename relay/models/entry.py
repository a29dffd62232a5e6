"""One model in a library: where it is, whether it can be trusted, and what it says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relay.bundle import HEADER, Opened, check_whole, is_sealed, open_volumes, opened, seal_of
from relay.errors import UserError
from relay.exchange import check_kept, judge
from relay.models import about as told, made
from relay.models.about import About
from relay.models.finding import Found, Kind
from relay.models.place import Place
from relay.trust import CannotOpen, Refused

Level = Literal["verified", "unsigned", "not verified", "not opened", "damaged"]


@dataclass(frozen=True)
class Trust:
    """Whether a model can be trusted: in a word, and why, in a sentence."""

    level: Level
    why: str


@dataclass(frozen=True)
class Entry:
    """A model in a library.

    Attributes:
        about: what it says about itself; None if it can't be opened or read.
        sealed: whether it is a sealed bundle.
    """

    path: Path
    kind: Kind
    trust: Trust
    about: About | None = None
    sealed: bool = False

    @property
    def told(self) -> About:
        """What it says about itself.

        Raises:
            UserError: it can't be opened or read.
        """
        if self.about is None:
            closed = self.trust.level == "not opened"
            cure = "Give --home, and the passphrase, of a site that it is sealed for." if closed else None
            raise UserError(f"{self.path} can't be used: {self.trust.why}", cure or "Copy it again from its source.")
        return self.about


def read(found: Found, place: Place) -> Entry:
    """What is known about a model, without reading its weights; nothing wrong with it is an error."""
    try:
        if found.kind == "bundle":
            return _bundle(found.path, place)
        if found.kind == "unpacked":
            return _unpacked(found.path, place)
        if found.kind == "run":
            return _run(found.path)
        if found.kind == "adopted":
            why = "adopted by a site for its own patients, unchanged since"
            return Entry(found.path, "adopted", Trust("unsigned", why), told.of_adopted(found.path))
        why = "made with relay models; nobody has signed it"
        return Entry(found.path, "made", Trust("unsigned", why), made.about(found.path))
    except UserError as error:
        return Entry(found.path, found.kind, Trust("damaged", str(error)))
    except OSError as error:
        return Entry(found.path, found.kind, Trust("damaged", f"it can't be read: {error.strerror}"))


def _bundle(path: Path, place: Place) -> Entry:
    with open_volumes(path) as file:
        head = file.read(HEADER)
    sealed = is_sealed(head)
    keys, why = place.opened if sealed else (None, "")
    if why:
        return Entry(path, "bundle", Trust("not opened", f"sealed for {seal_of(head)}; {why}"), sealed=sealed)
    try:
        with opened(path, keys, place.spool, place.limit) as inside:
            about = told.of_bundle(inside.layout, inside.read, inside.sizes)
            return Entry(path, "bundle", _judged(place, about, inside), about, sealed)
    except CannotOpen as error:
        return Entry(path, "bundle", Trust("not opened", str(error)), sealed=sealed)


def _judged(place: Place, about: About, inside: Opened) -> Trust:
    """Whether a bundle follows all rules except those about turns."""
    store = place.store(about.study)
    if not store.knows_coordinator:
        return Trust("not verified", f"study {about.study} is not known in {place.home}, so there is no one to trust")
    try:
        judge(inside, store.context(look_on=True, until=about.leg))
    except Refused as error:
        return Trust("not verified", f"refused ({type(error).__name__}): {error}")
    return Trust("verified", "signed by its site; it follows every rule except those about turns")


def _unpacked(folder: Path, place: Place) -> Entry:
    about, own = told.of_folder(folder), place.own(folder)
    if own is None:
        why = f"an unpacked bundle outside {place.home}: only its own site's ledger vouches for it"
        return Entry(folder, "unpacked", Trust("not verified", why), about)
    store, leg, kind = own
    try:
        check_kept(store, leg, kind)
    except UserError as error:
        return Entry(folder, "unpacked", Trust("damaged", str(error)), about)
    return Entry(folder, "unpacked", Trust("verified", f"{kind} here, and unchanged since"), about)


def _run(folder: Path) -> Entry:
    about = told.of_run(folder)
    try:
        check_whole(folder)
    except UserError as error:
        return Entry(folder, "run", Trust("damaged", str(error)), about)
    return Entry(folder, "run", Trust("unsigned", "the handover of a run, unchanged since"), about)
