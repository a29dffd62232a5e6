from .base import Measured as Measured, Target as Target, Task as Task
from .installed import (
    TASKS as TASKS,
    TaskName as TaskName,
    named as named,
    of_metric as of_metric,
    of_primary as of_primary,
    task_of as task_of,
)
from .regression import Regression as Regression
from .segmentation import Segmentation as Segmentation
