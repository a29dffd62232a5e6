from .base import Target as Target, Task as Task
from .installed import TASKS as TASKS, TaskName as TaskName, named as named, of_metric as of_metric, task_of as task_of
