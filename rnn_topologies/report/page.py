"""The report page: one HTML file that shows what all runs did, without a network."""

import datetime
import itertools
import pathlib
import secrets
import warnings
from collections.abc import Sequence

import jinja2
import markupsafe
import pandas as pd

from rnn_topologies.tasks.data.filesystem import check_writable
from rnn_topologies.tasks.errors import UserError

from ..runs import store, tables
from . import charts

HERE = pathlib.Path(__file__).parent
NAME = "report.html"
# What tables that somebody has changed lead to, when one does not fit the other.
CLOSELY = 12  # rows of a data set, the best ones, of which more is shown than the table
MISMATCHES = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def write_report(
    results_dir: str | pathlib.Path, path: str | pathlib.Path | None = None
) -> pathlib.Path:
    """Writes the report of all runs in a folder and returns its path.

    Args:
        results_dir: a results folder, or a folder of run folders.
        path: of the file; `report.html` in the results folder by default.

    Raises:
        UserError: there are no runs, or the file cannot be written.
    """
    runs = store.load_runs(results_dir)
    if runs.empty:
        raise UserError(f"There are no runs in {results_dir}. Train one: runner.py --task NAME.")
    path = pathlib.Path(path) if path else pathlib.Path(results_dir) / NAME
    check_writable(path.parent, str(path.parent))
    path.write_text(render_report(runs), "utf-8")
    return path


def render_report(runs: pd.DataFrame) -> str:
    """Returns the report of runs as `results.load` returns them, as one HTML page."""
    summary = tables.summarize_runs(runs)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "score": tables.format_score,
        "number": tables.format_number,
        "whole": tables.format_count,
    }
    rank = summary.groupby(tables.GROUP).cumcount()
    by_id = runs.set_index("run_id", drop=False)
    rows = [_Row(index, row, by_id, rank[index] < CLOSELY) for index, row in summary.iterrows()]
    return environment.get_template("page.html").render(
        groups=_groups(rows),
        runs=len(runs),
        not_ok=int((runs["status"] != "ok").sum()),
        when=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        vega=_script(charts.vega_bundle()),
        own=_script((HERE / "page.js").read_text("utf-8")),
        nonce=secrets.token_urlsafe(),
        style=markupsafe.Markup((HERE / "page.css").read_text("utf-8")),
    )


def _script(code: str) -> markupsafe.Markup:
    """Code of ours and of Vega; an end tag in one of its strings must not end the element."""
    return markupsafe.Markup(code.replace("</script", "<\\/script"))


class _Row:
    """A row of the table and what there is to show of it."""

    def __init__(self, index: int, row: pd.Series, runs: pd.DataFrame, is_shown: bool):
        self.key = f"row{index}"
        self.row = row
        self.is_shown = is_shown
        self.runs = runs.loc[row["run_ids"]]
        self.name = " · ".join(filter(None, (row["cell"], row["setting"])))
        self.runs_of = tables.format_seeds(row)
        self.baselines = tables.format_baselines(row)
        good = self.runs[self.runs["status"] == "ok"].sort_values("config/seed", kind="stable")
        self.shown = Shown(good.iloc[0]) if is_shown and len(good) else None


class Shown:
    """One run of a row, looked at closely: its confusion matrix, and examples right and wrong."""

    def __init__(self, run: pd.Series):
        self.run_id, self.seed = run["run_id"], int(run["config/seed"])
        self.confusion, self.examples = None, []
        folder = pathlib.Path(run["folder"])
        try:
            self._look_at(folder)
        except (UserError, *MISMATCHES) as error:
            warnings.warn(f"skipping the details of {folder}: {error!r}", stacklevel=2)

    def _look_at(self, folder: pathlib.Path) -> None:
        confusion = store.read_record(folder).tables.get("confusion")
        if confusion:
            self.confusion = charts.confusion_matrix(confusion)
        samples = store.read_json_lines(folder, store.SAMPLES)
        self.examples = [
            _example(samples[one["index"]], one)
            for one in store.read_json_lines(folder, store.EXPLANATIONS)
        ]


def _example(sample: dict, one: dict) -> dict:
    """Returns what the page shows of a test example."""
    kind = _kind(one)
    shown = {
        "kind": kind,
        "right": sample["right"],
        "source": sample["source"],
        "output": sample["output"],
        "target": sample["target"],
        "image": one.get("image"),
    }
    if kind == "attention":
        shown["chart"] = charts.attention_map(one)
    elif kind == "steps":
        shown["chart"] = charts.class_probabilities(one)
    elif kind == "clip":
        names = one["classes"]
        sure = [max(row) for row in one["probabilities"]]
        shown["bars"] = {
            "true": _segments([names[label] for label in sample["labels"]], names),
            "predicted": _segments(one["output"], names, sure),
        }
    elif kind == "image" and "classes" in one:
        shown["probabilities"] = list(zip(one["classes"], one["probabilities"][-1], strict=True))
    return shown


def _kind(one: dict) -> str:
    if isinstance(one["output"], list):
        return "clip"
    if "image" in one:
        return "image"
    if "attention" in one:
        return "attention"
    return "steps" if len(one.get("probabilities", ())) > 1 else "plain"


def _segments(labels: Sequence[str], names: Sequence[str], sure: Sequence[float] = ()) -> list:
    """Returns runs of one label: its name and colour, first and last frame, and how sure."""
    found, start = [], 0
    for label, run in itertools.groupby(labels):
        end = start + len(list(run))
        probability = sum(sure[start:end]) / (end - start) if sure else None
        found.append(
            {
                "label": label,
                "colour": charts.class_colour(names.index(label)),
                "first": start + 1,
                "last": end,
                "probability": probability,
            }
        )
        start = end
    return found


def _groups(rows: Sequence[_Row]) -> list[dict]:
    """Returns the rows by task and data set, with their learning curves."""
    found = []
    for _, group in itertools.groupby(rows, key=lambda one: tuple(one.row[tables.GROUP])):
        group = list(group)
        first = group[0].row
        found.append(
            {
                "task": first["task"],
                "topology": first["topology"],
                "dataset": first["dataset"],
                "headline": first["headline"],
                "direction": "lower" if first["higher_is_better"] is False else "higher",
                "rows": group,
                "hidden": sum(not one.is_shown for one in group),
                "curves": charts.learning_curves(
                    (one.key, one.name, one.runs) for one in group if one.is_shown
                ),
            }
        )
    return found
