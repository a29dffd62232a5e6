"""The model card, with the sections of Mitchell et al. 2019, *Model cards for model reporting* (arXiv 1810.03993)."""

from __future__ import annotations

from collections.abc import Iterator

from relay.dossier import common
from relay.dossier.quoting import said
from relay.dossier.study import StudyRecord
from relay.papers import Fact, Page, Part

RESULTS = (
    "Each score was measured and signed by the site that made the leg; no one else saw its images. Where no metric "
    "is named, the score is the mean Dice over the classes but the background."
)
DRAFT = "Draft of a model card. relay filled in what the record of the study says; people must complete it."


def model_card(record: StudyRecord) -> Page:
    """The card of the newest leg's model."""
    legs, gaps = record.legs, common.gaps
    return Page(
        "model-card",
        f"Model card: {record.study}",
        DRAFT,
        [
            Part(
                "1. Model details",
                "",
                [
                    *common.identity(record),
                    *common.model(record),
                    *_made(record),
                    *gaps(Licence="of the weights", Contact="for questions and faults"),
                ],
            ),
            Part(
                "2. Intended use",
                "relay can't know what the model is for.",
                gaps(
                    Intended_use="which decision, of whom, on which patients",
                    Intended_users="their profession and training",
                    Uses_out_of_scope="what it must not be used for",
                ),
            ),
            Part(
                "3. Factors",
                "Scores of groups of patients stay at the site: relay subgroups measures them.",
                gaps(
                    Groups_of_patients="sex, age, severity: which were compared, and what came of it",
                    Scanners_and_protocols="of each site",
                ),
            ),
            Part(
                "4. Metrics",
                "Part 7 names the metrics. Signed results are means; intervals stay at the sites.",
                gaps(Why_these_metrics="and what a clinically relevant difference is", Intervals="of each score"),
            ),
            Part("5. Training and evaluation data", "Counts are as their sites disclose them.", _data(record)),
            Part(
                "6. Results before training",
                "How the model that arrived did before it saw an image of the site, by the score of part 7.",
                list(common.arrived(legs)) or gaps(Results="none in the record"),
            ),
            Part(
                "7. Results",
                RESULTS,
                list(common.scores(legs)) or gaps(Results="none in the record"),
            ),
            Part(
                "8. Ethical considerations",
                "",
                [*common.privacy(legs), *gaps(Consent="or the legal basis, at each site", Harms="to whom, how likely")],
            ),
            Part(
                "9. Caveats and recommendations",
                "A signature says who claims a score, not that the score is true.",
                gaps(Known_failures="and what to do then", Validation_elsewhere="at sites that were not trained on"),
            ),
        ],
    )


def _made(record: StudyRecord) -> Iterator[Fact]:
    if newest := record.newest:
        yield said("Strategy", newest.claim("strategy"))
        yield said("Made on", newest.claim("issued"))
        yield from common.software([newest])


def _data(record: StudyRecord) -> list[Fact]:
    there = list(common.data(record.legs)) or common.gaps(Data="no leg is in the record")
    return [*there, *common.gaps(by="each site", Population="who the patients are, when they were imaged, and how")]
