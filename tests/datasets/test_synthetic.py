from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from relay.datasets.phantom import CAMERAS
from relay.datasets.synthetic import Synthetic

from relay.data import prepare


def synthetic(**kwargs) -> Synthetic:
    return Synthetic(Synthetic.Options(**{"task_id": 0, "task_name": "site", "count": 20, **kwargs}))


def differ(left: Synthetic, right: Synthetic) -> bool:
    return bool((left[0].image != right[0].image).any())


def test_needs_no_files_and_splits_by_patient() -> None:
    dataset = synthetic()
    assert dataset.accessible()
    assert dataset.folders() == []
    assert [sample.id for sample in dataset.listing[:3]] == ["p0000_right", "p0000_left", "p0001_right"]
    site = prepare(dataset, seed=1)
    assert [len(site.train), len(site.val), len(site.test)] == [12, 4, 4]
    assert site.truth("test", 0)[0].shape == (64, 64)


@pytest.mark.parametrize("camera", sorted(CAMERAS))
def test_every_eye_has_a_disc_with_a_cup_in_it(camera: str) -> None:
    dataset = synthetic(camera=camera)
    for picture in (dataset[i] for i in range(20)):
        assert picture.image.shape == (64, 64, 3)
        assert picture.image.dtype == picture.target.dtype == np.uint8
        disc, cup = (picture.target >= 1).mean(), (picture.target == 2).mean()
        assert 0.03 < disc < 0.5
        assert 0.02 < cup / disc < 0.9
        rows, columns = np.nonzero(picture.target == 2)
        assert (picture.target[rows.min() - 1] > 0).any()  # the cup ends within the disc
        assert (picture.target[:, columns.max() + 1] > 0).any()


def test_the_same_again_whatever_was_drawn_before() -> None:
    dataset = synthetic()
    backwards = [dataset[i].image for i in reversed(range(20))][::-1]
    again = synthetic(count=40)
    for i, image in enumerate(backwards):
        assert (again[i].image == image).all()


def test_seed_site_and_eye_decide() -> None:
    assert differ(synthetic(), synthetic(seed=1))
    assert differ(synthetic(), synthetic(task_name="other"))
    dataset = synthetic()
    assert len({dataset[i].image.tobytes() for i in range(20)}) == 20


def test_cameras_see_the_same_anatomy_otherwise() -> None:
    seen = {name: synthetic(camera=name)[0] for name in CAMERAS}
    contrast = {}
    for name, picture in seen.items():
        grey = picture.image.mean(axis=-1)
        contrast[name] = grey[picture.target > 0].mean() - grey[picture.target == 0].mean()
    assert contrast["clinic_a"] > 50 > contrast["clinic_b"] > 20
    means = np.array([picture.image.mean(axis=(0, 1)) for picture in seen.values()])
    distances = np.linalg.norm(means[:, None] - means, axis=-1)[np.triu_indices(4, 1)]
    assert distances.min() > 40


def test_a_camera_of_ones_own() -> None:
    dataset = synthetic(camera={"retina": [0, 0, 0], "noise": 0, "vignette": 0, "brightness": 10})
    picture = dataset[0]
    assert 8 <= np.median(picture.image[picture.target == 0]) <= 12
    with pytest.raises(ValidationError, match="less than or equal to 255"):
        synthetic(camera={"retina": [0, 0, 256]})
    with pytest.raises(ValidationError, match="clinic_a"):
        synthetic(camera="clinic_e")


@pytest.mark.parametrize("size", [16, 65, 256])
def test_sizes(size: int) -> None:
    picture = synthetic(size=size, camera="clinic_c")[1]
    assert picture.image.shape == (size, size, 3)
    assert set(np.unique(picture.target)) == {0, 1, 2}
    assert synthetic(size=size, img_size=[32, 32])[0].target.shape == (32, 32)
