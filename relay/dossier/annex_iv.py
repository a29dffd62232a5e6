"""Technical documentation as in Annex IV of Regulation (EU) 2024/1689 (the AI Act), point by point (its Article 11)."""

from __future__ import annotations

from relay.dossier import common
from relay.dossier.quoting import said
from relay.dossier.study import StudyRecord
from relay.papers import Fact, Page, Part

PROVIDER = "the provider"
DRAFT = (
    "Draft of the technical documentation of Article 11 and Annex IV of Regulation (EU) 2024/1689. relay filled in "
    "what the signed record of the study says; the provider must complete it, and decide whether it applies."
)


def annex_iv(record: StudyRecord) -> Page:
    """The documentation."""
    legs = record.legs
    return Page(
        "technical-documentation",
        f"Technical documentation: {record.study}",
        DRAFT,
        [
            Part("1. General description", "Annex IV, point 1.", _general(record)),
            Part("2a–c. Development, design, architecture", "Annex IV, point 2 (a) to (c).", _design(record)),
            Part("2d. Data", "Annex IV, point 2 (d), and Article 10.", _data(record)),
            Part("2e. Human oversight", "Annex IV, point 2 (e), and Article 14.", _oversight(record)),
            Part("2f. Pre-determined changes", "Annex IV, point 2 (f). In full in the change control plan.", _plan()),
            Part(
                "2g. Validation and testing",
                "Annex IV, point 2 (g). Each score was measured and signed by the site that made the leg.",
                [*common.arrived(legs), *common.scores(legs), *_tests()],
            ),
            Part("2h. Cybersecurity", "Annex IV, point 2 (h), and Article 15.", _security(record)),
            Part(
                "3. Monitoring, functioning and control",
                "Annex IV, point 3. The log is a paper of its own.",
                _control(),
            ),
            Part(
                "4. Performance metrics",
                "Annex IV, point 4.",
                common.gaps(by=PROVIDER, Appropriateness="why these metrics fit this system"),
            ),
            Part(
                "5. Risk management",
                "Annex IV, point 5, and Article 9.",
                [
                    *common.privacy(legs),
                    *common.gaps(by=PROVIDER, Risk_management_system="ISO 14971 file, residual risks"),
                ],
            ),
            Part("6. Changes through the lifecycle", "Annex IV, point 6.", _changes(record)),
            Part(
                "7–9. Standards, declaration, monitoring after the market",
                "Annex IV, points 7 to 9; Articles 40, 47 and 72.",
                common.gaps(
                    by=PROVIDER,
                    Harmonised_standards="applied in full or in part, or other solutions",
                    EU_declaration_of_conformity="a copy",
                    Post_market_monitoring_plan="as in Article 72 (3)",
                ),
            ),
        ],
    )


def _general(record: StudyRecord) -> list[Fact]:
    return [
        *common.identity(record),
        *common.software(record.legs[-1:]),
        *common.gaps(
            by=PROVIDER,
            Provider="name and address",
            Intended_purpose="point 1 (a)",
            Other_hardware_and_software="that it works with: point 1 (b)",
            Forms_on_the_market="point 1 (d)",
            Hardware="that it is intended to run on: point 1 (e)",
            User_interface_and_instructions="points 1 (g) and (h)",
        ),
    ]


def _design(record: StudyRecord) -> list[Fact]:
    newest = record.newest
    return [
        *([said("Strategy", newest.claim("strategy"))] if newest else []),
        *common.model(record),
        *record.settings("train.", "strategy.", "model."),
        *common.gaps(
            by=PROVIDER,
            Choices_and_reasons="why this net, this strategy, these settings",
            What_it_optimises_for="and the trade-offs made",
            Pre_trained_parts="whether there are any, and where they are from",
            Computational_resources="used to train, test and validate",
        ),
    ]


def _data(record: StudyRecord) -> list[Fact]:
    return [
        *common.data(record.legs),
        *record.settings("data.", "dataset."),
        *common.gaps(
            by=PROVIDER,
            Provenance="of the images of each site, their scope and characteristics",
            Labelling="by whom, and how it was checked",
            Cleaning="outliers and images that were left out",
            Biases="examined, and what was done about them",
        ),
    ]


def _oversight(record: StudyRecord) -> list[Fact]:
    return [
        record.policy("Approval by a person before a leg leaves", "approval"),
        *common.gaps(by=PROVIDER, In_use="who can overrule an output, and how they can tell that they should"),
    ]


def _plan() -> list[Fact]:
    return common.gaps(by=PROVIDER, Continuous_compliance="technical solutions that ensure it after each change")


def _tests() -> list[Fact]:
    return common.gaps(
        by=PROVIDER,
        Groups="accuracy for persons or groups that the system is intended for",
        Robustness="against faults and other scanners",
        Test_reports="dated and signed by those responsible",
    )


def _security(record: StudyRecord) -> list[Fact]:
    return [
        record.policy("Bundles must be sealed to their recipients", "sealed"),
        record.policy("Largest bundle, in bytes", "max_bundle_bytes"),
        record.policy("Memories that may travel", "memory"),
        record.policy("Experts may travel", "experts"),
        record.policy("Who may give the final model to a hospital outside the study", "share", "nobody"),
        record.policy("Largest epsilon of a leg's training", "max_training_epsilon"),
        record.policy("If a model that arrives fails the check", "gate.on_failure"),
        said("Revoked keys", record.plan("revoked")),
        *common.gaps(by=PROVIDER, Attacks_considered="data poisoning, model poisoning, evasion, extraction"),
    ]


def _control() -> list[Fact]:
    return common.gaps(
        by=PROVIDER,
        Capabilities_and_limits="degrees of accuracy overall, and for groups of persons",
        Foreseeable_unintended_outcomes="and sources of risk to health, safety and fundamental rights",
        Input_data="what an image must be like",
    )


def _changes(record: StudyRecord) -> list[Fact]:
    made = (
        said(leg.name, leg.claim("issued"), leg.claim("config"), form="made on {}; its settings have the digest {}")
        for leg in record.legs
    )
    return list(made) or common.gaps(Changes="no leg is in the record")
