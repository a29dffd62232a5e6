"""nnU-Net on a study of ours, for :mod:`peers`: its own reading, preprocessing, batches, step and predictor.

Patch size, batch size, net and optimiser are the study's, so that both do the same work; its augmentation and its
deep supervision are off, and nothing runs in processes of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from setting import DEVICES, now, scratch
from torch import Tensor

from relay.leg import OVERLAP, device_of

DEVICE = device_of(DEVICES)
NAME = "Dataset001_Peer"


class NnUNet:
    """A study's training images, planned and preprocessed by nnU-Net."""

    def __init__(self, study: Any) -> None:
        self.study, self.flat = study, len(study.size) == 2
        self.root = scratch()
        for part in ("raw", "preprocessed", "results"):
            os.environ[f"nnUNet_{part}"] = str(self.root / part)
        os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f"}  # its planner refuses 0
        self._write(self.root / "raw" / NAME)
        with contextlib.redirect_stdout(None):
            self._prepare()
            os.environ |= {"nnUNet_n_proc_DA": "0"}
            self.trainer = self._trainer()

    def _write(self, folder: Path) -> None:
        """As nnU-Net wants to find them; a picture is a volume of one slice."""
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir(parents=True)
        for number, (image, mask) in enumerate(zip(self.study.images, self.study.masks, strict=True)):
            for part, end, array in (
                ("imagesTr", "_0000", image[0].numpy()),
                ("labelsTr", "", mask.numpy().astype(np.uint8)),
            ):
                whole = sitk.GetImageFromArray(array[None] if self.flat else array)
                sitk.WriteImage(whole, str(folder / part / f"case_{number:03}{end}.nii.gz"))
        told = {
            "channel_names": {"0": "noNorm"},
            "labels": {"background": 0} | {f"c{i}": i for i in range(1, self.study.leg.data.num_classes)},
            "numTraining": len(self.study.images),
            "file_ending": ".nii.gz",
        }
        (folder / "dataset.json").write_text(json.dumps(told))

    @property
    def configuration(self) -> str:
        """nnU-Net's name of what is trained."""
        return "2d" if self.flat else "3d_fullres"

    def _prepare(self) -> None:
        from nnunetv2.experiment_planning import plan_and_preprocess_api as steps

        steps.extract_fingerprints([1], num_processes=1, check_dataset_integrity=False)
        steps.plan_experiments([1])
        steps.preprocess([1], configurations=(self.configuration,), num_processes=(1,))

    def _trainer(self) -> Any:
        from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA

        study = self.study

        class Trainer(nnUNetTrainerNoDA):  # type: ignore[misc]
            @staticmethod
            def build_network_architecture(plans_manager: Any, *_: Any, **__: Any) -> torch.nn.Module:
                return study.net()  # type: ignore[no-any-return]

            def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
                optimizer = study.adam(self.network)
                return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)

            def set_deep_supervision_enabled(self, enabled: bool) -> None:
                """There is none in this net."""

        folder = self.root / "preprocessed" / NAME
        plans = json.loads((folder / "nnUNetPlans.json").read_text()) | {"continue_training": False}
        plans["configurations"][self.configuration] |= {"patch_size": list(study.size), "batch_size": study.batch}
        told = json.loads((folder / "dataset.json").read_text())
        trainer = Trainer(plans, self.configuration, 0, told, DEVICE)
        trainer.enable_deep_supervision = False
        trainer.initialize()
        return trainer

    def train(self, steps: int, warm: int) -> float:
        """Images/s of its own batches and its own step; its logs and checkpoints are left out."""
        with contextlib.redirect_stdout(None):
            batches, _ = self.trainer.get_dataloaders()
        self.trainer.network.train()
        for step in range(steps + warm):
            if step == warm:
                begin = now()
            self.trainer.train_step(next(batches))
        return self.study.batch * steps / (now() - begin)  # type: ignore[no-any-return]

    def predictor(self) -> Callable[[Tensor], Tensor]:
        """Its sliding window, as it predicts whole images."""
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        trainer, flat = self.trainer, self.flat
        found = nnUNetPredictor(
            tile_step_size=1 - OVERLAP, use_gaussian=True, use_mirroring=False, perform_everything_on_device=False,
            device=DEVICE, verbose=False, allow_tqdm=False,
        )  # fmt: skip
        net = self.study.net().eval().to(DEVICE)
        found.manual_initialization(
            net, trainer.plans_manager, trainer.configuration_manager, None, trainer.dataset_json, "", None
        )
        return lambda image: found.predict_sliding_window_return_logits(image[0][:, None] if flat else image[0])
