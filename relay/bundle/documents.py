"""The documents beside a claim: a leg's results, the card of its data, its config, what its weights are of,
and the cards of its memories.

Other sites show them to people and pass them on. So none of it is free text: the keys are listed, names are plain
words, numbers have ranges, and what the claim says as well must be the same. And what may be told: a hospital's exact
sample counts are its own business, so that unless the study's policy says ``sample_counts: exact``, what leaves is
the nearest power of two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from relay.bundle import manifest
from relay.bundle.memory_card import MAX_CARD, MemoryCard
from relay.bundle.schemas import Config, DataCard, HandoverSpec, Results
from relay.trust import BadDocument, Claim, Policy, PolicyBreach, parse, shaped

ADVICE = (
    "Other sites will read this: names (of classes, too) are plain letters and digits, texts are short, and there are "
    "no other keys than docs/reference/bundle-format.md lists. Change the config, and train with a new note (-n)."
)
"""For whoever is to send documents of another form."""
MAX_DOCUMENT = 2**18
"""Bytes of a document but ``results.json``: there may be hundreds in a bundle."""
CARDS = tuple(manifest.card_of(memory) for memory in manifest.OWN)
LARGEST = {
    **dict.fromkeys((manifest.HANDOVER, manifest.CONFIG, manifest.DATA_CARD), MAX_DOCUMENT),
    **dict.fromkeys(CARDS, MAX_CARD),
}
"""Most bytes of a document, where it is less than of any document."""
SCHEMAS: Mapping[str, Any] = {
    manifest.HANDOVER: HandoverSpec,
    manifest.CONFIG: Config,
    manifest.DATA_CARD: DataCard,
    manifest.RESULTS: Results,
    **dict.fromkeys(CARDS, MemoryCard),
}


def check(documents: Mapping[str, bytes], claim: Claim, policy: Policy) -> dict[str, MemoryCard]:
    """Hold a leg's documents against their forms, and against its claim; returns the cards of its memories, by name.

    Args:
        documents: by name; ``results.json`` and ``data-card.json`` must be among them.
        policy: of the roster that the leg was made under.

    Raises:
        BadDocument: another form, or of another leg or site than the claim.
        PolicyBreach: counts are told that must be rounded.
    """
    if large := [name for name in LARGEST if len(documents.get(name, b"")) > LARGEST[name]]:
        raise BadDocument(f"{large[0]} of leg {claim.leg} is larger than {LARGEST[large[0]]} bytes")
    found = {name: parse(SCHEMAS[name], data, f"{name} of leg {claim.leg}") for name, data in documents.items()}
    results, card = found[manifest.RESULTS], found[manifest.DATA_CARD]
    if (results.leg, results.trained) != (claim.leg, claim.site):
        raise BadDocument(
            f"{manifest.RESULTS} of leg {claim.leg}, by {claim.site}, says leg {results.leg}, by {results.trained}"
        )
    if card.site != claim.site:
        raise BadDocument(f"{manifest.DATA_CARD} of leg {claim.leg}, by {claim.site}, is of {card.site}")
    memories = {name: found[name] for name in CARDS if name in found}
    if policy.sample_counts == "rounded":
        odd = [f"{key} = {count}" for key, count in _counts(claim, card, memories) if count != disclosed(count, policy)]
        if odd or card.counts != "rounded":
            what = ", ".join(odd) or f"{manifest.DATA_CARD} calls them {card.counts}"
            raise PolicyBreach(f"leg {claim.leg} by {claim.site}: counts must be rounded to powers of two: {what}")
    return memories


def read(name: str, data: bytes) -> Any:
    """A document, in its form; ``name``: as in a bundle.

    Raises:
        BadDocument: it is of another one.
    """
    return parse(SCHEMAS[name], data, name)


def check_schema(name: str, content: Any) -> None:
    """Whether plain values have the form of a document.

    Raises:
        BadDocument: at which key they have not.
    """
    shaped(SCHEMAS[name], content, name)


def disclosed(count: int, policy: Policy) -> int:
    """A count as it may leave the site; telling what was told before changes nothing."""
    return count if policy.sample_counts == "exact" or count < 1 else 2 ** round(math.log2(count))


def disclosed_card(card: Any, policy: Policy) -> dict[str, Any]:
    """A data card, as a leg wrote it, as it may leave the site: its ``images`` and ``patients`` of each split.

    Raises:
        BadDocument: it is not of the known form.
    """
    counted = {**card, "counts": policy.sample_counts} if isinstance(card, dict) else card
    check_schema(manifest.DATA_CARD, counted)
    counts = {
        kind: {split: disclosed(count, policy) for split, count in card[kind].items()}
        for kind in ("images", "patients")
    }
    return {**counted, **counts}


def disclosed_memory(name: str, content: Any, policy: Policy) -> dict[str, Any]:
    """A memory's card, as a leg wrote it, as it may leave the site. ``name``: ``memory.json`` or ``cumulative.json``.

    Raises:
        BadDocument: it is not of the known form.
    """
    check_schema(name, content)
    privacy = content["privacy"]
    return {**content, "privacy": {**privacy, "patients": disclosed(privacy["patients"], policy)}}


def _counts(claim: Claim, card: DataCard, memories: Mapping[str, MemoryCard]) -> Iterator[tuple[str, int]]:
    yield "samples", claim.samples
    for kind, splits in (("images", card.images), ("patients", card.patients)):
        yield from ((f"{kind}.{split}", count) for split, count in vars(splits).items())
    yield from ((f"{name}: privacy.patients", memory.privacy.patients) for name, memory in memories.items())
