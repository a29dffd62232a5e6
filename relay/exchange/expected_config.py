"""Do a bundle's net and images match this site's config?"""

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
    """Compare a leg with this site's config. ``there`` is the content of its ``handover.json``.

    Raises:
        ConfigMismatch: it lists every difference.
    """
    theirs, ours = flat({key: there.get(key) for key in ("model", "data")}), flat(vars(mine))
    wrong = [
        f"{key} is {theirs.get(key)!r} there, {ours.get(key)!r} here"
        for key in sorted(theirs.keys() | ours.keys() - {"config"})
        if theirs.get(key) != ours.get(key)
    ]
    if policy.same_config and claim.own_code:
        wrong.append(f"it was trained by the site's own code ({claim.own_code}), so its training is not known")
    elif policy.same_config and mine.config != claim.config:
        wrong.append("the scientific config differs (relay inspect shows theirs)")
    if wrong:
        raise ConfigMismatch(f"leg {claim.leg} by {claim.site} does not match this site's config: {'; '.join(wrong)}")
