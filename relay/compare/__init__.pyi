from .gather import (
    comparison as comparison,
    cross_validated as cross_validated,
    read_runs as read_runs,
    stand_ins as stand_ins,
)
from .jobs import Job as Job, jobs_of as jobs_of, labels_of as labels_of
from .ray_cluster import ray_executor as ray_executor
from .running import (
    Failed as Failed,
    drop_first_legs as drop_first_legs,
    planned_steps as planned_steps,
    run_here as run_here,
    unfinished as unfinished,
)
from .spread import Share as Share, executor_of as executor_of, run_spread as run_spread, shares_of as shares_of
