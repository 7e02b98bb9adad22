"""Draws the picture of the README: the five topologies, unrolled over one example of each task.

    python docs/draw_topologies.py      writes docs/pictures/topologies.svg

The background is transparent, and what is not inside a box has a gray with the same contrast on
white and on GitHub's dark background.
"""

import pathlib
from typing import NamedTuple

PICTURE = pathlib.Path(__file__).parent / "pictures" / "topologies.svg"
INPUT, STATE, OUTPUT, GRAY = "#0072b2", "#7d5bbe", "#00805d", "#727a84"
FONT = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
HEIGHT = 236
OUTPUT_Y, STATE_Y, INPUT_Y = 76, 138, 200
BOX_HEIGHT = 30
MARGIN, GAP, LABELS = 4, 28, 48  # pixels: at the sides, between topologies, for the row labels


class Step(NamedTuple):
    """One time step: what is read and what is predicted; "" if nothing is.

    Attributes:
        input: a text, or the name of a drawing.
        output: a text.
        reads_previous: whether the step reads the output of the previous one.
    """

    input: str = ""
    output: str = ""
    reads_previous: bool = False


class Topology(NamedTuple):
    """A panel: name, task, and one example, step by step."""

    name: str
    task: str
    steps: tuple[Step, ...]
    pitch: int = 54  # pixels from one step to the next


TOPOLOGIES = (
    Topology("one-to-one", "classification", (Step("digit", "7"),), pitch=84),
    Topology(
        "one-to-many",
        "image captioning",
        (Step("scene", "a"), Step("", "red", True), Step("", "cross", True)),
    ),
    Topology(
        "many-to-one",
        "text classification",
        (Step("S"), Step("u"), Step("i"), Step("z"), Step("a", "Spanish")),
        pitch=34,
    ),
    Topology(
        "many-to-many, unaligned",
        "translation",
        (Step("Sun"), Step("3:00"), Step("PM", ""), Step("", "So."), Step("", "15:00", True)),
    ),
    Topology(
        "many-to-many, aligned",
        "video labeling",
        (Step("disc 0", "still"), Step("disc 1", "right"), Step("disc 2", "right")),
        pitch=58,
    ),
)


def draw_svg() -> str:
    """Returns the picture as SVG."""
    left = MARGIN + LABELS
    panels = []
    for topology in TOPOLOGIES:
        panels.append(_panel(topology, left))
        left += topology.pitch * len(topology.steps) + GAP
    width = left - GAP + MARGIN
    labels = [
        _text(MARGIN, y + 4, name, anchor="start")
        for y, name in ((OUTPUT_Y, "output"), (STATE_Y, "state"), (INPUT_Y, "input"))
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}"'
        f' height="{HEIGHT}" font-family="{FONT}" font-size="13">\n'
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6"'
        f' markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="{GRAY}"/></marker></defs>'
    )
    return "\n".join([head, *labels, *panels, "</svg>\n"])


def _panel(topology: Topology, left: float) -> str:
    width = topology.pitch * len(topology.steps)
    center = left + width / 2
    parts = [
        _text(center, 18, topology.name, weight="bold", size=14),
        _text(center, 36, topology.task),
    ]
    for index, step in enumerate(topology.steps):
        x = left + topology.pitch * (index + 0.5)
        half = min(topology.pitch - 8, 46) / 2
        if index:
            parts.append(_arrow(x - topology.pitch + half, STATE_Y, x - half, STATE_Y))
        if step.reads_previous:
            parts.append(_feedback(x - topology.pitch, x))
        parts.append(_box(x, STATE_Y, 2 * half, STATE, "h"))
        if step.input:
            parts.append(_arrow(x, INPUT_Y - 15, x, STATE_Y + 15))
            parts.append(_input(x, 2 * half, step.input))
        if step.output:
            parts.append(_arrow(x, STATE_Y - 15, x, OUTPUT_Y + 15))
            parts.append(
                _box(x, OUTPUT_Y, max(2 * half, 9.4 * len(step.output)), OUTPUT, step.output)
            )
    return "\n".join(parts)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    fill: str = GRAY,
    weight: str = "normal",
    size: int = 13,
    anchor: str = "middle",
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{fill}" text-anchor="{anchor}" font-size="{size}"'
        f' font-weight="{weight}">{text}</text>'
    )


def _box(x: float, y: float, width: float, color: str, text: str) -> str:
    rectangle = (
        f'<rect x="{x - width / 2:g}" y="{y - BOX_HEIGHT / 2:g}" width="{width:g}"'
        f' height="{BOX_HEIGHT}" rx="7" fill="{color}"/>'
    )
    return rectangle + _text(x, y + 4.5, text, fill="white", weight="600")


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    return (
        f'<path d="M{x:g} {y:g}L{to_x:g} {to_y:g}" stroke="{GRAY}" stroke-width="1.6"'
        f' marker-end="url(#tip)"/>'
    )


def _feedback(x: float, to_x: float) -> str:
    """Draws a dashed line from the output at `x` to the state at `to_x`."""
    start, end = OUTPUT_Y + 15, STATE_Y - 15
    middle = (start + end) / 2
    return (
        f'<path d="M{x + 10:g} {start}C{x + 14:g} {middle + 8:g} {to_x - 16:g} {middle - 8:g}'
        f' {to_x - 12:g} {end}" stroke="{GRAY}" stroke-width="1.4" stroke-dasharray="3 2.5"'
        f' fill="none" marker-end="url(#tip)"/>'
    )


def _input(x: float, width: float, name: str) -> str:
    """Draws a text in a box, or a small image."""
    if name == "digit":
        return _image(x) + _text(x, INPUT_Y + 7, "7", fill="#24292f", weight="bold", size=20)
    if name == "scene":
        cross = f"M{x - 3:g} {INPUT_Y - 11}h6v8h8v6h-8v8h-6v-8h-8v-6h8z"
        return _image(x) + f'<path d="{cross}" fill="#d1242f"/>'
    if name.startswith("disc"):
        center = x - 7 + 6 * int(name[-1])
        return _image(x) + f'<circle cx="{center:g}" cy="{INPUT_Y}" r="5.5" fill="#24292f"/>'
    return _box(x, INPUT_Y, width, INPUT, name)


def _image(x: float) -> str:
    return (
        f'<rect x="{x - 16:g}" y="{INPUT_Y - 15}" width="32" height="30" rx="4" fill="white"'
        f' stroke="{INPUT}" stroke-width="2.5"/>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw_svg(), "utf-8")
