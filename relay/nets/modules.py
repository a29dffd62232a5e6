"""The modules :mod:`relay.nets.unet` is built of (imports torch and monai: import it late).

Everything is built with batch norm, which is what monai's ResNet can do and what published weights have;
:func:`set_norm` then puts the norm that was asked for in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.nets import BasicUNet
from monai.networks.nets.basic_unet import UpCat
from monai.networks.nets.flexible_unet import SegmentationHead, UNetDecoder
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn
from torch.nn import functional as F

RESNETS: dict[str, tuple[str, list[int]]] = {
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet34": ("basic", [3, 4, 6, 3]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
}
PLANES = [64, 128, 256, 512]
INSTANCE_NORMS: dict[type[nn.Module], Any] = {
    nn.BatchNorm2d: nn.InstanceNorm2d,
    nn.BatchNorm3d: nn.InstanceNorm3d,
}


class PlainUNet(BasicUNet):  # type: ignore[misc]
    """monai's BasicUNet for any input size; ``features``: channels of the five levels.

    Attributes:
        pads: the multiple, stride and last side that :func:`pad` brings its input to.
    """

    # Odd sizes are mended on the way up, so only what four halvings would use up is padded.
    pads = (1, 16, 32)

    def __init__(
        self, spatial_dims: int, in_channels: int, num_classes: int, features: Sequence[int], dropout: float
    ) -> None:
        super().__init__(
            spatial_dims,
            in_channels,
            num_classes,
            features=(*features, features[0]),
            norm="batch",
            bias=False,
            dropout=dropout,
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, *S)`` to logits ``(B, num_classes, *S)``."""
        maps = [self.conv_0(pad(x, *self.pads))]
        for down in (self.down_1, self.down_2, self.down_3, self.down_4):
            maps.append(down(maps[-1]))
        up = maps.pop()
        for block in (self.upcat_4, self.upcat_3, self.upcat_2, self.upcat_1):
            up = joined(block, up, maps.pop())
        return crop(self.final_conv(up), x)


def joined(block: UpCat, x: Tensor, skip: Tensor) -> Tensor:
    """What monai's ``UpCat`` makes of a map and the encoder's, bit for bit.

    monai pads the enlarged map even where it fits already, which copies it: a tenth of the whole step.
    """
    up = block.upsample(x)
    lacking = [here - there for here, there in zip(skip.shape[2:], up.shape[2:], strict=True)]
    if torch.compiler.is_compiling() or any(lacking):  # a graph that is exported is for any size
        up = F.pad(up, [end for lack in reversed(lacking) for end in (0, lack)], "replicate")
    return block.convs(torch.cat([skip, up], dim=1))  # type: ignore[no-any-return]


class ResNetEncoder(ResNet):  # type: ignore[misc]
    """monai's ResNet without its head, giving the features of all five levels (strides 2, 4, 8, 16, 32).

    Its parameters have torchvision's names and shapes. Those of monai's own ``ResNetEncoder`` of 18 and 34
    layers do not: its shortcuts are parameter-free, and detached from the gradient.
    """

    def __init__(self, backbone: str, spatial_dims: int, in_channels: int) -> None:
        block, layers = RESNETS[backbone]
        super().__init__(
            block,
            layers,
            PLANES,
            spatial_dims,
            in_channels,
            conv1_t_stride=2,
            shortcut_type="B",
            bias_downsample=False,
            feed_forward=False,
        )
        expansion = 4 if block == "bottleneck" else 1
        self.widths = [PLANES[0], *(planes * expansion for planes in PLANES)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(B, in_channels, *S)``, ``S`` multiples of 32, to the five feature maps, largest first."""
        features = [self.act(self.bn1(self.conv1(x)))]
        x = self.maxpool(features[0])
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features


class ResNetUNet(nn.Module):
    """A :class:`ResNetEncoder` with monai's U-Net decoder, for any input size; ``pads``: as of :class:`PlainUNet`."""

    pads = (32, 32, 64)

    def __init__(self, backbone: str, spatial_dims: int, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        decoder = (256, 128, 64, 32, 16)
        self.encoder = ResNetEncoder(backbone, spatial_dims, in_channels)
        self.decoder = UNetDecoder(
            spatial_dims,
            [in_channels, *self.encoder.widths],
            decoder,
            act=("relu", {"inplace": True}),
            norm="batch",
            dropout=dropout,
            bias=False,
            upsample="nontrainable",
            pre_conv="default",
            interp_mode="nearest",
            align_corners=None,
            is_pad=False,
        )
        self.head = SegmentationHead(spatial_dims, decoder[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, *S)`` to logits ``(B, num_classes, *S)``."""
        features = self.encoder(pad(x, *self.pads))
        logits: Tensor = self.head(self.decoder(features))
        return crop(logits, x)


def pad(x: Tensor, multiple: int, stride: int, last: int | None = None) -> Tensor:
    """``x`` (B, C, *S) with its border repeated at the far end of each axis, to a multiple of ``multiple``
    and to ``stride`` at least; the last axis to ``last``: by default twice the stride, since batch and instance norm
    can't do with a single voxel at the bottom of the net."""
    size = x.shape[2:]
    least = [stride] * (len(size) - 1) + [2 * stride if last is None else last]
    wanted = [max(low, -(-n // multiple) * multiple) for n, low in zip(size, least, strict=True)]
    ends = [end for n, w in zip(reversed(size), reversed(wanted), strict=True) for end in (0, w - n)]
    return F.pad(x, ends, mode="replicate") if any(ends) else x


def crop(y: Tensor, like: Tensor) -> Tensor:
    """The part of ``y`` (B, C, *S') that covers ``like`` (B, C', *S): undoes :func:`pad`."""
    for axis in range(2, like.ndim):
        y = y.narrow(axis, 0, like.shape[axis])
    return y


def set_norm(net: nn.Module, norm: str) -> None:
    """Put ``group`` or ``instance`` norm in place of each batch norm in ``net``, with its scale and shift.

    Group norm has 8 groups, or as many as the largest number below 8 that divides the channels.
    """
    for name, child in net.named_children():
        if isinstance(child, (nn.BatchNorm2d, nn.BatchNorm3d)) and norm != "batch":
            setattr(net, name, _replacement(child, norm))
        else:
            set_norm(child, norm)


def _replacement(batch: nn.BatchNorm2d | nn.BatchNorm3d, norm: str) -> nn.Module:
    channels = batch.num_features
    if norm == "group":
        groups = max(n for n in range(1, 9) if channels % n == 0)
        new: nn.Module = nn.GroupNorm(groups, channels, eps=batch.eps)
    else:
        new = INSTANCE_NORMS[type(batch)](channels, eps=batch.eps, affine=True)
    scale_and_shift = {"weight": batch.weight, "bias": batch.bias}
    new.load_state_dict({key: torch.as_tensor(value) for key, value in scale_and_shift.items()})
    return new
