"""The tasks: one module each, one topology each. The module's name is the task's name."""

import importlib
import pkgutil

from .base import did_you_mean
from .errors import UserError

SHARED = {"base", "errors"}  # modules here that are not tasks


def names() -> list[str]:
    """Returns the names of the tasks, by listing this folder."""
    modules = {module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg}
    return sorted(modules - SHARED)


def find(name: str):
    """Returns the class of a task and imports no other.

    Raises:
        UserError: there is no such task.
    """
    if name not in names():
        hint = did_you_mean(name, names())
        raise UserError(f"Unknown task {name!r}. Available: {', '.join(names())}.{hint}")
    return importlib.import_module(f".{name}", __package__).Task
