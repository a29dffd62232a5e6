"""The commands as they are typed: what they write, what they say, how they exit."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from PIL import Image
from typer.testing import CliRunner

from relay.cli.app import app
from relay.leg import checkpoint
from relay.registry import find
from tests import forked
from tests.studies import given

ROOT = Path(__file__).resolve().parents[2]
HEAVY = "{'torch', 'monai', 'imgaug', 'SimpleITK', 'pytorch_lightning', 'numpy.testing'}"
QUICK = {"common.train.num_epochs": 1, "common.dataset.kwargs.repeats": 1}


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stdout
    return done


def relay(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in this process, which has torch already; what it changes in the process is put back."""
    before, handler, log = Path.cwd(), signal.getsignal(signal.SIGTERM), logging.getLogger("relay")
    kept = list(log.handlers)
    os.chdir(cwd)
    try:
        done = CliRunner().invoke(app, words, env={"COLUMNS": "200", "NO_COLOR": "1"})
    finally:
        os.chdir(before)
        signal.signal(signal.SIGTERM, handler)
        for added in [h for h in log.handlers if h not in kept]:
            log.removeHandler(added)
            added.close()
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def write(folder: Path, name: str = "study", /, **changes: Any) -> Path:
    path = folder / "configs" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(given(**{**QUICK, **changes})))
    return path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def dice_rows(path: Path) -> list[dict[str, str]]:
    """Dice of single samples."""
    return [row for row in table(path) if row["metric"] == "dice" and row["sample"]]


def by_hand(mask: np.ndarray, truth: np.ndarray, label: int) -> float | None:
    both = int((mask == label).sum()) + int((truth == label).sum())
    return 2 * int(((mask == label) & (truth == label)).sum()) / both if both else None


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where ``relay train -c=study -n=first -v`` was done."""
    folder = tmp_path_factory.mktemp("trained")
    write(folder)
    done = relay("train", "-c=study", "-n=first", "-v", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stdout)
    (folder / "logged.txt").write_text(done.stderr)
    return folder


def test_what_a_command_writes_is_its_users_alone(trained: Path) -> None:
    """Weights, scores, and who is in which split: under the usual umask others could read them."""
    there = list((trained / "exps").rglob("*"))
    assert {path.name for path in there} >= {"last.ckpt", "scores.csv", "splits", "report.html"}
    mine = [path for path in there if path.parent.name != "stick"]  # what is sealed and carried is for others
    assert not [path for path in mine if path.stat().st_mode & 0o077]


# -- help and versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["predict", "--help"],
        ["compare", "--help"],
        ["list"],
        ["list", "losses"],
    ],
)
def test_help_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys, atexit; from relay.cli.app import main; "
        f"atexit.register(lambda: print('heavy:', {HEAVY} & set(sys.modules))); main()"
    )
    done = run("-c", code, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("heavy: set()")


def test_help_names_the_flags(tmp_path: Path) -> None:
    said = relay("train", "--help", cwd=tmp_path).stdout
    assert all(flag in said for flag in ("-c", "-n", "-g", "-v", "KEY=VALUE"))
    assert "-s" in relay("predict", "--help", cwd=tmp_path).stdout


# -- exit codes --------------------------------------------------------------------------------------------


def refused(done: subprocess.CompletedProcess[str], code: int, message: str, advice: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    said = "".join(line for line in done.stderr.splitlines(True) if not line.startswith("warning: "))
    first, _, last = said.partition("what to do:")
    assert first.startswith("error: ")
    assert message in first
    assert advice in last


@pytest.mark.parametrize("command", ["train", "predict", "compare"])
def test_an_unknown_config_is_2_and_gives_the_nearest(command: str, tmp_path: Path) -> None:
    write(tmp_path)
    done = relay(command, "-c", "studdy", cwd=tmp_path)
    refused(done, 2, "no config 'studdy'", "Did you mean 'study'?")
    assert not (tmp_path / "exps").exists()


@pytest.mark.parametrize("command", ["train", "predict"])
def test_problems_in_a_config_are_2_and_come_all_at_once(command: str, tmp_path: Path) -> None:
    write(tmp_path)
    done = relay(command, "-c=study", "-g=99", "common.train.batch_sze=4", "common.model.name=V-Net", cwd=tmp_path)
    refused(done, 2, "common.train.batch_sze = 4: unknown key", "Correct the file")
    assert "common.model.name = 'V-Net'" in done.stderr
    assert "-g = '99'" in done.stderr
    assert not (tmp_path / "exps").exists()


@pytest.mark.parametrize("text", ["", "common: 3\n", "all_tasks_datasets: []\n"])
def test_a_config_without_its_blocks_is_2(text: str, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text(text)
    for command in ("train", "compare"):
        refused(relay(command, "-c", "empty.yaml", cwd=tmp_path), 2, "common", "Correct the values named above")


def test_an_unknown_option_or_no_command_is_2(tmp_path: Path) -> None:
    assert relay("train", "--nonsense", cwd=tmp_path).returncode == 2
    assert relay(cwd=tmp_path).returncode == 2


def test_predicting_before_training_is_2_and_says_where_it_looked(tmp_path: Path) -> None:
    write(tmp_path)
    done = relay("predict", "-c=study", "-n=never", cwd=tmp_path)
    refused(done, 2, "exps/study/never/checkpoints/task_1/last.ckpt", "check -c and -n")


def test_a_changed_config_is_2_and_is_in_the_log(trained: Path) -> None:
    done = relay("train", "-c=study", "-n=first", "common.train.batch_size=4", cwd=trained)
    refused(done, 2, "train.batch_size: 8 then, 4 now", "Use a new note (-n)")
    log = (trained / "exps/study/first/logs/run.log").read_text()
    assert "train.batch_size: 8 then, 4 now" in log
    assert "Traceback" in log
    assert "ChangedConfigError" in log


IMG_SIZE = "common.dataset.kwargs.img_size"


@pytest.mark.parametrize(
    ("typed", "said", "cure"),
    [
        (f"{IMG_SIZE}=[16,16]", "img_size: [32, 32] then, [16, 16] now", f"add to the command: '{IMG_SIZE}=[32,32]'"),
        (
            "common.dataset.kwargs.intensity_range=[0,1]",
            "intensity_range: not given then, [0, 1] now",
            "leave out common.dataset.",
        ),
        ("common.random_seed=8", "random_seed: 7 then, 8 now", "common.random_seed=7"),
        ("common.strategy.name=relay", "strategy.name: 'sequential' then", 'common.strategy.name="sequential"'),
        (
            "all_tasks_datasets[1].kwargs.camera=clinic_a",
            "camera: 'clinic_b' then, 'clinic_a' now",
            "all_tasks_datasets[1].kwargs.camera=",
        ),
    ],
)
def test_predicting_with_other_settings_than_those_of_the_training_is_2(
    trained: Path, typed: str, said: str, cure: str
) -> None:
    samples = trained / "exps/study/first/results/samples.csv"
    before = samples.read_bytes() if samples.exists() else None
    refused(relay("predict", "-c=study", "-n=first", typed, cwd=trained), 2, said, cure)
    assert (samples.read_bytes() if samples.exists() else None) == before


def test_failed_training_is_1_and_verbose_shows_where(tmp_path: Path) -> None:
    worse = {"common.train.optimizer": {"name": "SGD", "kwargs": {"lr": 1e30}}, "common.train.num_epochs": 20}
    write(tmp_path, **worse)
    done = relay("train", "-c=study", cwd=tmp_path)
    refused(done, 1, "not finite at step", "lr")
    again = relay("train", "-c=study", "-n=loud", "-v", cwd=tmp_path)
    assert again.returncode == 1
    assert "relay/leg/callbacks.py" in again.stderr
    assert "TrainingError" in (tmp_path / "exps/study/run/logs/run.log").read_text()


def test_a_folder_that_cannot_be_written_is_1_without_a_traceback(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "exps").write_text("a file where the folder should be")
    refused(relay("train", "-c=study", cwd=tmp_path), 1, "exps", "a file where a folder is needed")


# -- train, predict ----------------------------------------------------------------------------------------


def test_train_says_what_came_of_it_and_where_it_is(trained: Path) -> None:
    root = trained / "exps/study/first"
    summary = json.loads((root / "results/summary.json").read_text())
    said = (trained / "said.txt").read_text()
    assert all(
        word in said for word in ("clinic_a", "clinic_b", f"The page: {root.relative_to(trained)}/results/report")
    )
    assert f"a mean Dice of {summary['mean']:.3f} over 2 sites" in " ".join(said.split())
    assert "Next: relay predict -c study -n first" in said


def test_verbose_logs_to_the_screen_what_is_in_the_log_file(trained: Path) -> None:
    screen = (trained / "logged.txt").read_text()
    assert screen
    assert (trained / "exps/study/first/logs/run.log").read_text().startswith(screen)
    for words in ("sequential · leg 1/2 · clinic_a", "sequential · leg 2/2 · clinic_b: val Dice 0."):
        assert words in screen
    assert "Traceback" not in screen


def test_training_again_skips_what_is_done(trained: Path) -> None:
    done = relay("train", "-c=study", "-n=first", cwd=trained)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("already finished, skipped") == 2


def test_predict_saves_masks_that_give_the_scores(trained: Path) -> None:
    done = relay("predict", "-c=study", "-n=first", "-s", cwd=trained)
    assert done.returncode == 0, done.stderr
    root = trained / "exps/study/first"
    rows = dice_rows(root / "results/samples.csv")
    cls = find("datasets", "synthetic")
    kwargs = given()["common"]["dataset"]["kwargs"]
    sets = {
        name: cls(cls.Options(**kwargs, task_id=1, task_name=name, camera=name)) for name in ("clinic_a", "clinic_b")
    }
    truths = {(site, s.id): data.read(s).target for site, data in sets.items() for s in data.listing}
    assert len(rows) == 2 * 2 * 3 * len({row["sample"] for row in rows if row["site"] == "clinic_a"})
    for row in rows:
        path = root / f"results/predictions/task_{row['leg']}" / row["site"] / f"{row['sample']}.png"
        with Image.open(path) as image:
            assert image.mode == "P"
            assert image.getpalette()[:3] == [0, 0, 0]  # type: ignore[index]
            mask = np.asarray(image)
        label = sets[row["site"]].options.names.index(row["class"])
        dice = by_hand(mask, truths[row["site"], row["sample"]], label)
        assert (float(row["value"]) if row["value"] else None) == (dice and pytest.approx(dice, abs=1e-6))


def test_dice_of_predict_is_that_of_training_and_its_summary_the_means(trained: Path) -> None:
    free = ["common.train.batch_size=4", "common.train.num_epochs=9"]  # of the training alone
    assert relay("predict", "-c=study", "-n=first", *free, cwd=trained).returncode == 0
    results = trained / "exps/study/first/results"
    rows = dice_rows(results / "samples.csv")
    keys = ("leg", "site", "sample", "class")
    trained_on, tested = (
        {tuple(row[k] for k in keys): float(row["value"] or "nan") for row in found}
        for found in (table(results / "scores.csv"), rows)
    )
    assert tested == pytest.approx(trained_on, abs=1e-6, nan_ok=True)
    evaluation = json.loads((results / "evaluation.json").read_text())
    assert "missing" in evaluation["rule"]
    assert evaluation["unit"] == {"clinic_a": "px", "clinic_b": "px"}
    cells = [row for row in evaluation["rows"] if row["metric"] == "dice"]
    assert len(cells) == 2 * 2 * 3
    for cell in cells:
        mine = [row for row in rows if (int(row["leg"]), row["site"]) == (cell["leg"], cell["site"])]
        values = [float(row["value"]) for row in mine if row["class"] == cell["class"] and row["value"]]
        assert cell["mean"] == (pytest.approx(sum(values) / len(values), abs=1e-5) if values else None)
        assert (cell["samples"], cell["measured"]) == (len({row["sample"] for row in mine}), len(values))


def pictured(trained: Path, *images: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    words = [word for image in images for word in ("--image", image)]
    done = relay("predict", "-c=study", "-n=first", *words, cwd=trained)
    assert done.returncode == code, done.stderr
    return done


def masks_said(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.removeprefix("Written: ") for line in done.stdout.splitlines() if "_mask." in line]


def test_predict_of_one_image_writes_its_mask_and_a_picture(trained: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 57, 3), np.uint8))
    image.save(trained / "scan.png")
    (said,) = masks_said(pictured(trained, "scan.png"))
    assert said.startswith("exps/study/first/results/images/task_2/scan.png-")
    with Image.open(trained / said) as mask, Image.open(trained / said.replace("_mask", "_overlay")) as picture:
        assert mask.size == image.size
        assert set(np.unique(np.asarray(mask))) <= {0, 1, 2}
        assert picture.size[0] > 2 * image.size[0]
    assert masks_said(pictured(trained, str(trained / "scan.png"))) == [said]  # the same image and model


def test_every_image_and_model_has_a_mask_of_its_own(trained: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (32, 32, 3), np.uint8)
    paths = [trained / name for name in ("patient_A/left.png", "patient_B/left.png", "both/scan.png", "both/scan.bmp")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    (trained / "both/notes.txt").write_text("passed over")
    said = masks_said(pictured(trained, "patient_A/left.png", "patient_B/left.png", "both"))
    assert len(set(said)) == 4
    assert [Path(name).name.split("-")[0] for name in said] == ["left.png", "left.png", "scan.bmp", "scan.png"]
    Image.fromarray(255 - pixels).save(paths[0])
    (changed,) = masks_said(pictured(trained, "patient_A/left.png"))
    assert changed not in said
    last = trained / "exps/study/first/checkpoints/task_2/last.ckpt"
    kept = last.read_bytes()
    last.write_bytes((trained / "exps/study/first/checkpoints/task_1/last.ckpt").read_bytes())
    weights, facts = checkpoint.load(last)
    checkpoint.save(last, weights, {key: value for key, value in facts.items() if key != "config"})
    other = masks_said(pictured(trained, "patient_A/left.png"))
    last.write_bytes(kept)
    assert other != [changed]
    last.rename(last.with_name("kept"))
    done = pictured(trained, "patient_A/left.png")
    last.with_name("kept").rename(last)
    assert "/task_1/" in masks_said(done)[0]
    assert "training is not finished: task_2" in done.stderr


@pytest.mark.parametrize(
    ("make", "message", "advice"),
    [
        (lambda path: path.write_text("no image"), "in.put: can't be read", "of another type"),
        (lambda path: None, "in.put can't be read: No such file", "Check the path"),
        (lambda path: os.mkfifo(path), "in.put is not a file, but a pipe", "Copy it"),
        (lambda path: path.mkdir(), "no images in in.put", "Give a 2D image"),
        (lambda path: (path.mkdir(), (path / "1").write_bytes(bytes(128) + b"DICM")), "no images in in.put", "a DICOM"),
        (lambda path: path.symlink_to(path), "in.put can't be read", "Check the path"),
    ],
    ids=["text", "missing", "pipe", "empty folder", "DICOM without image", "loop"],
)
def test_what_is_no_image_is_2(trained: Path, make: Any, message: str, advice: str) -> None:
    path = trained / "in.put"
    make(path)
    try:
        done = pictured(trained, "in.put", code=2)
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    refused(done, 2, message, advice)


def test_volumes_are_none_for_a_model_of_pictures_and_the_others_are_predicted(trained: Path) -> None:
    folder = trained / "mixed"
    folder.mkdir()
    deep = np.arange(4096, dtype=np.int16).reshape(4, 32, 32)
    sitk.WriteImage(sitk.GetImageFromArray(deep), str(folder / "deep.nii.gz"))
    alone = pictured(trained, "mixed/deep.nii.gz", code=2)
    refused(alone, 2, "deep.nii.gz has 3 axes; the model takes 2D images (2 axes)", "Save the slices")
    for side in (1, 5, 33):  # smaller than any patch; of no whole number of halvings
        Image.fromarray(np.full((side, side + 1), 9, np.uint8)).save(folder / f"{side}.png")
    Image.fromarray(np.full((32, 32, 4), 255, np.uint8)).save(folder / "alpha.png")
    done = pictured(trained, "mixed", code=2)
    refused(done, 2, "4 predicted; not predicted, out of 5 images (1)", "Save the slices")
    assert [Path(name).name.split("-")[0] for name in masks_said(done)] == ["1.png", "33.png", "5.png", "alpha.png"]


def test_predict_tests_one_model_at_a_time(trained: Path) -> None:
    both = relay("predict", "-c=study", "-n=first", "--received=1", "--bundle=x.bundle", cwd=trained)
    refused(both, 2, "--received and --bundle", "one of them")
    alone = relay("predict", "-c=study", "-n=first", "--bundle=x.bundle", cwd=trained)
    refused(alone, 2, "handoff", "a deployment's config")
    wrong = relay("predict", "-c=study", "-n=first", "--tolerance=nan", cwd=trained)
    assert wrong.returncode == 2
    assert "Invalid value for '--tolerance'" in wrong.stderr


def test_many_images_are_predicted_and_a_bad_one_ends_no_run(trained: Path) -> None:
    (trained / "many").mkdir()
    for k in range(2):
        pixels = np.random.default_rng(k).integers(0, 255, (40, 57, 3), np.uint8)
        Image.fromarray(pixels).save(trained / f"many/{k}.png")
    (trained / "many/broken.png").write_bytes(b"broken")
    command = ["predict", "-c=study", "-n=first", "--images=many", "--output=found"]
    done = relay(*command, "--uncertainty", cwd=trained)
    refused(done, 1, "1 of 3 images could not be predicted, the first because: many/broken.png", "column error")
    assert "To be reviewed by a person:" in done.stdout
    assert "Predicted: 2 of 3 images" in done.stdout
    rows = {row["file"]: row for row in table(trained / "found/predictions.csv")}
    assert {rows["0.png"]["review"], rows["1.png"]["review"]} <= {"yes", "no"}
    said = json.loads((trained / "found/about.json").read_text())
    assert (said["model"]["leg"], said["counts"]["predicted"]) == (2, 2)
    assert said["review"]["validation images"] > 0
    for name in ("0", "1"):  # the same mask as of --image, and as many pixels as the table says
        (single,) = masks_said(pictured(trained, f"many/{name}.png"))
        mask = np.asarray(Image.open(trained / "found" / rows[f"{name}.png"]["mask"]))
        assert np.array_equal(mask, np.asarray(Image.open(trained / single)))
        counted = [float(value) for column, value in rows[f"{name}.png"].items() if column.endswith("[pixels]")]
        assert counted == [(mask == k).sum() for k in (1, 2)]
    (trained / "many/broken.png").unlink()
    again = relay(*command, "--uncertainty", cwd=trained)
    assert (again.returncode, "2 of 2 images, 2 of them by an earlier run" in again.stdout) == (0, True)
    for words, said, cure in (
        ([*command, "--model=generalist", "--ensemble=a", "--export=b"], "--ensemble and --export", "one of them"),
        (command[:-1], "--images needs a folder to write to", "-o FOLDER"),
        ([*command[:3], "--uncertainty"], "--uncertainty is for --images", "--images FOLDER"),
        (["predict", "--images=many", "--output=found"], "no config", "-c CONFIG"),
        ([*command, "--dicom"], "none of the images is DICOM", "Leave --dicom out"),
        ([*command, "--codes=c.csv"], "--codes is for --dicom", "Add --dicom"),
        ([*command, "--image=many"], "--image and --images", "one of them"),
        (command, "holds predictions of other settings", "Name another folder"),
        ([*command, "--export=many"], "--export and -c", "Leave out -c"),
        (["predict", "--images=many", "--output=x", "--export=many"], "many is not an export", "--bundle FILE"),
    ):
        refused(relay(*words, cwd=trained), 2, said, cure)


def test_models_of_a_run_are_combined_and_the_result_is_tested(trained: Path) -> None:
    legs = [f"exps/study/first/checkpoints/task_{number}" for number in (1, 2)]
    for words in (("diff", *legs, "--out=d.safetensors"), ("merge", legs[0], "d.safetensors", "--out=m.safetensors")):
        done = relay("models", *words, "--home=home", cwd=trained)
        assert done.returncode == 0, done.stderr
    tested = relay("predict", "-c=study", "-n=first", "--weights=m.safetensors", cwd=trained)
    assert tested.returncode == 0, tested.stderr
    (made,) = (trained / "exps/study/first/results").glob("merged-*/samples.csv")
    own = dice_rows(trained / "exps/study/first/checkpoints/task_2/scores.csv")
    tested_as = [float(row["value"]) for row in dice_rows(made)]
    assert tested_as == pytest.approx([float(row["value"]) for row in own], abs=1e-6)
    no_model = relay("predict", "-c=study", "-n=first", "--weights=d.safetensors", cwd=trained)
    refused(no_model, 2, "is a difference of two models", "relay models merge")
    other = ["common.model.kwargs.features=[4,4,4,4,4]", "--weights=m.safetensors"]
    refused(relay("predict", "-c=study", "-n=first", *other, cwd=trained), 2, "model.kwargs.features", "=[8,8,8,8,8]")


def test_the_scripts_of_the_repository_are_the_commands(tmp_path: Path) -> None:
    path = write(tmp_path, "mine/tiny", **{"current_tasks.task_ids": [1]})
    train = forked.run(f"python {ROOT}/train.py -c {path} -n first", tmp_path)
    assert train.returncode == 0, train.stderr
    predict = forked.run(f"python {ROOT}/predict_test.py -c mine/tiny -n=first -s -v", tmp_path)
    assert predict.returncode == 0, predict.stderr
    root = tmp_path / "exps/mine/tiny/first"
    assert (root / "checkpoints/task_1/last.ckpt").is_file()
    assert list((root / "results/predictions/task_1/clinic_b").glob("*.png"))
    refused(forked.run(f"python {ROOT}/train.py -c none", tmp_path), 2, "no config 'none'", "mine/tiny")


def test_compare_puts_strategies_side_by_side(tmp_path: Path) -> None:
    write(tmp_path)
    done = relay("compare", "-c=study", "--strategies", "local, sequential", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name, folder in (("local", "local_seed7"), ("sequential", "sequential_1-2_seed7")):
        summary = json.loads((tmp_path / f"exps/study/compare/runs/{folder}/results/summary.json").read_text())
        assert summary["strategy"] == name
        assert f"{summary['mean']:.3f}" in done.stdout


# -- real images -------------------------------------------------------------------------------------------

VOLUMES: dict[str, Any] = {
    "common.dataset": {
        "name": "folder",
        "kwargs": {"num_classes": 3, "channels": 1, "mask_dir": "label", "patch_size": [16, 16, 16]},
    },
    "common.model.kwargs": {"features": [2, 2, 2, 2, 2], "spatial_dims": 3, "norm": "instance"},
    "common.train": {"num_mimgs": 0.000008, "batch_size": 2, "check_val_every_n_epoch": 100},
    "all_tasks_datasets": [{"kwargs": {"task_id": 1, "task_name": "msd", "img_folder": "hippocampus"}}],
    "current_tasks.task_ids": [1],
}


def test_volumes_are_predicted_with_the_geometry_of_their_images(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "hippocampus"
    for kind in ("image", "label"):
        (tmp_path / "hippocampus" / kind).mkdir(parents=True)
        for name in sorted(p.name for p in (source / kind).glob("*.nii.gz"))[:6]:
            volume = sitk.ReadImage(str(source / kind / name))
            volume.SetSpacing((0.9, 1.0, 1.3))
            volume.SetOrigin((7.0, -3.0, 2.5))
            volume.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
            sitk.WriteImage(volume, str(tmp_path / "hippocampus" / kind / name))
    path = tmp_path / "volumes.yaml"
    path.write_text(yaml.safe_dump(given(**VOLUMES)))
    root = f"common.dataset.kwargs.root_path={tmp_path}"
    for command in (["train"], ["predict", "-s"]):
        done = relay(*command, "-c", "volumes.yaml", root, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    Image.new("L", (20, 20)).save(tmp_path / "flat.png")
    flat = relay("predict", "-c", "volumes.yaml", root, "--image", str(tmp_path / "flat.png"), cwd=tmp_path)
    refused(flat, 2, "flat.png has 2 axes; the model takes volumes (3 axes)", "Give the whole volume")
    saved = tmp_path / "exps/volumes/run/results"
    samples = {row["sample"]: row for row in dice_rows(saved / "samples.csv") if row["class"] == "class 1"}
    assert samples
    for name, row in samples.items():
        image = sitk.ReadImage(str(tmp_path / "hippocampus/image" / f"{Path(name).name}.nii.gz"))
        mask = sitk.ReadImage(str(saved / "predictions/task_1/msd" / f"{name}.nii.gz"))
        for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(mask, what)() == pytest.approx(getattr(image, what)(), abs=1e-6)
        truth = sitk.ReadImage(str(tmp_path / "hippocampus/label" / f"{Path(name).name}.nii.gz"))
        dice = by_hand(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(truth), 1)
        assert float(row["value"]) == pytest.approx(dice, abs=1e-6)


FUNDUS: dict[str, Any] = {
    "common.dataset": {"name": "fundus", "kwargs": {"img_size": [48, 64], "val_fraction": 0.0}},
    "common.train": {"num_epochs": 1, "batch_size": 1},
    "all_tasks_datasets": [{"kwargs": {"task_id": 1, "task_name": "domain1", "img_folder": "Domain1"}}],
    "current_tasks.task_ids": [1],
}


def test_resized_images_are_predicted_at_their_own_size(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "fundus_dofe"
    (tmp_path / "fundus.yaml").write_text(yaml.safe_dump(given(**FUNDUS)))
    for command in (["train"], ["predict", "-s"]):
        done = relay(*command, "-c=fundus.yaml", f"common.dataset.kwargs.root_path={source}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    results = tmp_path / "exps/fundus/run/results"
    rows = dice_rows(results / "samples.csv")
    assert len(rows) == 3
    with Image.open(results / "predictions/task_1/domain1" / f"{rows[0]['sample']}.png") as image:
        mask = np.asarray(image)
    (path,) = (source / "Domain1/test/ROIs/mask").iterdir()
    with Image.open(path) as image:
        truth = np.asarray(image.convert("L"))
    assert mask.shape == truth.shape
    for row, label, grey in zip(rows, (0, 1, 2), (255, 128, 0), strict=True):
        dice = by_hand(mask == label, truth == grey, True)
        assert (float(row["value"]) if row["value"] else None) == (dice and pytest.approx(dice, abs=1e-6))
