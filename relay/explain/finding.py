"""What a model says of an image, and which of its outputs is explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from relay.data import Case, scaled
from relay.errors import DataError, UserError
from relay.leg import predict
from relay.predict import Model
from relay.tasks import Task


@dataclass(frozen=True)
class Found:
    """What is explained in a prepared image, or in a slice of a volume.

    Attributes:
        number: of the slice, among all slices.
        image: as the net takes it, ``(1, C, *S)``.
        output: the number of the class, label or value.
        region: the voxels where the class was found, bool ``(*S)``; None for an answer about the whole image.
        much: how many they are or, without a region, the answer.
        said: what the model says, in words.
    """

    number: int
    case: Case
    image: Tensor
    output: int
    region: Tensor | None
    much: float
    said: str


def find(model: Model, net: nn.Module, cases: Sequence[Case], output: str | None, path: Path) -> Found:
    """The slice that is explained: the one with most of the class, or with the surest answer.

    Args:
        cases: the prepared image, or all slices of a volume.
        output: the name or number of a class or label; None: what the model finds; in segmentation, not the background.

    Raises:
        UserError: the model has no output of this name.
        DataError: the model does not find the class in the image.
    """
    task = model.leg.data.does
    wanted = None if output is None else _number(task, output)
    best = max((_of_case(model, net, case, wanted, k) for k, case in enumerate(cases)), key=lambda found: found.much)
    if best.region is not None and not best.region.any():
        name = "any class but the background" if wanted is None else task.names[wanted]
        raise DataError(
            f"{path}: the model does not find {name} in it, so there is nothing to explain",
            "Give another image, or another class with --class.",
        )
    return best


def _number(task: Task, name: str) -> int:
    if name in task.names:
        return task.names.index(name)
    if name.isdecimal() and int(name) < len(task.names):
        return int(name)
    known = ", ".join(f"{number} {each}" for number, each in enumerate(task.names))
    raise UserError(f"--class {name}: the model does not know it", f"Give the number or the name of one: {known}.")


def _of_case(model: Model, net: nn.Module, case: Case, wanted: int | None, number: int) -> Found:
    options, task = model.leg.data, model.leg.data.does
    batch = torch.from_numpy(np.ascontiguousarray(np.moveaxis(case.image, -1, 0)))[None]
    image = scaled(batch, options.intensity_range).to(next(net.parameters()).device)
    logits = predict(net, image, options.patch_size)
    if not task.dense:
        answer = task.answer(logits)[0]
        output = int(answer.argmax()) if wanted is None else wanted
        return Found(number, case, image, output, None, float(answer[output]), task.told(answer.tolist()))
    decided = logits.argmax(1)[0]
    counts = torch.bincount(decided.flatten(), minlength=task.outputs)
    output = 1 + int(counts[1:].argmax()) if wanted is None else wanted
    said = f"{task.names[output]} in {100 * float(counts[output]) / decided.numel():.3g} % of the image"
    return Found(number, case, image, output, decided == output, float(counts[output]), said)
