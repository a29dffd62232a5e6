from . import classification as classification, regression as regression
from .base import (
    ClassMetric as ClassMetric,
    ClassPair as ClassPair,
    CountMetric as CountMetric,
    Counts as Counts,
    MaskMetric as MaskMetric,
    MaskPair as MaskPair,
    Metric as Metric,
    NumberMetric as NumberMetric,
    NumberPair as NumberPair,
)
from .calibration import CalibrationBins as CalibrationBins
from .class_metrics import brier as brier
from .dice import SampleDice as SampleDice, VoxelDice as VoxelDice, sample_dice as sample_dice
from .installed import about as about, metrics as metrics
from .overlap_measures import RULE as RULE, Values as Values, counts as counts, overlap as overlap
from .segmentation import (
    TOLERANCE as TOLERANCE,
    Measuring as Measuring,
    check_spacing as check_spacing,
    check_tolerance as check_tolerance,
    measure as measure,
)
