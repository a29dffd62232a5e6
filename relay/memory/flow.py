"""Flow: remember earlier sites with a small generator of their images and labels.

A rectified flow (:mod:`relay.memory.flow_net`) over image and one-hot label channels, conditioned on the site. One
generator covers all sites: each leg samples a replay pool from the incoming one, then renews it on local
images and replay, half of each. There is no discriminator.

A generator is derived patient data: it may reproduce what it was trained on. It travels only if the study's policy
allows the kind ``flow``; see ``docs/explanation/flow.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from relay.config import Field, options
from relay.errors import UserError
from relay.memory.base import Memory
from relay.memory.flow_card import KIND, About, Count, Steps, Widths, read
from relay.optim import Adam
from relay.phase import Batch, Phase, Task, Training
from relay.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from relay.handover import Handover, MemoryState
    from relay.memory.flow_net import VelocityNet
    from relay.memory.flow_pool import DrawnPool


@options
class FlowOptions:
    """Size, training and sampling of the generator.

    Attributes:
        features: channels of its levels, finest first; the finest has half the resolution of the images.
        steps: Euler steps from noise to an image.
        pool: images drawn from the incoming generator, once per leg.
        share: share of the leg's budget for renewing the generator.
        lr: learning rate of Adam.
        decay: decay of the moving average of its weights; the average travels.
    """

    features: Widths = (32, 64, 96)
    steps: Steps = 16
    pool: Count = 1024
    share: Annotated[float, Field(gt=0)] = 1.0
    lr: Annotated[float, Field(gt=0)] = 2e-3
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999


class Flow(Memory):
    """Samples images of earlier sites from a generator, and renews it.

    Attributes:
        sites: the sites whose images the renewed generator makes, in the order of its embedding.
        pool: samples from the incoming generator; None if it knows no other site.
        audit: of what travels, reserved for a memorisation check, which does not exist yet.
    """

    Options = FlowOptions
    kinds = ("flow",)
    audit: Mapping[str, Any] | None = None
    pool: DrawnPool | None = None

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.sites: tuple[str, ...] = ()
        self.incoming: VelocityNet | None = None
        self.behind: list[int] = []

    def setup(self, task: Task) -> None:
        """Take in the task.

        Raises:
            UserError: its images have no common size, or its labels are no maps.
        """
        super().setup(task)
        if task.size is None:
            raise UserError("the memory 'flow' needs images of one size", "Set the data set's img_size or patch_size.")
        if not task.dense:
            raise UserError("the memory 'flow' is for segmentation, not for this task", "Choose another memory: style.")
        self.size = task.size

    def receive(self, handover: Handover | None) -> None:
        """Load the generator of all sites so far, and add this site to a copy of it.

        Raises:
            HandoverError: the memory has another kind, was made for other images, or is damaged.
        """
        if state := handover.cumulative if handover else None:
            self.sites = read(state, self._about()).sites
            self.incoming = self._load(state)
            self.behind = [state.privacy.patients]
        if self.task.site not in self.sites:
            self.sites = (*self.sites, self.task.site)
        self.net = self._widened()

    def _about(self) -> About:
        task, own = self.task, self.options
        sites = self.sites or (task.site,)
        return About(
            sites=sites,
            features=own.features,
            steps=own.steps,
            channels=task.channels,
            classes=task.outputs,
            size=self.size,
        )

    def _load(self, state: MemoryState) -> VelocityNet:
        from relay.handover import load_model

        net = self._fresh()
        load_model(net, {name: value.float() for name, value in state.tensors.items()})
        return net.eval().requires_grad_(False)

    def _fresh(self) -> VelocityNet:
        """A generator for :attr:`sites`; its first weights depend on the study's seed alone."""
        import torch

        from relay.memory.flow_net import VelocityNet

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.task.seed, "flow"))
            channels = self.task.channels + self.task.outputs
            return VelocityNet(len(self.size), channels, len(self.sites), self.options.features)

    def _widened(self) -> VelocityNet:
        """The incoming generator with this site among its own.

        A new site gets a random place in the embedding: begun as the mean of the others it takes far longer to be told
        from them.
        """
        import torch

        net = self._fresh()
        if self.incoming is not None:
            weights = dict(self.incoming.state_dict())
            rows = weights["site.weight"]
            rows = torch.cat([rows, net.site.weight.detach()[len(rows) :]])
            net.load_state_dict({**weights, "site.weight": rows})
        return net

    def begin(self, training: Training) -> None:
        """Draw the replay pool, or at the first leg take the scale of intensities, which all later legs keep.

        Where there is a teacher, labels are what it sees in the images.
        """
        from relay.memory.flow_pool import centred, draw_pool

        self.behind.append(len(set(training.patients)))
        task, own = self.task, self.options
        if self.incoming is None:
            self.net.fit_scale(centred(batch.image, task.intensity_range).cpu() for batch in training.batches())
        elif others := [number for number, site in enumerate(self.sites) if site != task.site]:
            device = next(iter(training.batches())).image.device
            shape = (own.pool, task.channels + task.outputs, *self.size)
            seed = derive(task.seed, task.site, "flow pool")
            self.pool = draw_pool(self.incoming.to(device), shape, others, own.steps, task, self.teacher, seed)
        self.incoming = None

    def draw(self, batch: Batch) -> Batch | None:
        """Samples of the pool; their ``index`` is -1, since they are none of the training samples."""
        return self.pool.pick(batch, self.task.intensity_range)[0] if self.pool else None

    def phases(self) -> Sequence[Phase]:
        """The fit of the generator; the moving average of its weights is kept beside it."""
        import copy

        from relay.memory.flow_net import Average

        self.mean = copy.deepcopy(self.net).requires_grad_(False)
        return [
            Phase(
                "renew",
                self.net,
                self.loss,
                share=self.options.share,
                extra_state=(self.mean,),
                callbacks=(Average(self.net, self.mean, self.options.decay),),
                optimizer=Adam(lr=self.options.lr),
                validate=False,
            )
        ]

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The flow's loss on a batch of which each sample is replaced by one of the pool with a chance of one half."""
        import torch

        from relay.memory.flow_net import velocity_loss
        from relay.memory.flow_pool import join

        data = join(batch, self.task)
        site = torch.full_like(batch.index, self.sites.index(self.task.site))
        if self.pool is not None:
            drawn, whose = self.pool.pick(batch, self.task.intensity_range)
            replaced = torch.rand(len(data), device=data.device) < 0.5
            data = torch.where(replaced.view(-1, *[1] * (data.ndim - 1)), join(drawn, self.task), data)
            site = torch.where(replaced, whose, site)
        return {"flow": velocity_loss(self.net, self.net.standard(data), site)}

    def cumulative(self) -> MemoryState:
        """The averaged weights in half precision, which is exact enough to sample from."""
        from relay.handover import MemoryState, Privacy

        tensors = {name: value.cpu().half() for name, value in self.mean.state_dict().items()}
        privacy = Privacy(derived="generator", patients=min(self.behind))
        return MemoryState(tensors, KIND, privacy, self._about().plain(), self.audit)
