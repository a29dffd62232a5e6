"""Two pages for a data protection officer: an annex for the impact assessment, and a statement of what flows where.

Everything in them is a :class:`~relay.papers.Fact` or a question that only people can answer. The order of
the annex follows Article 35 (7) of the GDPR.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from relay.bundle import meanings
from relay.exchange import StudyStore
from relay.papers import BLANK, Fact, Page, Section, Source
from relay.plan import Study
from relay.protection import facts, passed

DRAFT = (
    "Draft for the data protection officer. relay filled in what its files say; a person must check and complete it."
)
ROSTER = "By the newest roster here, which the coordinator signed; what left earlier may have left under an older one."


def pages(study: Study, config: Path, root: Path, store: StudyStore | None) -> tuple[Page, Page]:
    """Both pages.

    Args:
        config: the config's file.
        root: the folder of the run; it need not exist yet.
        store: the study at this site; None in a simulation, or before the site has joined.

    Raises:
        UserError: a file is damaged.
        DamagedLedger: the ledger is not what was written.
    """
    return _annex(study, config, root, store), _flow(study, root, store)


def _titled(title: str, study: Study) -> str:
    named = study.handoff.study if study.handoff else f"simulation of config {study.name}"
    return f"{title}: {named}"


def _annex(study: Study, config: Path, root: Path, store: StudyStore | None) -> Page:
    policy = store.roster.policy if store else None
    return Page(
        "dpia-annex",
        _titled("Annex to the data protection impact assessment", study),
        DRAFT,
        "the site",
        [
            Section(
                "1. What is done, and why",
                "Each hospital in turn trains the model on its own images and passes it on. Images stay."
                if study.handoff
                else "A simulation: this computer trains all legs, one after another. Nothing leaves it.",
                [
                    *facts.of_study(study, config, root),
                    *_asked("Purpose", "Legal basis, consent", "Controller, contact"),
                ],
            ),
            Section(
                "2. Which data",
                "Exact counts: keep this page at the site.",
                list(facts.of_run(root)) or _asked("Data of this site", hint="no finished leg is in the run"),
            ),
            Section("3. Who takes part", ROSTER if store else "", _roster(study, store)),
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
                [*facts.findings(root, policy), *_risks(), *_asked(*RISKS)],
            ),
            Section(
                "6. Measures",
                "What relay does by itself.",
                [*_measures(study, store), *_asked("Other measures of the hospital")],
            ),
            Section(
                "7. Opinion", "", _asked("Of the officer", "Of patients or their representatives", "Date, signature")
            ),
        ],
    )


RISKS = ("Severity for patients", "Likelihood", "Decision")


def _flow(study: Study, root: Path, store: StudyStore | None) -> Page:
    left = list(passed.left(store)) if store else []
    events = list(passed.of_ledger(store)) if store else []
    return Page(
        "data-flow",
        _titled("Data-flow statement", study),
        DRAFT,
        "the site",
        [
            Section("1. Who receives what", ROSTER if store else "", _roster(study, store)),
            Section(
                "2. What a bundle can hold",
                "A closed list: relay writes nothing else into a bundle, and refuses one that holds anything else. "
                "NNNN is a roster's version, or an earlier leg's number: a bundle has these once for each.",
                list(_list()),
            ),
            Section(
                "3. What has left this site",
                "relay send and relay share record what they put on a stick. What left in another way, such as "
                "averages over a network or a file that somebody copied, is not here.",
                left or [Fact("Bundles and copies", "none", (_where(study, store),))],
            ),
            Section("4. What happened", "", events or [Fact("Events", "none", (_where(study, store),))]),
            Section(
                "5. What stays",
                "",
                [
                    Fact(
                        "Images, masks, names of patients and files",
                        "stay at the site: no document of a bundle has a place for them. relay report --cases puts "
                        "images on a page, and relay predict can write DICOM objects that name their patient: both "
                        "must stay, too",
                        (WHAT_LEAVES,),
                    ),
                    Fact(
                        "Splits, scores of single images, predictions, logs",
                        "stay at the site. With a leg that this site sends, means of its scores leave: over one "
                        "patient, the mean is that patient's result",
                        (WHAT_LEAVES,),
                    ),
                    *_asked(
                        "Who has access to this computer", "When run folders are deleted", "Who carries the bundles"
                    ),
                ],
            ),
        ],
    )


WHAT_LEAVES = Source("docs/explanation/what-leaves.md")
THREATS = Source("docs/explanation/threat-model.md")
WITHDRAWING = Source("docs/how-to/withdraw-a-patient.md")


def _roster(study: Study, store: StudyStore | None) -> list[Fact]:
    if store is not None:
        return facts.of_roster(store)
    why = "this site has not joined the study yet" if study.handoff else "a simulation has no roster"
    return _asked("Sites and coordinator", "Policy", hint=why)


def _where(study: Study, store: StudyStore | None) -> Source:
    if store:
        return Source(str(store.ledger.path))
    return Source("no ledger: not joined yet" if study.handoff else "no ledger: a simulation")


def _list() -> Iterator[Fact]:
    source = Source("the closed list of relay's bundle format")
    yield from (Fact(name, what, (source,)) for name, what in meanings.listed())


def _risks() -> list[Fact]:
    of_one = "a mean over few patients reveals much about each; over one, it is that patient's result"
    return [
        Fact("Membership inference on the weights", "possible; measured only if an audit is listed above", (THREATS,)),
        Fact("Scores of small test sets", of_one, (WHAT_LEAVES,)),
        Fact(
            "Bundles that have left",
            "they can't be called back, nor can what later legs learned from them",
            (WITHDRAWING,),
        ),
    ]


def _measures(study: Study, store: StudyStore | None) -> list[Fact]:
    return [
        *(_transport(store) if study.handoff else _simulated()),
        Fact("Minimisation", f"{MINIMAL}; {_counts(store)}", (WHAT_LEAVES,)),
        Fact("Withdrawal of consent", WITHDRAWAL, (WITHDRAWING,)),
    ]


MINIMAL = (
    "a bundle holds a closed list of files, whose documents have no place for a patient, an image or a file name; "
    "scores leave as means over test patients: over one patient, the mean is that patient's result"
)
WITHDRAWAL = (
    "relay forget removes the patient from what relay wrote to the runs of a config and to this site's home, leaves "
    "the patient out of later training, and records that. It doesn't know folders named with relay predict -o, nor "
    "copies, exports and backups; the hospital's images, the weights, and bundles that left stay"
)


def _counts(store: StudyStore | None) -> str:
    rounded = (
        "counts are rounded, and groups of 1 to 11 look alike, but the number of training images, and the "
        "fewest patients behind a memory, are powers of two even if they are small"
    )
    if store is None:
        return f"unless the policy says otherwise, {rounded}"
    return rounded if store.roster.policy.sample_counts == "rounded" else "counts are exact, as the policy says"


def _transport(store: StudyStore | None) -> list[Fact]:
    sealed = "sealed for its recipients unless the policy says otherwise"
    if store is not None:
        sealed = "sealed for its recipients" if store.roster.policy.sealed else "NOT sealed, as the policy says"
    return [
        Fact("Transport", f"a bundle is {sealed}, signed, and checked before use; a stick carries it", (THREATS,)),
        Fact(
            "Accountability",
            "a ledger of what came in and left. A line that is changed, cut or moved is found; if somebody rewrites "
            "the whole ledger, only a receipt that was printed before, or another site's record, shows it",
            (THREATS,),
        ),
    ]


def _simulated() -> list[Fact]:
    none = "none: a simulation sends nothing; keys and seals that it makes test the procedure, and protect nothing"
    return [Fact("Transport, accountability", none, (THREATS,))]


def _asked(*questions: str, hint: str = BLANK) -> list[Fact]:
    return [Fact(question, None, hint=hint) for question in questions]
