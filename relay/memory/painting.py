"""Draw looks of earlier sites, and repaint this site's images with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from relay.memory.appearance import Form, repaint
from relay.memory.earlier import Earlier


class Painter:
    """Paints in the appearance of the sites that measured in one way; others need another painter.

    Args:
        form: the way.
        usual: this site's mean description, measured so, float32 ``(form.size,)``.
        known: bool ``(form.size,)``, which of its numbers say something.
        sites: all earlier sites; those with another form are left out.
    """

    def __init__(self, form: Form, usual: Tensor, known: Tensor, sites: Sequence[Earlier]) -> None:
        mine = [site for site in sites if site.form == form]
        scaled = [site.moments.directions * site.moments.spread[:, None] for site in mine]
        self.form = form
        self._tables = _Tables(
            usual,
            known,
            torch.stack([site.moments.mean for site in mine]),
            pad_sequence(scaled, batch_first=True),  # filled up with zeros
            torch.stack([site.described for site in mine]),
            torch.tensor([mine.index(site) if site in mine else -1 for site in sites]),
        )

    def paint(self, image: Tensor, region: Tensor, site: Tensor, along: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images in looks of earlier sites.

        Args:
            image: uint8 ``(B, C, *S)``.
            region: int64 ``(B, *S)``.
            site: int64 ``(B,)``: the earlier site of each.
            along: ``(B, k)``, standard normal: where in that site's distribution, along its directions.

        Returns:
            Of :func:`.repaint`, and bool ``(B,)``: which of the images this painter is for. The others are worthless.
        """
        if self._tables.usual.device != image.device:
            self._tables = _Tables(*(table.to(image.device) for table in self._tables))
        usual, known, mean, scaled, described, place = self._tables
        which = place[site]
        mine = which >= 0
        which = which.clamp(min=0)
        wanted = (mean[which] + (along[:, None, : scaled.shape[1]] @ scaled[which])[:, 0]).clamp_(-1, 1)
        return *repaint(image, region, wanted, usual, self.form, described[which] & known), mine


class _Tables(NamedTuple):
    """This site's mean description and which of its numbers some patient has; and of the earlier sites: means,
    directions times spreads ``(sites, k, size)``, what is described, and the row of each site, -1 for none."""

    usual: Tensor
    known: Tensor
    mean: Tensor
    scaled: Tensor
    described: Tensor
    place: Tensor
