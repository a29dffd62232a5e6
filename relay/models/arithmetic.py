"""Arithmetic on models of one lineage: their difference, and a model with scaled differences added.

Adding the difference that fine-tuning made, times a scale, is task arithmetic (Ilharco et al. 2023,
10.48550/arXiv.2212.04089). It needs models that grew from one another: there, a value has the same role in both.

Differences of floating-point values are float64: their sum with the first model then rounds to the second one, value
by value, unless the two are more than 2^29 times apart. Differences of integers and booleans are int64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from relay.errors import UserError, some
from relay.exchange import measures

Weights = Mapping[str, Tensor]


def difference(before: Weights, after: Weights) -> dict[str, Tensor]:
    """``after - before``, tensor by tensor.

    Raises:
        UserError: names, shapes or types differ, or values are not finite.
    """
    check_alike(before, after)
    return {name: _wide(after[name]) - _wide(tensor) for name, tensor in before.items()}


def combined(base: Weights, differences: Sequence[Weights], scale: float) -> dict[str, Tensor]:
    """``base + scale * sum(differences)``, in the types of ``base``; integers are rounded.

    Where the sum is zero, the base's value stays as it is, bit by bit: with scale 0, all of them. With scale 1 and the
    difference of ``base`` and another model, the result equals that model; a zero may have the other sign.

    Raises:
        UserError: names or shapes differ, or the result can't be a model's weights.
    """
    for one in differences:
        _check_forms({name: _form(tensor, _wide_type(tensor)) for name, tensor in base.items()}, _forms(one))
    result = {name: _moved(tensor, scale, [one[name] for one in differences]) for name, tensor in base.items()}
    if odd := [*measures.useless(result)]:
        raise UserError(
            f"base + {scale:g} × difference can't be used as a model: {some(odd, between='; ')}",
            "Give a scale nearer to 0, or from 0 to 1.",
        )
    return result


def inexact(before: Weights, after: Weights, change: Weights) -> int:
    """How many values of ``after`` don't come back exactly when their difference is added to ``before``."""
    back = combined(before, [change], 1.0)
    return sum(int((back[name] != tensor).sum()) for name, tensor in after.items())


def distances(one: Weights, other: Weights) -> Iterator[tuple[str, int, float, float]]:
    """For each tensor of floating-point values in both, of one shape: its name, its number of values, the norm of
    ``other - one``, and the norm of ``one``."""
    for name, tensor in one.items():
        there = other.get(name)
        if there is not None and there.shape == tensor.shape and tensor.is_floating_point() and tensor.numel():
            root = tensor.numel() ** 0.5
            moved = there.double() - tensor.double()
            yield name, tensor.numel(), measures.rms(moved) * root, measures.rms(tensor) * root


def check_alike(before: Weights, after: Weights) -> None:
    """Check that two models have the same tensors.

    Raises:
        UserError: names, shapes or types differ, or values can't be computed with.
    """
    _check_forms(_forms(before), _forms(after))
    odd = [*measures.useless(before, " in the first model"), *measures.useless(after, " in the second model")]
    odd += [f"{name} is complex" for name, tensor in before.items() if tensor.is_complex()]
    if odd:
        raise UserError(f"the weights can't be used: {some(odd, between='; ')}", "Use another model.")


def _check_forms(one: Mapping[str, str], other: Mapping[str, str]) -> None:
    if one != other:
        names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
        wrong = [f"{name}: {one.get(name, 'missing')} and {other.get(name, 'missing')}" for name in names]
        raise UserError(
            f"the tensors are not alike: {some(wrong, between='; ')}", "Combine only models that have the same net."
        )


def _forms(weights: Weights) -> dict[str, str]:
    return {name: _form(tensor, tensor.dtype) for name, tensor in weights.items()}


def _form(tensor: Tensor, dtype: torch.dtype) -> str:
    return f"{tuple(tensor.shape)} {dtype}"


def _wide_type(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.is_floating_point() else torch.int64


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(_wide_type(tensor))


def _moved(tensor: Tensor, scale: float, changes: Sequence[Tensor]) -> Tensor:
    """``tensor + scale * sum(changes)``; where nothing is added, not even the sign of a zero changes."""
    wide, change = _wide(tensor), sum(changes[1:], changes[0]).double() * scale
    if not tensor.is_floating_point():
        change = change.round().long()
    return _narrow(torch.where(change == 0, wide, wide + change), tensor.dtype)


def _narrow(moved: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype.is_floating_point or dtype == torch.int64:
        return moved.to(dtype)
    least, most = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    return moved.clamp(least, most).to(dtype)
