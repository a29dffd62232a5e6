"""From a checked config to a plan: which legs run here, with what, starting from where."""

from relay.plan.legs import Leg, Study
from relay.plan.planner import plan

__all__ = ["Leg", "Study", "plan"]
