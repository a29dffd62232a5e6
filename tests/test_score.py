"""``relay score``, from files to files: known answers, and inputs that can't be scored."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import typer
from PIL import Image
from sklearn import metrics as sk
from typer.testing import CliRunner

from relay.cli.options import PLAIN
from relay.cli.score import score
from relay.data.formats import files
from relay.errors import DataError
from relay.metrics.installed import ORDER
from relay.metrics.segmentation import measure
from relay.results import COLUMNS, read_rows
from relay.score.pairs import _masks_in

app = typer.Typer(**PLAIN)
app.command()(score)

METRICS = ORDER["segmentation"]


def run(*arguments: object, code: int = 0) -> str:
    """What the command says; its words unwrapped."""
    done = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "150"})
    assert done.exit_code == code, done.output
    return done.output


def scored(out: Path) -> tuple[dict[tuple[str, str], dict[str, Any]], dict[str, Any], list[dict[str, Any]]]:
    """Lines by class and metric, the summary, the rows."""
    summary = json.loads((out / "score.json").read_text())
    return {(r["class"], r["metric"]): r for r in summary["rows"]}, summary, read_rows(out / "samples.csv")


def png(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8)).save(path)


def nifti(path: Path, mask: np.ndarray, spacing: Sequence[float], origin: Sequence[float] = (0, 0, 0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))


def square(row: int, column: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((40, 40), np.uint8)
    mask[row : row + side, column : column + side] = 1
    return mask


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders: a right square, one shifted by 4 columns, a missed one, an empty pair."""
    pred, truth = tmp_path / "theirs", tmp_path / "truth"
    empty = square(0, 0, 0)
    given = {
        "p1_a": (square(5, 5), square(5, 5)),
        "p1_b": (square(5, 9), square(5, 5)),
        "p2_a": (empty, square(5, 5)),
        "p3_a": (empty, empty),
    }
    for name, masks in given.items():
        for folder, mask in zip((pred, truth), masks, strict=True):
            png(folder / f"{name}.png", mask)
    return pred, truth


def test_known_answers_come_through_the_whole_chain(two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--classes", "background,cup", "--spacing", "1,0.25", "--tolerance", 0.5, "--patients", "^p[0-9]"]
    said = run(*two, "-o", out, *options)
    lines, summary, rows = scored(out)
    dice = lines["cup", "dice"]
    assert (dice["measured"], dice["samples"]) == (3, 4)
    assert dice["mean"] == pytest.approx((1 + 0.6 + 0) / 3)
    assert dice["sd"] == pytest.approx(np.std([1, 0.6, 0], ddof=1))
    assert (dice["median"], dice["min"]) == pytest.approx((0.6, 0))
    assert lines["cup", "hd95"]["mean"] == pytest.approx((0 + 1) / 2)  # 4 columns of 0.25 mm
    assert (lines["cup", "hd95"]["measured"], lines["cup", "hd95"]["samples"]) == (2, 4)
    assert lines["cup", "sensitivity"]["measured"] == 3
    assert ("background", "hd95") not in lines
    assert summary["mean"]["dice"] == pytest.approx(dice["mean"])
    assert summary["voxels"]["dice"]["cup"] == pytest.approx(2 * 160 / (100 + 100 + 300))
    subjects = {
        r["patient"]: r["value"] for r in rows if not r["sample"] and (r["class"], r["metric"]) == ("cup", "dice")
    }
    assert subjects == {"p1": pytest.approx(2 * 160 / 400), "p2": 0, "p3": pytest.approx(math.nan, nan_ok=True)}
    assert (summary["samples"], summary["patients"], summary["unit"]) == (4, 3, "mm")
    assert list(rows[0]) == list(COLUMNS)
    assert {(r["study"], r["leg"], r["strategy"]) for r in rows} == {("theirs", None, "")}
    for words in ("cup", "0.533", "hd95 and asd in mm; nsd within 0.5 mm", "absent from both truth and prediction"):
        assert words in " ".join(said.split())


def test_rows_are_what_is_measured_and_pixels_are_said_so(two: tuple[Path, Path], tmp_path: Path) -> None:
    (two[0] / "below").mkdir()
    said = run(two[0] / "below" / "..", two[1], "-o", tmp_path / "out", "--workers", 1)
    _, summary, rows = scored(tmp_path / "out")
    assert summary["study"] == two[0].name  # not what stands last in the path
    assert "hd95 and asd in px" in " ".join(said.split())
    assert (summary["unit"], summary["subjects"], summary["classes"]) == ("px", [], ["background", "class 1"])
    found = {(r["class"], r["metric"]): r["value"] for r in rows if r["sample"] == "p1_b"}
    expected = measure(square(5, 9), square(5, 5), 2)
    for metric in METRICS:
        assert found["class 1", metric] == pytest.approx(expected[metric][1], abs=1e-6)
    assert found["class 1", "hd95"] == 4
    assert math.isnan(found["background", "hd95"])


def test_volumes_are_measured_in_their_own_millimetres(tmp_path: Path) -> None:
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[4:6, 2:10, 2:10] = 1
    nifti(tmp_path / "truth/case.nii.gz", truth, (2.5, 1, 1))
    nifti(tmp_path / "theirs/case.nii", np.roll(truth, 2, axis=0), (2.5, 1, 1))
    run(tmp_path / "theirs", tmp_path / "truth", "-o", tmp_path / "out")
    lines, summary, _ = scored(tmp_path / "out")
    assert lines["class 1", "hd95"]["mean"] == pytest.approx(5)
    assert lines["class 1", "asd"]["mean"] == pytest.approx(3.75)
    assert lines["class 1", "dice"]["mean"] == 0
    assert summary["unit"] == "mm"


def test_black_and_white_masks_need_their_values(two: tuple[Path, Path], tmp_path: Path) -> None:
    for path in [file for folder in two for file in folder.iterdir()]:
        png(path, np.asarray(Image.open(path)) * 255)
    said = run(*two, code=2)
    assert "the values of the truth, 0, 1, 255, don't identify the classes" in said
    assert "--values 0,255" in said
    run(*two, "--values", "0,255", "-o", tmp_path / "out")
    assert scored(tmp_path / "out")[0]["class 1", "dice"]["mean"] == pytest.approx((1 + 0.6 + 0) / 3)


def test_all_that_is_wrong_is_told_at_once(two: tuple[Path, Path], tmp_path: Path) -> None:
    pred, truth = two
    (pred / "p3_a.png").unlink()
    png(pred / "extra.png", square(1, 1))
    png(pred / "p1_a.png", square(5, 5)[:30])
    png(pred / "p1_b.png", square(5, 9) * 7)
    (pred / "p2_a.png").write_bytes(b"no picture")
    said = run(pred, truth, "-o", tmp_path / "out", "--workers", 1, code=2)
    for words in (
        "can't be scored (5)",
        f"no truth for {pred}/extra.png in {truth}",
        f"no prediction for {truth}/p3_a.png in {pred}",
        f"{pred}/p1_a.png: size 30 x 40, truth 40 x 40",
        f"{pred}/p1_b.png: values 7 are not classes; expected: 0 to 1",
        f"{pred}/p2_a.png: can't be read",
    ):
        assert words in " ".join(said.split())
    assert not (tmp_path / "out").exists()


def test_unknown_values_of_predictions_are_cured_with_options_of_the_command(two: tuple[Path, Path]) -> None:
    pred, truth = two
    for path in pred.iterdir():
        png(path, np.asarray(Image.open(path)) * 255)
    said = run(pred, truth, code=2)
    assert "--prediction-values 0,255" in said
    assert "mask_values" not in said
    run(pred, truth, "--prediction-values", "0,255")


def test_only_a_folder_of_scores_is_written_over(two: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "samples.csv").write_text("of a run")
    said = run(*two, "-o", tmp_path / "results", code=2)
    assert "has a samples.csv that is not from relay score" in " ".join(said.split())
    assert (tmp_path / "results" / "samples.csv").read_text() == "of a run"
    for _ in range(2):
        run(*two, "-o", tmp_path / "out")


def test_what_was_predicted_is_scored_and_what_is_missing_is_said(two: tuple[Path, Path], tmp_path: Path) -> None:
    pred, truth = two
    (pred / "p2_a.png").unlink()
    said = run(pred, truth, "-o", tmp_path / "out")
    lines, summary, rows = scored(tmp_path / "out")
    assert (summary["samples"], summary["missing"]) == (3, ["p2_a"])
    assert lines["class 1", "dice"]["mean"] == pytest.approx((1 + 0.6) / 2)
    assert "p2_a" not in {row["sample"] for row in rows}
    assert "Not scored: 1 of 4 have no prediction: p2_a." in said


def test_masks_in_folders_below_go_together_by_path_else_by_name(tmp_path: Path) -> None:
    """As ``relay predict -s`` writes them, class indices, against masks in 0 and 255 that lie otherwise."""
    for site, shift in (("a", 0), ("b", 4)):
        png(tmp_path / "predictions" / site / site / f"{site}1.png", square(5, 5 + shift))
        png(tmp_path / "predictions" / site / site / "same.png", square(5, 5 + shift))
        png(tmp_path / "truth" / site / "mask" / f"{site}1.png", square(5, 5) * 255)
        png(tmp_path / "truth" / site / "mask" / "same.png", square(5, 5) * 255)
    values, out = ["--values", "0,255"], tmp_path / "out"
    for site, dice in (("a", 1), ("b", 0.6)):
        run(tmp_path / "predictions" / site, tmp_path / "truth" / site, *values, "-o", out)
        lines, summary, _ = scored(out)
        assert (lines["class 1", "dice"]["mean"], summary["samples"], summary["missing"]) == (dice, 2, [])
    said = run(tmp_path / "predictions", tmp_path / "truth", *values, code=2)
    assert "several truths" in said
    assert "a/mask/same.png" in said
    for site in "ab":
        (tmp_path / "truth" / site / "mask").rename(tmp_path / "truth" / site / site)
    run(tmp_path / "predictions", tmp_path / "truth", *values, "-o", out)
    lines, summary, rows = scored(out)
    assert (lines["class 1", "dice"]["mean"], summary["samples"]) == (pytest.approx(0.8), 4)
    assert {row["sample"] for row in rows} >= {"a/a/a1", "b/b/same"}
    said = run(tmp_path / "predictions" / "a", tmp_path / "truth" / "b" / "b", *values, code=2)
    assert "no truth for" in said


def test_class_indices_or_values_of_the_truth_in_the_predictions(tmp_path: Path) -> None:
    """Levels 255, 128, 0: a prediction of nothing but 0 could be all background, or all cup."""
    truth, pred, out = tmp_path / "truth", tmp_path / "pred", tmp_path / "out"
    classes = square(5, 5)
    classes[6:9, 6:9] = 2
    png(truth / "x.png", np.array([255, 128, 0])[classes])
    for given in (classes, np.array([255, 128, 0])[classes]):
        png(pred / "x.png", given)
        run(pred, truth, "--values", "255,128,0", "-o", out)
        assert scored(out)[0]["class 2", "dice"]["mean"] == 1
    png(pred / "x.png", classes * 0)
    said = run(pred, truth, "--values", "255,128,0", "-o", out, code=2)
    assert "the predictions contain 0: class indices, or values as in the truth" in said
    for asked, dice in (("0,1,2", 0), ("255,128,0", 2 * 9 / (1600 + 9))):
        run(pred, truth, "--values", "255,128,0", "--prediction-values", asked, "-o", out)
        assert scored(out)[0]["class 2", "dice"]["mean"] == pytest.approx(dice)


def test_scores_of_folders_of_one_name_lie_apart(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pred, truth = two
    other = truth.parent / "elsewhere" / pred.name
    shutil.copytree(truth, other)
    monkeypatch.chdir(truth.parent)
    for folder in (pred, other, pred):
        assert "exps/score/theirs-" in run(folder, truth)
    dice = [scored(out)[0]["class 1", "dice"]["mean"] for out in (truth.parent / "exps/score").iterdir()]
    assert sorted(dice) == pytest.approx([1.6 / 3, 1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--prediction-values", "0,1,2", "--values", "0,1"], "--values names 2 classes, but --prediction-values 3"),
        (["--spacing", "1,1,1"], "spacing (1, 1, 1) has 3 numbers; the image has 2 axes"),
        (["--spacing", "0"], "spacing (0) must be finite and above 0"),
        (["--spacing", "wide"], "--spacing: 'wide' is not a comma-separated list of numbers"),
        (["--tolerance", "-1"], "tolerance -1 must be finite and not negative"),
        (["--patients", "("], "is not a regular expression"),
        (["--patients", "^q"], "finds no patient in p1_a"),
        (["--classes", "background"], "2 to 255 different values"),
        (["--classes", "a,b", "--values", "0,1,2"], "--classes names 2 classes, but --values 3"),
        (["--task", "segmentatio"], "Did you mean segmentation?"),
    ],
)
def test_options_that_can_not_be_meant(two: tuple[Path, Path], options: list[str], said: str) -> None:
    assert said in run(*two, *options, code=2)


def test_folders_that_are_not_there_or_empty(two: tuple[Path, Path], tmp_path: Path) -> None:
    assert "folder not found" in run(two[0], tmp_path / "nowhere", code=2)
    (tmp_path / "empty").mkdir()
    assert "no masks in" in run(tmp_path / "empty", tmp_path / "empty", code=2)


@pytest.mark.parametrize(
    ("spacing", "origin", "options", "said"),
    [
        ((1, 1, 2), (0, 0, 0), [], "spacing (2, 1, 1), but that of its truth is (1, 1, 1)"),
        ((1, 1, 1), (5, 0, 0), [], "origin (5, 0, 0), but that of its truth is (0, 0, 0)"),
        ((1, 1, 1), (0, 0, 0), ["--spacing", "2"], "its spacing is 1 x 1 x 1 mm, but --spacing says 2 x 2 x 2"),
    ],
)
def test_volumes_that_lie_elsewhere(
    tmp_path: Path, spacing: Sequence[float], origin: Sequence[float], options: list[str], said: str
) -> None:
    mask = np.ones((3, 4, 5), np.uint8)
    nifti(tmp_path / "theirs/case.nii.gz", mask, spacing, origin)
    nifti(tmp_path / "truth/case.nii.gz", mask, (1, 1, 1))
    assert said in run(tmp_path / "theirs", tmp_path / "truth", *options, code=2)


def test_millimetres_and_pixels_are_not_mixed(two: tuple[Path, Path]) -> None:
    for folder in two:
        nifti(folder / "slice.nii.gz", square(5, 5)[None], (3, 1, 1))
    assert "some masks have a spacing and others don't" in run(*two, code=2)


def table(path: Path, head: str, lines: Sequence[Sequence[object]]) -> Path:
    path.write_text("\n".join([head, *(",".join(map(str, line)) for line in lines)]) + "\n")
    return path


def test_classification_is_scikit_learns(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    names, target = ["healthy", "mild", "severe"], rng.integers(0, 3, 40)
    probs = rng.dirichlet([1, 1, 1], 40).round(4)
    pred = table(tmp_path / "net.csv", f"sample,{','.join(names)}", [(f"s{i}", *p) for i, p in enumerate(probs)])
    order = rng.permutation(40)
    truth = table(tmp_path / "truth.csv", "sample,class", [(f"s{i}", names[target[i]]) for i in order])
    said = run(pred, truth, "--task", "classification", "-o", tmp_path / "out")
    lines, summary, rows = scored(tmp_path / "out")
    assert lines["", "accuracy"]["value"] == pytest.approx(np.mean(probs.argmax(1) == target))
    assert lines["mild", "auroc"]["value"] == pytest.approx(sk.roc_auc_score(target == 1, probs[:, 1]))
    assert lines["mean", "f1"]["value"] == pytest.approx(sk.f1_score(target, probs.argmax(1), average="macro"))
    assert np.sum(summary["confusion"]) == sum(bin["count"] for bin in summary["bins"]) == 40
    right = [r["value"] for r in rows if r["metric"] == "accuracy" and r["sample"]]
    assert np.mean(right) == pytest.approx(lines["", "accuracy"]["value"])
    assert "balanced_accuracy" in said


def test_tables_with_missing_predictions_are_scored_and_say_so(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("sample,value\na,2")
    (tmp_path / "t.csv").write_text("sample,value\na,1\nb,5")
    said = run(tmp_path / "p.csv", tmp_path / "t.csv", "--task", "regression", "-o", tmp_path / "out")
    summary = json.loads((tmp_path / "out/score.json").read_text())
    assert (summary["samples"], summary["missing"]) == (1, ["b"])
    assert "Not scored: 1 of 2 have no prediction: b." in said


def test_regression_by_hand(tmp_path: Path) -> None:
    pred = table(tmp_path / "net.csv", "sample,value", [("a", 1), ("b", 4), ("c", 5)])
    truth = table(tmp_path / "truth.csv", "sample,value", [("c", 5), ("a", 2), ("b", 2)])
    run(pred, truth, "--task", "regression", "-o", tmp_path / "out")
    lines, _, rows = scored(tmp_path / "out")
    assert lines["", "mae"]["value"] == 1
    assert lines["", "rmse"]["value"] == pytest.approx(math.sqrt(5 / 3))
    assert lines["", "r2"]["value"] == pytest.approx(1 - 5 / 6)
    assert {r["sample"]: r["value"] for r in rows if r["metric"] == "error"} == {"a": -1, "b": 2, "c": 0}


@pytest.mark.parametrize(
    ("task", "pred", "truth", "said"),
    [
        ("classification", "sample,x,y\na,nan,1", "sample,class\na,x", "a: probability of class x is nan"),
        ("classification", "sample,x,y\na,0.9,0.9", "sample,class\na,x", "a: probabilities add up to 1.8"),
        ("classification", "sample,x,y\na,0.5,0.5", "sample,class\na,z", "a: class 'z' is not one of x, y"),
        ("classification", "sample,x,y\na,0.5,0.5", "sample,class\nb,x", "no prediction for b"),
        ("classification", "sample,x\na,1", "sample,class\na,x", "1 column of probabilities"),
        ("classification", "a,0.5,0.5", "sample,class\na,x", "its columns are a, 0.5, 0.5"),
        ("classification", "sample,x,y\na,0.5", "sample,class\na,x", "a: 2 cells for 3 names"),
        ("classification", "sample,x,y\na,1,0\na,1,0", "sample,class\na,x", "a appears twice"),
        ("regression", "sample,value\na,inf", "sample,value\na,1", "a: 'inf' is not a finite number"),
        ("regression", "sample,value\na,1", "sample,value\na,one", "a: 'one' is not a finite number"),
        ("regression", "sample,value\n", "sample,value\na,1", "no samples"),
        ("regression", "", "sample,value\na,1", "its columns are none"),
    ],
)
def test_tables_that_can_not_be_scored(tmp_path: Path, task: str, pred: str, truth: str, said: str) -> None:
    (tmp_path / "p.csv").write_text(pred)
    (tmp_path / "t.csv").write_text(truth)
    assert said in run(tmp_path / "p.csv", tmp_path / "t.csv", "--task", task, code=2)
    assert "file not found" in run(tmp_path / "q.csv", tmp_path / "t.csv", "--task", task, code=2)


def test_masks_are_scored_without_torch() -> None:
    code = "import sys, relay.cli.score, relay.score.masks; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_options_of_masks_are_refused_for_tables() -> None:
    said = run("a.csv", "b.csv", "--task=classification", "--classes=a,b", "--tolerance=1", code=2)
    assert "--classes, --tolerance: only for masks" in said


def test_where_nothing_can_be_written_nothing_is_measured(two: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is not a folder you may write to" in run(*two, "-o", tmp_path / "file" / "below", code=2)


def test_a_class_may_be_called_mean(tmp_path: Path) -> None:
    pred = table(tmp_path / "pred.csv", "sample,mean,other", [("a", 0.9, 0.1), ("b", 0.2, 0.8)])
    truth = table(tmp_path / "truth.csv", "sample,class", [("a", "mean"), ("b", "other")])
    run(pred, truth, "--task=classification", "-o", tmp_path / "out")
    rows = read_rows(tmp_path / "out" / "samples.csv")
    assert {row["class"] for row in rows if row["metric"] == "f1"} == {"mean", "other"}


def test_files_of_folders_in_folders_are_looked_at_for_dicom_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "mask.png").touch()
    looked: list[Path] = []
    monkeypatch.setattr(files, "is_dicom", lambda path: looked.append(path) or False)
    assert _masks_in(tmp_path) == {"a/b/c/d/mask": deep / "mask.png"}
    assert looked.count(deep / "mask.png") == 1
    monkeypatch.undo()
    (deep / "scan").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(DataError, match=r"a contains a series of 1 DICOM files"):
        _masks_in(tmp_path)


OWN = """
from relay.metrics import ClassMetric, NumberMetric
class Bias(NumberMetric):
    name = "bias"
    def measure(self, numbers): return (numbers.pred - numbers.truth).mean()
class Named(ClassMetric):
    name = "named"
    per_class = True
    def measure(self, classes): return classes.confusion.sum(0) / len(classes.target)
"""


def test_tables_have_metrics_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_of_tables.py").write_text(OWN)
    tables = {
        "regression": ("sample,value\na,1\nb,3", "sample,value\na,0\nb,1", "Bias"),
        "classification": ("sample,x,y\na,1,0\nb,0.9,0.1", "sample,class\na,x\nb,y", "Named"),
    }
    for task, (pred, truth, cls) in tables.items():
        (tmp_path / "p.csv").write_text(pred)
        (tmp_path / "t.csv").write_text(truth)
        run(tmp_path / "p.csv", tmp_path / "t.csv", "--task", task, "-o", task, "--metrics", f"own_of_tables:{cls}")
    of = {task: json.loads((tmp_path / task / "score.json").read_text())["rows"] for task in tables}
    assert [(row["metric"], row["value"]) for row in of["regression"]][-1] == ("bias", 1.5)
    found = {row["class"]: row["value"] for row in of["classification"] if row["metric"] == "named"}
    assert found == {"x": 1.0, "y": 0.0, "mean": 0.5}
