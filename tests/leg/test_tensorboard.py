"""What TensorBoard shows beside the curves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from relay.leg.tensorboard import as_markdown, show_results
from tests.studies import finished

NAN = math.nan
MATRIX = {1: {"north": 0.9, "south": NAN}, 2: {"north": 0.8, "south": 0.7}}


def shown(folder: Path) -> Any:
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return events


def test_the_matrix_as_text_shows_what_is_missing_as_missing() -> None:
    assert as_markdown(MATRIX).splitlines() == [
        "| leg | north | south |",
        "|---|---|---|",
        "| 1 | 0.900 | – |",
        "| 2 | 0.800 | 0.700 |",
    ]


def test_results_are_scalars_text_figure_and_settings(tmp_path: Path) -> None:
    summary = {"matrix": MATRIX, "mean": 0.75, "forgetting": NAN}
    figures = tmp_path / "figures"
    figures.mkdir()
    Image.new("RGB", (8, 8)).save(figures / "matrix.png")
    for _ in range(2):  # a second time in place of the first
        show_results(tmp_path, summary, {"train": {"lr": 0.1, "size": [1, 2]}}, figures)
    events = shown(tmp_path / "results")
    assert [(event.step, event.value) for event in events.Scalars("dice/north")] == [
        (1, pytest.approx(0.9)),
        (2, pytest.approx(0.8)),
    ]
    assert [event.step for event in events.Scalars("dice/south")] == [2]
    tags = events.Tags()
    assert "matrix/text_summary" in tags["tensors"]
    assert tags["images"] == ["report/matrix"]
    assert "result/mean" in tags["scalars"]
    assert "result/forgetting" not in tags["scalars"]


def test_a_run_shows_test_images_of_every_site(tmp_path: Path) -> None:
    finished(tmp_path)
    for leg in ("task_1", "task_2"):
        images = shown(tmp_path / "tensorboard" / leg).Tags()["images"]
        assert sorted(images) == [f"test/clinic_{site}/{number}" for site in "ab" for number in (1, 2)]
