"""What a handover says about its model, read without its weights. Nothing here is verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from relay.bundle import (
    cards,
    digest_of,
    documents,
    handover_files,
    layout_of,
    manifest,
    measure,
    read_facts,
    weights_digest,
)
from relay.errors import UserError
from relay.files import damaged, read_bytes
from relay.models.lineage import Lineage, Link
from relay.tasks import named
from relay.trust import Claim, digest, stamp, statement

Read = Callable[[str], bytes]
Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class About:
    """What is said about a model.

    Attributes:
        study: its name; of a leg that was run here, the name of the run.
        leg, site: of the leg that trained it; None if no leg did.
        date: of its making, in UTC.
        samples: number of training samples, as disclosed; None if no leg trained it.
        head: the content of ``handover.json``.
        config: its scientific config, flat.
        scores: test set → score of the model, as its own leg measured it.
        lineage: as far as the handover itself says.
        start: id of the model before the first one in ``lineage``; None if there is none.
        arrived: id → site → score: how models scored on arrival at the site of the next leg, before it trained.
        claims: of all legs, oldest first; empty if it isn't signed.
        counts: whether its sample counts are ``rounded`` or ``exact``.
        sizes: in bytes, of the files of the handover.
        statement: digest of its statement; None if it isn't signed.
        privacy, audit: what its training guarantees, and what an audit found, as its data card says; None for nothing.
        parents: what it was combined from, in words; empty if a leg trained it.
    """

    study: str
    leg: int | None
    site: str | None
    date: str
    strategy: str
    samples: int | None
    head: Any
    config: Mapping[str, Any]
    scores: Scores
    lineage: Lineage
    start: str | None = None
    arrived: Mapping[str, Scores] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    counts: str = "exact"
    sizes: Mapping[str, int] = field(default_factory=dict)
    statement: str | None = None
    privacy: Any = None
    audit: Any = None
    parents: tuple[str, ...] = ()

    @property
    def link(self) -> Link:
        """The model itself."""
        return self.lineage[-1]

    @property
    def parent(self) -> Link | None:
        """The model it was trained from; None if it was trained from none, or if that isn't known."""
        return self.lineage[-2] if len(self.lineage) > 1 else None

    @property
    def task(self) -> str:
        """What the model predicts."""
        return str(self.head.data.task)

    @property
    def net(self) -> str:
        """The name of its net."""
        return str(self.head.model.name)

    @property
    def card(self) -> str | None:
        """The model card as this program writes it, in Markdown; the text of the one in a bundle is not checked. None
        if no site has signed anything."""
        if not self.claims:
            return None
        return cards.model_card(self.claims, self.head, self.config, self.counts, self.sizes, self.privacy, self.audit)

    @property
    def score_name(self) -> str:
        """What its scores are called."""
        if self.claims:
            return self.claims[-1].score_name
        task = named(self.task)
        return task.score_name if task else "score"


def of_bundle(layout: manifest.Layout, read: Read, sizes: Mapping[str, int]) -> About:
    """What the documents of a bundle say, packed or unpacked.

    Args:
        read: gives the content of a document by its name.

    Raises:
        BadDocument: one does not match its schema.
    """
    folders = [*(manifest.earlier(leg, "") for leg in range(1, layout.legs + 1)), ""]
    claims = [_claim(read(folder + manifest.STATEMENT), folder + manifest.STATEMENT) for folder in folders]
    links = tuple(
        _link(read(folder + manifest.MANIFEST), folder + manifest.MANIFEST, claim)
        for folder, claim in zip(folders, claims, strict=True)
    )
    named_so = (manifest.HANDOVER, manifest.CONFIG, manifest.DATA_CARD)
    head, config, data = (documents.read(name, read(name)) for name in named_so)
    own = claims[-1]
    return About(
        study=own.study,
        leg=own.leg,
        site=own.site,
        date=own.issued,
        strategy=own.strategy,
        samples=own.samples,
        head=head,
        config=config,
        scores=own.scores,
        lineage=links,
        arrived=dict(_arrivals(links, claims, folders, read)),
        claims=tuple(claims),
        counts=data.counts,
        sizes=sizes,
        privacy=documents.stated(data),
        audit=data.privacy_audit,
        statement=digest(statement.peek(read(manifest.STATEMENT), manifest.STATEMENT)[0].unverified),
    )


def _claim(data: bytes, name: str) -> Claim:
    return statement.parse(statement.peek(data, name)[0].unverified, name)[0]


def _link(listing: bytes, name: str, claim: Claim) -> Link:
    listed = manifest.parse(listing, name)
    return Link(id=weights_digest(listed), model=listed.get(manifest.MODEL), leg=claim.leg, site=claim.site)


def _arrivals(links: Lineage, claims: list[Claim], folders: list[str], read: Read) -> Iterator[tuple[str, Scores]]:
    """The score of each earlier leg's model at the site of the leg after it."""
    for before, claim, folder in zip(links, claims[1:], folders[1:], strict=False):
        yield before.id, on_arrival(documents.read(manifest.RESULTS, read(folder + manifest.RESULTS)), claim.site)


def on_arrival(results: Any, site: str) -> Scores:
    """How the model that arrived at a site scored there, before its leg trained: site → score; empty if it wasn't
    measured. ``results``: the content of the leg's ``results.json``."""
    return next(({site: score.mean} for score in results.zero_shot if score.model == "generalist"), {})


def of_folder(folder: Path) -> About:
    """What an unpacked bundle says: a folder of what a site received or signed.

    Raises:
        BadDocument: a document does not match its schema.
        OSError: one can't be read.
    """
    layout = layout_of(folder)
    sizes = {name: (folder / name).stat().st_size for name in layout.names() if (folder / name).is_file()}
    return of_bundle(layout, lambda name: read_bytes(folder / name), sizes)


def of_run(folder: Path) -> About:
    """What the handover of a leg that was run here says.

    Raises:
        HandoverError, BadDocument: a file is missing or damaged.
        OSError: one can't be read.
    """
    facts = read_facts(folder)
    head, config, results = (
        documents.read(name, read_bytes(folder / name))
        for name in (manifest.HANDOVER, manifest.CONFIG, manifest.RESULTS)
    )
    digests = folder / handover_files.DIGESTS
    listed = manifest.parse(read_bytes(digests), str(digests)) if digests.is_file() else {}  # older versions wrote none
    own = weights_digest(listed) if listed else digest_of(folder)
    scores = {
        site: next(iter(said.values())) if isinstance(said, dict) else said for site, said in facts.result.items()
    }
    return About(
        study=_run_of(folder.resolve()),
        leg=facts.leg,
        site=facts.site,
        date=_written(folder / manifest.MODEL),
        strategy=facts.strategy,
        samples=facts.samples,
        head=head,
        config=config,
        scores=scores,
        lineage=(Link(id=own, model=listed.get(manifest.MODEL), leg=facts.leg, site=facts.site),),
        start=facts.start,
        arrived={facts.start: on_arrival(results, facts.site)} if facts.start else {},
        sizes={path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()},
    )


def of_adopted(folder: Path) -> About:
    """What is known about the model that a site fine-tuned for its own patients. Its net and config are those of the
    run's legs.

    Raises:
        UserError, BadDocument: a file is missing or damaged.
        OSError: one can't be read.
    """
    from relay.adopt import AdoptPaths, read, score_rows
    from relay.results import by_site, no_nan

    paths = AdoptPaths(folder)
    record = read(paths)
    legs = sorted(folder.resolve().parents[1].glob(f"checkpoints/*/handover/{handover_files.FACTS}"))
    if record is None or not legs:
        raise UserError(f"{folder} is not in a run with a leg", "Copy the whole folder of the run.")
    like, sha256 = of_run(legs[-1].parent), measure(paths.tuned).sha256
    if record["sha256"].get(paths.tuned.name) != sha256:
        raise damaged(paths.tuned, "it is not what relay adopt wrote", paths.again)
    return replace(
        like,
        leg=None,
        site=record["site"],
        date=_written(paths.tuned),
        strategy=f"adopted: {record['model']}",
        samples=None,
        scores=no_nan(by_site(score_rows(paths, record))),
        lineage=(Link(id=weights_digest({manifest.MODEL: sha256}), model=sha256, site=record["site"]),),
        start=record["handover"],
        arrived={},
        sizes={path.name: path.stat().st_size for path in (paths.tuned, paths.record)},
    )


def _written(path: Path) -> str:
    return stamp(datetime.fromtimestamp(path.stat().st_mtime, timezone.utc))


def _run_of(folder: Path) -> str:
    """The name of the run that a handover belongs to: ``CONFIG/NOTE``; of one that was moved, its own folder's."""
    leg = folder.parent
    run = leg.parent.parent if leg.parent.name == "checkpoints" else leg
    return f"{run.parent.name}/{run.name}"
