"""The how-tos for plug-ins, followed to the letter by somebody who has nothing but them, in an empty folder."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from typer.testing import CliRunner

from relay import registry
from relay.augment import augment
from relay.cli.app import app
from relay.config import dump, read
from relay.data import Case
from relay.errors import UserError
from relay.metrics import measure, metrics
from relay.metrics.installed import ORDER
from relay.plan import Study, plan
from relay.report.curves import read_curves
from relay.report.gather import read_run
from relay.report.plot_style import styled
from relay.report.sections import sections
from relay.results import read_rows
from tests.report.reading import read as read_page
from tests.studies import given

RUN_AS_THEY_STAND = ("add-a-data-set", "add-a-strategy")
"""Pages whose commands tests/test_readme.py runs."""
PAGES = sorted((Path(__file__).parents[1] / "docs" / "how-to").glob("add-a*.md"))
PAGES = [page for page in PAGES if page.stem not in RUN_AS_THEY_STAND]
FILE = re.compile(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```", re.S | re.M)
YAML = re.compile(r"^```yaml\n(.*?)^```", re.S | re.M)
ENTRY = re.compile(r'^\[project\.entry-points\."(relay\.\w+)"\]\n((?:\S+ = "\S+"\n)+)', re.M)
TEXT = "\n".join(page.read_text() for page in PAGES)
FILES = dict(FILE.findall(TEXT))
ENTRIES = {group: lines.replace('"', "") for group, lines in ENTRY.findall(TEXT)}
FRESH = (registry._installed, registry._entries, metrics)
"""What remembers which plug-ins there are."""


@dataclass(frozen=True)
class Newcomer:
    """Their folder, their run's folder, and the checked config."""

    folder: Path
    run: Path
    study: Study


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """All examples in one folder, and one run that names them all as the pages do: train, predict, report."""
    folder = tmp_path_factory.mktemp("newcomer")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    tiny = given(**{"current_tasks.task_ids": [1], "common.dataset.kwargs.count": 8, "common.train.num_epochs": 1})
    tiny["common"]["train"]["log_every_n_steps"] = 1
    del tiny["common"]["model"], tiny["all_tasks_datasets"][1]
    blocks = OmegaConf.merge(tiny, *(OmegaConf.create(text) for text in YAML.findall(TEXT)))
    (folder / "study.yaml").write_text(dump(OmegaConf.to_container(blocks)))
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [place for place in sys.path if place])
        for words in ("train -c study.yaml -n first", "predict -c study.yaml -n first", "report exps/study/first"):
            done = CliRunner().invoke(app, words.split(), catch_exceptions=False)
            assert done.exit_code == 0, done.output
        yield Newcomer(folder, folder / "exps/study/first", plan(read(Path("study.yaml"), []), "study"))
    for name in set(sys.modules) - before:
        del sys.modules[name]
    for remembered in FRESH:
        remembered.cache_clear()


def test_every_page_has_a_whole_file() -> None:
    assert sorted(FILES) == [
        "my_augmentation.py",
        "my_cleaning.py",
        "my_loss.py",
        "my_metric.py",
        "my_net.py",
        "my_optimizer.py",
        "my_scheduler.py",
        "my_section.py",
        "my_step.py",
        "my_volume.py",
    ]
    assert set(ENTRIES) == {
        f"relay.{kind}" for kind in registry.KINDS if kind not in ("strategies", "memories", "datasets")
    }


def test_the_loss_is_the_one_that_was_minimised(newcomer: Newcomer) -> None:
    """Tversky's is at most 1; the default, Dice and cross-entropy together, begins far above that with 3 classes."""
    (curve,) = read_curves(read_run(newcomer.run))
    ((_, first), *_), *_ = curve.loss.values()
    assert 0 < first <= 1
    logits, target = torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 1], [2, 2]]])
    shares = [1 / 3 / (1 / 3 + 0.6 * 2 / 3 + 0.4 * 1.0), 2 / 3 / (2 / 3 + 0.6 * 4 / 3 + 0.4 * 2 / 3)]
    loss = newcomer.study.legs[0].loss.build(3)
    assert float(loss(logits, target)) == pytest.approx(1 - sum(shares) / 2, abs=1e-4)


def test_the_net_is_the_one_that_was_trained(newcomer: Newcomer) -> None:
    state = torch.load(newcomer.run / "checkpoints/task_1/last.ckpt", map_location="cpu", weights_only=True)
    shapes = [tuple(tensor.shape) for tensor in _tensors(state)]
    assert (8, 3, 3, 3) in shapes
    assert (3, 8, 1, 1) in shapes


def _tensors(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _tensors(value)
    elif hasattr(tree, "ndim"):
        yield tree


def test_metrics_are_measured_summed_up_and_shown(newcomer: Newcomer) -> None:
    rows = read_rows(newcomer.run / "results/samples.csv")
    by = {(r["sample"], r["patient"], r["class"], r["metric"]): r["value"] for r in rows}
    whole = [key for key in by if key[3] == "jaccard"]
    assert {key[0] for key in whole} > {""}  # samples, and patients
    for sample, patient, name, _ in whole:
        dice, jaccard = (by[sample, patient, name, metric] for metric in ("dice", "jaccard"))
        assert jaccard == pytest.approx(dice / (2 - dice), nan_ok=True)
    assert all(math.isnan(r["value"]) for r in rows if r["metric"] == "volume_error")  # drawn images have no spacing
    found = json.loads((newcomer.run / "results/evaluation.json").read_text())
    assert {row["metric"] for row in found["rows"]} == {*ORDER["segmentation"], "jaccard", "volume_error"}
    assert {row["metric"] for row in found["voxels"]} == {"dice", "sensitivity", "specificity", "jaccard"}
    page = read_page((newcomer.run / "results/report.html").read_text())
    table = next(t for t in page.all("table") if "mean over images" in t.all("caption")[0].text)
    heads = [head.text for head in table.all("thead")[0].all("th")]
    assert heads[3:5] == ["Dice", "Sensitivity"]
    assert heads[-2:] == ["Jaccard", "Volume error"]
    assert "overlap as a share of both areas together; 1 is perfect" in page.text


def test_a_metric_knows_the_spacing(newcomer: Newcomer) -> None:
    pred, truth = np.array([[1, 1, 1, 0]]), np.array([[1, 0, 0, 0]])
    found = measure(pred, truth, 2, (2.0, 0.5), more=newcomer.study.results.metrics)
    assert found["volume_error"] == [2.0, 2.0]  # two pixels of 1 mm²
    assert found["jaccard"] == [pytest.approx(1 / 3), pytest.approx(1 / 3)]


def test_the_section_is_on_the_page(newcomer: Newcomer) -> None:
    page = read_page((newcomer.run / "results/report.html").read_text())
    section = page.all("section")[-1]
    assert section.attrs["id"] == "failures"
    dice = read_run(newcomer.run).scores.means(1, "clinic_a").values()
    (row,) = section.all("tbody")[0].all("tr")
    cells = [cell.text for cell in row.all("th", "td")]
    assert cells == ["clinic_a", str(len(dice)), str(sum(value < 0.5 for value in dice))]


def test_predictions_of_another_tool_are_scored_by_it_too(newcomer: Newcomer, tmp_path: Path) -> None:
    mask = np.zeros((4, 4), np.uint8)
    for folder, columns in (("pred", 3), ("truth", 1)):
        mask[:, :columns], mask[:, columns:] = 1, 0
        (tmp_path / folder).mkdir()
        Image.fromarray(mask).save(tmp_path / folder / "a.png")
    words = ["score", *(str(tmp_path / name) for name in ("pred", "truth")), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--metrics", "my_metric:Jaccard"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "jaccard" in done.output
    found = json.loads((tmp_path / "out/score.json").read_text())
    assert found["mean"]["jaccard"] == pytest.approx(1 / 3)
    assert found["voxels"]["jaccard"]["class 1"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 3", "TypeError: it gave int; it must give a relay.report.Section, or None"),
        ("return Section('custody', 'Mine')", "ValueError: its id 'custody' is not plain, or is another section's"),
        ("return Section('a b', 'Mine')", "ValueError: its id 'a b' is not plain"),
        ("return run.nothing", "AttributeError: 'Run' object has no attribute 'nothing'"),
    ],
)
def test_a_broken_section_is_its_authors_error(body: str, said: str, newcomer: Newcomer, tmp_path: Path) -> None:
    name = f"section_{tmp_path.name}".replace("-", "_")
    text = f"from relay.report import Section\ndef mine(run):\n    {body}\n"
    (newcomer.folder / f"{name}.py").write_text(text)
    run = replace(read_run(newcomer.run), given={"results": {"report_sections": [f"{name}:mine"]}})
    with styled(), pytest.raises(UserError, match=re.escape(f"report section '{name}:mine' failed: {said}")):
        list(sections(run))


def test_a_loss_that_fails_in_training_is_its_authors_error(
    newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FILES["my_loss.py"].replace("found = logits", "found = logits.nothing")
    (newcomer.folder / "bad_loss.py").write_text(text)
    monkeypatch.chdir(newcomer.folder)
    words = ["train", "-c", "study.yaml", "-n", "bad", "common.train.loss.name=bad_loss:OneTversky"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert "error: bad_loss failed: AttributeError: 'Tensor' object has no attribute 'nothing'" in said
    line = 1 + text.splitlines().index("                found = logits.nothing.float().softmax(1)")
    assert re.search(rf"what to do: Correct it: it stopped in line {line} of \S*bad_loss\.py", said)


def test_optimiser_schedule_and_augmentation_are_those_of_the_pages(newcomer: Newcomer) -> None:
    leg = newcomer.study.legs[0]
    optimizer = leg.optimizer.build([torch.nn.Parameter(torch.zeros(1))])
    assert type(optimizer) is torch.optim.NAdam
    assert optimizer.defaults["lr"] == 1e-3
    assert [leg.scheduler.factor(step, 10) for step in (0, 5, 10)] == pytest.approx([1, 0.55, 0.1])
    images, masks = np.full((2, 64, 64, 3), 128, np.uint8), np.zeros((2, 64, 64), np.uint8)
    noisy, same = augment(leg.data.augment["train"], images, masks, 1)
    assert noisy.std() == pytest.approx(10, rel=0.05)
    assert same is masks


def test_the_step_is_the_one_that_was_run(newcomer: Newcomer) -> None:
    leg = newcomer.study.legs[0]
    case = leg.data.made_steps[-1].process(Case(np.full((2, 2, 3), 63.75, np.float32), np.zeros((2, 2), np.uint8)))
    assert case.image == pytest.approx(127.5)
    assert leg.data.fixed_size == [32, 32]


def test_entry_points_need_no_config(newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As pip would install it: the pages' entry points, in a package of their own."""
    package = tmp_path / "my_relay_plugins-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: my-relay-plugins\nVersion: 1.0\n")
    lines = "\n".join(f"[{group}]\n{entries}" for group, entries in ENTRIES.items())
    (package / "entry_points.txt").write_text(lines)
    monkeypatch.syspath_prepend(str(tmp_path))
    for remembered in FRESH:
        remembered.cache_clear()
    try:
        for group, entries in ENTRIES.items():
            kind: Any = group.removeprefix("relay.")
            for name, _, where in (line.partition(" = ") for line in entries.splitlines()):
                assert registry.find(kind, name) is registry.find(kind, where)
                listed = CliRunner().invoke(app, ["list", kind]).output
                assert f"{name}  (my-relay-plugins 1.0)" in listed
        assert list(metrics()) == [*ORDER["segmentation"], "jaccard"]
        assert list(metrics(newcomer.study.results.metrics)) == [*ORDER["segmentation"], "jaccard", "volume_error"]
        assert measure(np.array([1, 1]), np.array([1, 0]), 2)["jaccard"] == [0, 0.5]
    finally:
        monkeypatch.undo()
        for remembered in FRESH:
            remembered.cache_clear()
