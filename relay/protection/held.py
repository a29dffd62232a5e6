"""What still holds a patient at this site: files of every run of a config, and what was learned from the images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relay.bundle import FACTS, manifest, read_facts
from relay.data import SPLITS, Cache, Corrections, Withdrawn
from relay.files import read_json
from relay.leg import RunPaths
from relay.protection.patient import Person
from relay.protection.removing import names, rows_of

Kind = Literal["file", "folder", "rows", "ids", "lines", "cache"]
AGAIN = "Restore it from a backup, or remove the run's folder."
KEPT = 50
"""How many characters of an image's name the files of ``relay predict --image`` keep."""
DRAWN = ("report.html", "figures.pdf", "figures")
"""What a report wrote; ``relay report`` writes it again."""


@dataclass(frozen=True)
class Held:
    """A file or folder that holds the patient.

    Attributes:
        kind: how the patient is removed: the whole ``file`` or ``folder`` goes, or only the patient's ``rows`` of a
            table, ``ids`` in JSON, ``lines`` of a log; all entries of an image ``cache``.
        why: what it is, for people.
    """

    path: Path
    kind: Kind
    why: str


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


def holdings(someone: Person, runs: Path, legs: Mapping[str, Sequence[str]], corrections: Path | None) -> Holdings:
    """Look for a patient in every run of a config. Nothing is changed.

    Args:
        runs: the folder of the config's runs, ``exps/<config>``.
        legs: the sites that each leg's folder is trained on.
        corrections: where masks that were corrected by hand are kept.

    Raises:
        UserError: a file is damaged.
    """
    files: list[Held] = []
    learned: list[Learned] = []
    parts: dict[Path, str] = {}
    for split in sorted(runs.rglob(f"splits/{someone.site}.json")) if runs.is_dir() else ():
        root = split.parent.parent
        said = read_json(split, AGAIN)
        if part := next((part for part in SPLITS if someone.images & set(said.get(part, ()))), None):
            parts[root] = part
            files.append(Held(split, "ids", "the split"))
        files += _of_run(root, someone, part)
        learned += _learned(root, someone, part, legs)
    files += _of_site(someone, corrections)
    return Holdings(list(dict.fromkeys(files)), learned, parts)


def _of_run(root: Path, someone: Person, part: str | None) -> Iterator[Held]:
    for path in sorted(root.glob("checkpoints/*/data.json")):
        if someone.images & names(read_json(path, AGAIN).get(someone.site, {})):
            yield Held(path, "ids", "digests of the images that the leg used")
    tables = [path for path in sorted(root.rglob("*.csv")) if path.name in ("scores.csv", "samples.csv")]
    scored = [path for path in tables if any(rows_of(path, someone))]
    yield from (Held(path, "rows", "scores of single images") for path in scored)
    yield from _pictures(root, someone)
    for path in sorted(root.glob("logs/*.log")):
        if someone.in_text.search(path.read_text(errors="replace")):
            yield Held(path, "lines", "a log")
    if scored or part == "test":
        yield from _drawn(root)
    if part in ("train", "val"):
        for path in sorted([*root.glob("checkpoints/*/phase_*"), *root.glob(f"*/{someone.site}/phase_*")]):
            yield Held(path, "file", "the state of unfinished training")
    if (spool := root / "spool").is_dir():
        yield Held(spool, "folder", "prepared images")


def _pictures(root: Path, someone: Person) -> Iterator[Held]:
    """Masks and overlays, by the names of their images."""
    for folder in sorted({*root.glob("results/**/predictions/*/*"), *root.glob("results/**/overlays/*/*")}):
        if folder.is_dir() and folder.name == someone.site:
            found = (path for path in sorted(folder.rglob("*")) if path.is_file() and someone.owns(path, folder))
            yield from (Held(path, "file", "a predicted mask or its overlay") for path in found)
    ranked = root / "results" / "correct" / someone.site
    if (listed := ranked / "ranking.json").is_file() and someone.in_text.search(listed.read_text(errors="replace")):
        yield Held(ranked, "folder", "the masks to correct first; relay correct list makes them again")
    for path in sorted(root.glob("results/images/*/*")):
        made = re.fullmatch(r"(.+)-[0-9a-f]{8}_(?:mask|overlay)\..+", path.name)
        if made and made[1] in {name[:KEPT] for name in someone.stems}:
            yield Held(path, "file", "a predicted mask or its overlay")


def _drawn(root: Path) -> Iterator[Held]:
    """Figures, pages and curves that may show the patient's image or score."""
    for name in DRAWN:
        if (path := root / "results" / name).exists():
            yield Held(path, "folder" if path.is_dir() else "file", "the report; relay report writes it again")
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
