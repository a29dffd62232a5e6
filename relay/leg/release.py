"""What a leg with a guarantee may take from its training images beside its fits: one mean over patients, with noise.

It is charged with the leg's training, and has its noise from the leg's key: a leg that is stopped and resumed
releases the same numbers again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from relay.data import SiteData, patients_of
from relay.errors import UserError
from relay.leg.guarantee import Guarantee
from relay.leg.training import images_of
from relay.noise import Axes, Noisy, noisy_mean
from relay.phase import Batch
from relay.plan import Leg


class Release:
    """A leg's mean with noise, made once; :attr:`relay.phase.Training.noisy_mean`.

    Args:
        leg, sites, device: whose training images.

    Attributes:
        guarantee: of the leg; nothing is released before its account has been drawn up and charged.
    """

    def __init__(self, leg: Leg, sites: Sequence[SiteData], device: torch.device) -> None:
        self._images = partial(images_of, leg, sites, device)
        self._patients = patients_of([site.split.train for site in sites])
        self.guarantee: Guarantee | None = None
        self._made = False

    def __call__(self, describe: Callable[[Iterator[Batch]], Tensor], axes: Axes, reach: float) -> Noisy:
        """The mean of the patients' descriptions.

        Raises:
            UserError: it has been made before, or is not in the leg's account.
        """
        guarantee: Any = self.guarantee
        if self._made or guarantee is None or guarantee.strong is None:
            raise UserError(
                "train.privacy: this strategy, or its memory, asks for a mean of its images that is not in the account",
                "A memory may ask for one, in draw() or learn(), if its attribute 'noised' says so.",
            )
        self._made = True
        each = [describe(self._images(places)).double().cpu() for places in self._patients.values()]
        vectors = torch.stack(each).nan_to_num(0.0, 0.0, 0.0)
        return noisy_mean(
            vectors, axes, guarantee.strong, reach, lambda many, step: guarantee.secret.normal(many, "release", step)
        )
