"""Split into train, validation and test: by patient and seed, and as published if there is a published split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from relay.data.options import DatasetOptions, Fold, SplitName
from relay.data.patients import alike
from relay.data.problems import refuse
from relay.data.record import Record
from relay.errors import DataError
from relay.seeds import generator

SPLITS: Final[tuple[SplitName, ...]] = ("train", "val", "test")

PUBLISHED: Final[tuple[SplitName, ...]] = ("val", "test")
"""What a publisher may have marked; the rest is dealt by patient."""


@dataclass(frozen=True)
class Split:
    """The samples of each split, sorted by id; no patient is in two, unless ``split: validation`` asks for it."""

    train: list[Record]
    val: list[Record]
    test: list[Record]

    def __getitem__(self, name: SplitName) -> list[Record]:
        samples: list[Record] = getattr(self, name)
        return samples

    @property
    def stands_in(self) -> bool:
        """Whether the validation images are the test images, too."""
        return self.test is self.val

    def to_json(self) -> dict[str, list[str]]:
        """The samples' ids, split by split: for the run's record, which stays at the site."""
        return {name: [sample.id for sample in self[name]] for name in SPLITS}


def split(samples: list[Record], options: DatasetOptions, seed: int) -> Split:
    """Split a site's samples into train, val and test; the order of ``samples`` does not matter.

    Fractions refer to patients. If the publisher marks samples as test, these are the test split, and
    validation is chosen from the rest; if it marks some for validation, these are the validation split. If it marks
    some for training and some for validation, but none as test, test is chosen from those it does not mark. A fraction
    above zero gives at least one patient as long as one is left to train on, so with a single training patient,
    validation is empty. Patients whose names are :func:`~relay.data.patients.alike` stay together, because they may be
    one. With ``split: test``, all are tested on; with ``split: validation``, the validation images stand in for the
    test images, which are left out.

    With ``fold``, all patients but the publisher's test set are dealt into folds, by class as far as they have one; the
    one named is tested, and validation is chosen from the others. With ``inner_fold``, these others are dealt again in
    the same way, and those of the outer fold are left out.

    Raises:
        DataError: a patient is in both parts of the publisher's split, under the same name or two that are alike; or
            the publisher marks every patient for training or validation, and some are needed to test on;
            or there are fewer patients than folds.
    """
    published = {part: {sample.patient for sample in samples if sample.split == part} for part in PUBLISHED}
    rest = {sample.patient for sample in samples if sample.split not in PUBLISHED}
    _refuse_both(options, published, rest)
    ordered = sorted(samples, key=lambda sample: sample.id)
    if options.split == "test":
        return Split([], [], ordered)
    marked = published["test"]
    if options.parts:
        rest, published = rest | published["val"], {"val": set(), "test": set()}
    together = defaultdict(set)
    for name in rest:
        together[alike(name)].add(name)
    patients = sorted(map(min, together.values()))
    held: list[str] = []
    for depth, fold in enumerate(options.parts, 1):  # an inner fold deals those whom the outer one does not hold
        if len(patients) < fold.of:
            _refuse_folds(options, fold.of, len(patients), bool(marked))
        held, patients = _held(options.parts[:depth], patients, _classes(samples, options), options.task_name, seed)
    generator(seed, options.task_name, "split", *options.parts).shuffle(patients)
    stays = _stays(samples, published)
    free = [name for name in patients if alike(name) not in stays]
    tested = 0 if held or published["test"] else _share(options.test_fraction, len(patients), len(patients))
    validated = 0 if published["val"] else _share(options.val_fraction, len(patients), len(patients) - tested)
    if tested and not free:
        _refuse_untested(options)
        tested = 0
    chosen = set(held or free[:tested])
    left = [name for name in patients if name not in chosen]
    parts = left[validated:], left[:validated], chosen
    train, val, test = ({name for first in part for name in together[alike(first)]} for part in parts)
    named = train, val | published["val"], test | published["test"]
    dealt = Split(*([sample for sample in ordered if sample.patient in part] for part in named))
    return replace(dealt, test=dealt.val) if options.split == "validation" else dealt


def _stays(samples: list[Record], published: Mapping[SplitName, set[str]]) -> set[str]:
    """The patients whom the publisher marks for training, beside others for validation and none as test, as
    :func:`~relay.data.patients.alike` writes them: marked like this, a split is complete but for what is not marked."""
    if published["test"] or not published["val"]:
        return set()
    return {alike(sample.patient) for sample in samples if sample.split == "train"}


def _refuse_untested(options: DatasetOptions) -> None:
    """Refuse a published split without patients to test on, unless the validation images stand in for them.

    Raises:
        DataError: they don't.
    """
    if options.split != "validation":
        raise DataError(
            f"task '{options.task_name}': all images are marked train or val, and none test",
            "Mark the images to test on, too; or leave the mark of some empty, so that relay chooses from them. To "
            "choose all splits by patient, don't use the published split (set split_column to null or "
            "published_split to false, or leave out split_dirs). To test on the validation images for now, set split: "
            "validation.",
        )


def _refuse_both(options: DatasetOptions, published: Mapping[SplitName, set[str]], rest: set[str]) -> None:
    """Refuse a patient who is in two parts of the publisher's split.

    Raises:
        DataError: one is.
    """
    left = rest | published["val"]
    for name, part, others in (("test", published["test"], left), ("validation", published["val"], rest)):
        both = {alike(patient) for patient in part} & {alike(patient) for patient in others}
        refuse(
            sorted(patient for patient in part | others if alike(patient) in both),
            f"task '{options.task_name}': patients in both the published {name} set and the rest",
            "Remove each of these patients from one part, or don't use the published split (leave out test_regex, or "
            "set split_column to null), to choose it by patient. Give different patients names that differ in more "
            "than case, width, dashes or leading zeros.",
        )


def _refuse_folds(options: DatasetOptions, of: int, many: int, marked: bool) -> None:
    """Refuse fewer patients than folds.

    Args:
        of: how many folds; ``many``: how many patients there are to deal.
        marked: whether the publisher marks others for testing, who take no part.

    Raises:
        DataError: always.
    """
    raise DataError(
        f"task '{options.task_name}': {of} folds need at least {of} patients, and there are {many} to deal",
        (
            "Patients who are marked for testing are in no fold: to deal them, too, leave out test_regex, or set "
            "split_column to null. Or make"
            if marked
            else "Make"
        )
        + " fewer folds, at most as many as the smallest site has patients; or add patients.",
    )


def _held(
    folds: Sequence[Fold], patients: Sequence[str], classes: Mapping[str, list[str]], site: str, seed: int
) -> tuple[list[str], list[str]]:
    """The patients of a fold, and the others. Folds differ by at most one patient, and by at most one of each class.

    Args:
        folds: the fold, after the one that it lies in, if any.
        patients: one name each, sorted.
        classes: what a patient's images show, by :func:`~relay.data.patients.alike` name.
    """
    *outer, fold = folds
    order = list(patients)
    generator(seed, site, "folds", *outer, fold.of).shuffle(order)
    order.sort(key=lambda name: classes.get(alike(name), []))  # keeps the random order within a class
    held = set(order[fold.number - 1 :: fold.of])
    return [name for name in patients if name in held], [name for name in patients if name not in held]


def _classes(samples: Sequence[Record], options: DatasetOptions) -> dict[str, list[str]]:
    """The classes or labels of each patient's images; none of a task that has none for whole images."""
    task, found = options.does, defaultdict(set)
    if not task.dense and task.fewest is not None:
        for sample in samples:
            found[alike(sample.patient)].add(str(sample.target))
    return {name: sorted(targets) for name, targets in found.items()}


def _share(fraction: float, of: int, left: int) -> int:
    """How many patients a fraction of ``of`` takes from those ``left``; one must remain."""
    return min(max(round(fraction * of), 1), left - 1) if fraction > 0 and left > 1 else 0


def as_stored(dealt: Split) -> Split:
    """The split with the stored masks of its validation and test images, also of those that people have corrected."""
    val = [replace(sample, corrected=None) for sample in dealt.val]
    test = val if dealt.stands_in else [replace(sample, corrected=None) for sample in dealt.test]
    return Split(dealt.train, val, test)
