from __future__ import annotations

import math

import pytest
import torch
from sklearn import metrics as theirs

from relay.errors import DataError
from relay.metrics import multilabel


def test_all_of_it_is_scikit_learns() -> None:
    torch.manual_seed(0)
    probs, target = torch.rand(50, 3, dtype=torch.float64), torch.randint(2, (50, 3))
    found = multilabel.multilabel(probs, target)
    for k in range(3):
        said, true = (probs[:, k] > 0.5).long(), target[:, k]
        assert found["auroc"][k] == pytest.approx(theirs.roc_auc_score(true, probs[:, k]), abs=1e-6)
        assert found["balanced_accuracy"][k] == pytest.approx(theirs.balanced_accuracy_score(true, said))
        assert found["f1"][k] == pytest.approx(theirs.f1_score(true, said))
        assert found["sensitivity"][k] == pytest.approx(theirs.recall_score(true, said))
        assert found["specificity"][k] == pytest.approx(theirs.recall_score(true, said, pos_label=0))
        assert found["brier"][k] == pytest.approx(theirs.brier_score_loss(true, probs[:, k]))
    assert found["mean"]["f1"] == pytest.approx(sum(found["f1"]) / 3)


def test_what_cannot_be_measured_is_missing() -> None:
    found = multilabel.multilabel([[0.1, 0.9], [0.2, 0.3]], [[0, 1], [0, 0]])
    assert [math.isnan(found[name][0]) for name in ("auroc", "sensitivity", "f1", "balanced_accuracy")] == [True] * 4
    assert found["specificity"][0] == 1
    assert found["mean"]["auroc"] == found["auroc"][1]


@pytest.mark.parametrize(
    ("probs", "target", "message"),
    [
        ([], [], r"must be \(N, K\) both"),
        ([[0.5]], [[1, 0]], r"must be \(N, K\) both"),
        ([[1.5]], [[1]], "row 0, label 0: 1.5; a probability must be in 0..1"),
        ([[0.5], [math.nan]], [[1], [1]], "row 1, label 0: nan; a probability"),
        ([[0.5]], [[2]], "row 0, label 0: 2; a label must be 0 or 1"),
    ],
)
def test_wrong_values_are_named(probs: object, target: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        multilabel.multilabel(probs, target)
