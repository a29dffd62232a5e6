"""Whose masks are corrected: a site of a config, and where its corrections are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from relay.data import SPLITS, Corrections, Dataset, Record, SplitName, prepare
from relay.errors import UserError, some
from relay.files import expanded
from relay.plan import Leg, Study

FOLDER = "corrections"


@dataclass(frozen=True)
class Target:
    """A site whose masks are corrected.

    Attributes:
        leg: Its last leg in the config.
        folder: Where its corrections are kept.
    """

    leg: Leg
    folder: Path

    @classmethod
    def of(cls, study: Study, runs: Path, site: str | None = None) -> Target:
        """A site of a study.

        Args:
            runs: The folder of the config's runs, ``exps/<config>``: corrections are kept there, for all runs, unless
                the data set's option ``corrections`` names a folder.
            site: Its name; None if the study has only one.

        Raises:
            UserError: there is no such site, or there are several; or its task has no masks.
        """
        legs = {leg.task_name: leg for leg in study.legs}
        if site is None and len(legs) > 1:
            raise UserError(f"{study.name} has {len(legs)} sites: {', '.join(legs)}", "Choose one: --site NAME.")
        name = site or next(iter(legs))
        if name not in legs:
            raise UserError(f"{study.name} has no site '{name}'", f"Its sites are {', '.join(legs)}.")
        leg = legs[name]
        if not leg.data.does.dense:
            raise UserError(
                f"the task of {study.name} is {leg.data.task}, which has no masks",
                "Correct its targets where they are: in the table, the text files or the folders of classes.",
            )
        given = leg.pool[0].options.corrections
        return cls(leg, expanded(given) if given else runs / FOLDER / name)

    @property
    def store(self) -> Corrections:
        """The corrections."""
        return Corrections(self.folder)

    @cached_property
    def stored(self) -> Dataset:
        """The site's data set with its stored masks, without corrections."""
        return self._with(None)

    @property
    def corrected(self) -> Dataset:
        """The site's data set with the corrections that are the newest now."""
        return self._with(str(self.folder))

    def _with(self, corrections: str | None) -> Dataset:
        dataset = self.leg.pool[0]
        return type(dataset)(replace(dataset.options, corrections=corrections))

    @cached_property
    def images(self) -> Mapping[str, Record]:
        """All images by id, as they are stored: volumes are whole."""
        return {sample.id: sample for sample in self.stored.volumes}

    @cached_property
    def splits(self) -> Mapping[str, SplitName]:
        """The split that each image is in.

        Raises:
            DataError: as :func:`relay.data.prepare`.
        """
        dealt = prepare(self.stored, self.leg.conf.random_seed, splits=()).split
        of_slices = {sample.id: name for name in SPLITS for sample in dealt[name]}
        found = {name.rpartition("#")[0] if name not in self.images else name: part for name, part in of_slices.items()}
        return {name: found[name] for name in self.images if name in found}

    def image(self, named: str) -> Record:
        """An image, by its id or by its file.

        Raises:
            UserError: there is none.
        """
        if named in self.images:
            return self.images[named]
        path = expanded(named).resolve()
        same = [sample for sample in self.images.values() if path in [file.resolve() for file in sample.images]]
        if len(same) == 1:
            return same[0]
        many = f"{len(same)} images have the file {named}" if same else f"{self.stored} has no image '{named}'"
        raise UserError(many, f"Give the id of an image, as relay correct list shows it: {some(list(self.images), 3)}.")
