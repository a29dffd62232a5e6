"""Exports: a program that has never heard of relay says what relay says; what can't be exported is refused."""

from __future__ import annotations

import contextlib
import csv
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from relay.bulk import Exported, Outputs, Own, Settings, listed, run
from relay.cli.app import app
from relay.config.devices import Devices
from relay.errors import RelayError, UserError, VerificationError
from relay.export import attest, comparing, exporting, formats, runtimes, standalone
from relay.export.exporting import Wanted, export_model
from relay.export.graph import export
from relay.leg import Progress
from relay.plan import Study
from relay.predict import Model, predict_images
from relay.results import VOTE
from relay.trust import keys
from tests.studies import given, simulate, study
from tests.tasks.tiny import changes

SMALL = {"common.model": {"name": "tests.export.nets:Small"}}
WINDOWS = {"common.dataset.kwargs.img_size": None, "common.dataset.kwargs.patch_size": [24, 20]}
ALONE = "import sys; sys.modules.update(relay=None, torch=None); import runpy; sys.argv = sys.argv[1:]; "
"""Before a script: nothing of relay or torch can be imported."""


def model_of(**more: Any) -> tuple[Model, Study]:
    """A model that is not trained, and its study."""
    made = study(**{**SMALL, **more})
    leg = made.legs[0]
    torch.manual_seed(0)
    net = leg.net.build()
    for weights in net.parameters():
        nn.init.normal_(weights, std=0.3)
    return Model("m", leg, 1, leg.task_name, dict(net.state_dict()), Path("last.ckpt")), made


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "eye.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 51, 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory, picture: Path) -> tuple[Path, Model]:
    """An export that is signed, of a model that sees windows and mirror images."""
    pytest.importorskip("onnxscript")
    made, of = model_of(**WINDOWS, **{"common.predict": {"mirror": True}})
    folder = tmp_path_factory.mktemp("onnx") / "model"
    found = export_model(made, of, folder, Wanted("onnx", 1e-5, (picture,)), keys.new("clinic_a"), pytest.fail)
    assert (found.images, found.from_files, found.differing) == (1, 1, 0.0)
    assert found.difference < 1e-5
    return folder, made


@pytest.mark.slow
def test_a_script_without_relay_says_what_relay_says(onnx: tuple[Path, Model], picture: Path, tmp_path: Path) -> None:
    folder, model = onnx
    command = [sys.executable, "-c", f"{ALONE}runpy.run_path(sys.argv[0], run_name='__main__')", folder / "predict.py"]
    done = subprocess.run(
        [*command, picture, "-o", tmp_path], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    own = next(predict_images(model, [picture], tmp_path / "own", Devices(), Progress(1), warn=pytest.fail))
    mask = np.array(Image.open(tmp_path / "eye_mask.png"))
    assert len(np.unique(mask)) > 1
    assert np.array_equal(mask, np.array(Image.open(own)))


def test_an_onnx_model_says_what_it_takes(onnx: tuple[Path, Model]) -> None:
    import onnx as library

    folder, model = onnx
    read = library.load(str(folder / "model.onnx"))
    said = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert said["model"]["opset"] == read.opset_import[0].version == formats.OPSET
    ((batch, channels, *sides),) = [
        [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in read.graph.input
    ]
    assert channels == 3
    assert all(isinstance(each, str) for each in (batch, *sides)), "they can vary"
    assert [each.name for each in read.graph.output] == said["output"]["names"] == ["logits", "probabilities"]
    assert {p.key: p.value for p in read.metadata_props}["relay.weights"] == model.digest == said["lineage"]["weights"]


def test_a_statement_covers_every_file_and_names_who_signed(onnx: tuple[Path, Model], tmp_path: Path) -> None:
    folder, model = onnx
    said, signer = attest.verify(folder)
    assert (said["weights"], said["leg"], signer and signer.name) == (model.digest, 1, "clinic_a")
    told = CliRunner().invoke(app, ["verify", str(folder)])
    assert told.exit_code == 0
    assert signer
    assert signer.fingerprint in " ".join(told.output.split())


def damage_byte(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[-9] ^= 1
    (folder / "model.onnx").write_bytes(data)


def cache(folder: Path) -> None:
    """Python runs bytecode in place of the script that it bears the time and size of, whatever is in it."""
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/predict.pyc").touch()


def link(folder: Path) -> None:
    """A folder from elsewhere, from which the script would import its numpy."""
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere/__init__.py").touch()
    (folder / "numpy").symlink_to(folder.parent / "elsewhere")


def unsign(folder: Path) -> None:
    """As one would who wants to change something."""
    import base64

    path = folder / attest.STATEMENT
    path.write_bytes(base64.b64decode(json.loads(path.read_bytes())["payload"]))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (damage_byte, "model.onnx is not what was exported"),
        (lambda folder: (folder / "predict.py").unlink(), "predict.py is missing"),
        (lambda folder: (folder / "more.txt").write_text("x"), "more.txt is new"),
        (lambda folder: (folder / attest.STATEMENT).write_text("{"), "not the statement of an export"),
        (lambda folder: (folder / attest.STATEMENT).write_text("[]"), "not the statement of an export"),
        (lambda folder: (folder / attest.STATEMENT).unlink(), "can't be read"),
        (unsign, "has no signature"),
        (cache, r"predict\.pyc is new"),
        (link, "numpy is new"),
    ],
)
def test_a_damaged_export_is_refused(
    onnx: tuple[Path, Model], tmp_path: Path, damage: Callable[[Path], object], why: str
) -> None:
    import shutil

    folder = shutil.copytree(onnx[0], tmp_path / "copy")
    damage(folder)
    with pytest.raises(VerificationError, match=why) as error:
        attest.verify(folder)
    assert ("delete each folder __pycache__" in error.value.advice()) == (damage is cache)
    assert CliRunner().invoke(app, ["verify", str(folder)]).exit_code == 3
    if damage is damage_byte:
        done = subprocess.run(
            [sys.executable, folder / "predict.py", "x.png"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, "is not the file that was exported" in done.stderr) == (2, True)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_models_without_masks(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, of = model_of(**{**changes(task), "common.model": {"name": "tests.tasks.tiny:Halves"}})
    warned: list[str] = []
    own = keys.new("clinic_a")
    found = export_model(made, of, tmp_path / "model", Wanted("pt2", 1e-5, many=3), own, warned.append)
    with zipfile.ZipFile(tmp_path / "model" / "model.pt2") as archive:  # a path of this computer may name its user
        assert not [name for name in archive.namelist() if b".py" in archive.read(name)]
    assert (found.images, found.from_files, found.differing) == (3, 0, 0.0)
    assert found.difference < 1e-5
    assert "can't read this data set's files" in warned[0]
    from relay.export import standalone

    Image.fromarray(np.full((8, 8), 60, np.uint8)).save(tmp_path / "a.png")
    assert standalone.main(["--model", str(tmp_path / "model"), str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().out.startswith(f"a.png: {of.legs[0].data.names[0]} ")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:45])
    given = [str(tmp_path / name) for name in ("cut.png", "model", "none.png", "a.png")]
    assert standalone.main(["--model", str(tmp_path / "model"), "-o", str(tmp_path / "new"), *given]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("a.png: "), "the good image is predicted"
    assert [line.partition(": ")[2].partition(": ")[0] for line in told.err.splitlines()[:3]] == given[:3]
    for why in ("truncated", f"a folder: name its images, as {given[1]}/*.png", "no such file", "3 of 4 images"):
        assert why in told.err
    assert not (tmp_path / "new").exists()
    assert standalone.main(["--model", str(tmp_path / "model"), "-o", given[0], given[3]]) == 2
    assert f"-o {given[0]} is a file: name a folder" in capsys.readouterr().err
    for whose in (None, keys.new("other").identity):
        with pytest.raises(UserError, match=r"has a \.pt2 that is not signed by this site"):
            Exported(tmp_path / "model", whose)
    both = Exported(tmp_path / "model", own.identity), Own(made, Devices(), {"study": "s", "leg": 1})
    tables = [_in_bulk(predictor, tmp_path / "a.png", tmp_path / str(k)) for k, predictor in enumerate(both)]
    assert both[0].digest == both[1].digest
    assert tables[0].keys() == tables[1].keys()
    for name, value in tables[0].items():
        with contextlib.suppress(ValueError):
            assert float(value) == pytest.approx(float(tables[1][name]), abs=1e-5), name


def _in_bulk(predictor: Any, image: Path, out: Path) -> dict[str, str]:
    """The row of an image in the table of bulk prediction, with its doubt."""
    outputs = Outputs(out, {})
    outputs.begin()
    wanted = listed(image, predictor, out)
    summary = run(predictor, wanted, outputs, Settings(doubts=True), Progress(1), None)
    assert not summary.problems
    (row,) = csv.DictReader(summary.table.open(newline=""))
    return row


def test_monai_checks_and_runs_its_bundle(tmp_path: Path, picture: Path) -> None:
    from monai.bundle import run

    from relay.export.bundle import importable

    made, of = model_of(**WINDOWS)
    folder = tmp_path / "bundle"
    export_model(made, of, folder, Wanted("monai", 1e-5, (picture,)), None, pytest.fail)
    with importable(folder):
        run(
            config_file=str(folder / "configs/inference.json"),
            meta_file=str(folder / "configs/metadata.json"),
            bundle_root=str(folder),
            dataset_dir=str(picture.parent),
            output_dir=str(tmp_path / "eval"),
        )
    own = next(predict_images(made, [picture], tmp_path / "own", Devices(), Progress(1), warn=pytest.fail))
    assert np.array_equal(np.array(Image.open(tmp_path / "eval/eye_mask.png")), np.array(Image.open(own)))
    assert attest.verify(folder)[1] is None


def refused(tmp_path: Path, kind: type[RelayError], why: str, made: Model, of: Study, wanted: Wanted) -> RelayError:
    """What is refused leaves nothing."""
    with pytest.raises(kind, match=why) as caught:
        export_model(made, of, tmp_path / "model", wanted, None, str)
    assert not list(tmp_path.iterdir())
    return caught.value


def test_what_can_not_be_exported_is_refused(tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, of = model_of()
    wanted = Wanted("pt2", images=(picture,))
    vote = refused(tmp_path, UserError, "the vote of all sites' models", replace(made, kind=VOTE), of, wanted)
    assert "--model generalist" in vote.advice()
    moody = model_of(**{"common.model": {"name": "tests.export.nets:Moody"}})
    assert refused(tmp_path, RelayError, "can't make a graph of Mood", *moody, wanted).exit_code == 1
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnx" else object())
    missing = refused(tmp_path, UserError, "not installed: onnx$", made, of, replace(wanted, form="onnx"))
    assert "relay-learning[export]" in missing.advice()
    other = comparing.Compared(1, 0.2, 0.05, 1, ["torch"])
    monkeypatch.setattr(exporting.comparing, "compare", lambda *given: other)
    said = refused(
        tmp_path,
        RelayError,
        r"by up to 0\.2, on 5 % .*tolerance is 0\.1 ",
        made,
        of,
        replace(wanted, tolerance=0.1),
    )
    assert (said.exit_code, "a larger --tolerance" in said.advice()) == (1, True)
    monkeypatch.setattr(exporting.comparing, "compare", lambda *given: replace(other, difference=float("nan")))
    refused(tmp_path, RelayError, "by up to nan", made, of, wanted)
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="is there already"):
        export_model(made, of, tmp_path / "model", wanted, None, str)


def test_a_graph_that_says_something_else_is_found_out(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here, one whose weights changed between the graph and the comparison."""
    made, of = model_of()

    def other(net: nn.Module, *rest: Any) -> Any:
        found = export(net, *rest)
        for weights in net.parameters():
            weights.data += 0.1
        return found

    monkeypatch.setattr(exporting.graph, "export", other)
    refused(tmp_path, RelayError, "differs from relay's own prediction", made, of, Wanted("pt2", images=(picture,)))


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_openvino_says_the_same(onnx: tuple[Path, Model], picture: Path) -> None:
    said, net = standalone.load(onnx[0])
    nets = runtimes.installed(onnx[0], said, net)
    assert list(nets) == ["onnxruntime", "OpenVINO"]
    prepared = standalone.prepare(standalone.read((picture,), said), said)[0]
    own, other = (standalone.probabilities(run, prepared, said) for run in nets.values())
    assert np.abs(own - other).max() < 1e-5


def test_a_runtime_that_says_something_else_is_found_out(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, of = model_of()

    def two(folder: Path, said: Any, net: Any) -> dict[str, Any]:
        return {"torch": net, "Other": lambda x: tuple(part + 0.1 for part in net(x))}

    monkeypatch.setattr(runtimes, "installed", two)
    refused(tmp_path, RelayError, "run with torch and Other", made, of, Wanted("pt2", images=(picture,)))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELAY_HOME", str(tmp_path / "home"))
    train = {**given()["common"]["train"], "num_epochs": 1}
    more = {**SMALL, "current_tasks.task_ids": [1], "common.train": train}
    Path("study.yaml").write_text(yaml.safe_dump(given(**more)))
    simulate(tmp_path / "exps/study/run", **more)
    Path("out").mkdir()
    command = ["export", "-c", "study.yaml", "--to", "pt2", "-o", "out/model"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "own prediction of 4 images" in said
    assert "not signed" in said
    assert attest.verify(Path("out/model"))[0]["config"]
    for words, code, why in (
        ([], 2, "is there already"),
        (["--received=1", "--bundle=x"], 2, "different models"),
        (["-o", "stick/other"], 2, "there is no folder stick"),
        (["-o", "other", "--home", "nowhere"], 2, "no keys"),
        (["-o", "other", "--model", "own"], 2, "no leg hands on to another"),
        (["-o", "other", "--image", "none.png"], 2, "none.png"),
    ):
        bad = CliRunner().invoke(app, [*command, *words])
        assert (bad.exit_code, why in " ".join(bad.output.split())) == (code, True), bad.output
    assert [path.name for path in Path("out").iterdir()] == ["model"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "pt2", "monai"])
@pytest.mark.parametrize(
    ("net", "size"),
    [
        ({"name": "U-Net"}, [33, 47]),
        ({"name": "U-Net", "kwargs": {"backbone": "resnet18"}}, [70, 64]),
        ({"name": "U-Net", "kwargs": {"spatial_dims": 3}}, [32, 33, 40]),
        ({"name": "monai:SegResNet", "kwargs": {"spatial_dims": 3}}, [16, 18, 20]),
    ],
    ids=str,
)
def test_real_nets(tmp_path: Path, form: Any, net: dict[str, Any], size: list[int]) -> None:
    """In 2D and 3D, for sizes that they were not traced with."""
    import SimpleITK as sitk

    more = {"common.dataset.kwargs.img_size": None, "common.dataset.kwargs.channels": 1, "common.model": net}
    made, of = model_of(**more)
    paths = [tmp_path / f"{k}.nii.gz" for k in range(2)]
    for k, path in enumerate(paths):
        values = np.random.default_rng(k).normal(size=[side + 5 * k for side in size]).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    found = export_model(made, of, tmp_path / "model", Wanted(form, 1e-4, tuple(paths)), None, pytest.fail)
    assert json.loads((formats.told_in(form, tmp_path / "model") / "model.json").read_text())["input"]["size"] is None
    assert (found.from_files, found.differing < 1e-4) == (2, True)
