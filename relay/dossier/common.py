"""Parts that several papers have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relay.dossier.quoting import SPONSOR, said
from relay.dossier.study import LegRecord, StudyRecord
from relay.papers import Fact, asked

NONE = "none stated"
SCORE = "{metric} of {label} on the test images of {site}: {mean}"
ARRIVED = "the {model} that arrived, before any training here: {mean}, on {images} images; counts are {1}"
KEPT = "{1}, derived from {derived}; fewest patients behind a number: {patients}; epsilon: {epsilon}; counts are {2}"
UNCOUNTED = "{1}, derived from {derived}; patients not counted; epsilon: {epsilon}; counts are {2}"
AUDIT = (
    "{members} patients trained on, {others} not; counts are {1}; {shadows} shadow models; enough patients to measure: "
    "{measurable}; smallest p = {p}"
)
ATTACK = "{name} on the {part}: AUC {auc} (interval {low} to {high}), p = {p}"


def identity(record: StudyRecord) -> list[Fact]:
    """Which study, at which site, up to which leg."""
    newest = record.newest
    return [
        said("Study", record.plan("study"), by="the coordinator"),
        said("Written at", record.identity.quote("name")),
        said("Coordinator", record.coordinator.quote("name")),
        said("Sites, in the order of their legs", record.plan("order"), by="the coordinator"),
        *([said("Newest leg in the record", newest.claim("leg"), newest.claim("site"))] if newest else _no_leg()),
    ]


def _no_leg() -> list[Fact]:
    return asked("the site", {"Newest leg in the record": "none was received or signed here yet"})


def model(record: StudyRecord) -> Iterator[Fact]:
    """The net, and what it reads and predicts."""
    newest = record.newest
    yield said("Net", record.model("model", "name"))
    yield said("Options of the net", record.model("model", "kwargs"))
    yield said("Task", record.model("data", "task"))
    yield said("Predicts", record.model("data", "classes"))
    yield said("Channels of an image", record.model("data", "channels"))
    yield said("Intensities are scaled to", record.model("data", "intensity_range"), form="{}")
    yield said("Steps before the net", record.model("data", "steps"), none="none beyond the scaling")
    yield said("Volumes are read as slices", record.model("data", "slices"), none="no")
    if newest:
        size = [newest.claim("handover", "model", key) for key in ("tensors", "bytes")]
        yield said("Weights", *size, form="{} tensors, {} bytes")


def data(legs: Sequence[LegRecord]) -> Iterator[Fact]:
    """What each leg learned from, and was tested on."""
    for leg in legs:
        for kind in ("images", "patients"):
            counts = [leg.card.quote(kind, split) for split in ("train", "val", "test")]
            form = "{} to train, {} to validate, {} to test; counts are {}"
            yield said(f"{leg.name}: {kind}", *counts, leg.card.quote("counts"), form=form)


def scores(legs: Sequence[LegRecord]) -> Iterator[Fact]:
    """What each leg's site measured, and signed."""
    for leg in legs:
        for site in leg.statement.content["predicate"]["result"]:
            yield said(f"{leg.name}: score on {site}", leg.claim("result", site))
        for n, _ in enumerate(leg.results.content["rows"]):
            yield said(leg.name, leg.results.quote("rows", n), form=SCORE)


def arrived(legs: Sequence[LegRecord]) -> Iterator[Fact]:
    """What the model before a leg could do at its site."""
    for leg in legs:
        for n, _ in enumerate(leg.results.content["zero_shot"]):
            yield said(leg.name, leg.results.quote("zero_shot", n), leg.card.quote("counts"), form=ARRIVED)


def privacy(legs: Sequence[LegRecord]) -> Iterator[Fact]:
    """What is known about what each leg tells about its patients."""
    for leg in legs:
        yield _guarantee(leg)
        yield from _audit(leg)
        if leg.memory:
            kept = [leg.memory.quote("privacy"), leg.memory.quote("kind"), leg.card.quote("counts")]
            form = KEPT if leg.memory.content["privacy"]["patients"] else UNCOUNTED
            yield said(f"{leg.name}: memory that travels", *kept, form=form, none="none stated")


def _guarantee(leg: LegRecord) -> Fact:
    what, keys = f"{leg.name}: differential privacy", ("epsilon", "delta", "unit", "private")
    if leg.card.quote("privacy") is None:
        return Fact(what, NONE, [leg.card.without("privacy")])
    form = "ε = {}, δ = {} for each {}; noise is secret: {}"
    return said(what, *(leg.card.quote("privacy", key) for key in keys), form=form)


def _audit(leg: LegRecord) -> Iterator[Fact]:
    what = f"{leg.name}: privacy audit"
    if leg.card.quote("privacy_audit") is None:
        yield Fact(what, NONE, [leg.card.without("privacy_audit")])
        return
    yield said(what, leg.card.quote("privacy_audit"), leg.card.quote("counts"), form=AUDIT)
    for n, _ in enumerate(leg.card.content["privacy_audit"]["attacks"]):
        yield said(what, leg.card.quote("privacy_audit", "attacks", n), form=ATTACK)


def software(legs: Sequence[LegRecord]) -> Iterator[Fact]:
    """What each leg was made with."""
    for leg in legs:
        made = [leg.claim("code", name) for name in ("relay", "torch")]
        yield said(f"{leg.name}: made with", *made, form="relay {}, torch {}")


def gaps(by: str = SPONSOR, **hints: str) -> list[Fact]:
    """Questions; an underscore in a name is a space."""
    return asked(by, {what.replace("_", " "): hint for what, hint in hints.items()})
