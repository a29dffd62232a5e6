"""A model of relay's own for bulk prediction: of a run, of what was received, of a bundle, or several as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from relay.bulk.predictor import Member, Predictor, Prepared
from relay.bulk.views import View, mirrors
from relay.config import Devices
from relay.data import Case, Pixels, read_images, scaled
from relay.leg import Vote, applied, device_of, regridded_slabs
from relay.postprocess import cleaned, steps_of
from relay.predict import Model, axes_of, cases_of, logits


class Own(Predictor):
    """Applies a model in the same way as tests do.

    Args:
        about: where it comes from.
    """

    def __init__(self, model: Model, devices: Devices, about: Mapping[str, Any]) -> None:
        options = model.leg.data
        self.task, self.digest, self.about = options.does, model.digest, about
        self.channels, self.one_file = options.channels, options.one_file
        self.net, self.devices = model.built(), devices
        self.model = replace(model, weights={}, made=None)  # what other processes need of it
        axes = axes_of(self.model, self.net)
        self.axes = (2, 3) if options.slice_axis is not None else (axes,)
        self.mirror = model.leg.conf.predict.mirror or mirrors(options.augment.get("train", "none"))

    def start(self) -> None:
        """Move the net to its device."""
        self.net = self.net.to(device_of(self.devices)).eval()
        self.whole = applied(self.net, self.model.leg.conf.predict)

    def __getstate__(self) -> dict[str, Any]:
        """What other processes need: each applies the net in its own way again."""
        return {key: value for key, value in self.__dict__.items() if key != "whole"}

    def prepare(self, files: Sequence[Path]) -> Prepared:
        """See :meth:`Predictor.prepare`."""
        return self.ready(read_images(files, eight_bits=self.model.leg.data.steps is None), files[0])

    def ready(self, case: Case, path: Path) -> Prepared:
        """See :meth:`Predictor.ready`."""
        cases, across = cases_of(self.model, self.net, case, path)
        return Prepared(case, cases, across, cases[0].notes)

    def answer(self, item: Case, path: Path) -> NDArray[Any]:
        """See :meth:`Predictor.answer`."""
        return self._said(self.task.answer(logits(self.model, self.whole, item, path)))

    def members(self, item: Case, path: Path) -> Iterator[Member]:
        """Each expert of a vote that is asked about the image, and each net of an ensemble; else the one net."""
        weights = self._weights(item)
        for weight, net in zip(weights, self._nets, strict=True):
            if weight:
                yield weight, self._said(self.task.answer(logits(self.model, net, item, path)))

    def seen(self, item: Case, view: View) -> Case:
        """See :meth:`Predictor.seen`."""
        return replace(item, image=np.ascontiguousarray(view.of(item.image)))

    def restored(self, answer: NDArray[Any], item: Case, size: Sequence[int]) -> Iterator[NDArray[Any]]:
        """See :meth:`Predictor.restored`."""
        for _, part in regridded_slabs(torch.from_numpy(answer)[None], size, item.grid):
            yield part[0].numpy()

    def cleaned(self, mask: Pixels) -> Pixels:
        """See :meth:`Predictor.cleaned`."""
        return cleaned(mask, steps_of(self.model.leg.conf.predict.postprocess))

    def strange(self, item: Case) -> bool | None:
        """By the router of the vote, which knows how the images of each site look."""
        if not isinstance(self.net, Vote) or self.net.router is None:
            return None
        return bool(self.net.router.strange(self._image(item))[0])

    @property
    def _nets(self) -> Sequence[nn.Module]:
        return list(self.net.nets) if isinstance(self.net, Vote) else [self.net]

    def _weights(self, item: Case) -> list[float]:
        return self.net.asked(self._image(item))[0].tolist() if isinstance(self.net, Vote) else [1.0]

    def _image(self, item: Case) -> torch.Tensor:
        batch = torch.from_numpy(np.ascontiguousarray(np.moveaxis(item.image, -1, 0)))[None]
        return scaled(batch, self.model.leg.data.intensity_range).to(device_of(self.devices))

    @staticmethod
    def _said(answer: torch.Tensor) -> NDArray[Any]:
        found: NDArray[Any] = answer[0].float().cpu().numpy()
        return found
