"""What a site releases with noise: one mean of few numbers, for painting and for routing alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from relay.memory.appearance import Form
from relay.memory.describing import Described
from relay.memory.looks import Looks, guessed, sparse
from relay.memory.moments import Moments, means
from relay.memory.private import REACH, Axes, noise_of, noisy_mean

if TYPE_CHECKING:
    from relay.memory.style import StyleOptions

ENOUGH = 0.1
"""Noise that does not matter much, in descriptions from -1 to 1: hospitals differ by several times as much."""


def release(looks: Described, form: Form, option: StyleOptions) -> tuple[Moments, Looks]:
    """Private together, with the options' epsilon and delta, for replacing a patient.

    Nothing else depends on who is among the patients: not which regions are described, either. An absent region of a
    patient looks as that patient's whole image.
    """
    assert option.epsilon is not None
    whole, regions = means(sparse(looks.images), looks.patient), means(looks.filled(alone=True), looks.whose)
    found = noisy_mean(torch.cat([whole, regions], 1), _axes(form), option.epsilon, option.delta, _reach(option))
    mean, size = found.mean.float(), whole.shape[1]
    moments = Moments(mean[size:], mean.new_empty(0, form.size), mean.new_empty(0))
    return moments, guessed(mean[:size], found.noise[:size].float())


def doubt(patients: int, form: Form, option: StyleOptions) -> str | None:
    """Why so many patients are too few, if they are."""
    if (noise := _noise(patients, form, option)) <= ENOUGH:
        return None
    enough = patients
    while _noise(enough, form, option) > ENOUGH:
        enough = math.ceil(1.1 * enough)
    return (
        f"with epsilon {option.epsilon:g} and {patients} patients to train on, the noise in its memory is "
        f"{noise * 127.5:.0f} of 255 grey levels: later sites will hardly know this one. About {enough} patients would "
        "be enough"
    )


def _noise(patients: int, form: Form, option: StyleOptions) -> float:
    """The root mean square of what is added to each number."""
    assert option.epsilon is not None
    found = noise_of(patients, _axes(form), option.epsilon, option.delta, _reach(option))
    return math.sqrt(float(found.square().mean()))


def _axes(form: Form) -> Axes:
    """The image as a whole and each region, by channel and quantile; then the area-to-perimeter ratios."""
    return Axes.of((1 + form.regions, form.channels, form.quantiles), form.size - form.intensities)


def _reach(option: StyleOptions) -> float:
    return min(REACH, option.clip)
