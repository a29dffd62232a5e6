"""What a net plug-in is: options that are checked without torch, and a ``build`` that needs it."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator

from relay.config import Field, options

if TYPE_CHECKING:
    from torch import nn

SUFFIXES = (".pth", ".pt", ".safetensors")


def weights_file(path: str) -> str:
    """Check that an option names a local file of weights."""
    if not Path(path).is_file():
        raise ValueError("no such file: nothing is downloaded, put the weights there first")
    if Path(path).suffix not in SUFFIXES:
        raise ValueError(f"must be a file of weights: {', '.join(SUFFIXES)}")
    return path


@options
class NetOptions:
    """What every net has.

    Attributes:
        in_channels: channels of an image; null uses the data set's.
        num_classes: outputs of the last layer: classes (background included), labels, or 1 for a value; null uses the
            data set's.
    """

    in_channels: Annotated[int, Field(ge=1)] | None = None
    num_classes: Annotated[int, Field(ge=1)] | None = None


@options
class LibraryOptions(NetOptions):
    """What relay itself reads of the options of a monai net; the net's own keywords come on top.

    Attributes:
        spatial_dims: 2 for images, 3 for volumes; null uses the data set's ``img_size`` or ``patch_size``, or 2 if it
            has neither.
        batch_norm: ``group`` and ``instance`` take the place of each batch normalisation, which stores statistics of a
            site's images; ``keep`` leaves them.
        divisible_by: the size of the net's input must be a multiple of this: smaller images are padded, and the output
            is cropped. null finds it by a trial.
        pretrained: a local file of the net's weights (.pth, .pt or .safetensors), under monai's names.
        pretrained_without: beginnings of names that are not loaded, such as that of a head of another size.
    """

    spatial_dims: Literal[2, 3] | None = None
    batch_norm: Literal["keep", "group", "instance"] = "keep"
    divisible_by: Annotated[int, Field(ge=1, le=256)] | None = None
    pretrained: Annotated[str, AfterValidator(weights_file)] | None = None
    pretrained_without: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)


class Net:
    """A plug-in of the group ``relay.nets``: constructed with its ``Options``, importable without torch."""

    Options: ClassVar[type[NetOptions]] = NetOptions

    def __init__(self, options: NetOptions) -> None:
        self.options = options

    @abstractmethod
    def build(self) -> nn.Module:
        """A fresh module: ``(B, in_channels, *S)`` to logits ``(B, num_classes, *S)``, for any size ``S``.

        The weights are drawn from torch's global generator: seed it first.

        Raises:
            ValueError: ``in_channels`` or ``num_classes`` is still ``None``.
            UserError: what the options name (pretrained weights, say) does not fit.
        """

    def doubt(self) -> str | None:
        """What is legal in its options, but suspicious in a relay; told before time is spent. None for nothing."""
        return None

    def channels(self) -> tuple[int, int]:
        """``(in_channels, num_classes)``, both known.

        Raises:
            ValueError: one of them is still ``None``.
        """
        in_channels, num_classes = self.options.in_channels, self.options.num_classes
        if in_channels is None or num_classes is None:
            raise ValueError("fill in in_channels and num_classes (dataclasses.replace) before build()")
        return in_channels, num_classes
