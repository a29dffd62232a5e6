"""The page of an audit: self-contained, for the site itself, since it names patients. Every text in it is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from relay.bundle import audits
from relay.files import write_text
from relay.numbers import MISSING, number
from relay.privacy.auditing import Audit
from relay.privacy.drawing import pictures
from relay.privacy.memory_tables import MEMORIES, memory_tables
from relay.report import Section, Table, render, styled

REDUCES = (
    "Fewer epochs, or early stopping (early_stopping): what a model has learned by heart is what tells of patients.",
    "More patients, and stronger augmentation.",
    "No expert (experts: none in the policy): it is fitted to this site alone, and tells more than the generalist.",
    "A memory of aggregates (style), with epsilon, instead of a generator (flow).",
    "Training with differential privacy: the only one of these that is a guarantee.",
)


def write_page(audit: Audit, folder: Path, title: str, limit: float = audits.LIMIT) -> Path:
    """Write ``audit.html`` into a folder; returns its path.

    Args:
        title: what was audited.
        limit: the policy's ``audit_limit``.
    """
    with styled():
        page = render(
            Path(__file__).with_name("audit.html"),
            title=title,
            sentence=_sentence(audit, limit),
            sections=list(_sections(audit, limit)),
            cases=False,
            alerts=["This page names patients. It must not leave this site."],
        )
    path = folder / "audit.html"
    write_text(path, page)
    return path


def _sentence(audit: Audit, limit: float) -> str:
    card, best = audit.record.card, audit.record.card.strongest
    verdict = {"passed": "Passed.", "leaks": "It tells of patients.", "too few patients": "Too few patients."}
    if best is None:
        return verdict[card.verdict(limit)]
    return (
        f"{verdict[card.verdict(limit)]} Given a patient who was trained on and one who was not, an attacker who holds "
        f"this bundle and both patients' images would pick the right one {100 * best.auc:.0f} times in 100; a coin is "
        f"right 50 times."
    )


def _sections(audit: Audit, limit: float) -> Iterator[Section]:
    card = audit.record.card
    said = [f"{label}: {text}" if label else text for label, text in audits.lines(card, limit)]
    said = [f"{one[:1].upper()}{one[1:]}." for one in said]
    yield Section("found", "What was found", [*said, *audit.notes], pictures(audit))
    yield Section("attacks", "Every attack", _explained(audit), tables=[_attacks(audit)])
    if card.copies:
        yield Section("copies", "Copies of single patients", [COPIES], tables=[_copies(audit)])
    if tables := list(memory_tables(audit.memories)):
        yield Section("memories", "What memories hold", MEMORIES, tables=tables)
    yield Section("exposed", "The most exposed patients", [EXPOSED], tables=[_exposed(audit)])
    yield Section("less", "What reduces it", REDUCES)
    yield Section("words", "Words", words=WORDS)


COPIES = (
    "For each memory, how near the nearest patient who was trained on is to what it holds, in units of the median "
    f"distance of patients whom it has never seen. Below {audits.NEAR:g} with a p-value below {audits.LEVEL:g} it "
    "counts as a copy."
)
EXPOSED = (
    "Patients whom the strongest attack is surest of. They are the ones to look at: rare images, wrong masks, or "
    "images that occur twice. If no attack does better than a coin, this order is chance."
)
WORDS = (
    ("member, other", "a patient who was trained on; a patient of the same site who was not"),
    ("AUC", "how often an attack ranks a member above another patient; a coin: 0.5"),
    ("right", "share of patients sorted right, both groups counting alike; a coin: 0.5"),
    ("TPR at 1 %", "share of members found if one in a hundred others may be called a member by mistake"),
    ("p", "how often a harmless bundle would do as well, after counting every attack (Westfall and Young)"),
    ("LiRA, RMIA", "the strongest known attacks: they compare with shadow models, trained at the site for this"),
)


def _explained(audit: Audit) -> list[str]:
    card = audit.record.card
    return [
        f"{card.members} patients were trained on, {card.others} were not. With so many, an attack that picks right "
        f"{100 * card.detectable:.0f} times in 100 would show in nine audits out of ten; weaker ones may go unseen.",
        f"{card.shadows} shadow models were trained, with {card.strength:.0%} of the steps."
        if card.shadows
        else "No shadow models were trained.",
        "No audit proves that there is no better attack.",
    ]


def _attacks(audit: Audit) -> Table:
    card = audit.record.card
    rows = [
        [
            audits.PARTS[one.part],
            one.name,
            number(one.auc, 2),
            f"{number(one.low, 2)} to {number(one.high, 2)}",
            number(one.p, 4),
            number(one.right, 2),
            number(one.tpr_1, 2),
            number(one.tpr_01),
        ]
        for one in sorted(card.attacks, key=lambda one: (one.p, -one.auc))
    ]
    columns = ["part", "attack", "AUC", "95 % interval", "p", "right", "TPR at 1 %", "TPR at 0.1 %"]
    notes = []
    if card.others < 100:
        notes.append(f"{MISSING}: not measurable with {card.others} others: 1 % of them is less than one patient.")
    elif card.others < 1000:
        notes.append(f"{MISSING}: not measurable with {card.others} others: 0.1 % of them is less than one patient.")
    return Table("Attacks, the surest first", columns, rows, heads=2, notes=notes)


def _copies(audit: Audit) -> Table:
    rows = [[audits.PARTS[c.part], c.by, number(c.nearest), number(c.p, 4)] for c in audit.record.card.copies]
    return Table("Nearest patient who was trained on", ["memory", "measured by", "nearest", "p"], rows, heads=2)


def _exposed(audit: Audit) -> Table:
    rows = [[name, f"{share:.0%}"] for name, share in audit.exposed()]
    return Table("Only for this site", ["patient", "others who score lower"], rows)
