"""The schemas of the documents beside a claim: fixed keys, plain words, numbers with ranges; no free text."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from relay.bundle.audits import PrivacyAudit
from relay.config import Field, options
from relay.trust import Count, Name, Text

MAX_TEXT = 200
"""Maximum length of a text in a config, in characters."""
MAX_ITEMS = 1000
"""Maximum number of items in a list or object in a config."""
KEY = r"^[A-Za-z0-9_.-]{1,200}$"


def _plain(value: Any) -> Any:
    if isinstance(value, str) and not (value.isprintable() and len(value) <= MAX_TEXT):
        raise ValueError(f"a text must be printable and have at most {MAX_TEXT} characters")
    if isinstance(value, list | dict) and len(value) > MAX_ITEMS:
        raise ValueError(f"{len(value)} items; the limit is {MAX_ITEMS}")
    if isinstance(value, dict) and (odd := [key for key in value if not re.fullmatch(KEY, key)]):
        raise ValueError(f"{odd[0][:50]!a} is not a plain key")
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _plain(item)
    return value


Key = Annotated[str, Field(pattern=KEY)]
Plain = Annotated[Any, AfterValidator(_plain)]
"""Null, a boolean, a number or a short printable text; or a list of these, or an object of these with plain keys."""
Config = Annotated[dict[Key, Plain], Field(max_length=MAX_ITEMS)]
"""``config.json``: the scientific config, flat."""


@options
class Model:
    """A net or a step, with all its options."""

    name: Text
    kwargs: Config


@options
class InputSpec:
    """What a model expects of an image, and what it predicts.

    Attributes:
        task: what it predicts: ``segmentation``, ``classification``, ``multilabel`` or ``regression``.
        classes: the names of its outputs; of segmentation, background first.
        channels: number of channels of an image.
        intensity_range: the values that the lowest and highest intensities are mapped to.
        steps: what is done to an image first, with all options; null for intensities mapped to 8 bits, image by image.
        slices: the plane of the slices as which volumes are read; null for whole images.
        target_scale: of a regression, mean and standard deviation: an output counts standard deviations from the mean;
            left out if it is the number itself.
    """

    task: Text
    classes: Annotated[list[Text], Field(min_length=1, max_length=255)]
    channels: Annotated[int, Field(ge=1)]
    intensity_range: tuple[float, float]
    steps: Annotated[list[Model], Field(max_length=MAX_ITEMS)] | None
    slices: Literal["axial", "coronal", "sagittal"] | None
    target_scale: tuple[float, Annotated[float, Field(gt=0)]] | None = None


@options
class HandoverSpec:
    """``handover.json``: what the weights belong to."""

    format: Literal[1] = 1
    model: Model
    data: InputSpec


@options
class Splits:
    """A count for each split."""

    train: Count
    val: Count
    test: Count


@options
class Stated:
    """What a leg's training guarantees each of its patients: (epsilon, delta)-differential privacy.

    Attributes:
        accountant: by which epsilon was reckoned.
        private: whether the noise is secret. If not, the leg was a test, and nothing is guaranteed.
        relation: what is hidden: whether there was a patient, or nothing in that place.
    """

    epsilon: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    unit: Literal["patient"]
    accountant: Literal["prv", "rdp"]
    private: bool
    relation: Literal["zero-out"]

    def __str__(self) -> str:
        if not self.private:
            return "none: trained with noise that anyone can subtract, for a test"
        return f"ε = {self.epsilon:g}, δ = {self.delta:g} for each training {self.unit} (accountant {self.accountant})"


@options
class DataCard:
    """``data-card.json``: counts that describe the data a leg learned from.

    Attributes:
        size: of an image or a patch, in pixels or voxels, slowest axis first; null if sizes differ.
        counts: whether they are rounded to powers of two.
        privacy_audit: what an audit of the leg found; missing if there was none, or the policy lets none travel.
    """

    format: Literal[1] = 1
    site: Name
    task: Text
    classes: Annotated[list[Text], Field(min_length=1, max_length=255)]
    channels: Annotated[int, Field(ge=1)]
    size: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=3)] | None
    images: Splits
    patients: Splits
    counts: Literal["rounded", "exact"]
    privacy_audit: PrivacyAudit | None = None


@options
class CorrectedDataCard(DataCard):
    """The data card of a leg whose config asks for masks that people have corrected.

    Attributes:
        corrected: how many training images have such a mask.
    """

    corrected: Count


@options
class PrivateDataCard(DataCard):
    """The data card of a leg that was trained with differential privacy.

    Attributes:
        privacy: what the training guarantees.
    """

    privacy: Stated


@options
class PrivateCorrectedDataCard(CorrectedDataCard):
    """Likewise, where the config asks for masks that people have corrected."""

    privacy: Stated


AnyDataCard = DataCard | CorrectedDataCard | PrivateDataCard | PrivateCorrectedDataCard
"""A key that a leg has nothing to say for is missing."""


@options
class Row:
    """A mean score of a class on a site's test set, of segmentation 0 to 1; null if nothing could be measured."""

    site: Name
    label: Text
    metric: Text
    mean: Annotated[float, Field(ge=-1e15, le=1e15)] | None


@options
class ZeroShot:
    """How well a model that arrived does at a site before the leg trains.

    Attributes:
        model: the generalist, or the vote of the experts.
        mean: score as in the statement's ``result``; null if nothing could be measured.
        images: how many images of this site it was measured on.
    """

    model: Literal["generalist", "vote"]
    mean: Annotated[float, Field(ge=-1e15, le=1e15)] | None
    images: Count


def _distinct(scores: list[ZeroShot]) -> list[ZeroShot]:
    if len({score.model for score in scores}) < len(scores):
        raise ValueError("a model is listed twice")
    return scores


@options
class Results:
    """``results.json``: the scores of a leg's model, trained at a site, and of the models that arrived there."""

    format: Literal[1] = 1
    leg: Annotated[int, Field(ge=1)]
    trained: Name
    rows: list[Row]
    zero_shot: Annotated[list[ZeroShot], AfterValidator(_distinct)] = Field(default_factory=list)
