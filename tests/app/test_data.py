"""Data: what a source holds, the commands that its forms queue, and reports in a frame."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relay.app.configs import file_of
from relay.app.following import following
from relay.app.jobs import Job
from tests.app.conftest import Browser, Opened
from tests.dicoms import NUMBER, series, uid

HOSTILE = "p1 <img src=x onerror=alert(1)>'\"&.png"
TEXT = (
    "common:\n  dataset: {name: synthetic, kwargs: {num_classes: 3, count: 8, img_size: [32, 32]}}\n"
    "  strategy: {name: relay}\n  model: {name: U-Net}\n  train: {num_epochs: 1}\n"
    "all_tasks_datasets:\n  - kwargs: {task_id: 1, task_name: north, camera: clinic_a}\n"
    "current_tasks: {task_ids: [1]}\n"
)


@pytest.fixture
def browser(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """A browser at a page in whose folder commands run, as they do."""
    found = opened()
    monkeypatch.chdir(found.desk.cwd)
    (found.desk.cwd / "configs").mkdir()
    return found


def pictures(folder: Path, many: int = 6) -> None:
    for part in ("image", "mask"):
        (folder / part).mkdir(parents=True)
        for k in range(many):
            values = np.full((32, 32, 3) if part == "image" else (32, 32), k if part == "image" else k % 2, np.uint8)
            Image.fromarray(values).save(folder / part / f"p{k // 2}_{k}.png")


def table(browser: Browser) -> Path:
    path = browser.desk.cwd / "table.csv"
    path.write_text("who,file,<b>grade</b>\np1,a.png,mild\np2,b.png,grave\n")
    return path


def test_a_folder_is_looked_at_before_anything_is_written(browser: Browser) -> None:
    pictures(browser.desk.cwd / "data")
    page = browser.get("/data/new?source=data&patients=^(p\\d)_")
    assert page.status_code == 200
    for said in ("images with masks", "6 images of 3 patients", "<td>p2_4</td><td>p2</td>", "relay init"):
        assert said in page.text, said
    for odd in ("-1", "x", "9" * 30, "²", "999999"):
        assert browser.get(f"/data/new?source=data&from={odd}").status_code == 200
    wrong = browser.get("/data/new?source=data&patients=^(q)")
    assert "does not match these images" in wrong.text
    assert "&#39;^(q)&#39;" in wrong.text or "^(q)" in wrong.text
    assert "not a regular expression" in browser.get("/data/new?source=data&patients=(((").text


def test_names_of_files_and_columns_are_shown_as_text(browser: Browser) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(browser.desk.cwd / HOSTILE)
    page = browser.get(f"/data/new?source={browser.desk.cwd}").text
    assert "images without masks" in page
    assert "<img" not in page
    assert "&lt;img src=x onerror" in page
    page = browser.get(f"/data/new?source={table(browser)}").text
    assert "<b>" not in page
    assert 'value="&lt;b&gt;grade&lt;/b&gt;"' in page


def test_dicom_is_recognised(browser: Browser) -> None:
    for k in (1, 2):
        tags = {"SeriesInstanceUID": uid(k), "StudyInstanceUID": uid(k, "study"), "PatientID": f"P{k}"}
        series(browser.desk.cwd / "pacs" / f"<i>{k}", np.zeros((2, 8, 8), np.int16), **tags)
    page = browser.get("/data/new?source=pacs").text
    for said in ("DICOM series", "2 series, CT.", "<td>&lt;i&gt;1</td><td>CT</td><td>2</td>", 'name="series"'):
        assert said in page, said
    assert NUMBER not in page


def test_two_thousand_images_are_listed_a_hundred_at_a_time(browser: Browser) -> None:
    folder = browser.desk.cwd / "many"
    folder.mkdir()
    for k in range(2000):
        (folder / f"i{k:04d}.png").touch()
    begun = time.perf_counter()
    page = browser.get("/data/new?source=many&from=150").text
    assert time.perf_counter() - begun < 5  # 0.2 s on one core of 2023, and nothing is opened
    assert "101 to 200 of 2000" in page
    assert page.count("<tr>") == 101
    assert "from=0#found" in page
    assert "from=200#found" in page


INIT = {"source": "data", "name": "thorax", "site": "north"}
SPLIT = {"source": "table.csv", "out": "split.csv", "shares": "50:25:25", "seed": "3"}


@pytest.mark.parametrize(
    ("path", "form", "words"),
    [
        ("init", INIT, "init {here}/data -o configs/thorax.yaml --site=north"),
        ("init", {**INIT, "patients": "^(p)", "classes": "a,b"}, "… --site=north --classes=a,b --patients=^(p)"),
        ("init", {**INIT, "images": ["t1", "t2"], "target": "age"}, "… --site=north --target=age --images=t1,t2"),
        ("init", {**INIT, "like": "study", "replace": "yes"}, "… --like=configs/study.yaml --site=north --replace"),
        ("init", {**INIT, "like": "configs/study.yaml"}, "… --like={here}/configs/study.yaml --site=north"),
        ("init", {**INIT, "series": "-o", "patient": "PatientID"}, "… --site=north --patient=PatientID --series=-o"),
        ("table", {"source": "data", "out": "t.csv"}, "data table {here}/data -o {here}/data/t.csv"),
        ("split", SPLIT, "data split {here}/table.csv -o {here}/split.csv --shares=50:25:25 --seed=3"),
        (
            "split",
            {**SPLIT, "patient": "who", "class": "grade"},
            "… --shares=50:25:25 --seed=3 --patient=who --class=grade",
        ),
        ("check", {"name": "study"}, "data check configs/study.yaml"),
        ("report/write", {"name": "study"}, "data report configs/study.yaml"),
    ],
)
def test_a_form_is_its_command(browser: Browser, queued: list, path: str, form: dict, words: str) -> None:
    (browser.desk.cwd / "configs" / "study.yaml").write_text(TEXT)
    answer = browser.post(f"/data/{path}", form)
    assert answer.status_code == 303, answer.text
    ((given, secret, light),) = queued
    said = " ".join(given)
    assert said.endswith(words.removeprefix("…").format(here=browser.desk.cwd.resolve())), said
    assert (secret, light) == (None, True)


@pytest.mark.parametrize(
    ("path", "form", "said"),
    [
        ("init", {**INIT, "name": ""}, "needs a name"),
        ("init", {**INIT, "name": "../x"}, "begins with"),
        ("init", {**INIT, "name": "a/../../x"}, "begins with"),
        ("init", {**INIT, "name": "study"}, "exists"),
        ("init", {**INIT, "source": "../.."}, "outside the folders"),
        ("init", {**INIT, "source": "/etc"}, "outside the folders"),
        ("init", {**INIT, "like": "/etc/hostname"}, "outside the folders"),
        ("init", {**INIT, "like": "nothing"}, "there is no config"),
        ("init", {**INIT, "site": "a\0b"}, "printed"),
        ("init", {**INIT, "images": ["a,b"]}, "the column"),
        ("table", {"source": "data", "out": "../t.csv"}, "can&#39;t name a file"),
        ("table", {"source": "data", "out": "t.png"}, "ends in .csv"),
        ("split", {**SPLIT, "out": "table.csv"}, "exists"),
        ("split", {**SPLIT, "out": "-o.csv"}, "dash"),
        ("split", {**SPLIT, "source": "../../etc/passwd"}, "outside the folders"),
        ("split", {**SPLIT, "shares": ""}, "shares"),
        ("check", {"name": "../../etc/passwd"}, "begins with"),
        ("check", {"name": "none"}, "there is no config"),
        ("report/write", {"name": "link"}, "leads out of configs"),
    ],
)
def test_a_wrong_form_queues_nothing(browser: Browser, queued: list, path: str, form: dict, said: str) -> None:
    (browser.desk.cwd / "configs" / "study.yaml").write_text(TEXT)
    table(browser)
    (browser.desk.cwd / "configs" / "link.yaml").symlink_to(browser.desk.cwd / "table.csv")
    answer = browser.post(f"/data/{path}", form)
    assert (answer.status_code, queued) == (422, [])
    assert said in answer.text, answer.text


def test_pages_of_data_stay_inside(browser: Browser) -> None:
    for path in (
        "/data/new?source=/etc",
        "/data/new",
        "/data/config?name=../../etc/passwd",
        "/data/config",
        "/data/report?name=../x",
        "/data/report?name=study",
        "/data/report/page?name=study&site=../../configs/study",
    ):
        assert browser.get(path).status_code == 422, path


def test_a_report_is_shown_in_a_frame_that_can_do_nothing(browser: Browser) -> None:
    (browser.desk.cwd / file_of("study")).write_text(TEXT)
    folder = browser.desk.cwd / "exps" / "study" / "data"
    folder.mkdir(parents=True)
    (folder / "north.html").write_text("<style>b{}</style><script>alert(1)</script>")
    (folder / "away.html").symlink_to("/etc/hostname")
    page = browser.get("/data/report?name=study").text
    assert 'sandbox title="Report of the images of north"' in page
    assert "away" not in page
    frame = browser.get("/data/report/page?name=study&site=north")
    policy = frame.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "See the last report" in browser.get("/data/config?name=study").text


@pytest.mark.parametrize(
    ("words", "leads"),
    [
        (("init", "/d", "-o", "configs/a/b.yaml"), "/data/config?name=a%2Fb"),
        (("data", "check", "configs/a.yaml"), "/data/config?name=a"),
        (("data", "report", "configs/a.yaml"), "/data/report?name=a"),
        (("data", "split", "/t.csv", "-o", "/s.csv"), "/data/new?source=%2Fs.csv"),
        (("init", "/d", "-o", "/elsewhere.yaml"), None),
        (("train", "-c", "x"), None),
        (("data",), None),
    ],
)
def test_a_finished_job_leads_to_what_it_made(tmp_path: Path, words: tuple[str, ...], leads: str | None) -> None:
    step = following(Job(tmp_path, 1, "", words, "", True, False, ""))
    assert (step.href if step else None) == leads


def test_a_config_is_written_by_its_command(browser: Browser) -> None:
    pictures(browser.desk.cwd / "data", 4)
    answer = browser.post("/data/init", INIT)
    for _ in range(600):
        page = browser.get(answer.headers["location"] + "/part").text
        if "data-over" in page:
            break
        time.sleep(0.1)
    assert "See the config" in page, page
    assert "a start; docs/explanation" in browser.get("/data/config?name=thorax").text
    assert "thorax</a>" in browser.get("/data").text
