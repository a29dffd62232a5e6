"""The model card, with the sections of Mitchell et al. 2019, *Model cards for model reporting* (arXiv 1810.03993)."""

from __future__ import annotations

from relay.dossier.paper import Paper, ask, claim, first
from relay.dossier.rows import FEW, STRATEGY, about_model, arrived, data, identity, privacy, scores, software

RESULTS = (
    f"Each score was measured and signed by the site that made the leg. {FEW} Where no metric "
    "is named, the score is the main one of the task: mean Dice without the background for segmentation, balanced "
    "accuracy for classification, mean absolute error for regression."
)
MODEL_CARD = Paper(
    "model-card",
    "Model card",
    "Draft of a model card. relay filled in what the signed record of the study says; people must check and complete "
    "it.",
    "the sponsor",
    [
        (
            "1. Model details",
            "The model after the newest leg in the record.",
            [
                identity,
                about_model,
                STRATEGY,
                claim("Made on", "issued"),
                software,
                ask("Licence", "the terms under which the weights may be used"),
                ask("Contact", "for questions and faults"),
            ],
        ),
        (
            "2. Intended use",
            "relay can't know what the model is for.",
            [
                ask("Intended use", "which decision, of whom, on which patients"),
                ask("Intended users", "their profession and training"),
                ask("Uses out of scope", "what it must not be used for"),
            ],
        ),
        (
            "3. Factors",
            "Scores of groups of patients stay at the site: relay subgroups measures them.",
            [
                ask("Groups of patients", "sex, age, severity: which were compared, and what was found"),
                ask("Scanners and protocols", "makes, models and settings at each site"),
            ],
        ),
        (
            "4. Metrics",
            "Section 7 names the metrics. Signed results have no intervals: these stay at the sites.",
            [
                ask("Why these metrics", "the reason, and what difference matters clinically"),
                ask("Intervals", "a confidence interval of each score"),
            ],
        ),
        (
            "5. Training and evaluation data",
            "Counts are as their sites disclose them.",
            [
                first(data, ask("Data", "no leg is in the record")),
                ask("Population", "who the patients are, when they were imaged, and how", by="each site"),
            ],
        ),
        (
            "6. Results before training",
            f"How well the model that arrived did before this leg trained it. The score is that of section 7. {FEW}",
            [first(arrived, ask("Results", "none in the record"))],
        ),
        ("7. Results", RESULTS, [first(scores, ask("Results", "none in the record"))]),
        (
            "8. Ethical considerations",
            "",
            [
                privacy,
                ask("Consent", "consent, or another legal basis, at each site"),
                ask("Harms", "to whom, and how likely"),
            ],
        ),
        (
            "9. Caveats and recommendations",
            "A signature says who claims a score or a count, not that it is true.",
            [
                ask("Known failures", "what they are, and what to do then"),
                ask("Validation elsewhere", "at sites that were not trained on"),
            ],
        ),
    ],
)
