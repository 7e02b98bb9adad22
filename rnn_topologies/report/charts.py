"""Charts of the report, as Vega-Lite specifications built with Altair."""

import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from rnn_topologies.tasks.errors import UserError

from ..runs import store

# The palette of Okabe and Ito (2008), safe for colour-blind readers, extended by further colours.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b4fa3")
PALETTE += ("#5f6b6d", "#b5cf6b", "#e7969c", "#3182bd", "#31a354", "#756bb1", "#636363", "#9e9ac8")
MIN_ATTENTION = 0.005  # smaller weights are omitted: most cells of a map, and invisible
START, END = (
    "\u25b6",
    "\u25a0",
)  # shown for the start and end tokens, which are too wide for an axis
MAX_POINTS = 2000  # of a learning curve
MAX_RUNS = 10  # learning curves per row of the table
NO_DATA = alt.Data(values=[])

Spec = dict[str, Any]  # a Vega-Lite specification
Explanation = Mapping[str, Any]  # see `Task.explain`
Runs = Sequence[Mapping[str, Any]]  # rows of `store.load_runs`


def class_colour(number: int) -> str:
    """Returns the colour of a class or line by its number."""
    return PALETTE[number % len(PALETTE)]


@functools.cache
def vega_bundle() -> str:
    """Returns Vega, Vega-Lite and vega-embed as one script."""
    import vl_convert

    # The type stub lacks the default of `snippet`.
    return vl_convert.javascript_bundle()  # pyright: ignore[reportCallIssue]


def _spec(chart: Any, description: str, values: list[dict[str, Any]]) -> Spec:
    """Returns the specification of a chart that was built with `NO_DATA`, with its data.

    The data are added last: Altair would validate every value against the schema of Vega-Lite,
    which takes minutes.
    """
    text_colour = "currentColor"  # follows the light or dark theme of the page
    labels = {"labelColor": text_colour, "titleColor": text_colour, "labelLimit": 220}
    lines = {"tickColor": text_colour, "domainColor": text_colour, "gridOpacity": 0.25}
    config = {
        "axis": labels | lines,
        "legend": labels,
        "view": {"stroke": None},
        "background": "transparent",
        "font": "system-ui, sans-serif",
    }
    spec = chart.properties(description=description).to_dict()
    return spec | {"config": config, "data": {"values": values}}


def _line_colours(names: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=list(names), range=[class_colour(n) for n in range(len(names))])


def learning_curves(rows: Iterable[tuple[str, str, Runs]]) -> Spec | None:
    """Returns a chart of training and validation loss by epoch; None if no run recorded epochs.

    Args:
        rows: key, name and runs of each row of the table.
    """
    points = _curve_points(rows)
    if not points:
        return None
    names = list(dict.fromkeys(point["row"] for point in points))
    selected = alt.param(name="selected", value="")
    chart = (
        alt.Chart(NO_DATA)
        .mark_line(point=alt.OverlayMarkDef(size=30), strokeWidth=1.5)
        .encode(
            x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y("loss:Q", scale=alt.Scale(zero=False)),
            color=alt.Color(
                "row:N",
                title=None,
                scale=_line_colours(names),
                legend=alt.Legend(orient="top", columns=2),
            ),
            strokeDash=alt.StrokeDash(
                "split:N",
                title=None,
                scale=alt.Scale(domain=["training", "validation"], range=[[4, 3], [1, 0]]),
                legend=None,
            ),
            detail="run:N",
            tooltip=["run:N", "split:N", "epoch:Q", alt.Tooltip("loss:Q", format=".4f")],
        )
        .transform_filter("selected === '' || datum.key === selected")
        .add_params(selected)
        .properties(width="container", height=240)
    )
    return _spec(chart, "Training and validation loss by epoch, one line per run.", points)


def _curve_points(rows: Iterable[tuple[str, str, Runs]]) -> list[dict[str, Any]]:
    points = []
    for key, name, runs in rows:
        for run in runs[:MAX_RUNS]:
            labels = {"key": key, "row": name, "run": run["run_id"], "seed": run["config/seed"]}
            try:
                epochs = store.read_epochs(run["folder"])
            except UserError as error:
                warnings.warn(f"skipping the epochs of {run['folder']}: {error}", stacklevel=2)
                continue
            for epoch in epochs[:: max(1, len(epochs) // MAX_POINTS)]:
                for split, column in (("training", "loss"), ("validation", "val_loss")):
                    if column in epoch:
                        values = {"epoch": epoch["epoch"], "split": split, "loss": epoch[column]}
                        points.append(labels | values)
    return points


def confusion_matrix(table: Mapping[str, Any]) -> Spec:
    """Returns a heat map of the predicted class (column) for each true class (row).

    Args:
        table: `classes` and `counts`, one row of counts per true class.
    """
    classes = table["classes"]
    cells = [
        {"true": true, "predicted": predicted, "count": count, "share": count / max(1, sum(row))}
        for true, row in zip(classes, table["counts"], strict=True)
        for predicted, count in zip(classes, row, strict=True)
        if count
    ]
    side = max(180, min(480, 32 * len(classes)))
    base = alt.Chart(NO_DATA).encode(
        x=alt.X("predicted:N", sort=classes, scale=alt.Scale(domain=classes), title="predicted"),
        y=alt.Y("true:N", sort=classes, scale=alt.Scale(domain=classes), title="true"),
        tooltip=["true:N", "predicted:N", "count:Q", alt.Tooltip("share:Q", format=".1%")],
    )
    heat_map = base.mark_rect().encode(
        color=alt.Color(
            "share:Q",
            title="share of the true class",
            scale=alt.Scale(scheme="yellowgreenblue", domain=[0, 1]),
            legend=alt.Legend(format="%", orient="top"),
        )
    )
    chart = heat_map
    if len(classes) <= 12:
        text_colour = alt.condition("datum.share > 0.5", alt.value("white"), alt.value("black"))
        counts = base.mark_text(fontSize=10).encode(text="count:Q", color=text_colour)
        chart = heat_map + counts
    chart = chart.properties(width=side, height=side)
    return _spec(chart, "Confusion matrix: predicted classes by true class.", cells)


def _unique_labels(tokens: Iterable[str]) -> list[str]:
    """Returns labels for tokens that may repeat: Vega merges axis positions of the same name."""
    return [f"{index}\t{token}" for index, token in enumerate(tokens)]


def _token_axis(*, slanted: bool = False) -> dict[str, Any]:
    """Returns an axis for `_unique_labels` that shows the tokens only."""
    token = "split(datum.label, '\\t')[1]"
    for text, symbol in ((" ", "\u2423"), ("<start>", START), ("<end>", END)):
        token = f"replace({token}, '{text}', '{symbol}')"
    axis: dict[str, Any] = {"labelExpr": token, "labelFontSize": 11, "ticks": False}
    return axis | ({"labelAngle": -45, "labelAlign": "right"} if slanted else {"labelAngle": 0})


def attention_map(explanation: Explanation) -> Spec:
    """Returns a heat map of the attention to each input token (column) per output token (row)."""
    read, written = explanation["steps"], explanation["written"]
    columns, rows = _unique_labels(read), _unique_labels(written)
    cells = [
        {"x": column, "y": row, "input": input_token, "output": output_token, "attention": weight}
        for row, output_token, weights in zip(rows, written, explanation["attention"], strict=True)
        for column, input_token, weight in zip(columns, read, weights, strict=True)
        if weight >= MIN_ATTENTION
    ]
    has_words = max(map(len, read), default=0) > 2
    chart = (
        alt.Chart(NO_DATA)
        .mark_rect()
        .encode(
            x=alt.X(
                "x:N",
                sort=columns,
                scale=alt.Scale(domain=columns),
                title="input",
                axis=_token_axis(slanted=has_words),
            ),
            y=alt.Y(
                "y:N",
                sort=rows,
                scale=alt.Scale(domain=rows),
                title=f"output ({END} end)",
                axis=_token_axis(),
            ),
            color=alt.Color(
                "attention:Q",
                scale=alt.Scale(scheme="yellowgreenblue", domain=[0, 1]),
                legend=alt.Legend(orient="top", gradientLength=100),
            ),
            tooltip=["output:N", "input:N", alt.Tooltip("attention:Q", format=".3f")],
        )
        .properties(width=(34 if has_words else 14) * len(columns), height=14 * len(rows))
    )
    return _spec(chart, "Attention weight of each input token for each output token.", cells)


def class_probabilities(explanation: Explanation) -> Spec:
    """Returns a chart of the probabilities of the most likely classes after each input token."""
    tokens, classes = explanation["steps"], explanation["classes"]
    steps = _unique_labels(tokens)
    points = [
        {"step": step, "after": token, "class": name, "probability": probability}
        for step, token, row in zip(steps, tokens, explanation["probabilities"], strict=True)
        for name, probability in zip(classes, row, strict=True)
    ]
    has_long_tokens = max(map(len, tokens), default=0) > 7
    chart = (
        alt.Chart(NO_DATA)
        .mark_line(point=alt.OverlayMarkDef(size=40))
        .encode(
            x=alt.X(
                "step:N",
                sort=steps,
                scale=alt.Scale(domain=steps),
                title=f"input so far ({START} start, {END} end)",
                axis=_token_axis(slanted=has_long_tokens),
            ),
            y=alt.Y("probability:Q", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color(
                "class:N",
                title=None,
                scale=_line_colours(classes),
                legend=alt.Legend(orient="right"),
            ),
            tooltip=["after:N", "class:N", alt.Tooltip("probability:Q", format=".3f")],
        )
        .properties(width=max(260, 20 * len(steps)), height=150)
    )
    return _spec(chart, "Probability of the most likely classes after each input token.", points)
