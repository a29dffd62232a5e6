"""Who had the model and when: the chain of statements, as far as it can be read without a private key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.errors import RelayError
from relay.exchange import StudyStore, chain_in
from relay.home import home_of
from relay.report.gather import Run
from relay.report.shapes import cut
from relay.trust import Refused, Roster, Signed, Statement, statement, words


@dataclass(frozen=True)
class Hop:
    """One leg's hand-over.

    Attributes:
        digest: of the signed statement; if there is none, of the weights that the next leg started from.
        signer: the signing site's fingerprint, twelve words; empty if nothing is signed.
        signed, received: when; empty if not known here.
        fits: whether the signature was made with the site's key in the roster, over the previous leg.
        size: of the weights and memories, in bytes.
    """

    leg: int
    site: str
    to: tuple[str, ...] = ()
    digest: str = ""
    signer: str = ""
    signed: str = ""
    received: str = ""
    fits: bool = False
    size: int = 0

    @property
    def in_words(self) -> str:
        """The digest as words, as on a receipt."""
        return words(bytes.fromhex(self.digest)) if self.signer else ""


@dataclass(frozen=True)
class Custody:
    """What is known about the hand-overs.

    Attributes:
        chains: one for every path through the legs; none if nothing was handed over.
        broken: for each chain that can't be verified, the reason.
    """

    chains: list[list[Hop]]
    broken: list[str]


def read_custody(run: Run) -> Custody:
    """Every chain. The legs' records are only used if there is no chain at all."""
    chains: list[list[Hop]] = []
    broken: list[str] = []
    for stores in _studies(run):
        try:
            chain = _signed(stores)
        except (RelayError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            broken.append(_why(error, [run.root, *(store.home for store in stores)]))
            continue
        chains += [chain] if chain else []
        broken += [f"the signature of leg {hop.leg} ({hop.site}) does not fit." for hop in chain if not hop.fits][:1]
    return Custody(chains if chains or broken else _recorded(run), broken)


def _why(error: Exception, folders: Sequence[Path]) -> str:
    """The reason for an error, without the folders of this machine."""
    said = str(error) if isinstance(error, RelayError) else f"a file is damaged ({type(error).__name__})"
    for folder in dict.fromkeys(map(str, folders)):
        said = said.replace(f"{folder}/", "").replace(folder, "the folder")
    return cut(" ".join(said.split()).rstrip(".")) + "."


def _studies(run: Run) -> Iterator[list[StudyStore]]:
    """The stores of each study: in a simulation's temporary homes, or this site's own."""
    for roster in sorted(run.root.glob("handoff/*/roster")):
        yield [StudyStore(path.parents[1], path.name) for path in sorted(roster.parent.glob("*/studies/*"))]
    tasks = run.given.get("current_tasks")
    own = tasks.get("handoff") if isinstance(tasks, dict) else None
    if isinstance(own, dict) and isinstance(own.get("study"), str):
        key = own.get("key")
        yield [StudyStore(home_of(key if isinstance(key, str) else None), own["study"])]


def _signed(stores: Sequence[StudyStore]) -> list[Hop]:
    """The longest chain in these stores, or an invalid one, if there is one; empty if nothing is signed.

    Raises:
        RelayError: one can't be read.
    """
    kept = [p for d in stores for p in d.folder.glob("*/leg_[0-9]*") if p.parent.name in ("signed", "received")]
    if not kept:
        return []
    roster, received, found = stores[0].roster, _received(stores), []
    for folder in sorted(kept, key=lambda path: (path.name, path.parent.name), reverse=True):
        chain = chain_in(folder)
        found.append([_hop(roster, chain, place, received) for place in range(len(chain))])
    return next((chain for chain in found if not all(hop.fits for hop in chain)), found[0])


def _received(stores: Sequence[StudyStore]) -> dict[int, str]:
    """Leg → when another site first received it, as far as the ledgers here say."""
    found: dict[int, str] = {}
    for store in stores:
        for line in store.ledger.lines():
            if line.event == "received":
                leg = line.facts["leg"]
                found[leg] = min(found.get(leg, line.time), line.time)
    return found


def _hop(roster: Roster, chain: Sequence[Statement], place: int, received: dict[int, str]) -> Hop:
    made = chain[place]
    claim = made.claim
    identity = roster.site(claim.site)
    before = chain[place - 1].digest if place else None
    handover = (claim.handover.model, claim.handover.memory, claim.handover.cumulative)
    return Hop(
        leg=claim.leg,
        site=claim.site,
        to=tuple(recipient.name for recipient in claim.recipients),
        digest=made.digest,
        signer=identity.fingerprint,
        signed=claim.issued,
        received=received.get(claim.leg, ""),
        fits=claim.previous == before and _by(made, identity.signing),
        size=sum(part.bytes for part in handover if part),
    )


def _by(made: Statement, key: str) -> bool:
    try:
        Signed(made.envelope, statement.KIND, f"leg {made.claim.leg}").verify(key)
    except Refused:
        return False
    return True


def _recorded(run: Run) -> list[list[Hop]]:
    """What the legs' records say: what each one started from."""
    if not any(leg.record.get("start") for leg in run.legs):
        return []
    starts = [*(leg.record.get("start") or "" for leg in run.legs[1:]), ""]
    sites = [run.scores.trained.get(leg.number, leg.folder) for leg in run.legs]
    following = [*((site,) for site in sites[1:]), ()]
    return [
        [
            Hop(leg.number, site, to if start else (), str(start))
            for leg, site, to, start in zip(run.legs, sites, following, starts, strict=True)
        ]
    ]
