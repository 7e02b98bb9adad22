"""Lessons: small experiments on how recurrent networks work, each at most three minutes long.

A lesson is a module of this package with a docstring and a function `run_lesson(sheet)`. It is
named after its file: the lesson `long-memory` is in `long_memory.py`.
"""

import importlib
import json
import pathlib
import pkgutil
import types
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from rnn_topologies.tasks.data.filesystem import check_writable
from rnn_topologies.tasks.errors import UserError, unknown_name

from ..report import figures


def lesson_names() -> list[str]:
    """Returns the names of all lessons, sorted."""
    modules = [module.name for module in pkgutil.iter_modules(__path__)]
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def lesson_summary(name: str) -> str:
    """Returns the first line of a lesson's docstring."""
    return (_lesson_module(name).__doc__ or "").partition("\n")[0]


def _lesson_module(name: str) -> types.ModuleType:
    if name not in lesson_names():
        raise UserError(unknown_name("lesson", name, lesson_names()))
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def run_lesson(name: str, results_dir: str | pathlib.Path, *, seed: int = 0) -> pathlib.Path:
    """Runs a lesson and returns the folder with its pictures and numbers.

    Raises:
        UserError: the lesson does not exist, or the folder is not writable.
    """
    module = _lesson_module(name)
    check_writable(results_dir, "--results-dir")
    sheet = Sheet(pathlib.Path(results_dir) / "lessons" / name, seed)
    module.run_lesson(sheet)
    sheet.close()
    return sheet.folder


class Sheet:
    """Output of a lesson: text and tables on the console, pictures and numbers in a folder.

    Attributes:
        folder: where pictures are saved, and `figures.json` with the numbers of all tables.
        seed: random seed of the lesson.
    """

    def __init__(self, folder: pathlib.Path, seed: int, console: Console | None = None):
        self.folder, self.seed = folder, seed
        self.console = console or Console(highlight=False)
        self.tables: dict[str, list[dict[str, Any]]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def print(self, text: str) -> None:
        """Prints a line of text."""
        self.console.print(text, markup=False)

    def add_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Prints a table, floats with three decimals, and keeps its numbers for `figures.json`."""
        printed = Table(title=name, title_justify="left", box=None, pad_edge=False)
        for column, value in zip(columns, rows[0], strict=True):
            printed.add_column(column, justify="left" if isinstance(value, str) else "right")
        for row in rows:
            printed.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
        self.console.print()
        self.console.print(printed)
        self.tables[name] = [dict(zip(columns, row, strict=True)) for row in rows]

    def add_picture(self, name: str, figure: Figure) -> None:
        """Saves a figure as `<name>.png`."""
        figures.save_figure(figure, self.folder / f"{name}.png")

    def close(self) -> None:
        """Writes `figures.json` and prints what is in the folder."""
        text = json.dumps(self.tables, indent=1, ensure_ascii=False)
        (self.folder / "figures.json").write_text(text + "\n", "utf-8")
        files = ", ".join(sorted(path.name for path in self.folder.iterdir()))
        self.console.print(f"\nSaved in {self.folder}: {files}", soft_wrap=True)
