"""The options of every data set: a task's ``dataset.kwargs`` in the YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, TypeAlias

import numpy as np
from pydantic import AfterValidator, ValidationInfo, field_validator, model_validator
from typing_extensions import Self

from relay.augment import FOR_FLOATS, made as augmentation
from relay.config import SITE_NAME, WORDS, Field, Named, options, plain_name
from relay.data.steps.base import Known, Step, made
from relay.data.steps.slicing import AXES, Plane
from relay.errors import UserError
from relay.tasks import Task, TaskName, named, task_of

SplitName: TypeAlias = Literal["train", "val", "test"]


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


def _increasing(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError("the first number must be less than the second")
    return bounds


def _no_augmentation() -> dict[SplitName, str | Named | list[str | Named]]:
    return {"train": "none"}


Regex = Annotated[str, AfterValidator(_regex)]
Text = Annotated[str, Field(min_length=1)]
Word = Annotated[str, Field(pattern=WORDS)]
"""What other sites read, such as the name of a class."""


def _each_class(values: list[object], info: ValidationInfo) -> list[object]:
    classes = info.data.get("num_classes")
    if classes is not None and not len(values) == len(set(values)) == classes:
        raise ValueError(f"must be {classes} different values, one for each class")
    return values


MaskValues = Annotated[list[Annotated[int, Field(ge=0, le=65535)]], AfterValidator(_each_class)]
"""The value of each class in mask files, background first: the option ``mask_values`` of a data set."""
ClassWords = Annotated[list[Text], AfterValidator(_each_class)]
"""A word for each class, in the order of ``class_names``."""
Size = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=3)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def _leaves_some(test: float) -> float:
    if test >= 1:
        raise ValueError("must be less than 1, to leave patients to train on; to test on all images, set split: test")
    return test


TestFraction = Annotated[float, Field(ge=0), AfterValidator(_leaves_some)]


class Fold(NamedTuple):
    """One of several parts of the patients: ``number``, from 1, ``of`` so many."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def _fold(text: str) -> Fold:
    number, _, of = text.partition("/")
    return Fold(int(number), int(of))


def _a_fold(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,8}/[1-9][0-9]{0,8}", text):
        raise ValueError("must be two whole numbers, such as 2/5 for the second of five folds")
    number, of = _fold(text)
    if of < 2:
        raise ValueError("must be one of at least 2 folds: one fold would leave nobody to train on")
    if number > of:
        raise ValueError(f"must be from 1/{of} to {of}/{of}")
    return text


FoldText = Annotated[str, AfterValidator(_a_fold)]


def _step(place: int, named: Named) -> Step:
    try:
        return made(named)
    except UserError as error:
        cure = f". {error.advice()}" if error.advice() != UserError("").advice() else ""
        raise ValueError(f"[{place}] ({named.name}): {error}{cure}") from error


def _axes_of(chosen: Sequence[Named] | None) -> int | None:
    """The number of axes of the images that steps are for; None if they don't say."""
    given = [lengths for named in chosen or () if (lengths := made(named).lengths()) is not None]
    return len(given[0]) if given else None


def _of_slices(size: list[int] | None, info: ValidationInfo) -> list[int] | None:
    if size is not None and len(size) > 2 and info.data.get("slices") is not None:
        raise ValueError("must be rows, columns: slices makes 2D images of volumes")
    return size


def _check_axes(steps: Sequence[Step]) -> None:
    axes = {type(step).__name__: len(lengths) for step in steps if (lengths := step.lengths()) is not None}
    if len(set(axes.values())) > 1:
        told = ", ".join(f"{name} {many}" for name, many in axes.items())
        raise ValueError(f"they must be for the same number of axes: {told}")


def _check_order(steps: Sequence[Step]) -> None:
    """After ``Normalise``, a step that looks for other values would silently do nothing."""
    normalised = False
    for step in steps:
        above = getattr(step, "above", None)
        if normalised and above is not None and not -1 <= above < 1:
            raise ValueError(
                f"{type(step).__name__} above {above:g} comes after Normalise, which gives -1 to 1: swap them"
            )
        normalised = normalised or step.normalises


def _check_normalised(steps: Sequence[Step], channels: int | None) -> None:
    """Every channel must be normalised, or none."""
    which = [getattr(step, "channels", None) for step in steps if step.normalises]
    if channels is None or not which:
        return
    covered = set(range(channels)) if None in which else {c for some in which for c in some or ()}
    if beyond := sorted(c for c in covered if c >= channels):
        raise ValueError(f"Normalise: there is no channel {beyond[0]}; channels are 0 to {channels - 1}")
    if missing := sorted(set(range(channels)) - covered):
        raise ValueError(f"Normalise: channels {', '.join(map(str, missing))} are not normalised: add a Normalise step")


@options
class DatasetOptions:
    """Options of every data set; a plug-in adds its own in a subclass.

    Attributes:
        task_id: The task's number in the study's list of sites.
        task_name: The site's name; it names folders, so at most 40 of ``A-Z a-z 0-9 . _ -``.
        task: What is predicted: ``segmentation`` (a class for each voxel), ``classification`` (a class for each image),
            ``multilabel`` (labels that an image has or has not) or ``regression`` (a number for each image).
        root_path: The folder that holds all images.
        img_folder: The site's folder or folders under ``root_path``; ``.`` is ``root_path`` itself.
        num_classes: Number of classes, in segmentation with the background; of labels in ``multilabel``; left out in
            ``regression``.
        class_names: Their names, in segmentation background first; in ``regression`` one, of the number; at most 100
            plain letters, digits, spaces and ``_.:+/()-`` each.
        channels: Channels of an image as the network sees it: 1 for grey, 3 for RGB, or those of several files
            together. Grey and RGB are converted to each other.
        steps: What is done to an image before the network sees it, in this order, each with ``name`` and ``kwargs``
            (see ``dataset.kwargs.steps``); None maps intensities to 8 bits, image by image.
        slices: Reads volumes as 2D slices of this plane; a volume's slices have one patient. None keeps volumes.
        img_size: Size to which every image is resized on reading (rows, columns; or slices, rows, columns: volumes
            are turned to axial slices first, docs/reference/images.md); None keeps its size. With steps, use
            ``Resize``.
        patch_size: Size of the random patches for training; None trains on whole images.
        foreground: Share of the patches for training that are centred on a voxel of a class other than background,
            each class of the image being as likely; the others are anywhere.
        intensity_range: What the lowest and highest intensities become for the network: 0 and 255, or after
            ``Normalise`` -1 and 1.
        target_scale: In ``regression``, the mean and the standard deviation of the numbers to predict, in their own
            unit: training sees standardised numbers. Predictions and metrics stay in the numbers' own unit. One pair
            for all sites, such as that of the first site's training patients. None trains on the numbers as they are.
        repeats: How often an epoch uses each training sample.
        balance: Whether training draws images of each class, or with each label, equally often; for classification.
        split: ``auto`` keeps a published test set, and splits the rest by patient; where images are marked for training
            and validation, but none for testing, only those without a mark are tested on; ``test`` makes every image a
            test image, for an external test set; ``validation`` tests on the validation images and never opens those
            of the test set: to choose options by.
        val_fraction: Share of the patients for validation.
        test_fraction: Share of the patients for testing, if there is no published test set.
        fold: ``2/5`` tests on the second of five parts of the patients, in place of ``test_fraction``:
            cross-validation, as ``relay compare --folds 5`` runs it. Patients whom the publisher marks for testing take
            no part.
        inner_fold: ``1/3`` deals the patients whom ``fold`` leaves to train on again, and tests on the first of three
            parts: to choose options inside each fold, as ``relay compare --inner 3`` does. Those of ``fold`` take no
            part.
        corrections: A folder of masks corrected by hand, as ``relay correct`` keeps it: training images use the newest
            of them in place of the stored masks; validation and test images don't. None uses none.
        augment: The augmentation of a split, by name, by ``name`` and ``kwargs``, or a list of those; only ``train``
            may have one.
    """

    task_id: Annotated[int, Field(ge=0)]
    task_name: Annotated[str, Field(pattern=SITE_NAME), AfterValidator(plain_name)]
    task: TaskName = "segmentation"
    root_path: str = ""
    img_folder: Text | Annotated[list[Text], Field(min_length=1)] = "."
    num_classes: Annotated[int, Field(ge=1, le=255)] | None = None
    class_names: list[Word] | None = None
    channels: Annotated[int, Field(ge=1)] = 3
    steps: list[Named] | None = None
    slices: Plane | None = None
    img_size: Size | None = None
    patch_size: Size | None = None
    foreground: Annotated[float, Field(ge=0, le=1)] = 0.0
    intensity_range: Annotated[tuple[float, float], AfterValidator(_increasing)] = (-1.0, 1.0)
    target_scale: tuple[Finite, Annotated[Finite, Field(gt=0)]] | None = None
    repeats: Annotated[int, Field(ge=1)] = 1
    balance: bool = False
    split: Literal["auto", "test", "validation"] = "auto"
    val_fraction: Fraction = 0.2
    test_fraction: TestFraction = 0.2
    fold: FoldText | None = None
    inner_fold: FoldText | None = None
    corrections: Text | None = None
    augment: dict[SplitName, str | Named | list[str | Named]] = Field(default_factory=_no_augmentation)

    @field_validator("num_classes")
    @classmethod
    def _as_the_task_needs(cls, classes: int | None, info: ValidationInfo) -> int | None:
        if (name := info.data.get("task")) is None:
            return classes
        fewest = named(name).fewest
        if fewest is None and classes is not None:
            raise ValueError(f"must be left out: {name} has no classes")
        if fewest is not None and classes is None:
            raise ValueError(f"must be given: {name} needs the number of {named(name).counted}")
        if fewest is not None and classes is not None and classes < fewest:
            raise ValueError(f"must be greater than or equal to {fewest}, as {name} needs")
        return classes

    @field_validator("class_names")
    @classmethod
    def _a_name_a_class(cls, names: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if names is None or "num_classes" not in info.data or "task" not in info.data:
            return names
        task, classes = named(info.data["task"]), info.data["num_classes"] or 1
        if not len(names) == len(set(names)) == classes:
            first = ", background first" if task.background else ""
            many = "1 name" if classes == 1 else f"{classes} different names"
            raise ValueError(f"must be {many}, one for each {task.classes}{first}")
        groups = task(classes, names).groups
        if twice := [name for name in names if groups.count(name) > 1]:
            raise ValueError(f"'{twice[0]}' is what results call images without another {task.classes}; rename one")
        return names

    @field_validator("steps")
    @classmethod
    def _known_steps(cls, chosen: list[Named] | None, info: ValidationInfo) -> list[Named] | None:
        if chosen is not None:
            steps = [_step(place, named) for place, named in enumerate(chosen)]
            _check_axes(steps)
            _check_order(steps)
            _check_normalised(steps, info.data.get("channels"))
        return chosen

    @field_validator("slices")
    @classmethod
    def _steps_see_volumes(cls, plane: Plane | None, info: ValidationInfo) -> Plane | None:
        if plane is not None and _axes_of(info.data.get("steps")) == 2:
            raise ValueError(
                "steps see the whole volume: give Resample, Resize and Crop 3 numbers (slices, rows, columns), with "
                "null for the axis across the slices"
            )
        return plane

    @field_validator("img_size")
    @classmethod
    def _one_way_to_resize(cls, size: list[int] | None, info: ValidationInfo) -> list[int] | None:
        if size is not None and info.data.get("steps") is not None:
            raise ValueError(f"must be left out with steps: add {{name: Resize, kwargs: {{size: {size}}}}} to them")
        return _of_slices(size, info)

    @field_validator("foreground")
    @classmethod
    def _of_patches(cls, share: float, info: ValidationInfo) -> float:
        if share and info.data.get("patch_size") is None:
            raise ValueError("is for patches: set patch_size, too")
        if share and info.data.get("task") != "segmentation":
            raise ValueError("needs masks: leave it out, or set task: segmentation")
        return share

    @field_validator("patch_size")
    @classmethod
    def _as_many_axes(cls, patch: list[int] | None, info: ValidationInfo) -> list[int] | None:
        size = info.data.get("img_size")
        if patch is not None and size is not None and len(patch) != len(size):
            raise ValueError(f"must have as many axes as img_size: {len(size)}")
        steps = _axes_of(info.data.get("steps"))
        if patch is not None and steps is not None and info.data.get("slices") is None and len(patch) != steps:
            raise ValueError(f"must have as many axes as the steps: {steps}")
        return _of_slices(patch, info)

    @field_validator("target_scale")
    @classmethod
    def _scales_numbers(cls, scale: tuple[float, float] | None, info: ValidationInfo) -> tuple[float, float] | None:
        if scale is not None and (task := info.data.get("task")) not in (None, "regression"):
            raise ValueError(f"is for regression; the task is {task}, which predicts no numbers")
        return scale

    @field_validator("test_fraction")
    @classmethod
    def _something_is_left(cls, test: float, info: ValidationInfo) -> float:
        if test + info.data.get("val_fraction", 0.0) >= 1:
            raise ValueError("val_fraction and test_fraction together must leave patients to train on")
        return test

    @field_validator("fold")
    @classmethod
    def _deals_anew(cls, fold: str | None, info: ValidationInfo) -> str | None:
        if fold is not None and (how := info.data.get("split", "auto")) != "auto":
            raise ValueError(f"chooses the test images itself: leave it out, or leave out split: {how}")
        return fold

    @field_validator("inner_fold")
    @classmethod
    def _inside_a_fold(cls, inner: str | None, info: ValidationInfo) -> str | None:
        if inner is not None and info.data.get("fold") is None:
            raise ValueError("is dealt inside a fold: set fold, too, or leave it out")
        return inner

    @field_validator("corrections")
    @classmethod
    def _of_masks(cls, folder: str | None, info: ValidationInfo) -> str | None:
        if folder is not None and (task := info.data.get("task")) not in (None, "segmentation"):
            raise ValueError(f"is for segmentation; the task is {task}, which has no masks")
        return folder

    @field_validator("balance")
    @classmethod
    def _has_classes_of_images(cls, balance: bool, info: ValidationInfo) -> bool:
        if balance and (task := info.data.get("task")) in ("segmentation", "regression"):
            raise ValueError(f"is for classification and multilabel; the task is {task}, whose images have no class")
        return balance

    @field_validator("augment")
    @classmethod
    def _known_names(
        cls, chosen: dict[SplitName, str | Named | list[str | Named]]
    ) -> dict[SplitName, str | Named | list[str | Named]]:
        for split, name in chosen.items():
            try:
                augmentation(name)
            except UserError as error:
                raise ValueError(f"{split}: {error}. {error.advice()}") from error
            if split != "train" and name != "none":
                raise ValueError(f"{split}: only training images are augmented; this must be 'none'")
        return chosen

    @model_validator(mode="after")
    def _augments_what_is_stored(self) -> Self:
        chosen = self.augment.get("train", "none")
        if self.image_type is not np.uint8 and augmentation(chosen).eight_bits:
            raise ValueError(f"augment.train: is for 8-bit pictures, but the step Normalise makes floats. {FOR_FLOATS}")
        try:  # as the first batch would, where a library has no other way to check its values
            augmentation(chosen).check(self.channels)
        except UserError as error:
            raise ValueError(f"augment.train: {error}. {error.advice()}") from error
        return self

    @property
    def parts(self) -> list[Fold]:
        """``fold`` and ``inner_fold`` as numbers, as far as they are given."""
        return [_fold(text) for text in (self.fold, self.inner_fold) if text is not None]

    @property
    def made_steps(self) -> list[Step]:
        """The steps, made from their options; none if ``steps`` is None."""
        return [made(named) for named in self.steps or ()]

    @property
    def image_type(self) -> type[np.uint8] | type[np.float16]:
        """The type of an image as it is stored."""
        return np.float16 if any(step.normalises for step in self.made_steps) else np.uint8

    @property
    def fixed_size(self) -> list[int] | None:
        """The size of every image (or slice) as it is stored; None if sizes differ or are not known."""
        if self.steps is None:
            return self.img_size
        size: Known = None
        for step in self.made_steps:
            size = step.fixed(size)
        sides = [side for axis, side in enumerate(size or [None]) if axis != self.slice_axis or len(size or ()) < 3]
        return None if None in sides else [side for side in sides if side is not None]

    @property
    def axes(self) -> tuple[int, str] | None:
        """The number of axes of an image as the net sees it, and the option that says so; None if none does."""
        for key, size in (("img_size", self.img_size), ("patch_size", self.patch_size)):
            if size is not None:
                return len(size), key
        steps = _axes_of(self.steps)
        return None if steps is None else (2 if self.slices else steps, "steps")

    @property
    def slice_axis(self) -> int | None:
        """The axis across the slices of a volume as read; None if volumes stay whole."""
        return None if self.slices is None else AXES[self.slices]

    @property
    def one_file(self) -> bool:
        """Whether all channels are read from one file, and differ only by their steps, such as two windows of a CT."""
        return False

    @property
    def folder_names(self) -> list[str]:
        """``img_folder`` as a list."""
        return [self.img_folder] if isinstance(self.img_folder, str) else list(self.img_folder)

    @property
    def names(self) -> list[str]:
        """``class_names`` or, if none are given, the task's own: of segmentation ``background, class 1, …``."""
        return self.class_names or named(self.task).default_names(self.outputs)

    @property
    def outputs(self) -> int:
        """How many numbers the net puts out, for each voxel or for the image."""
        return self.num_classes or 1

    @property
    def does(self) -> Task:
        """The task as an object: what the net puts out, how it is scored."""
        return task_of(self)
