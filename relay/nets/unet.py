"""U-Nets for 2D images and 3D volumes: plain, or with a ResNet encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, model_validator
from typing_extensions import Self

from relay.config import Field, options

from .base import Net, NetOptions, weights_file

if TYPE_CHECKING:
    from torch import nn

Width = Annotated[int, Field(ge=2, le=4096)]


class UNet(Net):
    """The net behind the name ``U-Net``.

    ``plain`` is monai's BasicUNet (Falk et al. 2019, 10.1038/s41592-018-0261-2; 0.4 M parameters in 2D as it
    comes). ``resnet*`` is a ResNet encoder (He et al. 2016, 10.1109/CVPR.2016.90) with monai's U-Net decoder.
    """

    @options
    class Options(NetOptions):
        """Options of the U-Net.

        Attributes:
            backbone: the encoder.
            norm: ``group`` (8 groups, or the largest number below that divides the channels; Wu & He 2018)
                and ``instance`` keep no statistics of a site's data; ``batch`` does.
            features: channels of the five levels, ``plain`` only.
            spatial_dims: 2 for images, 3 for volumes.
            dropout: probability, after each normalisation; in the decoder only with a ResNet.
            pretrained: a local torchvision-style ResNet state dict (.pth, .pt or .safetensors; its ``fc`` is
                left out), for a 2D ResNet. With one input channel the three of the file's first convolution
                are summed; with ``group`` or ``instance`` the running statistics are left out.
        """

        backbone: Literal["plain", "resnet18", "resnet34", "resnet50"] = "plain"
        norm: Literal["group", "instance", "batch"] = "group"
        features: tuple[Width, Width, Width, Width, Width] = (16, 16, 32, 64, 96)
        spatial_dims: Literal[2, 3] = 2
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        pretrained: Annotated[str, AfterValidator(weights_file)] | None = None

        @model_validator(mode="after")
        def _pretrained_fits(self) -> Self:
            if self.pretrained is not None and (self.backbone == "plain" or self.spatial_dims == 3):
                raise ValueError("pretrained needs a resnet backbone and spatial_dims 2")
            return self

    options: Options

    def __init__(self, options: Options) -> None:
        super().__init__(options)

    def build(self) -> nn.Module:
        """See :meth:`relay.nets.base.Net.build`.

        Raises:
            UserError: ``pretrained`` can't be read, or is of another net; names the keys that differ.
        """
        from .modules import PlainUNet, ResNetUNet, set_norm
        from .pretrained import load_encoder

        o = self.options
        in_channels, num_classes = self.channels()
        net: nn.Module
        if o.backbone == "plain":
            net = PlainUNet(o.spatial_dims, in_channels, num_classes, o.features, o.dropout)
        else:
            net = ResNetUNet(o.backbone, o.spatial_dims, in_channels, num_classes, o.dropout)
            if o.pretrained is not None:
                load_encoder(net.encoder, o.pretrained)
        set_norm(net, o.norm)
        return net

    def doubt(self) -> str | None:
        """See :meth:`relay.nets.base.Net.doubt`."""
        if self.options.norm != "batch":
            return None
        return (
            "the net has batch normalisation, which keeps statistics of one site's images: at other sites it often "
            "does worse; model.kwargs.norm: group replaces it"
        )
