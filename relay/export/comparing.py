"""Whether an export says what relay says, on real images: before it is given to anyone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from relay.data import PICTURES, Case, Dataset, DatasetOptions, prepared_slices, read_images, scaled
from relay.errors import RelayError, UserError, first_line
from relay.export import runtimes, standalone
from relay.leg import predict, resized
from relay.plan import Study
from relay.postprocess import cleaned, steps_of
from relay.predict import Model, images_of

CURE = (
    "Nothing was written. Choose another --to; or, if such differences don't matter, a larger --tolerance. If an image "
    "is at fault, compare with others: --image."
)


@dataclass(frozen=True)
class Sample:
    """An image to compare with: its files, what relay read from them, and which slice of it (None: the whole).

    Attributes:
        readable: whether the export's script can read the files, too.
    """

    files: tuple[Path, ...]
    case: Case
    slice: int | None
    readable: bool


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        difference: the largest of probabilities or, of a regression, of values, relative to those above 1.
        differing: the share of voxels, or of images, with another class.
        from_files: how many of the images the export read from their own files.
        runtimes: the programs that ran it; the difference is the largest of all.
    """

    images: int
    difference: float
    differing: float
    from_files: int
    runtimes: list[str]


def samples_of(study: Study, model: Model, given: Sequence[Path], many: int) -> list[Sample]:
    """Images to compare with: those given, else some of the config's, spread over one of its data sets.

    Raises:
        UserError: there are none.
        DataError: one can't be read.
    """
    options = model.leg.data
    if given:
        files = images_of(given, options)
        read = [(paths, read_images(paths, eight_bits=options.steps is None)) for paths in files]
        return [Sample(paths, case, _middle(case, options), _readable(paths)) for paths, case in read]
    here = [dataset for dataset in (*model.leg.pool, *study.test_sets) if dataset.accessible()]
    if not here:
        raise UserError(
            "no image is here to compare the export with",
            "Name the images of a site in all_tasks_datasets, or give some: --image PATH.",
        )
    return [_sample(here[0], number) for number in _spread(len(here[0].listing), many)]


def _spread(length: int, many: int) -> list[int]:
    return sorted({round(at) for at in np.linspace(0, length - 1, min(many, length))})


def _middle(case: Case, options: DatasetOptions) -> int | None:
    """The slice of a given volume that is compared."""
    axis = options.slice_axis
    return None if axis is None or case.image.ndim == 3 else case.image.shape[axis] // 2


def _sample(dataset: Dataset, number: int) -> Sample:
    record = dataset.listing[number]
    plain = type(dataset).read is Dataset.read
    return Sample(record.images, dataset.read(record), record.slice, plain and _readable(record.images))


def _readable(files: Iterable[Path]) -> bool:
    return all(path.is_file() and path.name.lower().endswith((*PICTURES, *standalone.VOLUMES)) for path in files)


def compare(net: nn.Module, model: Model, samples: Sequence[Sample], folder: Path) -> Compared:
    """Predict images with relay, and with the export's own script from the files of the export.

    Args:
        net: as relay applies it to whole images, on the CPU.
        folder: with ``model.json``.

    Raises:
        RelayError: the export's script fails.
    """
    worst, other, total = 0.0, 0, 0
    try:
        said, run = standalone.load(folder)
        nets = runtimes.installed(folder, said, run)
        for sample, other_net in product(samples, nets.values()):
            own, mine = _own(net, model, sample)
            theirs = _theirs(other_net, said, sample)
            scale = 1.0 if said["output"]["activation"] != "none" else np.maximum(1, np.abs(own))
            worst = float(np.maximum(worst, (np.abs(theirs - own) / scale).max()))  # which keeps NaN
            found, wanted = _decided(theirs, said), mine if mine is not None else _decided(own, said)
            other, total = other + int((found != wanted).sum()), total + wanted.size
    except Exception as error:  # a runtime refuses a graph with errors of any kind
        if isinstance(error, UserError):
            raise
        why = first_line(error)
        raise RelayError(f"the export does not run outside relay: {why}", CURE) from error
    files = sum(sample.readable for sample in samples)
    return Compared(len(samples), worst, other / max(total, 1), files, list(nets))


def check(found: Compared, tolerance: float) -> None:
    """Refuse an export that says something else.

    Raises:
        RelayError: it differs by more than the tolerance.
    """
    if not found.difference <= tolerance:  # also where it is not a number
        raise RelayError(
            f"the export differs from relay's own prediction by up to {found.difference:.3g}, on "
            f"{100 * found.differing:.3g} % of voxels or images by the class; the tolerance is {tolerance:g} "
            f"(run with {' and '.join(found.runtimes)})",
            CURE,
        )


def prepared(model: Model, sample: Sample) -> Case:
    """An image as the net sees it."""
    return prepared_slices(sample.case, model.leg.data, sample.files[0], [sample.slice])[0]


def _own(net: nn.Module, model: Model, sample: Sample) -> tuple[Any, Any]:
    """relay's own answer ``(K, …)``, on the voxels of the image as read, and its mask after post-processing."""
    options, case = model.leg.data, prepared(model, sample)
    image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(case.image, -1, 0)))[None]
    logits = predict(net, scaled(image, options.intensity_range), options.patch_size)
    if not options.does.dense:
        return options.does.answer(logits)[0].numpy(), None
    size = case.grid.size if case.grid else case.image.shape[:-1]
    answer = resized(logits, size, case.grid)[0].numpy()
    return answer, cleaned(answer.argmax(0).astype(np.uint8), steps_of(model.leg.conf.predict.postprocess))


def _theirs(run: standalone.Net, said: dict[str, Any], sample: Sample) -> Any:
    """The same from the export."""
    whole = (
        standalone.read(tuple(dict.fromkeys(sample.files)), said)
        if sample.readable
        else standalone.Picture.of(sample.case.image, sample.case.spacing)
    )
    picture = standalone.prepare(whole, said)[sample.slice or 0]
    found = standalone.probabilities(run, picture, said)
    return standalone.restore(found, picture) if said["task"] == "segmentation" else found


def _decided(answer: Any, said: dict[str, Any]) -> Any:
    """The mask after post-processing, the class, or the labels; a number has nothing to decide."""
    if said["task"] == "segmentation":
        return standalone.clean(answer.argmax(0).astype(np.uint8), said)
    how = said["output"]["activation"]
    return {"softmax": answer.argmax(keepdims=True), "sigmoid": answer > 0.5}.get(how, np.zeros(0))
