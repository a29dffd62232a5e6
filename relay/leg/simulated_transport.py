"""The transport of a simulation: the same hand-over as between hospitals, with temporary keys.

Every path through the legs (``load`` may branch) is a separate study under ``handoff/<its last leg>/``: a home for
each site, and ``stick/``, the folder that represents the USB stick; it has the newest bundles.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from relay.bundle import check_there, check_whole, digest_of, find
from relay.errors import UserError
from relay.exchange import AcceptanceCheck, StudyStore, drafting, newest, receive, reopen, sending, utc_now
from relay.files import write_bytes
from relay.leg.guarantee import cost_of
from relay.leg.handover_writer import expected_config
from relay.leg.paths import RunPaths
from relay.leg.processes import is_first, wait_for_all
from relay.leg.transport import Deployed, Incoming, Say, Transport
from relay.plan import Leg, Study
from relay.trust import Cost, Fork, GateFailed, Keys, Policy, PolicyBreach, keys, roster_builder, sign_roster

STUDY = "simulation"
YEARS = 10.0
"""How long a simulation can be continued."""


class SimulatedStudy:
    """A study with a home for every site, created when first needed.

    Args:
        sites: names in the order of the legs.
    """

    def __init__(self, root: Path, sites: Sequence[str], policy: Policy) -> None:
        self.root, self.sites, self.policy = root, sites, policy
        self.stick = root / "stick"

    def begin(self) -> None:
        """Make keys and roster, unless they exist."""
        if (self.root / "roster").is_file():
            return
        shutil.rmtree(self.root, ignore_errors=True)
        self.stick.mkdir(parents=True)
        coordinator = self.coordinator()
        made = [keys.new(name, YEARS) for name in dict.fromkeys(self.sites)]
        identities, days = [own.identity for own in made], int(365 * YEARS)
        roster = roster_builder.first(STUDY, coordinator.identity, identities, self.sites, self.policy, utc_now(), days)
        envelope = sign_roster(roster, coordinator)
        for own in made:
            keys.save(own, self.root / own.identity.name, None)
            store = self.store(own.identity.name)
            store.pin(coordinator.identity)
            store.install(envelope)
        write_bytes(self.root / "roster", envelope)  # last: marks the set as complete

    def coordinator(self) -> Keys:
        """Keys to sign the roster with, which are not stored; their name differs from every site's."""
        return keys.new("_" + max(self.sites, key=len)[:39], YEARS)

    def store(self, site: str) -> StudyStore:
        """A site's store."""
        return StudyStore(self.root / site, STUDY)

    def keys(self, site: str) -> Keys:
        """A site's keys."""
        return keys.load(self.root / site, None)

    def send(self, leg: int, handover: Path) -> None:
        """Sign a leg and put it on the stick, unless that is already done.

        Raises:
            Fork: the leg was signed with other weights.
        """
        site = self.sites[leg - 1]
        store, own = self.store(site), self.keys(site)
        check_there(handover)
        drafted = drafting.draft(store, handover)
        if not (drafted.signed and leg in store.sent()):
            sending.sign(store, own, drafted)
            sending.export(store, leg, self.stick)

    def receive(self, leg: int, weigh: AcceptanceCheck | None, fitting: Leg) -> None:
        """Receive the previous leg at the next site, unless that is already done."""
        site = self.sites[leg - 1]
        store = self.store(site)
        if leg - 1 in store.record().received and store.received(leg - 1).is_dir():
            return
        (bundle,) = [found.path for found in find(self.stick) if found.leg == leg - 1]
        receive(store, self.keys(site), bundle, weigh, expected_config(fitting))
        self._share(self.store(self.sites[leg - 2]).signed(leg - 1), store.received(leg - 1))
        for found in find(self.stick):
            if found.leg < leg - 1:
                found.path.unlink()

    def _share(self, signed: Path, received: Path) -> None:
        """Keep weights that two sites have, which are the same, once: a relay of many sites would fill the disk. A disk
        without hard links keeps both."""
        linked = self.root / ".linked"  # no site's home, and outside a record that may be checked
        for path in received.rglob("*.safetensors"):
            if (there := signed / path.relative_to(received)).is_file():
                linked.unlink(missing_ok=True)
                with suppress(OSError):
                    os.link(there, linked)
                    linked.replace(path)  # at once: a run that is killed finds either
                linked.unlink(missing_ok=True)  # it stays if both were one file before


class Simulated(Transport):
    """All legs of a study on this computer.

    Args:
        legs: in order.
    """

    def __init__(self, legs: Sequence[Leg], run: RunPaths) -> None:
        self.run = run
        self.legs = {leg.folder: leg for leg in legs}
        self._done: dict[Path, int] = {}  # the legs of each path that were seen to be handed over

    @cached_property
    def ways(self) -> list[list[Leg]]:
        """Every path of two or more legs, from a first leg to one that no leg starts from."""
        starts = {leg.start for leg in self.legs.values()}
        ways = [self._way(leg) for leg in self.legs.values() if leg.folder not in starts]
        return [way for way in ways if len(way) > 1]

    def _way(self, leg: Leg) -> list[Leg]:
        before = self.legs.get(leg.start) if leg.start else None
        return [*(self._way(before) if before else []), leg]

    def _study(self, way: Sequence[Leg]) -> SimulatedStudy:
        return SimulatedStudy(self.run.root / "handoff" / way[-1].folder, [leg.task_name for leg in way], self.policy)

    def _through(self, leg: Leg) -> list[Leg] | None:
        return next((way for way in self.ways if leg in way), None)

    def start(self, leg: Leg) -> str | None:
        """Digest of the handover it starts from.

        Raises:
            HandoverError: that leg has not run.
            UserError: what it handed over is damaged.
        """
        if not leg.start:
            return None
        handover = self.run.leg(leg.start).handover
        check_whole(handover)
        return digest_of(handover)

    def receive(self, leg: Leg, weigh: AcceptanceCheck, say: Say) -> Incoming | None:
        """Receive what the previous leg put on the stick."""
        way = self._through(leg)
        if way is None or leg.start is None:
            return None
        number = way.index(leg) + 1
        study = self._study(way)
        incoming = self._bring(study, way, number, weigh, say) if is_first() else None
        wait_for_all()
        return incoming or _incoming(study, number)

    def own_store(self, leg: Leg) -> StudyStore:
        """The store of its site on its path, or an empty one."""
        way = self._through(leg)
        return self._study(way).store(leg.task_name) if way else super().own_store(leg)

    def costs(self, leg: Leg) -> list[Cost]:
        """Those of the run's legs at the same site."""
        made = [self.run.leg(other.folder) for other in self.legs.values() if other.task_name == leg.task_name]
        return [cost for paths in made if (cost := cost_of(paths))]

    def send(self, leg: Leg, say: Say) -> None:
        """Put the leg on the stick."""
        way = self._through(leg)
        if way is not None and is_first():
            self._bring(self._study(way), way, way.index(leg) + 1, None, say, last=True)

    def newest(self, leg: Leg) -> Incoming | None:
        """The handover of the last leg of its path, which every site receives.

        Raises:
            UserError: not all legs of the path are finished, or what they handed over is damaged.
        """
        way = self._through(leg)
        if way is None:
            return None
        if waiting := [made for made in way if not self.run.leg(made.folder).finished]:
            raise UserError(
                f"leg {waiting[0].number} ({waiting[0].task_name}) is not finished in {self.run.root}",
                "Run relay train with the same -c and -n first.",
            )
        study = self._study(way)
        try:
            return Incoming(*newest(study.store(way[-1].task_name)))
        except UserError as error:
            again = f"Remove {study.root} and run relay train again: it is rebuilt from the finished legs."
            raise UserError(f"the hand-over in {study.root} is damaged or missing: {error}", again) from error

    def _bring(
        self,
        study: SimulatedStudy,
        way: Sequence[Leg],
        number: int,
        weigh: AcceptanceCheck | None,
        say: Say,
        last: bool = False,
    ) -> Incoming | None:
        """Do every hand-over up to a leg's own, in order, and skip those already done.

        If one is refused, an earlier leg was trained again or a file here is damaged. Everything can be rebuilt
        from the legs, because no one else holds these keys.
        """
        try:
            return self._walk(study, way, number, weigh, last)
        except (GateFailed, PolicyBreach):
            raise  # it is about the leg itself
        except UserError as error:
            shutil.rmtree(study.root, ignore_errors=True)
            self._done.pop(study.root, None)
            incoming = self._walk(study, way, number, weigh, last)
            if not isinstance(error, Fork):
                say(f"the hand-over in {study.root} was damaged and has been rebuilt from the legs: {error}")
            return incoming

    def _walk(
        self, study: SimulatedStudy, way: Sequence[Leg], number: int, weigh: AcceptanceCheck | None, last: bool
    ) -> Incoming | None:
        study.begin()
        for leg, made in enumerate(way[:number], 1):
            if leg < min(number, self._done.get(study.root, 0)):
                continue  # to look at all of them before each leg would take the square of their number
            if leg > 1:
                study.receive(leg, weigh if leg == number and not last else None, made)
            if leg < number or last:
                study.send(leg, self.run.leg(made.folder).handover)
                study.store(made.task_name).forget_weights(leg - 1)
                self._done[study.root] = leg
        return None if last else _incoming(study, number)


def _incoming(study: SimulatedStudy, leg: int) -> Incoming:
    return Incoming(*reopen(study.store(study.sites[leg - 1]), leg - 1))


def transport_of(study: Study, run: RunPaths) -> Transport:
    """How a study's legs are handed over: with this site's keys in a deployment, else with temporary keys."""
    if study.mode == "deployment" and study.handoff:
        return Deployed(study.handoff, run)
    return Simulated(study.legs, run)
