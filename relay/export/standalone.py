"""Predict images with an exported model, without relay: ``python predict.py IMAGE … -o FOLDER``.

relay copies this file into each export, and compares what it says with its own prediction before it writes one. It
needs numpy, Pillow and, for volumes, SimpleITK; onnxruntime for a ``.onnx`` file, torch for a ``.pt2``. What is done to
an image is in ``model.json`` beside it; README.md says what its keys mean.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Array = NDArray[Any]
Net = Callable[[Array], "tuple[Array, Array]"]
VOLUMES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
PERCENTILES = (0.5, 99.5)


# -- the model -----------------------------------------------------------------------------------------------------


def load(folder: Path) -> tuple[dict[str, Any], Net]:
    """What is in ``model.json``, and the net: float32 ``(B, C, *S)`` to logits and probabilities (or values).

    Raises:
        ValueError: the model's file is not the one that was exported.
    """
    said = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    try:
        file, sha256 = folder / said["model"]["file"], said["model"]["sha256"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'model.json'} does not belong to an export of relay") from error
    if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{file} is not the file that was exported: its SHA-256 differs from that in model.json")
    return said, fitted(_onnx(file) if file.suffix == ".onnx" else _pt2(file), said["input"])


def _onnx(file: Path) -> Net:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(x: Array) -> tuple[Array, Array]:
        logits, answer = session.run(None, {session.get_inputs()[0].name: x})
        return logits, answer

    return run


def _pt2(file: Path) -> Net:
    import torch

    module = torch.export.load(str(file)).module()

    def run(x: Array) -> tuple[Array, Array]:
        with torch.no_grad():
            logits, answer = module(torch.from_numpy(x))
        return logits.numpy(), answer.numpy()

    return run


def fitted(net: Net, takes: dict[str, Any]) -> Net:
    """The net for any size: its input is padded at the far ends by its border, and the padding is cut off again."""

    def run(x: Array) -> tuple[Array, Array]:
        size = x.shape[2:]
        if takes["size"] is not None and list(size) != takes["size"]:
            raise ValueError(f"the net takes images of {takes['size']} only, not of {list(size)}")
        multiple = takes["multiple"]
        wanted = [max(least, -(-n // multiple) * multiple) for n, least in zip(size, takes["least"], strict=True)]
        around = [(0, 0), (0, 0), *((0, w - n) for w, n in zip(wanted, size, strict=True))]
        logits, answer = net(np.pad(x, around, "edge") if list(size) != wanted else x)
        inside = _at(map(slice, size))
        return (logits[inside], answer[inside]) if logits.ndim == x.ndim else (logits, answer)

    return run


# -- an image's file -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """An image: ``(*S, C)``, millimetres per voxel if known, and where its voxels lie on the image as read: place ``u``
    there is ``begin + scale * v`` here, both from the image's edge, axis by axis."""

    values: Array
    spacing: tuple[float, ...] | None
    size: tuple[int, ...]
    begin: tuple[float, ...]
    scale: tuple[float, ...]

    @staticmethod
    def of(values: Array, spacing: Sequence[float] | None) -> Picture:
        """One as it was read."""
        axes = values.ndim - 1
        known = None if spacing is None else tuple(spacing)
        return Picture(values, known, values.shape[:-1], (0.0,) * axes, (1.0,) * axes)


def read(files: Sequence[Path], said: dict[str, Any]) -> Picture:
    """An image from its file, or from several that are its channels, turned upright; without steps, with 8 bits."""
    if said["read"]["one_file"]:
        files = [files[0]] * said["input"]["channels"]
    found = [_decoded(file) for file in files]
    values = [each for each, _ in found]
    if said["steps"] is None:
        values = [_eight_bits(each) for each in values]
    return Picture.of(values[0] if len(values) == 1 else np.concatenate(values, -1), found[0][1])


def _decoded(file: Path) -> tuple[Array, tuple[float, ...] | None]:
    if file.name.lower().endswith(VOLUMES):
        import SimpleITK as sitk

        volume = sitk.ReadImage(str(file))
        values = sitk.GetArrayFromImage(volume)
        values = values if volume.GetNumberOfComponentsPerPixel() > 1 else values[..., None]
        return _turned(values, volume), _spacing(volume)
    with file.open("rb") as opened:
        try:
            picture = ImageOps.exif_transpose(Image.open(opened))
        except UnidentifiedImageError as error:
            raise ValueError("no picture: damaged, or a file of another kind") from error
    plain = picture.mode in ("1", "L", "RGB", "F") or picture.mode.startswith("I")
    values = np.array(picture if plain else picture.convert("L" if picture.mode in ("LA", "La") else "RGB"))
    values = values.astype(np.uint8) * np.uint8(255) if values.dtype == np.bool_ else values
    return (values if values.ndim == 3 else values[..., None]), None


def _way(volume: Any) -> tuple[list[int], tuple[int, ...], bool]:
    """Which stored axis becomes slices, rows, columns; which of these are then reversed; whether it is a single slice.

    They run towards the patient's head, back and left hand; coronal and sagittal single slices have the head up.
    """
    axes = volume.GetDimension()
    cosines = np.eye(3)
    cosines[:axes, :axes] = np.reshape(volume.GetDirection(), (axes, axes))
    nearest = max(itertools.permutations(range(3)), key=lambda a: round(np.abs(cosines[range(3), a]).sum(), 3))
    size = (*volume.GetSize(), 1)[:3]
    flat = nearest.index(2 - size[::-1].index(1)) if 1 in size else None  # of several, the file's last
    towards = ((2, 1), (1, 1), (0, 1)) if flat in (None, 2) else ((flat, 1), (2, -1), (1 - flat, 1))
    order = [2 - nearest[patient] for patient, _ in towards]
    back = tuple(k for k, (patient, sign) in enumerate(towards) if cosines[patient, nearest[patient]] * sign < 0)
    return order, back, flat is not None


def _turned(values: Array, volume: Any) -> Array:
    order, back, flat = _way(volume)
    values = values if volume.GetDimension() == 3 else values[None]
    values = np.flip(values.transpose(*order, 3), back)
    return np.ascontiguousarray(values[0] if flat else values)


def _spacing(volume: Any) -> tuple[float, ...]:
    order, _, flat = _way(volume)
    stored = (*volume.GetSpacing(), 1.0)[:3]
    found = tuple(float(stored[2 - axis]) for axis in order)
    return found[1:] if flat else found


def save(mask: Array, like: Path, path: Path) -> Path:
    """Class indices as a PNG, upright, or as NIfTI on the voxels of the image's file."""
    if not like.name.lower().endswith(VOLUMES):
        path = path.with_name(path.name + ".png")
        Image.fromarray(mask).save(path)
        return path
    import SimpleITK as sitk

    volume = sitk.ReadImage(str(like))
    order, back, flat = _way(volume)
    stored = np.flip(mask[None] if flat else mask, back).transpose(*np.argsort(order).tolist())
    made = sitk.GetImageFromArray(np.ascontiguousarray(stored if volume.GetDimension() == 3 else stored[0]))
    made.CopyInformation(volume)
    path = path.with_name(path.name + ".nii.gz")
    sitk.WriteImage(made, str(path))
    return path


# -- intensities ---------------------------------------------------------------------------------------------------


def _ends(known: Array, percents: Sequence[float]) -> tuple[float, float]:
    """Two percentiles. If they would clip more than a tenth of the values that are not the most usual one, they are
    those of the others, and that value is within."""
    low, usual, high = np.percentile(known, (percents[0], 50, percents[1]))
    others = known[known != usual]
    if others.size and ((others < low) | (others > high)).mean() > 0.1:
        first, last = np.percentile(others, percents)
        return min(usual, first), max(usual, last)
    return low, high


def _window(values: Array) -> Array:
    """The 0.5 to 99.5 percentile as 0 to 255; what is not finite becomes 0."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = _ends(values[finite], PERCENTILES)
    factor = 255 / (high - low) if high - low > 1e-300 else 0.0
    scaled = (np.where(finite, values, low).astype(np.float64) - low) * factor
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _eight_bits(values: Array) -> Array:
    """Pictures of 8 bits stay; colours have one window, other channels one each."""
    if values.ndim == 3 and values.dtype == np.uint8:
        return values
    if values.shape[-1] in (1, 3):
        return _window(values)
    return np.stack([_window(values[..., c]) for c in range(values.shape[-1])], -1)


def _with_channels(image: Array, channels: int) -> Array:
    """Grey is repeated for colours; colours become their luma (BT.601)."""
    if image.shape[-1] == channels:
        return image
    if {image.shape[-1], channels} != {1, 3}:
        raise ValueError(f"the image has {image.shape[-1]} channels, but the model takes {channels}")
    if channels == 3:
        return np.repeat(image, 3, -1)
    luma: Array = image @ np.array([0.299, 0.587, 0.114])
    return (luma if image.dtype.kind == "f" else np.rint(luma)).astype(image.dtype)[..., None]


def _finite(image: Array) -> Array:
    """float32, with each channel's lowest finite value where a value is not finite."""
    if image.dtype.kind != "f":
        return image.astype(np.float32)
    known = np.isfinite(image)
    lowest = np.where(known, image, np.inf).min(axis=tuple(range(image.ndim - 1)))
    filled = np.where(known, image, np.where(np.isfinite(lowest), lowest, 0))
    return np.clip(filled, -1e30, 1e30).astype(np.float32)


def _normalise(picture: Picture, how: dict[str, Any]) -> Picture:
    """Each channel to -1 to 1, clipped: see ``Normalise`` in README.md."""
    image = picture.values.copy()
    for c in how["channels"] if how["channels"] is not None else range(image.shape[-1]):
        values = image[..., c]
        low, high = _range(values, how)
        values -= low
        values *= 2 / max(high - low, 1e-12)
        values -= 1
        np.clip(values, -1, 1, out=values)
    return replace(picture, values=image)


def _range(values: Array, how: dict[str, Any]) -> tuple[float, float]:
    """What becomes -1 and 1."""
    kind = how["how"]
    low, high = (PERCENTILES[k] if how[end] is None else how[end] for k, end in enumerate(("low", "high")))
    known = values[values != 0] if how["foreground"] else values
    known = known if known.size else values
    if kind == "window":
        return low, high
    if kind == "percentile":
        return _ends(known, (low, high))
    if kind == "zscore":
        mean, deviation = float(known.astype(np.float64).mean()), float(known.astype(np.float64).std())
        half = how["clip"] * deviation if deviation >= 1e-12 else 1.0
        return mean - half, mean + half
    return (float(values.min()), float(values.max())) if kind == "minmax" else (-1.0, 1.0)


# -- sizes ---------------------------------------------------------------------------------------------------------


def _resized(picture: Picture, size: Sequence[int], cubic: bool = False) -> Picture:
    """At another size, by Pillow, which averages where it shrinks; the centres of the corners move, the edges stay."""
    shape = picture.values.shape[:-1]
    if tuple(size) == shape:
        return picture
    how = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    values = np.stack([_stretched(picture.values[..., c], size, how) for c in range(picture.values.shape[-1])], -1)
    factors = [old / new for old, new in zip(shape, size, strict=True)]
    spacing = picture.spacing and tuple(mm * by for mm, by in zip(picture.spacing, factors, strict=True))
    scale = tuple(s * by for s, by in zip(picture.scale, factors, strict=True))
    return replace(picture, values=values, spacing=spacing, scale=scale)


def _stretched(array: Array, size: Sequence[int], how: Any) -> Array:
    """Slices first, then along the axis across them."""
    if array.shape == tuple(size):
        return array
    if array.ndim == 2:
        return np.asarray(Image.fromarray(array).resize((size[1], size[0]), how))
    slices = np.stack([_stretched(plane, size[1:], how) for plane in array])
    columns = [_stretched(plane, (size[0], size[2]), how) for plane in slices.swapaxes(0, 1)]
    return np.stack(columns, axis=1)


def _crop(picture: Picture, how: dict[str, Any]) -> Picture:
    """A size about the centre, or the smallest box with everything above a value; beyond, the channel's lowest."""
    shape = picture.values.shape[:-1]
    if how["size"] is not None:
        size = [have if want is None else want for want, have in zip(how["size"], shape, strict=True)]
        begin = [(have - want) // 2 for want, have in zip(size, shape, strict=True)]
    else:
        begin, size = _box((picture.values > how["above"]).any(-1), how["margin"])
    if tuple(size) == shape and not any(begin):
        return picture
    inner = tuple(slice(max(b, 0), b + n) for b, n in zip(begin, size, strict=True))
    around = [(max(-b, 0), max(b + n - have, 0)) for b, n, have in zip(begin, size, shape, strict=True)]
    lowest = picture.values.min(axis=tuple(range(len(shape))))
    padded = [np.pad(picture.values[..., c][inner], around, constant_values=low) for c, low in enumerate(lowest)]
    moved = tuple(b + s * by for b, s, by in zip(picture.begin, picture.scale, begin, strict=True))
    return replace(picture, values=np.stack(padded, -1), begin=moved)


def _box(inside: Array, margin: int) -> tuple[list[int], list[int]]:
    ends = []
    for axis, length in enumerate(inside.shape):
        found = np.flatnonzero(inside.any(axis=tuple(a for a in range(inside.ndim) if a != axis)))
        first, last = (int(found[0]), int(found[-1]) + 1) if found.size else (0, length)
        ends.append((max(first - margin, 0), min(last + margin, length)))
    return [first for first, _ in ends], [last - first for first, last in ends]


def _resample(picture: Picture, how: dict[str, Any]) -> Picture:
    if picture.spacing is None:
        raise ValueError("the image gives no spacing in millimetres, which the step Resample needs")
    wanted = zip(picture.values.shape[:-1], picture.spacing, how["spacing"], strict=True)
    sides = [n if new is None else max(1, round(n * mm / new)) for n, mm, new in wanted]
    return _resized(picture, sides, how["interpolation"] == "cubic")


def _resize(picture: Picture, how: dict[str, Any]) -> Picture:
    sides = [have if want is None else want for want, have in zip(how["size"], picture.values.shape[:-1], strict=True)]
    return _resized(picture, sides, how["interpolation"] == "cubic")


STEPS = {"Resample": _resample, "Crop": _crop, "Resize": _resize, "Normalise": _normalise}


# -- from an image to its mask -------------------------------------------------------------------------------------


def prepare(picture: Picture, said: dict[str, Any]) -> list[Picture]:
    """The image as the net takes it, uint8 or float16; of a volume that is predicted by slices, each of them.

    Raises:
        ValueError: the image has another number of axes than the net takes, a step is not known here, or the image does
            not suit it.
    """
    axes = picture.values.ndim - 1
    if axes != said["input"]["axes"] and (axes, said["slices"] is None) != (3, False):
        raise ValueError(f"the image has {axes} axes, and the net takes images of {said['input']['axes']}")
    values, exact = picture.values, picture.values.dtype == np.uint8 and picture.values.ndim == 3
    values = values if said["steps"] is None else _finite(values)
    picture = replace(picture, values=_with_channels(values, said["input"]["channels"]))
    for step in said["steps"] or []:
        if step["name"] not in STEPS:
            raise ValueError(f"the step {step['name']} is a plug-in of the hospital's own: add it to STEPS")
        picture = STEPS[step["name"]](picture, step["kwargs"])
    if said["steps"] is not None:
        picture = replace(picture, values=_stored(picture.values, said["input"]["stored"], exact))
    axis = said["slices"]
    slices = [picture] if axis is None or picture.values.ndim == 3 else _cut(picture, axis)
    return [each if said["resize"] is None else _resized(each, said["resize"]) for each in slices]


def _stored(values: Array, kind: str, exact: bool) -> Array:
    if kind == "float16":
        return np.clip(values, -1, 1).astype(np.float16)
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8) if exact else _window(values)


def _cut(volume: Picture, axis: int) -> list[Picture]:
    """A volume's slices; coronal and sagittal ones have the head up."""

    def without(values: Sequence[Any]) -> tuple[Any, ...]:
        return (*values[:axis], *values[axis + 1 :])

    size, begin, scale = without(volume.size), without(volume.begin), without(volume.scale)
    if axis:
        rows = volume.values.shape[0]
        begin = (size[0] - begin[0] - scale[0] * rows, *begin[1:])
    spacing = volume.spacing and without(volume.spacing)
    planes = [np.take(volume.values, k, axis) for k in range(volume.values.shape[axis])]
    return [Picture(each[::-1] if axis else each, spacing, size, begin, scale) for each in planes]


def probabilities(
    net: Net, picture: Picture, said: dict[str, Any], apply: Callable[[Array], Array] | None = None
) -> Array:
    """What the net says of a prepared image: ``(K, *S)`` or ``(K)``; probabilities or, of a regression, the number.

    ``apply`` makes logits of a whole image ``(1, C, *S)``; without it, this file does.
    """
    x = np.ascontiguousarray(np.moveaxis(picture.values, -1, 0)[None]).astype(np.float32)
    window = said["windows"]
    if apply is None and window is None and not said["mirror"]:
        at_once: Array = net(x)[1][0]
        return at_once
    whole = apply or (lambda image: blended(net, image, window) if window else net(image)[0])
    axes = range(2, x.ndim)
    some = [k for n in range(x.ndim - 1) for k in itertools.combinations(axes, n)] if said["mirror"] else [()]
    found = [(each, _within(whole, np.ascontiguousarray(np.flip(x, each)), window)) for each in some]
    logits = np.mean([np.flip(y, each) if y.ndim == x.ndim else y for each, y in found], 0)
    answer: Array = _activated(logits, said["output"]["activation"])[0]
    return answer


def _within(apply: Callable[[Array], Array], image: Array, window: dict[str, Any] | None) -> Array:
    """What is applied to an image; one that is smaller than a window is mirrored beyond its edges first."""
    have = image.shape[2:]
    lack = [max(0, want - n) for want, n in zip(window["size"], have, strict=True)] if window else [0] * len(have)
    if not any(lack):
        return apply(image)
    found = apply(np.pad(image, [(0, 0), (0, 0), *((by // 2, by - by // 2) for by in lack)], "reflect"))
    if found.ndim < image.ndim:
        return found
    return found[_at(slice(by // 2, by // 2 + n) for by, n in zip(lack, have, strict=True))]


def _at(place: Iterable[slice]) -> tuple[slice, ...]:
    """A place in all images and channels."""
    return (slice(None), slice(None), *place)


def _activated(logits: Array, how: str) -> Array:
    if how == "softmax":
        grown: Array = np.exp(logits - logits.max(1, keepdims=True))
        shares: Array = grown / grown.sum(1, keepdims=True)
        return shares
    return 1 / (1 + np.exp(-logits)) if how == "sigmoid" else logits


def blended(net: Net, image: Array, window: dict[str, Any]) -> Array:
    """Logits of windows that slide over an image, blended with Gaussian weights."""
    size = window["size"]
    weights: Array = np.ones((), np.float32)
    for n in size:
        at = np.arange(n, dtype=np.float32) - (n - 1) / 2
        weights = weights[..., None] * np.exp(at**2 / (-2 * (window["sigma"] * n) ** 2)).astype(np.float32)
    weights = np.maximum(weights, max(float(weights.min()), window["least_weight"]))
    total, count = np.zeros((), np.float32), np.zeros(image.shape[2:], np.float32)
    for corner in itertools.product(*map(_starts, image.shape[2:], size, itertools.repeat(window["overlap"]))):
        place = tuple(slice(b, b + n) for b, n in zip(corner, size, strict=True))
        logits = net(np.ascontiguousarray(image[_at(place)]))[0]
        if not total.ndim:
            total = np.zeros((*logits.shape[:2], *image.shape[2:]), np.float32)
        total[_at(place)] += logits * weights
        count[place] += weights
    mean: Array = total / count
    return mean


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows begin along an axis: at equal distances, the last one as far as the image reaches."""
    step = side if length == side else max(1, int(side * (1 - overlap)))
    many = 1 + max(0, math.ceil((length - side) / step))
    return [min(k * step, length - side) for k in range(many)]


def restore(found: Array, picture: Picture) -> Array:
    """Probabilities ``(K, *S)`` on the voxels of the image as read, linearly; what was cropped away is class 0."""
    inside: Array = np.ones((), bool)
    for axis, length in enumerate(found.shape[1:]):
        at = (np.arange(picture.size[axis]) + 0.5 - picture.begin[axis]) / picture.scale[axis]
        inside = inside[..., None] & (at >= -1e-6) & (at <= length + 1e-6)
        at = np.clip(at - 0.5, 0, length - 1)
        left = np.floor(at).astype(int)
        share = (at - left).astype(np.float32).reshape(-1, *[1] * (found.ndim - axis - 2))
        first, second = (found.take(k, axis + 1) for k in (left, np.minimum(left + 1, length - 1)))
        found = first + (second - first) * share
    elsewhere = np.zeros_like(found)
    elsewhere[0] = 1
    return np.where(inside, found, elsewhere)


def clean(mask: Array, said: dict[str, Any]) -> Array:
    """The mask after the steps of ``postprocess``.

    Raises:
        ValueError: one is not known here.
    """
    for step in said["postprocess"]:
        if step["name"] not in AFTER:
            raise ValueError(f"the post-processing {step['name']} is a plug-in of the hospital's own: add it to AFTER")
        there = np.unique(mask).tolist()
        for each in [k for k in (step["kwargs"]["classes"] or there) if k and k in there]:
            mask = AFTER[step["name"]](mask, each, step["kwargs"])
    return mask


def _parts(inside: Array) -> tuple[Array, Array]:
    """Connected parts from 1, also by corners, and the voxels of each."""
    import SimpleITK as sitk

    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(inside.astype(np.uint8)), True))
    return parts, np.bincount(parts.ravel())[1:]


def _largest(mask: Array, each: int, how: dict[str, Any]) -> Array:
    parts, sizes = _parts(mask == each)
    return np.where((parts > 0) & (parts != 1 + sizes.argmax()), 0, mask).astype(np.uint8)


def _filled(mask: Array, each: int, how: dict[str, Any]) -> Array:
    import SimpleITK as sitk

    full = sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray((mask == each).astype(np.uint8))))
    return np.where((full > 0) & (mask == 0), each, mask).astype(np.uint8)


def _large(mask: Array, each: int, how: dict[str, Any]) -> Array:
    parts, sizes = _parts(mask == each)
    small = np.concatenate([[False], sizes < how["voxels"]])
    return np.where(small[parts], 0, mask).astype(np.uint8)


AFTER = {"largest_component": _largest, "fill_holes": _filled, "minimum_size": _large}


def mask_of(answers: Sequence[Array], prepared: Sequence[Picture], whole: Picture, said: dict[str, Any]) -> Array:
    """The mask of an image as read: uint8 class indices on its voxels."""
    found = [restore(one, each).argmax(0).astype(np.uint8) for one, each in zip(answers, prepared, strict=True)]
    masks = [clean(each, said) for each in found]
    axis = said["slices"]
    if axis is None or whole.values.ndim == 3:
        return masks[0]
    return np.stack([each[::-1] if axis else each for each in masks], axis)


def main(given: Sequence[str] | None = None) -> int:
    """The command: see the module. 0: every image is predicted; 1: some are not; 2: nothing can be done."""
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument(
        "images", nargs="+", type=Path, help="of several channels: their files, in order, image by image"
    )
    words.add_argument("-o", "--output", type=Path, default=Path(), help="folder for masks")
    words.add_argument("--model", type=Path, default=Path(__file__).resolve().parent, help="folder of the export")
    chosen = words.parse_args(given)
    try:
        said, net = load(chosen.model)
        images = images_of(chosen.images, said)
        if chosen.output.exists() and not chosen.output.is_dir():
            raise ValueError(f"-o {chosen.output} is a file: name a folder")
        if said["task"] == "segmentation":
            chosen.output.mkdir(parents=True, exist_ok=True)
        lost = [files for files in images if not _done(net, files, said, chosen.output)]
    except ImportError as error:
        print(f"error: {error}. Install it: README.md names the packages", file=sys.stderr)
        return 2
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if lost and len(images) > 1:
        print(f"not predicted: {len(lost)} of {len(images)} images", file=sys.stderr)
    return 1 if lost else 0


def _done(net: Net, files: Sequence[Path], said: dict[str, Any], output: Path) -> bool:
    """Predict an image, or say why it can't be: the others are predicted all the same."""
    try:
        for file in files:
            if file.is_dir():
                ending = ".png" if said["input"]["axes"] == 2 and said["slices"] is None else ".nii.gz"
                raise ValueError(f"a folder: name its images, as {file}/*{ending}")
            if not file.is_file():
                raise ValueError("not a file, but a pipe or a device" if file.exists() else "no such file")
        _predict(net, files, said, output)
    except ImportError:
        raise
    except Exception as error:  # whatever a reader says of a damaged file
        print(f"error: {', '.join(map(str, files))}: {error}", file=sys.stderr)
        return False
    return True


def images_of(files: Sequence[Path], said: dict[str, Any]) -> list[Sequence[Path]]:
    """The files of each image.

    Raises:
        ValueError: some are left over, or the masks of two images would have one name.
    """
    many = said["read"]["files"]
    if len(files) % many:
        raise ValueError(f"an image is {many} files, but there are {len(files)}")
    images = [files[k : k + many] for k in range(0, len(files), many)]
    names = Counter((_stem(each[0]), each[0].name.lower().endswith(VOLUMES)) for each in images)
    twice = [name for (name, _), times in names.items() if times > 1]
    if twice and said["task"] == "segmentation":
        raise ValueError(f"two images are called {twice[0]}: predict them one by one, into a folder each")
    return images


def _stem(file: Path) -> str:
    """A file's name without its ending; other dots are part of the name, as in the numbers of DICOM."""
    ending = next((each for each in VOLUMES if file.name.lower().endswith(each)), file.suffix)
    return file.name[: len(file.name) - len(ending)]


def _predict(net: Net, files: Sequence[Path], said: dict[str, Any], output: Path) -> None:
    whole = read(files, said)
    prepared = prepare(whole, said)
    tell([probabilities(net, each, said) for each in prepared], prepared, whole, said, files, output)


def tell(
    answers: Sequence[Array],
    prepared: Sequence[Picture],
    whole: Picture,
    said: dict[str, Any],
    files: Sequence[Path],
    output: Path,
) -> None:
    """Save an image's mask, or print what was predicted of it."""
    name = files[0].name
    if said["task"] == "segmentation":
        output.mkdir(parents=True, exist_ok=True)
        print(save(mask_of(answers, prepared, whole, said), files[0], output / f"{_stem(files[0])}_mask"))
        return
    for number, answer in enumerate(answers):
        told = ", ".join(f"{each} {value:.6g}" for each, value in zip(said["classes"], answer.tolist(), strict=True))
        print(f"{name}{f' slice {number}' if said['slices'] is not None else ''}: {told}")


if __name__ == "__main__":
    raise SystemExit(main())
