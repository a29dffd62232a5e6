"""``relay report``: what it says, how it exits."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from relay.cli.report import report
from tests.report import made

app = typer.Typer()
app.command()(report)


def test_it_says_what_it_wrote(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(made.comparison(tmp_path))])
    assert done.exit_code == 0
    assert str(tmp_path / "report.html") in done.stdout
    assert (tmp_path / "figures.pdf").is_file()


@pytest.mark.parametrize("options", [[], ["--cases"]])
def test_no_results_is_the_users_to_change(tmp_path: Path, options: list[str]) -> None:
    done = CliRunner().invoke(app, [str(tmp_path), *options])
    assert done.exit_code == 2
    assert "summary.json" in done.stderr.replace("\n", "")
    assert "train.py" in done.stderr
