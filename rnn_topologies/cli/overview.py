"""`runner.py list`: the tasks, their topologies and data sets, the cells."""

import sys

from rich.console import Console
from rich.table import Table

from rnn_topologies import tasks

from ..training import environment


def print_overview() -> None:
    """Prints the tables on standard output."""
    console = Console(highlight=False)
    found = {name: tasks.get_task(name) for name in tasks.task_names()}
    console.print(_tasks(found), "")
    console.print(_datasets(found), "")
    # The cells are Keras's layers, and Keras takes seconds to import: last, not first.
    with console.status("cells ..."), environment.hide_native_output(sys.stderr):
        cells = _cells()
    console.print(cells)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _tasks(found) -> Table:
    table = _table("Tasks", "--task", "topology", "what it does")
    for name, task in found.items():
        table.add_row(f"[bold]{name}[/bold]", str(task.topology), task.summary)
    return table


def _datasets(found) -> Table:
    table = _table("Data sets", "--task", "--dataset", "what it holds", "headline")
    for name, task in found.items():
        for spec in task.datasets.values():
            table.add_row(name, f"[bold]{spec.usage}[/bold]", spec.description, spec.headline.name)
            name = ""
        table.add_section()
    return table


def _cells() -> Table:
    from rnn_topologies import layers

    table = _table("Cells", "--cell", "layer", "states", "gates")
    for name, (cell, layer) in layers.CELLS.items():
        states, gates = ", ".join(cell.state_names), ", ".join(cell.gates)
        table.add_row(f"[bold]{name}[/bold]", layer.__name__, states, gates)
    return table
