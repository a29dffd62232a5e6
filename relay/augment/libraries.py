"""Any dictionary transform of monai and any augmenter of imgaug, by its name and its own keywords.

Their keywords are checked against the libraries' source; nothing heavy is imported before a batch is made.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np

from relay.augment.base import Augmentation, Images, Pixels
from relay.augment.classic import through_imgaug
from relay.config import options
from relay.errors import UserError, first_line
from relay.signatures import Library, remade

MONAI = Library("monai.transforms", "transform")
IMGAUG = Library("imgaug.augmenters", "augmenter")
SPATIAL = ("spatial/dictionary", "smooth_field/dictionary")
STAYING = ("RandSmoothFieldAdjustContrastd", "RandSmoothFieldAdjustIntensityd", "RandSimulateLowResolutiond")
"""In the same modules, but they change intensities only: a mask's classes would become others."""
KWARGS = "Correct its kwargs."
OURS = ("keys", "allow_missing_keys", "seed", "random_state", "deterministic", "name", "device", "lazy")
"""What is relay's to say: which arrays, and what randomness comes from."""


class FromMonai(Augmentation):
    """A random dictionary transform of monai; one that moves voxels also moves the mask's, by nearest neighbour."""

    axes, takes = (2, 3), "unit"
    name: ClassVar[str]

    def __reduce__(self) -> tuple[Any, ...]:
        return remade, (from_monai, self.name, vars(self.options))

    def problem(self, axes: int) -> str | None:
        """See :meth:`Augmentation.problem`."""
        other = {2: "3D", 3: "2D"}[axes]
        return None if other not in self.name else "is not available for " + ("images" if axes == 2 else "volumes")

    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """See :meth:`Augmentation.apply`."""
        from relay.augment.monai_batch import through, transform

        return through(transform(self.name, self.keywords()), images, masks, seed)

    def keywords(self) -> dict[str, Any]:
        """What monai's class is called with."""
        given = {key: _tuples(value) for key, value in vars(self.options).items() if key in _own(MONAI, self.name)}
        takes = MONAI.signature(self.name)
        changed = {key: value for key, value in given.items() if value != takes[key].default}
        moves = MONAI.module(self.name) in SPATIAL and self.name not in STAYING  # voxels: a mask must follow
        changed["keys"] = ("image", "mask") if moves else ("image",)
        if moves and "mode" in takes:
            mode = changed.get("mode", "bilinear")  # of the image; between a mask's classes there is nothing
            changed["mode"] = (mode[0] if isinstance(mode, tuple) else mode, "nearest")
        if "padding_mode" in takes:
            changed.setdefault("padding_mode", "zeros")
        return changed


class FromImgaug(Augmentation):
    """An augmenter of imgaug, for 8-bit pictures. A list of two numbers is a range."""

    name: ClassVar[str]

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._augmenter: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return remade, (from_imgaug, self.name, vars(self.options))

    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """See :meth:`Augmentation.apply`."""
        if self._augmenter is None:
            self._augmenter = self._built()
        return through_imgaug(self._augmenter, images, masks, seed)

    def check(self, channels: int) -> None:
        """See :meth:`Augmentation.check`: make the augmenter, and augment a small picture."""
        images = np.full((2, 32, 32, channels), 100, np.uint8)
        masks = np.zeros(images.shape[:-1], np.uint8)
        try:
            changed, _ = through_imgaug(self._built(), images, masks, 0)
        except UserError:
            raise
        except Exception as error:  # some values show only when they are used
            said = f"imgaug:{self.name} can't augment a picture of {channels} channels: {_first(error)}"
            raise UserError(said, KWARGS) from error
        if np.shape(changed) != images.shape:
            raise UserError(f"imgaug:{self.name} changes an image's size or channels; they must stay", KWARGS)

    def _built(self) -> Any:
        import imgaug.augmenters as iaa

        takes = IMGAUG.signature(self.name)
        given = {key: _ranges(value) for key, value in vars(self.options).items() if value != takes[key].default}
        try:
            return getattr(iaa, self.name)(**given)
        except Exception as error:  # imgaug checks its keywords in many ways
            blamed = _culprit(getattr(iaa, self.name), given, {key for key in given if takes[key].required})
            where = f" ({blamed} is {vars(self.options)[blamed]!r})" if blamed else ""
            raise UserError(f"imgaug can't make {self.name}{where}: {_first(error)}", KWARGS) from error


@cache
def from_monai(name: str) -> type[FromMonai]:
    """The plug-in of a random dictionary transform of monai.

    Raises:
        UserError: monai has none of this name.
    """
    takes = MONAI.signature(name)
    if "keys" not in takes or "Rand" not in name:
        raise UserError(
            f"monai:{name} is no random dictionary transform",
            "Their names begin with Rand and end with d, such as monai:RandGaussianNoised.",
        )
    made = {"__doc__": f"monai's {name}.", "name": name, "Options": _options(MONAI, name)}
    return type(name, (FromMonai,), made)


@cache
def from_imgaug(name: str) -> type[FromImgaug]:
    """The plug-in of an augmenter of imgaug.

    Raises:
        UserError: imgaug has none of this name, or it takes other augmenters.
    """
    takes = IMGAUG.signature(name)
    if nested := {"children", "then_list", "foreground", "children1"} & set(takes):
        advice = "Use relay's own Sequential, OneOf or SomeOf, with transforms: [imgaug:..., ...]."
        raise UserError(f"imgaug:{name} holds other augmenters ({', '.join(sorted(nested))})", advice)
    made = {"__doc__": f"imgaug's {name}.", "name": name, "Options": _options(IMGAUG, name)}
    return type(name, (FromImgaug,), made)


def _own(library: Library, name: str) -> list[str]:
    """The keywords that a config may give."""
    return [key for key in library.signature(name) if key not in OURS]


def _options(library: Library, name: str) -> type:
    takes = {key: library.signature(name)[key] for key in _own(library, name)}
    kinds = {key: parameter.kind if library is MONAI else Any for key, parameter in takes.items()}
    values = {key: parameter.default for key, parameter in takes.items() if not parameter.required}
    doc = f"Keywords of {library.package.partition('.')[0]}'s {name}."
    return options(type("Options", (), {"__annotations__": kinds, "__doc__": doc, **values}))


def _tuples(value: Any) -> Any:
    """Lists as tuples, which is what monai's own defaults are."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _first(error: Exception) -> str:
    return first_line(error).rstrip(".")


def _culprit(cls: Any, given: dict[str, Any], required: set[str]) -> str | None:
    """The only keyword, besides those that are required, with which a class can't be made; None if it is not one."""
    failing = []
    for key in given:
        try:
            cls(**{other: value for other, value in given.items() if other == key or other in required})
        except Exception:  # as many as imgaug has
            failing.append(key)
    return failing[0] if len(failing) == 1 else None


def _ranges(value: Any) -> Any:
    """imgaug draws from between the two numbers of a tuple, and one of the items of a list."""
    if isinstance(value, dict):
        return {key: _ranges(item) for key, item in value.items()}
    pair = isinstance(value, list) and len(value) == 2 and all(isinstance(item, int | float) for item in value)
    return tuple(value) if pair else value
