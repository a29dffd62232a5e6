"""The data of each site of a run, and its split."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from relay.data import (
    MAX_RAM,
    SPLITS,
    Dataset,
    Doubt,
    SiteData,
    SplitName,
    Spool,
    clean,
    examine,
    prepare,
    refuse,
    together,
)
from relay.errors import DataError
from relay.files import damaged, read_json, write_text
from relay.leg.digests import digests
from relay.leg.paths import RunPaths
from relay.leg.processes import is_first
from relay.plan import Leg, Study

Needs: TypeAlias = Sequence[tuple[Dataset, Sequence[SplitName]]]
"""Data sets, each with the splits of it that are used."""
Say: TypeAlias = Callable[[str], None]
EVERY = 30.0
"""Seconds between two lines that report how many images have been read."""


def needs(legs: Sequence[Leg], study: Study) -> Needs:
    """What the given legs of a study are trained and tested on."""
    trained = {d.options.task_id: d for leg in legs for d in leg.pool}
    tested = {d.options.task_id: d for leg in legs for d in study.tested(leg)}
    parts: tuple[tuple[SplitName, ...], ...] = (("train", "val", "test"), ("train", "val"), ("test",))
    return [
        (d, parts[0] if i in trained and i in tested else parts[1] if i in trained else parts[2])
        for i, d in (trained | tested).items()
    ]


class Count:
    """Reports from time to time how many images have been read."""

    def __init__(self, total: int, site: str, say: Say) -> None:
        self.total, self.site, self.say = total, site, say
        self.done, self.last = 0, time.monotonic()

    def __call__(self) -> None:
        """Count one more."""
        self.done += 1
        if time.monotonic() - self.last > EVERY:
            self.last = time.monotonic()
            self.say(f"{self.site}: {self.done} of {self.total} images read and checked …")


@dataclass(frozen=True)
class Looked:
    """A site, with what was learned about its files (by sample) and its images (by splits)."""

    site: SiteData
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    doubts: dict[tuple[SplitName, ...], list[Doubt]] = field(default_factory=dict)


class Known:
    """The sites of several runs in one process: sites with the same seed and options are read, hashed and examined
    once. Those of the previous seed are released, so that this needs no more memory than a single run.

    Attributes:
        said: warnings that were already shown.
        first_legs: a folder for first legs that several runs have in common (:mod:`relay.leg.first_legs`), or None.
    """

    def __init__(self, first_legs: Path | None = None) -> None:
        self.first_legs = first_legs
        self.said: set[Doubt] = set()
        self._seed: int | None = None
        self._sites: dict[tuple[int, tuple[SplitName, ...]], Looked] = {}

    def site(
        self, dataset: Dataset, seed: int, splits: tuple[SplitName, ...], folder: Path, max_ram: int = MAX_RAM
    ) -> Looked:
        """A data set's site; arguments and errors as of :func:`relay.data.site.prepare`.

        Args:
            folder: for images that are not to stay in RAM.
            max_ram: how many bytes of the site's images may.
        """
        if seed != self._seed:
            self._seed, self._sites = seed, {}
        key = dataset.options.task_id, splits
        found = self._sites.get(key)
        if found is None or found.site.dataset.options != dataset.options:
            # a file for each site, so that the disk has room again when a run with other options replaces it
            found = self._sites[key] = Looked(prepare(dataset, seed, Spool(folder, max_ram), splits=splits))
        return found


class Sites:
    """The data of each site, found and decoded once for all legs of a run.

    Splits are recorded, and must not change in the run once a state has been saved: an
    image that was trained on must never be tested on.

    Args:
        known: what earlier runs have learned about the same sites.
        several: whether the data of several sites are used: then they are in RAM only while they are.
    """

    def __init__(self, seed: int, run: RunPaths, known: Known | None = None, several: bool = False) -> None:
        self._seed, self._run, self._max_ram = seed, run, 0 if several else MAX_RAM
        self.known = known or Known()
        self._made: dict[int, Looked] = {}

    def __call__(self, dataset: Dataset, train: bool = False) -> SiteData:
        """A data set's site.

        Raises:
            DataError: a split that is needed (test; with ``train`` also train) is empty or incomplete, or the
                data set or its split options have changed since the run recorded its split.
        """
        return self._looked(dataset, train).site

    def _looked(self, dataset: Dataset, train: bool = False) -> Looked:
        key = dataset.options.task_id
        if key not in self._made:
            splits: tuple[SplitName, ...] = ("train", "test") if train else ("test",)
            found = self.known.site(dataset, self._seed, splits, self._run.root / "spool", self._max_ram)
            self.check_split(found.site)
            self._made[key] = found
        return self._made[key]

    def doubts(self, dataset: Dataset, splits: Sequence[SplitName]) -> list[Doubt]:
        """What :func:`relay.data.checks.examine` says of a data set's site."""
        looked, key = self._looked(dataset), tuple(splits)
        if key not in looked.doubts:
            looked.doubts[key] = examine(looked.site, splits)
            looked.site.rest()
        return looked.doubts[key]

    def rest(self) -> None:
        """Leave RAM until images are used again, as far as they are in a file."""
        for looked in self._made.values():
            looked.site.rest()

    def look(self, study: Study) -> None:
        """Find the images of all sites of a study.

        Raises:
            DataError: it lists the problems of all sites.
        """
        errors = []
        trained = {dataset.options.task_id for leg in study.legs for dataset in leg.pool}
        for dataset, _ in needs(study.legs, study):
            try:
                self(dataset, train=dataset.options.task_id in trained)
            except DataError as error:
                errors.append(error)
        together(errors)

    def read(self, needed: Needs, say: Say) -> None:
        """Read all images that are needed, and report progress.

        Raises:
            DataError: it lists the problems of all sites.
        """
        errors = []
        for dataset, splits in needed:
            try:
                site = self(dataset)
                total = sum(len(site.split[name]) for name in splits)
                site.read(splits, Count(total, dataset.options.task_name, say))
            except DataError as error:
                errors.append(error)
        together(errors)

    def files(self, needed: Needs) -> dict[str, dict[str, dict[str, str]]]:
        """The digests of all files that are needed, site by site (see :mod:`relay.leg.digests`)."""
        found = {}
        for dataset, splits in needed:
            looked, name = self._looked(dataset), dataset.options.task_name
            split, known = looked.site.split, looked.files
            wanted = [sample for part in splits for sample in split[part]]
            known.update(digests([sample for sample in wanted if sample.id not in known]))
            found[name] = {sample.id: known[sample.id] for sample in wanted if sample.id in known}
        return found

    def check_split(self, site: SiteData) -> None:
        """Record a site's split; or, once a state has been saved, compare it with the record.

        Raises:
            DataError: they differ.
            UserError: the record is damaged.
        """
        path, now = self._run.split(site.dataset.options.task_name), site.split.to_json()
        begun = any(self._run.root.glob("checkpoints/*/*.ckpt"))  # before that, images may still be fixed or removed
        if not (begun and path.is_file()):
            if is_first():
                write_text(path, json.dumps(now, indent=1) + "\n")
            return
        again = f"Remove {path}: it is written again, and is the same if images, seed and options are."
        then = read_json(path, again)
        for name in SPLITS:
            if not isinstance(then.get(name), list) or not all(isinstance(sample, str) for sample in then[name]):
                raise damaged(path, f"'{name}' is not a list of samples", again)
        moved = sorted({name for part in now for name in set(now[part]) ^ set(map(clean, then[part]))})
        refuse(
            moved,
            f"{site.dataset}: images are new, missing or in another split than in {path}",
            "Restore the data set and its split options (seed, fractions, regular expressions), or use a new note "
            "(-n). If a patient has withdrawn since, this run can't go on: use a new note.",
        )
