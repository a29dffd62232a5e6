"""What an earlier site released, checked: it is untrusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relay.errors import HandoverError
from relay.handover import MemoryState
from relay.memory import looks
from relay.memory.appearance import Form
from relay.memory.moments import Moments

OTHERS = "Every site of a study must use the same options of its memory: see directions."
AGAIN = "Ask that site for its leg again."


@dataclass(frozen=True, eq=False)
class Earlier:
    """A site's release: how it measured, its moments, and which of their numbers say something."""

    form: Form
    moments: Moments
    described: Tensor


def about(form: Form) -> dict[str, Any]:
    """What a description consists of, as plain JSON."""
    return {
        "channels": form.channels,
        "quantiles": form.quantiles,
        "regions": form.regions,
        "area_to_perimeter": form.area_to_perimeter,
    }


def read(site: str, state: MemoryState, forms: Sequence[Form], limit: int) -> Earlier:
    """The style memory of a site.

    Args:
        forms: in which it may be; the first is the expected one.
        limit: most directions.

    Raises:
        HandoverError: it was measured otherwise, or is not what a site releases.
    """
    form = next((form for form in forms if dict(state.about) == about(form)), None)
    if form is None:
        raise HandoverError(f"the memory of {site} has {dict(state.about)}, this config's {about(forms[0])}")
    looks.read(site, state)
    tensors = {name: tensor for name, tensor in state.tensors.items() if not name.startswith(looks.PREFIX)}
    found = {name: (str(tensor.dtype), *tensor.shape) for name, tensor in tensors.items()}
    many, size, real = found.get("spread", ("", 0))[-1], form.size, str(torch.float32)
    if found != {
        "mean": (real, size),
        "directions": (real, many, size),
        "spread": (real, many),
        "described": (str(torch.bool), size),
    }:
        raise HandoverError(f"the memory of {site} does not fit this config: its tensors are {found}")
    if limit < int(many):
        raise HandoverError(f"the memory of {site} has {many} directions; this config allows {limit}", OTHERS)
    moments = Moments(tensors["mean"], tensors["directions"], tensors["spread"])
    longest = moments.directions.norm(dim=1)
    # NaN, too, is not within these
    sane = (moments.mean.abs() <= 1, longest <= 1.01, moments.spread >= 0, moments.spread <= math.sqrt(size))
    if not all(bool(test.all()) for test in sane):
        raise HandoverError(f"the memory of {site} has values that no release has", AGAIN)
    return Earlier(form, moments, tensors["described"])
