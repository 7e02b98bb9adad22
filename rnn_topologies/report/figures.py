"""Pictures of what models do, as matplotlib figures."""

import base64
import io
import pathlib
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rnn_topologies.tasks.errors import UserError

HEAT = "YlGnBu"
LEAST = 0.1  # a class that is never more probable is not drawn
LONG = 7  # letters of a tick's label, from which on it is turned


def colours(count: int) -> list:
    """Returns colours that can be told apart, also by those who see red and green alike."""
    names = ("tab10", 10) if count <= 10 else ("tab20", 20)
    return [matplotlib.colormaps[names[0]](index % names[1]) for index in range(count)]


def save_figure(figure: Figure, path: str | pathlib.Path) -> None:
    """Writes a figure into a file.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=144, bbox_inches="tight", facecolor="white")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from error


def draw_explanations(inputs: Sequence[str], explanations: Sequence[Mapping]) -> Figure:
    """Draws what a model did with each input, one under the other, see `Task.explain`."""
    heights = [_height(one) for one in explanations]
    figure = Figure(figsize=(10, sum(heights)), layout="constrained")
    rows = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for row, given, one in zip(rows, inputs, explanations, strict=True):
        output = one["output"]
        said = _runs(output) if isinstance(output, list) else output
        row.suptitle(f"{shortened(given, 100)}\n→ {shortened(said, 130)}", fontsize=10, wrap=True)
        if "grid" in one:
            _places(row, one)
        elif "attention" in one:
            attention_map(row.subplots(), one["steps"], one["written"], one["attention"])
        elif len(one.get("probabilities", ())) > 1:
            _steps(row, one)
        elif "classes" in one:
            _bars(row, one)
        elif "image" in one:
            _show(row.subplots(), decode_png(one["image"]))
        else:
            axes = row.subplots()
            axes.set_axis_off()
            axes.text(0.5, 0.5, "nothing to draw: the model has no attention", ha="center")
    return figure


def _height(one: Mapping) -> float:
    if "grid" in one:
        return 1.0 + 1.9 * -(-(len(one["written"]) + 1) // 7)
    if "attention" in one:
        return 1.6 + 0.22 * len(one["written"])
    return 4.0 if len(one.get("probabilities", ())) > 1 else 2.8


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _runs(labels: Sequence[str]) -> str:
    kept = [label for index, label in enumerate(labels) if not index or labels[index - 1] != label]
    return ", ".join(kept)


def decode_png(png: str) -> np.ndarray:
    """Returns the pixels of a PNG file in base64."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))


def _show(axes, pixels, title: str = "") -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def attention_map(axes, read: Sequence[str], written: Sequence[str], weights) -> None:
    """Draws where the model looked (columns) when it wrote each piece (rows)."""
    image = axes.imshow(np.asarray(weights), cmap=HEAT, vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(read)), [visible(piece) for piece in read], fontsize=8)
    if max(map(len, read), default=0) > LONG:
        axes.tick_params(axis="x", rotation=60)
    axes.set_yticks(range(len(written)), [visible(piece) for piece in written], fontsize=8)
    axes.set_xlabel("read")
    axes.set_ylabel("written")
    axes.figure.colorbar(image, ax=axes, label="attention", fraction=0.03, pad=0.01)


def visible(piece: str) -> str:
    """Returns a piece of text so that one sees it: a space is a mark of its own."""
    return piece.replace(" ", "␣").replace("\n", "⏎") or "∅"


def _places(figure, one: Mapping) -> None:
    """Draws the image, and over it where the model looked for each word."""
    pixels, (rows, columns) = decode_png(one["image"]), one["grid"]
    count = len(one["written"]) + 1
    width = min(7, count)
    axes = figure.subplots(-(-count // width), width, squeeze=False).ravel()
    _show(axes[0], pixels, "image")
    height, breadth = pixels.shape[:2]
    for place, word, weights in zip(axes[1:], one["written"], one["attention"], strict=False):
        _show(place, pixels, word)
        grid = np.reshape(weights, (rows, columns))
        place.imshow(
            grid,
            cmap="inferno",
            alpha=0.6,
            extent=(-0.5, breadth - 0.5, height - 0.5, -0.5),
            interpolation="bilinear",
        )
    for place in axes[count:]:
        place.set_axis_off()


def _steps(figure, one: Mapping) -> None:
    """Draws the probability of each class after every step, and frames above them."""
    probabilities, steps = np.asarray(one["probabilities"]), one["steps"]
    has_frames = "image" in one
    axes = figure.subplots(1 + has_frames, 1, height_ratios=[1, 3] if has_frames else None)
    lines = axes[1] if has_frames else axes
    if has_frames:
        _show(axes[0], decode_png(one["image"]))
    for index, colour in enumerate(colours(len(one["classes"]))):
        if probabilities[:, index].max() >= LEAST or index == probabilities[-1].argmax():
            label = one["classes"][index]
            lines.plot(probabilities[:, index], color=colour, label=label, marker=".")
    kept = range(0, len(steps), -(-len(steps) // 60))
    lines.set_xticks(kept, [visible(steps[index]) for index in kept], fontsize=8)
    if max(map(len, steps)) > LONG:
        lines.tick_params(axis="x", rotation=60)
    lines.set_xlim(-0.5, len(steps) - 0.5)  # each step under its frame
    lines.set_ylim(-0.02, 1.02)
    lines.set_ylabel("probability")
    lines.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)


def _bars(figure, one: Mapping) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1, 2])
    _show(left, decode_png(one["image"]))
    right.barh(one["classes"][::-1], one["probabilities"][-1][::-1], color="#2a7fb8")
    right.set_xlim(0, 1)
    right.set_xlabel("probability")
