"""What a leg with a guarantee costs: the noise that its epsilon allows, or the epsilon of its noise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from relay.config import PrivateTraining
from relay.errors import UserError
from relay.noise import Mechanism, epsilon_of, noise_for, strength
from relay.numbers import rounded_up

LARGEST = 100
"""The largest epsilon that is stated."""
SHARE = 0.1
"""The part of a leg's budget for the mean that its memory releases, as a share of m squared
(:mod:`relay.noise.means`)."""
MEAN = "the memory's mean"
"""Its name in an account."""


def mean_of(epsilon: float, delta: float) -> Mechanism:
    """The release of a memory's mean beside a training, within this epsilon. In whatever steps it is made, together
    they are as one."""
    return Mechanism(MEAN, rounded_up(1 / (math.sqrt(SHARE) * strength(epsilon, delta)), 5), 1.0, 1)


def priced(options: PrivateTraining, rate: float, counts: Mapping[str, int], release: bool) -> dict[str, Any]:
    """What a leg's account says of its cost: its mechanisms, one for each phase, all with the same noise, and last the
    memory's mean; and their epsilon, rounded up to two digits.

    Args:
        rate: with which chance a patient takes part in a step.
        counts: steps of each phase.
        release: whether the memory releases a mean.

    Raises:
        UserError: no noise is enough, or it guarantees nothing.
    """
    steps, noise, epsilon, delta = sum(counts.values()), options.noise, options.epsilon, options.delta

    def whole(made: Sequence[Mechanism]) -> float:
        return epsilon or rounded_up(epsilon_of(made, delta, options.accountant))

    beside = [mean_of(epsilon, delta)] if release and epsilon else []
    if noise is None:
        assert epsilon is not None
        noise = noise_for(epsilon, delta, rate, steps, beside, options.accountant)
    made = [Mechanism(f"phase {name}", noise, rate, count) for name, count in counts.items()]
    if release and not beside and whole(made) <= LARGEST:
        beside = [mean_of(whole(made), delta)]
    made, total = [*made, *beside], whole([*made, *beside])
    if total > LARGEST:
        raise UserError(
            f"train.privacy: noise {noise:g} over {steps} steps guarantees nothing (epsilon {total:g})",
            "Raise noise: about 1 is usual. Or give epsilon, and leave noise out.",
        )
    return {"epsilon": total, "mechanisms": [dataclasses.asdict(each) for each in made]}
