"""Images with their masks, as the viewer asks for them: one plane at a time, with the intensities of the file.

Grey values are sent as 16-bit numbers that cover the whole image, so that the browser can choose the window; colours as
three bytes. The last few images are kept in memory: scrolling through a volume reads its files once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.config import read_own
from relay.data import Case, Dataset, Record, read_images, read_mask, read_pair
from relay.errors import DataError, UserError
from relay.files import inside
from relay.leg import LegPaths
from relay.numbers import number
from relay.plan import plan
from relay.results import GENERALIST

FEW = 3
"""How many images are kept."""
SAMPLE = 200_000
"""From how many voxels the first window is estimated."""
STEPS = 2**16 - 1
AGAIN = "Train it again under a new note (-n), or look at the files in another viewer."


@dataclass(frozen=True)
class Scale:
    """Of a channel, in the file's own units: the values of 0 and 65535, the largest one, and the first window."""

    low: float
    high: float
    most: float
    window: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Viewed:
    """An image to look at.

    Attributes:
        image: ``(Z, H, W, C)``: uint8 of three colours, else uint16 of each channel. A 2D image has one plane.
        scales: one for each channel; none for colours.
        spacing: millimetres along Z, H and W; None if they are not known.
        masks: name → class indices ``(Z, H, W)``; masks of single slices are at their slice.
        classes: names, background first.
        truth: the true class, labels or number, for a task without masks.
        at: the slice to show first, and ``across``, the axis it was cut along.
        labels: what masks are called for people, as far as that is not their name.
        scores: of masks, in words, if the true mask is known.
    """

    image: NDArray[Any]
    scales: Sequence[Scale] = ()
    spacing: tuple[float, ...] | None = None
    masks: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    classes: Sequence[str] = ()
    truth: str = ""
    at: int = 0
    across: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, str] = field(default_factory=dict)

    @property
    def about(self) -> dict[str, Any]:
        """What the browser must know before it asks for planes."""
        return {
            "shape": self.image.shape[:3],
            "channels": self.image.shape[3],
            "colour": not self.scales,
            "scales": [asdict(scale) for scale in self.scales],
            "spacing": self.spacing,
            "masks": list(self.masks),
            "empty": [name for name, mask in self.masks.items() if not mask.any()],
            "classes": list(self.classes),
            "truth": self.truth,
            "at": self.at,
            "across": self.across,
            "labels": {name: self.labels.get(name, name) for name in self.masks},
            "scores": self.scores,
            "best": next((name for name in reversed(self.masks) if name in self.labels), None),
        }

    def plane(self, axis: int, at: int, channel: int, mask: str | None = None) -> bytes:
        """The bytes of one plane, row by row: of a mask, else of the image.

        Raises:
            UserError: there is no such plane or mask.
        """
        array = self.image if mask is None else self.masks.get(mask)
        if array is None or axis not in (0, 1, 2) or not 0 <= at < array.shape[axis] or not 0 <= channel < 2**8:
            raise UserError("there is no such slice of this image", "Open the image again.")
        found = np.take(array, at, axis)
        if mask is None and self.scales:
            found = found[..., min(channel, found.shape[-1] - 1)]
        return np.ascontiguousarray(found).astype(found.dtype.newbyteorder("<"), copy=False).tobytes()


class Recent:
    """The last few things that were made, by their names."""

    def __init__(self, most: int = FEW) -> None:
        self._most, self._lock = most, RLock()
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, name: Hashable, make: Callable[[], Any]) -> Any:
        """What has this name; made if it is not there. Only one is made at a time: each may need much memory."""
        with self._lock:
            if name not in self._kept:
                self._kept[name] = make()
            self._kept.move_to_end(name)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return self._kept[name]


@dataclass(frozen=True)
class Known:
    """What a run's config says: its data sets that are here, by site; and for people, the models of its legs, by the
    names of their folders."""

    datasets: dict[str, Dataset]
    models: dict[str, str]


def known_of(run: Path) -> Known:
    """What the config of a run says.

    Raises:
        UserError: the run's config is damaged, or can't be used any more.
    """
    study = plan(read_own(run / "config.given.yaml", AGAIN), run.parent.name, train=False)
    models = {leg.folder: label for leg in study.legs if (label := _called(run / "checkpoints" / leg.folder))}
    return Known({d.options.task_name: d for d in study.datasets.values() if d.accessible()}, models)


def _called(leg: Path) -> str:
    """What the model of a leg is called in the table of scores; empty if it has none yet."""
    try:
        rows = LegPaths(leg).rows()
    except (DataError, UserError):
        return ""
    return f"leg {rows[0]['leg']}, {rows[0]['trained']}, {GENERALIST}"


def record_of(datasets: dict[str, Dataset], site: str, sample: str) -> tuple[Dataset, Record]:
    """An image of a site, by its name.

    Raises:
        UserError: it is not here.
    """
    if site not in datasets:
        raise UserError(f"the images of {site} are not on this computer", "Look at images of a site that is here.")
    dataset = datasets[site]
    found = next((record for record in dataset.listing if record.id == sample), None)
    if found is None:
        raise UserError(f"{site} has no image {sample}", "It was moved or renamed since the run. Restore it.")
    return dataset, found


def of_record(
    dataset: Dataset, record: Record, predicted: dict[str, Path], models: Mapping[str, str] | None = None
) -> Viewed:
    """An image of a data set with its truth and its predictions; of a slice, the whole volume at this slice.

    Args:
        models: what predictions are called for people.

    Raises:
        DataError: a file can't be read.
    """
    case = _case(dataset, replace(record, slice=None))
    made = viewed(case.image, case.spacing)
    across = dataset.options.slice_axis or 0
    masks = {"truth": _three(case.target)} if case.dense else {}
    for name, path in predicted.items():
        mask = _three(read_mask(path).astype(np.uint8))
        if mask.shape == made.image.shape[:3]:
            masks[name] = mask
    names = dataset.options.does.names
    truth = "" if case.dense else truth_of(dataset, record)
    told = {name: label for name, label in (models or {}).items() if name in masks}
    made = replace(made, labels=told, scores=scores_of(dataset, masks))
    return replace(made, masks=masks, classes=names, truth=truth, at=_first(record, made, masks), across=across)


def scores_of(dataset: Dataset, masks: Mapping[str, NDArray[np.uint8]]) -> dict[str, str]:
    """The score of each mask against ``truth``, in words; none without a truth."""
    import torch

    task, found = dataset.options.does, {}
    tensors = {name: torch.from_numpy(mask.astype(np.int64))[None] for name, mask in masks.items()}
    if (truth := tensors.pop("truth", None)) is None:
        return {}
    for name, mask in tensors.items():
        score = float(task.each(task.values(mask, truth))[0])
        found[name] = f"{task.title()} {number(score)}"
    return found


def truth_of(dataset: Dataset, record: Record) -> str:
    """The true class, labels or number of an image, in words."""
    task = dataset.options.does
    target = task.target(record)
    if task.fewest is None:
        return f"{float(target):g}"
    chosen = np.flatnonzero(target) if target.ndim else [int(target)]
    return ", ".join(task.names[k] for k in chosen) or "none"


def of_file(image: Path, mask: Path, classes: Sequence[str]) -> Viewed:
    """An image that was given to be predicted, with its mask.

    Args:
        classes: names, background first; as far as they are not known, their numbers.

    Raises:
        DataError: a file can't be read.
    """
    case, labels = read_images([image], eight_bits=False), _three(read_mask(mask).astype(np.uint8))
    made, masks = viewed(case.image, case.spacing), {"prediction": labels}
    names = [*classes, *(f"class {k}" for k in range(len(classes), int(labels.max()) + 1))]
    return replace(made, masks=masks, classes=names, at=_most(made, masks))


def _first(record: Record, made: Viewed, masks: dict[str, NDArray[np.uint8]]) -> int:
    return _most(made, masks) if record.slice is None else record.slice


def _most(made: Viewed, masks: dict[str, NDArray[np.uint8]]) -> int:
    """The plane with the most foreground; without any, the middle one."""
    if not any(mask.any() for mask in masks.values()):
        return int(made.image.shape[0] // 2)
    per_plane: NDArray[np.int64] = np.sum([(mask > 0).sum(axis=(1, 2)) for mask in masks.values()], axis=0)
    return int(np.argmax(per_plane))


def _case(dataset: Dataset, record: Record) -> Case:
    """A sample with the intensities of its file, unless its data set reads files in a way of its own."""
    if type(dataset).read is not Dataset.read:
        return dataset.read(record)
    if isinstance(record.target, Path):
        return read_pair(record.images, record.mask, dataset.mask_values(), eight_bits=False)
    return read_images(record.images, eight_bits=False)


def viewed(image: NDArray[Any], spacing: tuple[float, ...] | None) -> Viewed:
    """An image ``(*S, C)`` of any type, ready to be sent."""
    volume = image if image.ndim == 4 else image[None]
    if volume.dtype == np.uint8 and volume.shape[-1] == 3:
        return Viewed(volume, (), _spacing(spacing))
    found = [_sixteen_bits(volume[..., c]) for c in range(volume.shape[-1])]
    return Viewed(np.stack([v for v, _ in found], axis=-1), [scale for _, scale in found], _spacing(spacing))


def _spacing(spacing: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return spacing if spacing is None or len(spacing) == 3 else (1.0, *spacing)


def _sixteen_bits(values: NDArray[Any]) -> tuple[NDArray[np.uint16], Scale]:
    """Values as 0 to 65535, whole numbers unchanged but for an offset where their range allows it."""
    finite = np.isfinite(values)
    known = values[finite].astype(np.float64)
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    whole = values.dtype.kind in "iub" and high - low <= STEPS
    top = low + STEPS if whole else high
    factor = STEPS / (top - low) if top > low else 0.0
    scaled = np.rint((np.where(finite, values, low).astype(np.float64) - low) * factor).astype(np.uint16)
    part = known[:: max(1, known.size // SAMPLE)]
    first, last = (float(v) for v in np.percentile(part, (0.5, 99.5))) if known.size else (low, high)
    return scaled, Scale(low, top, high, (first, last if last > first else first + 1))


def _three(mask: NDArray[Any]) -> NDArray[Any]:
    return mask if mask.ndim == 3 else mask[None]


def predictions_of(run: Path, site: str, record: Record) -> dict[str, Path]:
    """The saved masks of an image (``relay predict -s``), by the model that predicted them."""
    name = record.id if record.slice is None else record.id.rpartition("#")[0]
    found = {}
    for folder in sorted([*run.glob("results/predictions/*"), *run.glob("results/*/predictions/*")]):
        source = folder.parents[1].name
        label = folder.name if source == "results" else f"{source}: {folder.name}"
        place = folder / site / inside(name)
        for ending in (".nii.gz", ".png"):
            path = place.with_name(place.name + ending)
            if path.is_file():
                found[label] = path
    return found
