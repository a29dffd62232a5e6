"""Seeds depend on what they are for, and on nothing else."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given, strategies as st

from relay.seeds import derive, generator

purposes = st.lists(st.text("abc0", max_size=3) | st.integers(0, 99), max_size=3)


def test_the_value_is_part_of_the_contract() -> None:
    """SHA-256 of the texts joined by 0x1F, its first 63 bits: computed by hand with sha256sum."""
    assert derive(1314, "Domain1", "shuffle", 3) == 873067061874309010


def test_another_process_with_another_hash_seed_derives_the_same() -> None:
    code = "from relay.seeds import derive; print(derive(7, 'a', 1))"
    run = [sys.executable, "-c", code]
    said = {subprocess.run(run, capture_output=True, check=True, env={"PYTHONHASHSEED": seed}).stdout for seed in "12"}
    assert said == {f"{derive(7, 'a', 1)}\n".encode()}


@given(st.integers(0, 2**64), purposes)
def test_seeds_fit_what_takes_them(seed: int, purpose: list[object]) -> None:
    assert 0 <= derive(seed, *purpose) < 2**63


@given(st.integers(0, 9), purposes, st.integers(0, 9), purposes)
def test_other_purposes_have_other_seeds(a: int, p: list[object], b: int, q: list[object]) -> None:
    same = [str(a), *map(str, p)] == [str(b), *map(str, q)]
    assert (derive(a, *p) == derive(b, *q)) == same


def test_parts_do_not_run_together() -> None:
    assert derive(1, "ab", "c") != derive(1, "a", "bc") != derive(1, "abc")
    assert derive(11, "x") != derive(1, "1x")


def test_generators_draw_the_same_whatever_was_drawn_before() -> None:
    first = generator(3, "site", "augment", 0).random(4)
    np.random.default_rng().random(9)
    assert (generator(3, "site", "augment", 0).random(4) == first).all()
    assert (generator(3, "site", "augment", 1).random(4) != first).all()
