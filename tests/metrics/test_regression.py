"""MAE, RMSE and R² against scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn import metrics as sk

from relay.errors import DataError
from relay.metrics.regression import regression

numbers = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_all_of_it_is_scikit_learns(pairs: list[tuple[float, float]]) -> None:
    pred, truth = (np.array(values) for values in zip(*pairs, strict=True))
    found = regression(pred, truth)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(truth, pred))
    assert found["rmse"] == pytest.approx(math.sqrt(sk.mean_squared_error(truth, pred)))
    if len(set(truth.tolist())) > 1:
        assert found["r2"] == pytest.approx(sk.r2_score(truth, pred), rel=1e-6)
    else:
        assert math.isnan(found["r2"])


def test_r2_of_small_numbers_is_that_of_large_ones() -> None:
    pred, truth = np.array([0.0, 1.0, 5.0]), np.array([1.0, 2.0, 4.0])
    expected = pytest.approx(regression(pred, truth)["r2"])
    assert regression(pred * 1e-6, truth * 1e-6)["r2"] == expected
    assert regression(pred * 1e6, truth * 1e6)["r2"] == expected


@pytest.mark.parametrize(
    ("pred", "truth", "said"),
    [
        ([1.0, math.nan], [1.0, 2.0], "row 1: prediction nan, truth 2"),
        ([1.0, 2.0], [math.inf, 2.0], "row 0: prediction 1, truth inf"),
        ([1.0], [1.0, 2.0], "shapes"),
        ([], [], "shapes"),
    ],
)
def test_what_can_not_be_scored_is_refused_and_named(pred: Any, truth: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        regression(pred, truth)
