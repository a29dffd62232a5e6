"""Facts for a data protection officer, each with the file that it comes from and the file's digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from relay.bundle import AuditRecord, MemoryCard, audits, manifest, measure, memory_card
from relay.exchange import StudyStore, drafting
from relay.files import damaged, read_bytes, read_json
from relay.papers import RULES, Fact, Source, cited, of_policy
from relay.plan import Study
from relay.trust import BadDocument, Policy, parse

T = TypeVar("T")
AGAIN = "Remove it and make it again with the command that wrote it."
AUDIT, GUARANTEE = "Attacks on what leaves", "Training with differential privacy"
MEMORIES = {manifest.MEMORY: "Memory that travels", manifest.CUMULATIVE: "Memory of all legs so far"}
MADE_FROM = {
    manifest.MEMORY: "made from the training patients of this leg",
    manifest.CUMULATIVE: "made from the training patients of all legs so far",
}
ASKED = (
    "sealed",
    "memory",
    "max_epsilon",
    "experts",
    "sample_counts",
    "min_samples",
    "max_training_epsilon",
    "audit",
    "approval",
    "share",
)
"""The rules of the policy that concern patients."""


def of_study(study: Study, config: Path, root: Path) -> list[Fact]:
    """What the config says."""
    leg, source = study.legs[-1], cited(config)
    here = ", ".join(dataset.options.task_name for dataset in study.test_sets)
    named = study.handoff.study if study.handoff else f"none: a simulation of the config {study.name}"
    return [
        Fact("Study", named, (source,)),
        Fact("Strategy", study.strategy, (source,)),
        Fact("Task", f"{study.task.name}: {', '.join(leg.data.names)}", (source,)),
        Fact("Sites whose images are on this computer", here or "none", (source,)),
        _memory(leg.raw, source, root),
    ]


def _memory(raw: Mapping[str, object], source: Source, root: Path) -> Fact:
    """The kinds of memories: of the run's legs; before one is finished, of the config, if that names one."""
    what, found = "Memory beside the model", [*_memories(root)]
    if found:
        kinds = dict.fromkeys(card.kind for _, _, card in found)
        return Fact(what, ", ".join(kinds), [cited(path) for _, path, _ in found])
    strategy = raw.get("strategy")
    kwargs = strategy.get("kwargs") if isinstance(strategy, Mapping) else None
    if isinstance(kwargs, Mapping) and "memory" in kwargs:
        named = kwargs["memory"]
        kind = named.get("name") if isinstance(named, Mapping) else named
        return Fact(what, str(kind or "none"), (source,))
    return Fact(what, None, hint="the config names none; the strategy decides, and a finished leg shows it")


def of_run(root: Path) -> Iterator[Fact]:
    """What a run's legs wrote: counts, kinds of memories, experts. Counts are exact: these pages stay at the site."""
    for path in _handovers(root):
        name = path.parent.name
        if (card := path / manifest.DATA_CARD).is_file():
            said = read_json(card, AGAIN)
            counts = "; ".join(f"{kind} {_counts(said.get(kind))}" for kind in ("patients", "images"))
            yield Fact(f"Data of {name} ({said.get('site')})", counts, (cited(card),))
            yield from _few(name, said, cited(card))
        if (expert := path / manifest.EXPERT).is_file():
            yield Fact(f"Expert of {name}", f"{expert.stat().st_size} bytes of weights", (cited(expert),))
    for entry, file, memory in _memories(root):
        what = f"{MEMORIES[entry]}, of {file.parent.parent.name}"
        told = f"{memory.kind}, {MADE_FROM[entry]}: {memory_card.private(memory.privacy)}"
        yield Fact(what, told, (cited(file),))


def _few(name: str, said: Mapping[str, object], source: Source) -> Iterator[Fact]:
    """What the scores of a small test set tell."""
    patients = said.get("patients")
    tested = patients.get("test") if isinstance(patients, Mapping) else None
    if isinstance(tested, int) and 0 < tested < drafting.ENOUGH_TESTED:
        told = f"means over {tested} patients, which tell much about each of them"
        one = "the result of one patient, since there is no other test patient"
        yield Fact(f"Scores of {name} on its own test images", one if tested == 1 else told, (source,))


def findings(root: Path, policy: Policy | None) -> list[Fact]:
    """What an audit and the account of a private training say of each finished leg.

    Args:
        policy: of the study, which limits what an audit may find.
    """
    limit = policy.audit_limit if policy else audits.LIMIT
    found = [fact for path in _handovers(root) for fact in (_audit(path, limit), _guarantee(path.parent))]
    none = "no finished leg is in the run"
    return found or [Fact(AUDIT, None, hint=none), Fact(GUARANTEE, None, hint=none)]


def _audit(handover: Path, limit: float) -> Fact:
    what, path = f"{AUDIT}: {handover.parent.name}", handover / audits.RECORD
    if not path.is_file():
        return Fact(what, f"not measured: there is no {audits.RECORD}", (Source(str(handover)),))
    record: AuditRecord = _read(AuditRecord, path)
    of = {name: handover / name for name in record.parts}
    if any(not part.is_file() or measure(part).sha256 != record.parts[name] for name, part in of.items()):
        return Fact(what, "not measured: the audit that is here is of other weights", (cited(path),))
    return Fact(what, "; ".join(text for _, text in audits.lines(record.card, limit)), (cited(path),))


def _guarantee(leg: Path) -> Fact:
    what, path = f"{GUARANTEE}: {leg.name}", leg / "privacy.json"
    if not path.is_file():
        return Fact(what, f"no: there is no {path.name}", (Source(str(leg)),))
    said = read_json(path, AGAIN)
    if not said.get("private"):
        return Fact(what, "no guarantee: anyone who has the config can subtract the noise", (cited(path),))
    told = f"ε = {said.get('epsilon')}, δ = {said.get('delta')} for each training {said.get('unit')}"
    return Fact(what, told, (cited(path),))


def of_roster(store: StudyStore) -> list[Fact]:
    """Who takes part, and under which policy, by the newest roster."""
    roster, newest = store.roster, max(store.roster_files())
    policy, source = roster.policy, cited(newest)
    last = ", ".join(name for name, _ in roster.recipients(len(roster.order)))
    open_to = {
        "Can open every bundle but the last": "the site of the next leg, and the readers",
        "Can open the last bundle": last,
    }
    if not policy.sealed:
        open_to = {"Can read a bundle": "anybody who has the file: bundles are not sealed"}
    withdrawn = ", ".join(map(str, roster.withdrawn_experts))
    outside = "any hospital that a site gives one to, sealed to it alone" if policy.share == "sites" else "nobody"
    return [
        Fact("This site", f"{store.identity.name}, key {store.identity.signing[:16]}…", (Source(str(store.home)),)),
        Fact("Coordinator", roster.coordinator.name, (source,)),
        Fact("Sites, in the order of their legs", ", ".join(roster.order), (source,)),
        Fact("Readers, who may open every bundle", ", ".join(roster.readers) or "none", (source,)),
        *(Fact(what, said, (source,)) for what, said in open_to.items()),
        Fact("Can open a copy for outside the study", outside, (source,)),
        Fact("Valid", f"{roster.not_before[:10]} to {roster.not_after[:10]}, version {roster.version}", (source,)),
        *(Fact(RULES[rule], of_policy(policy, rule), (source,)) for rule in ASKED),
        *([Fact("Legs whose experts no longer travel", withdrawn, (source,))] if withdrawn else []),
    ]


def _handovers(root: Path) -> list[Path]:
    """The folders of what finished legs hand over."""
    return sorted(path for path in root.glob("checkpoints/*/handover") if (path / manifest.MODEL).is_file())


def _memories(root: Path) -> Iterator[tuple[str, Path, MemoryCard]]:
    """The cards of a run's memories: each with the entry of the memory's tensors, and its file."""
    for folder in _handovers(root):
        for entry in manifest.OWN:
            if (path := folder / manifest.card_of(entry)).is_file():
                yield entry, path, _read(MemoryCard, path)


def _read(schema: type[T], path: Path) -> T:
    try:
        return parse(schema, read_bytes(path), str(path))
    except BadDocument as error:
        raise damaged(path, str(error), AGAIN) from error


def _counts(said: object) -> str:
    """Counts of each part of a split, in the order in which a leg uses them."""
    if not isinstance(said, Mapping):
        return "not known"
    words = {"train": "to train", "val": "to validate", "test": "to test"}
    return ", ".join(f"{said[part]} {word}" for part, word in words.items() if part in said)
