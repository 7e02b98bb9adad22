"""Tables of runs: one row for each task, data set, cell and setting, over seeds."""

import math

import pandas as pd
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

GROUP = ["task", "dataset", "headline"]  # within which figures can be compared
VARIANT = ["cell", "setting"]  # what is averaged over seeds
HEADER = ["task", "data set", "headline", "cell", "score", "seeds", "baselines", "parameters"]
HEADER += ["seconds", "setting"]
NOT_SETTINGS = ("config/dataset", "config/cell", "config/seed")


def summarize_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns one row for each task, data set, cell and setting, best first within a data set.

    Args:
        runs: as `results.load` returns them.

    Returns:
        Columns `task`, `topology`, `dataset`, `headline`, `higher_is_better`, `cell`, `setting`
        (in what it differs from other rows of the data set), `mean` and `std` of the headline over
        seeds (n - 1; NaN of one; runs of one seed are averaged first), `seeds` (their number),
        `not_ok` (runs that failed, diverged or were interrupted: counted and left out),
        `baselines` (a mapping, means), `parameters`, `seconds` (means), `best` (of its data set),
        `run_ids`, and the mean of every metric of the test split as `test/...`.
    """
    if runs.empty:
        return pd.DataFrame()
    runs = runs.assign(setting=_settings(runs), headline=_headlines(runs))
    groups = runs.groupby([*GROUP, *VARIANT], sort=False, dropna=False)
    table = pd.DataFrame([_row(key, group) for key, group in groups])
    worth = table["mean"].where(table["higher_is_better"].ne(False), -table["mean"])
    best = worth.groupby([table[name] for name in GROUP]).transform("max")
    table["best"] = worth.eq(best)
    table["worth"] = -worth
    table = table.sort_values([*GROUP, "worth", *VARIANT], na_position="last")
    return table.drop(columns="worth").reset_index(drop=True)


def _headlines(runs: pd.DataFrame) -> pd.Series:
    """A run without a figure belongs to those of its data set that have one."""
    known = runs.groupby(["task", "dataset"])["headline"].transform("first")
    return runs["headline"].fillna(known).fillna("")


def _settings(runs: pd.DataFrame) -> pd.Series:
    """Returns in what each run differs from the others of its task and data set."""
    said = pd.Series("", index=runs.index)
    columns = [c for c in runs if c.startswith("config/") and c not in NOT_SETTINGS]
    for _, group in runs.groupby(["task", "dataset"]):
        different = [c for c in columns if group[c].map(repr).nunique() > 1]
        for index, run in group[different].iterrows():
            pairs = (f"{c.removeprefix('config/')}={_plain(run[c])}" for c in different)
            said[index] = ", ".join(pairs)
    return said


def _plain(value):
    """Returns a setting as it was given: pandas makes floats of whole numbers beside gaps."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _row(key: tuple, group: pd.DataFrame) -> dict:
    good = group[group["status"] == "ok"]
    metrics = [c for c in group if c.startswith("test/")]
    by_seed = good.groupby("config/seed")[["value", "parameters", "seconds", *metrics]].mean()
    baselines = [c for c in group if c.startswith("baseline/")]
    first = group.iloc[0] if good.empty else good.iloc[0]
    return {
        **dict(zip([*GROUP, *VARIANT], key, strict=True)),
        "topology": first["topology"],
        "higher_is_better": first["higher_is_better"],
        "mean": by_seed["value"].mean(),
        "std": by_seed["value"].std(),
        "seeds": len(by_seed),
        "not_ok": len(group) - len(good),
        "baselines": {
            c.removeprefix("baseline/"): value
            for c, value in good[baselines].mean().dropna().items()
        },
        "parameters": by_seed["parameters"].mean(),
        "seconds": by_seed["seconds"].mean(),
        "run_ids": list(group["run_id"]),
        **by_seed[metrics].mean().dropna().to_dict(),
    }


def format_number(value: float) -> str:
    """Returns a figure as it is shown: fractions with three places, larger ones with one."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def format_score(row) -> str:
    """Returns mean ± std of a row, without a std where there is one seed."""
    spread = f" ± {format_number(row['std'])}" if math.isfinite(row["std"]) else ""
    return format_number(row["mean"]) + spread


def format_seeds(row) -> str:
    """Returns how many seeds there are, and how many runs came to nothing."""
    return f"{row['seeds']}" + (f" (+{row['not_ok']} not ok)" if row["not_ok"] else "")


def format_baselines(row) -> str:
    """Returns the opponents and what they score."""
    return ", ".join(f"{name} {format_number(value)}" for name, value in row["baselines"].items())


def _metrics_of(group: pd.DataFrame) -> list[str]:
    return [c for c in group if c.startswith("test/") and group[c].notna().any()]


def print_tables(table: pd.DataFrame, console: Console, *, all_metrics: bool = False) -> None:
    """Prints one small table for each task and data set."""
    for (task, dataset, headline), group in table.groupby(GROUP, sort=False):
        direction = "lower" if group["higher_is_better"].eq(False).any() else "higher"
        title = Text.assemble(
            (task, "bold"), f" · {dataset} · {headline or 'no figure'}, {direction} is better"
        )
        shown = Table(box=None, pad_edge=False, expand=False)
        for name in ("", "cell"):
            shown.add_column(name, no_wrap=True)
        for name in ("score", "seeds", "parameters", "seconds"):
            shown.add_column(name, justify="right", no_wrap=True)
        shown.add_column("setting", overflow="fold")
        for _, row in group.iterrows():
            mark, style = ("*", "bold") if row["best"] else ("", None)
            cells = (
                row["cell"],
                format_score(row),
                format_seeds(row),
                format_count(row["parameters"]),
            )
            cells += (format_count(row["seconds"]), row["setting"])
            shown.add_row(mark, *map(escape, cells), style=style)
        opponents = Text(f"   baselines: {format_baselines(group.iloc[0])}", style="dim")
        console.print(
            Group(title, shown, opponents, *([_metrics(group)] if all_metrics else []), "")
        )


def _metrics(group: pd.DataFrame) -> Table:
    shown = Table(box=None, pad_edge=False)
    shown.add_column("all metrics, means", no_wrap=True)
    for _, row in group.iterrows():
        shown.add_column(escape(f"{row['cell']} {row['setting']}".strip()), justify="right")
    for name in _metrics_of(group):
        values = (format_number(row[name]) for _, row in group.iterrows())
        shown.add_row(name.removeprefix("test/"), *values)
    return shown


def format_count(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "-"


def to_markdown(table: pd.DataFrame, *, all_metrics: bool = False) -> str:
    """Returns the table as Markdown, the best row of each data set in bold."""
    lines = [f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
    for _, row in table.iterrows():
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


def _markdown_metrics(table: pd.DataFrame):
    yield "| task | data set | cell | setting | metric | mean |"
    yield "|---|---|---|---|---|---|"
    for _, row in table.iterrows():
        place = (row["task"], f"`{row['dataset']}`", row["cell"], row["setting"])
        for name in _metrics_of(table):
            if math.isfinite(row[name]):
                cells = (*place, name.removeprefix("test/"), format_number(row[name]))
                yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def to_csv(table: pd.DataFrame, *, all_metrics: bool = False) -> str:
    """Returns the table as comma separated values, numbers unrounded."""
    hidden = ["run_ids", "baselines"] + ([] if all_metrics else _metrics_of(table))
    columns = table.drop(columns=hidden)
    named = pd.DataFrame(list(table["baselines"]), index=table.index).add_prefix("baseline/")
    return columns.join(named).to_csv(index=False)
