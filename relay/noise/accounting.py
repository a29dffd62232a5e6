"""How much epsilon is spent by what a site computes from its patients: Opacus's accountants, and their inverse.

Everything here is for one relation: two data sets are neighbours if one has a patient in whose place the other has
nothing; the number of patients is the same and is taken as known ("zero-out", Kairouz et al. 2021, arXiv:2103.00039).
For Poisson-sampled steps that is the same as adding or removing a patient.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from relay.errors import UserError
from relay.numbers import rounded_up

Accountant = Literal["prv", "rdp"]
MOST = 1e6
"""The largest noise that is tried."""
HIGH = (96, 128, 192, 256, 512, 1024)
"""Orders of Rényi divergence beside Opacus's own, without which no noise gives an epsilon below 0.2."""
CLOSE = 1.002
"""Ratio of neighbouring noises at the end of a search."""


@dataclass(frozen=True)
class Mechanism:
    """Gaussian noise, some times.

    Attributes:
        name: what it was for.
        noise: standard deviation, relative to the most that one patient can change (the noise multiplier).
        rate: with which chance each patient takes part, each time independently; 1 for always.
        steps: how many times.
    """

    name: str
    noise: float
    rate: float
    steps: int


def check_installed() -> None:
    """Check that there is an accountant.

    Raises:
        UserError: Opacus is not installed.
    """
    if importlib.util.find_spec("opacus") is None:
        raise UserError(
            "train.privacy needs the package opacus, which is not installed",
            "Install it: pip install 'relay-learning[dp]'. Or leave train.privacy out, to train without a guarantee.",
        )


def epsilon_of(mechanisms: Sequence[Mechanism], delta: float, accountant: Accountant) -> float:
    """Epsilon of all of them together: of Rényi differential privacy (``rdp``: Mironov 2017, arXiv:1702.07476), or of
    privacy random variables (``prv``, tighter: Gopi, Lee and Wutschitz 2021, arXiv:2106.02848).

    Infinite where the accountant can't tell, as with almost no noise.
    """
    check_installed()
    from opacus.accountants import create_accountant  # type: ignore[import-untyped]

    book: Any = create_accountant(mechanism=accountant)
    book.history = [(each.noise, each.rate, each.steps) for each in mechanisms]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of logarithms of zero, which are meant, and of a bound at the last order
        try:
            orders = {"alphas": [*book.DEFAULT_ALPHAS, *HIGH]} if accountant == "rdp" else {}
            found = float(book.get_epsilon(delta, **orders))
        except (RuntimeError, ValueError, OverflowError, MemoryError, ArithmeticError):
            return math.inf
    return found if math.isfinite(found) else math.inf


def noise_for(
    epsilon: float, delta: float, rate: float, steps: int, others: Sequence[Mechanism], accountant: Accountant
) -> float:
    """The least noise with which ``steps`` and all ``others`` together cost at most ``epsilon``.

    Raises:
        UserError: there is none: the others alone cost as much.
    """

    def fits(noise: float, how: Accountant = accountant) -> bool:
        return epsilon_of([Mechanism("", noise, rate, steps), *others], delta, how) <= epsilon

    high = 1.0
    while not fits(high, "rdp"):  # robust, and an upper bound of the other
        high *= 2
        if high > MOST:
            beside = "".join(f", with {each.name} beside it" for each in others)
            raise UserError(
                f"train.privacy: no noise is enough for epsilon {epsilon:g} and delta {delta:g}{beside}",
                "Raise epsilon or delta.",
            )
    low = high
    while fits(low, "rdp") and low > 1e-3:
        low /= 2
    low /= 2
    while high / low > CLOSE:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return rounded_up(high, 5)
