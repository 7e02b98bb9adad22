"""Two runs side by side: what differs, and whether the difference could be chance."""

import pathlib
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rnn_topologies import tasks
from rnn_topologies.tasks.base import Data, flag_name
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.tasks.metrics import bootstrap

from . import store
from .record import Record
from .tables import format_number


class Comparison(NamedTuple):
    """What `compare` finds.

    Attributes:
        first, second: the records.
        settings: `{name: (first, second)}` of those that differ.
        examples: number of test examples.
        difference: of the headline, first - second.
        interval: 95 % of the paired bootstrap.
    """

    first: Record
    second: Record
    settings: dict[str, tuple[Any, Any]]
    examples: int
    difference: float
    interval: tuple[float, float]


def compare_runs(first: pathlib.Path, second: pathlib.Path) -> Comparison:
    """Compares the runs in two folders on the same test examples.

    Raises:
        UserError: they are not of the same test data, or one has no scores or samples.
    """
    try:
        return _compare(first, second)
    except (KeyError, TypeError) as error:
        raise UserError(f"One of the records lacks what a comparison needs: {error!r}.") from error


def _compare(*folders: pathlib.Path) -> Comparison:
    records = [store.read_record(folder) for folder in folders]
    one, other = records
    for record in records:
        if record.status != "ok":
            raise UserError(f"{record.run_id} is {record.status}: there is nothing to compare.")
    for name in ("task", "dataset"):
        if getattr(one, name) != getattr(other, name):
            raise UserError(
                f"The runs are of different {name}s: {getattr(one, name)} and "
                f"{getattr(other, name)}."
            )
    samples = [_samples(*pair) for pair in zip(folders, records, strict=True)]
    asked = [[(row["source"], row["target"]) for row in rows] for rows in samples]
    if asked[0] != asked[1]:
        raise UserError("The runs were tested on different examples, and cannot be paired.")
    parts = [_parts(record, rows) for record, rows in zip(records, samples, strict=True)]
    everything = {**one.config, **other.config, "backend": None}
    values = [{**r.config, "backend": r.environment["backend"]} for r in records]
    return Comparison(
        one,
        other,
        {
            name: (values[0].get(name), values[1].get(name))
            for name in everything
            if values[0].get(name) != values[1].get(name)
        },
        len(samples[0]),
        one.headline["value"] - other.headline["value"],
        bootstrap.difference(*parts),
    )


def _samples(folder: pathlib.Path, record) -> list[dict]:
    rows = store.read_json_lines(folder, "samples.jsonl")
    if not rows:
        raise UserError(f"{record.run_id} has no samples.jsonl: its test examples are not there.")
    return rows[: record.data["examples"]["test"]]


def _parts(record, rows):
    task = tasks.get_task(record.task)(record.config)
    data = Data(name=record.data["name"], sha256="", splits={}, notes=record.data)
    parts = task.score_parts(rows, data)
    whole = parts.score(parts.rows.sum(axis=0))
    if abs(whole - record.headline["value"]) > 1e-6 * max(1.0, abs(whole)):
        raise UserError(
            f"{record.run_id}: its samples score {whole:.6g}, and its record says "
            f"{record.headline['value']:.6g}. One of them was changed."
        )
    return parts


def print_comparison(found: Comparison, console: Console) -> None:
    """Prints a comparison."""
    one, other = found.first, found.second
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("")
    for number_, record in (("A", one), ("B", other)):
        table.add_column(number_, justify="right", overflow="fold")
        console.print(f"[bold]{number_}[/bold]  {escape(record.run_id)}", soft_wrap=True)
    console.print(f"\n{escape(one.task)} · {escape(one.dataset)}, {found.examples} test examples\n")
    for name, (left, right) in found.settings.items():
        table.add_row(flag_name(name), str(left), str(right), style="cyan")
    for name in [n for n in one.metrics if n in other.metrics]:
        table.add_row(
            escape(name), format_number(one.metrics[name]), format_number(other.metrics[name])
        )
    for name, of in (
        ("parameters", lambda r: f"{r.model['trainable_parameters']:,}"),
        ("seconds", lambda r: f"{sum(r.seconds.values()):.0f}"),
    ):
        table.add_row(name, of(one), of(other))
    console.print(table)
    low, high = found.interval
    chance = "could be chance" if low <= 0 <= high else "is more than chance among test examples"
    console.print(
        f"\n{one.headline['name']}: A - B = [bold]{found.difference:+.4f}[/bold], 95 % interval "
        f"{low:+.4f} to {high:+.4f}\n(paired bootstrap over test examples): the difference "
        f"{chance}.\nOther seeds may differ by more: compare means over seeds with `table`."
    )
