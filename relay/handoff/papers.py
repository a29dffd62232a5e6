"""The papers beside a claim: a leg's results, the card of its data, its config, and what its weights are of.

Other sites show them to people and pass them on. So none of it is free text: the keys are listed, names are plain
words, numbers have ranges, and what the claim says as well must be the same. And what may be told: a hospital's exact
sample counts are its own business, so that unless the study's policy says ``sample_counts: exact``, what leaves is
the nearest power of two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from relay.config.options import Field, options
from relay.handoff import manifest
from relay.handoff.document import Name, parse, shaped
from relay.handoff.policy import Policy
from relay.handoff.refusals import BadDocument, PolicyBreach
from relay.handoff.statement import Claim, Count, Text

MAX_TEXT = 200
"""Characters of a text in a config."""
MAX_ITEMS = 1000
"""Of a list or an object in a config."""
ADVICE = (
    "Other sites will read this: names (of classes, too) are plain letters and digits, texts are short, and there are "
    "no other keys than docs/reference/bundle-format.md lists. Change the config, and train with a new note (-n)."
)
"""For whoever is to send papers of another form."""
KEY = r"^[A-Za-z0-9_.-]{1,200}$"


def _plain(value: Any) -> Any:
    if isinstance(value, str) and not (value.isprintable() and len(value) <= MAX_TEXT):
        raise ValueError(f"a text must be printable, of at most {MAX_TEXT} characters")
    if isinstance(value, list | dict) and len(value) > MAX_ITEMS:
        raise ValueError(f"{len(value)} items, allowed are {MAX_ITEMS}")
    if isinstance(value, dict) and (odd := [key for key in value if not re.fullmatch(KEY, key)]):
        raise ValueError(f"{odd[0][:50]!a} is not a plain key")
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _plain(item)
    return value


Key = Annotated[str, Field(pattern=KEY)]
Plain = Annotated[Any, AfterValidator(_plain)]
"""Null, a boolean, a number, a short printable text; or a list of these, or an object of these with plain keys."""
Config = Annotated[dict[Key, Plain], Field(max_length=MAX_ITEMS)]
"""``config.json``: the scientific config, flat."""


@options
class Model:
    """A net and all its options."""

    name: Text
    kwargs: Config


@options
class Reads:
    """What a solver expects of an image, and says about it.

    Attributes:
        classes: their names, background first.
        channels: of an image.
        out_range: what the lowest and the highest intensity became.
    """

    classes: Annotated[list[Text], Field(min_length=1, max_length=255)]
    channels: Annotated[int, Field(ge=1)]
    out_range: tuple[float, float]


@options
class Head:
    """``carry.json``: what the weights are of."""

    format: Literal[1] = 1
    model: Model
    data: Reads


@options
class Splits:
    """A count for each split."""

    train: Count
    val: Count
    test: Count


@options
class DataCard:
    """``data-card.json``: the data a leg learned from, in counts.

    Attributes:
        size: of an image or a patch, in pixels or voxels, slowest axis first; null where sizes differ.
        counts: whether they are rounded to powers of two.
    """

    format: Literal[1] = 1
    site: Name
    task: Text
    classes: Annotated[list[Text], Field(min_length=1, max_length=255)]
    channels: Annotated[int, Field(ge=1)]
    size: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=3)] | None
    images: Splits
    patients: Splits
    counts: Literal["rounded", "exact"]


@options
class Row:
    """A mean score (0 to 1) of a class on a site's test set; null where nothing could be measured."""

    site: Name
    label: Text
    metric: Text
    mean: Annotated[float, Field(ge=0, le=1)] | None


@options
class Results:
    """``results.json``: how the model of a leg, trained at a site, scores."""

    format: Literal[1] = 1
    leg: Annotated[int, Field(ge=1)]
    trained: Name
    rows: list[Row]


FORMS: Mapping[str, Any] = {
    manifest.CARRY: Head,
    manifest.CONFIG: Config,
    manifest.DATA_CARD: DataCard,
    manifest.RESULTS: Results,
}


def check(documents: Mapping[str, bytes], claim: Claim, policy: Policy) -> None:
    """Hold a leg's papers against their forms, and against its claim.

    Args:
        documents: by name; ``results.json`` and ``data-card.json`` must be among them.
        policy: of the roster that the leg was made under.

    Raises:
        BadDocument: another form, or of another leg or site than the claim.
        PolicyBreach: counts are told that must be rounded.
    """
    found = {name: parse(FORMS[name], data, f"{name} of leg {claim.leg}") for name, data in documents.items()}
    results, card = found[manifest.RESULTS], found[manifest.DATA_CARD]
    if (results.leg, results.trained) != (claim.leg, claim.site):
        raise BadDocument(
            f"{manifest.RESULTS} of leg {claim.leg}, by {claim.site}, says leg {results.leg}, by {results.trained}"
        )
    if card.site != claim.site:
        raise BadDocument(f"{manifest.DATA_CARD} of leg {claim.leg}, by {claim.site}, is of {card.site}")
    if policy.sample_counts == "rounded":
        odd = [f"{key} = {count}" for key, count in _counts(claim, card) if count != told(count, policy)]
        if odd or card.counts != "rounded":
            what = ", ".join(odd) or f"{manifest.DATA_CARD} calls them {card.counts}"
            raise PolicyBreach(f"leg {claim.leg} by {claim.site}: counts must be rounded to powers of two: {what}")


def read(name: str, data: bytes) -> Any:
    """A paper, in its form; ``name``: as in a bundle.

    Raises:
        BadDocument: it is of another one.
    """
    return parse(FORMS[name], data, name)


def check_form(name: str, content: Any) -> None:
    """Whether plain values have the form of a paper.

    Raises:
        BadDocument: at which key they have not.
    """
    shaped(FORMS[name], content, name)


def told(count: int, policy: Policy) -> int:
    """A count as it may leave the site; telling what was told before changes nothing."""
    return count if policy.sample_counts == "exact" or count < 1 else 2 ** round(math.log2(count))


def told_card(card: Any, policy: Policy) -> dict[str, Any]:
    """A data card, as a leg wrote it, as it may leave the site: its ``images`` and ``patients`` of each split.

    Raises:
        BadDocument: it is not of the known form.
    """
    counted = {**card, "counts": policy.sample_counts} if isinstance(card, dict) else card
    check_form(manifest.DATA_CARD, counted)
    counts = {
        kind: {split: told(count, policy) for split, count in card[kind].items()} for kind in ("images", "patients")
    }
    return {**counted, **counts}


def _counts(claim: Claim, card: DataCard) -> Iterator[tuple[str, int]]:
    yield "samples", claim.samples
    for kind, splits in (("images", card.images), ("patients", card.patients)):
        yield from ((f"{kind}.{split}", count) for split, count in vars(splits).items())
