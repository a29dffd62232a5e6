"""Software description and SOUP list, by clause of IEC 62304:2006 with amendment 1:2015."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from relay.dossier import soup
from relay.dossier.paper import Paper, ask, claim, first
from relay.dossier.quoting import said
from relay.dossier.rows import NET, identity, software
from relay.dossier.study import StudyRecord
from relay.papers import Fact


def _manifest(record: StudyRecord) -> Iterator[Fact]:
    for leg in record.legs[-1:]:
        yield said("Digest of the manifest of its files", leg.statement.quote("subject", 0, "digest", "sha256"))


def software_list(lock: Path | None) -> Paper:
    """The description and the list.

    Args:
        lock: a file of pinned versions; None for none.

    Raises:
        UserError: the lock is not one.
    """
    listed = list(soup.listed(lock))
    return Paper(
        "software",
        "Software description and SOUP list",
        "Draft of a software description and SOUP list. relay filled in what the signed record, the lock and the "
        "installed packages of this computer say; the manufacturer must complete it. Check each clause number against "
        "your copy of IEC 62304: relay does not contain the standard.",
        "the manufacturer",
        [
            (
                "1. Software and version",
                "Clauses 5.8.4 and 8.1: what was released, and how it is identified.",
                [identity, lambda _: soup.ourselves(), software],
            ),
            (
                "2. Class and requirements",
                "Clauses 4.3, 5.1 and 5.2.",
                [
                    ask("Safety class", "A, B or C, and why"),
                    ask("Requirements", "what the software must do, with the controls of its risks"),
                    ask("Development plan", "clause 5.1"),
                ],
            ),
            (
                "3. Model as a configuration item",
                "Clause 8.1.1. Settings, weights and the statement before are identified by their SHA-256.",
                [
                    first(claim("Digest of the settings", "config"), ask("Model", "no leg is in the record")),
                    NET,
                    _manifest,
                    claim("Statement before it", "previous", none="none: it is the first leg"),
                ],
            ),
            (
                "4. Architecture",
                "Clause 5.3. relay's documentation describes how its code is organised.",
                [ask("Architecture", "software items, interfaces, segregation")],
            ),
            (
                "5. SOUP",
                "Clause 8.1.2: title, manufacturer, and a unique designator. Other sites may have other versions.",
                [lambda _: listed],
            ),
            (
                "6. What is required of SOUP",
                "Clauses 5.3.3, 5.3.4, 7.1.2 and 7.1.3.",
                [
                    ask("Functions and performance", "what is required of each item"),
                    ask(
                        "Hardware and software",
                        "what each item needs, with the versions of Python, driver and system in use",
                    ),
                    ask("Published anomalies", "evaluated for each item: list, version, date"),
                    ask("Failures that lead to harm", "failures of SOUP that could do harm, and their controls"),
                ],
            ),
            (
                "7. Verification, maintenance, problems",
                "Clauses 5.5 to 5.8, 6, 7 and 9.",
                [
                    ask("Tests", "records of unit, integration and system tests"),
                    ask("Known anomalies", "at release: clause 5.8.2"),
                    ask("Maintenance plan", "clause 6.1, with how new versions of SOUP are watched"),
                    ask("Problem resolution", "clause 9"),
                ],
            ),
        ],
    )
