"""Lessons: small experiments that show how recurrent networks work, each in three minutes.

A lesson is a module with a docstring and a `run(sheet)`; the runner finds it by its name.
"""

import importlib
import json
import pathlib
import pkgutil
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from rnn_topologies.tasks.data.filesystem import check_writable
from rnn_topologies.tasks.errors import UserError, unknown_name

from ..report import figures


def names() -> list[str]:
    """Returns the names of all lessons: `long-memory` is in `long_memory.py`."""
    modules = [module.name for module in pkgutil.iter_modules(__path__)]
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def summary(name: str) -> str:
    """Returns the first line of a lesson's docstring."""
    return _module(name).__doc__.partition("\n")[0]


def _module(name: str):
    if name not in names():
        raise UserError(unknown_name("lesson", name, names()))
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def run(name: str, results_dir: str | pathlib.Path, *, seed: int = 0) -> pathlib.Path:
    """Runs a lesson and returns the folder with its pictures and figures.

    Raises:
        UserError: there is no such lesson, or the folder cannot be written.
    """
    module = _module(name)
    check_writable(results_dir, "--results-dir")
    sheet = Sheet(pathlib.Path(results_dir) / "lessons" / name, seed)
    module.run(sheet)
    sheet.close()
    return sheet.folder


class Sheet:
    """Where a lesson writes: tables on the screen, pictures and figures in its folder.

    Attributes:
        seed: of everything that is drawn.
        folder: of the pictures and of `figures.json`, which holds the numbers of the tables.
    """

    def __init__(self, folder: pathlib.Path, seed: int, console: Console | None = None):
        self.folder, self.seed = folder, seed
        self.console = console or Console(highlight=False)
        self.figures = {}
        folder.mkdir(parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        """Prints a line of text."""
        self.console.print(text, markup=False)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
        """Prints a table, and keeps it for `figures.json`; numbers are shown with three places."""
        shown = Table(title=name, title_justify="left", box=None, pad_edge=False)
        for column, value in zip(columns, rows[0], strict=True):
            shown.add_column(column, justify="left" if isinstance(value, str) else "right")
        for row in rows:
            shown.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
        self.console.print()
        self.console.print(shown)
        self.figures[name] = [dict(zip(columns, row, strict=True)) for row in rows]

    def picture(self, name: str, figure) -> None:
        """Writes a figure as `<name>.png`."""
        figures.save_figure(figure, self.folder / f"{name}.png")

    def close(self) -> None:
        """Writes the figures."""
        text = json.dumps(self.figures, indent=1, ensure_ascii=False)
        (self.folder / "figures.json").write_text(text + "\n", "utf-8")
        names = ", ".join(sorted(path.name for path in self.folder.iterdir()))
        self.console.print(f"\nin {self.folder}: {names}", soft_wrap=True)
