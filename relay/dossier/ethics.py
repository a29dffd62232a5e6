"""A cover sheet for an ethics board.

What it asks follows the Declaration of Helsinki of 2024 (22, protocols; 23, ethics committees; 24, privacy; 32, stored
data), and Articles 6, 9, 35 and 89 of the GDPR.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.bundle import meanings
from relay.dossier.paper import Paper, ask, rule
from relay.dossier.quoting import said
from relay.dossier.rows import data, given, identity, openers, privacy
from relay.dossier.study import StudyRecord
from relay.papers import Fact

BOARD = "the ethics board"
PARTS = {"model": "model", "memory": "memory", "cumulative": "memory of all legs", "expert": "expert"}


def _sizes(record: StudyRecord) -> Iterator[Fact]:
    """What each leg's bundle holds: every file, and how large its own weights are."""
    for leg in record.legs:
        yield said(f"{leg.name}: files of its bundle", leg.manifest.quote(), form=meanings.in_short(leg.entries))
        there = {key: name for key, name in PARTS.items() if leg.statement.content["predicate"]["handover"].get(key)}
        form = " + ".join(f"{name} {{}} bytes" for name in there.values())
        yield said(f"{leg.name}: its own weights", *(leg.claim("handover", key, "bytes") for key in there), form=form)


ETHICS_SHEET = Paper(
    "ethics-cover-sheet",
    "Cover sheet for the ethics board",
    "Draft for the ethics board. relay filled in what the signed record of the study says; a person must complete it.",
    "the principal investigator",
    [
        (
            "1. The study",
            "",
            [
                identity,
                ask("Protocol", "number, version, date"),
                ask("Investigator", "name, institution, contact"),
                ask("Question", "what is asked, and why only these data can answer it"),
                ask("Funding", "who pays, and conflicts of interest"),
            ],
        ),
        (
            "2. Patients and data",
            "Declaration of Helsinki, 22. Counts are as their sites disclose them; each site knows its exact ones.",
            [
                data,
                ask("Who", "inclusion, exclusion, period, retrospective or not"),
                ask("Pseudonyms", "who holds the key to names"),
                ask("How long images are kept", "the period, and who has access"),
            ],
        ),
        (
            "3. Consent and legal basis",
            "GDPR, Articles 6, 9 (2) (j) and 89; Declaration of Helsinki, 25 to 32.",
            [
                ask("Legal basis", "GDPR, Articles 6 and 9"),
                ask("Consent", "the form, or the waiver and who granted it"),
                ask("Information for patients", "what they are told, and how they can withdraw"),
                ask("Vulnerable groups", "whether they take part, and how they are protected"),
            ],
        ),
        (
            "4. What leaves the hospital",
            "In a signed file: weights, memories, counts, scores and settings, and those that earlier legs handed on. "
            "Its documents have no place for an image or a patient's name. A memory that is a generator draws images "
            "like those of the patients.",
            [
                rule("sealed"),
                openers,
                rule("memory"),
                rule("experts"),
                rule("share"),
                rule("sample_counts"),
                rule("approval"),
                _sizes,
                given,
            ],
        ),
        (
            "5. What it tells about a patient",
            "Weights can reveal whether a patient's images were used in training; an audit measures how well.",
            [privacy, ask("Opinion", "GDPR, Article 35", by="the data protection officer")],
        ),
        (
            "6. Benefit, risk, results",
            "",
            [
                ask("Benefit", "for patients, and for others"),
                ask("Risks and burdens", "what they are, and how they are kept small"),
                ask("Incidental findings", "what happens with them"),
                ask("Publication", "where, whatever the results are"),
            ],
        ),
        (
            "7. Decision",
            "",
            [ask("Decision", "the decision and its conditions", by=BOARD), ask("Signature", "name and date", by=BOARD)],
        ),
    ],
)
