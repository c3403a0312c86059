"""Tasks: where they come from, which are held out, and in which order the rest is trained."""

from services.tasks.load import load_tasks
from services.tasks.split import TaskSplit
from services.tasks.stream import TaskStream

__all__ = ["TaskSplit", "TaskStream", "load_tasks"]
