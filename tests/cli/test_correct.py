"""``relay correct`` as it is typed: list, add, show, learn."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.cli.test_commands import relay
from tests.correct.test_learning import TWO
from tests.studies import finished, given

ON = ("-c", "tiny.yaml", "--site", "clinic_a")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a config of two sites and its finished run."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(given(**{**TWO, "common.dataset.kwargs.img_size": [16, 16]})))
    finished(tmp_path / "exps/tiny/run", **TWO)
    return tmp_path


def test_correct_a_mask_and_learn_from_it(here: Path) -> None:
    listed = relay("correct", "list", *ON, "--split", "all", "--most", "2", cwd=here)
    assert listed.returncode == 0, listed.stderr
    assert "images to correct first, by disagreement" in listed.stdout
    assert "Corrections are kept in exps/tiny/corrections/clinic_a" in listed.stdout
    few = relay("correct", "learn", *ON, cwd=here)
    assert few.returncode == 2
    assert "0 training images of clinic_a have a corrected mask; at least 5 are needed" in few.stderr
    Image.fromarray(np.ones((16, 16), np.uint8)).save(here / "mine.png")
    for source in ("newest", "prediction"):
        name = {"newest": "p0004_left", "prediction": "p0005_left"}[source]
        done = relay("correct", "add", *ON, name, "mine.png", "--by", "J. Doe", "--from", source, cwd=here)
        assert done.returncode == 0, done.stderr
        assert f"Written: exps/tiny/corrections/clinic_a/{name}/1.png" in done.stdout
        assert "by J. Doe, 20" in done.stdout
        assert "rim +" in done.stdout
    kept = here / "exps/tiny/corrections/clinic_a"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.rglob("*.*")} == {0o600}
    shown = relay("correct", "show", *ON, "p0004_left", cwd=here)
    assert "version 1: exps/tiny/corrections/clinic_a/p0004_left/1.png" in shown.stdout
    again = relay("correct", "add", *ON, "p0004_left", "mine.png", "--by", "J. Doe", cwd=here)
    assert again.returncode == 2
    assert "is the same as before (version 1)" in again.stderr
    learned = relay("correct", "learn", *ON, "--min-samples", "1", cwd=here)
    assert learned.returncode == 0, learned.stderr
    assert "the mean Dice on 4 validation images was" in learned.stdout


def test_without_a_handover_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    blocks = given(**{**TWO, "common.dataset.kwargs.img_size": [16, 16], "current_tasks.task_ids": [1]})
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(blocks))
    done = relay("correct", "learn", "-c", "tiny.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "no handover of tiny is here, so clinic_a has no model to go on from" in done.stderr


def test_the_site_must_be_named_where_there_are_several(here: Path) -> None:
    done = relay("correct", "show", "-c", "tiny.yaml", "p0004_left", cwd=here)
    assert done.returncode == 2
    assert "Choose one: --site NAME" in done.stderr
