"""What a finished leg hands over, and what it started from: all that an attacker has who gets both bundles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relay.bundle import digest_of, handover_files, manifest, measure, read_facts, schemas
from relay.errors import UserError
from relay.exchange import Kept, StudyStore, reopen
from relay.files import read_json
from relay.handover import Handover
from relay.home import home_of
from relay.leg import LegPaths, RunPaths
from relay.plan import Leg, Study
from relay.trust import shaped

AGAIN = "Train the leg again, or restore the file."
WEIGHTS = (manifest.MODEL, *manifest.OWN, manifest.EXPERT)
Arrived = Callable[[str], Handover | None]
"""Finds the handover whose weights have a digest."""


@dataclass(frozen=True)
class Leaving:
    """What a leg hands over, and what it started from.

    Attributes:
        folder: of the handover.
        site: whose leg it is; ``leg``: its number in the study.
        handover: the leg's own part.
        arrived: what the leg started from, with the memories and experts of all legs before it, which leave again with
            this one; None for a leg that started from new weights.
        steps: optimiser steps of the leg's own training.
    """

    folder: Path
    site: str
    leg: int
    handover: Handover
    arrived: Handover | None
    steps: int

    @property
    def earlier(self) -> list[int]:
        """The site's own earlier legs."""
        return [made["leg"] for made in self.arrived.legs if made["site"] == self.site] if self.arrived else []


def leaving_of(leg: Leg, paths: LegPaths, arrived: Arrived, steps: int) -> Leaving:
    """What a finished leg hands over.

    Raises:
        HandoverError: it is damaged.
        UserError: the leg has not finished, or what it started from is no longer here.
    """
    folder = paths.handover
    if not paths.finished:
        raise UserError(f"{paths.root} is not a finished leg", "Train it first: relay train, with the same -c and -n.")
    paths.check(leg.scientific())  # shadow models are to be trained as the leg was
    if code := paths.record().get("own_code"):
        raise UserError(
            f"the site's own code ({code}) trained {paths.root}, so the audit can't train its shadow models likewise",
            "Audit a leg that relay train has made. A study that requires an audit allows no other.",
        )
    handover_files.check_whole(folder)
    facts, start = read_facts(folder), None
    if facts.start is not None and leg.strategy.uses_incoming:
        start = arrived(facts.start)
        if start is None:
            raise UserError(
                f"what leg {facts.leg} started from is no longer here: its weights have the digest {facts.start[:12]}…",
                "Receive the previous bundle again, or restore it from a backup, and repeat the audit.",
            )
    return Leaving(folder, facts.site, facts.leg, own_of(folder), start, steps)


def own_of(folder: Path) -> Handover:
    """The part of a handover that is a leg's own, from the folder where the leg wrote it."""
    facts = read_facts(folder)
    own = {"leg": facts.leg, "site": facts.site, "strategy": facts.strategy, "train_samples": facts.samples}
    return handover_files.load(folder, [own])


def arrived_at(start: str, study: Study, paths: RunPaths) -> Handover | None:
    """The handover with which a leg began, with what the legs before it hand on: made in this run, or received; None if
    it is no longer here.

    Args:
        start: the digest of its weights.
    """
    folders = [path.parent for path in paths.root.glob(f"checkpoints/*/handover/{manifest.MODEL}")]
    made, ours, digest = {digest_of(folder): folder for folder in folders}, list[Handover](), start
    while folder := made.pop(digest, None):
        ours.append(own_of(folder))
        digest = read_facts(folder).start or ""
    found = _received(digest, study) if digest else None
    for own in reversed(ours):
        found = _after(found, own) if found else own
    return found


def _received(start: str, study: Study) -> Handover | None:
    """What this site has received or signed, by the digest of its weights; None if it has not, or no longer."""
    if study.handoff is None:
        return None
    store = StudyStore(home_of(study.handoff.key), study.handoff.study)
    for folder in store.kept():
        if (folder / manifest.MODEL).is_file() and digest_of(folder) == start:
            kind: Kept = "received" if folder.parent.name == "received" else "signed"
            return reopen(store, int(folder.name.removeprefix("leg_")), kind)[0]
    return None


def _after(before: Handover, own: Handover) -> Handover:
    """A leg's part, with what came before it."""
    memories, experts = {**before.memories, **own.memories}, {**before.experts, **own.experts}
    return Handover(own.model, memories, own.cumulative, {**own.facts, "legs": [*before.legs, *own.legs]}, experts)


def parts_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of weights in a handover's folder, by name."""
    return {name: measure(folder / name).sha256 for name in WEIGHTS if (folder / name).is_file()}


def promised(folder: Path) -> schemas.Stated | None:
    """What the training of the handover in a folder guarantees; None for nothing, or if its noise is no secret."""
    said = read_json(folder / manifest.DATA_CARD, AGAIN).get("privacy")
    if said is None:
        return None
    stated = shaped(schemas.Stated, said, manifest.DATA_CARD)
    return stated if stated.private else None
