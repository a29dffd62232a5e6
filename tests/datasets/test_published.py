"""The layouts of the published project's other two data sets, and our configs for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from relay.datasets.mediastinum import Mediastinum, MediastinumOptions
from relay.datasets.midline import Midline, MidlineOptions

from relay.config import check, read
from relay.data import prepare
from relay.errors import DataError
from relay.plan import plan
from tests.datasets.conftest import Site

CONFIGS = Path(__file__).parents[2] / "configs"
WINDOWS = [
    {"name": "Normalise", "kwargs": {"how": "window", "low": 0, "high": 400, "channels": [0]}},
    {"name": "Normalise", "kwargs": {"how": "window", "low": 160, "high": 260, "channels": [1]}},
]
HEADER = "instance_id,study_id,img_file,label_file,positive"
HU = np.array([[-160, -60, 0, 40, 50, 100, 200, 240]] * 8)


def mediastinum(site: Site, studies: int = 4, folder: str = "site_1") -> Path:
    """Two slices of each study: one without, one with a tumour."""
    rows = [HEADER]
    for study in range(studies):
        for number in range(2):
            name = f"s{study}_{number + 1:03d}"
            site.write(f"{folder}/{name}.png", (HU + 160).astype(np.uint16))
            site.write(f"{folder}/{name}_label.png", np.full((8, 8), number, np.uint8))
            rows.append(f"{name},s{study},{name}.png,{name}_label.png,{bool(number)}")
    path = site.root / folder / "meta.txt"
    path.write_text("\n".join(rows) + "\n")
    return path


def tumours(site: Site, **kwargs: Any) -> Mediastinum:
    given = {"task_id": 1, "task_name": "a", "root_path": str(site.root), "img_folder": "site_1", **kwargs}
    options, problems = check(MediastinumOptions, given)
    assert not problems, problems
    assert options is not None
    return Mediastinum(options)


def test_two_windows_of_a_slice_are_two_channels(site: Site) -> None:
    mediastinum(site)
    dataset = tumours(site, steps=WINDOWS)
    image = dataset[1].image[0]
    assert image.shape == (8, 2)
    assert np.allclose(image[:, 0], np.clip((HU[0] + 160) / 200 - 1, -1, 1), atol=1e-3)
    assert np.allclose(image[:, 1], np.clip(HU[0] / 50 - 1, -1, 1), atol=1e-3)
    assert [record.target for record in dataset.listing] == [0, 1] * 4
    assert dataset[1].target == 1
    split = prepare(dataset, 3).split
    for part in (split.train, split.val, split.test):  # study by study
        assert len({record.patient for record in part}) * 2 == len(part)


def test_tumours_are_segmented_too(site: Site) -> None:
    mediastinum(site)
    dataset = tumours(site, task="segmentation", channels=1)
    assert np.array_equal(np.unique(dataset[1].target), [1])
    assert dataset[0].image.shape == (8, 8, 1)


def test_wrong_rows_are_named_at_once(site: Site) -> None:
    path = mediastinum(site, 1)
    path.write_text(f"{HEADER}\na,s1,none.png,,True\nb,,s0_001.png,,False\nc,s2,s0_001.png,,maybe\n")
    with pytest.raises(DataError) as caught:
        tumours(site, steps=WINDOWS).samples()
    said = str(caught.value)
    assert f"{path}, line 2: there is no {path.parent / 'none.png'}" in said
    assert "line 3: study_id is ''" in said
    assert "line 4: positive is 'maybe', not True or False" in said
    path.write_text(f"{HEADER}\na,s1,s0_000.png,,True\na,s2,s0_001.png,,False\n")
    with pytest.raises(DataError, match="line 3: site_1/a is in line 2, too"):
        tumours(site, steps=WINDOWS).samples()
    path.write_text("study_id,img_file\n")
    with pytest.raises(DataError, match="no column instance_id, positive"):
        tumours(site, steps=WINDOWS).samples()
    given = {"task_id": 1, "task_name": "a", "root_path": "r"}
    assert "channels would be the same" in str(check(MediastinumOptions, given)[1][0])


def midline(site: Site) -> None:
    for study in ("b", "a"):
        for name in ("10", "2"):
            site.write(f"site_1/{study}/{name}.jpg", np.full((8, 6), 90, np.uint8))
            mask = np.zeros((8, 6), np.uint8)
            mask[:, 2], mask[:, 3], mask[:, 4] = (1, 2, 11) if name == "2" else (0, 0, 11)
            site.write(f"site_1/{study}/mask_{name}.png", mask)


def brains(site: Site, **kwargs: Any) -> Midline:
    return Midline(MidlineOptions(task_id=1, task_name="a", root_path=str(site.root), img_folder="site_1", **kwargs))


def test_clear_and_vague_midlines_are_one_class(site: Site) -> None:
    midline(site)
    dataset = brains(site)
    assert [record.id for record in dataset.listing] == ["site_1/a/10", "site_1/a/2", "site_1/b/10", "site_1/b/2"]
    assert {record.patient for record in dataset.listing} == {"site_1/a", "site_1/b"}
    assert dataset[1].target[0].tolist() == [0, 0, 1, 1, 0, 0]
    assert not dataset[0].target.any()
    assert dataset[0].image.shape == (8, 6, 1)


def test_slices_with_a_midline_only(site: Site) -> None:
    midline(site)
    with pytest.raises(DataError, match=r"there is no .*meta.json, which lists"):
        brains(site, positive_only=True).samples()
    path = site.root / "site_1" / "meta.json"
    path.write_text(json.dumps({"a": {"pos_slices": ["2"]}, "b": {"pos_slices": ["3"]}}))
    with pytest.raises(DataError, match=r"b/3.jpg: does not exist"):
        brains(site, positive_only=True).samples()
    path.write_text(json.dumps({"a": {"pos_slices": ["2"]}, "b": {"pos_slices": []}}))
    assert [record.id for record in brains(site, positive_only=True).samples()] == ["site_1/a/2"]
    path.write_text(json.dumps({"a": 3}))
    with pytest.raises(DataError, match="does not list the pos_slices"):
        brains(site, positive_only=True).samples()
    (site.root / "site_1" / "a" / "mask_2.png").unlink()
    with pytest.raises(DataError, match=r"a/mask_2.png: does not exist"):
        brains(site).samples()


@pytest.mark.parametrize("name", ["mediastinum", "midline"])
def test_our_configs_are_planned(name: str, site: Site) -> None:
    for number in range(1, 5):
        mediastinum(site, folder=f"site_{number}")
        midline(site)
    study = plan(read(CONFIGS / name / "relay.yaml", [f"paths.{name}={site.root}"]), name)
    assert len(study.legs) == (4 if name == "mediastinum" else 3)
