"""Make a difference of two models, or a model with differences added, where that makes sense: in one lineage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import relay
from relay.bundle import measure
from relay.errors import UserError
from relay.models import made
from relay.models.entry import Entry
from relay.models.lineage import Link, shared
from relay.models.made import Added, Combined, Difference
from relay.models.place import Place
from relay.models.weights import weights_of
from relay.trust import stamp

Warn = Callable[[str], None]
APART = (
    "Combine only models of one relay, which grew from the same first leg. relay models show PATH shows a lineage. A "
    "run's lineage goes back to what was received here: give the site's own folder with --home."
)
NORMS = (
    "the net has batch normalisation: its statistics are combined like weights, which only approximates the combined "
    "model's. Measure it before you use it"
)


def make_difference(before: Entry, after: Entry, path: Path, place: Place, warn: Warn) -> None:
    """Write the difference ``after - before``.

    Args:
        warn: called with everything that is legal but suspicious.

    Raises:
        UserError: they are not of one lineage, or not of one net.
        Refused: a bundle fails verification.
    """
    from relay.models import arithmetic

    a, b = before.told, after.told
    _check_model(before)
    _check_model(after)
    common = shared(b.lineage, a.lineage)
    _check_related(common, before.path, after.path)
    _check_head(before, after)
    if a.link.same(b.link):
        warn("A and B are the same model: their difference is zero")
    one, other = weights_of(before, place), weights_of(after, place)
    change = arithmetic.difference(one, other)
    if lost := arithmetic.inexact(one, other, change):
        warn(f"{lost:,} value(s) of B come back only approximately: A's are more than 2^29 times as large")
    about = Difference(
        made=stamp(place.clock()),
        relay=relay.__version__,
        before=a.link,
        after=b.link,
        lineage=list(common),
        head=a.head,
    )
    made.write(path, change, about)


def make_model(base: Entry, differences: Sequence[Path], scale: float, path: Path, place: Place, warn: Warn) -> None:
    """Write the model ``base + scale * (sum of differences)``; warns and raises as :func:`make_difference`."""
    from relay.models import arithmetic

    about, read = base.told, [_difference(each) for each in differences]
    _check_model(base)
    for each, one in zip(differences, read, strict=True):
        _check_related(shared(about.lineage, [*one.lineage, one.before, one.after]), base.path, each)
        _check_same_head(one.head, about.head, each, base.path)
    if not 0 <= scale <= 1:
        warn(f"scale {scale:g} is outside 0 to 1: it goes beyond both models")
    weights = weights_of(base, place)
    if any(name.endswith("running_mean") for name in weights):
        warn(NORMS)
    result = arithmetic.combined(weights, [made.tensors_of(each) for each in differences], scale)
    added = [
        Added(sha256=measure(each).sha256, before=one.before, after=one.after)
        for each, one in zip(differences, read, strict=True)
    ]
    told = Combined(
        made=stamp(place.clock()),
        relay=relay.__version__,
        scale=scale,
        differences=added,
        lineage=list(about.lineage),
        head=about.head,
        config=dict(about.config),
    )
    made.write(path, result, told)


def _difference(path: Path) -> Difference:
    found = made.read_made(path)
    if isinstance(found, Difference):
        return found
    raise UserError(
        f"{path} is a model, not a difference of two", "Make a difference first: relay models diff A B -o FILE"
    )


def _check_model(entry: Entry) -> None:
    if entry.kind == "made" and isinstance(made.read_made(entry.path), Difference):
        raise UserError(
            f"{entry.path} is a difference of two models, not a model",
            "Add it to a model first: relay models merge BASE DIFFERENCE -o FILE",
        )


def _check_related(common: Sequence[Link], one: Path, other: Path) -> None:
    if not common:
        raise UserError(f"{one} and {other} are not of one lineage: no model is known that both descend from", APART)


def _check_head(one: Entry, other: Entry) -> None:
    _check_same_head(one.told.head, other.told.head, one.path, other.path)


def _check_same_head(one: object, other: object, path: Path, there: Path) -> None:
    """Check that two models have one net, and read images and name classes in the same way."""
    for part in ("model", "data"):
        if getattr(one, part) != getattr(other, part):
            what = "nets" if part == "model" else "images or classes"
            raise UserError(
                f"{path} and {there} are for different {what}",
                "Compare them: relay models compare A B. Combine only models that were trained with the same settings.",
            )
