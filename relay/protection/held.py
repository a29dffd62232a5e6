"""What still holds a patient at this site: files of every run of a config, and what was learned from the images."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.bundle import FACTS, manifest, read_facts
from relay.data import Cache, Corrections, Withdrawn
from relay.leg import RunPaths, watched_in
from relay.protection.copies import on_the_page, pictures
from relay.protection.holding import Held
from relay.protection.listing import places_of
from relay.protection.patient import Person
from relay.protection.removing import rows_of

DRAWN = ("report.html", "figures.pdf", "figures", "subgroups.html", "subgroups.csv")
"""What is made from scores, and can be made again."""


@dataclass(frozen=True)
class Learned:
    """A finished leg whose weights come from the patient.

    Attributes:
        run: the folder of the run.
        folder: the leg's folder.
        leg: its number in the study; None if it has no handover.
        part: ``train`` (the weights learned from the images) or ``val`` (they only chose among weights).
        expert: whether it has an expert of this site.
    """

    run: Path
    folder: Path
    leg: int | None
    part: str
    expert: bool


@dataclass(frozen=True)
class Holdings:
    """What holds a patient: files, what was learned, and the parts of each run's split."""

    files: Sequence[Held]
    learned: Sequence[Learned]
    parts: Mapping[Path, str]


def holdings(
    someone: Person,
    runs: Path,
    legs: Mapping[str, Sequence[str]],
    corrections: Path | None,
    homes: Collection[Path] = (),
) -> Holdings:
    """Look for a patient in every run of a config. Nothing is changed.

    Args:
        runs: the folder of the config's runs, ``exps/<config>``.
        legs: the sites that each leg's folder is trained on.
        corrections: where masks that were corrected by hand are kept.
        homes: homes whose pages may have copies of the images.

    Raises:
        UserError: a file is damaged.
    """
    files: list[Held] = []
    learned: list[Learned] = []
    parts: dict[Path, str] = {}
    for split in sorted(runs.rglob(f"splits/{someone.site}.json")) if runs.is_dir() else ():
        root = split.parent.parent
        found = places_of(split, someone)
        files += _of_run(root, someone, found)
        learned += _learned(root, someone, found[0] if found else None, legs)
        if found:
            parts[root] = found[0]
            files += _of_comparison(root, runs)
            files.append(Held(split, "ids", "the split"))  # the last: what is left of an interrupted removal follows it
    files += _of_site(someone, corrections)
    files += [held for home in homes for held in on_the_page(home, someone)]
    return Holdings(list(dict.fromkeys(files)), learned, parts)


def _of_run(root: Path, someone: Person, parts: Collection[str]) -> Iterator[Held]:
    places = ("checkpoints/*/data.json", f"adopted/{someone.site}/adopted.json", f"learned/{someone.site}/learned.json")
    for path in (path for place in places for path in sorted(root.glob(place))):
        if places_of(path, someone):
            yield Held(path, "ids", "names of the images that a model has learned from or was tested on")
    tables = [path for path in sorted(root.rglob("*.csv")) if path.name in ("scores.csv", "samples.csv")]
    scored = [path for path in tables if any(rows_of(path, someone))]
    if scored or "test" in parts:
        yield from _drawn(root)
    yield from (Held(path, "rows", "scores of single images") for path in scored)
    yield from pictures(root, someone)
    yield from _logs(root, someone)
    if {"train", "val"} & {*parts}:
        for path in sorted([*root.glob("checkpoints/*/phase_*"), *root.glob(f"*/{someone.site}/phase_*")]):
            yield Held(path, "file", "the state of unfinished training")
    if "val" in parts and (watched := watched_in(root)).is_dir():
        yield Held(watched, "folder", "validation images that an ended training has left")
    if (spool := root / "spool").is_dir() and any(spool.iterdir()):  # only on Windows its file has a name
        yield Held(spool, "folder", "prepared images")


def _logs(root: Path, someone: Person) -> Iterator[Held]:
    for path in sorted(root.glob("logs/*.log")):
        if someone.in_text.search(path.read_text(errors="replace")):
            yield Held(path, "lines", "a log")


def _of_comparison(root: Path, runs: Path) -> Iterator[Held]:
    """The first legs that the runs of an unfinished comparison share."""
    for above in root.parents:
        if above.is_relative_to(runs) and (shared := above / "first_legs").is_dir():
            yield Held(shared, "folder", "first legs that the runs of a comparison share; they are trained again")


def _drawn(root: Path) -> Iterator[Held]:
    """Figures, pages and curves that may show the patient's image or score."""
    for path in (
        path for name in DRAWN for path in sorted([*root.glob(f"results/{name}"), *root.glob(f"results/*/{name}")])
    ):
        yield Held(path, "folder" if path.is_dir() else "file", "reports; the same commands write them again")
    for path in sorted(root.glob("tensorboard/**/events.out.tfevents.*")):
        yield Held(path, "file", "curves, with test images")


def _of_site(someone: Person, corrections: Path | None) -> Iterator[Held]:
    """What is not in a run: corrected masks, and prepared images."""
    for image in sorted(someone.images):
        if corrections and (folder := Corrections(corrections).of(image)).is_dir():
            yield Held(folder, "folder", "masks corrected by hand")
    cache = Cache.of_environment()
    if cache and cache.entries():
        yield Held(cache.folder, "cache", "prepared images of all patients; they are made again when needed")


def _learned(root: Path, someone: Person, part: str | None, legs: Mapping[str, Sequence[str]]) -> Iterator[Learned]:
    """The finished legs that learned from the patient, also before the patient withdrew."""
    listed = Withdrawn.of_home()
    known = {leg: how for name in someone.names for leg, how in listed.learned(someone.site, name).items()}
    for path in sorted(root.glob("checkpoints/*/leg.json")):
        leg = RunPaths(root).leg(path.parent.name)
        number, trained = None, list(legs.get(path.parent.name, ()))
        if (leg.handover / FACTS).is_file():  # some strategies hand nothing on
            facts = read_facts(leg.handover)
            number, trained = facts.leg, trained or [facts.site]
        how = part if part in ("train", "val") and someone.site in trained else known.get(str(leg.root.absolute()))
        if how and leg.finished:
            yield Learned(root, leg.root, number, how, (leg.handover / manifest.EXPERT).is_file())
