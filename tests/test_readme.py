"""The commands of the README and of pages that lead a reader through, run as they stand, on real images, in seconds.

They run in a fresh folder that looks like a clone. What makes them quick stands in ``paths.local.yaml``, which a
user has, too.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tests import forked
from tests.studies import PROJECTED

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    *(f"docs/{page}.md" for page in ("tutorial-study", "how-to/add-a-data-set", "how-to/add-a-strategy")),
]
BLOCKS = [block for page in PAGES for block in re.findall(r"```(\w*)\n(.*?)```", (ROOT / page).read_text(), re.S)]
COMMANDS = [line for kind, text in BLOCKS if kind == "bash" for line in text.strip().splitlines()]
FILES = {name[1]: text for _, text in BLOCKS if (name := re.match(r"# ([\w.]+\.(?:py|yaml))\n", text))}


@pytest.fixture(scope="module")
def clone(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands need of a clone, and the files that the pages show."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("train.py", "predict_test.py", "Makefile", "setup.cfg"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "configs", folder / "configs")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "policy.yaml").write_text(FILES["policy.yaml"].replace("min_samples: 8", "min_samples: 1"))  # one image
    for source in sorted((shared_data / "fundus_dofe").rglob("*.png")):
        _reduced(source, folder / "data/fundus" / source.relative_to(shared_data / "fundus_dofe"))
    for site, source in (("north", "drive"), ("south", "hrf")):
        _table(shared_data / "fundus_vessels" / source, folder / "data/table" / site)
    return folder


def _table(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    with (target / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "mask", "patient"])
        for image in sorted((source / "image").iterdir())[:8]:
            parts = [image, source / "mask" / image.name]
            made = (_reduced(part, target / part.parent.name / part.name, 8) for part in parts)
            rows.writerow([*made, image.stem])


def _reduced(source: Path, target: Path, times: int = 4) -> Path:
    """A picture whose sides are so many times shorter, so that it takes less time; a mask keeps its values."""
    target.parent.mkdir(parents=True, exist_ok=True)
    how = Image.Resampling.NEAREST if source.parent.name == "mask" else Image.Resampling.BOX
    with Image.open(source) as image:
        image.resize((image.width // times, image.height // times), how).save(target)
    return target


def _quick(command: str) -> str:
    """The same command without what can't run inside a test: no new environment, no endless server."""
    if command.startswith("make"):
        dry = "-n " if command == "make test" else ""
        return f"make -o .venv/installed BIN={Path(sys.executable).parent} {dry}{command.split()[1]}"
    if command.startswith("tensorboard"):
        return command + " --inspect"
    return command


def test_the_pages_show_commands_and_whole_files() -> None:
    assert COMMANDS[:2] == ["make demo", "make test"]
    assert set(FILES) == {"table.py", "table.yaml", "anchored.py", "policy.yaml"}


NET = {"kwargs": {"backbone": "plain", "norm": "group", "features": [8, 8, 8, 8, 8]}}
"""Of a few thousand weights: what is tested here are the commands."""
CHAINS = {
    "first": [command for command in COMMANDS if "first" in command],
    **{command: [command] for command in COMMANDS if "first" not in command},
}
"""Commands that need each other's files, in their order; all others stand alone, so that they can run side by side."""
LONG = ("relay rehearse", "relay compare")
"""Run by hand; in the gate, tests/test_rehearse.py and ``make demo`` do the like on other studies."""


def _case(chain: str) -> Any:
    return pytest.param(chain, marks=pytest.mark.slow) if any(part in chain for part in LONG) else chain


def _budget(command: str) -> dict[str, Any]:
    """A ``paths.local.yaml`` that makes a command take seconds."""
    dataset: dict[str, Any] = {"kwargs": {"repeats": 1}}
    if command == "make demo":
        dataset["kwargs"] |= {"count": 12, "img_size": [32, 32]}
    if "fundus" not in command:
        local: dict[str, Any] = {"common": {"train": {"num_epochs": 1}, "dataset": dataset, "model": NET}}
        if "table" in command:
            local["common"]["strategy"] = {"kwargs": PROJECTED}
    else:
        dataset["kwargs"] = {"img_size": [64, 64], "repeats": 1}
        train = {"num_mimgs": 0.000016, "batch_size": 4}
        local = {"common": {"train": train, "dataset": dataset, "model": NET}}
        if "compare" not in command and "strategy.name" not in command:
            local["common"]["strategy"] = {"kwargs": PROJECTED}
    if "first" not in command:
        local["current_tasks"] = {"task_ids": [1, 2]}
    return local


@pytest.mark.timeout(600)
@pytest.mark.parametrize("chain", [_case(chain) for chain in CHAINS], ids=lambda name: name[:40])
def test_every_command_runs_as_it_stands(chain: str, clone: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path}
    for command in CHAINS[chain]:
        (clone / "paths.local.yaml").write_text(yaml.safe_dump(_budget(command)))
        if command.startswith(("python ", "relay ")):
            done = forked.run(command, clone, env)
        else:
            done = subprocess.run(_quick(command), shell=True, cwd=clone, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    if chain == "first":
        dice = (clone / "exps/fundus/relay/first/results/samples.csv").read_text()
        assert all(f"Domain{i}" in dice for i in range(1, 5))


def test_the_readme_is_read_in_a_minute() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
