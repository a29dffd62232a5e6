"""Reads the text form of augmentations that ECVL uses (github.com/deephealthproject/ecvl), a line each::

    SequentialAugmentationContainer
        AugRotate angle=[-5,5]
        OneOfAugmentationContainer p=0.7
            AugMirror p=0.5
            AugGammaContrast gamma=[0.8,1.2]
        end
    end

``[a,b]`` is a range. Intensities are those of 8-bit pictures, 0 to 255.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from relay.config import Named
from relay.errors import UserError, nearest

CONTAINERS = {"SequentialAugmentationContainer": "Sequential", "OneOfAugmentationContainer": "OneOf"}
PARAMETER = re.compile(r"(\w+)=(\[[^\]]*\]|\([^)]*\)|\"[^\"]*\"|\S+)\s*")
IGNORED = {"interp", "gt_interp", "center"}
"""How pixels are interpolated, and a centre that is the image's own by default: relay's own way is used."""
KNOWN: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "AugRotate": ("imgaug:Affine", {"angle": "rotate", "scale": "scale"}),
    "AugMirror": ("imgaug:Fliplr", {"p": "p"}),
    "AugFlip": ("imgaug:Flipud", {"p": "p"}),
    "AugResizeScale": ("imgaug:Affine", {"scale": "scale"}),
    "AugGaussianBlur": ("imgaug:GaussianBlur", {"sigma": "sigma"}),
    "AugAdditiveLaplaceNoise": ("imgaug:AdditiveLaplaceNoise", {"std_dev": "scale"}),
    "AugAdditivePoissonNoise": ("imgaug:AdditivePoissonNoise", {"lambda": "lam"}),
    "AugGammaContrast": ("imgaug:GammaContrast", {"gamma": "gamma"}),
    "AugBrightness": ("imgaug:Add", {"beta": "value"}),
    "AugCoarseDropout": (
        "imgaug:CoarseDropout",
        {"p": "p", "drop_size": "size_percent", "per_channel": "per_channel"},
    ),
    "AugElasticTransform": ("imgaug:ElasticTransformation", {"alpha": "alpha", "sigma": "sigma"}),
    "AugSalt": ("imgaug:Salt", {"p": "p", "per_channel": "per_channel"}),
    "AugPepper": ("imgaug:Pepper", {"p": "p", "per_channel": "per_channel"}),
    "AugSaltAndPepper": ("imgaug:SaltAndPepper", {"p": "p", "per_channel": "per_channel"}),
}
"""What each means here: the augmentation, and its keywords for ECVL's parameters."""
DEFAULTS: Mapping[str, Mapping[str, float]] = {"AugMirror": {"p": 0.5}, "AugFlip": {"p": 0.5}}
"""ECVL's defaults where imgaug has others."""
ELSEWHERE = {
    "AugResizeDim": "Set the images' size with dataset.kwargs.img_size, or the step Resize.",
    "AugCenterCrop": "Set the patches' size with dataset.kwargs.patch_size.",
    "AugNormalize": "Set dataset.kwargs.intensity_range, or the step Normalise.",
    "AugToFloat32": "Leave it out: relay makes floats of intensities itself (intensity_range).",
    "AugDivBy255": "Leave it out: relay makes floats of intensities itself (intensity_range).",
    "AugScaleTo": "Set dataset.kwargs.intensity_range.",
}


def parse(text: str) -> Named:
    """The pipeline of a text.

    Raises:
        UserError: it names the line, and what can stand there.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    given = iter(lines)
    number, first = next(given)
    if first.split()[0] not in CONTAINERS:
        raise _wrong(number, first, f"must begin with one of {', '.join(CONTAINERS)}")
    found = _container(number, first, given)
    if (more := next(given, None)) is not None:
        raise _wrong(*more, "is after the last end")
    return found


def _container(number: int, line: str, lines: Iterator[tuple[int, str]]) -> Named:
    name, _, rest = line.partition(" ")
    parts: list[Named] = []
    for place, inner in lines:
        if inner == "end":
            if not parts:
                raise _wrong(number, line, "holds nothing")
            kwargs: dict[str, Any] = {"transforms": [{"name": p.name, "kwargs": p.kwargs} for p in parts]}
            given = _parameters(number, rest)
            if odd := sorted(given.keys() - {"p"}):
                raise _wrong(number, line, f"has no parameter {odd[0]}; allowed: p")
            probability = given.get("p", 1.0)
            if not isinstance(probability, int | float):
                raise _wrong(number, line, "must have one number for p")
            return Named(name=CONTAINERS[name], kwargs=kwargs | {"probability": float(probability)})
        parts.append(_container(place, inner, lines) if inner.split()[0] in CONTAINERS else _one(place, inner))
    raise _wrong(number, line, "has no end")


def _one(number: int, line: str) -> Named:
    name, _, rest = line.partition(" ")
    if name in ELSEWHERE:
        raise _wrong(number, line, "is no augmentation here", ELSEWHERE[name])
    if name not in KNOWN:
        near = nearest(name, list(KNOWN))
        known = f"known: {', '.join(KNOWN)}" + (f"; did you mean '{near}'?" if near else "")
        raise _wrong(number, line, f"is not known here; {known}")
    called, words = KNOWN[name]
    given = {key: value for key, value in _parameters(number, rest).items() if key not in IGNORED}
    if odd := sorted(given.keys() - words.keys()):
        raise _wrong(number, line, f"has no parameter {odd[0]}; allowed: {', '.join([*words, *sorted(IGNORED)])}")
    return Named(name=called, kwargs={**DEFAULTS.get(name, {}), **{words[key]: given[key] for key in given}})


def _parameters(number: int, text: str) -> dict[str, Any]:
    """``angle=[-5,5] p=0.7`` as a mapping."""
    if PARAMETER.sub("", text).strip():
        raise _wrong(number, text, "must be parameters as name=value, without spaces inside a value")
    read: Callable[[str], Any] = ast.literal_eval
    try:
        pairs = {key: read(value) for key, value in PARAMETER.findall(text)}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise _wrong(number, text, f"has a value that can't be read ({error})") from error
    return {key: list(value) if isinstance(value, tuple) else value for key, value in pairs.items()}


def _wrong(number: int, line: str, why: str, cure: str = "Correct the text.") -> UserError:
    return UserError(f"augment: line {number} of ECVL's text, '{line}', {why}", cure)
