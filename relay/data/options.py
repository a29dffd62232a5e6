"""The options of every data set: a task's ``dataset.kwargs`` in the YAML."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, ValidationInfo, field_validator

from relay.augment import made as augmentation
from relay.config import SITE_NAME, WORDS, Field, Named, options, plain_name
from relay.errors import UserError

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
Size = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=3)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def _leaves_some(test: float) -> float:
    if test >= 1:
        raise ValueError("must be less than 1, to leave patients to train on; to test on all images, set split: test")
    return test


TestFraction = Annotated[float, Field(ge=0), AfterValidator(_leaves_some)]


@options
class DatasetOptions:
    """Options of every data set; a plug-in adds its own in a subclass.

    Attributes:
        task_id: The task's number in the study's list of sites.
        task_name: The site's name; it names folders, so at most 40 of ``A-Z a-z 0-9 . _ -``.
        task: The kind of task.
        root_path: The folder that holds all images.
        img_folder: The site's folder or folders under ``root_path``; ``.`` is ``root_path`` itself.
        num_classes: Number of classes, background included.
        class_names: Their names, background first; at most 100 plain letters, digits, spaces and ``_.:+/()-`` each.
        channels: Channels of an image as the network sees it: 1 for grey, 3 for RGB.
        img_size: Size to which every image is resized on reading (rows, columns; or slices, rows, columns: volumes
            are turned to axial slices first, docs/reference/images.md); None keeps its size.
        patch_size: Size of the random patches for training; None trains on whole images.
        intensity_range: What the intensities 0 and 255 become for the network.
        repeats: How often an epoch uses each training sample.
        balance: Whether training draws images of each class, or with each label, equally often; for classification.
        split: ``test`` makes every image a test image, for an external test set; ``auto`` keeps a published test set,
            and splits the rest by patient.
        val_fraction: Share of the patients for validation.
        test_fraction: Share of the patients for testing, if there is no published test set.
        augment: The augmentation of a split, by name, by ``name`` and ``kwargs``, or a list of those; only ``train``
            may have one.
    """

    task_id: Annotated[int, Field(ge=0)]
    task_name: Annotated[str, Field(pattern=SITE_NAME), AfterValidator(plain_name)]
    task: Literal["segmentation"] = "segmentation"
    root_path: str = ""
    img_folder: Text | Annotated[list[Text], Field(min_length=1)] = "."
    num_classes: Annotated[int, Field(ge=2, le=255)]
    class_names: list[Word] | None = None
    channels: Literal[1, 3] = 3
    img_size: Size | None = None
    patch_size: Size | None = None
    intensity_range: Annotated[tuple[float, float], AfterValidator(_increasing)] = (-1.0, 1.0)
    repeats: Annotated[int, Field(ge=1)] = 1
    balance: bool = False
    split: Literal["auto", "test"] = "auto"
    val_fraction: Fraction = 0.2
    test_fraction: TestFraction = 0.2
    augment: dict[SplitName, str | Named | list[str | Named]] = Field(default_factory=_no_augmentation)

    @field_validator("class_names")
    @classmethod
    def _a_name_a_class(cls, names: list[str] | None, info: ValidationInfo) -> list[str] | None:
        classes = info.data.get("num_classes")
        if names is not None and classes is not None and not len(names) == len(set(names)) == classes:
            raise ValueError(f"must be {classes} different names, one for each class, background first")
        return names

    @field_validator("patch_size")
    @classmethod
    def _as_many_axes(cls, patch: list[int] | None, info: ValidationInfo) -> list[int] | None:
        size = info.data.get("img_size")
        if patch is not None and size is not None and len(patch) != len(size):
            raise ValueError(f"must have as many axes as img_size: {len(size)}")
        return patch

    @field_validator("test_fraction")
    @classmethod
    def _something_is_left(cls, test: float, info: ValidationInfo) -> float:
        if test + info.data.get("val_fraction", 0.0) >= 1:
            raise ValueError("val_fraction and test_fraction together must leave patients to train on")
        return test

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

    @property
    def folder_names(self) -> list[str]:
        """``img_folder`` as a list."""
        return [self.img_folder] if isinstance(self.img_folder, str) else list(self.img_folder)

    @property
    def names(self) -> list[str]:
        """``class_names``, or ``background, class 1, …`` if none are given."""
        return self.class_names or ["background", *(f"class {k}" for k in range(1, self.num_classes))]
