"""What a site releases with noise: one mean of few numbers, for painting and for routing alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relay.memory.appearance import ENDS, Form
from relay.memory.describing import Described
from relay.memory.looks import Looks, guessed, sparse
from relay.memory.moments import Moments, means
from relay.noise import REACH, Axes, Noisy, noise_of

ENOUGH = 0.1
"""Noise that does not matter much, in descriptions from -1 to 1: hospitals differ by several times as much."""


def vectors(looks: Described) -> Tensor:
    """What of each patient goes into the mean: float64 ``(n, d)``.

    Nothing in a row depends on other patients: not which regions are described, either. An absent region of a
    patient looks as that patient's whole image.
    """
    whole, regions = means(sparse(looks.images), looks.patient), means(looks.filled(alone=True), looks.whose)
    return torch.cat([whole, regions], 1)


def released(found: Noisy, form: Form) -> tuple[Moments, Looks]:
    """The moments of regions and the looks of whole images, from a noisy mean of :func:`vectors`."""
    mean, size = found.mean.float(), len(found.mean) - form.size
    moments = Moments(mean[size:], mean.new_empty(0, form.size), mean.new_empty(0))
    return moments, guessed(mean[:size], found.noise[:size].float())


def finer(mean: Tensor, few: Form, form: Form) -> Tensor:
    """A mean description of few quantiles ``(few.size,)`` as one of another number of them ``(form.size,)``: between
    quantiles, straight lines."""
    if few == form:
        return mean
    at = torch.linspace(*ENDS, form.quantiles).sub(ENDS[0]).div((ENDS[1] - ENDS[0]) / (few.quantiles - 1))
    left = at.long().clamp(max=few.quantiles - 2)
    curves = mean[: few.intensities].view(-1, few.quantiles)
    found = torch.lerp(curves[:, left], curves[:, left + 1], (at - left).to(mean))
    return torch.cat([found.flatten(), mean[few.intensities :]])


def doubt(patients: int, form: Form, strong: float, clip: float) -> str | None:
    """Why so many patients are too few, if they are, for a release that is ``strong``-GDP."""

    def noise(many: int) -> float:
        """The root mean square of what is added to each number."""
        return math.sqrt(float(noise_of(many, axes(form), strong, reach(clip)).square().mean()))

    if (here := noise(patients)) <= ENOUGH:
        return None
    enough = patients
    while noise(enough) > ENOUGH:
        enough = math.ceil(1.1 * enough)
    return (
        f"{patients} patients to train on, the noise in its memory is {here * 127.5:.0f} of 255 grey levels: later "
        f"sites will hardly know this one. About {enough} patients would be enough"
    )


def axes(form: Form) -> Axes:
    """The image as a whole and each region, by channel and quantile; then the area-to-perimeter ratios."""
    return Axes.of((1 + form.regions, form.channels, form.quantiles), form.size - form.intensities)


def reach(clip: float) -> float:
    """Of the first ball, by the option ``clip``."""
    return min(REACH, clip)
