"""Rows that several papers have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from relay.bundle import documents, manifest, meanings
from relay.dossier.paper import ask, claim, model, plan
from relay.dossier.quoting import Document, Quote, said
from relay.dossier.study import LegRecord, StudyRecord
from relay.papers import Fact, Source

NONE = "none stated"
RANGES = "; a number in brackets is what the one before it can stand for"
RAISED = (
    "; both documents are signed, and this narrower range holds: the statement rounds the number, while the data card, "
    "above, also hides how small a small group is"
)
FEW = (
    "A score over few patients tells much about each of them; over one, it is that patient's result. The score of a "
    "class leaves out images on which it could not be measured."
)
SCORE = "{metric} of {label} on the test images of {site}: {mean}"
MEASURED = "{{}}, measured on {{}}{} images of {{}}{} patients; counts are {{}}"
ELSEWHERE = "{}, measured on images of another site; how many is not in the record"
ARRIVED = "the {{model}} that arrived, before this leg: {{mean}}, measured on {{images}}{} images; counts are {{1}}"
GUARANTEE = "ε = {}, δ = {} for each {}; noise is secret: {}"
OPEN_NOISE = "none: a test with noise that anyone can subtract, as if ε = {}, δ = {} for each {}; noise is secret: {}"
KEPT = "{{1}}, derived from {{derived}}; fewest patients behind a number: {}; epsilon: {{epsilon}}{}"
EXPERT = (
    "the weights of the model that is best at {site}, which only its images taught last: they tell more about its "
    "patients than the model for everybody; {{}} bytes, in bundles or copies for {names}; each can keep what it "
    "received, even after a withdrawal"
)
AUDIT = (
    "{{members}}{} patients trained on, {{others}}{} not; counts are {{1}}; {{shadows}} shadow models; enough patients "
    "to measure: {{measurable}}; smallest p = {{p}}"
)
ATTACK = "{name} on the {part}: AUC {auc} (interval {low} to {high}), p = {p}"
COPY = "copies in the {part}, by {by}: the nearest patient is at {nearest} of the usual distance, p = {p}"
STRATEGY = claim("Strategy", "strategy")
NET = model("Net", "model", "name")
READERS = plan("Readers, who may open every bundle", "readers")
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


def openers(record: StudyRecord) -> Iterator[Fact]:
    """Who can open the bundle of each leg, as its site signed."""
    yield from READERS(record)
    yield from _withdrawn(record)
    for leg in record.legs:
        recipients = range(len(leg.statement.content["predicate"]["recipients"]))
        to = said(f"{leg.name}: its bundle is for", *(leg.claim("recipients", n, "name") for n in recipients))
        sealed, source = _sealed(record.under(leg))
        yield replace(to, said=f"{to.said}; {sealed}", sources=[*to.sources, *source])


def _sealed(roster: Document | None) -> tuple[str, list[Source]]:
    """Whether bundles made under a roster are sealed, and where it says so."""
    if roster is None:
        return "whether it was sealed is not in this record", []
    quote = roster.quote("policy", "sealed")
    if quote is None:
        return "sealed: yes, which is the default", [roster.without("policy", "sealed")]
    return "sealed: yes" if quote.value else "sealed: no, so anybody who has the file can read it", [quote.source]


def _withdrawn(record: StudyRecord) -> Iterator[Fact]:
    """The legs whose experts no longer travel, if there are any."""
    if found := record.plan("withdrawn_experts"):
        yield said("Legs whose experts no longer travel", found)


def given(record: StudyRecord) -> Iterator[Fact]:
    """The copies that this site gave to hospitals outside the study."""
    for n, line in enumerate(record.ledger.content if record.ledger else ()):
        if record.ledger and line["event"] == "shared":
            facts = line["facts"]
            left_out = meanings.in_short(facts.get("left_out", ())) or "nothing"
            form = f"{line['time']}, sealed for {facts['reader']}, outside the study; left out: {left_out}"
            yield said(f"Copy of leg {facts['leg']}, given by this site", record.ledger.quote(n), form=form)
    if any((roster.content.get("policy") or {}).get("share") == "sites" for roster in record.rosters):
        yield Fact("Copies that other sites gave", None, by="each site", hint="its own ledger has them: relay ledger")


def data(record: StudyRecord) -> Iterator[Fact]:
    """What each leg learned from, and was tested on."""
    for leg in record.legs:
        for kind in ("images", "patients"):
            counts = [leg.card.quote(kind, split) for split in ("train", "val", "test")]
            ranges = [_range(leg, count) for count in counts]
            form = "{{}}{} to train, {{}}{} to validate, {{}}{} to test; counts are {{}}".format(*ranges)
            form += RANGES if any(ranges) else ""
            yield said(f"{leg.name}: {kind}", *counts, leg.card.quote("counts"), form=form)
        samples, trained = leg.claim("samples"), leg.card.quote("images", "train")
        form = f"{{}}{_range(leg, samples, group=False)}; counts are {{}}"
        if trained and trained.value == documents.SMALLEST and _range(leg, trained):
            form += RAISED
        yield said(f"{leg.name}: training images, in the statement", samples, leg.card.quote("counts"), form=form)


def _range(leg: LegRecord, count: Quote | None, group: bool = True) -> str:
    """The range that a count of a leg can stand for, in brackets; empty if it is one number."""
    counts = leg.card.quote("counts")
    if count is None or counts is None:
        return ""
    return documents.in_brackets(count.value, counts.value, group)


def scores(record: StudyRecord) -> Iterator[Fact]:
    """What each leg's site measured, and signed."""
    for leg in record.legs:
        for site in leg.statement.content["predicate"]["result"]:
            yield _score(leg, site)
        for n, _ in enumerate(leg.results.content["rows"]):
            yield said(leg.name, leg.results.quote("rows", n), form=SCORE)


def _score(leg: LegRecord, site: str) -> Fact:
    """A leg's score on a test set, and on how many patients it was measured."""
    what, score = f"{leg.name}: score on {site}", leg.claim("result", site)
    value = None if score is None else score.value
    if value is None or (isinstance(value, Mapping) and set(value.values()) <= {None}):
        return said(what, score)
    if site != leg.site:
        return said(what, score, form=ELSEWHERE)
    many = [leg.card.quote(kind, "test") for kind in ("images", "patients")]
    form = MEASURED.format(*(_range(leg, count) for count in many))
    return said(what, score, *many, leg.card.quote("counts"), form=form)


def arrived(record: StudyRecord) -> Iterator[Fact]:
    """What the model before a leg could do at its site."""
    for leg in record.legs:
        for n, _ in enumerate(leg.results.content["zero_shot"]):
            form = ARRIVED.format(_range(leg, leg.results.quote("zero_shot", n, "images")))
            yield said(leg.name, leg.results.quote("zero_shot", n), leg.card.quote("counts"), form=form)


def experts(record: StudyRecord) -> Iterator[Fact]:
    """The experts that travelled: what one is, and who has it."""
    for leg in record.legs:
        carried = [later for later in record.legs if _expert_of(leg, later.number) in later.entries]
        if not carried:
            continue
        held = {str(quote.value): quote for later in carried for quote in _recipients(later)}
        copies = _copies(record, leg, [later.number for later in carried])
        names = ", ".join(dict.fromkeys([*held, *(str(quote.value["facts"]["reader"]) for quote in copies)]))
        size = leg.claim("handover", "expert", "bytes")
        form = EXPERT.format(site=leg.site, names=names)
        yield said(f"{leg.name}: expert that travelled", size, *held.values(), *copies, form=form)


def _expert_of(leg: LegRecord, carrier: int) -> str:
    """What a leg's expert is called in the bundle of a leg."""
    return manifest.EXPERT if carrier == leg.number else manifest.earlier(leg.number, manifest.EXPERT)


def _recipients(leg: LegRecord) -> list[Quote]:
    count = len(leg.statement.content["predicate"]["recipients"])
    return [quote for n in range(count) if (quote := leg.claim("recipients", n, "name"))]


def _copies(record: StudyRecord, leg: LegRecord, carried: Collection[int]) -> list[Quote]:
    """The events in which this site gave a leg's expert to a hospital outside the study."""
    found = []
    for n, line in enumerate(record.ledger.content if record.ledger else ()):
        if line["event"] == "shared" and line["facts"]["leg"] in carried:
            out = line["facts"].get("left_out", ())
            quote = record.ledger.quote(n) if record.ledger else None
            if quote and _expert_of(leg, line["facts"]["leg"]) not in out:
                found.append(quote)
    return found


def privacy(record: StudyRecord) -> Iterator[Fact]:
    """What is known about what each leg tells about its patients."""
    for leg in record.legs:
        yield _guarantee(leg)
        yield from _audit(leg)
        for name, card in leg.memories.items():
            kept = [card.quote("privacy"), card.quote("kind")]
            if card.content["privacy"]["patients"]:
                kept.append(leg.card.quote("counts"))
                behind = _range(leg, card.quote("privacy", "patients"), group=False)
                form = KEPT.format(f"{{patients}}{behind}", "; counts are {2}")
            else:
                form = KEPT.format("not counted", "")
            yield said(f"{leg.name}: {name}", *kept, form=form, none=NONE)
    yield from experts(record)


def _guarantee(leg: LegRecord) -> Fact:
    what, keys = f"{leg.name}: differential privacy", ("epsilon", "delta", "unit", "private")
    if leg.card.quote("privacy") is None:
        return Fact(what, NONE, [leg.card.without("privacy")])
    form = GUARANTEE if leg.card.content["privacy"]["private"] else OPEN_NOISE
    return said(what, *(leg.card.quote("privacy", key) for key in keys), form=form)


def _audit(leg: LegRecord) -> Iterator[Fact]:
    what = f"{leg.name}: privacy audit"
    if leg.card.quote("privacy_audit") is None:
        yield Fact(what, NONE, [leg.card.without("privacy_audit")])
        return
    form = AUDIT.format(*(_range(leg, leg.card.quote("privacy_audit", key)) for key in ("members", "others")))
    yield said(what, leg.card.quote("privacy_audit"), leg.card.quote("counts"), form=form)
    for n, _ in enumerate(leg.card.content["privacy_audit"]["attacks"]):
        yield said(what, leg.card.quote("privacy_audit", "attacks", n), form=ATTACK)
    for n, _ in enumerate(leg.card.content["privacy_audit"].get("copies", ())):
        yield said(what, leg.card.quote("privacy_audit", "copies", n), form=COPY)


def software(record: StudyRecord) -> Iterator[Fact]:
    """What each leg was made with."""
    for leg in record.legs:
        made = [leg.claim("code", name) for name in ("relay", "torch")]
        yield said(f"{leg.name}: made with", *made, form="relay {}, torch {}")
