"""Schemas for the files of results, and reading them: a damaged file gives one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, RootModel, ValidationError

from relay.errors import UserError, plain
from relay.tasks import TaskName

MOST = 200
"""Maximum length of a message about a file, in characters."""
Number: TypeAlias = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)] | None
Leg: TypeAlias = Annotated[int, Field(ge=0, le=10**6)]
LegKey: TypeAlias = Annotated[str, Field(pattern=r"^[0-9]{1,6}$")]
BySite: TypeAlias = dict[str, Number]


class Shape(BaseModel):
    """Keys that are not named here may have any value: they are not shown, or shown unchanged."""

    model_config = ConfigDict(strict=True, extra="allow")


class Worst(Shape):
    """A site and its value."""

    site: str | None = None
    value: Number = None


class Relay(Shape):
    """``relay`` of a summary."""

    average: Number = None
    backward: Number = None
    forward: Number = None
    forgetting: Number = None
    worst: Worst | None = None
    external: BySite | None = None
    to_joint: BySite | None = None
    to_local: BySite | None = None
    bytes: Number = None
    seconds: Number = None


class Maps(Shape):
    """``maps.json``: what ``relay explain`` drew of an image.

    Attributes:
        model: in words.
        source: the file in the run that says which weights these are; ``sha256``: its digest.
        said: what the model says of the image; ``output``: what was explained of it; ``part``: of which part.
        likeness: method → rank correlation with the map of the untrained net; null if one of the two is empty.
    """

    format: Literal[1] = 1
    model: str
    source: str
    sha256: str
    said: str
    output: str
    part: str
    likeness: dict[Annotated[str, Field(pattern=r"^[a-z_+]{1,40}$")], Number]


class Pair(Shape):
    """A site's model at a site."""

    model: str | None = None
    site: str | None = None
    value: Number = None


class Measures(Shape):
    """``measures`` of a summary."""

    at_home: BySite = Field(default_factory=dict)
    everywhere: BySite = Field(default_factory=dict)
    elsewhere: BySite = Field(default_factory=dict)
    generalist: dict[str, BySite] = Field(default_factory=dict)
    worst_pair: Pair | None = None
    best_single: BySite = Field(default_factory=dict)


class Doubt(Shape):
    """A warning before training, and the site whose data it is about."""

    site: str
    text: str


class Doubts(Shape):
    """``results/warnings.json``."""

    warnings: list[Doubt]


class Summary(Shape):
    """``results/summary.json``."""

    study: str = ""
    strategy: str = ""
    task: TaskName = "segmentation"
    matrix: dict[LegKey, BySite]
    final: BySite
    mean: Number = None
    forgetting: Number = None
    relay: Relay | None = None
    measures: Measures | None = None


class Cell(Shape):
    """A leg's model at a site."""

    checkpoint: str
    leg: Leg
    site: str


class Measured(Cell):
    """A row of ``evaluation.json``."""

    name: str = Field(alias="class")
    metric: str
    samples: int | None = None
    measured: int | None = None
    mean: Number = None
    low: Number = None
    high: Number = None
    value: Number = None
    method: str | None = None


class Bin(Shape):
    """A bin of a reliability diagram."""

    count: int
    confidence: Number
    accuracy: Number


class Calibrated(Cell):
    """Calibration of a leg's model at a site."""

    ece: Number = None
    bins: list[Bin] = Field(default_factory=list)


class Confused(Cell):
    """Counts of a leg's model at a site: a row for each true class, a column for each predicted one."""

    counts: list[list[NonNegativeInt]]


class About(Shape):
    """What the results say of a metric."""

    title: str
    meaning: str
    in_unit: bool


class Evaluation(Shape):
    """``results/evaluation.json``."""

    rule: str | None = None
    interval: str | None = None
    tolerance: Number = None
    unit: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, About] = Field(default_factory=dict)
    rows: list[Measured]
    subjects: list[Measured] = Field(default_factory=list)
    voxels: list[Measured] = Field(default_factory=list)
    whole: list[Measured] = Field(default_factory=list)
    calibration: list[Calibrated] = Field(default_factory=list)
    confusion: list[Confused] = Field(default_factory=list)


class Record(Shape):
    """``leg.json``."""

    config: dict[str, Any] | None = None
    start: str | None = None
    seconds: Number = None
    train_seconds: Number = None
    spent: dict[str, Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]] | None = None
    versions: dict[str, str] | None = None


class Routed(RootModel[dict[str, dict[str, NonNegativeInt]]]):
    """``routing.json``: site of test images → site of an expert → how many."""


class OneFold(Shape):
    """A fold of a cross-validated run."""

    fold: str
    mean: Number = None


class Compared(Shape):
    """A run of a comparison."""

    label: str
    strategy: str
    order: list[str] | None = None
    mean: Number = None
    forgetting: Number = None
    final: BySite
    measures: Measures | None = None
    left_out: str | None = None
    seconds: Number = None
    folds: list[OneFold] = Field(default_factory=list)


class Gain(Shape):
    """A measure of a strategy, and the difference to local or joint."""

    mean: Number = None
    worst: Worst | None = None
    difference: Number = None
    lowest: Worst | None = None


class Row(Shape):
    """A strategy of a comparison."""

    strategy: str
    runs: int | None = None
    at_home: Gain
    everywhere: Gain
    elsewhere: Gain
    generalist: dict[str, Gain] = Field(default_factory=dict)
    worst_pair: Pair | None = None
    mean: Number = None
    sd: Number = None
    low: Number = None
    high: Number = None
    forgetting: Number = None
    backward: Number = None
    forward: Number = None
    gap_closed: Number = None
    cost: Number = None
    bytes: Number = None
    method: str | None = None


class Outside(Shape):
    """A site that took no part."""

    site: str
    left_out: bool = False
    strategies: BySite
    best_single: Number = None


class Test(Shape):
    """A paired test of a comparison; ``site`` where it is of one site alone."""

    a: str
    b: str
    site: str | None = None
    pairs: int | None = None
    difference: Number = None
    low: Number = None
    high: Number = None
    p: Number = None
    p_holm: Number = None
    effect: Number = None
    method: str | None = None


class Comparison(Shape):
    """``compare.json``."""

    task: TaskName = "segmentation"
    method: str | None = None
    reference: str | None = None
    steps: dict[str, float] = Field(default_factory=dict)
    planned: int | None = None
    failed: list[Any] = Field(default_factory=list)
    runs: list[Compared]
    table: list[Row]
    elsewhere: list[Outside] = Field(default_factory=list)
    tests: list[Test] = Field(default_factory=list)
    site_tests: list[Test] = Field(default_factory=list)


PREDICTED = ("samples.csv", "evaluation.json")
"""What ``relay predict`` writes of the results; all else is written by ``relay train``."""


def damaged(path: Path, why: object, advice: str | None = None) -> UserError:
    """The error for a file that can't be used; no more of it is quoted than a line.

    Args:
        advice: None says which command writes it.
    """
    said = "it is not text (UTF-8)" if isinstance(why, UnicodeError) else " ".join(str(why).split())
    writer = "relay predict" if path.name in PREDICTED else "relay train"
    return UserError(f"{path} is damaged: {cut(said)}", advice or f"Run {writer} again, which writes it anew.")


def cut(text: str) -> str:
    """At most :data:`MOST` printable characters."""
    return plain(text if len(text) <= MOST else text[: MOST - 1] + "…")


def read_json(path: Path, shape: type[BaseModel], advice: str | None = None) -> dict[str, Any]:
    """A file of results, once it has its shape. Its texts are made printable: they may be anybody's.

    Raises:
        UserError: it is not there, or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shape.model_validate(content)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", "Run the study again, or restore it.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise damaged(path, f"{where}: {first['msg']}" if where else "it is not an object", advice) from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, advice) from error
    shown: dict[str, Any] = _printable(content)
    return shown


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {plain(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return plain(value) if isinstance(value, str) else value
