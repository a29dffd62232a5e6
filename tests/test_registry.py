"""Plug-ins by name: installed ones, one's own, and what goes wrong with either."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.errors import UserError
from relay.registry import KINDS, Kind, find, names, options_of, package


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, and Python's path and modules as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("strategies", {"local", "sequential", "joint", "relay"}),
        ("datasets", {"fundus", "folder", "synthetic"}),
        ("nets", {"U-Net"}),
        ("losses", {"CE", "Dice", "DiceCE", "ExpLogLoss"}),
        ("optimizers", {"Adam", "AdamW", "SGD", "RMSprop"}),
        ("schedulers", {"constant", "cosine", "poly", "step"}),
        ("metrics", {"dice", "sensitivity", "specificity", "hd95", "asd", "nsd"}),
        ("augmentations", {"flip", "flip_rotate", "geometric", "colour", "full"}),
        ("report_sections", {"warnings", "matrix", "scores", "curves", "calibration", "cases", "custody"}),
    ],
)
def test_installed_names_are_found(kind: Kind, known: set[str]) -> None:
    assert known <= set(names(kind))
    assert names(kind) == sorted(names(kind))
    for name in known:
        assert find(kind, name).__name__.lower() == name.replace("-", "").replace("_", "").lower()
        assert package(kind, name).startswith("relay-learning ")


def test_an_unknown_name_gives_the_nearest_and_all_known() -> None:
    with pytest.raises(UserError, match=r"unknown name 'relai' in relay\.strategies") as caught:
        find("strategies", "relai")
    assert "Did you mean 'relay'?" in caught.value.advice()
    assert all(name in caught.value.advice() for name in names("strategies"))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_alike(kind: Kind, here: Path) -> None:
    with pytest.raises(UserError, match=rf"^unknown name 'no_such' in relay\.{kind}$") as caught:
        find(kind, "no_such")
    assert f"Known: {', '.join(names(kind))}." in caught.value.advice()
    (here / f"nothing_{kind}.py").write_text("Mine = 3\n")
    with pytest.raises(UserError, match="is no plug-in: it has no "):
        find(kind, f"nothing_{kind}:Mine")
    for name in names(kind):
        takes_options = kind not in ("metrics", "augmentations", "report_sections")
        if kind == "augmentations":
            continue  # most take none; Sequential and the like do
        assert (options_of(kind, find(kind, name)) is not None) == takes_options


def test_a_file_that_is_elsewhere_is_looked_for_here(here: Path) -> None:
    with pytest.raises(UserError, match="No module named 'elsewhere'") as caught:
        find("report_sections", "elsewhere:mine")
    assert f"Run the command in the folder of elsewhere.py ({here} has none), or install it." in caught.value.advice()


def test_options_that_nobody_declared_are_not_left_out(here: Path) -> None:
    base = "from relay.losses import Loss\nfrom relay.nets import Net, NetOptions\n"
    (here / "bare.py").write_text(
        f"{base}class Mine(Loss):\n    alpha: float = 0.5\n"
        "class Wide(NetOptions):\n    width: int = 3\nclass Broad(Net):\n    Options = Wide\n"
        "class Same(Loss):\n    def build(self, num_classes=None): ...\n"
    )
    for kind, name, cls in (("losses", "Mine", "Mine"), ("nets", "Broad", "Wide")):
        with pytest.raises(UserError, match=f"the options of {cls} are not declared") as caught:
            find(kind, f"bare:{name}")  # type: ignore[arg-type]
        assert f"Put @options (from relay.config) above the class {cls}." in caught.value.advice()
    assert find("losses", "bare:Same").__name__ == "Same"  # it adds no option


def test_nothing_near_is_not_guessed() -> None:
    with pytest.raises(UserError) as caught:
        find("nets", "qqqq")
    assert "Did you mean" not in caught.value.advice()


def test_a_class_of_ones_own_lies_in_the_current_folder(here: Path) -> None:
    (here / "my_strategy.py").write_text("class Mine:\n    Options = int\n")
    assert find("strategies", "my_strategy:Mine").Options is int


def test_a_name_with_a_colon_is_never_looked_up_among_the_installed(here: Path) -> None:
    with pytest.raises(UserError, match="can't be loaded"):
        find("strategies", "relay_of_mine:relay")


def test_a_library_that_has_nothing_of_this_kind_says_what_it_is_for() -> None:
    with pytest.raises(UserError, match="can't be loaded") as caught:
        find("losses", "monai:DiceLoss")
    assert caught.value.advice().startswith("monai: is for augmentations, nets only. Known: BCE, ")


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "plug_none:Mine", "plug_none.*has no attribute 'Mine'"),
        ("import not_there_at_all\n", "plug_import:Mine", "No module named 'not_there_at_all'"),
        ("def broken(:\n", "plug_syntax:Mine", "SyntaxError.*plug_syntax"),
        ("1 / 0\n", "plug_zero:Mine", "ZeroDivisionError: division by zero"),
        ("Mine = 3\n", "plug_number:Mine", "no plug-in: it has no Options"),
        ("", ":Mine", "can't be loaded: ValueError: it must have the form module:Name"),
        ("", "plug_empty:", "can't be loaded: ValueError: it must have the form module:Name"),
    ],
)
def test_a_broken_one_is_a_users_error_that_says_what_python_said(
    here: Path, text: str, name: str, message: str
) -> None:
    (here / f"{name.partition(':')[0]}.py").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        find("strategies", name)
    assert repr(name) in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("\n1 / 0\n", "Correct it: it stopped in line 2 of {file}."),
        ("Main = 3\n", "Did you mean 'Main'?"),
        ("def broken(:\n", "Correct it, or remove its package."),  # Python's own words name the line
    ],
)
def test_a_broken_one_is_cured_where_it_broke(here: Path, text: str, cure: str) -> None:
    (here / "plug_cure.py").write_text(text)
    with pytest.raises(UserError) as caught:
        find("strategies", "plug_cure:Mine")
    assert caught.value.advice() == cure.format(file=here / "plug_cure.py")


@pytest.mark.parametrize(
    ("kind", "base", "method"),
    [
        ("datasets", "relay.data:Dataset", "samples"),
        ("nets", "relay.nets:Net", "build"),
        ("losses", "relay.losses:Loss", "build"),
        ("schedulers", "relay.optim:Schedule", "factor"),
        ("metrics", "relay.metrics:MaskMetric", "measure"),
        ("metrics", "relay.metrics:CountMetric", "of_counts"),
        ("augmentations", "relay.augment:Augmentation", "apply"),
    ],
)
def test_a_method_that_is_missing_is_told_before_training(here: Path, kind: Kind, base: str, method: str) -> None:
    module, _, cls = base.partition(":")
    (here / "lacking.py").write_text(f"from {module} import {cls}\nclass Mine({cls}):\n    pass\n")
    with pytest.raises(UserError, match=f"^'lacking:Mine' in relay.{kind} has no method {method}$"):
        find(kind, "lacking:Mine")
    del sys.modules["lacking"]


def test_nothing_of_ours_needs_torch_to_be_found() -> None:
    """A config is checked, and ``relay list`` answers, before torch is loaded."""
    code = (
        "import sys; from relay.registry import KINDS, find_all; [find_all(kind) for kind in KINDS]; "
        "heavy = {'torch', 'monai', 'imgaug', 'SimpleITK', 'pytorch_lightning', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
