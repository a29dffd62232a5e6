"""From what a config names to augmented batches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from relay import registry
from relay.augment.base import Augmentation, Images, Pixels
from relay.config import Named, check as checked
from relay.errors import UserError

Choice: TypeAlias = "str | Named | list[str | Named]"
"""A name; a name and kwargs; several, one after the other; or ECVL's text of a pipeline (:mod:`relay.augment.ecvl`)."""


KWARGS = "Correct its kwargs."
FOR_FLOATS = "Use flip, flip_rotate, light, strong, or one of monai's; or leave out the step Normalise."


def augment(choice: Choice, images: Images, targets: Any, seed: int) -> tuple[Images, Any]:
    """Augment a batch.

    Args:
        choice: what the config names.
        images: uint8 ``(B, *S, C)`` in 0..255, or float ``(B, *S, C)`` in -1..1.
        targets: masks, uint8 ``(B, *S)``, which follow the geometry; or targets of whole images, ``(B,)`` or
            ``(B, K)``, which stay as they are.
        seed: any non-negative integer; all randomness comes from it.

    Raises:
        UserError: there is no such augmentation, it does not suit the images, or it is a plug-in and failed.
    """
    check(choice, images.ndim - 2)
    if targets.ndim == images.ndim - 1:
        return applied(made(choice), images, targets, seed)
    empty = np.zeros(images.shape[:-1], np.uint8)
    return applied(made(choice), images, empty, seed)[0], targets


def applied(one: Augmentation, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
    """A batch through one augmentation, with the images as it wants them.

    Raises:
        UserError: see :func:`augment`.
    """
    name = _name(one)
    if one.takes == "bytes" and images.dtype != np.uint8:
        said = f"augment: '{name}' is for 8-bit pictures; after Normalise, images are {images.dtype}"
        raise UserError(said, FOR_FLOATS)
    given = _unit(images) if one.takes == "unit" else images
    with registry.blamed(f"augmentation '{name}'", one):
        new_images, new_masks = one.apply(given, masks, seed)
        for what, old, new in (("images", given, new_images), ("masks", masks, new_masks)):
            if new.shape != old.shape or new.dtype != old.dtype:
                raise ValueError(f"{what} became {new.dtype} {new.shape}; they must stay {old.dtype} {old.shape}")
    return (_stored(new_images, images.dtype) if one.takes == "unit" else new_images), new_masks


def check(choice: Choice, axes: int) -> None:
    """Refuse an augmentation that pictures of two or three spatial axes can't have.

    Raises:
        UserError: the message lists those they can have.
    """
    one = made(choice)
    if problem := one.problem(axes):
        every = registry.names("augmentations")
        allowed = [name for name in every if registry.find("augmentations", name).Options is None]
        allowed = [name for name in allowed if not made(name).problem(axes)]
        said = problem if isinstance(choice, list) or "'" in problem else f"'{_name(one)}' {problem}"
        raise UserError(f"augment: {said}: one of {', '.join(allowed)}")


def made(choice: Choice) -> Augmentation:
    """The augmentation of a choice.

    Raises:
        UserError: it does not exist, or its kwargs are wrong.
    """
    plain = [_plain(each) for each in choice] if isinstance(choice, list) else _plain(choice)
    return _made(json.dumps(plain, sort_keys=True))


def _plain(choice: str | Named) -> Any:
    return asdict(choice) if isinstance(choice, Named) else choice


@cache
def _made(text: str) -> Augmentation:
    choice: Any = json.loads(text)
    if isinstance(choice, list):
        return _of("Sequential", {"transforms": choice})
    if isinstance(choice, str) and "AugmentationContainer" in choice:
        from relay.augment.ecvl import parse

        return made(parse(choice))
    return _of(choice, {}) if isinstance(choice, str) else _of(choice["name"], choice["kwargs"])


def _of(name: str, kwargs: Mapping[str, Any]) -> Augmentation:
    cls = registry.find("augmentations", name)
    schema = getattr(cls, "Options", None)
    if schema is None and kwargs:
        raise UserError(f"augmentation '{name}' takes no kwargs", f"Leave out {', '.join(kwargs)}.")
    options, problems = checked(schema, kwargs) if schema else (None, [])
    if problems:
        raise UserError(f"augmentation '{name}': {'; '.join(map(str, problems))}", KWARGS)
    with registry.blamed(f"augmentation '{name}'", cls):
        one: Augmentation = cls(options) if schema else cls()
    vars(one)["called"] = name
    return one


def _name(one: Augmentation) -> str:
    """As the config has it."""
    return str(vars(one).get("called", type(one).__name__))


def _unit(images: Images) -> Images:
    """Float32 0..1."""
    if images.dtype == np.uint8:
        return np.asarray(images / np.float32(255), np.float32)
    return np.asarray((images.astype(np.float32) + 1) / 2, np.float32)


def _stored(images: Images, kind: np.dtype[Any]) -> Images:
    """Back to what is stored; what has left the range is put on its ends."""
    whole = np.clip(images, 0, 1)
    return np.rint(whole * 255).astype(kind) if kind == np.uint8 else (whole * 2 - 1).astype(kind)
