"""What a leg hands on: its model, its memories, and the facts about them, as plain tensors and JSON.

Strategies and memories read and make these. :mod:`relay.bundle.handover_files` turns them into files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import model_validator
from typing_extensions import Self

from relay.config import Field, options
from relay.errors import HandoverError, some

if TYPE_CHECKING:
    import torch
    from torch import Tensor


T = TypeVar("T")


@options
class Privacy:
    """What is known about how much a memory reveals about one patient.

    Attributes:
        derived: what its numbers are: ``aggregates`` over patients, ``weights`` (of the model's size, like gradients),
            or a ``generator`` of images.
        patients: smallest number of patients behind any of its numbers, rounded as the policy says; 0 if not counted.
        epsilon: of its release, by the Gaussian mechanism, for replacing one patient; null if there is no guarantee.
        delta: likewise; null if epsilon is.
    """

    derived: Literal["aggregates", "weights", "generator"]
    patients: Annotated[int, Field(ge=0)] = 0
    epsilon: Annotated[float, Field(gt=0)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    unit: Literal["patient"] = "patient"

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.epsilon is None) != (self.delta is None):
            raise ValueError("give both epsilon and delta, or neither")
        return self


@dataclass(frozen=True)
class MemoryState:
    """A memory as it travels: plain tensors, and a description of them.

    Attributes:
        tensors: by name, on the CPU, finite.
        kind: the name of the memory that wrote it and can read it: ``style``, ``flow``, ``ewc``, ...
        privacy: what is known about how much it reveals about a patient.
        about: anything else its reader needs, as plain JSON.
        audit: what an audit of it found; None if there was none.
    """

    tensors: Mapping[str, Tensor]
    kind: str
    privacy: Privacy
    about: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Any] | None = None

    @property
    def size(self) -> int:
        """Size of its tensors, in bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())


@dataclass(frozen=True)
class Handover:
    """Model, memories, and the facts about them.

    Attributes:
        model: the model's weights by name, on the CPU.
        memories: what each leg stores about its own site, by leg number. On reading, all of them so far; on writing,
            at most the leg's own.
        cumulative: a memory of all legs so far.
        facts: plain JSON: ``model``, ``data``, and ``legs``: for each leg so far, oldest first, its ``leg``,
            ``site``, ``strategy`` and ``train_samples``, as its own statement says; on reading, also the newest leg's
            ``config``.
        experts: each leg's model that is best at its own site, by leg number: weights by name, as :func:`compact`
            makes them. On reading, all that still travel; on writing, at most the leg's own.
    """

    model: Mapping[str, Tensor]
    memories: Mapping[int, MemoryState] = field(default_factory=dict)
    cumulative: MemoryState | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    experts: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)

    @property
    def legs(self) -> list[dict[str, Any]]:
        """What each leg so far said about itself, oldest first."""
        return list(self.facts.get("legs", []))

    @property
    def samples_seen(self) -> int:
        """Total number of training samples of all legs so far."""
        return sum(int(leg["train_samples"]) for leg in self.legs)

    def samples_elsewhere(self, site: str) -> int:
        """Total number of training samples of all other sites so far, as the newest leg of each says."""
        newest = {leg["site"]: int(leg["train_samples"]) for leg in self.legs}
        return sum(count for name, count in newest.items() if name != site)

    def by_site(self, by_leg: Mapping[int, T]) -> dict[str, T]:
        """The newest of each site, by name, in the order of the legs."""
        return {leg["site"]: by_leg[leg["leg"]] for leg in self.legs if leg["leg"] in by_leg}

    def others(self, site: str) -> dict[str, MemoryState]:
        """The newest memory of every other site that has one, by name, in the order of the legs."""
        return {name: state for name, state in self.by_site(self.memories).items() if name != site}


def compact(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as an expert travels: float32 as float16, half the size, where every value fits."""
    import torch

    largest = torch.finfo(torch.float16).max
    return {
        name: tensor.half()
        if tensor.dtype == torch.float32 and bool((tensor.abs() <= largest).all())
        else tensor.clone()
        for name, tensor in ((name, tensor.detach().cpu()) for name, tensor in weights.items())
    }


def load_expert(model: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load an expert's weights, which may be float16, into a net, as :func:`load_model` does.

    Raises:
        HandoverError: they don't match, or are not finite. The net is unchanged.
    """
    import torch

    have = model.state_dict()
    load_model(
        model,
        {
            name: tensor.to(have[name].dtype) if tensor.dtype == torch.float16 and name in have else tensor
            for name, tensor in weights.items()
        },
    )


def load_model(model: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load received weights into a net: names, shapes and types must match exactly, and values must be finite.

    Raises:
        HandoverError: some don't; the message names the first few. The net is unchanged.
    """
    have = model.state_dict()
    wrong = [f"{k}: missing" for k in have.keys() - weights.keys()]
    wrong += [f"{k}: not in the net" for k in weights.keys() - have.keys()]
    for name in have.keys() & weights.keys():
        mine, theirs = have[name], weights[name]
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            wrong.append(
                f"{name}: {tuple(theirs.shape)} {theirs.dtype}, but the net has {tuple(mine.shape)} {mine.dtype}"
            )
        elif not theirs.isfinite().all():
            wrong.append(f"{name}: not finite")
    if wrong:
        shown = some(sorted(wrong), between="; ")
        raise HandoverError(f"the weights don't match the net of this config: {shown}")
    model.load_state_dict(weights)
