"""A wheel holds the toolkit, the plug-ins and the configs, and works outside the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as an installation lays it out."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(folder), str(source)], check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_wheel_holds_plugins_configs_and_types_and_no_tests(unpacked: Path) -> None:
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert {
        "relay/py.typed",
        "relay/trust/__init__.pyi",
        "relay/strategies/relay.py",
        "relay/datasets/fundus.py",
        "relay/configs/demo.yaml",
    } <= files
    assert {f"relay/configs/{c.relative_to(ROOT / 'configs')}" for c in (ROOT / "configs").rglob("*.yaml")} <= files
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "relay").rglob("*") if path.is_file()}
    assert {path for path in here if "__pycache__" not in path} <= files, "a package is missing in setup.cfg"
    assert {path.split("/")[0].split("-")[0] for path in files} == {"relay", "relay_learning"}


@pytest.mark.slow
def test_wheel_works_outside_the_clone(unpacked: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(unpacked)}
    quick = [
        "common.train.num_epochs=1",
        "common.dataset.kwargs.count=10",
        "current_tasks.task_ids=[1]",
        "common.strategy.name=local",
    ]
    code = "import sys, relay, relay.cli.app as a; print(relay.__file__, file=sys.stderr); a.main()"
    run = [sys.executable, "-S", "-c", _with_packages() + code, "train", "-c", "demo", *quick]
    done = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(unpacked) in done.stderr
    assert (tmp_path / "exps/demo/run/checkpoints/task_1/last.ckpt").is_file()


def _with_packages() -> str:
    """Without ``site``, so without the editable install, but with the dependencies."""
    folders = [p for p in sys.path if p.endswith("site-packages")]
    return f"import sys; sys.path += {folders!r}\n"
