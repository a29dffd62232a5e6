"""Numbers for people."""

from __future__ import annotations

from math import nan

from relay.numbers import bounds, number, signed


def test_what_was_not_measured_is_a_dash() -> None:
    assert [number(None), number(nan), signed(None), signed(nan)] == ["–"] * 4
    assert bounds(0.1, nan) == bounds(None, 0.1) == "–"


def test_digits_and_signs() -> None:
    assert [number(0.12345), number(0.5, 1), signed(0.0104), signed(-0.25)] == ["0.123", "0.5", "+0.010", "-0.250"]
    assert bounds(0.1, 0.25) == "0.100 to 0.250"
