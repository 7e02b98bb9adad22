"""The tasks: one module per task, one task per topology. A task is named after its module."""

import importlib
import pkgutil

from .base import Task
from .errors import UserError, unknown_name

NOT_TASKS = {"base", "errors", "progress"}  # the other modules of this folder


def task_names() -> list[str]:
    """Returns the names of all tasks, in alphabetical order."""
    modules = {module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg}
    return sorted(modules - NOT_TASKS)


def get_task(name: str) -> type[Task]:
    """Returns the class of a task, such as `TranslationTask` for "translation".

    Imports the module of this task only.

    Raises:
        UserError: there is no task of this name.
    """
    if name not in task_names():
        raise UserError(unknown_name("task", name, task_names()))
    module = importlib.import_module(f".{name}", __package__)
    class_name = "".join(word.capitalize() for word in name.split("_")) + "Task"
    return getattr(module, class_name)
