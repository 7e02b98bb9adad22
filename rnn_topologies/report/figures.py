"""Plots of attention weights and class probabilities, as matplotlib figures."""

import base64
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rnn_topologies.tasks.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

COLORMAP = "YlGnBu"
MIN_PROBABILITY = 0.1  # classes that never reach it are not plotted
MAX_UPRIGHT_LABEL = 7  # longer tick labels are rotated
MAX_TICKS = 60
IMAGES_PER_ROW = 7
NO_EXPLANATION = "nothing to plot: the model has no attention"

Explanation = Mapping[str, Any]  # see `Task.explain`


def save_figure(figure: Figure, path: str | pathlib.Path) -> None:
    """Saves a figure to a file.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=144, bbox_inches="tight", facecolor="white")
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error}") from error


def draw_explanations(inputs: Sequence[str], explanations: Sequence[Explanation]) -> Figure:
    """Plots the explanations of several inputs in one figure, one below the other.

    Args:
        inputs: the inputs as text, for the titles.
        explanations: their explanations, see `Task.explain`.
    """
    heights = [_height(explanation) for explanation in explanations]
    figure = Figure(figsize=(10, sum(heights)), layout="constrained")
    rows = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for row, text, explanation in zip(rows, inputs, explanations, strict=True):
        output = explanation["output"]
        if isinstance(output, list):
            output = ", ".join(_without_repetitions(output))
        row.suptitle(f"{_truncate(text, 100)}\n→ {_truncate(output, 130)}", fontsize=10, wrap=True)
        _draw_explanation(row, explanation)
    return figure


def _draw_explanation(figure: "SubFigure", explanation: Explanation) -> None:
    if "grid" in explanation:
        _draw_attention_on_image(figure, explanation)
    elif "attention" in explanation:
        _draw_attention_map(figure.subplots(), explanation)
    elif len(explanation.get("probabilities", ())) > 1:
        _draw_probabilities_by_step(figure, explanation)
    elif "classes" in explanation:
        _draw_probability_bars(figure, explanation)
    elif "image" in explanation:
        _draw_image(figure.subplots(), decode_png(explanation["image"]))
    else:
        axes = figure.subplots()
        axes.set_axis_off()
        axes.text(0.5, 0.5, NO_EXPLANATION, ha="center")


def _height(explanation: Explanation) -> float:
    """Returns the height of a plot in inches."""
    if "grid" in explanation:
        return 1.0 + 1.9 * -(-(len(explanation["written"]) + 1) // IMAGES_PER_ROW)
    if "attention" in explanation:
        return 1.6 + 0.22 * len(explanation["written"])
    return 4.0 if len(explanation.get("probabilities", ())) > 1 else 2.8


def _truncate(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _without_repetitions(labels: Sequence[str]) -> list[str]:
    return [label for index, label in enumerate(labels) if not index or labels[index - 1] != label]


def decode_png(png: str) -> np.ndarray:
    """Decodes a base64 PNG image to uint8 pixels (height, width, 3)."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))


def _draw_image(axes: "Axes", pixels: np.ndarray, title: str = "") -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def _draw_attention_map(axes: "Axes", explanation: Explanation) -> None:
    """Draws the attention weight of each input token (column) for each output token (row)."""
    read, written = explanation["steps"], explanation["written"]
    image = axes.imshow(
        np.asarray(explanation["attention"]), cmap=COLORMAP, vmin=0, vmax=1, aspect="auto"
    )
    axes.set_xticks(range(len(read)), [_show_whitespace(token) for token in read], fontsize=8)
    if max(map(len, read), default=0) > MAX_UPRIGHT_LABEL:
        axes.tick_params(axis="x", rotation=60)
    axes.set_yticks(range(len(written)), [_show_whitespace(token) for token in written], fontsize=8)
    axes.set_xlabel("input")
    axes.set_ylabel("output")
    axes.figure.colorbar(image, ax=axes, label="attention", fraction=0.03, pad=0.01)


def _show_whitespace(token: str) -> str:
    """Replaces whitespace in a token by visible characters."""
    return token.replace(" ", "␣").replace("\n", "⏎") or "∅"


def _draw_attention_on_image(figure: "SubFigure", explanation: Explanation) -> None:
    """Draws the image, then for each word of the caption the image with its attention weights."""
    pixels, (rows, columns) = decode_png(explanation["image"]), explanation["grid"]
    words = explanation["written"]
    count = len(words) + 1
    images_per_row = min(IMAGES_PER_ROW, count)
    axes = figure.subplots(-(-count // images_per_row), images_per_row, squeeze=False).ravel()
    _draw_image(axes[0], pixels, "image")
    height, width = pixels.shape[:2]
    for word_axes, word, weights in zip(axes[1:], words, explanation["attention"], strict=False):
        _draw_image(word_axes, pixels, word)
        word_axes.imshow(
            np.reshape(weights, (rows, columns)),
            cmap="inferno",
            alpha=0.6,
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
            interpolation="bilinear",
        )
    for unused in axes[count:]:
        unused.set_axis_off()


def _draw_probabilities_by_step(figure: "SubFigure", explanation: Explanation) -> None:
    """Plots the class probabilities after each step; of a clip, below its frames."""
    probabilities, steps = np.asarray(explanation["probabilities"]), explanation["steps"]
    has_frames = "image" in explanation
    axes = figure.subplots(1 + has_frames, 1, height_ratios=[1, 3] if has_frames else None)
    lines = axes[1] if has_frames else axes
    if has_frames:
        _draw_image(axes[0], decode_png(explanation["image"]))
    classes = explanation["classes"]
    for index, (name, colour) in enumerate(zip(classes, _colours(len(classes)), strict=True)):
        is_predicted = index == probabilities[-1].argmax()
        if is_predicted or probabilities[:, index].max() >= MIN_PROBABILITY:
            lines.plot(probabilities[:, index], color=colour, label=name, marker=".")
    ticks = range(0, len(steps), -(-len(steps) // MAX_TICKS))
    lines.set_xticks(ticks, [_show_whitespace(steps[index]) for index in ticks], fontsize=8)
    if max(map(len, steps)) > MAX_UPRIGHT_LABEL:
        lines.tick_params(axis="x", rotation=60)
    lines.set_xlim(-0.5, len(steps) - 0.5)  # aligns each step with its frame
    lines.set_ylim(-0.02, 1.02)
    lines.set_ylabel("probability")
    lines.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)


def _colours(count: int) -> list[Any]:
    name, size = ("tab10", 10) if count <= 10 else ("tab20", 20)
    return [matplotlib.colormaps[name](index % size) for index in range(count)]


def _draw_probability_bars(figure: "SubFigure", explanation: Explanation) -> None:
    image_axes, bar_axes = figure.subplots(1, 2, width_ratios=[1, 2])
    _draw_image(image_axes, decode_png(explanation["image"]))
    bar_axes.barh(
        explanation["classes"][::-1], explanation["probabilities"][-1][::-1], color="#2a7fb8"
    )
    bar_axes.set_xlim(0, 1)
    bar_axes.set_xlabel("probability")
