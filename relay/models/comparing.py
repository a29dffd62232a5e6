"""Where two models differ: what their cards say, their scores, their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import TYPE_CHECKING, Any

from relay.config import flat
from relay.errors import UserError
from relay.models.about import About, Scores
from relay.models.entry import Entry
from relay.models.library import Library
from relay.models.lineage import relation
from relay.models.place import Place
from relay.models.weights import weights_of
from relay.numbers import MISSING
from relay.trust import canonical, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Distance:
    """How far the weights of two models are apart.

    Attributes:
        layer: the name of its tensors without the last part: ``down.conv.weight`` belongs to ``down.conv``.
        values: how many.
        relative: norm of the difference over the norm of A's weights; None if these are all zero.
    """

    layer: str
    values: int
    relative: float | None


@dataclass(frozen=True)
class Comparison:
    """Where two models, A and B, differ.

    Attributes:
        relation: whether they are of one lineage, in a sentence.
        facts: what their cards say differently: a name, A's value, B's value.
        score_name: what the scores are called.
        scores: each test set with the score of A and that of B, None for what was not measured; empty if their scores
            are of different metrics.
        distances: of all weights, then layer by layer; empty if they can't be compared, and ``why`` says why.
    """

    relation: str
    facts: Sequence[tuple[str, str, str]]
    score_name: str
    scores: Sequence[tuple[str, float | None, float | None]]
    distances: Sequence[Distance]
    why: str


def compared(one: Entry, other: Entry, place: Place) -> Comparison:
    """Compare two models. The weights of a bundle are only read after it is verified.

    Raises:
        UserError: one can't be opened or read.
    """
    a, b = one.told, other.told
    same, known = a.score_name == b.score_name, Library([one, other])
    found = _scores(known.scores(one), known.scores(other)) if same else ()
    far: list[Distance] = []
    why = "their nets have no tensor in common"
    try:
        far = distances(weights_of(one, place), weights_of(other, place))
    except UserError as error:
        why = str(error)
    measured = far if far and far[0].values else []
    return Comparison(relation(a.lineage, b.lineage), facts(a, b), a.score_name, [*found], measured, why)


def facts(one: About, other: About) -> list[tuple[str, str, str]]:
    """What two cards say differently, as in :class:`Comparison`."""
    a, b = _facts(one), _facts(other)
    names = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    return [(name, _text(a.get(name)), _text(b.get(name))) for name in names]


def _facts(about: About) -> dict[str, Any]:
    told = {"study": about.study, "leg": about.leg, "site": about.site, "date": about.date[:10]}
    told |= {"strategy": about.strategy, "samples": about.samples, "net": about.net, "task": about.task}
    told |= {"score": about.score_name}
    head = read(canonical(about.head), "handover.json")
    told |= {f"data.{key}": value for key, value in head["data"].items() if key != "task"}
    told |= {f"model.{key}": value for key, value in flat({"kwargs": head["model"]["kwargs"]}).items()}
    return told | {k: v for k, v in about.config.items() if not k.startswith(("data.", "model.", "strategy.name"))}


def _text(value: Any) -> str:
    return MISSING if value is None else str(value)


def _scores(one: Scores, other: Scores) -> Iterator[tuple[str, float | None, float | None]]:
    for site in {**one, **other}:
        yield site, one.get(site), other.get(site)


def distances(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[Distance]:
    """The relative distance of two models' weights: of all, then layer by layer."""
    from relay.models import arithmetic

    layers: dict[str, list[tuple[int, float, float]]] = {}
    for name, count, moved, norm in arithmetic.distances(one, other):
        layers.setdefault(name.rpartition(".")[0] or name, []).append((count, moved, norm))
    every = [part for parts in layers.values() for part in parts]
    return [_distance("all weights", every), *(_distance(layer, parts) for layer, parts in layers.items())]


def _distance(layer: str, parts: list[tuple[int, float, float]]) -> Distance:
    moved, norm = (hypot(*(part[k] for part in parts)) for k in (1, 2))
    return Distance(layer, sum(part[0] for part in parts), moved / norm if norm else None)
