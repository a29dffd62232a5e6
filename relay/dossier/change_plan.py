"""A predetermined change control plan, in the three parts that the FDA recommends.

Section 515C of the Federal Food, Drug, and Cosmetic Act, and the guidance *Marketing Submission Recommendations for a
Predetermined Change Control Plan for Artificial Intelligence-Enabled Device Software Functions* (December 2024).
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.dossier import common
from relay.dossier.quoting import said
from relay.dossier.study import StudyRecord
from relay.papers import Fact, Page, Part

MAKER = "the manufacturer"
DRAFT = (
    "Draft of a predetermined change control plan. relay filled in what the signed record of the study says; the "
    "manufacturer must complete it, and decide whether each planned leg is a change that a plan can cover."
)


def change_plan(record: StudyRecord) -> Page:
    """The plan: each leg of the roster is a planned modification of the model."""
    return Page(
        "change-control-plan",
        f"Predetermined change control plan: {record.study}",
        DRAFT,
        [
            Part("0. The device", "", [*common.identity(record), *_device()]),
            Part(
                "1. Description of modifications",
                "Each leg trains the model further at one hospital. The coordinator signs the order.",
                [*_rosters(record), *_legs(record), *_bounds(record)],
            ),
            Part(
                "2a. Modification protocol: data management",
                "How images are chosen, labelled, kept apart and counted.",
                [*_data(record), *common.data(record.legs)],
            ),
            Part(
                "2b. Modification protocol: re-training",
                "The settings of the newest leg.",
                [record.policy("All sites must use the same settings", "same_config"), *_settings(record)],
            ),
            Part(
                "2c. Modification protocol: performance evaluation",
                "What a model must pass before the next hospital accepts it, besides signatures and digests.",
                _evaluation(record),
            ),
            Part("2d. Modification protocol: update procedures", "How a model travels.", _updates(record)),
            Part(
                "3. Impact assessment",
                "What each leg has changed so far, as its own site measured it.",
                [*_impact(record), *common.privacy(record.legs), *_questions()],
            ),
        ],
    )


def _device() -> list[Fact]:
    return common.gaps(
        by=MAKER,
        Device="name, submission number, intended use",
        Software_functions_under_the_plan="and those that are not",
    )


def _rosters(record: StudyRecord) -> Iterator[Fact]:
    """Every version of the plan."""
    for roster in record.rosters:
        quotes = [roster.quote(key) for key in ("version", "issued", "order")]
        yield said("Plan", *quotes, form="roster {}, signed {}: {}")


def _legs(record: StudyRecord) -> Iterator[Fact]:
    made = {leg.number: leg for leg in record.legs}
    order = record.roster.content["order"] if record.roster else []
    if not order:
        yield from common.gaps(by="the coordinator", Planned_legs="there is no roster yet")
    for number, _ in enumerate(order, 1):
        planned = record.plan("order", number - 1)
        if number in made:
            when = [made[number].claim("issued"), made[number].claim("roster", "version")]
            form = "training at {}: made on {}, under roster {}"
            yield said(f"Modification {number}", planned, *when, form=form)
        else:
            yield said(f"Modification {number}", planned, form="training at {}: planned, not in this record")


def _bounds(record: StudyRecord) -> list[Fact]:
    return [
        said("Net of the newest leg", record.model("model", "name")),
        said("It predicts", record.model("data", "classes")),
        *common.gaps(
            by=MAKER,
            Why_each_modification="and what it is expected to improve",
            Automatic_or_manual="how each modification is put into service, and where: everywhere or locally",
            Intended_use_unchanged="why it is",
        ),
    ]


def _data(record: StudyRecord) -> list[Fact]:
    return [
        record.policy("Fewest training images of a leg", "min_samples"),
        record.policy("Counts that a site discloses", "sample_counts"),
        *common.gaps(
            by=MAKER,
            Inclusion_and_exclusion="of patients and images",
            Reference_standard="who labelled the images, and how disagreements were settled",
            Control_of_test_data="who can see them, and how often they may be used",
            Representativeness="by age, sex, ethnicity, scanner",
        ),
    ]


def _settings(record: StudyRecord) -> list[Fact]:
    newest = record.newest
    strategy = [said("Strategy", newest.claim("strategy"))] if newest else []
    return [*strategy, *record.settings("train.", "strategy.", "model.")] or common.gaps(Settings="no leg is here yet")


def _evaluation(record: StudyRecord) -> list[Fact]:
    return [
        record.policy("If a model that arrives fails the check", "gate.on_failure"),
        record.policy("Largest relative change of a tensor", "gate.max_relative_change"),
        record.policy("Largest outlier among the weights", "gate.max_outlier"),
        record.policy("Worst score on the receiver's validation images", "gate.min_score"),
        record.policy("Approval by a person before a leg leaves", "approval"),
        record.policy("Privacy audit before a leg leaves", "audit"),
        record.policy("Limit of the audit (AUC)", "audit_limit"),
        record.policy("Limit of epsilon for a memory", "max_epsilon"),
        *common.gaps(
            by=MAKER,
            Acceptance_criteria="metric, least value, and the test set it is measured on",
            Statistical_plan="hypotheses, number of patients, multiplicity",
            Subgroups="that must not become worse, and by how much",
            If_a_criterion_is_missed="what happens to the modification",
        ),
    ]


def _updates(record: StudyRecord) -> list[Fact]:
    return [
        record.policy("Bundles must be sealed to their recipients", "sealed"),
        record.policy("Days that a bundle is valid", "expires_days"),
        said("Roster valid from, to", record.plan("not_before"), record.plan("not_after"), form="{} to {}"),
        said("Who else can open every bundle", record.plan("readers")),
        said("Revoked keys", record.plan("revoked")),
        *common.gaps(
            by=MAKER,
            Roll_out="how users are told, and labelling is changed",
            Roll_back="when, and to which version",
            Versions="how each is named, kept and maintained",
            Traceability="which part of the protocol holds for which modification",
            Monitoring="in use, after each modification",
        ),
    ]


def _impact(record: StudyRecord) -> list[Fact]:
    return [*common.arrived(record.legs), *common.scores(record.legs)]


def _questions() -> list[Fact]:
    return common.gaps(
        by=MAKER,
        Comparison="of the device with each modification and without any, on one test set",
        Benefits_and_risks="of each modification, among them bias against groups",
        How_the_protocol_controls_the_risks="risk by risk",
        Effect_of_one_modification_on_the_next="a leg can make an earlier hospital's results worse",
        All_modifications_together="their cumulative effect",
    )
