"""A cover sheet for an ethics board.

What it asks follows the Declaration of Helsinki of 2024 (22, protocols; 23, ethics committees; 24, privacy; 32, stored
data), and Articles 6, 9, 35 and 89 of the GDPR.
"""

from __future__ import annotations

from relay.dossier import common
from relay.dossier.quoting import said
from relay.dossier.study import LegRecord, StudyRecord
from relay.papers import Fact, Page, Part

INVESTIGATOR = "the principal investigator"
DRAFT = (
    "Draft for the ethics board. relay filled in what the signed record of the study says; a person must complete it."
)


def ethics_sheet(record: StudyRecord) -> Page:
    """The sheet."""
    return Page(
        "ethics-cover-sheet",
        f"Cover sheet for the ethics board: {record.study}",
        DRAFT,
        [
            Part(
                "1. The study",
                "",
                [
                    *common.identity(record),
                    *common.gaps(
                        by=INVESTIGATOR,
                        Protocol="number, version, date",
                        Investigator="name, institution, contact",
                        Question="and why it can only be answered with these data",
                        Funding_and_conflicts="of interest",
                    ),
                ],
            ),
            Part(
                "2. Patients and data",
                "Declaration of Helsinki, 22. Counts are as their sites disclose them.",
                _patients(record),
            ),
            Part(
                "3. Consent and legal basis",
                "GDPR, Articles 6, 9 (2) (j) and 89; Declaration of Helsinki, 25 to 32.",
                common.gaps(
                    by=INVESTIGATOR,
                    Consent="or the waiver, and by whom it was granted",
                    Information_for_patients="and how they can withdraw",
                    Vulnerable_groups="whether they take part, and how they are protected",
                ),
            ),
            Part(
                "4. What leaves the hospital",
                "Weights, memories, counts, scores and settings, in a signed file; no image.",
                _leaves(record),
            ),
            Part(
                "5. What it tells about a patient",
                "Weights can tell whether a patient was trained on; an audit measures that.",
                [
                    *common.privacy(record.legs),
                    *common.gaps(by="the data protection officer", Opinion="GDPR, Article 35"),
                ],
            ),
            Part(
                "6. Benefit, risk, results",
                "",
                common.gaps(
                    by=INVESTIGATOR,
                    Benefit="for patients, and for others",
                    Risks_and_burdens="and how they are kept small",
                    Incidental_findings="what happens with them",
                    Publication="of the results, whatever they are",
                ),
            ),
            Part(
                "7. Decision", "", common.gaps(by="the ethics board", Decision="and conditions", Signature="and date")
            ),
        ],
    )


def _patients(record: StudyRecord) -> list[Fact]:
    return [
        *common.data(record.legs),
        *common.gaps(
            by=INVESTIGATOR,
            Who="inclusion, exclusion, period, retrospective or not",
            Pseudonyms="who holds the key to names",
            How_long_images_are_kept="and who has access",
        ),
    ]


def _leaves(record: StudyRecord) -> list[Fact]:
    return [
        record.policy("Bundles must be sealed to their recipients", "sealed"),
        said("Who else can open every bundle", record.plan("readers"), by="the coordinator"),
        record.policy("Memories that may travel beside the model", "memory"),
        record.policy("Models fitted to one hospital may travel", "experts"),
        record.policy("Who may give the final model to a hospital outside the study", "share", "nobody"),
        record.policy("Counts that a site discloses", "sample_counts"),
        record.policy("Approval by a person before a leg leaves", "approval"),
        *(
            said(
                f"{leg.name}: weights",
                *(leg.claim("handover", part, "bytes") for part in ("model", "memory", "expert") if _has(leg, part)),
                form=" + ".join(part + " {} bytes" for part in ("model", "memory", "expert") if _has(leg, part)),
            )
            for leg in record.legs
        ),
    ]


def _has(leg: LegRecord, part: str) -> bool:
    found = leg.claim("handover", part)
    return found is not None and found.value is not None
