"""Which files a leg has used, and what else it has learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relay.data import Record
from relay.leg import digests


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("t1.nii", "t2.nii", "mask.nii")}
    for name, path in found.items():
        path.write_text(name)
    return found


def record(files: dict[str, Path], target: Any = None, **more: Any) -> Record:
    return Record("a", "p", (files["t1.nii"], files["t2.nii"]), target or files["mask.nii"], **more)


def test_every_file_of_an_image_counts(files: dict[str, Path]) -> None:
    then = digests.digests([record(files)])["a"]
    assert list(then) == ["image", "image 2", "mask"]
    for kind, path in zip(then, files.values(), strict=True):
        path.write_text("changed")
        now = digests.digests([record(files)])["a"]
        assert digests._differing(then, now) == [kind]
        path.write_text(path.name)


@pytest.mark.parametrize(("target", "other"), [(2, 3), (0.5, 0.25), ((0, 1), (1, 1))])
def test_so_does_a_target_that_is_no_file(files: dict[str, Path], target: Any, other: Any) -> None:
    then, now = (digests.digests([record(files, value)])["a"] for value in (target, other))
    assert list(then) == ["image", "image 2", "target"]
    assert digests._differing(then, now) == ["target"]


def test_a_corrected_mask_counts_until_the_leg_is_finished(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("drawn")
    plain, drawn = (digests.digests([record(files, corrected=c)])["a"] for c in (None, tmp_path / "1.png"))
    for then, now in ((plain, drawn), (drawn, plain), (drawn, {**drawn, "corrected mask": "another"})):
        assert digests._differing(then, now, by_hand=True) == ["corrected mask"]
        assert digests._differing(then, now) == []
    assert digests._differing({}, drawn, by_hand=True) == []  # not used by the leg


def test_a_number_is_one_however_python_keeps_it(files: dict[str, Path]) -> None:
    for target, same in ((2, np.int64(2)), (0.5, np.float64(0.5)), ((0, 1), (np.int8(0), np.int8(1)))):
        one, other = (digests.digests([record(files, value)])["a"] for value in (target, same))
        assert one == other


def test_slices_share_the_files_of_their_volume(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []
    real = digests.digest
    monkeypatch.setattr(digests, "digest", lambda path: calls.append(path) or real(path))
    found = digests.digests([Record(f"a#{i}", "p", (files["t1.nii"],), files["mask.nii"], slice=i) for i in range(9)])
    assert len(found) == 9
    assert len(calls) == 2


def test_images_without_files_have_none(tmp_path: Path) -> None:
    assert digests.digests([Record("a", "p", (Path("7"),), 3)]) == {}


def test_a_record_of_an_older_version_is_still_compared() -> None:
    assert digests._differing({"image": "1", "mask": "2"}, {"image": "1", "image 2": "3", "mask": "x"}) == ["mask"]
