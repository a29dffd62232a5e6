"""What a leg gives its strategy to look at, where several processes train it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchmetrics.metric

from relay.leg.paths import RunPaths
from relay.leg.run import model_of
from relay.leg.sites import Sites
from relay.leg.training import validation_score
from relay.metrics.base import ClassPair
from tests.studies import study


def test_what_one_process_measures_waits_for_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The others are elsewhere, so a collective call would meet another one of theirs."""

    def gather(*_: Any) -> None:
        pytest.fail("it waits for the other processes of the fit")

    monkeypatch.setattr(torch.distributed, "is_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torchmetrics.metric, "gather_all_tensors", gather)
    leg = study().legs[0]
    site = Sites(7, RunPaths(tmp_path))(leg.pool[0])
    assert 0 <= validation_score(model_of(leg), [site], torch.device("cpu")) <= 1
    assert ClassPair(torch.eye(2), torch.tensor([0, 1])).calibration["ece"] == 0
