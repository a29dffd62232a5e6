"""Batches through transforms of monai, sample by sample (imports torch and monai: import it late)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai import transforms

from relay.augment.base import Images, Pixels
from relay.errors import UserError, first_line

_kept: dict[str, Any] = {}


def transform(name: str, keywords: Mapping[str, Any]) -> Any:
    """A transform of monai, made once in each process.

    Raises:
        UserError: monai refuses the keywords.
    """
    key = json.dumps([name, keywords], default=str, sort_keys=True)
    if key not in _kept:
        try:
            _kept[key] = getattr(transforms, name)(**keywords)
        except Exception as error:  # monai checks its keywords in many ways
            raise UserError(f"monai can't make {name}: {first_line(error)}", "Correct its kwargs.") from error
    return _kept[key]


def through(made: Any, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
    """Float32 ``(B, *S, C)`` in 0..1 and uint8 ``(B, *S)``, each sample with randomness of its own from the seed."""
    seeds = np.random.default_rng(seed).integers(2**32, size=len(images))
    pairs = [_one(made, *pair) for pair in zip(images, masks, seeds.tolist(), strict=True)]
    new_images, new_masks = zip(*pairs, strict=True)
    return np.stack(new_images), np.stack(new_masks)


def _one(made: Any, image: Images, mask: Pixels, seed: int) -> tuple[Images, Pixels]:
    made.set_random_state(seed=seed)
    with torch.random.fork_rng(devices=[]):  # some transforms draw from torch's own generator
        torch.manual_seed(seed)
        first = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))
        try:
            done = made({"image": first, "mask": torch.from_numpy(mask.astype(np.float32))[None]})
        except Exception as error:  # a keyword that doesn't suit these images
            raise UserError(
                f"monai's {type(made).__name__} failed: {first_line(error.__cause__ or error)}", "Correct its kwargs."
            ) from error
    found = np.asarray(done["image"], np.float32)
    if found.shape != first.shape:
        sizes = " to ".join("×".join(map(str, shape[1:])) for shape in (first.shape, found.shape))
        advice = "Use one that keeps it; patch_size and img_size (or the step Resize) change it."
        raise UserError(f"monai's {type(made).__name__} changes an image's size, from {sizes}", advice)
    return np.ascontiguousarray(np.moveaxis(found, 0, -1)), np.rint(np.asarray(done["mask"][0])).astype(np.uint8)
