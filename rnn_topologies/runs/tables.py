"""Tables of runs: one row per task, data set, cell and setting, averaged over seeds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]  # of the table that `summarize_runs` returns
Frame = Any  # a `pandas.DataFrame`: its type hints do not know what the columns contain

GROUP = ["task", "dataset", "headline"]  # scores are comparable within a group
VARIANT = ["cell", "setting"]  # scores are averaged over the seeds of a variant
HEADER = ["task", "data set", "headline", "cell", "score", "seeds", "baselines", "parameters"]
HEADER += ["seconds", "setting"]
NOT_SETTINGS = ("config/dataset", "config/cell", "config/seed")


def select_runs(runs: Frame, values: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Returns the runs that have one of the given values in each of the given columns."""
    for column, allowed in values.items():
        if not runs.empty:
            runs = runs[runs[column].isin(allowed)]
    return runs


def summarize_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per task, data set, cell and setting, best first within a data set.

    Args:
        runs: the result of `store.load_runs`.

    Returns:
        Columns `task`, `topology`, `dataset`, `headline`, `higher_is_better`, `cell`, `setting`
        (the settings that differ from other rows of the data set), `mean` and `std` of the
        headline metric over seeds (sample standard deviation, NaN for one seed; runs with the same
        seed are averaged first), `seeds` (their number), `not_ok` (number of runs that failed,
        diverged or were interrupted, and are excluded), `baselines` (mean score by name),
        `parameters` and `seconds` (means), `best` (whether the row is the best of its data set),
        `run_ids`, and the mean of every test metric as `test/...`.
    """
    if runs.empty:
        return pd.DataFrame()
    runs = runs.assign(setting=_settings(runs), headline=_headlines(runs))
    groups = _groups(runs, [*GROUP, *VARIANT], dropna=False)
    table = pd.DataFrame([_row(key, group) for key, group in groups])
    utility = table["mean"].where(table["higher_is_better"].ne(False), -table["mean"])
    best = utility.groupby([table[name] for name in GROUP]).transform("max")
    table["best"] = utility.eq(best)
    table["sort_key"] = -utility
    table = table.sort_values([*GROUP, "sort_key", *VARIANT], na_position="last")
    return table.drop(columns="sort_key").reset_index(drop=True)


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
    by_seed = successful.groupby("config/seed")[["value", "parameters", "seconds", *metrics]].mean()
    baselines = [c for c in group if c.startswith("baseline/")]
    first = table_rows(group if successful.empty else successful)[0]
    return {
        **dict(zip([*GROUP, *VARIANT], key, strict=True)),
        "topology": first["topology"],
        "higher_is_better": first["higher_is_better"],
        "mean": by_seed["value"].mean(),
        "std": by_seed["value"].std(),
        "seeds": len(by_seed),
        "not_ok": len(group) - len(successful),
        "baselines": {
            c.removeprefix("baseline/"): value
            for c, value in successful[baselines].mean().dropna().items()
        },
        "parameters": by_seed["parameters"].mean(),
        "seconds": by_seed["seconds"].mean(),
        "run_ids": list(group["run_id"]),
        **by_seed[metrics].mean().dropna().to_dict(),
    }


def format_number(value: float) -> str:
    """Formats a score with three decimals below 10, with one from 10 on; `-` if it is missing."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def format_score(row: Row) -> str:
    """Formats mean ± std of a row of `summarize_runs`; the mean only if there is one seed."""
    spread = f" ± {format_number(row['std'])}" if math.isfinite(row["std"]) else ""
    return format_number(row["mean"]) + spread


def format_seeds(row: Row) -> str:
    """Formats the number of seeds of a row, and of runs that did not complete."""
    return f"{row['seeds']}" + (f" (+{row['not_ok']} not ok)" if row["not_ok"] else "")


def format_baselines(row: Row) -> str:
    """Formats the names and scores of the baselines of a row."""
    return ", ".join(f"{name} {format_number(value)}" for name, value in row["baselines"].items())


def _metric_columns(group: Frame) -> list[str]:
    return [c for c in group if c.startswith("test/") and group[c].notna().any()]


def print_tables(table: pd.DataFrame, console: Console, *, all_metrics: bool = False) -> None:
    """Prints one table per task and data set."""
    for (task, dataset, headline), group in _groups(table, GROUP):
        direction = "lower" if group["higher_is_better"].eq(False).any() else "higher"
        title = Text.assemble(
            (task, "bold"), f" · {dataset} · {headline or 'no score'}, {direction} is better"
        )
        text = Text(f"baselines: {format_baselines(table_rows(group)[0])}", style="dim")
        baselines = Padding(text, (0, 0, 0, 3))
        metrics = [_metrics_table(group)] if all_metrics else []
        console.print(Group(title, _score_table(group), baselines, *metrics, ""))


def _score_table(group: pd.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False, expand=False)
    for name in ("", "cell"):
        table.add_column(name, no_wrap=True)
    for name in ("score", "seeds", "parameters", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("setting", overflow="fold")
    for row in table_rows(group):
        mark, style = ("*", "bold") if row["best"] else ("", None)
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
    """Returns the table as Markdown, with the best row of each data set in bold."""
    lines = [f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
    for row in table_rows(table):
        mark = "**" if row["best"] else ""
        cells = (
            row["task"],
            f"`{row['dataset']}`",
            row["headline"],
            f"{mark}{row['cell']}{mark}",
            f"{mark}{format_score(row)}{mark}",
            format_seeds(row),
            format_baselines(row),
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
    hidden = ["run_ids", "baselines"] + ([] if all_metrics else _metric_columns(table))
    columns = table.drop(columns=hidden)
    baselines = pd.DataFrame(list(table["baselines"]), index=table.index).add_prefix("baseline/")
    return columns.join(baselines).to_csv(index=False)
