"""What may be opened, and what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.app import Roots
from relay.errors import UserError
from tests.app.conftest import Opened


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    for name in ("open/deep", "keys", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "open" / "home").mkdir()
    (tmp_path / "open" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "open" / "near").symlink_to(tmp_path / "open" / "deep")
    return Roots((tmp_path / "open",), (tmp_path / "open" / "home",))


@pytest.mark.parametrize(
    "text",
    [
        "..",
        "../other",
        "deep/../../other",
        "link",
        "link/x",
        "/etc/passwd",
        "/",
        "",
        " ",
        "a\0b",
        "home",
        "home/keys.age",
        "~root",
    ],
)
def test_nothing_outside_is_opened(roots: Roots, text: str) -> None:
    with pytest.raises(UserError):
        roots.inside(text)


@pytest.mark.parametrize("text", ["deep", "deep/..", "deep/new.png", "near", "."])
def test_what_is_inside_is(roots: Roots, text: str) -> None:
    assert roots.inside(text).is_relative_to(roots.folders[0])


def test_a_listing_leaves_out_what_may_not_be_opened(roots: Roots, tmp_path: Path) -> None:
    for name in ("b.png", "A.png", ".hidden"):
        (tmp_path / "open" / name).write_bytes(b"123")
    assert [(e.name, e.folder, e.size) for e in roots.listing(tmp_path / "open")] == [
        *(("deep", True, None), ("near", True, None), ("A.png", False, 3), ("b.png", False, 3))
    ]
    assert roots.above(tmp_path / "open") is None
    assert roots.above(tmp_path / "open" / "deep") == tmp_path / "open"


def test_what_can_not_be_looked_at_is_an_error_of_its_own(roots: Roots, opened: Opened) -> None:
    loop = roots.folders[0] / "loop"
    loop.symlink_to(loop)
    assert "loop" not in [entry.name for entry in roots.listing(roots.folders[0])]
    for text in ("loop", "loop/x", "x" * 300):
        with pytest.raises(UserError, match="can't be opened"):
            roots.inside(text)
    assert opened().get("/browse", params={"path": "x" * 300}).status_code == 200


def test_names_of_files_are_text(opened: Opened) -> None:
    browser = opened()
    name = "<img src=x onerror=alert(1)>\u202e.png"
    (browser.desk.cwd / name).write_bytes(b"")
    text = browser.get("/browse?kind=file").text
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


@pytest.mark.parametrize("path", ["../..", "/etc", "\0", "~"])
def test_the_dialog_shows_an_allowed_folder_for_a_wrong_one(opened: Opened, path: str) -> None:
    browser = opened()
    answer = browser.get("/browse", params={"path": path})
    assert (answer.status_code, str(browser.desk.cwd) in answer.text) == (200, True)
