"""Results on the page: a real tiny run, its report, its scores, its images in the viewer; and new images, predicted."""

from __future__ import annotations

import errno
import io
import json
import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from rich.console import Console

from relay.app.jobs import Job
from relay.app.runs import scored
from relay.app.uploads import Predicted, in_its_format, keep, plain_name, predicted
from relay.app.viewing import Recent, of_file, truth_of, viewed
from relay.config import Devices
from relay.data import DatasetOptions, Record
from relay.errors import UserError
from relay.predict import Testing, images_in, models, predict_study
from relay.predict.masks import COLOURS, save_mask
from relay.results import read_rows
from tests.app.conftest import Browser, Opened
from tests.dicoms import series
from tests.studies import finished, given, study

RUN = "exps/study/first"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with a config and its run: two legs, tested, with masks, and something for a report."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "configs").mkdir()
    (folder / "configs/study.yaml").write_text(json.dumps(given()))
    run = finished(folder / RUN)
    (run / "config.given.yaml").write_text(json.dumps(given()))
    found = models.finished(study(), run)
    predict_study(study(), found, run / "results", run, Devices(), Console(quiet=True), Testing(save=True, workers=0))
    (run / "results/report.html").write_text("<h1>Report</h1><script>alert(1)</script>")  # what must not happen
    return folder


@pytest.fixture
def page(work: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Browser:
    monkeypatch.chdir(work)
    return opened(cwd=work)


def worst(page: Browser) -> tuple[str, str]:
    """Site and sample of the first link to an image."""
    found = re.search(
        r"/results/case\?run=[^&]+&amp;site=([^&]+)&amp;sample=([^\"]+)", page.get(f"/results/run?run={RUN}").text
    )
    assert found
    return found[1], found[2]


def test_a_run_shows_its_report_its_models_and_its_worst_images(page: Browser, work: Path) -> None:
    assert f'href="/results/run?run={RUN}"' in page.get("/results").text
    text = page.get(f"/results/run?run={RUN}").text
    for said in ("leg 1, clinic_a, generalist", "leg 2, clinic_b, generalist", 'sandbox src="/results/report?run='):
        assert said in text
    model = next(m for m in scored(work / RUN) if m.label == "leg 2, clinic_b, generalist")
    scores = [case["score"] for case in model.worst()]
    assert scores == sorted(scores)
    rows = read_rows(work / RUN / "results/scores.csv")
    assert len(scores) == len({(row["site"], row["sample"]) for row in rows if row["leg"] == 2})
    assert worst(page) == (model.worst()[0]["site"], quote(model.worst()[0]["sample"]))
    other = page.get(f"/results/run?run={RUN}&model=leg 1, clinic_a, generalist").text
    assert "Of the model: leg 1, clinic_a, generalist" in other


def test_a_report_can_reach_nothing_and_runs_no_script(page: Browser) -> None:
    report = page.desk.cwd / RUN / "results/report.html"
    report.rename(aside := report.with_name("aside.html"))
    (page.desk.home / "secret").write_text("secret")
    report.symlink_to(page.desk.home / "secret")
    assert page.get(f"/results/report?run={RUN}").status_code == 422
    aside.replace(report)
    answer = page.get(f"/results/report?run={RUN}")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert "script" not in policy
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "<h1" in answer.text


def test_an_image_is_shown_with_its_truth_and_each_models_mask(page: Browser, work: Path) -> None:
    site, sample = worst(page)
    shown = page.get(f"/results/case?run={RUN}&site={site}&sample={sample}").text
    source = re.search(r'data-source="([^"]+)"', shown)
    assert source
    address = source[1].replace("&amp;", "&")
    about = page.get(address).json()
    assert (about["shape"], about["colour"], about["masks"]) == ([1, 32, 32], True, ["truth", "task_1", "task_2"])
    assert (about["labels"]["task_2"], about["best"]) == ("leg 2, clinic_b, generalist", "task_2")
    assert about["scores"].keys() == {"task_1", "task_2"}
    assert about["scores"]["task_2"].startswith("Dice 0.")
    assert about["classes"] == ["background", "class 1", "class 2"] or len(about["classes"]) == 3
    assert len(page.get(f"{address}&axis=0&at=0").content) == 32 * 32 * 3
    mask = np.frombuffer(page.get(f"{address}&axis=0&at=0&mask=task_2").content, np.uint8).reshape(32, 32)
    with Image.open(work / RUN / f"results/predictions/task_2/{site}/{sample}.png") as saved:
        assert (np.asarray(saved) == mask).all()


OUTSIDE = ("../..", "exps", "/etc", "exps/../configs", "exps/study/none", "\x00")


@pytest.mark.parametrize("path", ["/results/run", "/results/report", "/results/case", "/results/case/data"])
def test_nothing_outside_is_opened(path: str, page: Browser) -> None:
    for run in OUTSIDE:
        answer = page.get(path, params={"run": run, "site": "clinic_a", "sample": "../../x"})
        assert answer.status_code == 422, run
    for more in ({"site": "../.."}, {"sample": "../../../etc/passwd"}, {"at": "9"}, {"at": "0", "mask": "../x"}):
        site, sample = worst(page)
        asked = {"run": RUN, "site": site, "sample": sample, **more}
        assert page.get("/results/case/data", params=asked).status_code == 422


# -- new images ------------------------------------------------------------------------------------------------------


def png(value: int = 0) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), value, np.uint8)).save(data, "PNG")
    return data.getvalue()


def dropped(page: Browser, *names: str, **fields: str) -> Any:
    files = [("files", (name, png(n), "image/png")) for n, name in enumerate(names)]
    return page.post("/results/predict", {"run": RUN, "which": "generalist", **fields}, files=files)


def test_dropped_images_are_predicted_in_a_private_folder(page: Browser, queued: list[Any]) -> None:
    answer = dropped(page, "a b/ä'<i>.png", "a b/../../../etc/x.png", "-c.png")
    assert answer.headers["location"] == "/results/predicted/1"
    ((words, _, light),) = queued
    assert (words[:6], light) == (("predict", "-c", "study", "-n", "first", "--model=generalist"), False)
    folders = [Path(word) for flag, word in pairwise(words) if flag == "--image"]
    assert len(folders) == 3
    root = page.desk.home / "page/uploads"
    assert all(folder.resolve().is_relative_to(root) for folder in folders)
    assert sorted(path.name for folder in folders for path in folder.iterdir()) == ["02_x.png", "03_c.png", "i_.png"]
    assert {path.stat().st_mode & 0o077 for path in [page.desk.home]} == {0}


def test_what_can_not_be_predicted_is_said(page: Browser, queued: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no files were given" in page.post("/results/predict", {"run": RUN}).text
    assert "is not a run" in dropped(page, "x.png", run="exps/none").text
    monkeypatch.setattr("relay.app.uploads.MOST_BYTES", 10)
    answer = dropped(page, "x.png")
    assert (answer.status_code, "Drop fewer at once" in answer.text) == (422, True)
    assert not queued


def test_a_name_is_made_harmless() -> None:
    assert plain_name("../../x") == "x"
    assert plain_name("..") == "image"
    assert plain_name("a\r\nb.nii.gz") == "a_b.nii.gz"
    assert plain_name("-rf.png", 2) == "02_rf.png"
    assert len(plain_name("x" * 500 + "_0001.nii.gz")) < 50
    assert plain_name("x" * 500 + "_0001.nii.gz").endswith("_0001.nii.gz")


def test_files_of_one_name_stay_apart(tmp_path: Path) -> None:
    folders = keep(tmp_path, [(name, io.BytesIO(b"x")) for name in ("a/x.png", "b/x.png", "a/x.png", "b\\x.png")])
    names = sorted(path.name for folder in folders for path in folder.iterdir())
    assert names == ["02_x-1.png", "02_x.png", "x-1.png", "x.png"]
    with pytest.raises(UserError, match="no files"):
        keep(tmp_path, [])


def test_what_was_copied_before_the_disk_was_full_is_removed(page: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Any, target: Any, length: int) -> None:
        target.write(b"1")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("relay.app.uploads.shutil.copyfileobj", full)
    answer = page.post("/results/predict", {"run": RUN}, files={"files": ("a.png", b"123")})
    assert (answer.status_code, "the disk is full" in answer.text) == (422, True)
    assert not [path for path in (page.desk.home / "page/uploads").rglob("*") if path.is_file()]


def test_a_dropped_series_is_one_image(tmp_path: Path) -> None:
    stored = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    files = [*series(tmp_path / "ct", stored).iterdir()]
    folders = keep(tmp_path / "up", [(f"Doe, J/ct/{path.name}", io.BytesIO(path.read_bytes())) for path in files])
    (image,) = images_in(folders)
    assert image.name == "01_ct"
    mask = save_mask((stored % 2).astype(np.uint8), image, tmp_path / "01_ct-0a1b2c3d_mask")
    shown = of_file(image, mask, ["background"])
    assert (shown.about["shape"], shown.about["classes"]) == ((5, 6, 7), ["background", "class 1"])
    assert in_its_format(Predicted(image, mask))[0] == "01_ct_mask.nii.gz"


@pytest.fixture
def job(page: Browser, work: Path) -> Job:
    """A job that has predicted two of three dropped images, by what it printed; its masks are as relay writes them."""
    folders = keep(
        page.desk.home / "page/uploads", [(name, io.BytesIO(png())) for name in ("b.png", "a.png", "z/a.png")]
    )
    lines = []
    for folder, name in ((folders[0], "a.png"), (folders[1], "02_a.png")):
        mask = work / f"exps/{name}-0a1b2c3d_mask.png"
        Image.fromarray(np.eye(32, dtype=np.uint8) * (1 + (folder != folders[0]))).save(mask)
        lines += [f"Written: exps/{mask.name}", f"Written: exps/{name}-0a1b2c3d_overlay.png"]
    place = page.desk.jobs.root / "000001"
    place.mkdir(parents=True)
    words = ["predict", "-c", "study", *(word for folder in folders for word in ("--image", str(folder)))]
    about = {
        "number": 1,
        "title": "x",
        "words": words,
        "cwd": str(work),
        "light": False,
        "secret": False,
        "created": "",
    }
    (place / "job.json").write_text(json.dumps(about))
    (place / "state.json").write_text(json.dumps({"state": "done", "code": 0}))
    (place / "output.txt").write_text("\n".join(lines) + "\n")
    return page.desk.jobs.job(1)


def test_each_mask_is_shown_with_its_own_image(page: Browser, job: Job) -> None:
    found = predicted(job)
    assert [one.image.name for one in found] == ["a.png", "02_a.png"]
    text = page.get("/results/predicted/1").text
    assert "/results/predicted/1/1/mask" in text
    assert "b.png" not in text.partition("<main")[2].partition("<table>")[2]
    about = page.get("/results/predicted/1/1/data?").json()
    assert (about["shape"], about["masks"]) == ([1, 32, 32], ["prediction"])
    mask = np.frombuffer(page.get("/results/predicted/1/1/data?axis=0&at=0&mask=prediction").content, np.uint8)
    assert mask.max() == 2
    answer = page.get("/results/predicted/1/0/mask")
    assert answer.headers["content-disposition"] == 'attachment; filename="a_mask.png"'
    assert page.get("/results/predicted/1/2/mask").status_code == 422


def test_dropped_images_are_deleted_with_what_was_predicted(page: Browser, job: Job, work: Path) -> None:
    (overlay := work / "exps/a.png-0a1b2c3d_overlay.png").write_bytes(b"it shows the image")
    (other := work.parent / "other.png").write_bytes(b"")
    with (job.folder / "output.txt").open("a") as file:
        file.write("Written: ../other.png\n")
    (job.folder / "state.json").write_text('{"state": "waiting"}')
    with FileLock(job.folder / "lock"):
        assert page.post("/results/predicted/1/delete").status_code == 422
    (job.folder / "state.json").write_text('{"state": "done"}')
    assert "Delete these images" in page.get("/results/predicted/1").text
    assert page.post("/results/predicted/1/delete").headers["location"] == "/results/predicted/1"
    assert list((page.desk.home / "page/uploads").iterdir()) == []
    assert not overlay.exists()
    assert not list((work / "exps").glob("*_mask.png"))
    assert other.exists()
    assert "These images are deleted" in page.get("/results/predicted/1").text


def test_a_job_of_another_kind_shows_no_images(page: Browser, job: Job) -> None:
    assert page.post("/results/predicted/1/delete", {"form_token": "x"}).status_code == 422
    path = page.desk.jobs.root / "000001/job.json"
    path.write_text(path.read_text().replace("page/uploads/", "page/other/"))
    assert page.get("/results/predicted/1").status_code == 422


@pytest.mark.parametrize(
    ("image", "mask", "name"),
    [
        ("scan.nii.gz", "nii.gz", "scan_mask.nii.gz"),
        ("scan.mha", "nii.gz", "scan_mask.mha"),
        ("scan.nrrd", "nii.gz", "scan_mask.nrrd"),
        ("1.2.840.113", "nii.gz", "1.2.840.113_mask.nii.gz"),
        ("eye.tif", "png", "eye_mask.tif"),
        ("eye.JPG", "png", "eye_mask.png"),
    ],
)
def test_a_mask_comes_back_in_its_images_format(image: str, mask: str, name: str, tmp_path: Path) -> None:
    import SimpleITK as sitk

    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3
    path = tmp_path / "01" / f"m.{mask}"
    path.parent.mkdir()
    if mask == "png":
        values = values[0]
        coloured = Image.fromarray(values, mode="P")
        coloured.putpalette(COLOURS)
        coloured.save(path)
    else:
        volume = sitk.GetImageFromArray(values)
        volume.SetSpacing((0.5, 0.5, 3.0))
        sitk.WriteImage(volume, str(path))
    said, data = in_its_format(Predicted(tmp_path / "01" / image, path))
    assert said == name
    back = tmp_path / said
    back.write_bytes(data)
    if mask == "png":
        with Image.open(back) as opened:
            assert (np.asarray(opened) == values).all()
    else:
        read = sitk.ReadImage(str(back))
        assert (sitk.GetArrayFromImage(read) == values).all()
        assert read.GetSpacing() == (0.5, 0.5, 3.0)


# -- the viewer's planes ---------------------------------------------------------------------------------------------


def test_intensities_come_with_their_units() -> None:
    image = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4, 1) * 100 - 1000
    made = viewed(image, (3.0, 0.5, 0.5))
    (scale,) = made.scales
    for axis in range(3):
        sent = np.frombuffer(made.plane(axis, 1, 0), "<u2")
        shown = scale.low + sent * (scale.high - scale.low) / 65535
        assert shown == pytest.approx(np.take(image[..., 0], 1, axis).ravel())
    assert (scale.most, made.about["spacing"], made.about["shape"]) == (1300, (3.0, 0.5, 0.5), (2, 3, 4))
    odd = viewed(np.array([[[np.nan], [0.25]], [[1e6], [np.inf]]], np.float32), None)
    assert np.frombuffer(odd.plane(0, 0, 0), "<u2").tolist() == [0, 0, 65535, 0]
    for axis, at, channel, mask in ((3, 0, 0, None), (0, 2, 0, None), (0, -1, 0, None), (0, 0, 0, "x")):
        with pytest.raises(UserError, match="no such slice"):
            made.plane(axis, at, channel, mask)


def test_only_the_last_few_images_are_kept() -> None:
    made: list[int] = []
    recent = Recent(2)
    for name in (1, 2, 1, 3, 1, 2):
        recent.get(name, lambda name=name: made.append(name))  # type: ignore[misc]
    assert made == [1, 2, 3, 2]


@pytest.mark.parametrize(
    ("task", "classes", "target", "said"),
    [
        ("classification", 3, 2, "c"),
        ("multilabel", 3, (1, 0, 1), "a, c"),
        ("multilabel", 3, (0, 0, 0), "none"),
        ("regression", None, 2.5, "2.5"),
    ],
)
def test_the_truth_of_a_task_without_masks_is_said_in_words(task: str, classes: Any, target: Any, said: str) -> None:
    names = {"class_names": ["a", "b", "c"]} if classes else {}
    options = DatasetOptions(task_id=1, task_name="north", task=task, num_classes=classes, **names)
    record = Record("i", "p", (Path("i.png"),), target)
    assert truth_of(cast(Any, SimpleNamespace(options=options)), record) == said
