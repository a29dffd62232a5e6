from __future__ import annotations

import pytest
import torch

from relay.errors import UserError
from relay.losses.classification import BCE, MSE
from relay.losses.segmentation import CE


def test_the_cross_entropy_of_images_is_torchs() -> None:
    logits, target = torch.randn(5, 3), torch.randint(3, (5,))
    for weight in (None, (1.0, 2.0, 3.0)):
        mine = CE(weight=weight).build(3)(logits, target)
        assert mine == pytest.approx(float(torch.nn.CrossEntropyLoss(weight and torch.tensor(weight))(logits, target)))


def test_labels_may_be_weighted() -> None:
    logits, target = torch.randn(5, 2), torch.randint(2, (5, 2)).float()
    theirs = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 4.0]))(logits, target)
    assert BCE(positive_weight=(1.0, 4.0)).build(2)(logits, target) == pytest.approx(float(theirs))
    with pytest.raises(UserError, match="positive_weight has 1 values, but there are 2 labels"):
        BCE(positive_weight=(1.0,)).build(2)


def test_the_error_is_squared_in_full_precision() -> None:
    loss = MSE().build()(torch.tensor([[3.0]]).half(), torch.tensor([[1.0]]))
    assert (float(loss), loss.dtype) == (4.0, torch.float32)
