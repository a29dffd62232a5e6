from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from relay.data import SPLITS, DatasetOptions, Record
from relay.data.patients import doubtful, named, people
from relay.data.splits import split
from relay.errors import DataError

FRACTIONS = st.floats(0, 0.49)
PATIENTS = st.lists(st.integers(0, 30), min_size=1, max_size=60)


def samples(patients: list[int], tested: frozenset[int] = frozenset()) -> list[Record]:
    return [
        Record(f"s{i:03}", f"p{p}", (Path(),), Path(), "test" if p in tested else None) for i, p in enumerate(patients)
    ]


def options(val: float = 0.2, test: float = 0.2, name: str = "site") -> DatasetOptions:
    return DatasetOptions(task_id=0, task_name=name, num_classes=2, val_fraction=val, test_fraction=test)


@given(PATIENTS, FRACTIONS, FRACTIONS, st.integers(0, 5), st.randoms())
def test_every_sample_is_in_one_split_and_every_patient_too(patients, val, test, seed, random) -> None:
    given_samples = samples(patients)
    dealt = split(given_samples, options(val, test), seed)
    assert sorted(s.id for name in SPLITS for s in dealt[name]) == [s.id for s in given_samples]
    groups = [{s.patient for s in dealt[name]} for name in SPLITS]
    assert sum(map(len, groups)) == len(set().union(*groups))
    random.shuffle(given_samples)
    assert split(given_samples, options(val, test), seed) == dealt


@given(PATIENTS, FRACTIONS, FRACTIONS)
def test_what_is_asked_for_is_not_empty_as_long_as_there_are_patients(patients, val, test) -> None:
    count = len(set(patients))
    dealt = split(samples(patients), options(val, test), 1)
    assert dealt.train
    assert bool(dealt.test) == (test > 0 and count >= 2)
    assert bool(dealt.val) == (val > 0 and count - (test > 0) >= 2)


@given(st.integers(20, 60), FRACTIONS, FRACTIONS)
def test_fractions_count_patients(count, val, test) -> None:
    dealt = split(samples([*range(count), *range(count)]), options(val, test), 1)
    assert abs(len(dealt.val) / 2 - val * count) <= 1
    assert abs(len(dealt.test) / 2 - test * count) <= 1


@given(st.lists(st.integers(0, 20), min_size=2, max_size=40), st.frozensets(st.integers(0, 20), min_size=1))
def test_the_publishers_test_set_is_kept(patients, tested) -> None:
    given_samples = samples(patients, tested)
    published = [s for s in given_samples if s.split == "test"]
    dealt = split(given_samples, options(0.3, 0.3), 1)
    if published:
        assert dealt.test == published
        assert bool(dealt.train) == (len(published) < len(patients))


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["train", "val", None])), min_size=1), st.integers(0, 3))
def test_what_is_marked_for_training_or_validation_stays_there(marked, seed) -> None:
    mark = dict(marked)
    given_samples = [
        replace(s, split=mark[p]) for s, (p, _) in zip(samples([p for p, _ in marked]), marked, strict=True)
    ]
    part = {name: {f"p{p}" for p in mark if mark[p] == name} for name in ("train", "val", None)}
    if not (part["train"] and part["val"]):
        return
    if not part[None] and len(part["train"]) > 1:
        with pytest.raises(DataError, match="'site': all images are marked train or val, and none test") as caught:
            split(given_samples, options(), seed)
        assert "split_column to null" in caught.value.advice()
        given_options = replace(options(), split="validation")
    else:
        given_options = options()
    dealt = split(given_samples, given_options, seed)
    assert part["train"] <= {s.patient for s in dealt.train}
    assert part["val"] == {s.patient for s in dealt.val}
    assert given_options.split == "validation" or {s.patient for s in dealt.test} <= part[None]


@given(PATIENTS, st.frozensets(st.integers(0, 30)))
def test_validation_images_stand_in_for_test_images_that_are_never_opened(patients, tested) -> None:
    given_samples = samples(patients, tested)
    usual = split(given_samples, options(), 1)
    chosen = split(given_samples, replace(options(), split="validation"), 1)
    assert (chosen.train, chosen.val, chosen.test) == (usual.train, usual.val, usual.val)
    assert chosen.stands_in
    assert not usual.stands_in


def test_too_few_patients_for_the_folds_because_others_are_marked_for_testing() -> None:
    chosen = replace(options(), fold="1/2")
    for tested, word in (({0, 1, 2}, "leave out test_regex"), (set(), "^Make fewer folds")):
        with pytest.raises(DataError, match="2 folds need at least 2 patients") as caught:
            split(samples([0, 1, 2] if tested else [0], tested), chosen, 1)
        assert re.search(word, caught.value.advice())


@given(st.lists(st.integers(0, 30), min_size=6, max_size=60), st.integers(2, 6), st.integers(0, 5))
def test_folds_test_every_patient_once(patients, of, seed) -> None:
    there = {f"p{p}" for p in patients}
    marked = [replace(s, split="val" if s.patient == "p3" else None) for s in samples(patients)]
    choices = [replace(options(0.3), fold=f"{number}/{of}") for number in range(1, of + 1)]
    if len(there) < of:
        with pytest.raises(DataError, match=f"{of} folds need at least {of} patients, and there are {len(there)}"):
            split(marked, choices[0], seed)
        return
    dealt = [split(marked, chosen, seed) for chosen in choices]
    assert sorted(s.id for each in dealt for s in each.test) == [s.id for s in marked]
    tested = [{s.patient for s in each.test} for each in dealt]
    assert sum(map(len, tested)) == len(there)
    assert max(map(len, tested)) - min(map(len, tested)) <= 1
    for each in dealt:
        groups = [{s.patient for s in each[name]} for name in SPLITS]
        assert sum(map(len, groups)) == len(set().union(*groups)) == len(there)
        assert each.train
        assert bool(each.val) == (len(groups[0] | groups[1]) > 1)


@given(st.integers(6, 40), st.integers(2, 3), st.integers(2, 3), st.integers(0, 2**31))
def test_inner_folds_deal_whom_the_outer_fold_leaves(many, of, inner, seed) -> None:
    there = samples(range(many))
    for number in range(1, of + 1):
        outer = replace(options(0.3), fold=f"{number}/{of}")
        held = {sample.patient for sample in split(there, outer, seed).test}
        tested = []
        for part in range(1, inner + 1):
            dealt = split(there, replace(outer, inner_fold=f"{part}/{inner}"), seed)
            parts = [{sample.patient for sample in each} for each in (dealt.train, dealt.val, dealt.test)]
            assert not held & set().union(*parts)
            assert sum(map(len, parts)) == many - len(held)
            tested += sorted(parts[2])
        assert len(tested) == len(set(tested)) == many - len(held)


def test_folds_leave_the_publishers_test_set_alone() -> None:
    marked = samples(list(range(12)), frozenset({0, 1}))
    dealt = [split(marked, replace(options(), fold=f"{number}/5"), 1) for number in range(1, 6)]
    assert sorted(s.patient for each in dealt for s in each.test) == sorted(f"p{p}" for p in range(2, 12))
    assert not {"p0", "p1"} & {s.patient for each in dealt for name in SPLITS for s in each[name]}


def test_folds_share_out_each_class() -> None:
    classified = DatasetOptions(task_id=0, task_name="site", task="classification", num_classes=2)
    many = [replace(s, target=int(i % 4 == 0)) for i, s in enumerate(samples(list(range(40))))]
    for number in range(1, 6):
        tested = split(many, replace(classified, fold=f"{number}/5"), 1).test
        assert [s.target for s in tested].count(1) == 2
        assert len(tested) == 8


def test_seed_and_site_decide() -> None:
    many = samples(list(range(40)))
    dealt = split(many, options(), 1)
    assert dealt == split(many, options(), 1)
    assert dealt.test != split(many, options(), 2).test
    assert dealt.test != split(many, options(name="other"), 1).test
    assert {name: len(dealt[name]) for name in SPLITS} == {"train": 24, "val": 8, "test": 8}


def test_a_patient_in_both_published_parts_is_named() -> None:
    wrong = [*samples([1, 2]), Record("x", "p2", (Path(),), Path(), "test")]
    with pytest.raises(DataError, match=r"'site': patients in both .*\(1\):\n  - p2$"):
        split(wrong, options(), 1)
    wrong[-1] = Record("x", "P02", (Path(),), Path(), "test")
    assert split(wrong, options(), 1).test == wrong[-1:]
    for name in ("P2", "\uff502"):  # written in another way, but perhaps the same person
        wrong[-1] = Record("x", name, (Path(),), Path(), "test")
        with pytest.raises(DataError, match=rf"\(2\):\n  - {min(name, 'p2')}\n  - {max(name, 'p2')}$") as caught:
            split(wrong, options(), 1)
        assert "more than case" in caught.value.advice()


def test_the_record_is_ids() -> None:
    dealt = split(samples([1, 1, 2, 3], frozenset({2})), options(0.5), 1)
    assert dealt.to_json()["test"] == ["s002"]
    assert sorted(name for part in dealt.to_json().values() for name in part) == [
        "s000",
        "s001",
        "s002",
        "s003",
    ]


def spelt(number: int, how: int) -> str:
    """One patient's name in one of the ways that lists have it."""
    name = f"Pé{number}"
    return (name, f" {name}\t", unicodedata.normalize("NFD", name), f"{name}\u200b", name.lower(), f"\uff30é{number}")[
        how
    ]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), min_size=2, max_size=30), st.integers(0, 99))
def test_a_patient_is_in_one_split_however_the_name_is_written(names, seed) -> None:
    given_samples = [Record(f"s{i}", spelt(*name), (Path(),), Path()) for i, name in enumerate(names)]
    dealt = split(named(given_samples, "site"), options(0.3, 0.3), seed)
    whose = {f"s{i}": number for i, (number, _) in enumerate(names)}
    groups = [{whose[s.id] for s in dealt[name]} for name in SPLITS]
    assert sum(map(len, groups)) == len(set(whose.values()))


def test_names_alike_count_as_one_person() -> None:
    assert people(["P1", "b", "p1", "007", "7", "b"]) == ["P1", "b", "P1", "007", "007", "b"]


def test_names_alike_are_found() -> None:
    names = ["P1", "p1", "P2", "7", "007", "7.0", "70", "\uff30\uff12", "A-1", "A\u20131", "A\u22121", "A\u20111", "A1"]
    groups = [["007", "7", "7.0"], ["A-1", "A\u20111", "A\u20131", "A\u22121"], ["P1", "p1"], ["P2", "\uff30\uff12"]]
    assert doubtful(names) == groups


@pytest.mark.parametrize("patient", ["", "nan", " - ", "#REF!", "#WERT!", "#NAME?", "#N/V", "unbekannt"])
def test_no_source_may_leave_the_patient_out(patient: str) -> None:
    with pytest.raises(DataError, match="without a known patient"):
        named([Record("a", patient, (Path("a.png"),), Path())], "site")
    assert named([Record("nan", "nan", (Path("nan.png"),), Path())], "site")
