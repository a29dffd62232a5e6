"""Two pages for a data protection officer: an annex for the impact assessment, and a statement of what flows where.

Everything in them is a :class:`~relay.papers.Fact` or a question that only people can answer. The order of
the annex follows Article 35 (7) of the GDPR.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from relay.bundle import meanings
from relay.exchange import StudyStore
from relay.papers import Fact, Page, Section, Source
from relay.plan import Study
from relay.protection import facts

DRAFT = (
    "Draft for the data protection officer. relay filled in what its files say; a person must check and complete it."
)


def pages(study: Study, config: Path, root: Path, store: StudyStore | None) -> tuple[Page, Page]:
    """Both pages.

    Args:
        config: the config's file.
        root: the folder of the run; it need not exist yet.
        store: the study at this site; None in a simulation, or before the site has joined.

    Raises:
        UserError: a file is damaged.
    """
    return _annex(study, config, root, store), _flow(study, root, store)


def _annex(study: Study, config: Path, root: Path, store: StudyStore | None) -> Page:
    run = list(facts.of_run(root))
    measured = [fact for fact in run if fact.what.lower() in facts.FINDINGS.values()]
    data = [fact for fact in run if fact not in measured]
    return Page(
        "dpia-annex",
        f"Annex to the data protection impact assessment: {study.name}",
        DRAFT,
        "the site",
        [
            Section(
                "1. What is done, and why",
                "Each hospital in turn trains the model on its own images and passes it on. Images stay.",
                [*facts.of_study(study, config), *_asked("Purpose", "Legal basis, consent", "Controller, contact")],
            ),
            Section("2. Which data", "Exact counts: this page stays at the site.", data or _asked("Data of this site")),
            Section("3. Who takes part", "The roster is signed by the coordinator.", _roster(store)),
            Section(
                "4. Necessity and proportionality",
                "relay can't know why this study is needed.",
                _asked(
                    "Why a common model is needed", "Why fewer data or sites would not do", "How long images are kept"
                ),
            ),
            Section(
                "5. Risks",
                "Weights can reveal whether a patient's images were used in training.",
                [*measured, *_risks(), *_asked(*RISKS)],
            ),
            Section(
                "6. Measures", "What relay does by itself.", [*_measures(), *_asked("Other measures of the hospital")]
            ),
            Section(
                "7. Opinion", "", _asked("Of the officer", "Of patients or their representatives", "Date, signature")
            ),
        ],
    )


RISKS = ("Severity for patients", "Likelihood", "Decision")


def _flow(study: Study, root: Path, store: StudyStore | None) -> Page:
    left = list(facts.sent(store)) if store else []
    passed = list(facts.of_ledger(store)) if store else []
    return Page(
        "data-flow",
        f"Data-flow statement: {study.name}",
        DRAFT,
        "the site",
        [
            Section("1. Who receives what", "In the order of the roster.", _roster(store)),
            Section("2. What a bundle may hold", "A closed list: nothing else can be in one.", list(_list())),
            Section(
                "3. What has left, signed by this site",
                "",
                left or [Fact("Legs signed here", "none", (_where(store),))],
            ),
            Section("4. What happened", "", passed or [Fact("Events", "none", (_where(store),))]),
            Section(
                "5. What stays",
                "",
                [
                    Fact(
                        "Images, masks, names of patients and files", "stay at the site; nothing writes them for others"
                    ),
                    Fact(
                        "Splits, scores of single images, predictions, logs", "stay at the site", (Source(str(root)),)
                    ),
                    *_asked(
                        "Who has access to this computer", "When run folders are deleted", "Who carries the bundles"
                    ),
                ],
            ),
        ],
    )


def _roster(store: StudyStore | None) -> list[Fact]:
    if store is None:
        return _asked("Sites and coordinator (no roster: a simulation, or not joined yet)", "Policy")
    return facts.of_roster(store)


def _where(store: StudyStore | None) -> Source:
    return Source(str(store.ledger.path) if store else "no ledger: a simulation, or not joined yet")


def _list() -> Iterator[Fact]:
    source = Source("the closed list of relay's bundle format")
    yield from (Fact(name, meanings.meaning(name), (source,)) for name in meanings.OWN)


def _risks() -> list[Fact]:
    sources = (Source("docs/explanation/what-leaves.md"),)
    return [
        Fact("Membership inference on the weights", "possible; measured only if an audit is listed above", sources),
        Fact("Scores of small test sets", "a mean over few patients reveals much about each", sources),
        Fact("Bundles that have left", "they can't be called back, nor can what later legs learned from them", sources),
    ]


def _measures() -> list[Fact]:
    sources = (Source("docs/explanation/threat-model.md"),)
    return [
        Fact(
            "Transport",
            "sealed for its recipients unless the policy says otherwise; signed; checked before use; needs no network",
            sources,
        ),
        Fact(
            "Minimisation",
            "a closed list of files; no result of a single patient; counts rounded unless the policy says otherwise",
            sources,
        ),
        Fact(
            "Withdrawal of consent",
            "relay forget removes what relay wrote, leaves the patient out of later training, and records it",
            sources,
        ),
        Fact("Accountability", "an append-only ledger of what came in and left", sources),
    ]


def _asked(*questions: str) -> list[Fact]:
    return [Fact(question, None) for question in questions]
