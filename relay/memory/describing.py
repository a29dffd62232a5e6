"""Describe all images of a site, patch by patch if training uses patches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from relay.memory.appearance import Form, describe, overall
from relay.memory.moments import divided, numbered, weights

AT_ONCE = 2**20
"""Maximum number of pixels described together."""


@dataclass(frozen=True)
class Described:
    """A site's images, or tiles of them, described.

    Attributes:
        found: float32 ``(N, size)`` on the CPU, NaN where a region is absent.
        whole: likewise, as if every region were the whole image.
        whose: the patient of each.
        images: float32 ``(images, C * quantiles)`` on the CPU: quantiles of whole images, without labels or tiles.
        patient: the patient of each image.
    """

    found: Tensor
    whole: Tensor
    whose: Sequence[str]
    images: Tensor
    patient: Sequence[str]

    @cached_property
    def patients(self) -> Tensor:
        """The mean description of each patient ``(patients, size)``, NaN if the patient lacks a region."""
        return torch.stack([own.nanmean(0) for own in divided(self.found, self.whose)])

    @property
    def behind(self) -> Tensor:
        """How many patients are behind each number: int64 ``(size,)``."""
        return self.patients.isfinite().sum(0)

    @property
    def usual(self) -> Tensor:
        """The mean description of the site, each patient counting alike: float32 ``(size,)``."""
        return (weights(self.whose) @ self.filled().double()).float()

    def filled(self, alone: bool = False) -> Tensor:
        """Descriptions without gaps ``(N, size)``.

        An absent region is assumed to look as elsewhere in the same patient; if the patient lacks it, as the average of
        the other patients, so that means are over those who have it; if no one has it, as the whole image.

        Args:
            alone: use nothing from other patients: if the patient lacks a region, it is assumed to look as the whole
                image. Replacing a patient then changes only that patient's descriptions.
        """
        found = torch.where(self.found.isnan(), self.patients[numbered(self.whose)], self.found)
        if not alone:
            found = torch.where(found.isnan(), self.patients.nanmean(0), found)
        return torch.where(found.isnan(), self.whole, found)


def descriptions(
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    patients: Sequence[str],
    form: Form,
    size: Sequence[int] | None,
    many: int,
) -> Described:
    """Describe a site's images.

    Args:
        batches: 8-bit images ``(B, C, *S)``, regions ``(B, *S)`` and indices into ``patients``.
        size: of a tile; None to describe whole images.
        many: quantiles of each channel of an image as a whole.
    """
    found, whole, whose, images, patient = [], [], [], [], []
    for image, region, index in batches:
        tiles, regions = tiled(image, size), tiled(region[:, None], size)[:, 0]
        n = regions[0].numel()
        for some, where in zip(_split(tiles, n), _split(regions, n), strict=True):
            found.append(describe(some, where, form).cpu())
            whole.append(_whole(some, form).cpu())
        images += [overall(some, many).cpu() for some in _split(image, region[0].numel())]
        patient += [patients[i] for i in index.tolist()]
        whose += [patients[i] for i in index.tolist() for _ in range(len(tiles) // len(image))]
    return Described(torch.cat(found), torch.cat(whole), whose, torch.cat(images), patient)


def _split(images: Tensor, size: int) -> Sequence[Tensor]:
    """``(B, ...)`` of ``size`` pixels each, in parts of at most ``AT_ONCE`` pixels, or one image."""
    return torch.split(images, max(1, AT_ONCE // size))


def tiled(image: Tensor, size: Sequence[int] | None) -> Tensor:
    """``(B, C, *S)`` cut into tiles without overlap, dropping what is left at the far edges: ``(B * tiles, C,
    *size)``.

    An image that is smaller than a tile along an axis is not cut along it.
    """
    for axis, step in enumerate(size or (), 2):
        n = image.shape[axis] // step * step
        if n:
            cut = torch.unflatten(image.narrow(axis, 0, n), axis, (-1, step))
            image = cut.movedim(axis, 1).flatten(0, 1)
    return image


def _whole(image: Tensor, form: Form) -> Tensor:
    """Descriptions ``(B, form.size)`` of whole images, as if each were a region; area-to-perimeter ratios are 0."""
    found = overall(image, form.quantiles).view(len(image), 1, form.channels, form.quantiles)
    return F.pad(found.repeat(1, form.regions, 1, 1).flatten(1), (0, form.size - form.intensities))
