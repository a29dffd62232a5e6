"""Many images in bulk: any input in, masks on their images out; resumed, refused, and never ended by one bad file."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from relay.bulk import Outputs, Own, Settings, Summary, check_axes, listed, review, run, running, usual
from relay.bulk.looking import look
from relay.bulk.views import View, mirrors, views
from relay.config.devices import Devices
from relay.errors import DataError, UserError
from relay.leg import Progress, Vote, evaluate
from relay.predict import Model, predict_images
from tests.predict.test_image import OPTIONS, model
from tests.studies import study

CODES = [
    "".join(pair[sign] for pair, sign in zip(order, signs, strict=True))
    for order in itertools.permutations(("LR", "PA", "SI"))
    for signs in itertools.product((0, 1), repeat=3)
]
"""All 48 ways in which a volume's axes can run."""
GENERAL = {"study": "s", "leg": 1}


def own(**options: Any) -> Own:
    """A predictor of :func:`tests.predict.test_image.model`."""
    made = model(**options)
    made.leg.conf.predict.mirror = False
    net = made.net(Devices())
    return Own(Model("m", made.leg, 1, "a", dict(net.state_dict()), Path("x"), made=lambda: net), Devices(), GENERAL)


def done(
    predictor: Own, images: Path, out: Path, doubts: bool = False, **how: Any
) -> tuple[Summary, list[dict[str, str]]]:
    """Predict a folder; how it went, and the rows of the table."""
    outputs = Outputs(out, {"model": predictor.digest, "images": str(images), "settings": doubts})
    outputs.begin()
    wanted = listed(images, predictor, out)
    summary = run(predictor, wanted, outputs, Settings(doubts, **how), Progress(len(wanted)), None)
    with summary.table.open(newline="", encoding="utf-8") as file:
        return summary, list(csv.DictReader(file))


def volume(path: Path, seed: int = 0, shape: Sequence[int] = (5, 6, 7)) -> sitk.Image:
    """An oblique one."""
    scan = sitk.GetImageFromArray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))
    scan.SetSpacing((0.5, 0.75, 2.0))
    scan.SetOrigin((3.0, -4.0, 9.0))
    scan.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(scan, "SAR"), str(path))
    return sitk.ReadImage(str(path))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_masks_are_those_of_a_single_prediction_on_the_voxels_of_the_image(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    scan = volume(tmp_path / "in" / "sub" / "a.nii.gz")
    predictor = own(**options)
    summary, (row,) = done(predictor, tmp_path / "in", tmp_path / "out", doubts=True)
    assert (summary.images, summary.problems, row["file"], row["mask"]) == (
        1,
        [],
        "sub/a.nii.gz",
        "masks/sub/a.nii.gz",
    )
    mask = sitk.ReadImage(str(tmp_path / "out" / row["mask"]))
    map_ = sitk.ReadImage(str(tmp_path / "out" / row["map"]))
    for made in (mask, map_):
        for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(made, what)() == pytest.approx(getattr(scan, what)(), abs=1e-5)
    single, _ = predict_images(
        model(**options), [tmp_path / "in/sub/a.nii.gz"], tmp_path, Devices(), Progress(1), warn=pytest.fail
    )
    values = sitk.GetArrayFromImage(mask)
    assert np.array_equal(values, sitk.GetArrayFromImage(sitk.ReadImage(str(single))))
    for k in (1, 2):
        assert float(row[f"class {k} [ml]"]) == pytest.approx((values == k).sum() * 0.5 * 0.75 * 2 / 1000, rel=1e-5)
    doubt = sitk.GetArrayFromImage(map_)
    assert 0 <= doubt.min() < doubt.max() <= 1
    assert 0 < float(row["uncertainty"]) < 1
    assert (row["rank"], "review" in row) == ("1", False)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_large_volume_is_compared_in_parts_as_it_would_be_at_once(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume(path := tmp_path / "a.nii.gz")
    predictor = own(**options)
    predictor.start()
    image = predictor.prepare([path])
    whole = look(predictor, image, path, doubts=True)
    monkeypatch.setattr(evaluate, "SLAB", 1)
    parts = look(predictor, image, path, doubts=True)
    assert whole.mask is not None
    assert whole.doubt_map is not None
    assert parts.doubt_map is not None
    assert np.array_equal(whole.mask, parts.mask)
    assert np.allclose(whole.doubt_map, parts.doubt_map, atol=1e-6)
    assert whole.doubts == pytest.approx(parts.doubts)


@given(code=st.sampled_from(CODES), shape=st.tuples(*[st.integers(3, 7)] * 3), spacing=st.sampled_from((0.5, 1.0, 3.0)))
@settings(max_examples=8)
def test_a_mask_lies_on_its_image_in_every_orientation(
    code: str, shape: tuple[int, int, int], spacing: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("turned")
    scan = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    scan.SetSpacing((spacing, 1.0, 2.0))
    scan.SetOrigin((5.0, -6.0, 7.0))
    masks = {}
    for name, image in {"plain": scan, "turned": sitk.DICOMOrient(scan, code)}.items():
        (folder / name).mkdir()
        sitk.WriteImage(image, str(folder / name / "a.nii.gz"))
        _, (row,) = done(own(), folder / name, folder / f"{name}-out")
        masks[name] = sitk.ReadImage(str(folder / f"{name}-out" / row["mask"]))
        assert masks[name].GetDirection() == pytest.approx(image.GetDirection(), abs=1e-6)
        found = (sitk.GetArrayFromImage(masks[name]) == 1).sum()
        assert float(row["class 1 [ml]"]) == pytest.approx(found * spacing / 500)
    back = sitk.DICOMOrient(masks["turned"], "LPS")
    assert back.GetOrigin() == pytest.approx(scan.GetOrigin(), abs=1e-4)
    assert np.array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(masks["plain"]))


def test_a_run_is_resumed_and_what_is_damaged_is_made_again(tmp_path: Path) -> None:
    images, out = tmp_path / "in", tmp_path / "out"
    for k in range(4):
        volume(images / f"{k}.nii.gz", k)
    predictor = own()
    first, rows = done(predictor, images, out)
    masks = {path.name: path.read_bytes() for path in (out / "masks").iterdir()}
    assert (first.kept, len(rows), len(masks)) == (0, 4, 4)
    assert done(predictor, images, out)[0].kept == 4
    (out / "masks" / "0.nii.gz").write_bytes(b"damaged")
    (out / "records" / "1.json").write_text("{")
    volume(images / "2.nii.gz", 9)
    again, rows = done(predictor, images, out)
    assert again.kept == 1
    assert (out / "masks" / "0.nii.gz").read_bytes() == masks["0.nii.gz"]
    assert (out / "masks" / "2.nii.gz").read_bytes() != masks["2.nii.gz"], "another image of the same name"
    assert {row["model"] for row in rows} == {predictor.digest}
    other = own()
    other.digest = "another"
    with pytest.raises(UserError, match="holds predictions of another model"):
        done(other, images, out)
    with pytest.raises(UserError, match="holds predictions of other settings"):
        done(predictor, images, out, doubts=True)
    (out / "about.json").unlink()
    with pytest.raises(UserError, match="holds other things"):  # nothing says any more of which model they are
        done(other, images, out)


def test_an_interrupted_run_keeps_what_an_earlier_one_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = tmp_path / "in", tmp_path / "out"
    for k in range(3):
        volume(images / f"{k}.nii.gz", k)
    done(own(), images, out)
    (out / "records" / "1.json").unlink()

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "look", stop)
    with pytest.raises(KeyboardInterrupt):
        done(own(), images, out)
    with (out / "predictions.csv").open() as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["0.nii.gz", "2.nii.gz"]
    assert json.loads((out / "about.json").read_text())["counts"]["not reached"] == 1


def test_a_bad_file_ends_no_run(tmp_path: Path) -> None:
    images = tmp_path / "in"
    volume(images / "good.nii.gz")
    (images / "bad.nii.gz").write_bytes(b"no image")
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(images / "flat.png")
    summary, rows = done(own(), images, tmp_path / "out")
    said = {row["file"]: row["error"] for row in rows}
    assert (summary.images, len(summary.problems), said["good.nii.gz"]) == (3, 2, "")
    assert "bad.nii.gz" in said["bad.nii.gz"]
    assert "has 2 axes; the model takes volumes" in said["flat.png"]
    (images / "bad.nii.gz").unlink()
    (images / "flat.png").unlink()
    assert done(own(), images, tmp_path / "out")[0].problems == []
    (images / "good.nii.gz").write_bytes(b"not good any more")
    assert (tmp_path / "out" / "masks" / "good.nii.gz").exists()
    assert len(done(own(), images, tmp_path / "out")[0].problems) == 1
    assert not (tmp_path / "out" / "masks" / "good.nii.gz").exists(), "it was of another image"


def test_no_name_is_a_formula_for_a_spreadsheet(tmp_path: Path) -> None:
    volume(tmp_path / "in" / "=a.nii.gz")
    for _ in range(2):  # the second keeps what is finished
        summary, (row,) = done(own(), tmp_path / "in", tmp_path / "out")
        assert (row["file"], row["error"]) == ("'=a.nii.gz", "")
    assert summary.kept == 1


def test_a_picture_of_one_value_is_suspicious(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (60, 60), (9, 90, 200)).save(tmp_path / "in" / "a.png")
    _, (row,) = done(own(slices="axial", channels=3), tmp_path / "in", tmp_path / "out")
    assert (row["error"], row["notes"]) == ("", "every pixel has the same value")


def test_what_is_no_file_is_listed_with_its_reason(tmp_path: Path) -> None:
    images = tmp_path / "in"
    volume(images / "good.nii.gz")
    (images / "lost.nii.gz").symlink_to("gone.nii.gz")
    os.mkfifo(images / "pipe.nii.gz")
    (tmp_path / "elsewhere").mkdir()
    (images / "linked").symlink_to(tmp_path / "elsewhere")
    (images / "loop.nii.gz").symlink_to("loop.nii.gz")
    summary, rows = done(own(), images, tmp_path / "out")
    said = {row["file"]: row["error"] for row in rows}
    assert (summary.images, len(summary.problems), said.pop("good.nii.gz")) == (4, 3, "")
    warned: list[str] = []
    listed(images, own(), tmp_path / "out", warn=warned.append)
    assert warned == ["links to folders are not followed: linked. Predict what is in them apart, with another -o"]
    for name, why in (
        ("lost.nii.gz", "a link to a file that is not there: gone.nii.gz"),
        ("pipe.nii.gz", "not a file, but a pipe or a device"),
        ("loop.nii.gz", "ymbolic links"),
    ):
        assert why in said[name]
    with pytest.raises(UserError, match="not a file, but a pipe"):
        listed(images / "pipe.nii.gz", own(), tmp_path / "out")
    table = tmp_path / "list.csv"
    table.write_text("image\nin/good\nin/pipe.nii.gz\nin/lost.nii.gz\n")
    assert [bool(one.problem) for one in listed(table, own(), tmp_path / "out")] == [False, True, True]


def test_of_many_problems_the_first_are_on_the_screen(tmp_path: Path) -> None:
    for k in range(8):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{k}.nii.gz").write_bytes(b"no image")
    outputs = Outputs(tmp_path / "out", {})
    outputs.begin()
    progress = Mock(counted=lambda each, _: each)
    predictor = own()
    run(predictor, listed(tmp_path / "in", predictor, tmp_path / "out"), outputs, Settings(), progress, None)
    said = [call.args[0] for call in progress.say.call_args_list]
    assert [text[:14] for text in said[:5]] == ["Not predicted:"] * 5
    assert said[5:] == ["… and 3 more: see the column error of predictions.csv"]


def test_a_table_of_the_study_is_read_as_its_data_set_reads_it(tmp_path: Path) -> None:
    """Its columns and its folder are those of the config, and extensions may be left out."""
    volume(tmp_path / "scans" / "a.1.nii.gz")
    (tmp_path / "labels.csv").write_text("scan,kind\na.1,good\n")
    options = SimpleNamespace(image_columns=["scan"], image_dir="scans")
    (one,) = listed(tmp_path / "labels.csv", own(), tmp_path / "out", options=options)
    assert (one.files, one.said, one.problem) == ((tmp_path / "scans/a.1.nii.gz",), "a.1", "")
    volume(tmp_path / "a.1.nii.gz")
    for name in ("readme.png", "readme.jpg"):
        (tmp_path / name).touch()
    (one,) = listed(tmp_path / "labels.csv", own(), tmp_path / "out", options=options)
    assert (one.files, one.problem) == ((tmp_path / "scans/a.1.nii.gz",), ""), "not the image beside the table"
    (tmp_path / "a.1.nii.gz").unlink()
    (tmp_path / "labels.csv").write_text("scan,kind\na.1.nii.gz,good\n")
    (one,) = listed(tmp_path / "labels.csv", own(), tmp_path / "out", options=options)
    assert one.problem == ""
    (tmp_path / "labels.csv").write_text(f"scan,kind\n{'x' * 300},long\na\0b,odd\na.1,good\n")
    assert [bool(one.problem) for one in listed(tmp_path / "labels.csv", own(), tmp_path / "out", options=options)] == [
        True,
        True,
        False,
    ]
    (tmp_path / "labels.csv").write_text("scan,kind\na.1,good\n")
    volume(tmp_path / "scans" / "a.1.mha")
    (one,) = listed(tmp_path / "labels.csv", own(), tmp_path / "out", options=options)
    assert "files with the same name" in one.problem


def test_only_a_data_set_of_tables_says_where_a_tables_images_are(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("image\nmissing.png\n")
    options = SimpleNamespace(image_dir="image")  # the sub-folder of the data set ``folder``
    (one,) = listed(tmp_path / "new.csv", own(), tmp_path / "out", options=options)
    assert str(tmp_path / "missing.png") in one.problem


def test_the_folder_must_be_for_predictions_alone(tmp_path: Path) -> None:
    volume(tmp_path / "in" / "a.nii.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.docx").touch()
    with pytest.raises(UserError, match=r"out holds other things, such as thesis\.docx"):
        done(own(), tmp_path / "in", tmp_path / "out")
    inner, _ = done(own(), tmp_path / "in", tmp_path / "in" / "out")
    assert inner.images == 1
    assert done(own(), tmp_path / "in", tmp_path / "in" / "out")[0].images == 1, "outputs are no inputs"


def test_a_table_lists_channels_and_keeps_its_other_columns(tmp_path: Path) -> None:
    for name in ("a_t1", "a_t2", "b_t1"):
        volume(tmp_path / "scans" / f"{name}.nii.gz")
    table = tmp_path / "list.csv"
    table.write_text("id;t1;t2;notes\np1;scans/a_t1;scans/a_t2.nii.gz;64\np2;scans/b_t1;scans/none;70\np3;;;\n")
    predictor = own(channels=2)
    wanted = listed(table, predictor, tmp_path / "out", ["t1", "t2"])
    assert [one.problem.partition(":")[0] for one in wanted] == ["", "line 3", "line 4"]
    outputs = Outputs(tmp_path / "out", {})
    outputs.begin()
    summary = run(predictor, wanted, outputs, Settings(), Progress(3), None)
    rows = list(csv.DictReader(summary.table.open(newline="")))
    assert [(row["id"], row["given notes"], bool(row["error"])) for row in rows] == [
        ("p1", "64", False),
        ("p2", "70", True),
        ("p3", "", True),
    ]
    with pytest.raises(DataError, match="no column image; it has id, t1, t2, notes"):
        listed(table, predictor, tmp_path / "out")
    (tmp_path / "usual.csv").write_text("Age,File\n3,scans/a_t1\n")
    assert listed(tmp_path / "usual.csv", predictor, tmp_path)[0].files == (tmp_path / "scans/a_t1.nii.gz",)


def test_wrong_inputs_are_named(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "book.xlsx").touch()
    for name, said, cure in (
        ("none", "there are no images in", "Give a folder of images"),
        ("gone", "there is no such file or folder", "Check the path"),
        ("book.xlsx", "is a spreadsheet program's file", "Save it as CSV"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            listed(tmp_path / name, own(), tmp_path / "out")
        assert cure in caught.value.advice()


def test_a_model_for_volumes_takes_no_folder_of_pictures(tmp_path: Path) -> None:
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "a.png")
    wanted = listed(tmp_path, own(), tmp_path / "out")
    with pytest.raises(UserError, match=r"takes volumes \(3 axes\), but each of these 1 images has 2 axes"):
        check_axes(wanted, own().axes)
    check_axes(wanted, own(slices="axial").axes)
    volume(tmp_path / "b.nii.gz")
    check_axes(listed(tmp_path, own(), tmp_path / "out"), own().axes)


def test_voxels_unlike_those_of_the_training_images_are_told(tmp_path: Path) -> None:
    known = [(1.0, 1.2), (1.0, 1.0)]
    assert usual.doubt_about((1.5, 0.7), known) == ""
    assert usual.doubt_about(None, known) == usual.doubt_about((9.0, 9.0), None) == ""
    told = "its voxels are 1 × 2 mm, those of the training images 1 to 1.2 × 1 mm: resample it, or look twice"
    assert usual.doubt_about((1.0, 2.0), known) == told
    assert usual.usual_spacing(study()) is None, "drawn images have none"
    volume(tmp_path / "in" / "a.nii.gz")
    summary, (row,) = done(own(), tmp_path / "in", tmp_path / "out", usual=[(0.5, 0.5)] * 3)
    assert (summary.noted, row["notes"][:26]) == (1, "its voxels are 2 × 0.75 × ")


def test_a_small_sites_voxels_are_known_as_well_as_a_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 images of a site and 2 of another, one is 5 mm thick: it is one of those two."""

    def made(site: str, mm: float) -> tuple[Mock, Mock]:
        dataset = Mock()
        dataset.options.task_name = site
        return dataset, Mock(image=mm)

    images = [*(made("large", 1.0) for _ in range(200)), made("small", 1.0), made("small", 5.0)]
    monkeypatch.setattr(usual, "samples", lambda *_: iter(images))
    read: list[float] = []
    monkeypatch.setattr(usual, "_spacing", lambda mm: read.append(mm) or (mm, mm))
    assert usual.usual_spacing(study()) == [(1.0, 5.0), (1.0, 5.0)]
    assert len(read) <= usual.MOST + 2
    assert [len(usual.evenly(range(many), 32)) for many in (0, 1, 32, 33, 64, 65)] == [0, 1, 32, 17, 32, 22]


def test_a_try_that_predicted_nothing_does_not_claim_its_folder(tmp_path: Path) -> None:
    bad, good, out = tmp_path / "bad", tmp_path / "good", tmp_path / "out"
    bad.mkdir()
    (bad / "a.png").write_text("a letter")
    summary, rows = done(own(slices="axial"), bad, out)
    assert (len(summary.problems), len(rows)) == (1, 1)
    volume(good / "a.nii.gz")
    summary, (row,) = done(own(slices="axial"), good, out, doubts=True)
    assert (summary.problems, row["mask"]) == ([], "masks/a.nii.gz")
    assert json.loads((out / "about.json").read_text())["images"] == str(good)
    with pytest.raises(UserError, match="holds predictions of other images"):
        done(own(slices="axial"), bad, out)


def test_a_table_whose_records_were_moved_away_is_not_replaced(tmp_path: Path) -> None:
    volume(tmp_path / "good" / "a.nii.gz")
    done(own(slices="axial"), tmp_path / "good", tmp_path / "out")
    table = (tmp_path / "out" / "predictions.csv").read_text()
    for path in (tmp_path / "out").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    volume(tmp_path / "more" / "b.nii.gz")
    with pytest.raises(UserError, match="holds predictions of other images"):
        done(own(slices="axial"), tmp_path / "more", tmp_path / "out")
    assert (tmp_path / "out" / "predictions.csv").read_text() == table


def test_a_file_of_the_same_name_that_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "about.json").write_text('{"author": "somebody"}')
    with pytest.raises(UserError, match="holds predictions of another model"):
        Outputs(tmp_path, {"model": "m", "images": "i"}).begin()
    assert (tmp_path / "about.json").read_text() == '{"author": "somebody"}'


def test_a_folder_in_place_of_the_record_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "out" / "about.json").mkdir(parents=True)
    with pytest.raises(UserError, match=r"holds other things, such as about\.json"):
        Outputs(tmp_path / "out", {}).begin()


def test_every_image_has_a_name_of_its_own(tmp_path: Path) -> None:
    long = "x" * 230
    for name in ("a.png", "a.jpg", "A.bmp", "b/a.png", "c_0000.png", f"{long}.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / name)
    predictor = own(slices="axial")
    found = {one.said: one.name for one in listed(tmp_path, predictor, tmp_path / "out")}
    assert len(found.pop(f"{long}.png")) < 100
    assert found == {"a.png": "a.png", "a.jpg": "a.jpg", "A.bmp": "A.bmp", "b/a.png": "b/a", "c_0000.png": "c_0000"}


def test_a_picture_without_a_pixel_size_is_counted_in_pixels(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 8)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # taken sideways
    picture.save(tmp_path / "in" / "a.png", exif=exif)
    _, (row,) = done(own(slices="axial"), tmp_path / "in", tmp_path / "out", doubts=True)
    mask, doubt = (Image.open(tmp_path / "out" / row[kind]) for kind in ("mask", "map"))
    assert mask.size == doubt.size == picture.size
    assert mask.getexif()[0x0112] == doubt.getexif()[0x0112] == 6
    assert float(row["class 1 [pixels]"]) == (np.array(mask) == 1).sum()
    assert doubt.mode == "L"


@pytest.mark.parametrize("axes", [2, 3])
def test_views_go_back_where_they_came_from(axes: int) -> None:
    image = np.random.default_rng(0).random((*(9, 8, 7)[:axes], 2))
    for view in [*views(axes, mirror=True), *views(axes, mirror=False)]:
        back = view.back(np.moveaxis(view.of(image), -1, 0), axes)
        inner = (slice(2, -2),) * axes
        assert np.array_equal(np.moveaxis(back, 0, -1)[inner], image[inner])
        assert view.back(np.arange(3), axes).tolist() == [0, 1, 2]
    assert views(axes, mirror=True)[0] == views(axes, mirror=False)[0] == View()


def test_other_processes_do_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process is sent, and does, in this one."""
    volume(tmp_path / "in" / "a.nii.gz")
    here = running._Work(own(), Outputs(tmp_path / "here", {}), Settings())
    there = replace(here, outputs=Outputs(tmp_path / "there", {}))
    (wanted,) = listed(tmp_path / "in", here.predictor, tmp_path / "out")
    here.predictor.start()
    monkeypatch.setattr(running, "signal", Mock())
    monkeypatch.setattr(running, "_here", [])
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(running.os, "umask", lambda mask: None)
    running._begin(running._sent(there), 1)
    assert running._do(wanted) == here.do(wanted)
    here.predictor.net.hook = lambda: None
    with pytest.raises(UserError, match="can't be sent to other processes"):
        running._sent(here)


@pytest.mark.slow
def test_several_processes_predict(tmp_path: Path) -> None:
    for k in range(5):
        volume(tmp_path / "in" / f"{k}.nii.gz", k)
    (tmp_path / "in" / "2.nii.gz").write_bytes(b"")
    one, _ = done(own(), tmp_path / "in", tmp_path / "one")
    two, _ = done(own(), tmp_path / "in", tmp_path / "two", jobs=2)
    assert (two.images, len(two.problems)) == (5, 1)
    assert one.table.read_text() == two.table.read_text()


def test_only_what_mirrors_all_axes_allows_mirror_images() -> None:
    assert mirrors("flip")
    assert mirrors([{"name": "OneOf", "kwargs": {"transforms": ["colour", "light"]}}])
    assert not mirrors("colour")
    assert not mirrors("none")


def test_experts_that_disagree_raise_the_doubt(tmp_path: Path) -> None:
    """Two experts with the same weights say the same; two that differ don't."""
    volume(tmp_path / "in" / "a.nii.gz")
    found = []
    for seed in (0, 1):
        predictor = own()
        torch.manual_seed(seed)
        other = torch.nn.Conv3d(1, 3, 3, padding=1)
        predictor.net = Vote({"a": own().net, "b": other}, task=predictor.task)
        predictor.digest = str(seed)
        _, (row,) = done(predictor, tmp_path / "in", tmp_path / f"out{seed}", doubts=True)
        found.append(float(row["uncertainty"]))
        assert row["unlike"] == ""
    assert found[0] < found[1]


def test_the_threshold_flags_few_of_what_is_like_the_validation_images() -> None:
    doubts = list(np.random.default_rng(0).random(39))
    found = review.threshold_of(doubts)
    assert (found.value, found.share) == (sorted(doubts)[37], 0.05)
    few = review.threshold_of([0.2, 0.1])
    assert (few.value, few.share) == (0.2, 0.3333)
    draw, flagged = np.random.default_rng(1), []
    for _ in range(500):  # whatever the doubts are distributed like
        *known, new = draw.gamma(0.5, size=40)
        flagged.append(new > review.threshold_of(known).value)
    assert 0.03 < np.mean(flagged) < 0.07


def test_an_image_is_as_doubtful_as_its_most_doubtful_slice() -> None:
    doubts = {"a": (0.1,), "b": (), "c": (0.3, 0.1), "d": (0.3,)}
    rows: list[dict[str, Any]] = [{"file": file, "uncertainty": one} for file, all_ in doubts.items() for one in all_]
    rows.append({"file": "b"})
    review.reviewed(rows, review.threshold_of([0.2, 0.1]))
    assert [(row["file"], row.get("rank"), row.get("review")) for row in rows] == [
        ("a", 3, "no"),
        ("c", 1, "yes"),
        ("c", 1, "yes"),
        ("d", 1, "yes"),
        ("b", None, None),
    ]
