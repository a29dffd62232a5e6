"""The documents beside a claim: a leg's results, its data card, its config, the description of its weights, and the
cards of its memories.

Other sites show them to people and pass them on. So there is no free text: the keys are fixed, names are plain
words, numbers have ranges, and anything that is also in the claim must agree with it. Disclosure is limited, too: a
hospital's exact sample counts are confidential. Unless the study's policy says ``sample_counts: exact``, only the
nearest power of two leaves the site, and no count of images or patients below :data:`SMALLEST`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from relay.bundle import manifest
from relay.bundle.audits import breach
from relay.bundle.memory_card import MAX_CARD, MemoryCard
from relay.bundle.schemas import AnyDataCard, Config, CorrectedDataCard, DataCard, HandoverSpec, Results, Stated
from relay.trust import BadDocument, Claim, Policy, PolicyBreach, parse, shaped

ADVICE = (
    "Other sites will read this. Names, including those of classes, must be plain letters and digits, texts must be "
    "short, and only the keys in docs/reference/bundle-format.md are allowed. Change the config, and train with a new "
    "note (-n)."
)
"""Advice for a sender whose documents don't match their schemas."""
MAX_DOCUMENT = 2**18
"""Largest document other than ``results.json``, in bytes: a bundle may have hundreds."""
SMALLEST = 8
"""Rounded, any smaller group of images or patients is written as this many: it stands for 1 to 11. A reader still
accepts smaller powers of two, which earlier versions wrote."""
CARDS = tuple(manifest.card_of(memory) for memory in manifest.OWN)
MOST_DELTA = 1e-3
"""With a policy that limits the epsilon of a training: the largest delta."""
LARGEST = {
    **dict.fromkeys((manifest.HANDOVER, manifest.CONFIG, manifest.DATA_CARD), MAX_DOCUMENT),
    **dict.fromkeys(CARDS, MAX_CARD),
}
"""Largest size of particular documents, in bytes, where it is below the general limit."""
SCHEMAS: Mapping[str, Any] = {
    manifest.HANDOVER: HandoverSpec,
    manifest.CONFIG: Config,
    manifest.DATA_CARD: AnyDataCard,
    manifest.RESULTS: Results,
    **dict.fromkeys(CARDS, MemoryCard),
}


def check(documents: Mapping[str, bytes], claim: Claim, policy: Policy) -> dict[str, MemoryCard]:
    """Check a leg's documents against their schemas and its claim; return the cards of its memories, by name.

    Args:
        documents: by name; ``results.json`` and ``data-card.json`` must be among them.
        policy: of the roster that the leg was made under.

    Raises:
        BadDocument: one does not match its schema, or is from another leg or site than the claim.
        PolicyBreach: exact counts are disclosed that must be rounded, or the policy requires an audit that passes or a
            guarantee.
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
        raise BadDocument(f"{manifest.DATA_CARD} of leg {claim.leg}, by {claim.site}, is from {card.site}")
    memories = {name: found[name] for name in CARDS if name in found}
    counts = [*_counts(claim, card, memories), *(("zero_shot.images", score.images) for score in results.zero_shot)]
    if policy.sample_counts == "rounded":
        odd = [f"{key} = {count}" for key, count in counts if count != disclosed(count, policy)]
        if odd or card.counts != "rounded":
            what = ", ".join(odd) or f"{manifest.DATA_CARD} calls them {card.counts}"
            raise PolicyBreach(f"leg {claim.leg} by {claim.site}: counts must be rounded to powers of two: {what}")
    if why := breach(card.privacy_audit, policy):
        raise PolicyBreach(f"leg {claim.leg} by {claim.site} needs a privacy audit that passes, but {why}")
    if why := unguarded(stated(card), policy):
        raise PolicyBreach(f"leg {claim.leg} by {claim.site}: {why}")
    return memories


def stated(card: DataCard) -> Stated | None:
    """What a leg's training guarantees its patients; None for nothing."""
    return getattr(card, "privacy", None)


def unguarded(promise: Stated | None, policy: Policy) -> str | None:
    """How a leg's training breaks a policy, as a sentence without its end; None if it does not."""
    if (limit := policy.max_training_epsilon) is None:
        return None
    if promise is None or not promise.private:
        return f"it was trained without a guarantee; the policy needs one, with an epsilon of at most {limit:g}"
    if promise.epsilon > limit:
        return f"its training has an epsilon of {promise.epsilon:g}; the limit is {limit:g}"
    if promise.delta > MOST_DELTA:  # with a large delta, hardly any noise is needed for a small epsilon
        return f"its training has a delta of {promise.delta:g}; the limit is {MOST_DELTA:g}"
    return None


def read(name: str, data: bytes) -> Any:
    """A document, parsed with its schema; ``name``: as in a bundle.

    Raises:
        BadDocument: it does not match its schema.
    """
    return parse(SCHEMAS[name], data, name)


def check_schema(name: str, content: Any) -> None:
    """Check that plain values match a document's schema.

    Raises:
        BadDocument: they don't; the message says at which key.
    """
    shaped(SCHEMAS[name], content, name)


def disclosed(count: int, policy: Policy) -> int:
    """A count as it may leave the site; applying this twice changes nothing."""
    return count if policy.sample_counts == "exact" or count < 1 else 2 ** round(math.log2(count))


def grouped(count: int, policy: Policy) -> int:
    """The size of a group of images or patients as it may leave the site: of a small one, only that it is small.

    ``samples`` of a claim is not such a size: strategies weight with it, and ``min_samples`` bounds it from below. Nor
    is ``patients`` of a memory's card: more than there are would overstate how private the memory is.
    """
    return (
        disclosed(count, policy)
        if policy.sample_counts == "exact" or count < 1
        else max(disclosed(count, policy), SMALLEST)
    )


def meant(count: int, counts: str, group: bool = True) -> tuple[int, int]:
    """The least and the largest number that a published count can stand for.

    Args:
        counts: ``rounded`` or ``exact``, as its data card says.
        group: it was published as :func:`grouped` has it, so that a small one was raised; else as :func:`disclosed`
            has it.
    """
    if counts == "exact" or count < 1:
        return count, count
    least, most = math.isqrt(count * count // 2) + 1, math.isqrt(2 * count * count)  # ⌈count/√2⌉ and ⌊count·√2⌋
    return (1 if group and count == SMALLEST else least), most


def in_brackets(count: int, counts: str, group: bool = True) -> str:
    """The range that a published count can stand for, in brackets after it; empty if it is one number."""
    least, most = meant(count, counts, group)
    return f" ({least} to {most})" if least < most else ""


def disclosed_card(card: Any, policy: Policy) -> dict[str, Any]:
    """A leg's data card as it may leave the site, with ``images`` and ``patients`` of each split, and ``corrected``,
    rounded as required.

    Raises:
        BadDocument: it does not match its schema.
    """
    counted = {**card, "counts": policy.sample_counts} if isinstance(card, dict) else card
    check_schema(manifest.DATA_CARD, counted)
    counts: dict[str, Any] = {
        kind: {split: grouped(count, policy) for split, count in card[kind].items()} for kind in ("images", "patients")
    }
    if "corrected" in card:
        counts["corrected"] = grouped(card["corrected"], policy)
    if audit := card.get("privacy_audit"):
        counts["privacy_audit"] = {**audit, **{k: grouped(audit[k], policy) for k in ("members", "others")}}
    return {**counted, **counts}


def disclosed_results(content: Any, policy: Policy) -> dict[str, Any]:
    """A leg's results as they may leave the site, with the number of images of each zero-shot score rounded as
    required.

    Raises:
        BadDocument: they don't match their schema.
    """
    check_schema(manifest.RESULTS, content)
    scores = [{**score, "images": grouped(score["images"], policy)} for score in content["zero_shot"]]
    return {**content, "zero_shot": scores}


def uncounted(name: str, data: bytes) -> Any:
    """Results or a memory's card without the counts that :func:`disclosed_results` or :func:`disclosed_memory` rounds.

    Raises:
        BadDocument: it does not match its schema.
    """
    found = read(name, data)
    if name == manifest.RESULTS:
        return replace(found, zero_shot=[replace(score, images=0) for score in found.zero_shot])
    return replace(found, privacy=replace(found.privacy, patients=0))


def disclosed_memory(name: str, content: Any, policy: Policy) -> dict[str, Any]:
    """A memory's card as it may leave the site. ``name``: ``memory.json`` or ``cumulative.json``.

    Raises:
        BadDocument: it does not match its schema.
    """
    check_schema(name, content)
    privacy = content["privacy"]
    return {**content, "privacy": {**privacy, "patients": disclosed(privacy["patients"], policy)}}


def _counts(claim: Claim, card: DataCard, memories: Mapping[str, MemoryCard]) -> Iterator[tuple[str, int]]:
    yield "samples", claim.samples
    for kind, splits in (("images", card.images), ("patients", card.patients)):
        yield from ((f"{kind}.{split}", count) for split, count in vars(splits).items())
    if isinstance(card, CorrectedDataCard):
        yield "corrected", card.corrected
    if audit := card.privacy_audit:
        yield from (("privacy_audit.members", audit.members), ("privacy_audit.others", audit.others))
    yield from ((f"{name}: privacy.patients", memory.privacy.patients) for name, memory in memories.items())
