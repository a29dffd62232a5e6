"""Software description and SOUP list, by clause of IEC 62304:2006 with amendment 1:2015."""

from __future__ import annotations

from pathlib import Path

from relay.dossier import common, soup
from relay.dossier.quoting import said
from relay.dossier.study import StudyRecord
from relay.papers import Fact, Page, Part

MAKER = soup.MAKER
DRAFT = (
    "Draft of a software description and SOUP list. relay filled in what the signed record, the lock and the installed "
    "packages of this computer say; the manufacturer must complete it."
)


def software(record: StudyRecord, lock: Path | None) -> Page:
    """The description and the list.

    Args:
        lock: a file of pinned versions; None for none.

    Raises:
        UserError: the lock is not one.
    """
    return Page(
        "software",
        f"Software description and SOUP list: {record.study}",
        DRAFT,
        [
            Part(
                "1. Software and version",
                "Clauses 5.8.4 and 8.1: what was released, and how it is identified.",
                [*common.identity(record), *soup.ourselves(), *common.software(record.legs)],
            ),
            Part(
                "2. Class and requirements",
                "Clauses 4.3 and 5.2.",
                common.gaps(
                    by=MAKER,
                    Safety_class="A, B or C, and why",
                    Requirements="of the software, with their risk controls",
                    Development_plan="clause 5.1",
                ),
            ),
            Part("3. Model as a configuration item", "Clause 8.1.1.", _model(record)),
            Part(
                "4. Architecture",
                "Clause 5.3; relay's documentation describes its parts (The house).",
                common.gaps(by=MAKER, Architecture="software items, interfaces, segregation"),
            ),
            Part(
                "5. SOUP",
                "Clause 8.1.2: title, manufacturer, and a unique designator. Other sites may have other versions.",
                list(soup.listed(lock)),
            ),
            Part(
                "6. SOUP: what is asked of it",
                "Clauses 5.3.3, 5.3.4, 7.1.2 and 7.1.3.",
                common.gaps(
                    by=MAKER,
                    Functions_and_performance="that are required of each item",
                    Hardware_and_software="that each item needs, with the versions of Python, driver and system in use",
                    Published_anomalies="evaluated for each item: list, version, date",
                    Failures_that_lead_to_harm="of SOUP, and their controls",
                ),
            ),
            Part(
                "7. Verification, maintenance, problems",
                "Clauses 5.5 to 5.7, 6, 7 and 9.",
                common.gaps(
                    by=MAKER,
                    Tests="records of unit, integration and system tests",
                    Known_anomalies="at release: clause 5.8.2",
                    Maintenance_plan="clause 6.1, with how new versions of SOUP are watched",
                    Problem_resolution="clause 9",
                ),
            ),
        ],
    )


def _model(record: StudyRecord) -> list[Fact]:
    made = record.newest
    if made is None:
        return common.gaps(Model="no leg is in the record")
    return [
        said("Net", record.model("model", "name")),
        said("Digest of the settings", made.claim("config")),
        said("Digest of the manifest of its files", made.statement.quote("subject", 0, "digest", "sha256")),
        said("Statement before it", made.claim("previous"), none="none: it is the first leg"),
    ]
