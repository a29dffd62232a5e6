from .layers import Layers as Layers
from .legs import RUNTIME_KEYS as RUNTIME_KEYS, Leg as Leg, Study as Study
from .parts import (
    LossLike as LossLike,
    NetLike as NetLike,
    OptimizerLike as OptimizerLike,
    SchedulerLike as SchedulerLike,
    StrategyLike as StrategyLike,
)
from .planner import SHARED as SHARED, plan as plan
from .written import Config as Config, read_config as read_config
