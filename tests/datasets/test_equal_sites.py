"""Two sites whose files differ only in orientation, spacing and format give equal models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from relay.datasets.dicom import Dicom, DicomOptions
from relay.datasets.folder import Folder, FolderOptions
from safetensors.torch import load_file

from relay.data import Dataset
from tests.dicoms import segmentation, series_of, uid
from tests.studies import simulate

STEPS = [
    {"name": "Resample", "kwargs": {"spacing": [2.0, 0.75, 0.5]}},
    {"name": "Normalise", "kwargs": {"how": "window", "low": -500, "high": 500}},
]


def scan(number: int, flat: bool = False) -> tuple[sitk.Image, sitk.Image]:
    """A patient's scan and mask, with 2 mm thick slices; flat: which are all the same."""
    rng = np.random.default_rng(number)
    values = rng.integers(-1000, 1000, (1 if flat else 16, 16, 16)).astype(np.int16).repeat(16 if flat else 1, axis=0)
    found = [sitk.GetImageFromArray(values), sitk.GetImageFromArray((values > 0).astype(np.uint8))]
    for image in found:
        image.SetSpacing((0.5, 0.75, 2.0))
        image.SetOrigin((-4.0, 7.0, 11.0))
    return found[0], found[1]


def thinner(image: sitk.Image) -> sitk.Image:
    """Each slice twice, half as thick."""
    fine = sitk.GetImageFromArray(np.repeat(sitk.GetArrayFromImage(image), 2, axis=0))
    fine.SetSpacing((0.5, 0.75, 1.0))
    fine.SetOrigin((-4.0, 7.0, 10.5))
    return fine


def as_series(root: Path, number: int, image: sitk.Image, mask: sitk.Image) -> None:
    who = {"PatientID": f"p{number}", "StudyInstanceUID": uid(number), "SeriesInstanceUID": uid("s", number)}
    folder = series_of(root / str(number) / "a", image, **who)
    segmentation(root / str(number) / "b", folder, sitk.GetArrayFromImage(mask))


def options(root: Path) -> dict[str, Any]:
    return {"root_path": str(root), "num_classes": 2, "channels": 1, "steps": STEPS, "patch_size": [16, 16, 16]}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_HOME", str(tmp_path / "home"))


def test_another_orientation_gives_the_same_model(tmp_path: Path) -> None:
    weights = []
    for code in ("LPS", "PIR"):
        for number in range(3):
            as_series(tmp_path / code, number, *(sitk.DICOMOrient(one, code) for one in scan(number)))
        simulate(
            tmp_path / "run" / code,
            **{
                "common.dataset": {"name": "dicom", "kwargs": options(tmp_path / code)},
                "common.train": {"num_epochs": 1, "batch_size": 2},
                "common.strategy.name": "local",
                "common.model.kwargs.spatial_dims": 3,
                "all_tasks_datasets": [{"kwargs": {"task_id": 1, "task_name": "a"}}],
                "current_tasks.task_ids": [1],
            },
        )
        weights.append(load_file(next((tmp_path / "run" / code).rglob("model.safetensors"))))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_another_spacing_and_format_gives_the_same_images(tmp_path: Path) -> None:
    for number in range(2):
        image, mask = scan(number, flat=True)  # else, neighbouring slices are mixed where they are resampled
        as_series(tmp_path / "thick", number, image, mask)
        as_series(tmp_path / "thin", number, *(sitk.DICOMOrient(thinner(one), "RIA") for one in (image, mask)))
        for name, one in (("image", image), ("mask", mask)):
            path = tmp_path / "nifti" / name / f"{number}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.DICOMOrient(thinner(one), "SAR"), str(path))
    site = {"task_id": 1, "task_name": "a"}
    datasets: list[Dataset] = [
        Dicom(DicomOptions(**site, **options(tmp_path / "thick"))),
        Dicom(DicomOptions(**site, **options(tmp_path / "thin"))),
        Folder(FolderOptions(**site, **options(tmp_path / "nifti"))),
    ]
    first, *others = ([dataset[k] for k in range(2)] for dataset in datasets)
    for cases in others:
        for one, other in zip(first, cases, strict=True):
            assert np.array_equal(one.image, other.image)
            assert np.array_equal(one.target, other.target)
            assert one.spacing == other.spacing
