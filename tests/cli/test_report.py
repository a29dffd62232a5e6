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


def test_a_hospital_that_only_tested_a_received_model_is_told_where_its_numbers_are(tmp_path: Path) -> None:
    results = tmp_path / "results" / "received_leg_4"
    results.mkdir(parents=True)
    (results / "evaluation.json").write_text("{}")
    done = CliRunner().invoke(app, [str(tmp_path)])
    said = " ".join(done.stderr.split())
    assert done.exit_code == 2
    assert "has trained no leg, so there is no page" in said
    assert "(received_leg_4)" in said
    assert "evaluation.json" in said
    assert "train.py" not in said
