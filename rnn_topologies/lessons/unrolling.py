"""What a recurrence is: one cell, the same weights at every step, and five ways to use it.

First a simple recurrent network is unrolled by hand, step by step in NumPy, and compared with the
layer. Then the lesson builds the models of the five tasks, changes one input step at a time, and
draws an arrow to every output that changes: the diagram of the topologies is measured, not drawn
by hand.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnn_topologies import layers
from rnn_topologies.tasks.models.encoder_decoder import EncoderDecoder
from rnn_topologies.tasks.models.frame_labeler import FrameLabeler
from rnn_topologies.tasks.models.image_captioner import ImageCaptioner
from rnn_topologies.tasks.models.image_classifier import ImageClassifier
from rnn_topologies.tasks.models.text_classifier import TextClassifier

from . import Sheet

STEPS = 5
UNITS = 3
IMAGE_SHAPE = (16, 16, 1)
INPUT_COLORS = ("#0072b2", "#d55e00")
MODEL_SIZES: dict[str, Any] = {"cell": "gru", "units": 8}


def run_lesson(sheet: Sheet) -> None:
    keras.utils.set_random_seed(sheet.seed)
    _unroll_by_hand(sheet)
    sheet.add_picture("topologies", _draw_topologies(np.random.default_rng(sheet.seed)))


def _unroll_by_hand(sheet: Sheet) -> None:
    layer = layers.SimpleRNN(UNITS, return_sequences=True)
    inputs = np.random.default_rng(sheet.seed).normal(size=(1, STEPS, 2)).astype("float32")
    outputs = np.asarray(layer(inputs))[0]
    W, U, b = layer.get_weights()  # noqa: N806 - as in the equation
    sheet.print(f"h_t = tanh(x_t W + h_(t-1) U + b), with W {W.shape}, U {U.shape}, b {b.shape}")
    h, rows = np.zeros(UNITS, "float32"), []
    for t, x in enumerate(inputs[0]):
        h = np.tanh(x @ W + h @ U + b)
        rows.append([t + 1, _formatted(x), _formatted(h), _formatted(outputs[t])])
        np.testing.assert_allclose(h, outputs[t], atol=1e-5)
    sheet.add_table("Unrolled by hand", ["step", "x", "h by hand", "h of the layer"], rows)
    counts = []
    for steps in (1, 5, 500):
        layer = layers.SimpleRNN(UNITS, return_sequences=True)
        shape = layer(np.zeros((1, steps, 2), "float32")).shape
        counts.append([steps, layer.count_params(), str(tuple(shape))])
    columns = ["steps", "parameters", "output shape"]
    sheet.add_table("The same weights at every step", columns, counts)
    sheet.add_picture("states", _draw_states(inputs[0], outputs))


def _formatted(values: np.ndarray) -> str:
    return "  ".join(f"{value:+.3f}" for value in values)


def _draw_states(inputs: np.ndarray, states: np.ndarray) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for axes, values, name in ((top, states, "state h"), (bottom, inputs, "input x")):
        image = axes.imshow(values.T, cmap="RdBu", vmin=-1.5, vmax=1.5, aspect="auto")
        axes.set_ylabel(name)
        axes.set_yticks(range(values.shape[1]))
    bottom.set_xticks(range(STEPS), [f"step {t + 1}" for t in range(STEPS)])
    figure.colorbar(image, ax=[top, bottom])
    figure.suptitle(
        "Each state is computed from the input at that step and the previous state", fontsize=11
    )
    return figure


def find_influence(
    model: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray, changed: np.ndarray
) -> np.ndarray:
    """Returns which outputs depend on which input steps, (outputs, inputs), as booleans.

    Args:
        model: `inputs -> (outputs, ...)`.
        inputs: (steps, ...).
        changed: the same shape, with another value at every step.
    """
    original = model(inputs)
    depends = []
    for step in range(len(inputs)):
        modified = inputs.copy()
        modified[step] = changed[step]
        difference = np.abs(model(modified) - original).reshape(len(original), -1).max(axis=1)
        depends.append(difference > 1e-6)
    return np.stack(depends, axis=1)


class InputRow(NamedTuple):
    """One kind of input of a model: its name, and (outputs, inputs) which output depends on it."""

    name: str
    influence: np.ndarray


class Topology(NamedTuple):
    """A panel of the figure."""

    title: str
    rows: list[InputRow]


def _topologies(random: np.random.Generator) -> Iterator[Topology]:
    """Yields the topology of the model of each task, as measured."""
    image = random.integers(0, 255, (1, *IMAGE_SHAPE)).astype("float32")
    tokens, other_tokens = np.arange(3, 8), np.arange(8, 13)
    yield _classification(image)
    yield _image_captioning(image, tokens, other_tokens)
    yield _text_classification(tokens, other_tokens)
    yield _translation(tokens, other_tokens)
    for bidirectional in (False, True):
        yield _video_labeling(random, bidirectional=bidirectional)


def _classification(image: np.ndarray) -> Topology:
    model = ImageClassifier(**MODEL_SIZES, image_shape=IMAGE_SHAPE, classes=4)
    influence = find_influence(lambda x: np.asarray(model(x)), image, 255 - image)
    return Topology("one-to-one\nclassification", [InputRow("image", influence)])


def _image_captioning(image: np.ndarray, tokens: np.ndarray, other_tokens: np.ndarray) -> Topology:
    model = ImageCaptioner(
        **MODEL_SIZES, image_shape=IMAGE_SHAPE, vocabulary_size=20, embedding_size=8
    )

    def caption(image: np.ndarray, previous: np.ndarray) -> np.ndarray:
        return np.asarray(model({"image": image, "previous": previous[None, None]}))[0, 0]

    of_image = find_influence(lambda x: caption(x, tokens), image, 255 - image)
    of_previous = find_influence(lambda x: caption(image, x), tokens, other_tokens)
    rows = [InputRow("image", of_image), InputRow("previous\nword", of_previous)]
    return Topology("one-to-many\nimage captioning", rows)


def _text_classification(tokens: np.ndarray, other_tokens: np.ndarray) -> Topology:
    model = TextClassifier(**MODEL_SIZES, vocabulary_size=20, classes=4, embedding_size=8)
    influence = find_influence(lambda x: np.asarray(model(x[None])), tokens, other_tokens)
    return Topology("many-to-one\ntext classification", [InputRow("token", influence)])


def _translation(tokens: np.ndarray, other_tokens: np.ndarray) -> Topology:
    model = EncoderDecoder(**MODEL_SIZES, source_size=20, target_size=20, embedding_size=8)

    def translate(source: np.ndarray, previous: np.ndarray) -> np.ndarray:
        return np.asarray(model({"source": source[None], "previous": previous[None]}))[0]

    of_source = find_influence(lambda x: translate(x, tokens[:4]), tokens, other_tokens)
    of_previous = find_influence(lambda x: translate(tokens, x), tokens[:4], other_tokens[:4])
    rows = [InputRow("source\ntoken", of_source), InputRow("previous\nword", of_previous)]
    return Topology("many-to-many, unaligned\ntranslation", rows)


def _video_labeling(random: np.random.Generator, *, bidirectional: bool) -> Topology:
    model = FrameLabeler(**MODEL_SIZES, frame_shape=(3,), classes=4, bidirectional=bidirectional)

    def label(frames: np.ndarray) -> np.ndarray:
        mask = np.ones((1, len(frames)), "float32")
        return np.asarray(model({"frames": frames[None], "mask": mask}))[0]

    frames, other_frames = random.normal(size=(2, 5, 3)).astype("float32")
    title = "many-to-many, aligned\nvideo labeling" + (", bidirectional" if bidirectional else "")
    return Topology(title, [InputRow("frame", find_influence(label, frames, other_frames))])


def _draw_topologies(random: np.random.Generator) -> Figure:
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    figure.suptitle(
        "Five topologies, measured on the models: an arrow from each input to each output that"
        " depends on it"
    )
    for axes, topology in zip(figure.subplots(2, 3).ravel(), _topologies(random), strict=True):
        _draw_topology(axes, topology)
    return figure


def _draw_topology(axes: Axes, topology: Topology) -> None:
    """Draws outputs at the top, inputs at the bottom, and previous words in between."""
    output_boxes = _box_positions(len(topology.rows[0].influence), 2)
    for (name, influence), color, height in zip(
        topology.rows, INPUT_COLORS, (0, 1.1), strict=False
    ):
        boxes = _box_positions(influence.shape[1], height)
        for output, step in zip(*np.nonzero(influence), strict=True):
            style = {"arrowstyle": "-|>", "color": color, "alpha": 0.6, "shrinkA": 9, "shrinkB": 9}
            axes.annotate("", output_boxes[output], boxes[step], arrowprops=style)
        _draw_boxes(axes, boxes, color, name)
    _draw_boxes(axes, output_boxes, "#009e73", "output")
    left, right = -3.6, 2.6  # names of rows are to the left of the boxes
    axes.set_title(topology.title, fontsize=11, x=-left / (right - left))
    axes.set_xlim(left, right)
    axes.set_ylim(-0.3, 2.3)
    axes.set_axis_off()


def _box_positions(count: int, height: float) -> list[tuple[float, float]]:
    """Returns the positions of `count` boxes in a row, centered on 0."""
    return [(number - (count - 1) / 2, height) for number in range(count)]


def _draw_boxes(
    axes: Axes, positions: Sequence[tuple[float, float]], color: str, name: str
) -> None:
    for number, (x, y) in enumerate(positions, 1):
        box = {"boxstyle": "round,pad=0.35", "facecolor": color, "edgecolor": "none"}
        axes.text(x, y, str(number), ha="center", va="center", color="white", bbox=box, fontsize=9)
    x, y = positions[0]
    axes.text(x - 0.5, y, name, ha="right", va="center", color=color, fontsize=9)
