"""`runner.py list`: tables of the tasks, data sets and recurrent cells."""

import sys
from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table

from rnn_topologies import tasks
from rnn_topologies.tasks.base import Task

from ..training import environment


def print_overview() -> None:
    """Prints the tables on standard output."""
    console = Console(highlight=False)
    task_classes = {name: tasks.get_task(name) for name in tasks.task_names()}
    console.print(_task_table(task_classes), "")
    console.print(_dataset_table(task_classes), "")
    # Last: the cells are Keras layers, and importing Keras takes seconds.
    with console.status("cells ..."), environment.hide_native_output(sys.stderr):
        cells = _cell_table()
    console.print(cells)


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _task_table(task_classes: Mapping[str, type[Task]]) -> Table:
    table = _table("Tasks", "--task", "topology", "goal")
    for name, task in task_classes.items():
        table.add_row(f"[bold]{name}[/bold]", str(task.topology), task.summary)
    return table


def _dataset_table(task_classes: Mapping[str, type[Task]]) -> Table:
    table = _table("Data sets", "--dataset", "contents", "headline metric")
    for name, task in task_classes.items():
        table.add_row(name)
        for spec in task.datasets.values():
            table.add_row(f"  [bold]{spec.usage}[/bold]", spec.description, spec.headline.name)
        table.add_section()
    return table


def _cell_table() -> Table:
    from rnn_topologies import layers

    table = _table("Cells", "--cell", "layer", "states", "gates")
    for name, (cell, layer) in layers.CELLS.items():
        states, gates = ", ".join(cell.state_names), ", ".join(cell.gates)
        table.add_row(f"[bold]{name}[/bold]", layer.__name__, states, gates)
    return table
