"""The acceptance gate: after a bundle is verified, do its weights look sane?

A signature says who made the weights, not that they are good. The gate finds accidents and crude faults: values that
are not finite, layers with outliers, layers that moved much further than training moves them. It does not find a
careful attack (docs/explanation/threat-model.md).

Where a config is at hand the leg does more, before it trains: the weights must fit its net exactly, and are scored
on the local validation images (:func:`check_score`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from relay.errors import UserError
from relay.handoff import manifest
from relay.handoff.carry import Carry
from relay.handoff.desk import Desk
from relay.handoff.policy import Gate, Policy
from relay.handoff.refusals import GateFailed, plain

if TYPE_CHECKING:
    from torch import Tensor

SLICE = 2**20
"""Values that are reckoned with at once."""


def weigh(carry: Carry, desk: Desk, policy: Policy) -> list[str]:
    """Hold weights that were just verified against the policy's gate; returns what was found, for the reader.

    Raises:
        GateFailed: something is wrong with them, and the policy says to refuse.
    """
    memories = {f" in the memory of leg {leg}": part for leg, part in carry.memories.items()}
    memories |= {" in the running memory": carry.running} if carry.running else {}
    odd = (found for where, part in memories.items() for found in _useless(part.tensors, where))
    if never := [*_useless(carry.solver), *odd]:
        raise GateFailed(f"the weights can't be used: {_some(never)}")
    last = last_known(desk)
    found = [*outliers(carry.solver, policy.gate.max_outlier)]
    found += changes(carry.solver, last, policy.gate.max_relative_change) if last else []
    if found and policy.gate.on_failure == "refuse":
        raise GateFailed(f"the weights look wrong: {_some(found)}")
    compared = "compared with the last weights known here" if last else "no earlier weights here to compare with"
    return [*(plain(f"warning: {text}") for text in found), f"weights are finite; {compared}"]


def check_score(dice: float, gate: Gate) -> None:
    """Hold the incoming solver's Dice on the local validation images against the policy.

    Raises:
        GateFailed: it is below ``min_dice``, and the policy says to refuse.
    """
    if gate.min_dice is not None and dice < gate.min_dice and gate.on_failure == "refuse":
        raise GateFailed(f"the incoming solver scores {dice:.3f} on the local validation images, below {gate.min_dice}")


def last_known(desk: Desk) -> Mapping[str, Tensor]:
    """The solver's weights of the newest leg that this site has signed; empty for none.

    Raises:
        UserError: they are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    signed = desk.record().signed
    path = desk.signed(max(signed)) / manifest.SOLVER if signed else None
    try:
        return load_file(path) if path and path.is_file() else {}
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path}, which this site has signed, can't be read: {error}",
            "Check the disk, and restore the folder from a backup; its bundle is sealed to the next site, not to this.",
        ) from error


def outliers(weights: Mapping[str, Tensor], limit: float | None) -> list[str]:
    """Layers whose largest value is over ``limit`` times their root mean square."""
    found = []
    for name, tensor in weights.items():
        if limit is None or not tensor.is_floating_point() or tensor.numel() < 2:
            continue
        if (peak := max(float(part.double().abs().max()) for part in _slices(tensor))) == 0:
            continue
        # scaled first: squares of large numbers are infinite
        squares = sum(float((part.double() / peak).square().sum()) for part in _slices(tensor))
        if (ratio := (tensor.numel() / squares) ** 0.5) > limit:
            found.append(f"{name}: its largest value is {ratio:.0f} times its RMS (limit {limit:g})")
    return found


def changes(weights: Mapping[str, Tensor], last: Mapping[str, Tensor], limit: float | None) -> list[str]:
    """Layers that moved further than ``limit`` times their own norm since the last weights known."""
    found = []
    for name in weights.keys() & last.keys():
        new, old = weights[name], last[name]
        if limit is None or not new.is_floating_point() or new.shape != old.shape:
            continue
        norm = _norm(_slices(old))
        moved = (a.double() - b.double() for a, b in zip(_slices(new), _slices(old), strict=True))
        if norm > 0 and (ratio := _norm(moved) / norm) > limit:
            found.append(f"{name}: changed by {ratio:.1f} times its norm (limit {limit:g})")
    return sorted(found)


def _useless(weights: Mapping[str, Tensor], where: str = "") -> Iterator[str]:
    for name, tensor in weights.items():
        try:
            fine = all(_finite(part) for part in _slices(tensor))
        except RuntimeError:
            yield f"{name}{where} is of the type {tensor.dtype}, which torch can't reckon with"
        else:
            if not fine:
                yield f"{name}{where} is not finite"


def _finite(tensor: Tensor) -> bool:
    # as double, because torch can't ask this of its 8-bit floats
    return bool((tensor.double() if tensor.is_floating_point() else tensor).isfinite().all())


def _slices(tensor: Tensor) -> Iterator[Tensor]:
    """A tensor's values, so many at a time: widened all at once they would take many times the room of the file."""
    values = tensor.reshape(-1)
    return (values[start : start + SLICE] for start in range(0, values.numel(), SLICE))


def _norm(parts: Iterable[Tensor]) -> float:
    return math.hypot(*(float(part.double().norm()) for part in parts))


def _some(found: list[str]) -> str:
    return "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
