"""Before any training: bad images of all sites, warnings, and images changed under a leg that is finished."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from relay.config.devices import Devices
from relay.data import Doubt, combined, store
from relay.errors import DataError, UserError
from relay.leg import digests, sites
from relay.leg.doubts import doubts
from relay.leg.paths import RunPaths
from relay.leg.progress import Progress
from relay.predict import study as testing
from relay.predict.models import finished
from relay.report import write_report
from relay.simulate import Simulation
from tests.studies import simulate, study


def draw(root: Path, site: str, many: int = 6) -> None:
    rng = np.random.default_rng(ord(site))
    for kind in ("image", "mask"):
        (root / site / kind).mkdir(parents=True)
    for i in range(many):
        Image.fromarray(rng.integers(0, 255, (32, 32)).astype(np.uint8)).save(root / site / "image" / f"{i}.png")
        Image.fromarray((np.arange(1024).reshape(32, 32) % 2).astype(np.uint8)).save(root / site / f"mask/{i}.png")


def changes(root: Path, **more: Any) -> dict[str, Any]:
    kwargs = {"num_classes": 2, "root_path": str(root), "channels": 1, "img_size": [32, 32], "val_fraction": 0.0}
    sets = [{"kwargs": {"task_id": i, "task_name": name, "img_folder": name}} for i, name in enumerate(("a", "b"), 1)]
    return {
        "common.dataset": {"name": "folder", "kwargs": kwargs},
        "common.train.num_epochs": 1,
        "all_tasks_datasets": sets,
        "current_tasks.task_ids": [1],
        **more,
    }


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("once")
    for site in ("a", "b"):
        draw(root / "data", site)
    simulate(root / "run", **changes(root / "data"))
    return root


@pytest.fixture
def ran(once: Path, tmp_path: Path) -> Path:
    """A finished run of site a, tested on b too, with its data at ``data``; it may be changed."""
    return Path(shutil.copytree(once, tmp_path / "ran"))


def again(root: Path) -> None:
    simulate(root / "run", **changes(root / "data"))


def paint(path: Path) -> None:
    Image.fromarray(np.ones((32, 32), np.uint8)).save(path)


def predicted(root: Path) -> None:
    asked = study(**changes(root / "data"))
    where = root / "run"
    console = Console(quiet=True)
    testing.predict_study(
        asked, finished(asked, where), where / "results", where, Devices(), console, testing.Testing(workers=0)
    )


def a_test_image(root: Path, site: str, part: str = "test") -> str:
    return str(json.loads((root / f"run/splits/{site}.json").read_text())[part][0])


@pytest.mark.parametrize(("site", "kind"), [("a", "mask"), ("b", "mask"), ("a", "image")])
def test_a_changed_test_image_is_named_and_no_score_is_mixed(ran: Path, site: str, kind: str) -> None:
    name = a_test_image(ran, site)
    again(ran)  # nothing has changed yet
    paint(ran / "data" / site / kind / f"{name.rpartition('/')[2]}.png")
    before = (ran / "run/results/scores.csv").read_bytes()
    for command in (again, predicted):
        with pytest.raises(DataError, match=rf"have changed since .*\(1\):\n  - {site}: {kind} of {name}$") as caught:
            command(ran)
        assert "new note (-n)" in caught.value.advice()
        assert "last.ckpt" in caught.value.advice()
    assert (ran / "run/results/scores.csv").read_bytes() == before
    assert not (ran / "run/results/samples.csv").exists()


def test_a_changed_training_mask_is_named(ran: Path) -> None:
    name = a_test_image(ran, "a", "train")
    paint(ran / f"data/a/mask/{name.rpartition('/')[2]}.png")
    with pytest.raises(DataError, match=rf"a: mask of {name}$"):
        again(ran)
    shutil.rmtree(ran / "run/checkpoints/task_1")
    again(ran)


def test_a_damaged_record_of_files_says_what_to_do(ran: Path) -> None:
    for text in ("{", "[]", '{"a": 1}', '{"a": {"b": "c"}}', "[" * 3000):
        (ran / "run/checkpoints/task_1/data.json").write_text(text)
        with pytest.raises(UserError, match=r"data\.json is damaged") as caught:
            again(ran)
        assert "Remove it if no image has changed" in caught.value.advice()


def test_bad_images_of_all_sites_and_splits_come_together_before_any_training(ran: Path) -> None:
    shutil.rmtree(ran / "run")
    for path in ("a/image/0.png", "a/image/1.png", "a/image/2.png", "b/mask/3.png"):
        (ran / "data" / path).write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"(?s)'a': images that can't be used \(3\).*'b': images") as caught:
        simulate(ran / "run", **changes(ran / "data", **{"current_tasks.task_ids": [1, 2]}))
    assert "mask_values" not in caught.value.advice()
    assert not (ran / "run/checkpoints/task_1/leg.json").exists()
    for path in ("a/mask", "b/mask"):
        next((ran / "data" / path).iterdir()).unlink()
    with pytest.raises(DataError, match=r"(?s)a: images and masks without a partner.*b: images and masks without"):
        again(ran)


def test_warnings_are_kept_and_shown_in_the_report_without_names(ran: Path) -> None:
    told = json.loads((ran / "run/results/warnings.json").read_text())["warnings"]
    said = {(doubt["site"], doubt["text"]) for doubt in told}
    assert ("a", "batch_size 8 is more than its 5 training images") in said
    assert any(site == "a" and "no patients for validation" in text for site, text in said)
    page = write_report(ran / "run").read_text()
    assert "Warnings before training" in page
    assert "batch_size 8 is more than its 5 training images" in page


def test_a_site_too_small_for_its_memory_patches_too_large_and_images_of_two_sites(ran: Path) -> None:
    from relay.leg.doubts import doubts
    from relay.leg.paths import RunPaths
    from relay.leg.sites import Sites, needs

    memory = {"name": "style", "kwargs": {"min_patients": 6}}
    more = {"common.strategy": {"name": "relay", "kwargs": {"memory": memory}}}
    asked = study(**changes(ran / "data", **more, **{"common.dataset.kwargs.patch_size": [64, 64]}))
    shutil.copy(ran / "data/a/image/0.png", ran / f"data/{a_test_image(ran, 'b').replace('/', '/image/')}.png")
    texts = [d.text for d in doubts(asked.legs, needs(asked.legs, asked), Sites(7, RunPaths(ran / "new")))]
    assert "1 of its image files are also at a" in texts
    assert any(text.startswith("5 patients to train on are too few for its memory, which needs 6") for text in texts)
    assert (
        "patch_size [64, 64] is larger than 5 of 5 training images (as 32×32), which are reflected to fill it" in texts
    )


@pytest.mark.parametrize(
    ("name", "beside", "text"),
    [
        ("a.mhd", "a.raw", "ElementDataFile = a.raw"),
        ("a.mhd", "other.img", "NDims = 3\nElementDataFile = other.img\n"),
        ("a.nrrd", "voxels.gz", "NRRD0004\ndata file: voxels.gz\n"),
    ],
)
def test_voxels_beside_their_header_count(name: str, beside: str, text: str, tmp_path: Path) -> None:
    header, raw = tmp_path / name, tmp_path / beside
    header.write_text(text)
    raw.write_bytes(b"1")
    first = digests.digest(header)
    raw.write_bytes(b"2")
    assert digests.digest(header) != first
    assert digests.digest(tmp_path / "none") == ""


def test_runs_of_one_seed_read_hash_and_examine_their_images_once(
    ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them still keeps digests and warnings; what was said once is not said again."""
    calls: list[str] = []

    def counted(module: Any, name: str) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **kw: calls.append(name) or real(*args, **kw))

    counted(digests, "digest")
    counted(sites, "examine")
    counted(store, "_decoded")
    known, said, counts = sites.Known(), [], []
    with Progress(1) as progress:
        monkeypatch.setattr(progress, "say", said.append)
        for name, seed in (("one", 7), ("two", 7), ("other", 8)):
            run = study(**changes(ran / "data", **{"common.random_seed": seed}))
            Simulation(run, tmp_path / name, known=known)._check_data(progress)
            told = json.loads((tmp_path / name / "results/warnings.json").read_text())["warnings"]
            assert {"site": "a", "text": "batch_size 8 is more than its 5 training images"} in told
            assert (tmp_path / name / "checkpoints/task_1/data.json").is_file()
            counts.append([calls.count(kind) for kind in ("digest", "examine", "_decoded")])
    assert counts[0] == counts[1]
    assert counts[2] == [2 * count for count in counts[0]]
    assert min(counts[0]) > 0
    assert sum("batch_size" in text for text in said) == 1


def test_images_that_other_options_replace_leave_the_disk(tmp_path: Path) -> None:
    """As from fold to fold of a comparison: else their files would add up."""
    known = sites.Known()

    def read(size: int) -> weakref.ref[Any]:
        leg = study(**{"common.dataset.kwargs.img_size": [size, size]}).legs[0]
        site = known.site(leg.pool[0], 7, ("test",), tmp_path, 0).site
        buffer = site.test._buffer
        assert not buffer._ram, "they are in a file"
        return weakref.ref(buffer._spool)

    first = read(32)
    assert first() is not None
    assert read(24)() is not None
    gc.collect()
    assert first() is None


@pytest.mark.parametrize(("experts", "said"), [(True, 1), (False, 0)])
def test_noise_on_the_memory_alone_is_pointed_out(experts: bool, said: int, tmp_path: Path) -> None:
    memory = {"name": "style", "kwargs": {"epsilon": 8.0}}
    made = study(**{"common.strategy": {"name": "relay", "kwargs": {"memory": memory, "experts": experts}}})
    found = doubts(made.legs[:1], sites.needs(made.legs[:1], made), sites.Sites(1, RunPaths(tmp_path)))
    assert sum("epsilon covers the memory alone" in doubt.text for doubt in found) == said


def test_what_is_the_same_at_several_sites_is_said_once() -> None:
    found = [Doubt(f"site {k}", "too few") for k in range(7)] + [Doubt("site 1", "odd", ("a.png",))]
    found += [Doubt("site 1", "too few")]
    where = ", ".join(f"site {k}" for k in range(7))
    assert combined(found) == [f"{where}: too few", "site 1: odd (a.png)"]
