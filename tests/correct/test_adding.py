"""Corrected masks: versions beside the stored ones, in the image's geometry; training images use the newest."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from datasets.folder import Folder, FolderOptions
from relay.bundle import documents
from relay.correct import Target, add, mask_from, start_of
from relay.data import Corrections, Record, kept, prepare
from relay.errors import DataError, UserError
from relay.leg import handover_writer
from relay.trust import Policy
from tests.strategies.toys import SMALL
from tests.studies import study


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target.of(study(**SMALL), tmp_path, "clinic_a")


def corrected(target: Target, name: str, by: str = "Dr. Who") -> np.ndarray:
    """Add a version with one more voxel of the last class; return the mask."""
    sample = target.images[name]
    before, source = start_of(target, sample)
    mask = before.copy()
    mask.flat[np.flatnonzero(mask != 2)[0]] = 2
    add(target, sample, mask, by, source, before)
    return mask


def test_versions_follow_each_other_and_say_who_changed_what(target: Target) -> None:
    stored = target.stored.original(target.images["p0001_left"]).target.copy()
    masks = [stored, corrected(target, "p0001_left"), corrected(target, "p0001_left", by="Dr. No")]
    one, two = target.store.history("p0001_left")
    assert [(one.version, one.by, one.source), (two.version, two.by, two.source)] == [
        (1, "Dr. Who", "stored"),
        (2, "Dr. No", "version 1"),
    ]
    assert target.store.newest("p0001_left") == two
    for number, made in enumerate((one, two), 1):
        assert np.array_equal(target.store.mask(made, 3), masks[number])
        assert made.changed["cup"] == {"added": 1, "removed": 0}
        assert sum(each["removed"] for each in made.changed.values()) == 1
    assert np.array_equal(target.stored.original(target.images["p0001_left"]).target, stored)
    assert stat.S_IMODE(target.folder.stat().st_mode) == 0o700
    assert target.store.history("p0001_right") == []


def test_only_training_images_use_corrected_masks_unless_a_person_says_otherwise(target: Target) -> None:
    dealt = prepare(target.stored, 7).split
    names = {part: dealt[part][0].id for part in ("train", "val", "test")}
    masks = {name: corrected(target, name) for name in names.values()}
    for scored, parts in ((False, {"train"}), (True, {"train", "val", "test"})):
        site = prepare(target.corrected, 7, score_corrected=scored)
        for part, name in names.items():
            index = [sample.id for sample in site.split[part]].index(name)
            used = np.array_equal(site.store(part)[index][1], masks[name])  # type: ignore[arg-type]
            assert used == (part in parts)
    assert not any(sample.corrected for sample in prepare(target.stored, 7).split.train)
    assert site.split.to_json() == dealt.to_json()


def test_the_data_card_counts_them_if_the_config_asks_for_them(target: Target) -> None:
    for name in [name for name, split in target.splits.items() if split == "train"][:3]:
        corrected(target, name)
    corrected(target, next(name for name, split in target.splits.items() if split == "val"))
    card = handover_writer.data_card(target.leg, [prepare(target.corrected, 7)])
    assert card["corrected"] == 3
    assert documents.disclosed_card(card, Policy(sample_counts="rounded"))["corrected"] == documents.SMALLEST
    assert "corrected" not in handover_writer.data_card(target.leg, [prepare(target.stored, 7)])


def test_the_cache_tells_versions_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SETTLED", 0.0)
    dataset, _ = volumes(tmp_path)
    sample = dataset.volumes[0]
    (tmp_path / "1.nii.gz").write_bytes(b"1")
    assert kept.keys_of([sample]) != kept.keys_of([replace(sample, corrected=tmp_path / "1.nii.gz")])


@pytest.mark.parametrize(
    ("by", "changed", "said"),
    [
        ("", True, "can't be the name of a person"),
        ("x" * 101, True, "can't be the name"),
        ("a\x1b[1m", True, "can't be the name"),
        ("Dr. Who", False, r"is the same as before \(stored\): no version was added"),
    ],
)
def test_what_says_nothing_is_no_version(by: str, changed: bool, said: str, target: Target) -> None:
    sample = target.images["p0000_left"]
    before, source = start_of(target, sample)
    mask = np.zeros_like(before) if changed else before
    with pytest.raises(UserError, match=said):
        add(target, sample, mask, by, source, before)
    assert target.store.history(sample.id) == []


def test_a_mask_of_another_size_or_of_unknown_classes_is_refused(target: Target) -> None:
    sample = target.images["p0000_left"]
    before, source = start_of(target, sample)
    with pytest.raises(DataError, match=r"size 3×4, but its image .* has 16×16"):
        add(target, sample, np.zeros((3, 4), np.uint8), "x", source, before)
    with pytest.raises(DataError, match="class 5 does not exist; the last is 2"):
        add(target, sample, before + 3, "x", source, before)


def test_a_confirmed_prediction_is_a_version(target: Target) -> None:
    sample = target.images["p0000_left"]
    before, _ = start_of(target, sample)
    assert add(target, sample, before, "x", "prediction 0", before).changed == {}
    with pytest.raises(UserError, match="same as before"):
        add(target, sample, before, "x", "prediction 0", before)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("1.json", "{", r"1\.json is damaged"),
        ("1.json", "{}", "'image' is missing or has the wrong type"),
        ("1.json", {"version": 2}, "it is of version 2 of p0000_left"),
        ("1.json", {"mask": "../x.png"}, r"it names the mask \.\./x\.png"),
        ("1.png", "x", r"1\.png is damaged: its digest differs from the one in 1\.json"),
        ("1.png", None, r"1\.png can't be read: No such file"),
    ],
)
def test_a_damaged_version_is_named_before_it_is_trained_on(file: str, text: object, said: str, target: Target) -> None:
    corrected(target, "p0000_left")
    path = target.store.of("p0000_left") / file
    if text is None:
        path.unlink()
    elif isinstance(text, dict):
        path.write_text(json.dumps(json.loads(path.read_text()) | text))
    else:
        path.write_text(str(text))
    with pytest.raises(DataError, match=said) as caught:
        _ = target.corrected.listing
    assert "Restore it from a backup" in caught.value.advice()


def test_an_unfinished_version_does_not_count_and_is_replaced(target: Target) -> None:
    place = target.store.of("p0000_left")
    place.mkdir(parents=True)
    (place / "1.png").write_bytes(b"half")
    assert target.store.history("p0000_left") == []
    mask = corrected(target, "p0000_left")
    assert np.array_equal(target.store.mask(target.store.history("p0000_left")[0], 3), mask)


def test_versions_of_another_image_are_refused(target: Target) -> None:
    corrected(target, "p0000_left")
    shutil.copytree(target.store.of("p0000_left"), target.store.of("p0000_right"))
    with pytest.raises(UserError, match="it is of version 1 of p0000_left"):
        target.store.newest("p0000_right")


def volumes(folder: Path, **options: object) -> tuple[Folder, Target]:
    """Three oblique volumes, stored the wrong way round, with masks of 0 and 255; and where their corrections are."""
    for number in range(3):
        scan = sitk.GetImageFromArray(np.random.default_rng(number).integers(0, 99, (4, 5, 6)).astype(np.int16))
        scan.SetSpacing((0.5, 0.75, 2.0))
        scan.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix())
        scan = sitk.DICOMOrient(scan, "RAS")
        for part, image in (("image", scan), ("mask", sitk.Cast(scan > 50, sitk.sitkUInt8) * 255)):
            (folder / "data" / part).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(folder / "data" / part / f"p{number}.nii.gz"))
    given = {"task_id": 1, "task_name": "a", "num_classes": 2, "channels": 1, "mask_values": [0, 255]}
    dataset = Folder(FolderOptions(root_path=str(folder / "data"), **given, **options))  # type: ignore[arg-type]
    leg = study(**SMALL).legs[0]
    return dataset, Target(replace(leg, pool=(dataset,)), folder / "corrections")


@pytest.mark.parametrize("slices", [None, "coronal"])
def test_a_volume_is_corrected_in_its_own_geometry(slices: str | None, tmp_path: Path) -> None:
    dataset, target = volumes(tmp_path, slices=slices)
    sample = target.image(str(tmp_path / "data/image/p1.nii.gz"))
    given = sitk.ReadImage(str(sample.mask))
    given[1, 2, 3] = 255 - given[1, 2, 3]
    sitk.WriteImage(given, str(tmp_path / "mine.mha"))
    drawn = mask_from(target, sample, tmp_path / "mine.mha", indices=False)
    before, source = start_of(target, sample)
    made = add(target, sample, drawn, "x", source, before)
    kept = sitk.ReadImage(str(target.store.path(made)))
    assert kept.GetDirection() == pytest.approx(given.GetDirection(), abs=1e-6)
    assert np.array_equal(sitk.GetArrayFromImage(kept) * 255, sitk.GetArrayFromImage(given))
    assert sum(sum(each.values()) for each in made.changed.values()) == 2
    found = [target.corrected.original(each) for each in target.corrected.listing if each.id.startswith("p1")]
    plain = [dataset.original(each) for each in dataset.listing if each.id.startswith("p1")]
    assert sum(int((a.target != b.target).sum()) for a, b in zip(found, plain, strict=True)) == 1
    assert set(target.splits) == set(target.images) == {"p0", "p1", "p2"}


def test_a_drawn_mask_is_checked_as_the_data_sets_are(tmp_path: Path) -> None:
    _, target = volumes(tmp_path)
    sample = target.image("p0")
    ones = sitk.ReadImage(str(sample.mask)) / 255
    sitk.WriteImage(ones, str(tmp_path / "ones.nii.gz"))
    with pytest.raises(DataError, match="values 1 are not classes; expected: 0, 255") as caught:
        mask_from(target, sample, tmp_path / "ones.nii.gz", indices=False)
    assert "add --indices" in caught.value.advice()
    assert mask_from(target, sample, tmp_path / "ones.nii.gz", indices=True).max() == 1
    ones.SetOrigin((9, 9, 9))
    sitk.WriteImage(ones, str(tmp_path / "moved.nii.gz"))
    with pytest.raises(DataError, match=r"origin .* but that of its image is"):
        mask_from(target, sample, tmp_path / "moved.nii.gz", indices=True)


def test_a_picture_taken_sideways_gets_a_mask_that_lies_on_it(tmp_path: Path) -> None:
    for part in ("image", "mask"):
        (tmp_path / "data" / part).mkdir(parents=True)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / f"data/{part}/p.png", exif=exif)
    options = FolderOptions(task_id=1, task_name="a", num_classes=2, channels=1, root_path=str(tmp_path / "data"))
    target = Target(replace(study(**SMALL).legs[0], pool=(Folder(options),)), tmp_path / "corrections")
    before, source = start_of(target, target.image("p"))
    mask = np.zeros((6, 4), np.uint8)
    mask[5, 0] = 1
    made = add(target, target.image("p"), mask, "x", source, before)
    assert np.array_equal(target.corrected.original(target.corrected.listing[0]).target, mask)
    assert Image.open(target.store.path(made)).size == (6, 4)


def test_an_image_is_found_by_id_or_file_or_not_at_all(target: Target) -> None:
    assert target.image("p0003_left").id == "p0003_left"
    with pytest.raises(UserError, match="has no image 'p9'") as caught:
        target.image("p9")
    assert "p0000_right" in caught.value.advice()


@pytest.mark.parametrize(
    ("site", "said"),
    [(None, "tiny has 2 sites: clinic_a, clinic_b"), ("nowhere", "tiny has no site 'nowhere'")],
)
def test_the_site_must_be_clear(site: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        Target.of(study(**SMALL), tmp_path, site)


def test_the_option_says_where_corrections_are(tmp_path: Path) -> None:
    given = study(**SMALL, **{"all_tasks_datasets.0.kwargs.corrections": str(tmp_path / "mine")})
    assert Target.of(given, tmp_path / "exps", "clinic_a").folder == tmp_path / "mine"
    assert Target.of(given, tmp_path / "exps", "clinic_b").folder == tmp_path / "exps/corrections/clinic_b"


def test_ids_lead_nowhere_else(tmp_path: Path) -> None:
    for name in ("../../x", "/etc/x", ".."):
        assert Corrections(tmp_path).of(name).resolve().is_relative_to(tmp_path.resolve())
        assert Record(name, "p", (Path(),)).corrected is None
