"""The report: one HTML file about all runs that works offline."""

import datetime
import itertools
import pathlib
import secrets
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import markupsafe
import pandas as pd

from rnn_topologies.tasks.data.filesystem import check_writable
from rnn_topologies.tasks.errors import UserError

from ..runs import store, tables
from . import charts

TEMPLATES = pathlib.Path(__file__).parent
FILE_NAME = "report.html"
MAX_DETAILED_ROWS = 12  # per data set, the best ones; the others are in the table only
# Raised when the files of a run have been modified and contradict each other.
INCONSISTENT = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def write_report(
    results_dir: str | pathlib.Path, path: str | pathlib.Path | None = None
) -> pathlib.Path:
    """Writes the report of all runs in a folder and returns its path.

    Args:
        results_dir: a results folder, or a folder of run folders.
        path: the file to write; by default `report.html` in `results_dir`.

    Raises:
        UserError: there are no runs, or the file cannot be written.
    """
    runs = store.load_runs(results_dir)
    if runs.empty:
        raise UserError(f"There are no runs in {results_dir}. Train one: runner.py --task NAME.")
    path = pathlib.Path(path) if path else pathlib.Path(results_dir) / FILE_NAME
    check_writable(path.parent, str(path.parent))
    path.write_text(render_report(runs), "utf-8")
    return path


def render_report(runs: pd.DataFrame) -> str:
    """Returns the report as an HTML page.

    Args:
        runs: the result of `store.load_runs`.
    """
    summary = tables.summarize_runs(runs)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"score": tables.format_score, "count": tables.format_count}
    environment.tests["wins"] = tables.wins
    return environment.get_template("page.html").render(
        groups=_groups(runs, tables.table_rows(summary)),
        run_count=len(runs),
        not_ok=sum(status != "ok" for status in runs["status"]),
        generated=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        vega=_script(charts.vega_bundle()),
        page_script=_script((TEMPLATES / "page.js").read_text("utf-8")),
        nonce=secrets.token_urlsafe(),
        style=markupsafe.Markup((TEMPLATES / "page.css").read_text("utf-8")),
    )


def _script(code: str) -> markupsafe.Markup:
    """Marks trusted code as safe to embed; an end tag in a string must not end the element."""
    return markupsafe.Markup(code.replace("</script", "<\\/script"))


class _Row:
    """A row of the table and the details below it.

    Args:
        key: identifies the row in the page.
        row: a row of `tables.summarize_runs`.
        runs: the runs of the row, see `store.load_runs`.
        has_details: whether to show learning curves and examples.
    """

    def __init__(
        self, key: str, row: tables.Row, runs: Sequence[Mapping[str, Any]], *, has_details: bool
    ):
        self.key = key
        self.row = row
        self.has_details = has_details
        self.runs = runs
        self.name = " · ".join(filter(None, (row["cell"], row["setting"])))
        self.seeds = tables.format_seeds(row)
        ok = [run for run in runs if run["status"] == "ok"]
        ok.sort(key=lambda run: (run.get("config/fold", 0), run["config/seed"]))
        self.details = _RunDetails(ok[0]) if has_details and ok else None


class _RunDetails:
    """The confusion matrix of a run, and test examples that it got right and wrong."""

    def __init__(self, run: Mapping[str, Any]):
        self.run_id, self.seed = run["run_id"], int(run["config/seed"])
        self.confusion: charts.Spec | None = None
        self.examples: list[dict[str, Any]] = []
        folder = pathlib.Path(run["folder"])
        try:
            self._read(folder)
        except (UserError, *INCONSISTENT) as error:
            warnings.warn(f"skipping the details of {folder}: {error!r}", stacklevel=2)

    def _read(self, folder: pathlib.Path) -> None:
        confusion = store.read_record(folder).tables.get("confusion")
        if confusion:
            self.confusion = charts.confusion_matrix(confusion)
        samples = store.read_json_lines(folder, store.SAMPLES)
        self.examples = [
            _example(samples[explanation["index"]], explanation)
            for explanation in store.read_json_lines(folder, store.EXPLANATIONS)
        ]


def _example(sample: Mapping[str, Any], explanation: charts.Explanation) -> dict[str, Any]:
    """Returns what the page shows of a test example."""
    kind = _example_kind(explanation)
    example = {name: sample[name] for name in ("right", "source", "output", "target")}
    example |= {"kind": kind, "image": explanation.get("image")}
    if kind == "attention":
        example["chart"] = charts.attention_map(explanation)
    elif kind == "steps":
        example["chart"] = charts.class_probabilities(explanation)
    elif kind == "clip":
        names = explanation["classes"]
        confidences = [max(row) for row in explanation["probabilities"]]
        example["bars"] = {
            "true": _segments([names[label] for label in sample["labels"]], names),
            "predicted": _segments(explanation["output"], names, confidences),
        }
    elif kind == "image" and "classes" in explanation:
        example["probabilities"] = list(
            zip(explanation["classes"], explanation["probabilities"][-1], strict=True)
        )
    return example


def _example_kind(explanation: charts.Explanation) -> str:
    if isinstance(explanation["output"], list):
        return "clip"
    if "image" in explanation:
        return "image"
    if "attention" in explanation:
        return "attention"
    return "steps" if len(explanation.get("probabilities", ())) > 1 else "plain"


def _segments(
    labels: Sequence[str], names: Sequence[str], confidences: Sequence[float] = ()
) -> list[dict[str, Any]]:
    """Merges consecutive frames with the same label into segments.

    Args:
        labels: the label of each frame.
        names: all labels, in the order of their colours.
        confidences: the probability of each frame's label, or empty.

    Returns:
        For each segment its label, colour, first and last frame (counted from 1), and mean
        probability or None.
    """
    segments, start = [], 0
    for label, frames in itertools.groupby(labels):
        end = start + len(list(frames))
        probability = sum(confidences[start:end]) / (end - start) if confidences else None
        segments.append(
            {
                "label": label,
                "colour": charts.class_colour(names.index(label)),
                "first": start + 1,
                "last": end,
                "probability": probability,
            }
        )
        start = end
    return segments


def _groups(runs: pd.DataFrame, rows: Sequence[tables.Row]) -> list[dict[str, Any]]:
    """Returns the rows by task and data set, with their learning curves."""
    runs_by_id = {run["run_id"]: run for run in tables.table_rows(runs)}
    groups, keys = [], itertools.count()
    for _, group in itertools.groupby(rows, key=lambda row: [row[name] for name in tables.GROUP]):
        members = [
            _Row(
                f"row{next(keys)}",
                row,
                [runs_by_id[run_id] for run_id in row["run_ids"]],
                has_details=rank < MAX_DETAILED_ROWS,
            )
            for rank, row in enumerate(group)
        ]
        detailed = [member for member in members if member.has_details]
        first = members[0].row
        groups.append(
            {
                "task": first["task"],
                "topology": first["topology"],
                "dataset": first["dataset"],
                "headline": first["headline"],
                "direction": "lower" if first["higher_is_better"] is False else "higher",
                "baselines": tables.format_baselines(first),
                "baseline_wins": first["baseline_wins"],
                "warnings": tables.data_warnings([member.row for member in members]),
                "rows": members,
                "detailed": len(detailed),
                "curves": charts.learning_curves((m.key, m.name, m.runs) for m in detailed),
            }
        )
    return groups
