"""What the bundle's ``inference.json`` names: images as the model was trained to see them, and back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from . import standalone


def said(folder: str) -> dict[str, Any]:
    """What is done to an image: ``model.json``."""
    return standalone.load(Path(folder))[0]


def images(folder: str, said: dict[str, Any]) -> list[dict[str, Any]]:
    """The files of each image in a folder, by name; an image of several files has its channels in that order."""
    files = sorted(path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    return [{"files": each} for each in standalone.images_of(files, said)]


class Network(torch.nn.Module):
    """The ``.pt2``, for images of any size: ``(B, C, *S)`` to logits. It runs on the CPU."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.run = standalone.load(Path(folder))[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return torch.from_numpy(self.run(x.cpu().numpy())[0].copy())


class Read:
    """An image's files, upright."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Read it."""
        return {**item, "picture": standalone.read(item["files"], self.said)}


class Prepare:
    """All steps; of a volume that is predicted by slices, each slice."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Prepare it."""
        return {**item, "prepared": standalone.prepare(item["picture"], self.said)}


class Save:
    """Masks, or a line for each image."""

    def __init__(self, said: dict[str, Any], output_dir: str) -> None:
        self.said, self.folder = said, Path(output_dir)

    def __call__(self, item: dict[str, Any], answers: list[Any]) -> None:
        """Save or print it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        standalone.tell(answers, item["prepared"], item["picture"], self.said, item["files"], self.folder)


def run(dataset: Iterable[Any], inferer: Any, network: Network, said: dict[str, Any], save: Save) -> None:
    """Predict all images."""

    def apply(image: Any) -> Any:
        with torch.no_grad():
            return inferer(torch.from_numpy(image), network).numpy()

    for item in dataset:
        save(item, [standalone.probabilities(network.run, each, said, apply) for each in item["prepared"]])
