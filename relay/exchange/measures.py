"""How large weights are, how far they moved, and whether training could have caused that (imports torch).

Every measure is relative to a size that does not depend on the largest values themselves and is not zero for a tensor
of zeros: a bias that starts at zero may move, and one huge value stands out in a tensor of any length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

SLICE = 2**20
"""How many values are processed at a time."""
STATISTICS = ("running_mean", "running_var")
"""Batch normalisation statistics, which are as large as the activations."""
COUNTS = ("running_var", "num_batches_tracked")
"""Variances and counts of batch normalisation, which are never negative."""


def unit(name: str, tensor: Tensor) -> float:
    """A size that is unremarkable for this tensor's values in any net, whatever they were before: about three times
    what a wide layer, a bias or the activation statistics start with or soon reach."""
    if name.endswith(STATISTICS):
        return 100.0
    return 0.03 if tensor.ndim > 1 else 0.3


def rms(tensor: Tensor) -> float:
    """Root mean square; 0 if there are no values."""
    return _norm(slices(tensor)) / math.sqrt(max(tensor.numel(), 1))


def outliers(weights: Mapping[str, Tensor], limit: float | None) -> list[str]:
    """Tensors whose largest value is over ``limit`` times the median value, or times :func:`unit` if that is larger.

    The median is of at most :data:`SLICE` evenly spaced values. The root mean square would not do: however large one of
    n values is, it can't be more than sqrt(n) times that.
    """
    found = []
    for name, tensor in _floating(weights, limit):
        largest = max(float(part.double().abs().max()) for part in slices(tensor))
        usual = max(_median(tensor), unit(name, tensor))
        if limit is not None and largest > limit * usual:
            found.append(
                f"{name}: its largest value is {largest:.3g}, {largest / usual:.3g} times the usual (limit {limit:g})"
            )
    return found


def oversized(weights: Mapping[str, Tensor], limit: float | None, fresh: Mapping[str, float] | None) -> list[str]:
    """Tensors whose RMS is over ``limit`` times that of an untrained net.

    Args:
        fresh: :func:`rms` of the tensors of such a net by name; None if unknown, which counts as 1.
    """
    found = []
    for name, tensor in _floating(weights, limit):
        begun = 1.0 if fresh is None else fresh.get(name, 0.0)
        usual = max(begun, unit(name, tensor)) if name.endswith(STATISTICS) else begun or unit(name, tensor)
        if limit is not None and (size := rms(tensor)) > limit * usual:
            found.append(
                f"{name}: its RMS is {size:.3g}, {size / usual:.3g} times an untrained net's (limit {limit:g})"
            )
    return found


def changes(weights: Mapping[str, Tensor], last: Mapping[str, Tensor], limit: float | None) -> list[str]:
    """Tensors that moved further than ``limit`` times their own norm since the last known weights.

    If their values were smaller than :func:`unit`, or zero, use the norm they would have with values of that size.
    """
    found = []
    for name, new in _floating(weights, limit):
        old = last.get(name)
        if old is None or new.shape != old.shape:
            continue
        least = unit(name, new) * math.sqrt(new.numel())
        moved = (a.double() - b.double() for a, b in zip(slices(new), slices(old), strict=True))
        norm = max(_norm(slices(old)), least)
        if limit is not None and (ratio := _norm(moved) / norm) > limit:
            found.append(f"{name}: changed by {ratio:.3g} times its norm (limit {limit:g})")
    return sorted(found)


def differences(weights: Mapping[str, Tensor], last: Mapping[str, Tensor]) -> list[str]:
    """Names, shapes and types that differ from those of the last known weights."""
    found = [f"{name}: not in the last weights known here" for name in weights.keys() - last.keys()]
    found += [f"{name}: missing, but in the last weights known here" for name in last.keys() - weights.keys()]
    for name in weights.keys() & last.keys():
        new, old = ((tuple(w[name].shape), w[name].dtype) for w in (weights, last))
        if new != old:
            found.append(f"{name}: {new[0]} {new[1]}, but {old[0]} {old[1]} in the last weights known here")
    return sorted(found)


def unlike(expert: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> Iterator[str]:
    """Names, shapes and types of an expert that are not the model's; float16 may stand for float32."""
    yield from (f"{name}: missing, but in the model" for name in sorted(model.keys() - expert.keys()))
    yield from (f"{name}: not in the model" for name in sorted(expert.keys() - model.keys()))
    for name in sorted(expert.keys() & model.keys()):
        mine, other = expert[name], model[name]
        halved = mine.dtype == torch.float16 and other.dtype == torch.float32
        if mine.shape != other.shape or not (halved or mine.dtype == other.dtype):
            there, here = (f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in (mine, other))
            yield f"{name}: {there}, but {here} in the model"


def useless(weights: Mapping[str, Tensor], where: str = "") -> Iterator[str]:
    """Tensors with a value that is not finite or is negative where it can't be, or with a type torch can't compute."""
    for name, tensor in weights.items():
        try:
            fine = all(_finite(part) for part in slices(tensor))
            negative = name.endswith(COUNTS) and any(bool((part < 0).any()) for part in slices(tensor))
        except RuntimeError:
            yield f"{name}{where} has the type {tensor.dtype}, which torch can't compute with"
        else:
            if not fine:
                yield f"{name}{where} is not finite"
            elif negative:
                yield f"{name}{where} is negative, which is impossible for it"


def slices(tensor: Tensor) -> Iterator[Tensor]:
    """A tensor's values in slices: widened all at once, they would take many times the size of the file."""
    values = tensor.reshape(-1)
    return (values[start : start + SLICE] for start in range(0, values.numel(), SLICE))


def _floating(weights: Mapping[str, Tensor], limit: float | None) -> Iterator[tuple[str, Tensor]]:
    """The tensors to measure; none if there is no limit."""
    for name, tensor in weights.items() if limit is not None else ():
        if tensor.is_floating_point() and tensor.numel():
            yield name, tensor


def _median(tensor: Tensor) -> float:
    values = tensor.reshape(-1)
    return float(values[:: math.ceil(values.numel() / SLICE)].double().abs().median())


def _finite(tensor: Tensor) -> bool:
    # as double, because torch can't check its 8-bit floats
    return bool((tensor.double() if tensor.is_floating_point() else tensor).isfinite().all())


def _norm(parts: Iterable[Tensor]) -> float:
    """The norm of all parts together; scaled first, because squares of large numbers overflow."""
    return math.hypot(*(_scaled_norm(part.double()) for part in parts))


def _scaled_norm(part: Tensor) -> float:
    peak = float(part.abs().max())
    return peak * float((part / peak).norm()) if 0 < peak < math.inf else peak
