"""Tables of runs: one row per task, data set, cell and setting, averaged over seeds."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .baselines import (
    ERRORS,
    SCORES,
    averaged_over,
    format_baseline,
    format_number,
    summarize_baselines,
)
from .datasets import match_dataset

Row = Mapping[str, Any]  # of the table that `summarize_runs` returns
Frame = Any  # a `pandas.DataFrame`: its type hints do not know what the columns contain

GROUP = ["task", "dataset", "headline"]  # scores are comparable within a group
VARIANT = ["cell", "setting"]  # scores are averaged over the seeds or folds of a variant
HEADER = ["task", "data set", "headline", "cell", "score", "seeds", "baselines", "parameters"]
HEADER += ["seconds", "setting"]
NOT_SETTINGS = ("config/dataset", "config/cell", "config/seed", "config/fold", "config/folds")


def select_runs(runs: Frame, values: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Returns the runs that have one of the given values in each of the given columns."""
    for column, allowed in values.items():
        if not runs.empty:
            runs = runs[runs[column].isin(allowed)]
    return runs


def select_dataset(runs: Frame, dataset: str) -> pd.DataFrame:
    """Returns the runs on a data set, given by its name or label; see `datasets.match_dataset`."""
    labels = match_dataset(dataset, zip(runs["dataset"], runs["dataset_label"], strict=True))
    return runs[runs["dataset_label"].isin(labels)]


def summarize_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per task, data set, cell and setting, best first within a data set.

    Runs share a data set if they have the same `dataset_label`.

    Args:
        runs: the result of `store.load_runs`.

    Returns:
        Columns `task`, `topology`, `dataset` (the label), `headline`, `higher_is_better`, `cell`,
        `setting` (the settings that differ from other rows of the data set), `mean` and `std` of
        the headline metric over seeds or, in a cross-validation, over folds (sample standard
        deviation, NaN for one; runs with the same seed or fold are averaged first), `seeds` (number
        of seeds), `folds` (number of folds with a score, 0 without cross-validation), `all_folds`
        (total number of folds), `not_ok` (number of runs that failed, diverged or were
        interrupted, and are excluded), `baselines` (mean score by name), `group_baselines` (see
        `summarize_baselines`), `best` (whether the row is the best of its data set),
        `baseline_wins` (whether a baseline of the data set is better than all its rows),
        `parameters` and `seconds` (means), `run_ids`, `warnings` about the data, and the mean of
        every test metric as `test/...`.
    """
    if runs.empty:
        return pd.DataFrame()
    runs = runs.assign(dataset=runs["dataset_label"])
    runs = runs.assign(setting=_settings(runs), headline=_headlines(runs))
    tables = [_summarize_group(group) for _, group in _groups(runs, GROUP, dropna=False)]
    table = pd.concat(tables)
    table = table.sort_values([*GROUP, "sort_key", *VARIANT], na_position="last")
    return table.drop(columns="sort_key").reset_index(drop=True)


def _summarize_group(runs: Frame) -> pd.DataFrame:
    groups = _groups(runs, [*GROUP, *VARIANT], dropna=False)
    table = pd.DataFrame([_row(key, group) for key, group in groups])
    higher_is_better = bool(table["higher_is_better"].ne(False).all())
    baselines = summarize_baselines(runs, higher_is_better=higher_is_better)
    sign = 1 if higher_is_better else -1
    utility = sign * table["mean"]
    baseline_wins = any(sign * b.score > utility.max() + 1e-9 for b in baselines)
    return table.assign(
        group_baselines=[baselines] * len(table),
        best=utility.eq(utility.max()),
        baseline_wins=baseline_wins,
        sort_key=-utility,
    )


def _groups(
    table: Frame, columns: list[str], *, dropna: bool = True
) -> Iterator[tuple[tuple[str, ...], Frame]]:
    return iter(table.groupby(columns, sort=False, dropna=dropna))


def table_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the rows of a table as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _headlines(runs: Frame) -> pd.Series:
    """Returns the headline metric of each run; failed runs get that of their data set."""
    known = runs.groupby(["task", "dataset"])["headline"].transform("first")
    return runs["headline"].fillna(known).fillna("")


def _settings(runs: Frame) -> pd.Series:
    """Returns the settings in which each run differs from others on its task and data set."""
    settings = pd.Series("", index=runs.index)
    columns = [c for c in runs if c.startswith("config/") and c not in NOT_SETTINGS]
    for _, group in runs.groupby(["task", "dataset"]):
        different = [c for c in columns if group[c].map(repr).nunique() > 1]
        for index, run in zip(group.index, table_rows(group[different]), strict=True):
            pairs = (f"{c.removeprefix('config/')}={_restore_int(run[c])}" for c in different)
            settings[index] = ", ".join(pairs)
    return settings


def _restore_int(value: Any) -> Any:
    """Undoes pandas' conversion of integers to floats in columns with missing values."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _row(key: Sequence[str], group: Frame) -> dict[str, Any]:
    successful = group[group["status"] == "ok"]
    metrics = [c for c in group if c.startswith("test/")]
    unit = averaged_over(group)
    by_unit = successful.groupby(unit)
    means = by_unit[["value", "parameters", "seconds", *metrics]].mean()
    baselines = [c for c in group if c.startswith(SCORES)]
    first = table_rows(group if successful.empty else successful)[0]
    is_validation = unit == "fold"
    return {
        **dict(zip([*GROUP, *VARIANT], key, strict=True)),
        "topology": first["topology"],
        "higher_is_better": first["higher_is_better"],
        "mean": means["value"].mean(),
        "std": means["value"].std(),
        "seeds": successful["config/seed"].nunique(),
        "folds": len(means) if is_validation else 0,
        "all_folds": int(first["folds"]),
        "not_ok": len(group) - len(successful),
        "baselines": {
            c.removeprefix(SCORES): value
            for c, value in by_unit[baselines].mean().mean().dropna().round(12).items()
        },
        "parameters": means["parameters"].mean(),
        "seconds": means["seconds"].mean(),
        "run_ids": list(group["run_id"]),
        "warnings": list(dict.fromkeys(itertools.chain(*group["warnings"]))),
        **means[metrics].mean().dropna().to_dict(),
    }


def format_score(row: Row) -> str:
    """Formats mean ± std of a row of `summarize_runs`; the mean only if there is one seed."""
    spread = f" ± {format_number(row['std'])}" if math.isfinite(row["std"]) else ""
    return format_number(row["mean"]) + spread


def format_seeds(row: Row) -> str:
    """Formats the number of seeds or folds of a row, and of runs that did not complete."""
    text = f"{row['seeds']}"
    if row["all_folds"]:
        count = f"{row['folds']} of " if row["folds"] < row["all_folds"] else ""
        text = f"{count}{row['all_folds']} folds"
        text += f" x {row['seeds']} seeds" if row["seeds"] > 1 else ""
    return text + (f" (+{row['not_ok']} not ok)" if row["not_ok"] else "")


def format_baselines(row: Row) -> str:
    """Formats the baselines on the data set of a row, best first."""
    return ", ".join(map(format_baseline, row["group_baselines"]))


def data_warnings(rows: Sequence[Row]) -> list[str]:
    """Returns the warnings about the data of some rows, without duplicates."""
    return list(dict.fromkeys(itertools.chain(*(row["warnings"] for row in rows))))


def wins(row: Row) -> bool:
    """Whether a row is the best of its data set, and no baseline is better."""
    return bool(row["best"] and not row["baseline_wins"])


def _metric_columns(group: Frame) -> list[str]:
    return [c for c in group if c.startswith("test/") and group[c].notna().any()]


def print_tables(table: pd.DataFrame, console: Console, *, all_metrics: bool = False) -> None:
    """Prints one table per task and data set."""
    for (task, dataset, headline), group in _groups(table, GROUP):
        direction = "lower" if group["higher_is_better"].eq(False).any() else "higher"
        title = Text.assemble(
            (task, "bold"), f" · {dataset} · {headline or 'no score'}, {direction} is better"
        )
        rows = table_rows(group)
        metrics = [_metrics_table(group)] if all_metrics else []
        console.print(Group(title, _score_table(group), _notes(rows), *metrics, ""))


def _notes(rows: Sequence[Row]) -> Table:
    """Returns the baselines, marked if one of them beats all runs, and warnings about the data."""
    mark, style = ("*", "bold") if rows[0]["baseline_wins"] else (" ", "dim")
    notes = Table.grid(padding=(0, 2))
    notes.add_row(mark, Text(f"baselines: {format_baselines(rows[0]) or 'none'}", style=style))
    for warning in data_warnings(rows):
        notes.add_row("", Text(f"warning: {warning}"))
    return notes


def _score_table(group: pd.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False, expand=False)
    for name in ("", "cell"):
        table.add_column(name, no_wrap=True)
    for name in ("score", "seeds", "parameters", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("setting", overflow="fold")
    for row in table_rows(group):
        mark, style = ("*", "bold") if wins(row) else ("", None)
        counts = (format_count(row["parameters"]), format_count(row["seconds"]))
        cells = (row["cell"], format_score(row), format_seeds(row), *counts, row["setting"])
        table.add_row(mark, *map(escape, cells), style=style)
    return table


def _metrics_table(group: pd.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("all metrics, means", no_wrap=True)
    for row in table_rows(group):
        table.add_column(escape(f"{row['cell']} {row['setting']}".strip()), justify="right")
    for name in _metric_columns(group):
        values = (format_number(row[name]) for row in table_rows(group))
        table.add_row(name.removeprefix("test/"), *values)
    return table


def format_count(value: float) -> str:
    """Formats a number without decimals, with thousands separators; `-` if it is missing."""
    return f"{value:,.0f}" if math.isfinite(value) else "-"


def to_markdown(table: pd.DataFrame, *, all_metrics: bool = False) -> str:
    """Returns the table as Markdown, with the best row or baseline of each data set in bold."""
    lines = [f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
    for row in table_rows(table):
        mark = "**" if wins(row) else ""
        baselines = [format_baseline(baseline) for baseline in row["group_baselines"]]
        if row["baseline_wins"]:
            baselines[0] = f"**{baselines[0]}**"
        cells = (
            row["task"],
            f"`{row['dataset']}`",
            row["headline"],
            f"{mark}{row['cell']}{mark}",
            f"{mark}{format_score(row)}{mark}",
            format_seeds(row),
            ", ".join(baselines),
            format_count(row["parameters"]),
            format_count(row["seconds"]),
            row["setting"],
        )
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    if all_metrics:
        lines += ["", *_markdown_metrics(table)]
    return "\n".join(lines) + "\n"


def _markdown_metrics(table: pd.DataFrame) -> Iterator[str]:
    yield "| task | data set | cell | setting | metric | mean |"
    yield "|---|---|---|---|---|---|"
    for row in table_rows(table):
        keys = (row["task"], f"`{row['dataset']}`", row["cell"], row["setting"])
        for name in _metric_columns(table):
            if math.isfinite(row[name]):
                cells = (*keys, name.removeprefix("test/"), format_number(row[name]))
                yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def to_csv(table: pd.DataFrame, *, all_metrics: bool = False) -> str:
    """Returns the table as comma-separated values, with unrounded numbers."""
    scored = [[b for b in row if math.isfinite(b.score)] for row in table["group_baselines"]]
    best = [baselines[0] if baselines else None for baselines in scored]
    hidden = ["run_ids", "baselines", "group_baselines", "warnings"]
    columns = table.drop(columns=hidden + ([] if all_metrics else _metric_columns(table)))
    columns["best_baseline"] = [baseline and baseline.name for baseline in best]
    columns["best_baseline_score"] = [baseline and baseline.score for baseline in best]
    baselines = pd.DataFrame(list(table["baselines"]), index=table.index).add_prefix(SCORES)
    failed = [{b.name: b.error for b in row if b.error} for row in table["group_baselines"]]
    errors = pd.DataFrame(failed, index=table.index).add_prefix(ERRORS)
    return columns.join(baselines).join(errors).to_csv(index=False)
