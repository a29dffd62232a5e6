from . import classification as classification, multilabel as multilabel, regression as regression
from .base import (
    ClassMetric as ClassMetric,
    ClassPair as ClassPair,
    CountMetric as CountMetric,
    LabelMetric as LabelMetric,
    LabelPair as LabelPair,
    MaskMetric as MaskMetric,
    MaskPair as MaskPair,
    Metric as Metric,
    NumberMetric as NumberMetric,
    NumberPair as NumberPair,
)
from .calibration import CalibrationBins as CalibrationBins
from .class_metrics import BalancedAccuracy as BalancedAccuracy, brier as brier
from .dice import SampleDice as SampleDice, VoxelDice as VoxelDice, sample_dice as sample_dice
from .installed import about as about, metrics as metrics
from .multilabel import LabelBalancedAccuracy as LabelBalancedAccuracy
from .overlap_measures import RULE as RULE, Dice as Dice, Values as Values, overlap as overlap
from .regression import MAE as MAE
from .segmentation import (
    TOLERANCE as TOLERANCE,
    Measuring as Measuring,
    check_spacing as check_spacing,
    check_tolerance as check_tolerance,
    measure as measure,
)
from .voxels import Counts as Counts, counts as counts
