from . import classification as classification, regression as regression
from .calibration import CalibrationBins as CalibrationBins
from .dice import SampleDice as SampleDice, VoxelDice as VoxelDice, class_mean as class_mean, sample_dice as sample_dice
from .overlap_measures import NAMES as NAMES
from .segmentation import (
    METRICS as METRICS,
    RULE as RULE,
    TOLERANCE as TOLERANCE,
    Counts as Counts,
    Measuring as Measuring,
    Values as Values,
    check_spacing as check_spacing,
    check_tolerance as check_tolerance,
    counts as counts,
    measure as measure,
    overlap as overlap,
)
