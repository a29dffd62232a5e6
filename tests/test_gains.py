"""The first claim of the README, on the demo as it is: every hospital gains by taking part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.typed import typed

MARGIN = 0.005


@pytest.mark.slow
def test_no_hospital_of_the_demo_is_worse_off_at_home(tmp_path: Path) -> None:
    said = typed("compare", "demo", "--strategies", "local,relay", cwd=tmp_path)
    assert said.code == 0, said.err
    (found,) = tmp_path.glob("exps/demo/*/compare.json")
    runs = {run["strategy"]: run["measures"]["at_home"] for run in json.loads(found.read_text())["runs"]}
    gains = {site: runs["relay"][site] - alone for site, alone in runs["local"].items()}
    assert min(gains.values()) >= -MARGIN, gains
    assert sum(gains.values()) > 0, gains
