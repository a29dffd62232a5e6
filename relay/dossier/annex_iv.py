"""Technical documentation as in Annex IV of Regulation (EU) 2024/1689 (the AI Act), point by point (its Article 11)."""

from __future__ import annotations

from collections.abc import Iterator

from relay.dossier.paper import Paper, ask, first, rule, settings
from relay.dossier.quoting import said
from relay.dossier.rows import FEW, REVOKED, STRATEGY, about_model, arrived, data, identity, privacy, scores, software
from relay.dossier.study import StudyRecord
from relay.papers import Fact


def _changes(record: StudyRecord) -> Iterator[Fact]:
    for leg in record.legs:
        form = "made on {}; its settings have the digest {}"
        yield said(leg.name, leg.claim("issued"), leg.claim("config"), form=form)


ANNEX_IV = Paper(
    "technical-documentation",
    "Technical documentation",
    "Draft of the technical documentation of Article 11 and Annex IV of Regulation (EU) 2024/1689. relay filled in "
    "what the signed record of the study says; the provider must complete it, and decide whether it applies.",
    "the provider",
    [
        (
            "1. General description",
            "Annex IV, point 1.",
            [
                identity,
                software,
                ask("Provider", "name and address"),
                ask("Intended purpose", "point 1 (a)"),
                ask("Other hardware and software", "that it works with: point 1 (b)"),
                ask("Forms on the market", "point 1 (d)"),
                ask("Hardware", "that it is intended to run on: point 1 (e)"),
                ask("User interface and instructions", "points 1 (g) and (h)"),
            ],
        ),
        (
            "2a–c. Development, design, architecture",
            "Annex IV, point 2 (a) to (c).",
            [
                STRATEGY,
                about_model,
                settings("train.", "strategy.", "model."),
                ask("Choices and reasons", "why this net, this strategy, these settings"),
                ask("What it optimises for", "the aim, and the trade-offs made"),
                ask("Pre-trained components", "whether there are any, and where they are from"),
                ask("Computational resources", "used to train, test and validate"),
            ],
        ),
        (
            "2d. Data",
            "Annex IV, point 2 (d), and Article 10.",
            [
                data,
                settings("data.", "dataset."),
                ask("Provenance", "where each site's images come from, their scope and characteristics"),
                ask("Labelling", "by whom, and how it was checked"),
                ask("Cleaning", "outliers and images that were left out"),
                ask("Biases", "examined, and what was done about them"),
            ],
        ),
        (
            "2e. Human oversight",
            "Annex IV, point 2 (e), and Article 14.",
            [rule("approval"), ask("In use", "who can overrule an output, and how they can tell that they should")],
        ),
        (
            "2f. Pre-determined changes",
            "Annex IV, point 2 (f). The change control plan has them in full.",
            [ask("Continuous compliance", "technical solutions that ensure it after each change")],
        ),
        (
            "2g. Validation and testing",
            f"Annex IV, point 2 (g). Each score was measured and signed by the site that made the leg. {FEW}",
            [
                arrived,
                scores,
                ask("Groups", "accuracy for persons or groups that the system is intended for"),
                ask("Robustness", "against faults and other scanners"),
                ask("Test reports", "dated and signed by those responsible"),
            ],
        ),
        (
            "2h. Cybersecurity",
            "Annex IV, point 2 (h), and Article 15.",
            [
                rule("sealed"),
                rule("max_bundle_bytes"),
                rule("memory"),
                rule("experts"),
                rule("share"),
                rule("max_training_epsilon"),
                rule("gate.on_failure"),
                REVOKED,
                ask("Attacks considered", "data poisoning, model poisoning, evasion, extraction"),
            ],
        ),
        (
            "3. Monitoring, functioning and control",
            "Annex IV, point 3. The log is a paper of its own.",
            [
                ask("Capabilities and limits", "degrees of accuracy overall, and for groups of persons"),
                ask(
                    "Foreseeable unintended outcomes",
                    "those, and what puts health, safety and fundamental rights at risk",
                ),
                ask("Input data", "what an image must be like"),
            ],
        ),
        ("4. Performance metrics", "Annex IV, point 4.", [ask("Appropriateness", "why these metrics fit this system")]),
        (
            "5. Risk management",
            "Annex IV, point 5, and Article 9.",
            [privacy, ask("Risk management system", "its file, for example by ISO 14971, and the residual risks")],
        ),
        (
            "6. Changes through the lifecycle",
            "Annex IV, point 6.",
            [first(_changes, ask("Changes", "no leg is in the record"))],
        ),
        (
            "7–9. Standards, declaration, post-market monitoring",
            "Annex IV, points 7 to 9; Articles 40, 47 and 72.",
            [
                ask("Harmonised standards", "applied in full or in part, or other solutions"),
                ask("EU declaration of conformity", "a copy"),
                ask("Post-market monitoring plan", "as in Article 72 (3)"),
            ],
        ),
    ],
)
