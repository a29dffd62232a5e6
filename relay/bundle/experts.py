"""What people read about the experts in a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from relay.bundle import manifest
from relay.trust import Claim


def lines(claims: Sequence[Claim], sizes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Every expert, for people: whose it is, how large, and what it is.

    Args:
        claims: of all legs, oldest first.
        sizes: in bytes, of the entries that are there: an expert may have been withdrawn.
    """
    entries = [manifest.earlier(claim.leg, manifest.EXPERT) for claim in claims[:-1]]
    for name, claim in zip([*entries, manifest.EXPERT], claims, strict=True):
        if name in sizes:
            text = f"{sizes[name]:,} B; a model fitted to that hospital alone"
            yield f"expert of leg {claim.leg}, by {claim.site}", text
