"""Augmentations by name, with kwargs, nested, of libraries, and as ECVL writes them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from relay.augment import augment, check, made
from relay.config import Named, check as checked
from relay.data import DatasetOptions
from relay.errors import UserError
from tests.augment.test_classic import batch, blocks

NOISE = {"name": "monai:RandGaussianNoised", "kwargs": {"prob": 1.0, "std": 0.1, "sample_std": False}}
MIRROR = {"name": "imgaug:Fliplr", "kwargs": {"p": 1.0}}
NOISE_THEN = {"name": "Sequential", "kwargs": {"transforms": [NOISE, "flip"]}}


def named(name: str, **kwargs: Any) -> Named:
    return Named(name=name, kwargs=kwargs)


@pytest.mark.parametrize(
    "choice",
    [
        named("monai:RandAffined", prob=1.0, rotate_range=[0.5], translate_range=3),
        named("imgaug:Affine", rotate=[-25, 25]),
        named("OneOf", transforms=[NOISE, MIRROR, "flip_rotate"], weights=[1, 1, 2]),
        named("SomeOf", transforms=[NOISE, MIRROR, NOISE_THEN], count=[1, 3]),
        ["flip", Named(**NOISE), Named(**MIRROR)],
    ],
)
def test_the_seed_alone_decides(choice: Any) -> None:
    images, masks = batch(16, 16)
    kept = images.copy(), masks.copy()
    first = augment(choice, images, masks, 5)
    augment(choice, images[:3], masks[:3], 6)
    again = augment(choice, images, masks, 5)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[0] != images).any()
    assert (augment(choice, images, masks, 7)[0] != first[0]).any()
    assert (images == kept[0]).all()
    assert (masks == kept[1]).all()


@pytest.mark.parametrize(
    "choice", [named("monai:RandAffined", prob=1.0, translate_range=9), named("imgaug:Affine", translate_px=[-9, 9])]
)
def test_masks_follow_a_librarys_geometry(choice: Named) -> None:
    images, masks = blocks()
    new_images, new_masks = augment(choice, images, masks, 1)
    assert (new_masks != masks).any()
    assert set(np.unique(new_masks)) <= {0, 2}
    assert ((new_masks == 2) == (new_images[..., 0] > 120)).mean() > 0.97


def test_masks_stay_where_only_intensities_change() -> None:
    images, masks = blocks()
    new_images, new_masks = augment(Named(**NOISE), images, masks, 1)
    assert (new_masks == masks).all()
    assert (new_images.astype(int) - images).std() == pytest.approx(25, rel=0.3)


FIELD = {"prob": 1.0, "spatial_size": [8, 8], "rand_size": [3, 3]}


@pytest.mark.parametrize(
    ("choice", "shape"),
    [
        (named("monai:RandRotated", prob=1.0, range_x=0.5, mode="bicubic"), (8, 8)),
        (named("monai:RandRotated", prob=1.0, range_x=0.5, mode="bilinear"), (8, 8)),
        (named("monai:RandAffined", prob=1.0, rotate_range=[0.5], mode=3), (8, 8)),
        (named("monai:RandAffined", prob=1.0, rotate_range=[0.5], mode=["bilinear", "bilinear"]), (8, 8)),
        (named("monai:RandSmoothFieldAdjustIntensityd", **FIELD), (8, 8)),
        (named("monai:RandSmoothFieldAdjustContrastd", **FIELD), (8, 8)),
        (named("monai:RandSimulateLowResolutiond", prob=1.0), (8, 8, 8)),
    ],
)
def test_a_mask_never_gets_other_classes(choice: Named, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    masks = rng.choice(np.array([0, 4, 9], np.uint8), (2, *shape))
    images = rng.integers(0, 255, (2, *shape, 1), np.uint8)
    new, moved = augment(choice, images, masks, 1)
    assert (new != images).any()
    assert set(np.unique(moved)) <= {0, 4, 9}


def test_a_list_is_one_after_the_other() -> None:
    images, masks = batch(5, 6)
    twice, _ = augment([Named(**MIRROR), Named(**MIRROR)], images, masks, 1)
    assert (twice == images).all()
    once, moved = augment([Named(**MIRROR)], images, masks, 1)
    assert (once == images[:, :, ::-1]).all()
    assert (moved == masks[:, :, ::-1]).all()


def test_each_sample_has_one_of_them() -> None:
    images, masks = (np.repeat(part[:1], 300, axis=0) for part in batch(4, 5))
    up = {"name": "imgaug:Flipud", "kwargs": {"p": 1.0}}
    new, _ = augment(named("OneOf", transforms=[MIRROR, up], weights=[3, 1]), images, masks, 2)
    across, down = ((new == other).all((1, 2, 3)).mean() for other in (images[:, :, ::-1], images[:, ::-1]))
    assert across + down == 1
    assert across == pytest.approx(0.75, abs=0.08)


def test_some_of_them_as_often_as_said() -> None:
    images, masks = (np.repeat(part[:1], 300, axis=0) for part in batch(4, 5))
    up = {"name": "imgaug:Flipud", "kwargs": {"p": 1.0}}
    new, _ = augment(named("SomeOf", transforms=[MIRROR, up], count=[0, 2]), images, masks, 2)
    both, none = ((new == other).all((1, 2, 3)).mean() for other in (images[:, ::-1, ::-1], images))
    assert (both, none) == (pytest.approx(1 / 3, abs=0.1), pytest.approx(1 / 3, abs=0.1))
    half, _ = augment(named("Sequential", transforms=[MIRROR, up], probability=0.5), images, masks, 2)
    both, none = ((half == other).all((1, 2, 3)).mean() for other in (images[:, ::-1, ::-1], images))
    assert both + none == 1
    assert both == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (named("monai:RandGaussianNoise"), "is no random dictionary transform"),
        (named("monai:RandGausianNoised"), "Did you mean 'monai:RandGaussianNoised'"),
        (named("monai:RandGaussianNoised", probability=1), "unknown key; allowed: prob, .*did you mean 'prob'"),
        (named("monai:RandGaussianNoised", prob="often"), "prob = 'often': must be a number"),
        (named("monai:RandGaussianNoised", keys=["image"]), "unknown key"),
        (named("imgaug:FlipLR"), "Did you mean 'imgaug:\\w*[Ff]lip"),
        (named("imgaug:Affine", rotation=[1, 2]), "did you mean 'rotate'"),
        (named("imgaug:OneOf", children=[]), "Use relay's own Sequential, OneOf or SomeOf"),
        (named("flip", p=1), "takes no kwargs"),
        (named("OneOf", transforms=[]), "at least 1 item"),
        (named("OneOf", transforms=["flip"], weights=[1, 2]), "weights must have one number for each transform: 1"),
        (named("SomeOf", transforms=["flip"], count=[1, 2]), "count must rise, to 1 at most"),
        (named("Sequential", transforms=["flip", "flop"]), r"\[1\]: unknown name 'flop'.*Did you mean 'flip'"),
        ([named("OneOf", transforms=[named("monai:RandFlipd", prob="x")])], r"prob = 'x': must be a number\. C"),
    ],
)
def test_mistakes_are_named(choice: Named, said: str) -> None:
    with pytest.raises(UserError) as caught:
        made(choice)
    text = f"{caught.value}. {caught.value.advice()}"
    assert re.search(said, text), text
    assert ".." not in text.replace("...", "")


def test_what_does_not_suit_the_images_is_named() -> None:
    with pytest.raises(UserError, match="'imgaug:Fliplr' is not available for volumes: one of flip, flip_rotate"):
        check([Named(**NOISE), named("OneOf", transforms=[MIRROR])], 3)
    with pytest.raises(UserError, match="'monai:Rand3DElasticd' is not available for images"):
        check(named("monai:Rand3DElasticd", sigma_range=[1, 2], magnitude_range=[1, 2]), 2)
    check([Named(**NOISE), "light"], 3)
    floats = np.zeros((2, 8, 8, 1), np.float16)
    with pytest.raises(UserError, match="'imgaug:Fliplr' is for 8-bit pictures; after Normalise, images are float16"):
        augment(Named(**MIRROR), floats, np.zeros((2, 8, 8), np.uint8), 1)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (named("monai:RandAdjustContrastd", gamma=-1.0), "monai can't make RandAdjustContrastd: .*gamma"),
        (named("imgaug:Fliplr", p="x"), "imgaug can't make Fliplr"),
        (named("monai:RandSpatialCropd", roi_size=[2, 2]), "RandSpatialCropd changes an image.s size, from 6×6 to 2×2"),
    ],
)
def test_a_librarys_own_complaint_is_passed_on(choice: Named, said: str) -> None:
    with pytest.raises(UserError, match=said):
        augment(choice, *batch(6, 6), 1)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (named("imgaug:Fliplr", p="x"), "augment.train: imgaug can't make Fliplr (p is 'x'): "),
        ([named("imgaug:Affine", rotate=[-9, 9], scale="big"), "flip"], "imgaug can't make Affine (scale is 'big'): "),
        (named("imgaug:AddToHueAndSaturation", value=9), "can't augment a picture of 1 channels: Expected number of"),
        (named("imgaug:Resize", size=8), "imgaug:Resize changes an image's size or channels; they must stay"),
        (named("imgaug:Fliplr", p=0.5), None),
    ],
)
def test_values_of_imgaug_are_tried_when_a_config_is_checked(choice: Any, said: str | None) -> None:
    given = {"task_id": 0, "task_name": "a", "num_classes": 2, "channels": 1}
    plain = [asdict(each) if isinstance(each, Named) else each for each in choice] if isinstance(choice, list) else None
    _, problems = checked(DatasetOptions, {**given, "augment": {"train": plain or asdict(choice)}})
    assert len(problems) == (said is not None)
    assert said is None or said in str(problems[0])


def test_nothing_heavy_is_imported_to_check_a_config() -> None:
    code = (
        "import sys; from relay.augment import made; from relay.config import Named\n"
        "made([Named(name='monai:RandAffined'), Named(name='imgaug:Fliplr'), 'strong'])\n"
        "print({'torch', 'monai', 'imgaug'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


ECVL = """
SequentialAugmentationContainer
    AugRotate angle=[-5,5] center=(0,0) interp="linear"
    AugMirror p=0.5
    OneOfAugmentationContainer p=0.7
        AugAdditiveLaplaceNoise std_dev=[0,51]
        AugCoarseDropout p=[0,0.55] drop_size=[0.02,0.1] per_channel=0
        AugGammaContrast gamma=[0.8,1.2]
    end
end
"""


def test_ecvls_text_is_read() -> None:
    images, masks = batch(16, 16)
    new, moved = augment(ECVL, images, masks, 1)
    assert (new != images).any()
    assert moved.shape == masks.shape
    one: Any = made(ECVL)
    assert [type(part).__name__ for part in one.parts] == ["Affine", "Fliplr", "OneOf"]
    assert one.parts[0].options.rotate == [-5, 5]
    assert one.parts[2].options.probability == 0.7
    mirrored: Any = made(ECVL.replace("AugMirror p=0.5", "AugMirror"))
    assert mirrored.parts[1].options.p == 0.5


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("AugMirror", "AugMiror", "line 4 .*is not known here.*did you mean 'AugMirror'"),
        ("AugMirror p=0.5", "AugResizeDim dims=(5,5)", "is no augmentation here.*dataset.kwargs.img_size"),
        ("AugMirror p=0.5", "AugMirror q=0.5", "has no parameter q; allowed: p"),
        ("AugMirror p=0.5", "AugMirror p=a+b", "has a value that can't be read"),
        ("AugMirror p=0.5", "AugMirror p = 0.5", "without spaces inside a value"),
        ("p=0.7", "q=0.7", "has no parameter q; allowed: p"),
        ("p=0.7", "p=[0,0.7]", "line 5 .*must have one number for p"),
        ("p=0.7", "p={[]:1}", "has a value that can't be read"),
        ("    end\nend", "    end", "has no end"),
        ("end\nend\n", "end\nend\nAugFlip\n", "line 11 .*is after the last end"),
    ],
)
def test_mistakes_in_ecvls_text_have_a_line(old: str, new: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        made(ECVL.replace(old, new))
    assert re.search(said, f"{caught.value}. {caught.value.advice()}")
