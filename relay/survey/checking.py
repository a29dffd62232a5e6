"""Read all images of a site once, and collect everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relay.data import SPLITS, Dataset, Doubt, SiteData, SplitName, Spool, examine, prepare
from relay.errors import DataError, first_line

Step = Callable[[], object]


@dataclass(frozen=True)
class Checked:
    """A site after all of its images were read.

    Attributes:
        name: The site's.
        what: What the problems have in common; empty if there is only one, which says it.
        problems: What makes its data unusable.
        cures: What to do about them.
        doubts: What is allowed, but probably not intended.
        site: Its data; None if they are unusable.
    """

    name: str
    what: str = ""
    problems: tuple[str, ...] = ()
    cures: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    site: SiteData | None = None


def check_site(dataset: Dataset, seed: int, train: bool, spool: Path, expect: Callable[[int], Step]) -> Checked:
    """Check a site's data.

    Args:
        seed: The study's.
        train: Whether the site trains, or is only tested on.
        spool: A folder for data that does not fit into RAM.
        expect: Told how many images there are; gives what is called after each.
    """
    name = dataset.options.task_name
    splits: tuple[SplitName, ...] = SPLITS if train else ("test",)
    try:
        site = prepare(dataset, seed, Spool(spool), tuple(part for part in splits if part != "val"))
        site.read(splits, expect(sum(len(site.split[part]) for part in splits)))
    except DataError as error:
        first = first_line(error).removeprefix(f"task '{name}': ").rstrip(":")
        if not error.listed:
            return Checked(name, "", (first,), (error.advice(),))
        return Checked(name, first, tuple(error.listed), (error.advice(),))
    return Checked(name, doubts=tuple(examine(site, splits)), site=site)
