"""The published code of Relay Learning (Bo et al. 2023) as :mod:`published` measures it: its own model, our loop.

The code is imported from a checkout, and no line of it is changed. It was written for torch 1.11 and Lightning 1.3, and
later Trainers can't run several optimisers, so :class:`Peer` calls what that Trainer called, in its order. What else is
missing here, or has changed, is put in its place (:func:`prepare`), with the reason.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from relay.config import options
from relay.nets import Net, NetOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

WHERE = "https://github.com/MeteorsHub/RelayLearning"
CONFIG = "configs/fundus/relay.yaml"
NEEDED = (CONFIG, "losses/__init__.py", "models/doublegan.py", "models/unet.py", "utils/training_utils.py")
EPOCHS = 4
"""Of a leg: two of each stage, as few as the model accepts."""


def lacking(root: Path) -> str | None:
    """The first file of a checkout that a folder doesn't have."""
    return next((name for name in NEEDED if not (root / name).is_file()), None)


def prepare(root: Path) -> None:
    """Make the code in a checkout importable."""
    import pytorch_lightning  # noqa: F401 - first, for it looks whether torchvision is there
    import torch
    import torchmetrics

    sys.path.insert(0, str(root))
    # Pictures of the curves, colours of the log, attributes of a dict: nothing that a training step computes with.
    for name, content in (("torchvision", {}), ("colorlog", {}), ("easydict", {"EasyDict": SimpleNamespace})):
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__dict__.update(content)
    # It has another name now, and would download a net; used in validation only.
    torchmetrics.FID = lambda **_: torch.nn.Identity()
    # Its penalty on the discriminator needs the second derivative of sampling, for which it takes an operation of torch
    # by name. That takes one more argument since, and the code doesn't try where torch isn't 1.x.
    before = torch._C._jit_get_operation

    def operation(name: str) -> Any:
        if name != "aten::grid_sampler_2d_backward":
            return before(name)
        return lambda *given: torch.ops.aten.grid_sampler_2d_backward(*given, [True, True])

    torch._C._jit_get_operation = operation
    sampling = importlib.import_module("models.stylegan2_ada_spade.ops.grid_sample_gradfix")
    sampling._should_use_custom_op = lambda: True


@options
class UNetOptions(NetOptions):
    """Where the code is.

    Attributes:
        checkout: the folder.
    """

    checkout: str = ""


class UNet(Net):
    """Its U-Net with a ResNet-18, as a net of ours."""

    Options = UNetOptions
    options: UNetOptions

    def build(self) -> nn.Module:
        """See :meth:`relay.nets.Net.build`."""
        if "models.unet" not in sys.modules:
            prepare(Path(self.options.checkout))
        in_channels, num_classes = self.channels()
        made: nn.Module = importlib.import_module("models.unet").UNet(in_channels, num_classes, False, "resnet18")
        return made


class Peer:
    """The second leg, ready to be trained, and what the first one hands over to it.

    Args:
        root: of the checkout.
        batch: images of a step.
    """

    def __init__(self, root: Path, batch: int) -> None:
        import torch

        prepare(root)
        project = importlib.import_module("utils.project_utils")
        conf = project.process_config(project.load_config(str(root / CONFIG)))[1]  # of its second leg
        torch.manual_seed(0)
        self.site = self.stand_in(conf)
        importlib.import_module("models.basic").DeepLearningModel._base_strategy = [self.site]
        self.model = importlib.import_module("models").get_model("doublegan", **accepted(conf["model"]["kwargs"]))
        self.model.train()  # as Lightning does, with the frozen copies
        self.optimizers = [found["optimizer"] for found in self.model.configure_optimizers()]
        self.images = torch.rand(batch, 3, 64, 64) * 2 - 1
        self.masks = torch.randint(3, (batch, 16, 16)).repeat_interleave(4, 1).repeat_interleave(4, 2)
        self.number = 0

    @staticmethod
    def stand_in(conf: dict[str, Any]) -> SimpleNamespace:
        """What the model asks its strategy and Lightning's Trainer for; it writes no curves and draws no pictures."""
        loss = conf["train"]["loss"]
        plugin = SimpleNamespace(world_size=1, distributed_backend=None)
        images = SimpleNamespace(dataset=SimpleNamespace(datasets=SimpleNamespace(num_samples=100)))
        return SimpleNamespace(
            rgb_inputs=True, binary_positive_label=None, task_id=1, task_name="Domain1", global_step=0,
            num_task_epochs=EPOCHS, should_log=lambda *_, **__: False, shared_step_log=lambda *_, **__: None,
            criterion=importlib.import_module("losses").get_loss(loss["name"], device="cpu", **loss["kwargs"]),
            trainer=SimpleNamespace(
                max_epochs=EPOCHS, current_epoch=0, train_dataloader=images,
                accelerator=SimpleNamespace(training_type_plugin=plugin),
            ),
        )  # fmt: skip

    def first_leg(self) -> None:
        """A leg of one step, so that there is something to hand over."""
        self.epoch(0)
        self.step()
        self.epoch(EPOCHS // 2)

    def save(self, path: Path) -> None:
        """What ``last.ckpt`` has, without Lightning's counters and the two Inception nets that validation needs."""
        import torch

        content = {
            "state_dict": self.model.state_dict(),
            "optimizer_states": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        self.model.on_save_checkpoint(content)
        torch.save(content, path)

    def next_leg(self) -> None:
        """Begin the second one."""
        self.site.task_id, self.site.task_name, self.site.trainer.max_epochs = 2, "Domain2", 2 * EPOCHS
        self.model.start_new_task()

    def epoch(self, number: int) -> None:
        """Begin an epoch, counted over all legs, from 0: in the middle of a leg, the second stage begins."""
        self.site.trainer.current_epoch = number
        self.model.on_train_epoch_start()

    def step(self) -> None:
        """One batch, for generators, discriminators and the model in turn."""
        training = importlib.import_module("utils.training_utils")
        batch, number = (self.images, self.masks), self.number
        self.model.on_train_batch_start(batch, number, 0)
        for which, optimizer in enumerate(self.optimizers):

            def closure(which: int = which, optimizer: Any = optimizer) -> Tensor:
                loss: Tensor = self.model.training_step(batch, number, which)
                optimizer.zero_grad()
                loss.backward()
                return loss

            with self.only(optimizer):
                training.safe_optimizer_step(optimizer, closure)
        self.model.on_train_batch_end(None, batch, number, 0)
        self.site.global_step += 1
        self.number += 1

    @contextmanager
    def only(self, chosen: Any) -> Iterator[None]:
        """Gradients of the parameters of one optimiser only."""
        groups = [group for each in self.optimizers if each is not chosen for group in each.param_groups]
        others = [parameter for group in groups for parameter in group["params"]]
        for parameter in others:
            parameter.requires_grad_(False)
        yield
        for parameter in others:
            parameter.requires_grad_(True)


def accepted(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Its config with two changes: a beta of 0 is a float, as torch now demands; and all is in 32 bits (by an option of
    theirs), because a processor only imitates 16."""
    for optimizer in kwargs["optimizer_conf"].values():
        if "betas" in optimizer["kwargs"]:
            optimizer["kwargs"]["betas"] = tuple(map(float, optimizer["kwargs"]["betas"]))
    for part in ("img", "label"):
        kwargs[f"G_{part}_kwargs"].setdefault("synthesis_kwargs", {})["num_fp16_res"] = 0
        kwargs[f"D_{part}_kwargs"]["num_fp16_res"] = 0
    return kwargs
