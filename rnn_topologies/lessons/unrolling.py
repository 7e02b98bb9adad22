"""What a recurrence is: one cell, the same weights at every step, and five ways to use it.

First a simple recurrent network is unrolled by hand, step by step in NumPy, beside the layer.
Then the models of the five tasks are built and asked what depends on what: each input step is
changed in turn, and an arrow is drawn to every output that changes with it. So the diagram of
the topologies is measured on the models themselves.
"""

import keras
import numpy as np
from matplotlib.figure import Figure

from rnn_topologies import layers
from rnn_topologies.tasks.models.encoder_decoder import EncoderDecoder
from rnn_topologies.tasks.models.frame_labeler import FrameLabeler
from rnn_topologies.tasks.models.image_captioner import ImageCaptioner
from rnn_topologies.tasks.models.image_classifier import ImageClassifier
from rnn_topologies.tasks.models.text_classifier import TextClassifier

STEPS = 5
UNITS = 3


def run(sheet):
    keras.utils.set_random_seed(sheet.seed)
    _by_hand(sheet)
    sheet.picture("topologies", _topologies(np.random.default_rng(sheet.seed)))


def _by_hand(sheet):
    layer = layers.SimpleRNN(UNITS, return_sequences=True)
    inputs = np.random.default_rng(sheet.seed).normal(size=(1, STEPS, 2)).astype("float32")
    outputs = keras.ops.convert_to_numpy(layer(inputs))[0]
    W, U, b = layer.get_weights()  # noqa: N806 - as in the equation
    sheet.say(f"h_t = tanh(x_t W + h_(t-1) U + b), with W {W.shape}, U {U.shape}, b {b.shape}")
    h, rows = np.zeros(UNITS, "float32"), []
    for t, x in enumerate(inputs[0]):
        h = np.tanh(x @ W + h @ U + b)
        rows.append([t + 1, _vector(x), _vector(h), _vector(outputs[t])])
        np.testing.assert_allclose(h, outputs[t], atol=1e-5)
    sheet.table("Unrolled by hand", ["step", "x", "h by hand", "h of the layer"], rows)
    counts = []
    for steps in (1, 5, 500):
        layer = layers.SimpleRNN(UNITS, return_sequences=True)
        shape = layer(np.zeros((1, steps, 2), "float32")).shape
        counts.append([steps, layer.count_params(), str(tuple(shape))])
    sheet.table("The same weights at every step", ["steps", "weights", "output"], counts)
    sheet.picture("states", _states(inputs[0], outputs))


def _vector(values) -> str:
    return "  ".join(f"{value:+.3f}" for value in values)


def _states(inputs, outputs) -> Figure:
    figure = Figure(figsize=(7, 3), layout="constrained")
    below, above = figure.subplots(2, 1, sharex=True)[::-1]
    for axes, values, name in ((below, inputs, "input x"), (above, outputs, "state h")):
        image = axes.imshow(values.T, cmap="RdBu", vmin=-1.5, vmax=1.5, aspect="auto")
        axes.set_ylabel(name)
        axes.set_yticks(range(values.shape[1]))
        figure.colorbar(image, ax=axes)
    below.set_xticks(range(STEPS), [f"step {t + 1}" for t in range(STEPS)])
    above.set_title(
        "A recurrence unrolled: the state at a step is made of the input and the state before"
    )
    return figure


def influence(answer, array: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Returns which outputs depend on which input steps, (outputs, inputs), true or false.

    Args:
        answer: `(array) -> (outputs, ...)`.
        array: (steps, ...), the input.
        changed: the same with every step another.
    """
    before = answer(array)
    depends = []
    for step in range(len(array)):
        other = array.copy()
        other[step] = changed[step]
        difference = np.abs(answer(other) - before).reshape(len(before), -1).max(axis=1)
        depends.append(difference > 1e-6)
    return np.stack(depends, axis=1)


def _models(random):
    """Yields the title of each topology, names of inputs, and what the outputs depend on."""
    sizes = {"cell": "gru", "units": 8}
    image = random.integers(0, 255, (1, 16, 16, 1)).astype("float32")
    tokens, others = np.arange(3, 8), np.arange(8, 13)
    numpy = keras.ops.convert_to_numpy

    model = ImageClassifier(**sizes, image_shape=(16, 16, 1), classes=4)
    yield (
        "one-to-one\nclassification",
        [("image", influence(lambda x: numpy(model(x)), image, 255 - image))],
    )
    captioner = ImageCaptioner(
        **sizes, image_shape=(16, 16, 1), vocabulary_size=20, embedding_size=8
    )

    def caption(picture, previous):
        return numpy(captioner({"image": picture, "previous": previous[None, None]}))[0, 0]

    yield (
        "one-to-many\nimage captioning",
        [
            ("image", influence(lambda x: caption(x, tokens), image, 255 - image)),
            ("word before", influence(lambda x: caption(image, x), tokens, others)),
        ],
    )
    reader = TextClassifier(**sizes, vocabulary_size=20, classes=4, embedding_size=8)
    yield (
        "many-to-one\ntext classification",
        [("token", influence(lambda x: numpy(reader(x[None])), tokens, others))],
    )
    translator = EncoderDecoder(**sizes, source_size=20, target_size=20, embedding_size=8)

    def translate(source, previous):
        return numpy(translator({"source": source[None], "previous": previous[None]}))[0]

    yield (
        "many-to-many, unaligned\ntranslation",
        [
            ("source token", influence(lambda x: translate(x, tokens[:4]), tokens, others)),
            ("word before", influence(lambda x: translate(tokens, x), tokens[:4], others[:4])),
        ],
    )
    for both, title in ((False, "video labelling"), (True, "video labelling,\nboth ways")):
        labeler = FrameLabeler(**sizes, frame_shape=(3,), classes=4, bidirectional=both)

        def label(frames, labeler=labeler):
            inputs = {"frames": frames[None], "mask": np.ones((1, len(frames)), "float32")}
            return numpy(labeler(inputs))[0]

        frames = random.normal(size=(2, 5, 3)).astype("float32")
        yield f"many-to-many, aligned\n{title}", [("frame", influence(label, *frames))]


def _topologies(random) -> Figure:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    figure.suptitle(
        "Five topologies, as measured on the models: a line where an output changes with an input"
    )
    for axes, (title, kinds) in zip(figure.subplots(2, 3).ravel(), _models(random), strict=True):
        _diagram(axes, title, kinds)
    return figure


def _diagram(axes, title: str, kinds) -> None:
    """Draws inputs below (what a decoder wrote before: in the middle), outputs above."""
    outputs = len(kinds[0][1])
    wide = max([outputs, *(depends.shape[1] for _, depends in kinds)])
    tops = _places(outputs, wide, 2)
    for number, (name, depends) in enumerate(kinds):
        colour = ("#0072b2", "#d55e00")[number]
        # What was written before stands beside the output that it follows.
        places = _places(depends.shape[1], wide, number * 0.95)
        for output, input_ in zip(*np.nonzero(depends), strict=True):
            (x, y), (to_x, to_y) = places[input_], tops[output]
            style = {"arrowstyle": "-|>", "color": colour, "alpha": 0.6, "shrinkA": 9, "shrinkB": 9}
            axes.annotate("", (to_x, to_y), (x, y), arrowprops=style)
        _boxes(axes, places, colour, name)
    _boxes(axes, tops, "#009e73", "output")
    axes.set_title(title, fontsize=10)
    axes.set_xlim(-1.2, wide)
    axes.set_ylim(-0.4, 2.4)
    axes.set_axis_off()


def _places(count: int, wide: int, height: float) -> list[tuple[float, float]]:
    first = (wide - count) / 2
    return [(first + number, height) for number in range(count)]


def _boxes(axes, places, colour, name) -> None:
    for number, (x, y) in enumerate(places, 1):
        box = {"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "none"}
        axes.text(x, y, str(number), ha="center", va="center", color="white", bbox=box, fontsize=9)
    axes.text(-1.2, places[0][1] + 0.22, name, ha="left", color=colour, fontsize=8)
