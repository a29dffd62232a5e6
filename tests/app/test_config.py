"""The editor of a config: explained, checked while it is typed, saved only over what was opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay.app.values import parts_of
from relay.config import MAX_BYTES, locate, parse
from relay.plan import read_config
from tests.app.conftest import Browser, Opened
from tests.app.test_data import TEXT, browser

__all__ = ["browser"]


def checked(browser: Browser, text: str, name: str = "study") -> Any:
    answer = browser.post("/data/config/check", {"name": name, "text": text})
    assert answer.status_code == 200, answer.text
    return answer.json()


def at(text: str, place: list[Any]) -> str:
    """What a browser finds at a place, which it counts in units of UTF-16."""
    units = text.encode("utf-16-le")
    return units[2 * place[0] : 2 * place[1]].decode("utf-16-le")


def test_every_value_has_its_place_its_meaning_and_what_it_may_be(browser: Browser) -> None:
    found = checked(browser, TEXT)
    assert found["problems"] == []
    assert at(TEXT, found["values"]["common.dataset.kwargs.img_size"]) == "[32, 32]"
    for said in (
        "passes over the training images",
        "int ≥ 1 or null; default null",
        'data-path="all_tasks_datasets[0].kwargs.camera"',
        '<option value="warmup: 0"',
        '<option value="optimizer: {name: Adam}"',
        'list="v',
        "names for folders",
    ):
        assert said in found["html"], said


def test_every_value_of_our_configs_is_where_it_is_said_to_be() -> None:
    for name in ("demo", "fundus/relay", "evidence/vessels_small"):
        path, short = locate(name)
        text = path.read_text()
        parts = parts_of(text, read_config(path, short).reading.config)
        values = [value for part in parts for value in part.values]
        assert len(values) == len({value.path for value in values})
        for value in values:
            assert text[value.start : value.end] == value.raw
            assert text.split("\n")[value.line - 1].count(value.raw.split("\n")[0])
        for part in parts:
            for option in part.missing:
                longer = f"{text[: part.at]}{part.before}{option.name}: 1{text[part.at :]}"
                assert parse(longer, "x") != parse(text, "x"), (part.path, option.name)


def test_comments_references_lists_and_letters_beyond_the_basic_plane(browser: Browser) -> None:
    text = TEXT.replace("    {name", "{name").replace(
        "common:\n", "# why 😀\ncommon:\n  # the seed\n  random_seed: 1  # one\n"
    )
    text += "results:\n  metrics:\n    - a:B\n  # more\n  report_sections: []\npaths: {x: '😀', y: '${paths.x}', z: }\n"
    found = checked(browser, text)
    assert at(text, found["values"]["common.random_seed"]) == "1"
    assert at(text, found["values"]["results.metrics[0]"]) == "a:B"
    assert at(text, found["values"]["paths.y"]) == "'${paths.x}'"
    assert found["values"]["paths.z"][2] == ""
    assert "the seed one" in found["html"]
    assert "paths.z" in [problem["path"] for problem in found["problems"]]


@pytest.mark.parametrize(
    ("before", "after", "path", "line", "said"),
    [
        ("num_epochs: 1", "num_epochs: 0", "common.train.num_epochs", 5, "greater than or equal to 1"),
        ("num_epochs: 1", "num_epochs: yes", "common.train.num_epochs", 5, "true or false to some programs"),
        ("num_epochs", "num_epoch", "common.train.num_epoch", 5, "did you mean 'num_epochs'?"),
        ("name: north", "name: <b>", "all_tasks_datasets[0].kwargs.task_name", 7, "<b>"),
        ("U-Net", "V-Net", "common.model.name", 4, "unknown name"),
        ("{task_ids: [1]}", "{task_ids: [2]}", "current_tasks.task_ids[0]", 8, "has no data set"),
        ("{task_ids: [1]}", "{task_ids: [1]", "configs/study.yaml", None, "line 9"),
        ("common:\n", "extends: ../../etc/passwd\ncommon:\n", "extends", 1, "no config"),
    ],
)
def test_a_wrong_text_is_told_where_and_why(
    browser: Browser, before: str, after: str, path: str, line: int | None, said: str
) -> None:
    found = checked(browser, TEXT.replace(before, after))
    (problem,) = [one for one in found["problems"] if said in one["text"]]
    assert problem["path"] == path
    assert problem["line"] in (line, 8, 9) if line is None else problem["line"] == line
    assert "<b>" not in found.get("html", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "x",
        "a: &a [*a]",
        "\t",
        "😀: {",
        "# " + "é" * 100_000,
        "x: " + "y" * 1000,
        "? [a]\n: b",
        "\ud800",
    ],
)
def test_no_text_breaks_the_check(browser: Browser, text: str) -> None:
    found = checked(browser, text.encode(errors="replace").decode())
    assert found["problems"]


def save(browser: Browser, text: str, name: str = "study", digest: str | None = None) -> Any:
    page = browser.get("/data/config?name=study").text
    held = page.partition('name="digest" value="')[2].partition('"')[0]
    return browser.post(
        "/data/config/save",
        {"opened": "study", "name": name, "text": text, "digest": held if digest is None else digest},
    )


@pytest.fixture
def study(browser: Browser) -> Path:
    path = browser.desk.cwd / "configs" / "study.yaml"
    path.write_text(TEXT)
    return path


def test_a_config_is_saved_over_what_was_opened_only(browser: Browser, study: Path) -> None:
    new = TEXT.replace("num_epochs: 1", "num_epochs: 2")
    answer = save(browser, new.replace("\n", "\r\n"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/data/config?name=study&saved=")
    assert study.read_text() == new
    assert "Saved to" in browser.get(answer.headers["location"]).text
    answer = save(browser, TEXT + "# <i>mine</i>", digest="0" * 64)
    assert (answer.status_code, study.read_text()) == (422, new)
    assert "was changed since you opened it" in answer.text
    assert "# &lt;i&gt;mine&lt;/i&gt;" in answer.text  # nobody loses what was typed
    assert save(browser, TEXT, "north/other").status_code == 303
    assert (study.parent / "north" / "other.yaml").read_text() == TEXT
    assert "exists" in save(browser, TEXT, "north/other").text
    held = browser.get("/data/config?name=study").text.partition('name="digest" value="')[2].partition('"')[0]
    study.unlink()
    gone = browser.post("/data/config/save", {"opened": "study", "name": "study", "text": TEXT, "digest": held})
    assert (gone.status_code, "was removed" in gone.text, study.exists()) == (422, True, False)


def test_a_file_is_copied_by_opening_and_saving_it(browser: Browser, study: Path) -> None:
    (browser.desk.cwd / "stick.yaml").write_text(TEXT)
    page = browser.get("/data/config?name=mine&copy=stick.yaml").text
    assert "not saved yet" in page
    assert "relay data check" not in page
    assert not (study.parent / "mine.yaml").exists()
    answer = browser.post("/data/config/save", {"opened": "mine", "name": "mine", "text": TEXT, "digest": ""})
    assert (answer.status_code, (study.parent / "mine.yaml").read_text()) == (303, TEXT)
    for query in (
        "name=study&copy=stick.yaml",
        "name=new&copy=/etc/hostname",
        "name=../x&copy=stick.yaml",
        "name=new&copy=.",
    ):
        assert browser.get(f"/data/config?{query}").status_code == 422, query


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", ".x", "x\0y", "a//b", "con", "link", "away/x"])
def test_nothing_is_saved_outside(browser: Browser, study: Path, tmp_path: Path, name: str) -> None:
    (study.parent / "link.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    (study.parent / "away").symlink_to(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    answer = save(browser, TEXT, name)
    assert answer.status_code == 422
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * (MAX_BYTES + 1)])
def test_a_file_that_is_no_config_is_not_opened(browser: Browser, study: Path, content: bytes) -> None:
    study.write_bytes(content)
    assert browser.get("/data/config?name=study").status_code == 422


def test_the_check_needs_the_sessions_token(browser: Browser, opened: Opened) -> None:
    data = {"form_token": "0" * 64, "name": "study", "text": TEXT}
    assert (
        browser.client.post("/data/config/check", data=data, headers={"origin": "http://127.0.0.1:8000"}).status_code
        == 422
    )


def test_a_text_that_is_too_long_is_one_problem(browser: Browser) -> None:
    text = "# " + "x" * 2**20
    answer = browser.post("/data/config/check", {"name": "study", "text": text})
    assert "must have at most 1048576" in answer.json()["problems"][0]["text"]
    answer = browser.post("/data/config/save", {"name": "new", "opened": "study", "text": text}, files={"x": b""})
    assert (answer.status_code, "a config has at most 1048576 bytes" in answer.text) == (422, True)
