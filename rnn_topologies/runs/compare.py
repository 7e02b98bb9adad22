"""Compares two runs: their settings, their metrics, and whether the difference is significant."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rnn_topologies import tasks
from rnn_topologies.tasks.base import Data, flag_name
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.tasks.metrics import bootstrap

from . import store
from .datasets import dataset_use, label_datasets
from .record import Headline, Record
from .tables import format_count, format_number


class Comparison(NamedTuple):
    """The result of `compare_runs`.

    Attributes:
        first: the record of the first run.
        second: the record of the second run.
        settings: `{name: (first, second)}` for the settings that differ.
        examples: the number of test examples.
        difference: the headline metric of the first run minus that of the second.
        interval: 95 % confidence interval of `difference`, from the paired bootstrap.
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
        UserError: the runs have different test examples, or one has no scores or samples.
    """
    try:
        return _compare(first, second)
    except (KeyError, TypeError) as error:
        raise UserError(f"One of the records is incomplete: {error!r}.") from error


def _compare(*folders: pathlib.Path) -> Comparison:
    records = [store.read_record(folder) for folder in folders]
    for record in records:
        if record.status != "ok":
            raise UserError(f"{record.run_id} is {record.status} and cannot be compared.")
    first, second = records
    if first.task != second.task:
        raise UserError(f"The runs have different tasks: {first.task} and {second.task}.")
    uses = [dataset_use(record) for record in records]
    if len({use.identity.content if use.identity else use.name for use in uses}) > 1:
        labels = label_datasets(uses)
        names = " and ".join(labels[use] for use in uses)
        raise UserError(f"The runs have different data sets: {names}.")
    samples = [_read_samples(*pair) for pair in zip(folders, records, strict=True)]
    fields = ("source", "target", "references")
    questions = [[[row.get(field) for field in fields] for row in rows] for rows in samples]
    if questions[0] != questions[1]:
        raise UserError("The runs were tested on different examples and cannot be compared.")
    parts = [_score_parts(record, rows) for record, rows in zip(records, samples, strict=True)]
    return Comparison(
        first,
        second,
        _different_settings(first, second),
        len(samples[0]),
        _headline(first)["value"] - _headline(second)["value"],
        bootstrap.paired_bootstrap_interval(*parts),
    )


def _different_settings(first: Record, second: Record) -> dict[str, tuple[Any, Any]]:
    settings = [{**r.config, "backend": r.environment["backend"]} for r in (first, second)]
    values = {
        name: (settings[0].get(name), settings[1].get(name))
        for name in {**settings[0], **settings[1]}
    }
    return {name: pair for name, pair in values.items() if pair[0] != pair[1]}


def _headline(record: Record) -> Headline:
    if record.headline is None:
        raise UserError(f"{record.run_id} has no headline metric.")
    return record.headline


def _read_samples(folder: pathlib.Path, record: Record) -> list[dict[str, Any]]:
    rows = store.read_json_lines(folder, store.SAMPLES)
    if not rows:
        raise UserError(f"{record.run_id} has no {store.SAMPLES}: its test examples are missing.")
    return rows[: _data_facts(record)["examples"]["test"]]


def _data_facts(record: Record) -> Mapping[str, Any]:
    return record.data or {}


def _score_parts(record: Record, rows: Sequence[Mapping[str, Any]]) -> bootstrap.ScoreParts:
    """Returns the headline metric by test example, after checking it against the record."""
    task = tasks.get_task(record.task)(record.config)
    facts = _data_facts(record)
    data = Data(name=facts["name"], sha256="", splits={}, notes=facts)
    parts = task.score_parts(rows, data)
    total = parts.score(parts.rows.sum(axis=0))
    recorded = _headline(record)["value"]
    if abs(total - recorded) > 1e-6 * max(1.0, abs(total)):
        raise UserError(
            f"{record.run_id}: its samples score {total:.6g}, but its record says "
            f"{recorded:.6g}. One of them has been modified."
        )
    return parts


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints a comparison as a table, followed by the difference and its confidence interval."""
    first, second = comparison.first, comparison.second
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("")
    for letter, record in (("A", first), ("B", second)):
        table.add_column(letter, justify="right", overflow="fold")
        console.print(f"[bold]{letter}[/bold]  {escape(record.run_id)}", soft_wrap=True)
    console.print(
        f"\n{escape(first.task)} · {escape(first.dataset)}, {comparison.examples} test examples\n"
    )
    for name, values in comparison.settings.items():
        table.add_row(flag_name(name), *map(str, values), style="cyan")
    for name in [n for n in first.metrics if n in second.metrics]:
        values = (first.metrics[name], second.metrics[name])
        table.add_row(escape(name), *map(format_number, values))
    parameters = [(r.model or {}).get("trainable_parameters", math.nan) for r in (first, second)]
    table.add_row("parameters", *map(format_count, parameters))
    seconds = [sum(r.seconds.values()) for r in (first, second)]
    table.add_row("seconds", *map(format_count, seconds))
    console.print(table)
    _print_best_baseline(comparison, console)
    low, high = comparison.interval
    significance = "not significant" if low <= 0 <= high else "significant"
    console.print(
        f"\n{_headline(first)['name']}: A - B = [bold]{comparison.difference:+.4f}[/bold], "
        f"95 % CI {low:+.4f} to {high:+.4f}: {significance}\n"
        "(paired bootstrap over test examples). Different seeds may vary more: compare\n"
        "means over seeds with `table`."
    )


def _print_best_baseline(comparison: Comparison, console: Console) -> None:
    """Prints the best baseline recorded by either run, on the same test examples."""
    runs = (comparison.first, comparison.second)
    sign = 1 if _headline(runs[0])["higher_is_better"] else -1
    baselines = [item for record in runs for item in record.baselines.items()]
    if baselines:
        name, score = max(baselines, key=lambda item: sign * item[1])
        wins = all(sign * score > sign * _headline(record)["value"] for record in runs)
        note = ", better than both runs" if wins else ""
        console.print(f"\nbest baseline: {escape(name)} {format_number(score)}{note}")
