from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from relay.datasets.fundus import Fundus

from relay.data import prepare
from relay.errors import DataError

LEVELS = np.array([[255, 128], [0, 255]], np.uint8)


def fundus(root: Path, *domains: str, **kwargs) -> Fundus:
    given = {"task_id": 0, "task_name": "site", "root_path": str(root), "img_folder": list(domains), **kwargs}
    return Fundus(Fundus.Options(**given))


def write(site, place: str, *stems: str, mask: np.ndarray = LEVELS) -> None:
    for stem in stems:
        site.write(f"{place}/image/{stem}.png", np.zeros((2, 2, 3), np.uint8))
        site.write(f"{place}/mask/{stem}.png", np.repeat(mask[..., None], 3, axis=-1))


def test_levels_become_classes_and_the_test_folder_the_test_split(site) -> None:
    write(site, "D1/train/ROIs", "b", "a")
    write(site, "D1/test/ROIs", "a")
    write(site, "D2/train/ROIs", "c")
    write(site, "D2/test/ROIs", "d")
    dataset = fundus(site.root, "D1", "D2")
    assert [sample.id for sample in dataset.listing] == [
        "D1/train/a", "D1/train/b", "D1/test/a", "D2/train/c", "D2/test/d",
    ]  # fmt: skip
    assert prepare(dataset, seed=1).split.to_json()["test"] == ["D1/test/a", "D2/test/d"]
    assert dataset[0].target.tolist() == [[0, 1], [2, 0]]
    assert dataset.options.names == ["background", "rim", "cup"]
    site.write("D1/train/ROIs/mask/a.png", LEVELS)
    assert dataset[0].target.tolist() == [[0, 1], [2, 0]]


def test_whole_photographs(site) -> None:
    write(site, "D1/train", "a")
    write(site, "D1/test", "b")
    assert len(fundus(site.root, "D1", use_roi=False)) == 2
    with pytest.raises(DataError, match=r"folder not found: .*D1/train/ROIs/image"):
        len(fundus(site.root, "D1"))


def test_a_missing_part_is_seen_at_once(site) -> None:
    write(site, "D1/train/ROIs", "a")
    assert not fundus(site.root, "D1").accessible()
    write(site, "D1/test/ROIs", "a")
    assert fundus(site.root, "D1").accessible()


def test_levels_in_between_are_refused(site) -> None:
    write(site, "D1/train/ROIs", "a", mask=np.array([[255, 127]], np.uint8))
    write(site, "D1/test/ROIs", "b")
    with pytest.raises(DataError, match=r"a\.png: values 127 are not classes; expected: 255, 128, 0"):
        fundus(site.root, "D1")[0]


def test_patients_by_name(site) -> None:
    write(site, "D1/train/ROIs", "G-1-L", "G-1-R", "G-2-L")
    write(site, "D1/test/ROIs", "G-3-L")
    dataset = fundus(site.root, "D1", patient_regex=r"^G-(\d+)")
    assert [sample.patient for sample in dataset.listing] == ["1", "1", "2", "3"]
    with pytest.raises(DataError, match=r"without a known patient \(1\):\n  - .*G-3-L"):
        len(fundus(site.root, "D1", patient_regex=r"G-[12]"))
    write(site, "D1/test/ROIs", "G-2-R")
    with pytest.raises(DataError, match=r"both the published test set and the rest \(1\):\n  - 2"):
        prepare(fundus(site.root, "D1", patient_regex=r"^G-(\d+)"), seed=1)


def test_the_classes_are_three(site) -> None:
    with pytest.raises(ValidationError, match="Input should be 3"):
        fundus(site.root, "D1", num_classes=2)
    with pytest.raises(ValidationError, match="root_path"):
        Fundus.Options(task_id=0, task_name="site")


@pytest.mark.parametrize("domain", [1, 2, 3, 4])
def test_real_domains(shared_data: Path, domain: int) -> None:
    dataset = fundus(shared_data / "fundus_dofe", f"Domain{domain}", img_size=[128, 128])
    site = prepare(dataset, seed=1)
    assert [len(site.train), len(site.val), len(site.test)] == [1, 0, 1]
    for store in (site.train, site.test):
        image, mask = store[0]
        assert np.unique(mask).tolist() == [0, 1, 2]
        assert image[mask > 0].mean() > image[mask == 0].mean()
    assert site.truth("test", 0)[0].shape == (512, 512)
