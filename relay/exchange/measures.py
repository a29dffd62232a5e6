"""How large weights are, how far they moved, and whether that can be the work of training (imports torch).

Every measure is against a size that does not depend on the largest values themselves, and that does not vanish where a
tensor is zero: a bias that starts at zero may move, and one huge value stands out in a tensor of any length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

SLICE = 2**20
"""Values that are reckoned with at once."""
STATISTICS = ("running_mean", "running_var")
"""What batch normalisation keeps of images: of any size that activations have."""
COUNTS = ("running_var", "num_batches_tracked")
"""What batch normalisation takes the root of, and counts: never negative."""


def unit(name: str, tensor: Tensor) -> float:
    """The size of a tensor's values that is nothing special in any net, whatever they were before: about three times
    what a wide layer, a bias or the statistics of activations begin with or soon have."""
    if name.endswith(STATISTICS):
        return 100.0
    return 0.03 if tensor.ndim > 1 else 0.3


def rms(tensor: Tensor) -> float:
    """Root mean square; 0 where there are no values."""
    return _norm(slices(tensor)) / math.sqrt(max(tensor.numel(), 1))


def outliers(weights: Mapping[str, Tensor], limit: float | None) -> list[str]:
    """Tensors whose largest value is over ``limit`` times the median of them all, or of :func:`unit` if that is more.

    The median is that of at most :data:`SLICE` values, taken evenly. No root mean square: one value of n can't be more
    than sqrt(n) times that, however large it is.
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
    """Tensors whose RMS is over ``limit`` times that of a freshly built net.

    Args:
        fresh: :func:`rms` of the tensors of such a net by name; None where it is not known, then it is taken for 1.
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
    """Tensors that moved further than ``limit`` times their own norm since the last weights known.

    Where their values were smaller than :func:`unit`, or zero, it is the norm they would have had with such values.
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
    """Names, shapes and types that are others than in the last weights known."""
    found = [f"{name}: not in the last weights known here" for name in weights.keys() - last.keys()]
    found += [f"{name}: missing, the last weights known here have it" for name in last.keys() - weights.keys()]
    for name in weights.keys() & last.keys():
        new, old = ((tuple(w[name].shape), w[name].dtype) for w in (weights, last))
        if new != old:
            found.append(f"{name}: {new[0]} {new[1]}, the last weights known here have {old[0]} {old[1]}")
    return sorted(found)


def useless(weights: Mapping[str, Tensor], where: str = "") -> Iterator[str]:
    """Tensors that hold a value that is not finite, or negative where it can't be, or of a type that can't be reckoned
    with."""
    for name, tensor in weights.items():
        try:
            fine = all(_finite(part) for part in slices(tensor))
            negative = name.endswith(COUNTS) and any(bool((part < 0).any()) for part in slices(tensor))
        except RuntimeError:
            yield f"{name}{where} is of the type {tensor.dtype}, which torch can't reckon with"
        else:
            if not fine:
                yield f"{name}{where} is not finite"
            elif negative:
                yield f"{name}{where} is negative, which it can't be"


def slices(tensor: Tensor) -> Iterator[Tensor]:
    """A tensor's values, so many at a time: widened all at once they would take many times the room of the file."""
    values = tensor.reshape(-1)
    return (values[start : start + SLICE] for start in range(0, values.numel(), SLICE))


def _floating(weights: Mapping[str, Tensor], limit: float | None) -> Iterator[tuple[str, Tensor]]:
    """What there is to measure; nothing where there is no limit."""
    for name, tensor in weights.items() if limit is not None else ():
        if tensor.is_floating_point() and tensor.numel():
            yield name, tensor


def _median(tensor: Tensor) -> float:
    values = tensor.reshape(-1)
    return float(values[:: math.ceil(values.numel() / SLICE)].double().abs().median())


def _finite(tensor: Tensor) -> bool:
    # as double, because torch can't ask this of its 8-bit floats
    return bool((tensor.double() if tensor.is_floating_point() else tensor).isfinite().all())


def _norm(parts: Iterable[Tensor]) -> float:
    """Of all parts together; scaled first, since squares of large numbers are infinite."""
    return math.hypot(*(_scaled_norm(part.double()) for part in parts))


def _scaled_norm(part: Tensor) -> float:
    peak = float(part.abs().max())
    return peak * float((part / peak).norm()) if 0 < peak < math.inf else peak
