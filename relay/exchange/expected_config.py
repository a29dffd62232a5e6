"""Do a bundle's net and images fit this site's config?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.config import flat
from relay.trust import Claim, ConfigMismatch, Policy


@dataclass(frozen=True)
class ExpectedConfig:
    """What this site's config expects: ``model`` and ``data`` as in ``handover.json``, and ``config``'s digest."""

    model: Mapping[str, Any]
    data: Mapping[str, Any]
    config: str


def check_fit(there: Mapping[str, Any], claim: Claim, mine: ExpectedConfig, policy: Policy) -> None:
    """Compare a leg with this site's config. ``there``: the content of its ``handover.json``.

    Raises:
        ConfigMismatch: naming all that differs.
    """
    theirs, ours = flat({key: there.get(key) for key in ("model", "data")}), flat(vars(mine))
    wrong = [
        f"{key} is {theirs.get(key)!r} there, {ours.get(key)!r} here"
        for key in sorted(theirs.keys() | ours.keys() - {"config"})
        if theirs.get(key) != ours.get(key)
    ]
    if policy.same_config and mine.config != claim.config:
        wrong.append("the scientific config is another one (relay inspect shows theirs)")
    if wrong:
        raise ConfigMismatch(f"leg {claim.leg} by {claim.site} does not fit this site's config: {'; '.join(wrong)}")
