"""Rows that several papers have."""

from __future__ import annotations

from collections.abc import Iterator

from relay.dossier.paper import ask, claim, model, plan
from relay.dossier.quoting import said
from relay.dossier.study import LegRecord, StudyRecord
from relay.papers import Fact

NONE = "none stated"
COUNTS = "{} to train, {} to validate, {} to test; counts are {}"
SCORE = "{metric} of {label} on the test images of {site}: {mean}"
ARRIVED = "the {model} that arrived, before any training here: {mean}, on {images} images; counts are {1}"
GUARANTEE = "ε = {}, δ = {} for each {}; noise is secret: {}"
KEPT = "{1}, derived from {derived}; fewest patients behind a number: {patients}; epsilon: {epsilon}; counts are {2}"
UNCOUNTED = "{1}, derived from {derived}; patients not counted; epsilon: {epsilon}; counts are {2}"
AUDIT = (
    "{members} patients trained on, {others} not; counts are {1}; {shadows} shadow models; enough patients to measure: "
    "{measurable}; smallest p = {p}"
)
ATTACK = "{name} on the {part}: AUC {auc} (interval {low} to {high}), p = {p}"
STRATEGY = claim("Strategy", "strategy")
NET = model("Net", "model", "name")
READERS = plan("Who else can open every bundle", "readers")
REVOKED = plan("Revoked keys", "revoked")
_NO_LEG = ask("Newest leg in the record", "none was received or signed here yet", by="the site")


def identity(record: StudyRecord) -> Iterator[Fact]:
    """Which study, at which site, up to which leg."""
    yield from plan("Study", "study")(record)
    yield said("Written at", record.identity.quote("name"))
    yield said("Coordinator", record.coordinator.quote("name"))
    yield from plan("Sites, in the order of their legs", "order")(record)
    for leg in record.legs[-1:]:
        yield said("Newest leg in the record", leg.claim("leg"), leg.claim("site"))
    if not record.legs:
        yield from _NO_LEG(record)


def about_model(record: StudyRecord) -> Iterator[Fact]:
    """The net, and what it reads and predicts."""
    for row in (
        NET,
        model("Options of the net", "model", "kwargs"),
        model("Task", "data", "task"),
        model("Predicts", "data", "classes"),
        model("Channels of an image", "data", "channels"),
        model("Intensities are scaled to", "data", "intensity_range"),
        model("Steps before the net", "data", "steps", none="none beyond the scaling"),
        model("Volumes are read as slices", "data", "slices", none="no"),
    ):
        yield from row(record)
    for leg in record.legs[-1:]:
        size = [leg.claim("handover", "model", key) for key in ("tensors", "bytes")]
        yield said("Weights", *size, form="{} tensors, {} bytes")


def data(record: StudyRecord) -> Iterator[Fact]:
    """What each leg learned from, and was tested on."""
    for leg in record.legs:
        for kind in ("images", "patients"):
            counts = [leg.card.quote(kind, split) for split in ("train", "val", "test")]
            yield said(f"{leg.name}: {kind}", *counts, leg.card.quote("counts"), form=COUNTS)


def scores(record: StudyRecord) -> Iterator[Fact]:
    """What each leg's site measured, and signed."""
    for leg in record.legs:
        for site in leg.statement.content["predicate"]["result"]:
            yield said(f"{leg.name}: score on {site}", leg.claim("result", site))
        for n, _ in enumerate(leg.results.content["rows"]):
            yield said(leg.name, leg.results.quote("rows", n), form=SCORE)


def arrived(record: StudyRecord) -> Iterator[Fact]:
    """What the model before a leg could do at its site."""
    for leg in record.legs:
        for n, _ in enumerate(leg.results.content["zero_shot"]):
            yield said(leg.name, leg.results.quote("zero_shot", n), leg.card.quote("counts"), form=ARRIVED)


def privacy(record: StudyRecord) -> Iterator[Fact]:
    """What is known about what each leg tells about its patients."""
    for leg in record.legs:
        yield _guarantee(leg)
        yield from _audit(leg)
        for name, card in leg.memories.items():
            kept = [card.quote("privacy"), card.quote("kind"), leg.card.quote("counts")]
            form = KEPT if card.content["privacy"]["patients"] else UNCOUNTED
            yield said(f"{leg.name}: {name}", *kept, form=form, none=NONE)


def _guarantee(leg: LegRecord) -> Fact:
    what, keys = f"{leg.name}: differential privacy", ("epsilon", "delta", "unit", "private")
    if leg.card.quote("privacy") is None:
        return Fact(what, NONE, [leg.card.without("privacy")])
    return said(what, *(leg.card.quote("privacy", key) for key in keys), form=GUARANTEE)


def _audit(leg: LegRecord) -> Iterator[Fact]:
    what = f"{leg.name}: privacy audit"
    if leg.card.quote("privacy_audit") is None:
        yield Fact(what, NONE, [leg.card.without("privacy_audit")])
        return
    yield said(what, leg.card.quote("privacy_audit"), leg.card.quote("counts"), form=AUDIT)
    for n, _ in enumerate(leg.card.content["privacy_audit"]["attacks"]):
        yield said(what, leg.card.quote("privacy_audit", "attacks", n), form=ATTACK)


def software(record: StudyRecord) -> Iterator[Fact]:
    """What each leg was made with."""
    for leg in record.legs:
        made = [leg.claim("code", name) for name in ("relay", "torch")]
        yield said(f"{leg.name}: made with", *made, form="relay {}, torch {}")
