"""Refuses what would make a GPU's host wait in a training step. It needs no GPU: the operations are the same.

It can't see ``.cpu()`` and ``.tolist()``, which do nothing on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {
    "_local_scalar_dense",  # .item(), float(), int(), bool(), `if tensor`
    "nonzero",
    "masked_select",
    "unique",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",  # it reads the largest
    "equal",
    "is_nonzero",
}
BY_MASK = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Waited(AssertionError):
    """An operation whose result, or its size, the host has to wait for."""


class NoWaiting(TorchDispatchMode):
    """Within it, such an operation raises :class:`Waited`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        by_mask = name in BY_MASK and any(t is not None and t.dtype == torch.bool for t in args[1])
        fills = name.startswith("index_put") and args[2].numel() == 1  # then it is a masked_fill
        by_tensor = name == "repeat_interleave" and isinstance(args[0], Tensor) and func._overloadname == "Tensor"
        made = name == "lift_fresh" and args[0].ndim > 0  # torch.tensor of a list, which is then copied to the device
        if name in WAITING or made or by_tensor or (by_mask and not fills):
            raise Waited(f"{func}: a GPU's host would wait for it")
        return func(*args, **(kwargs or {}))


def one_hot(label: Tensor, num_classes: int = -1) -> Tensor:
    """torch's, which reads the labels on a CPU alone to check them."""
    assert num_classes > 0, "without their number, it reads the labels on a GPU, too"
    return (label[..., None] == torch.arange(num_classes, device=label.device)).long()
