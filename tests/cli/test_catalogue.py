"""``relay list``: every kind, with options, defaults and ranges."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relay import registry
from relay.cli import catalogue
from relay.cli.app import app


def listed(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["list", *words])
    assert done.exit_code == code, done.output
    return done.output


def test_without_a_kind_it_is_the_names() -> None:
    lines = listed().splitlines()
    assert [line.split(":")[0] for line in lines] == list(registry.KINDS)
    assert f"losses: {', '.join(registry.names('losses'))}" in lines


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_kind_can_be_listed(kind: registry.Kind) -> None:
    heads = [line for line in listed(kind).splitlines() if not line.startswith(" ")]
    assert heads == [f"{name}  ({registry.package(kind, name)})" for name in registry.names(kind)]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("losses", "lambda_dice: float ≥ 0; default 1.0"),
        ("losses", "dice_kwargs: block `ExpLogDice`; default {do_bg: true, batch_dice: true}; see `ExpLogDice`."),
        ("optimizers", "betas: 2 × float ≥ 0 and < 1; default [0.9, 0.999]"),
        ("schedulers", "warmup_steps: int ≥ 0; default 0; optimiser steps of the warm-up."),
        ("nets", "backbone: plain, resnet18, resnet34, resnet50; default plain; the encoder."),
        ("strategies", "memory: name and kwargs or null; default style;"),
        ("datasets", "task_id: int ≥ 0; must be given;"),
        ("metrics", "of segmentation; 0 to inf, in mm or pixels; lower is better"),
        ("metrics", "of classification; 0 to 1; higher is better"),
        ("augmentations", "for images and volumes"),
    ],
)
def test_options_have_ranges_and_defaults(kind: str, line: str) -> None:
    assert f"    {line}" in listed(kind)


def test_an_unknown_kind_gives_the_nearest() -> None:
    said = listed("metric", code=2)
    assert "there is no kind 'metric'" in said
    assert "Did you mean 'metrics'?" in said


def test_a_broken_one_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "broken-2.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 2\n")
    (package / "entry_points.txt").write_text(
        "[relay.losses]\nAlas = no_such_module_here:Alas\nDice = no_such_module_here:Dice\n"
    )
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        for remembered in (registry._installed, registry._entries):
            remembered.cache_clear()
        said = " ".join(listed("losses").split())
    for remembered in (registry._installed, registry._entries):
        remembered.cache_clear()
    assert "Alas (broken 2) 'Alas' in relay.losses can't be loaded: ModuleNotFoundError" in said
    assert re.search(
        r"Dice \(broken 2, relay-learning \S+\) 'Dice' in relay.losses is claimed by several packages", said
    )
    assert "DiceCE (relay-learning" in said


def test_a_summary_ends_where_the_attributes_begin() -> None:
    assert "renews it.\n" in listed("memories")
    assert "Attributes" not in listed("memories")


def test_on_a_terminal_no_line_is_wider_than_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    catalogue._say("    lr: float > 0; default 0.001; " + "a long meaning " * 10)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("    lr: float")
    assert rest
    assert all(line.startswith(" " * 8) and len(line) <= 60 for line in rest)
