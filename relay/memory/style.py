"""Style: store only appearance statistics for each site, and repaint later sites' images with them.

Hospitals differ mostly in the appearance of their images, not in anatomy. For each site, the memory stores the mean of
its images' descriptions (:mod:`relay.memory.appearance`) and the leading directions in which they vary
(:mod:`relay.memory.moments`): a few thousand numbers, no image, no position. To draw a sample, it chooses an earlier
site, draws a description from that site's normal distribution, and repaints an image of this site to match.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import TYPE_CHECKING, Annotated, Any

from relay.config import Field, options
from relay.errors import HandoverError
from relay.memory.base import Memory
from relay.numbers import rounded_up
from relay.phase import Batch, Task, Training

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from relay.handover import Handover, MemoryState
    from relay.memory.appearance import Form
    from relay.memory.describing import Described
    from relay.memory.earlier import Earlier
    from relay.memory.looks import Looks
    from relay.memory.moments import Moments
    from relay.memory.painting import Painter
    from relay.noise import Noisy

KIND = "style"
log = logging.getLogger(__name__)


@options
class StyleOptions:
    """What is measured, and how carefully it is released.

    Attributes:
        quantiles: number of quantiles of the intensity of each channel in each class's region; 3 with ``epsilon``.
        directions: most directions in which a site's appearance varies; also the limit for what is received. None
            are released with ``epsilon``.
        min_patients: fewest patients behind a statistic; a site with fewer stores nothing.
        clip: limit for a description's root mean square over its values (-1 to 1 each); longer ones are clipped.
        epsilon: epsilon of a differentially private release, for replacing one patient; null adds no noise, except
            with ``train.privacy``, of whose epsilon the release then is a part.
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
        self.earlier: list[Earlier] = []
        self.painters: list[Painter] = []
        self.released: Moments | None = None
        self.images: Looks | None = None
        self.again = False
        self.training: Training | None = None
        self.strong: float | None = None

    @property
    def noised(self) -> bool:
        """Whether ``train.privacy`` covers it: not beside an epsilon of its own."""
        return self.options.epsilon is None

    def setup(self, task: Task) -> None:
        """What there is to describe follows from the task."""
        from relay.memory.appearance import Form
        from relay.memory.looks import FEW

        super().setup(task)
        regions = task.outputs if task.dense else 1  # without a mask, the image as a whole
        self.full: Form = Form(regions, task.channels, self.options.quantiles, area_to_perimeter=task.dense)
        self.few = dataclasses.replace(self.full, quantiles=FEW)
        self.form = self.full if self.options.epsilon is None else self.few

    def doubt(self, patients: int) -> str | None:
        """Too few to release anything, or for a release with noise to say much."""
        option = self.options
        if patients < option.min_patients:
            return (
                f"{patients} patients to train on are too few for its memory, which needs {option.min_patients} "
                "(min_patients): later sites will have no memory of this one"
            )
        if option.epsilon is None:
            return None
        from relay.noise import strength

        found = self.doubt_noise(patients, strength(option.epsilon, option.delta))
        return found and f"with epsilon {option.epsilon:g} and {found}"

    def doubt_noise(self, patients: int, strong: float) -> str | None:
        """Too few for a release of this strength to say much."""
        from relay.memory.noisy_release import doubt

        return doubt(patients, self.few, strong, self.options.clip)

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

    def _read(self, site: str, state: MemoryState) -> Earlier:
        """A site's release; with noise, it is of few quantiles, whatever this config's are."""
        from relay.memory.earlier import read

        if state.kind != KIND:
            raise HandoverError(f"the memory of {site} is of the kind '{state.kind}', this config's is '{KIND}'")
        forms = (self.full,) if state.privacy.epsilon is None else (self.few, self.full)
        return read(site, state, forms, self.options.directions)

    def begin(self, training: Training) -> None:
        """Describe this site's images, in patches where patches are trained on.

        They are described once in each way in which some site, this one included, describes its own. With
        ``train.privacy``, nothing is described before the first repainting.
        """
        from relay.memory.painting import Painter

        self.training = training
        if training.noisy_mean is not None:
            self.form = self.few
            return
        forms = dict.fromkeys(site.form for site in self.earlier)
        described = {form: self._described(training.batches(), form) for form in {self.form: None, **forms}}
        self.looks = described[self.form]
        self.painters = [
            Painter(form, described[form].usual, described[form].behind > 0, self.earlier) for form in forms
        ]

    def _described(self, batches: Iterable[Batch], form: Form) -> Described:
        from relay.memory.describing import descriptions
        from relay.memory.looks import QUANTILES

        assert self.training is not None
        pixels = (self._pixels(batch) for batch in batches)
        return descriptions(pixels, self.training.patients, form, self.task.size, QUANTILES)

    def _pixels(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """A batch as 8-bit images, regions and indices."""
        from relay.memory.appearance import eight_bits

        region = batch.label if self.task.dense else batch.image.new_zeros(batch.image[:, 0].shape).long()
        return eight_bits(batch.image, self.task.intensity_range), region, batch.index

    def draw(self, batch: Batch) -> Batch | None:
        """This site's images, each in a look of an earlier site; masks are enlarged with their images.

        Every earlier site is as likely as any other.
        """
        if not self.earlier:
            return None
        import torch

        self._release_before()
        with torch.autocast(batch.image.device.type, enabled=False):  # half precision would move pixels
            image, region, _ = self._pixels(batch)
            device, most = image.device, max(len(site.moments.spread) for site in self.earlier)
            site = torch.randint(len(self.earlier), (len(image),), device=device)
            along = torch.randn(len(image), 1, most, device=device, dtype=torch.float32)[:, 0]  # also in 64 bits
            painted, moved, _ = self.painters[0].paint(image, region, site, along)
            for painter in self.painters[1:]:
                other, there, mine = painter.paint(image, region, site, along)
                mine = mine.view(-1, *[1] * (region.dim() - 1))
                painted, moved = torch.where(mine[:, None], other, painted), torch.where(mine, there, moved)
        low, high = self.task.intensity_range
        painted = painted.mul_((high - low) / 255).add_(low)
        label = moved if self.task.dense else batch.label
        return Batch(torch.empty_like(batch.image).copy_(painted), label, batch.index)

    def learn(self, training: Training) -> None:
        """Release the aggregates of this site, if it has enough patients."""
        self.patients = len(set(training.patients))
        if self.patients < self.options.min_patients:
            log.warning("%s has %s patients to train on: too few for a style memory", self.task.site, self.patients)
        elif training.noisy_mean is not None:
            self._release_before()
        elif self.options.epsilon is None:
            self._release()
        elif self.again:
            log.warning("%s has released a style memory with noise before; another would tell more", self.task.site)
        else:
            self._release_with_noise()

    def _release(self) -> None:
        import torch

        from relay.memory.looks import measure
        from relay.memory.moments import release

        option, whose, behind = self.options, self.looks.whose, self.looks.behind
        self.described = behind >= option.min_patients
        if not self.described.any():
            log.warning("%s has no class in as many patients as min_patients: no style memory", self.task.site)
            return
        looks = torch.where(self.described, self.looks.filled(), self.looks.whole)
        many = min(option.directions, self.patients // 2)
        self.patients = int(behind[self.described].min())
        self.released = release(looks, whose, many, option.clip * math.sqrt(self.form.size))
        images = self.looks.images
        self.images = measure(images, self.looks.patient, option.clip * math.sqrt(images.shape[1]))

    def _release_before(self) -> None:
        """Release this site's mean with noise, once; repaint by what was released, and by nothing else.

        So what one patient's images are repainted to tells nothing of another's.
        """
        import torch

        from relay.memory.noisy_release import axes, finer, reach, vectors
        from relay.memory.painting import Painter

        if self.training is None or self.training.noisy_mean is None or self.released is not None:
            return

        def describe(batches: Iterable[Batch]) -> Tensor:
            return vectors(self._described(batches, self.few))[0]

        mean = self._keep(self.training.noisy_mean(describe, axes(self.few), reach(self.options.clip)))
        usual = {site.form: finer(mean, self.few, site.form) for site in self.earlier}
        self.painters = [
            Painter(form, each, torch.ones(form.size, dtype=torch.bool), self.earlier) for form, each in usual.items()
        ]

    def _release_with_noise(self) -> None:
        from relay.memory.noisy_release import axes, reach, vectors
        from relay.noise import noisy_mean, strength

        option = self.options
        strong = strength(option.epsilon, option.delta)
        self._keep(noisy_mean(vectors(self.looks), axes(self.form), strong, reach(option.clip)))

    def _keep(self, found: Noisy) -> Tensor:
        """Take a noisy mean for what is released; return that of the regions."""
        import torch

        from relay.memory.noisy_release import released

        self.released, self.images = released(found, self.form)
        self.described, self.strong = torch.ones(self.form.size, dtype=torch.bool), found.strong
        return self.released.mean

    def own(self) -> MemoryState | None:
        """Mean, directions and spreads, of regions and of images as a whole."""
        from relay.handover import MemoryState, Privacy
        from relay.memory.earlier import about

        if self.released is None or self.patients < self.options.min_patients:
            return None
        epsilon, delta = self.options.epsilon, self.options.delta
        if self.strong is not None and epsilon is None:  # a part of what train.privacy allows
            from relay.noise import epsilon_of_strength

            epsilon = rounded_up(epsilon_of_strength(self.strong, delta))
        privacy = Privacy(
            derived="aggregates",
            patients=self.patients,
            epsilon=epsilon,
            delta=None if epsilon is None else delta,
        )
        images = {} if self.images is None else self.images.tensors
        tensors = {**vars(self.released), "described": self.described, **images}
        return MemoryState(tensors, KIND, privacy, about(self.form))
