"""Which of the models that are here to test or to use, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from relay.bundle import manifest
from relay.errors import UserError, some, typed
from relay.handover import Handover
from relay.leg import Incoming, RunPaths, Vote, preferred, transport_of
from relay.plan import Leg, Study
from relay.predict import models
from relay.predict.models import Model, NotAdopted
from relay.results import EXPERT, GENERALIST, VOTE
from relay.tasks import Task

Which = Literal["own", "generalist", "vote", "auto"]
Say = Callable[[str], None]
SINGLE = "--model generalist, or --model own."
"""The models that are single nets, in advice."""
OTHERS = "Use --model generalist or --model auto."


@dataclass(frozen=True)
class Given:
    """The models in one handover that was named: a received one, or one in a bundle.

    Args:
        folder: name of its results.
    """

    study: Study
    handover: Handover
    folder: str
    source: Path

    @property
    def legs(self) -> Sequence[Mapping[str, Any]]:
        """Those of the handover, from the first on."""
        return self.handover.legs

    @cached_property
    def inside(self) -> dict[str, Model]:
        """See :func:`relay.predict.models.inside`."""
        return models.inside(self.study, self.study.legs[0], self.handover, self.folder, self.source)

    def everything(self, say: Say) -> list[Model]:
        """The generalist and, if there are experts, their vote."""
        return [self.inside[kind] for kind in (GENERALIST, VOTE) if kind in self.inside]

    def named(self, which: Which, say: Say) -> list[Model]:
        """One of the models; for ``auto``, ``say`` tells which one and why.

        Raises:
            UserError: it is not in the handover.
        """
        if which == "auto":
            return [best_elsewhere(self.handover, self.inside, type(self.study.task), say)]
        kind = {"own": EXPERT}.get(which, which)
        if kind not in self.inside:
            raise lacking(self.study, self.handover, self.study.legs[0].task_name if which == "own" else None)
        return [self.inside[kind]]

    def for_images(self, which: Which | None, say: Say) -> Model:
        """The model for images that belong to no test set; without a choice, ``auto``."""
        return self.named(which or "auto", say)[0]


@dataclass(frozen=True)
class OwnRun:
    """The models of a run: those of its legs, those in its newest handover, and what its sites adopted.

    Args:
        root: its folder.
        config: as given with ``-c``, for messages.
    """

    study: Study
    root: Path
    config: str = "CONFIG"

    @cached_property
    def generalists(self) -> list[Model]:
        """Each finished leg's; without one, that of the newest handover.

        Raises:
            UserError: there is none.
        """
        legs = [leg for leg in self.study.legs if self._run.leg(leg.folder).checkpoint.is_file()]
        if legs or self.incoming is None:
            return models.finished(self.study, self.root)
        return [self.inside[GENERALIST]]

    @cached_property
    def incoming(self) -> Incoming | None:
        """The newest handover; None if there is none (yet).

        Raises:
            UserError: it is damaged.
        """
        if self.study.handoff is not None:
            store = models.store_of(self.study)
            known = store.folder.is_dir() and store.trusted is not None
            there = known and bool((record := store.record()).received or record.signed)
        else:
            done = all(self._run.leg(leg.folder).finished for leg in self.study.legs)
            there = done and (self.root / "handoff").is_dir()
        return transport_of(self.study, self._run).newest(self.study.legs[-1]) if there else None

    @property
    def legs(self) -> Sequence[Mapping[str, Any]]:
        """Those of the newest handover, from the first on; none if there is none."""
        return self.incoming.handover.legs if self.incoming else ()

    @cached_property
    def inside(self) -> dict[str, Model]:
        """The models in the newest handover, by kind; none if there is none."""
        return self._inside(self.study.legs[-1]) if self.incoming else {}

    def everything(self, say: Say) -> list[Model]:
        """Each leg's generalist; the vote of the newest handover; what each site adopted, for its own test set."""
        found = list(self.generalists)
        if self.study.legs[-1].strategy.carries_expert and VOTE in self.inside:
            found.append(self.inside[VOTE])
        for leg in self._sites if (self.root / "adopted").is_dir() else ():
            try:
                found.append(self._adopted(leg))
            except NotAdopted as error:
                say(f"Not tested: {error}. {error.advice()}")
        return found

    def named(self, which: Which, say: Say) -> list[Model]:
        """The models of one kind. Those of single sites are for their own test sets; for ``auto``, ``say`` tells which
        one the others are tested with, and why.

        Raises:
            UserError: there is none.
        """
        if which == "generalist":
            return self.generalists
        if which == "vote":
            if VOTE not in self.inside:
                raise lacking(self.study, self._handover)
            return [self.inside[VOTE]]
        if len(self.study.legs) > 1 and not self.study.legs[0].strategy.uses_incoming:
            return [replace(model, sites=(model.site,)) for model in self.generalists]  # each site has only its own
        return self._own() if which == "own" else self._auto(say)

    def for_images(self, which: Which | None, say: Say, site: str | None = None) -> Model:
        """The model for images that belong to no test set; without a choice, ``auto``: what this site adopted or, until
        then and in a simulation, the model that is best elsewhere.

        Args:
            site: whose own model, or whose adopted one, if there are those of several sites.

        Raises:
            UserError: there is none, or several.
        """
        if site is not None:
            return self._of_site(which, site, say)
        if which in (None, "auto"):
            try:
                return self._at_home(say)
            except NotAdopted as error:
                if which:
                    raise
                found = self._elsewhere(say)
                say(f"{error}. {error.advice()}")
                return found
        there = self.named(which, say)
        if which == "own" and len(there) > 1:
            sites = [model.site for model in there]
            raise UserError(
                f"--model own is one model for each of {len(sites)} sites: {some(sites)}",
                f"Name one: --site {sites[0]}",
            )
        return there[-1]

    def _of_site(self, which: Which | None, site: str, say: Say) -> Model:
        if which not in (None, "own", "auto"):
            raise UserError(
                f"--site {site} is for --model own and --model auto", "Add one of the two, or leave --site out."
            )
        legs = {leg.task_name: leg for leg in self._sites}
        if site not in legs:
            raise UserError(f"--site {site}: the config has no leg at this site", f"It has: {', '.join(legs)}.")
        if which != "own":
            return self._adopted(legs[site])
        found = [model for model in self.named("own", say) if model.site == site]
        if not found:
            raise lacking(self.study, self._handover, site)
        return found[0]

    def at_home(self, leg: Leg, single: bool = False) -> Model:
        """The model for the own patients of a leg's site: what it adopted; else its expert in the newest handover; else
        the generalist there, or of its leg.

        Args:
            single: only a single net, which can be trained: no vote.

        Raises:
            UserError: there is none.
        """
        try:
            found = self._adopted(leg)
            if not (single and isinstance(found.built(), Vote)):
                return found
        except NotAdopted:
            pass
        if self.incoming is None:
            return next((m for m in self.generalists if m.site == leg.task_name), self.generalists[-1])
        inside = self._inside(leg)
        return inside.get(EXPERT, inside[GENERALIST])

    @property
    def _run(self) -> RunPaths:
        return RunPaths(self.root)

    @property
    def _handover(self) -> Handover | None:
        return self.incoming.handover if self.incoming else None

    @property
    def _sites(self) -> list[Leg]:
        """The last leg of each site."""
        return list({leg.task_name: leg for leg in self.study.legs}.values())

    def _inside(self, leg: Leg) -> dict[str, Model]:
        assert self.incoming is not None
        last = self.incoming.handover.legs[-1]
        own = self.study.handoff is None or last["site"] == leg.task_name
        folder = self.study.legs[-1].folder if own else f"received_leg_{last['leg']}"
        return models.inside(self.study, leg, self.incoming.handover, folder, self.root, outside=not own)

    def _own(self) -> list[Model]:
        found = [self._inside(leg).get(EXPERT) for leg in self._sites] if self.incoming else []
        if not any(found):
            site = self.study.legs[0].task_name if len(self._sites) == 1 else None
            raise lacking(self.study, self._handover, site)
        return [model for model in found if model]

    def _adopted(self, leg: Leg) -> Model:
        command = typed("relay", "adopt", "-c", self.config, "-n", self.root.name)
        return models.adopted(self.study, leg, self.incoming, self._run, command)

    @property
    def _only_tests(self) -> bool:
        """Whether there are no images to adopt a model with (``split: test``): the hospital is an outside one."""
        return all(dataset.options.split == "test" for leg in self.study.legs for dataset in leg.pool)

    def _auto(self, say: Say) -> list[Model]:
        if self.incoming is None or self._only_tests:
            return [self._elsewhere(say)]
        members = {leg.task_name for leg in self._sites}
        others = [name for d in self.study.test_sets if (name := str(d.options.task_name)) not in members]
        found = [self._adopted(leg) for leg in self._sites]
        return [*found, replace(self._elsewhere(say), sites=tuple(others))] if others else found

    def _at_home(self, say: Say) -> Model:
        if self.study.handoff is None or self.incoming is None or self._only_tests:
            return self._elsewhere(say)
        found = self._adopted(self.study.legs[0])
        say(f"Taken: the model that {found.site} adopted ({found.source}).")
        return found

    def _elsewhere(self, say: Say) -> Model:
        if self.incoming is None or VOTE not in self.inside:
            one = self.generalists[-1]  # also if it was copied here
            say(f"Taken: the one model of leg {one.number} ({one.source}).")
            return one
        return best_elsewhere(self.incoming.handover, self.inside, type(self.study.task), say)


def best_elsewhere(handover: Handover, inside: dict[str, Model], task: type[Task], say: Say) -> Model:
    """The model for images of a hospital that took no part; ``say`` tells which one and why."""
    if VOTE not in inside:
        say(f"Taken: the one model of leg {inside[GENERALIST].number}, because there are no experts to vote.")
        return inside[GENERALIST]
    better, why = preferred(handover.legs, task)
    then = "the one model for everybody answers alone" if better == GENERALIST else "all of them have an equal say"
    say(
        f"Taken: the vote of the sites' models of leg {inside[VOTE].number}. If an image looks unlike those of every "
        f"site, {then}, because {why}."
    )
    return inside[VOTE]


def lacking(study: Study, handover: Handover | None, site: str | None = None) -> UserError:
    """Why there are no experts.

    Args:
        site: whose own expert was asked for.
    """
    if handover is None and study.handoff is None and len(study.legs) == 1:
        return UserError(
            f"{study.name} has one leg here, of {study.legs[0].task_name}: no leg hands on to another, so there are no "
            "experts",
            f"Give a config, or current_tasks.task_ids, with all the legs that were trained. Or: {OTHERS}",
        )
    if handover is None:
        return UserError(f"no handover of {study.name} is here, so it has no experts", f"Train first. Or: {OTHERS}")
    legs = handover.legs
    sites = [leg["site"] for leg in legs]
    if site is not None and site not in sites:
        took = ", ".join(dict.fromkeys(sites))
        return UserError(f"{site} has no model of its own: the sites that took part are {took}", OTHERS)
    return UserError(_why_none(study, [leg["leg"] for leg in legs if site in (None, leg["site"])], legs), OTHERS)


def _why_none(study: Study, numbers: Sequence[int], legs: Sequence[dict[str, object]]) -> str:
    store = models.store_of(study) if study.handoff is not None else None
    roster = store.roster if store else None
    if roster and roster.policy.experts == "none":
        return f"the policy of study {roster.study} lets no expert travel (roster {roster.version})"
    if roster and (gone := [n for n in numbers if n in roster.withdrawn_experts]):
        return f"roster {roster.version} has withdrawn the experts of legs {', '.join(map(str, gone))}"
    if store and any((store.received(number) / manifest.SHARE).is_file() for number in numbers):
        return "this copy of the final model was shared without experts (relay share --experts adds them)"
    by = ", ".join(dict.fromkeys(str(leg["strategy"]) for leg in legs if leg["leg"] in numbers))
    return f"no expert was handed over: the legs were trained with the strategy {by}, which carries none"
