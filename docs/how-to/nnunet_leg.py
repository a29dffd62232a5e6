"""nnU-Net's trainer as a leg: ``python nnunet_leg.py lungs_nnunet.yaml``, with nnunetv2 2.8 installed beside relay.

nnU-Net's plan is the study's config: the architecture in ``model.kwargs``, the patch size and what is done to an image
in ``dataset.kwargs``. So the plan travels in every handover, signed, and each site checks that it has the same.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from relay.config import Field, options
from relay.nets import Net, NetOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from relay.own_code import Images, OpenLeg

DATASET = "Dataset001_relay"
PLAN = ("n_stages", "features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_conv_per_stage_decoder")
"""What nnU-Net plans of an architecture, named as in its ``nnUNetPlans.json``."""
Counts = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]


@options
class PlansOptions(NetOptions):
    """``arch_kwargs`` of a configuration in ``nnUNetPlans.json``, without the names of Python classes.

    Attributes:
        spatial_dims: 2 for images, 3 for volumes.
        n_stages: number of resolutions.
        features_per_stage: channels at each.
        kernel_sizes: of the convolutions, for each stage and axis.
        strides: between the stages, for each stage and axis.
        n_conv_per_stage: convolutions on the way down.
        n_conv_per_stage_decoder: convolutions on the way up.
    """

    spatial_dims: Literal[2, 3]
    n_stages: Annotated[int, Field(ge=2, le=10)]
    features_per_stage: Counts
    kernel_sizes: list[Counts]
    strides: list[Counts]
    n_conv_per_stage: Counts
    n_conv_per_stage_decoder: Counts


class PlainUNet(Net):
    """nnU-Net's plain U-Net, from its plan."""

    Options = PlansOptions
    options: PlansOptions

    def build(self) -> nn.Module:
        """The net, without the extra outputs of deep supervision, which nnU-Net's trainer turns on."""
        from dynamic_network_architectures.architectures.unet import PlainConvUNet
        from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
        from torch import nn

        channels, classes = self.channels()
        axes = self.options.spatial_dims
        plan = {name: getattr(self.options, name) for name in PLAN}
        net = PlainConvUNet(
            channels,
            num_classes=classes,
            **plan,
            conv_op=getattr(nn, f"Conv{axes}d"),
            conv_bias=True,
            norm_op=getattr(nn, f"InstanceNorm{axes}d"),
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
        )
        del net.decoder.encoder  # nnU-Net has each layer under several names: a handover needs only one
        for block in net.modules():
            if isinstance(block, ConvDropoutNormReLU):
                del block.conv, block.norm
        return net.apply(net.initialize)


def plans(config: dict[str, Any], axes: int) -> dict[str, Any]:
    """The study's config as ``nnUNetPlans.json``."""
    modules = {"conv_op": f"torch.nn.modules.conv.Conv{axes}d", "nonlin": "torch.nn.LeakyReLU"}
    modules |= {"norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d", "dropout_op": None}
    plain = {name: config[f"model.kwargs.{name}"] for name in PLAN}
    plain |= {"conv_bias": True, "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "nonlin_kwargs": {"inplace": True}}
    configuration = {
        "data_identifier": "prepared",
        "batch_size": config["train.batch_size"],
        "patch_size": config["data.patch_size"] or config["data.img_size"],
        "spacing": [1.0] * axes,
        "normalization_schemes": ["NoNormalization"] * config["data.channels"],
        "use_mask_for_norm": [False] * config["data.channels"],
        "batch_dice": False,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": plain | modules,
            "_kw_requires_import": list(modules),
        },
    }
    return {
        "dataset_name": DATASET,
        "plans_name": "relay",
        "label_manager": "LabelManager",
        "configurations": {"relay": configuration},
        "continue_training": False,
    }


def prepare(split: Images, folder: Path, kind: str) -> list[str]:
    """Write the images of a split, as relay has prepared them, where nnU-Net looks for preprocessed ones.

    The file names say nothing: they are numbers.
    """
    import numpy as np
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy

    names, rng = [], np.random.default_rng(0)
    for item in split:
        image, label = item["image"].numpy(), item["label"].numpy()[None].astype(np.int8)
        if label.ndim == 3:  # nnU-Net keeps a 2D image as a volume of one slice
            image, label = image[:, None], label[:, None]
        places = {int(c): np.argwhere(label == c) for c in np.unique(label) if c}
        places = {c: found[rng.permutation(len(found))[:10000]] for c, found in places.items()}
        names.append(f"{kind}_{len(names):04}")
        about = {"class_locations": places, "spacing": [1.0] * (label.ndim - 1)}
        nnUNetDatasetNumpy.save_case(image, label, about, str(folder / names[-1]))
    return names


def train(leg: OpenLeg, epochs: int, iterations: int) -> dict[str, Tensor]:
    """The weights of the study's net after nnU-Net's trainer: its patches, augmentation, loss, optimiser, schedule."""
    import torch

    with tempfile.TemporaryDirectory() as temporary:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            os.environ[name] = str(Path(temporary, name))
        os.environ |= {"nnUNet_n_proc_DA": "0", "nnUNet_compile": "f"}
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        base = Path(temporary, "nnUNet_preprocessed", DATASET)
        folder = base / "prepared"
        folder.mkdir(parents=True)
        folds = [{"train": prepare(leg.train, folder, "train"), "val": prepare(leg.val, folder, "val")}]
        (base / "splits_final.json").write_text(json.dumps(folds))
        (base / "dataset_fingerprint.json").write_text("{}")
        labels = {"background": 0} | {str(c): c for c in range(1, leg.config["data.num_classes"])}
        channels = {str(c): "image" for c in range(leg.config["data.channels"])}
        about = {"labels": labels, "channel_names": channels, "file_ending": ".npz", "numTraining": len(leg.train)}
        axes = leg.config["model.kwargs.spatial_dims"]
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        trainer = nnUNetTrainer(plans(dict(leg.config), axes), "relay", 0, about, device)
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = (
            epochs,
            iterations,
            2,
        )
        trainer.disable_checkpointing = True  # its checkpoints are pickles; relay writes the weights
        trainer.initialize()
        weights = leg.net().state_dict()
        odd = trainer.network.load_state_dict(weights, strict=False).unexpected_keys
        if odd:  # the keys that are missing are other names of the same layers
            sys.exit(f"nnU-Net's net has no {odd[0]}: model.kwargs and the plans must describe the same net")
        trainer.run_training()
        return {name: trainer.network.state_dict()[name] for name in weights}


def main(config: str, epochs: int = 1000, iterations: int = 250) -> None:
    """Run the next leg of a config."""
    from relay.errors import RelayError
    from relay.own_code import open_leg

    try:
        with open_leg(config, code=f"nnU-Net {version('nnunetv2')}") as leg:
            print(leg.finish(train(leg, epochs, iterations)))
    except RelayError as error:
        sys.exit(f"{error}\n{error.advice()}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
