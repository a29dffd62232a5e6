"""A DICOM series is predicted, and its mask lies on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from relay.datasets.dicom import DicomOptions

from relay.config.devices import Devices
from relay.data import read_geometry
from relay.errors import UserError
from relay.leg.progress import Progress
from relay.predict.image import images_in, predict_images
from tests.dicoms import NAME, NUMBER, OBLIQUE, affine, nifti_affine, series, slices, write
from tests.predict.test_image import model

STORED = np.random.default_rng(0).integers(0, 3000, (5, 6, 7)).astype(np.int16)


@pytest.mark.parametrize(
    "orientation",
    [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), OBLIQUE],
    ids=["axial", "flipped", "sagittal", "oblique"],
)
def test_a_mask_lies_on_its_series(tmp_path: Path, orientation: Any) -> None:
    folder = series(tmp_path / "s", STORED, orientation=orientation)
    assert images_in([folder, tmp_path]) == [folder]
    made, _ = predict_images(model(), [folder], tmp_path, Devices(), Progress(1), warn=pytest.fail)
    geometry = read_geometry(folder)
    assert geometry is not None
    assert np.allclose(nifti_affine(made), affine(geometry), atol=1e-4)
    assert not any(secret in made.name for secret in (*NAME.split("^"), NUMBER))
    volume = tmp_path / "volume.nii.gz"  # the same scan as one file, written by SimpleITK
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    sitk.WriteImage(reader.Execute(), str(volume))
    of_volume, _ = predict_images(model(), [volume], tmp_path, Devices(), Progress(1), warn=pytest.fail)
    masks = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (made, of_volume)]
    assert len(np.unique(masks[0])) > 1
    assert np.array_equal(*masks)


def test_all_series_below_a_folder_are_predicted(tmp_path: Path) -> None:
    series(tmp_path / "a" / "b", STORED, SeriesInstanceUID="1.2.1")
    for uid in ("1.2.2", "1.2.3"):
        for k, ds in enumerate(slices(STORED, SeriesInstanceUID=uid)):
            write(tmp_path / "c" / f"{uid}.{k}", ds, STORED[k])
    paths = [tmp_path / "a" / "b", tmp_path / "c" / "1.2.2", tmp_path / "c" / "1.2.3"]
    assert images_in([tmp_path]) == paths
    assert images_in(paths[1:]) == paths[1:]
    made = list(predict_images(model(), paths[1:], tmp_path, Devices(), Progress(1), warn=pytest.fail))
    assert [path.name[:5] for path in made] == ["1.2.2", "1.2.2", "1.2.3", "1.2.3"]
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="there are no images in"):
        images_in([tmp_path / "none"])


def test_windows_are_channels_of_one_series(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", STORED)
    trained = model(channels=2)
    steps = [
        {"name": "Normalise", "kwargs": {"how": "window", "low": -1000, "high": high, "channels": [c]}}
        for c, high in enumerate((0, 2000))
    ]
    trained.leg.data = DicomOptions(
        task_id=0, task_name="a", root_path="r", num_classes=3, channels=2, windows=True, steps=steps
    )
    made, _ = predict_images(trained, [folder], tmp_path, Devices(), Progress(1), warn=pytest.fail)
    assert sitk.ReadImage(str(made)).GetSize() == (7, 6, 5)
