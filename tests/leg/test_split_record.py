"""What was dealt to train and test stays there: no image that was trained on is ever tested on."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.errors import ChangedConfigError, DataError
from tests.studies import finished, simulate


@pytest.mark.parametrize(
    "change",
    [{"common.dataset.kwargs.count": 26}, {"common.random_seed": 8}, {"common.dataset.kwargs.test_fraction": 0.4}],
)
def test_another_deal_is_refused_in_the_same_run(change: dict[str, object], tmp_path: Path) -> None:
    finished(tmp_path)
    for leg in ("task_1", "task_2"):
        (tmp_path / "checkpoints" / leg / "leg.json").unlink()
    with pytest.raises(DataError, match="new, missing or in another split") as caught:
        simulate(tmp_path, **change)
    assert "-n" in caught.value.advice()


def test_before_anything_was_trained_the_data_may_be_mended(tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/clinic_a.json").write_text('{"train": ["gone"], "val": [], "test": []}')
    simulate(tmp_path, **{"current_tasks.task_ids": [1]})
    assert "gone" not in (tmp_path / "splits/clinic_a.json").read_text()


def test_joint_of_other_sites_is_another_leg(tmp_path: Path) -> None:
    simulate(tmp_path, **{"common.strategy.name": "joint"})
    one = {"name": "joint", "kwargs": {"task_ids": [1]}}
    with pytest.raises(ChangedConfigError, match="pool"):
        simulate(tmp_path, **{"common.strategy": one})


def test_path_of_pretrained_weights_stays_here(tmp_path: Path) -> None:
    import torch

    from relay.registry import find

    net = find("nets", "U-Net")
    kwargs = {"backbone": "resnet18", "in_channels": 3, "num_classes": 3}
    encoder = net(net.Options(**kwargs, norm="batch")).build().encoder.state_dict()
    torch.save(encoder, tmp_path / "resnet18.pth")
    model = {"backbone": "resnet18", "pretrained": str(tmp_path / "resnet18.pth")}
    changes = {"common.model.kwargs": model, "current_tasks.task_ids": [1], "common.train.num_epochs": 1}
    simulate(tmp_path / "run", **changes)
    documents = (tmp_path / "run/checkpoints/task_1/handover").glob("*.json")
    assert not any(str(tmp_path) in document.read_text() for document in documents)
