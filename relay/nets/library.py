"""Any net of monai, by its name and its own keywords: ``{name: monai:SegResNet, kwargs: {init_filters: 16}}``."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import model_validator

from relay.config import Field, options
from relay.errors import UserError, nearest, some
from relay.signatures import Library, Parameter, remade

from .base import LibraryOptions, Net

if TYPE_CHECKING:
    from torch import nn

NETS = Library("monai.networks.nets", "net", passed=("spatial_dims", "in_channels"))
CHANNELS = ("in_channels", "n_input_channels", "num_channels", "in_shape")
OUTPUTS = ("out_channels", "num_classes", "classes", "out_shape")
SIZES = ("img_size", "input_image_size", "in_shape")
FIXED: dict[str, Any] = {"classification": True, "post_activation": None}
"""What a net that classifies needs to give logits: monai's ViT gives features, and squashes them, as it comes."""
UNETR_PATCH = 16
"""The side of monai's UNETR's patches."""
LOADING = ("pretrained", "progress")
"""These would download weights."""
RELAYS = {field.name for field in dataclasses.fields(LibraryOptions)}


class LibraryNet(Net):
    """A net of monai; a subclass for each name, see :func:`from_monai`."""

    name: ClassVar[str]
    options: LibraryOptions

    def __reduce__(self) -> tuple[Any, ...]:
        return remade, (from_monai, self.name, vars(self.options))

    def build(self) -> nn.Module:
        """See :meth:`relay.nets.base.Net.build`; a net that classifies gives ``(B, num_classes)``.

        Raises:
            UserError: monai refuses the keywords, or ``pretrained`` does not fit.
        """
        from .wrapped import wrapped

        return wrapped(self.name, self.keywords(), self.options)

    def doubt(self) -> str | None:
        """See :meth:`relay.nets.base.Net.doubt`."""
        from .wrapped import has_batch_norm

        if self.options.batch_norm != "keep" or not has_batch_norm(self.build):
            return None
        return (
            f"monai:{self.name} has batch normalisation, which keeps statistics of one site's images: at other sites "
            "it often does worse; model.kwargs.batch_norm: group replaces it"
        )

    def odd_size(self) -> str | None:
        """What ``img_size`` must be a multiple of where it is not; None if it is. monai would say it in numbers of its
        own (UNETR), or leave out the rest of the image without a word (ViT)."""
        size, patch = getattr(self.options, "img_size", None) or [], getattr(self.options, "patch_size", 1)
        by = UNETR_PATCH if self.name == "UNETR" else patch
        sides = [by] * len(size) if isinstance(by, int) else list(by)
        if len(sides) != len(size) or not any(side % each for side, each in zip(size, sides, strict=True)):
            return None
        return (
            f"must be multiples of {', '.join(map(str, sides))}: monai:{self.name} divides an image into such patches"
        )

    def keywords(self) -> dict[str, Any]:
        """What monai's class is called with: keywords that differ from its defaults, and what the data set says."""
        o, takes = self.options, NETS.signature(self.name)
        in_channels, outputs = self.channels()
        size = tuple(getattr(o, "img_size", None) or ())
        about: dict[str, Any] = {"in_shape": (in_channels, *size), "out_shape": (outputs,)} | dict.fromkeys(
            SIZES[:2], size
        )
        about |= dict.fromkeys(CHANNELS[:3], in_channels) | dict.fromkeys(OUTPUTS[:3], outputs)
        about |= {"spatial_dims": o.spatial_dims or 2, "pretrained": False} | FIXED
        given = {key: _tuples(getattr(o, key)) for key in _own(takes)}
        changed = {key: value for key, value in given.items() if value != takes[key].default}
        return changed | {key: value for key, value in about.items() if key in takes}


@cache
def from_monai(name: str) -> type[LibraryNet]:
    """The plug-in of a net of monai, its options those of monai's signature; nothing heavy is imported.

    Raises:
        UserError: monai has no such net, or it does not map images to classes.
    """
    takes = NETS.signature(name)
    if not (any(key in takes for key in CHANNELS) and any(key in takes for key in OUTPUTS)):
        usable = [each for each in NETS.names() if _maps_images(each)]
        near = nearest(name, usable)
        raise UserError(
            f"monai:{name} does not map an image's channels to classes",
            (f"Did you mean 'monai:{near}'? " if near else "") + f"Those that do: {some(usable, 60)}.",
        )
    return type(name, (LibraryNet,), {"__doc__": f"monai's {name}.", "name": name, "Options": _options(name, takes)})


def _maps_images(name: str) -> bool:
    try:
        takes = NETS.signature(name)
    except UserError:
        return False
    return any(key in takes for key in CHANNELS) and any(key in takes for key in OUTPUTS)


def _own(takes: Any) -> list[str]:
    """The net's keywords that a config may give."""
    filled = {*CHANNELS, *OUTPUTS, *SIZES, *FIXED, *LOADING, "spatial_dims"}
    return [key for key in takes if key not in filled]


def _options(name: str, takes: Any) -> type[LibraryOptions]:
    """The options of a net: its keywords, typed where monai says so plainly."""
    own: dict[str, Parameter] = {key: takes[key] for key in _own(takes)}
    if clash := sorted(own.keys() & RELAYS):
        raise UserError(f"monai:{name} has keywords of relay's: {', '.join(clash)}", "Write a net of your own for it.")
    kinds: dict[str, Any] = {key: parameter.kind for key, parameter in own.items()}
    values = {key: parameter.default for key, parameter in own.items() if not parameter.required}
    if any(key in takes for key in SIZES):
        kinds["img_size"], values["img_size"] = list[Annotated[int, Field(ge=1)]] | None, None

    def refused(given: Any) -> Any:
        """What comes from the data set, or would download something, is not for a config to say."""
        there = [key for key in takes if key not in own and key not in kinds and key not in RELAYS]
        if isinstance(given, dict) and (odd := [key for key in there if key in given]):
            raise ValueError(f"{', '.join(odd)} can't be given: relay fills in what the data set says; leave it out")
        return given

    made: dict[str, Any] = {"__annotations__": kinds, "__doc__": f"Keywords of monai's {name}.", **values}
    made["_refused"] = model_validator(mode="before")(refused)
    return options(type("Options", (LibraryOptions,), made))


def _tuples(value: Any) -> Any:
    """Lists as tuples, which is what monai's own defaults are."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
