"""A predetermined change control plan, in the three parts that the FDA recommends.

Section 515C of the Federal Food, Drug, and Cosmetic Act, and the guidance *Marketing Submission Recommendations for a
Predetermined Change Control Plan for Artificial Intelligence-Enabled Device Software Functions* (December 2024).
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.dossier.paper import COORDINATOR, Paper, ask, first, model, rule, settings
from relay.dossier.quoting import said
from relay.dossier.rows import FEW, NET, REVOKED, STRATEGY, arrived, data, identity, openers, privacy, scores
from relay.dossier.study import StudyRecord
from relay.papers import Fact


def _rosters(record: StudyRecord) -> Iterator[Fact]:
    """Every version of the plan."""
    for roster in record.rosters:
        quotes = [roster.quote(key) for key in ("version", "issued", "order")]
        yield said("Plan", *quotes, form="roster {}, signed {}: {}")


def _legs(record: StudyRecord) -> Iterator[Fact]:
    """Each leg of the newest plan, and whether it was made."""
    made = {leg.number: leg for leg in record.legs}
    for number, _ in enumerate(record.roster.content["order"] if record.roster else (), 1):
        quotes, form = [record.plan("order", number - 1)], "training at {}: planned, not in this record"
        if number in made:
            quotes += [made[number].claim("issued"), made[number].claim("roster", "version")]
            form = "training at {}: made on {}, under roster {}"
        yield said(f"Modification {number}", *quotes, form=form)


def _valid(record: StudyRecord) -> Iterator[Fact]:
    dates = [record.plan(key) for key in ("not_before", "not_after")]
    yield said("Roster valid from, to", *dates, form="{} to {}", by=COORDINATOR)


CHANGE_PLAN = Paper(
    "change-control-plan",
    "Predetermined change control plan",
    "Draft of a predetermined change control plan. relay filled in what the signed record of the study says; the "
    "manufacturer must complete it, and decide whether each planned leg is a change that such a plan can cover.",
    "the manufacturer",
    [
        (
            "0. Device",
            "",
            [
                identity,
                ask("Device", "name, submission number, intended use"),
                ask("Software functions", "those under the plan, and those that are not"),
            ],
        ),
        (
            "1. Description of modifications",
            "Each leg trains the model further at one hospital. The coordinator signs the order.",
            [
                _rosters,
                first(_legs, ask("Planned legs", "there is no roster yet", by=COORDINATOR)),
                NET,
                model("It predicts", "data", "classes"),
                ask("Purpose of each modification", "why, and what it is expected to improve"),
                ask(
                    "Automatic or manual",
                    "how each modification is put into service, and whether everywhere or locally",
                ),
                ask("Intended use", "why it stays the same"),
            ],
        ),
        (
            "2a. Modification protocol: data management",
            "How images are chosen, labelled, kept apart and counted.",
            [
                rule("min_samples"),
                rule("sample_counts"),
                ask("Inclusion and exclusion", "criteria for patients and images"),
                ask("Reference standard", "who labelled the images, and how disagreements were settled"),
                ask("Control of test data", "who can see them, and how often they may be used"),
                ask("Representativeness", "by age, sex, ethnicity, scanner"),
                data,
            ],
        ),
        (
            "2b. Modification protocol: re-training",
            "The settings of the newest leg.",
            [
                rule("same_config"),
                STRATEGY,
                first(settings("train.", "strategy.", "model."), ask("Settings", "no leg is in the record")),
            ],
        ),
        (
            "2c. Modification protocol: performance evaluation",
            "What a model must pass before the next hospital accepts it, besides signatures and digests.",
            [
                rule("gate.on_failure"),
                rule("gate.max_relative_change"),
                rule("gate.max_outlier"),
                rule("gate.min_score"),
                rule("approval"),
                rule("audit"),
                rule("audit_limit"),
                rule("max_epsilon"),
                rule("max_training_epsilon"),
                ask("Acceptance criteria", "metric, least value, and the test set it is measured on"),
                ask("Statistical plan", "hypotheses, number of patients, multiplicity"),
                ask("Subgroups", "that must not become worse, and by how much"),
                ask("If a criterion is missed", "what happens to the modification"),
            ],
        ),
        (
            "2d. Modification protocol: update procedures",
            "How a model travels.",
            [
                rule("sealed"),
                rule("expires_days"),
                _valid,
                openers,
                REVOKED,
                ask("Roll-out", "how users are told, and labelling is changed"),
                ask("Roll-back", "when, and to which version"),
                ask("Versions", "how each is named, kept and maintained"),
                ask("Traceability", "which part of the protocol holds for which modification"),
                ask("Monitoring", "in use, after each modification"),
            ],
        ),
        (
            "3. Impact assessment",
            f"What each leg has changed so far, as its own site measured it. {FEW}",
            [
                arrived,
                scores,
                privacy,
                ask("Comparison", "the device with each modification against the device without any, on one test set"),
                ask("Benefits and risks", "those of each modification, among them bias against groups"),
                ask("How the protocol controls the risks", "risk by risk"),
                ask("Effect of one modification on the next", "a leg can make an earlier hospital's results worse"),
                ask("All modifications together", "their cumulative effect"),
            ],
        ),
    ],
)
