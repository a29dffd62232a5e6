"""The appearance of a site's images, in numbers: measured (:func:`describe`), and applied (:func:`repaint`).

For an image, per class and channel: quantiles of the intensity inside the class's region; and per class, the ratio of
its area to its perimeter, which grows with magnification. To repaint an image with another appearance, enlarge it until
the area-to-perimeter ratios agree, then map each region's intensities monotonically from its own quantiles to the
others.

Matching quantiles is histogram specification (Gonzalez and Woods, Digital Image Processing), here per class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 256
LEAST = 8
"""Minimum size of a region to be described, in pixels."""
ENDS = (0.02, 0.98)
"""The outermost quantiles: beyond them are reflections and dead pixels."""
AREA_TO_PERIMETER = (2.0, 3.5)
"""Middle and half-width of the logarithm of an area-to-perimeter ratio in pixels: 0.2 to 245 become -1 to 1."""
MOST = 2.5
"""The largest factor by which an image is enlarged or reduced."""


@dataclass(frozen=True)
class Form:
    """What to describe.

    Attributes:
        regions: number of classes; 1 for the image as a whole.
        channels: of an image.
        quantiles: of each channel in each region.
        area_to_perimeter: whether regions have a size of their own; the image as a whole has none.
    """

    regions: int
    channels: int
    quantiles: int
    area_to_perimeter: bool

    @property
    def intensities(self) -> int:
        """How many numbers describe intensities; they come first."""
        return self.regions * self.channels * self.quantiles

    @property
    def size(self) -> int:
        """How many numbers a description has."""
        return self.intensities + (self.regions - 1 if self.area_to_perimeter else 0)


def describe(image: Tensor, region: Tensor, form: Form) -> Tensor:
    """Descriptions of images, all in -1..1, NaN where a region is absent.

    Args:
        image: uint8 ``(B, C, *S)``.
        region: int64 ``(B, *S)``, in 0..regions-1.

    Returns:
        float32 ``(B, form.size)``.
    """
    parts = [quantiles(image, region, form).flatten(1) / 127.5 - 1]
    if form.area_to_perimeter:
        middle, half = AREA_TO_PERIMETER
        parts.append(((areas_to_perimeters(region, form.regions).log() - middle) / half).clamp(-1, 1))
    return torch.cat(parts, 1)


def quantiles(image: Tensor, region: Tensor, form: Form) -> Tensor:
    """float32 ``(B, regions, C, quantiles)``: lowest grey levels that given shares of the pixels don't exceed."""
    many, channels = image.shape[:2]
    cells = many * form.regions * channels
    place = _rows(image, form.regions) + region[:, None].int() * (channels * LEVELS)
    counts = torch.zeros(cells * LEVELS, device=image.device, dtype=torch.int32)
    one = torch.ones((), device=image.device, dtype=torch.int32)
    counts.scatter_add_(0, place.flatten().long(), one.expand(place.numel()))  # bincount would wait for the GPU
    below = counts.view(cells, LEVELS).cumsum(1).float()
    total = below[:, -1:]
    wanted = torch.linspace(*ENDS, form.quantiles, device=image.device, dtype=torch.float32) * total
    level = torch.searchsorted(below, wanted).clamp(max=LEVELS - 1)
    found = torch.where(total < LEAST, torch.nan, level.float())
    return found.view(many, form.regions, channels, form.quantiles)


def overall(image: Tensor, many: int) -> Tensor:
    """Quantiles of whole images, ``(B, C, *S)`` of uint8 to float32 ``(B, C * many)`` in -1..1; no label is needed."""
    nowhere = torch.zeros_like(image[:, 0], dtype=torch.long)
    found = quantiles(image, nowhere, Form(1, image.shape[1], many, area_to_perimeter=False))
    return (found / 127.5 - 1).nan_to_num(0).flatten(1)


def eight_bits(image: Tensor, intensity_range: tuple[float, float]) -> Tensor:
    """Images in ``intensity_range``, as a net sees them, in 256 levels of that range: exact for 8-bit images."""
    low, high = intensity_range
    return ((image - low) * (255 / (high - low))).round_().clamp_(0, 255).to(torch.uint8)


def areas_to_perimeters(region: Tensor, regions: int) -> Tensor:
    """Area over perimeter of each region except the first, in pixels: ``(B, regions - 1)``, NaN where absent."""
    found = [torch.empty(len(region), 0, device=region.device, dtype=torch.float32)]
    for number in range(1, regions):
        inside = region == number
        area = inside.flatten(1).sum(1)
        around = torch.zeros_like(area)
        for axis in range(1, region.dim()):
            n = region.shape[axis]
            around += (inside.narrow(axis, 1, n - 1) != inside.narrow(axis, 0, n - 1)).flatten(1).sum(1)
        there = (area >= LEAST) & (around > 0)
        found.append(torch.where(there, area.float() / around.clamp(min=1), torch.nan)[:, None])
    return torch.cat(found, 1)


def repaint(
    image: Tensor, region: Tensor, wanted: Tensor, usual: Tensor, form: Form, described: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Images with another appearance.

    Args:
        image: uint8 ``(B, C, *S)``.
        region: int64 ``(B, *S)``.
        wanted: a description for each, ``(B, form.size)``.
        described: bool ``(B, form.size)``: which numbers are meaningful; None for all. Others don't change the
            magnification.
        usual: this site's mean description ``(form.size,)``: magnification is changed by what it differs from
            ``wanted``.

    Returns:
        float32 ``(B, C, *S)`` in 0..255, and the regions, which are enlarged with the image.
    """
    if form.area_to_perimeter:
        known = torch.ones_like(wanted) if described is None else described.float()
        differs = ((wanted - usual) * known)[:, form.intensities :].sum(1)
        differs = differs / known[:, form.intensities :].sum(1).clamp(min=1)
        image, region = enlarged(image, region, (differs * AREA_TO_PERIMETER[1]).exp().clamp(1 / MOST, MOST))
    shape = (len(image), form.regions, form.channels, form.quantiles)
    target = ((wanted[:, : form.intensities] + 1) * 127.5).view(shape).cummax(-1).values
    source = quantiles(image, region, form)
    site = ((usual[: form.intensities] + 1) * 127.5).view(shape[1:])
    source = torch.where(source.isnan(), site, source)  # a region with few pixels has no quantiles of its own
    table = curves(source.view(-1, form.quantiles), target.reshape(-1, form.quantiles))
    return _mapped(image, region, table.view(*shape[:3], LEVELS)), region


def enlarged(image: Tensor, region: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Each image scaled about its middle by its factor ``(B,)``, at the same size; mirrored beyond its edges."""
    axes = image.dim() - 2
    scaling = torch.diag_embed((1 / factor)[:, None].expand(-1, axes))
    grid = F.affine_grid(F.pad(scaling, (0, 1)), [len(image), 1, *image.shape[2:]], align_corners=False)
    bigger = F.grid_sample(image.float(), grid, padding_mode="reflection", align_corners=False)
    same = F.grid_sample(region[:, None].float(), grid, "nearest", padding_mode="reflection", align_corners=False)
    return bigger.round().to(torch.uint8), same[:, 0].long()


def curves(source: Tensor, target: Tensor) -> Tensor:
    """Look-up tables that take one set of quantiles to another: ``(N, Q)`` each to ``(N, 256)``.

    Between quantiles they are straight lines; beyond the outermost they go on with slope 1.
    """
    steps = torch.arange(source.shape[1], device=source.device)
    source = source + 1e-4 * steps  # strictly ascending, where several quantiles are one grey level
    level = torch.arange(LEVELS, device=source.device, dtype=torch.float32).expand(len(source), -1)
    right = torch.searchsorted(source, level.contiguous()).clamp(1, len(steps) - 1)
    x0, x1, y0, y1 = (t.gather(1, at) for t in (source, target) for at in (right - 1, right))
    inner = level.clamp(source[:, :1], source[:, -1:])
    return (y0 + (inner - x0) * (y1 - y0) / (x1 - x0) + level - inner).clamp(0, LEVELS - 1)


def _mapped(image: Tensor, region: Tensor, table: Tensor) -> Tensor:
    """Apply tables ``(B, regions, C, 256)``, blending them where regions meet, over about a pixel."""
    _, regions, channels, levels = table.shape
    share = softened((region[:, None] == _along(torch.arange(regions, device=image.device), region.dim())).float())
    place = _rows(image, regions)
    out = torch.zeros(image.shape, device=image.device, dtype=torch.float32)
    for number in range(regions):
        there = (place + number * channels * levels).flatten()
        out.addcmul_(share[:, number, None], table.view(-1).index_select(0, there).view(image.shape))
    return out


def _rows(image: Tensor, regions: int) -> Tensor:
    """Each intensity's index in a flat table ``(B, regions, C, 256)``, for region 0: int32, shaped like the image."""
    many, channels = image.shape[:2]
    first = torch.arange(many, device=image.device, dtype=torch.int32)[:, None] * regions * channels
    row = first + torch.arange(channels, device=image.device, dtype=torch.int32)
    return image.contiguous().int() + (row * LEVELS).view(many, channels, *[1] * (image.dim() - 2))


def _along(values: Tensor, axes: int) -> Tensor:
    """Values along the second axis, in ``axes + 1`` axes."""
    return values.view(1, -1, *[1] * (axes - 1))


def softened(masks: Tensor) -> Tensor:
    """Averaged with the neighbours along each axis, a quarter each: ``(B, K, *S)``; beyond an edge is the edge."""
    for axis in range(2, masks.dim()):
        n = masks.shape[axis]
        out = masks / 2
        for here, there in ((0, 1), (1, 0)):  # those after, those before
            out.narrow(axis, here, n - 1).add_(masks.narrow(axis, there, n - 1), alpha=0.25)
        for edge in (0, n - 1):
            out.narrow(axis, edge, 1).add_(masks.narrow(axis, edge, 1), alpha=0.25)
        masks = out
    return masks
