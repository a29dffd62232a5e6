"""Style: store only appearance statistics for each site, and repaint later sites' images with them.

Hospitals differ mostly in the appearance of their images, not in anatomy. For each site, the memory stores the mean of
its images' descriptions (:mod:`relay.memory.appearance`) and the leading directions in which they vary
(:mod:`relay.memory.moments`): a few thousand numbers, no image, no position. To draw a sample, it chooses an earlier
site, draws a description from that site's normal distribution, and repaints an image of this site to match.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Annotated, Any

from relay.config import Field, options
from relay.errors import HandoverError
from relay.memory.base import Memory
from relay.phase import Batch, Task, Training

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from relay.handover import Handover, MemoryState
    from relay.memory.appearance import Form
    from relay.memory.looks import Looks
    from relay.memory.moments import Moments

KIND = "style"
log = logging.getLogger(__name__)


@options
class StyleOptions:
    """What is measured, and how carefully it is released.

    Attributes:
        quantiles: number of quantiles of the intensity of each channel in each class's region.
        directions: most directions in which a site's appearance varies; also the limit for what is received.
        min_patients: fewest patients behind a statistic; a site with fewer stores nothing.
        clip: limit for a description's root mean square over its values (-1 to 1 each); longer ones are clipped.
        epsilon: epsilon of a differentially private release, for replacing one patient; null adds no noise.
        delta: delta of that release.
    """

    quantiles: Annotated[int, Field(ge=2, le=64)] = 9
    directions: Annotated[int, Field(ge=0, le=64)] = 8
    min_patients: Annotated[int, Field(ge=2)] = 5
    clip: Annotated[float, Field(gt=0, le=1)] = 1.0
    epsilon: Annotated[float, Field(gt=0)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5


class Style(Memory):
    """Repaints this site's images in the appearance of earlier sites."""

    Options = StyleOptions
    kinds = (KIND,)

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.earlier: list[tuple[Moments, Tensor]] = []
        self.released: Moments | None = None
        self.images: Looks | None = None
        self.again = False

    def setup(self, task: Task) -> None:
        """What there is to describe follows from the task."""
        from relay.memory.appearance import Form

        super().setup(task)
        self.form: Form = Form(task.classes, task.channels, self.options.quantiles, area_to_perimeter=True)

    def receive(self, handover: Handover | None) -> None:
        """Take in the appearance of the other sites.

        Raises:
            HandoverError: a memory is of another kind, or was measured otherwise.
        """
        if handover is None:
            return
        self.again = any(leg["site"] == self.task.site and leg["leg"] in handover.memories for leg in handover.legs)
        others = handover.others(self.task.site)
        self.earlier = [self._read(site, state) for site, state in others.items()]
        self.sites = tuple(others)

    def _read(self, site: str, state: MemoryState) -> tuple[Moments, Tensor]:
        """A site's moments, and which of its numbers say something."""
        from relay.memory import looks
        from relay.memory.moments import Moments

        if state.kind != KIND:
            raise HandoverError(f"the memory of {site} is of the kind '{state.kind}', this config's is '{KIND}'")
        if dict(state.about) != self._about():
            raise HandoverError(f"the memory of {site} has {dict(state.about)}, this config's {self._about()}")
        whole = looks.read(site, state.tensors)
        if whole is not None and len(whole.mean) != self.form.channels * looks.QUANTILES:
            raise HandoverError(f"the memory of {site} says how images of other channels look")
        tensors = {name: tensor for name, tensor in state.tensors.items() if not name.startswith(looks.PREFIX)}
        size = self.form.size
        found = {name: (str(tensor.dtype), *tensor.shape) for name, tensor in tensors.items()}
        many = found.get("spread", ("", 0))[-1]
        real = "torch.float32"
        if found != {
            "mean": (real, size),
            "directions": (real, many, size),
            "spread": (real, many),
            "described": ("torch.bool", size),
        }:
            raise HandoverError(f"the memory of {site} does not fit this config: its tensors are {found}")
        if (limit := self.options.directions) < int(many):
            raise HandoverError(
                f"the memory of {site} has {many} directions; this config allows {limit}",
                "Every site of a study must use the same options of its memory: see directions.",
            )
        moments = Moments(tensors["mean"], tensors["directions"], tensors["spread"])
        longest = moments.directions.norm(dim=1)
        # NaN, too, is not within these
        sane = (moments.mean.abs() <= 1, longest <= 1.01, moments.spread >= 0, moments.spread <= math.sqrt(size))
        if not all(bool(test.all()) for test in sane):
            raise HandoverError(
                f"the memory of {site} has values that no release has", "Ask that site for its leg again."
            )
        return moments, tensors["described"]

    def _about(self) -> dict[str, Any]:
        """What a description consists of."""
        form = self.form
        return {
            "channels": form.channels,
            "quantiles": form.quantiles,
            "regions": form.regions,
            "area_to_perimeter": form.area_to_perimeter,
        }

    def begin(self, training: Training) -> None:
        """Describe this site's images, in patches where patches are trained on."""
        from relay.memory.describing import descriptions
        from relay.memory.looks import QUANTILES
        from relay.memory.moments import weights

        pixels = (self._pixels(batch) for batch in training.batches())
        self.looks = descriptions(pixels, training.patients, self.form, self.task.size, QUANTILES)
        self.usual = (weights(self.looks.whose) @ self.looks.filled().double()).float()
        self.known = self.looks.behind > 0

    def _pixels(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """A batch as 8-bit images, classes and indices."""
        from relay.memory.appearance import eight_bits

        return eight_bits(batch.image, self.task.intensity_range), batch.label, batch.index

    def draw(self, batch: Batch) -> Batch | None:
        """This site's images, each in a look of an earlier site; labels are enlarged with their images."""
        if not self.earlier:
            return None
        import torch

        from relay.memory.appearance import repaint

        with torch.autocast(batch.image.device.type, enabled=False):  # half precision would move pixels
            image, region, _ = self._pixels(batch)
            wanted, described, source = self._wanted(len(image), image.device)
            painted, moved = repaint(image, region, wanted, self.usual, self.form, described)
        low, high = self.task.intensity_range
        painted = painted.mul_((high - low) / 255).add_(low)
        return Batch(torch.empty_like(batch.image).copy_(painted), moved, batch.index, source)

    def _wanted(self, many: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Descriptions drawn from the earlier sites', each as likely as any other: ``(many, form.size)``.

        And which of their numbers say something at both sites, and which site it was.
        """
        import torch

        if self.usual.device != device or not hasattr(self, "_table"):
            self.usual, self.known = self.usual.to(device), self.known.to(device)
            self._table = _stacked(self.earlier, device)
        mean, scaled, described = self._table
        source = torch.randint(len(mean), (many,))  # on the CPU: whoever asks for it need not wait for the device
        which = source.to(device, non_blocking=True)
        along = torch.randn(many, 1, scaled.shape[1], device=device, dtype=torch.float32)  # also in 64 bits
        wanted = (mean[which] + (along @ scaled[which])[:, 0]).clamp_(-1, 1)
        return wanted, described[which] & self.known, source

    def learn(self, training: Training) -> None:
        """Release the aggregates of this site, if it has enough patients."""
        import torch

        from relay.memory.looks import measure
        from relay.memory.moments import release

        option, whose, behind = self.options, self.looks.whose, self.looks.behind
        self.patients = len(set(whose))
        if self.patients < option.min_patients:
            log.warning("%s has %s patients to train on: too few for a style memory", self.task.site, self.patients)
            return
        private = option.epsilon is not None
        if private and self.again:
            log.warning("%s has released a style memory with noise before; another would tell more", self.task.site)
            return
        looks = self.looks.filled(alone=private)
        # with noise, which regions are rare is not disclosed, either
        self.described = behind >= (0 if private else option.min_patients)
        if not self.described.any():
            log.warning("%s has no class in as many patients as min_patients: no style memory", self.task.site)
            return
        looks = torch.where(self.described, looks, self.looks.whole)
        self.patients = self.patients if private else int(behind[self.described].min())
        many = min(option.directions, len(set(whose)) // 2)
        radius = option.clip * math.sqrt(self.form.size)
        self.released = release(looks, whose, many, radius, option.epsilon, option.delta)
        if not private:
            images = self.looks.images
            self.images = measure(images, self.looks.patient, option.clip * math.sqrt(images.shape[1]))

    def own(self) -> MemoryState | None:
        """Mean, directions and spreads, of regions and of images as a whole."""
        from relay.handover import MemoryState, Privacy

        if self.released is None:
            return None
        epsilon, delta = self.options.epsilon, self.options.delta
        privacy = Privacy(
            derived="aggregates",
            patients=self.patients,
            epsilon=epsilon,
            delta=None if epsilon is None else delta,
        )
        images = {} if self.images is None else self.images.tensors
        tensors = {**vars(self.released), "described": self.described, **images}
        return MemoryState(tensors, KIND, privacy, self._about())


def _stacked(earlier: list[tuple[Moments, Tensor]], device: torch.device) -> tuple[Tensor, ...]:
    """Of all sites: means, directions times spreads ``(sites, k, size)``, filled up with zeros, and what is
    described."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    scaled = [moments.directions * moments.spread[:, None] for moments, _ in earlier]
    means = torch.stack([moments.mean for moments, _ in earlier])
    described = torch.stack([described for _, described in earlier])
    return means.to(device), pad_sequence(scaled, batch_first=True).to(device), described.to(device)
