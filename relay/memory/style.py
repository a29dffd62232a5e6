"""Style: remember of each site only how its images look, in aggregates, and repaint this site's images that way.

Hospitals differ mostly in how images look, not in anatomy. What is kept of a site is the mean of its images'
descriptions (:mod:`relay.memory.look`) and the leading directions in which they vary (:mod:`relay.memory.moments`): a
few thousand numbers, no image, no position. To draw, an earlier site is chosen, a description is drawn from its
normal distribution, and an image of this site is repainted to fit it.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Annotated, Any

from relay.config.options import Field, options
from relay.errors import CarryError
from relay.memory.base import Memory
from relay.phase import Batch, Task, Training

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from relay.handoff.carry import Carry, Part
    from relay.memory.look import Form
    from relay.memory.moments import Moments

KIND = "style"
log = logging.getLogger(__name__)


@options
class StyleOptions:
    """What is measured, and how carefully it is released.

    Attributes:
        quantiles: of the intensity of each channel in each class's region.
        directions: in which a site's looks vary, at most.
        min_patients: fewest patients behind a statistic; a site with fewer keeps nothing.
        clip: longest description that is let in, as its root mean square over what it consists of (-1 to 1 each).
        epsilon: of a differentially private release, for replacing one patient; null adds no noise.
        delta: likewise.
    """

    quantiles: Annotated[int, Field(ge=2, le=64)] = 9
    directions: Annotated[int, Field(ge=0, le=64)] = 8
    min_patients: Annotated[int, Field(ge=2)] = 5
    clip: Annotated[float, Field(gt=0, le=1)] = 1.0
    epsilon: Annotated[float, Field(gt=0)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5


class Style(Memory):
    """Repaints this site's images in the looks of earlier sites."""

    Options = StyleOptions
    kinds = (KIND,)

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.earlier: list[Moments] = []
        self.released: Moments | None = None
        self.patients = 0

    def setup(self, task: Task) -> None:
        """What there is to describe follows from the task."""
        from relay.memory.look import Form

        super().setup(task)
        regions = 1 if task.kind == "regression" else task.classes
        self.form: Form = Form(regions, task.channels, self.options.quantiles, task.kind == "segmentation")

    def receive(self, carry: Carry | None) -> None:
        """Take in the looks of the other sites.

        Raises:
            CarryError: a memory is of another kind, or was measured otherwise.
        """
        for site, part in (carry.others(self.task.site) if carry else {}).items():
            self.earlier.append(self._read(site, part))

    def _read(self, site: str, part: Part) -> Moments:
        from relay.memory.moments import Moments

        if part.kind != KIND:
            raise CarryError(f"the memory of {site} is of the kind '{part.kind}', this config's is '{KIND}'")
        if dict(part.about) != self._about():
            raise CarryError(f"the memory of {site} has {dict(part.about)}, this config's {self._about()}")
        tensors, size = part.tensors, self.form.size
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        many = len(tensors.get("spread", ()))
        if found != {"mean": (size,), "directions": (many, size), "spread": (many,)}:
            raise CarryError(f"the memory of {site} does not fit this config: its tensors are {found}")
        return Moments(tensors["mean"].float(), tensors["directions"].float(), tensors["spread"].float())

    def _about(self) -> dict[str, Any]:
        """What a description consists of."""
        form = self.form
        return {
            "channels": form.channels,
            "quantiles": form.quantiles,
            "regions": form.regions,
            "calibre": form.calibre,
        }

    def begin(self, training: Training) -> None:
        """Describe this site's images, in patches where patches are trained on."""
        from relay.memory.describing import descriptions

        pixels = (self._pixels(batch) for batch in training.batches())
        self.looks = descriptions(pixels, training.patients, self.form, self.task.size)
        self.usual = self.looks.filled().mean(0)

    def _pixels(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """A batch as 8-bit images, regions and indices."""
        import torch

        low, high = self.task.out_range
        image = ((batch.image - low) * (255 / (high - low))).round_().clamp_(0, 255).to(torch.uint8)
        return image, self._regions(batch), batch.index

    def _regions(self, batch: Batch) -> Tensor:
        """The region of every pixel: its class, or its image's class, or one for all."""
        if self.task.kind == "segmentation":
            return batch.label
        shape = (len(batch.image), *batch.image.shape[2:])
        label = batch.label if self.task.kind == "classification" else batch.index * 0
        return label.view(-1, *[1] * (len(shape) - 1)).expand(shape)

    def draw(self, batch: Batch) -> Batch | None:
        """This site's images, each in a look of an earlier site; labels are enlarged with their images."""
        if not self.earlier:
            return None
        import torch

        from relay.memory.look import repaint

        image, region, _ = self._pixels(batch)
        painted, moved = repaint(image, region, self._wanted(len(image), image.device), self.usual, self.form)
        low, high = self.task.out_range
        painted = painted.mul_((high - low) / 255).add_(low)
        label = moved if self.task.kind == "segmentation" else batch.label
        return Batch(torch.empty_like(batch.image).copy_(painted), label, batch.index)

    def _wanted(self, many: int, device: torch.device) -> Tensor:
        """Descriptions drawn from the earlier sites', each as likely as any other: ``(many, form.size)``."""
        import torch

        if self.usual.device != device or not hasattr(self, "_table"):
            self.usual = self.usual.to(device)
            self._table = _stacked(self.earlier, device)
        mean, scaled = self._table
        which = torch.randint(len(mean), (many,), device=device)
        along = torch.randn(many, 1, scaled.shape[1], device=device)
        return (mean[which] + (along @ scaled[which])[:, 0]).clamp_(-1, 1)

    def learn(self, training: Training) -> None:
        """Release the aggregates of this site, if it has patients enough."""
        from relay.memory.moments import release

        option, whose = self.options, self.looks.whose
        self.patients = len(set(whose))
        if self.patients < option.min_patients:
            log.warning("%s has %s patients to train on: too few for a style memory", self.task.site, self.patients)
            return
        radius = option.clip * math.sqrt(self.form.size)
        looks = self.looks.filled(option.min_patients)
        self.released = release(looks, whose, option.directions, radius, option.epsilon, option.delta)

    def own(self) -> Part | None:
        """Mean, directions and spreads."""
        from relay.handoff.carry import Part
        from relay.handoff.memorycard import Privacy

        if self.released is None:
            return None
        epsilon, delta = self.options.epsilon, self.options.delta
        privacy = Privacy(
            derived="aggregates",
            patients=self.patients,
            epsilon=epsilon,
            delta=None if epsilon is None else delta,
        )
        return Part(dict(vars(self.released)), KIND, privacy, self._about())


def _stacked(earlier: list[Moments], device: torch.device) -> tuple[Tensor, Tensor]:
    """Means ``(sites, size)``, and directions times spreads ``(sites, k, size)``, filled up with zeros."""
    from torch.nn.utils.rnn import pad_sequence

    scaled = [moments.directions * moments.spread[:, None] for moments in earlier]
    means = pad_sequence([moments.mean for moments in earlier], batch_first=True)
    return means.to(device), pad_sequence(scaled, batch_first=True).to(device)
