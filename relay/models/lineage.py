"""Where a model comes from: the legs before it, each by the digests of what it handed on."""

from __future__ import annotations

from collections.abc import Sequence

from relay.config import options
from relay.trust import Count, Name, Sha256


@options
class Link:
    """A model in a lineage.

    Attributes:
        id: digest of all weights its leg handed on (:func:`relay.bundle.weights_digest`), which the next leg names as
            its start.
        model: SHA-256 of its ``model.safetensors``; null if only ``id`` is known.
        leg, site: of the leg that trained it; null if they aren't known. ``leg`` is null, too, if no leg trained it.
    """

    id: Sha256
    model: Sha256 | None = None
    leg: Count | None = None
    site: Name | None = None

    @property
    def text(self) -> str:
        """The model in a few words."""
        what = f"leg {self.leg} by {self.site}" if self.leg else f"a model of {self.site}" if self.site else "a model"
        return f"{what} ({self.id[:12]})"

    def same(self, other: Link) -> bool:
        """Whether both are one model. An expert that does not travel changes ``id``, but not ``model``."""
        return self.id == other.id or (self.model is not None and self.model == other.model)


Lineage = tuple[Link, ...]
"""A model and those it descends from, oldest first, as far back as is known; the last one is the model itself."""


def shared(one: Sequence[Link], other: Sequence[Link]) -> Lineage:
    """The models in both lineages, oldest first."""
    ids, models = {link.id for link in other}, {link.model for link in other if link.model}
    return tuple(link for link in one if link.id in ids or link.model in models)


def relation(one: Lineage, other: Lineage) -> str:
    """How two models, called A and B, are related, in a sentence."""
    common = shared(one, other)
    if one[-1].same(other[-1]):
        return "A and B are the same model."
    if not common:
        return "No common ancestor of A and B is known: they are not of one lineage."
    if common[-1].same(one[-1]):
        return f"B descends from A, which is {common[-1].text}."
    if common[-1].same(other[-1]):
        return f"A descends from B, which is {common[-1].text}."
    return f"A and B are of one lineage: both descend from {common[-1].text}."
