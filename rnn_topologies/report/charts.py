"""The charts of the report, as Vega-Lite specifications made with Altair."""

import functools
import warnings
from collections.abc import Iterable, Mapping

import altair as alt
import pandas as pd

from rnn_topologies.tasks.errors import UserError

from ..runs import store

# Okabe and Ito's colours, to be told apart by all eyes, and darker or lighter ones after them.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b4fa3")
PALETTE += ("#5f6b6d", "#b5cf6b", "#e7969c", "#3182bd", "#31a354", "#756bb1", "#636363", "#9e9ac8")
LEAST = 0.005  # attention below it is left blank: most of a map, and nothing to see
START, END = "\u25b6", "\u25a0"  # in place of the tokens, which are too wide for an axis
MOST_CURVES = 2000  # points of a curve
MOST_RUNS = 10  # curves of one row of the table
NO_DATA = alt.Data(values=[])


def class_colour(number: int) -> str:
    """Returns a colour for the class or line of that number."""
    return PALETTE[number % len(PALETTE)]


@functools.cache
def vega_bundle() -> str:
    """Returns Vega, Vega-Lite and vega-embed as one script."""
    import vl_convert

    return vl_convert.javascript_bundle()


def _spec(chart, description: str, values: list[dict]) -> dict:
    """Returns the specification of a chart that was made without its data.

    Altair would check every value of them against the schema of Vega-Lite, for minutes.
    """
    ink = "currentColor"  # of the page: it is dark in the light and light in the dark
    axis = {"labelColor": ink, "titleColor": ink, "tickColor": ink, "domainColor": ink}
    axis |= {"gridOpacity": 0.25, "labelLimit": 220}
    config = {
        "axis": axis,
        "legend": {"labelColor": ink, "titleColor": ink, "labelLimit": 220},
        "view": {"stroke": None},
        "background": "transparent",
        "font": "system-ui, sans-serif",
    }
    spec = chart.properties(description=description).to_dict()
    spec |= {"config": config, "data": {"values": values}}
    return spec


def learning_curves(rows: Iterable[tuple[str, str, pd.DataFrame]]) -> dict | None:
    """Returns the loss of every epoch of runs, or None if they kept none.

    Args:
        rows: key, name and runs of each row of the table.
    """
    points = []
    for key, name, runs in rows:
        for _, run in runs.head(MOST_RUNS).iterrows():
            place = {"key": key, "row": name, "run": run["run_id"], "seed": run["config/seed"]}
            try:
                epochs = store.read_epochs(run["folder"])
            except UserError as error:
                warnings.warn(f"skipping the epochs of {run['folder']}: {error}", stacklevel=2)
                continue
            for epoch in epochs[:: max(1, len(epochs) // MOST_CURVES)]:
                for part, column in (("training", "loss"), ("validation", "val_loss")):
                    if column in epoch:
                        points.append(
                            {**place, "epoch": epoch["epoch"], "of": part, "loss": epoch[column]}
                        )
    if not points:
        return None
    names = list(dict.fromkeys(point["row"] for point in points))
    chosen = alt.param(name="chosen", value="")
    chart = (
        alt.Chart(NO_DATA)
        .mark_line(point=alt.OverlayMarkDef(size=30), strokeWidth=1.5)
        .encode(
            x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y("loss:Q", scale=alt.Scale(zero=False)),
            color=alt.Color(
                "row:N",
                title=None,
                scale=alt.Scale(domain=names, range=[class_colour(n) for n in range(len(names))]),
                legend=alt.Legend(orient="top", columns=2),
            ),
            strokeDash=alt.StrokeDash(
                "of:N",
                title=None,
                scale=alt.Scale(domain=["training", "validation"], range=[[4, 3], [1, 0]]),
                legend=None,
            ),
            detail="run:N",
            tooltip=["run:N", "of:N", "epoch:Q", alt.Tooltip("loss:Q", format=".4f")],
        )
        .transform_filter("chosen === '' || datum.key === chosen")
        .add_params(chosen)
        .properties(width="container", height=240)
    )
    return _spec(
        chart, "Loss of each epoch, in training and on validation, one line a run.", points
    )


def confusion_matrix(table: Mapping) -> dict:
    """Returns how often each class (row) was taken for each (column)."""
    classes = table["classes"]
    cells = [
        {"true": truth, "predicted": guess, "count": count, "share": count / max(1, sum(row))}
        for truth, row in zip(classes, table["counts"], strict=True)
        for guess, count in zip(classes, row, strict=True)
        if count
    ]
    side = max(180, min(480, 32 * len(classes)))
    base = alt.Chart(NO_DATA).encode(
        x=alt.X("predicted:N", sort=classes, scale=alt.Scale(domain=classes), title="predicted"),
        y=alt.Y("true:N", sort=classes, scale=alt.Scale(domain=classes), title="true"),
        tooltip=["true:N", "predicted:N", "count:Q", alt.Tooltip("share:Q", format=".1%")],
    )
    heat = base.mark_rect().encode(
        color=alt.Color(
            "share:Q",
            title="share of the true class",
            scale=alt.Scale(scheme="yellowgreenblue", domain=[0, 1]),
            legend=alt.Legend(format="%", orient="top"),
        )
    )
    chart = heat
    if len(classes) <= 12:
        ink = alt.condition("datum.share > 0.5", alt.value("white"), alt.value("black"))
        chart = heat + base.mark_text(fontSize=10).encode(text="count:Q", color=ink)
    chart = chart.properties(width=side, height=side)
    return _spec(
        chart, "Confusion matrix: how often each true class was predicted as each class.", cells
    )


def _pieces(texts: Iterable[str]) -> list[str]:
    """Returns labels that differ, in their order: a piece may come twice."""
    return [f"{number}\t{text}" for number, text in enumerate(texts)]


def _labels(size: int = 11) -> dict:
    shown = "split(datum.label, '\\t')[1]"
    for piece, mark in ((" ", "\u2423"), ("<start>", START), ("<end>", END)):
        shown = f"replace({shown}, '{piece}', '{mark}')"
    return {"labelExpr": shown, "labelFontSize": size, "labelAngle": 0, "ticks": False}


def attention_map(one: Mapping) -> dict:
    """Returns where the model looked in what it read (columns) when it wrote each piece (rows)."""
    read, written = _pieces(one["steps"]), _pieces(one["written"])
    cells = [
        {"x": column, "y": row, "read": said, "written": wrote, "attention": weight}
        for row, wrote, weights in zip(written, one["written"], one["attention"], strict=True)
        for column, said, weight in zip(read, one["steps"], weights, strict=True)
        if weight >= LEAST
    ]
    wide = max(map(len, one["steps"]), default=0) > 2
    below = _labels() | ({"labelAngle": -45, "labelAlign": "right"} if wide else {})
    chart = (
        alt.Chart(NO_DATA)
        .mark_rect()
        .encode(
            x=alt.X("x:N", sort=read, scale=alt.Scale(domain=read), title="read", axis=below),
            y=alt.Y(
                "y:N",
                sort=written,
                scale=alt.Scale(domain=written),
                title=f"written ({END} end)",
                axis=_labels(),
            ),
            color=alt.Color(
                "attention:Q",
                scale=alt.Scale(scheme="yellowgreenblue", domain=[0, 1]),
                legend=alt.Legend(orient="top", gradientLength=100),
            ),
            tooltip=["written:N", "read:N", alt.Tooltip("attention:Q", format=".3f")],
        )
        .properties(width=(34 if wide else 14) * len(read), height=14 * len(written))
    )
    return _spec(
        chart, "Attention: for each piece written, how much weight each piece read had.", cells
    )


def class_probabilities(one: Mapping) -> dict:
    """Returns the probability of the most probable classes after each piece that was read."""
    read = _pieces(one["steps"])
    points = [
        {"step": step, "after": piece, "class": name, "probability": probability}
        for step, piece, row in zip(read, one["steps"], one["probabilities"], strict=True)
        for name, probability in zip(one["classes"], row, strict=True)
    ]
    wide = max(map(len, one["steps"]), default=0) > 7
    axis = _labels() | ({"labelAngle": -45, "labelAlign": "right"} if wide else {})
    chart = (
        alt.Chart(NO_DATA)
        .mark_line(point=alt.OverlayMarkDef(size=40))
        .encode(
            x=alt.X(
                "step:N",
                sort=read,
                scale=alt.Scale(domain=read),
                title=f"read up to ({START} start, {END} end)",
                axis=axis,
            ),
            y=alt.Y("probability:Q", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color(
                "class:N",
                title=None,
                scale=alt.Scale(
                    domain=one["classes"],
                    range=[class_colour(n) for n in range(len(one["classes"]))],
                ),
                legend=alt.Legend(orient="right"),
            ),
            tooltip=["after:N", "class:N", alt.Tooltip("probability:Q", format=".3f")],
        )
        .properties(width=max(260, 20 * len(read)), height=150)
    )
    return _spec(
        chart, "Probability of the most probable classes after each piece that was read.", points
    )
