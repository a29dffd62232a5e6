"""Facts for a data protection officer, each with the file that it comes from and the file's digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from relay.bundle import manifest
from relay.exchange import StudyStore, chain_in
from relay.files import read_json
from relay.papers import RULES, Fact, Source, cited, of_policy
from relay.plan import Study
from relay.trust import Line

FINDINGS = {"audit.json": "attacks on what leaves", "privacy.json": "training with differential privacy"}
"""What other commands may have left in the folder of a run or of a leg; each is absent if it was not asked for."""
AGAIN = "Remove it and make it again with the command that wrote it."
MOST = 40
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


def of_study(study: Study, config: Path) -> list[Fact]:
    """What the config says."""
    leg, source = study.legs[-1], cited(config)
    memory = (leg.raw.get("strategy") or {}).get("kwargs", {}).get("memory")
    kind = memory.get("name") if isinstance(memory, Mapping) else memory
    here = ", ".join(dataset.options.task_name for dataset in study.test_sets)
    return [
        Fact("Study and strategy", f"{study.name}, {study.strategy}, {study.mode}", (source,)),
        Fact("Task", f"{study.task.name}: {', '.join(leg.data.names)}", (source,)),
        Fact("Sites whose images are on this computer", here or "none", (source,)),
        Fact("Memory beside the model", str(kind) if kind else "the strategy's default, or none", (source,)),
    ]


def of_run(root: Path) -> Iterator[Fact]:
    """What a run's legs wrote: counts, kinds of memories, experts. Counts are exact: these pages stay at the site."""
    for path in sorted(root.glob("checkpoints/*/handover")):
        name = path.parent.name
        if (card := path / manifest.DATA_CARD).is_file():
            said = read_json(card, AGAIN)
            counts = "; ".join(f"{kind} {_counts(said.get(kind))}" for kind in ("patients", "images"))
            yield Fact(f"Data of {name} ({said.get('site')})", counts, (cited(card),))
        for memory in manifest.OWN:
            if (card := path / manifest.card_of(memory)).is_file():
                said = read_json(card, AGAIN)
                yield Fact(f"Memory of {name}", f"{said.get('kind')}: {_plain(said.get('privacy'))}", (cited(card),))
        if (expert := path / manifest.EXPERT).is_file():
            yield Fact(f"Expert of {name}", f"{expert.stat().st_size} bytes of weights", (cited(expert),))
    yield from findings(root)


def findings(root: Path) -> Iterator[Fact]:
    """What an audit and the account of a private training say, if there are any."""
    for name, what in FINDINGS.items():
        places = (
            root / name,
            *sorted(root.glob(f"checkpoints/*/{name}")),
            *sorted(root.glob(f"checkpoints/*/handover/{name}")),
        )
        found = [path for path in places if path.is_file()]
        for path in found:
            yield Fact(what.capitalize(), _plain(read_json(path, AGAIN)), (cited(path),))
        if not found:
            yield Fact(what.capitalize(), f"none: there is no {name} in the run", (Source(str(root)),))


def of_roster(store: StudyStore) -> list[Fact]:
    """Who takes part, and under which policy."""
    roster, newest = store.roster, max(store.roster_files())
    policy, source = roster.policy, cited(newest)
    return [
        Fact("This site", f"{store.identity.name}, key {store.identity.signing[:16]}…", (Source(str(store.home)),)),
        Fact("Coordinator", roster.coordinator.name, (source,)),
        Fact("Sites, in their order", ", ".join(roster.order), (source,)),
        Fact("Can open every bundle", ", ".join(roster.readers) or "nobody but the next site", (source,)),
        Fact("Valid", f"{roster.not_before[:10]} to {roster.not_after[:10]}, version {roster.version}", (source,)),
        *(Fact(RULES[rule], of_policy(policy, rule), (source,)) for rule in ASKED),
    ]


def of_ledger(store: StudyStore) -> Iterator[Fact]:
    """What came in, what left and who withdrew, as the ledger says."""
    store.whole()  # damaged, it would say anything
    lines = store.ledger.lines()
    whole = cited(store.ledger.path) if lines else Source("")
    for line in lines:
        source = replace(whole, place=f"line {line.n}")
        leg, day = line.facts.get("leg", 0), line.time[:10]
        if line.event == "received":
            yield Fact(f"Leg {leg} came in", f"{day}, from {line.facts.get('site')}", (source,))
        elif line.event == "approved":
            yield Fact(f"Leg {leg} was approved", f"{day}, by {line.facts['name']}: {line.facts['reason']}", (source,))
        elif line.event == "sent":
            yield Fact(f"Leg {leg} left", f"{day}, as {', '.join(line.facts['files'])}, {_to(store, leg)}", (source,))
        elif line.event == "shared":
            yield Fact(f"Leg {leg} left", f"{day}, as {', '.join(line.facts['files'])}, {_reader(line)}", (source,))
        elif line.event == "withdrawn":
            yield Fact("A patient withdrew", f"{day}; legs that had learned: {line.facts['legs'] or 'none'}", (source,))


def sent(store: StudyStore) -> Iterator[Fact]:
    """Every file of every bundle that was signed here."""
    for folder in (path for path in store.kept() if path.parent.name == "signed"):
        claim = chain_in(folder)[-1].claim
        source = cited(folder / manifest.STATEMENT)
        for name, part in vars(claim.handover).items():
            if part:
                yield Fact(f"Leg {claim.leg}: {name}", f"{part.tensors} tensors, {part.bytes} bytes", (source,))
        scores = ", ".join(f"{name} {score}" for name, score in claim.scores.items()) or "none"
        yield Fact(f"Leg {claim.leg}: scores", scores, (source,))
        yield Fact(f"Leg {claim.leg}: training images", f"{claim.samples}, as published", (source,))


def _to(store: StudyStore, leg: int) -> str:
    folder = store.signed(leg)
    if not folder.is_dir():
        return "recipients not known"
    return "sealed for " + ", ".join(each.name for each in chain_in(folder)[-1].claim.recipients)


def _reader(line: Line) -> str:
    return f"shared with {line.facts['reader']}, outside the study"


def _counts(said: object) -> str:
    return ", ".join(f"{part} {count}" for part, count in said.items()) if isinstance(said, Mapping) else "not known"


def _plain(content: object) -> str:
    """The plain values of a JSON object, in one line."""

    def flat(value: Any, before: str = "") -> Iterator[str]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from flat(inner, f"{before}{key}.")
        elif not isinstance(value, list):
            yield f"{before.rstrip('.')} {'none' if value is None else value}"

    parts = [part for part in flat(content) if not part.startswith("format")]
    return "; ".join(parts[:MOST]) + ("; …" if len(parts) > MOST else "")
