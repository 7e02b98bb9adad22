"""The long-term dependency problem: how far back simple, LSTM and GRU networks remember.

Three problems that ask for memory and for nothing else, each at several distances:

    recall   a symbol, then noise; at the end: which symbol was it?
    copy     five symbols, then blanks; then write all five in their order
    adding   numbers, two of them marked; at the end: their sum

and the reason: the gradient that the end of a sequence sends back to a step far before it.

All networks read the same batches, whose distance is drawn anew each time. The nine networks of
a problem, three cells with three first weights each, are trained side by side as one model.
"""

import keras
import numpy as np
from matplotlib.figure import Figure

from rnn_topologies import layers

DISTANCES = (5, 10, 20, 50, 100, 200)
SYMBOLS = 8
COPIED = 5
UNITS = 32
SEEDS = 3
BATCH = 32
TESTED = 256  # sequences at each distance
LEARNING_RATE = 3e-3
COLOURS = {"simple_rnn": "#d55e00", "lstm": "#0072b2", "gru": "#009e73"}


def recall(random, distance: int, count: int):
    """Returns (inputs, targets, weights): a symbol, `distance` steps of noise, the answer."""
    symbols = random.integers(0, SYMBOLS, count)
    noise = random.integers(SYMBOLS, 2 * SYMBOLS, (count, distance))
    inputs = np.eye(2 * SYMBOLS, dtype="float32")[np.column_stack([symbols, noise])]
    targets = np.zeros((count, distance + 1), "int32")
    targets[:, -1] = symbols
    return inputs, targets, _last(targets.shape)


def copy(random, distance: int, count: int):
    """Returns (inputs, targets, weights): symbols, blanks, and marks for what is to be written."""
    symbols = random.integers(0, SYMBOLS, (count, COPIED))
    blanks = np.full((count, distance - COPIED), SYMBOLS)
    marks = np.full((count, COPIED), SYMBOLS + 1)
    inputs = np.eye(SYMBOLS + 2, dtype="float32")[np.column_stack([symbols, blanks, marks])]
    targets = np.zeros(inputs.shape[:2], "int32")
    targets[:, -COPIED:] = symbols
    weights = np.zeros(targets.shape, "float32")
    weights[:, -COPIED:] = 1
    return inputs, targets, weights


def adding(random, distance: int, count: int):
    """Returns (inputs, targets, weights): numbers in 0 to 1, one marked in each half; their sum."""
    values = random.uniform(size=(count, distance)).astype("float32")
    marks = np.zeros_like(values)
    rows, half = np.arange(count), distance // 2
    marks[rows, random.integers(0, half, count)] = 1
    marks[rows, random.integers(half, distance, count)] = 1
    targets = np.zeros_like(values)
    targets[:, -1] = (values * marks).sum(axis=1)
    return np.stack([values, marks], axis=-1), targets, _last(targets.shape)


def _last(shape) -> np.ndarray:
    weights = np.zeros(shape, "float32")
    weights[:, -1] = 1
    return weights


class SideBySide(keras.Model):
    """Networks of each cell with several first weights, all on the same inputs.

    Call arguments:
        inputs: (batch, time, features).

    Returns:
        (batch, time, networks, outputs).
    """

    def __init__(self, features: int, outputs: int):
        super().__init__()
        self.recurrent, self.answers = {}, {}
        for cell in layers.CELLS:
            for number in range(SEEDS):
                name = f"{cell} {number}"
                self.recurrent[name] = layers.CELLS[cell].layer(UNITS, return_sequences=True)
                self.answers[name] = keras.layers.Dense(outputs)
        self(np.zeros((1, 2, features), "float32"))

    def call(self, inputs):
        found = [self.answers[name](layer(inputs)) for name, layer in self.recurrent.items()]
        return keras.ops.stack(found, axis=2)


PROBLEMS = {  # how to make it, features, outputs, steps of training, distances, chance
    "recall": (recall, 2 * SYMBOLS, SYMBOLS, 500, DISTANCES, 1 / SYMBOLS),
    "copy": (copy, SYMBOLS + 2, SYMBOLS, 500, (5, 10, 20, 50), 1 / SYMBOLS),
    "adding": (adding, 2, 1, 500, (10, 20, 50, 100), 1 / 6**0.5),
}


def run(sheet):
    keras.utils.set_random_seed(sheet.seed)
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, (name, problem) in zip(figure.subplots(1, 3), PROBLEMS.items(), strict=True):
        make, features, outputs, steps, distances, chance = problem
        random = np.random.default_rng(sheet.seed)
        model = SideBySide(features, outputs)
        if name == "recall":
            before = gradients(model, *recall(random, max(DISTANCES), TESTED))
        train(model, make, random, distances, steps)
        found = {distance: test(model, *make(random, distance, TESTED)) for distance in distances}
        _report(sheet, axes, name, found, chance)
        if name == "recall":
            after = gradients(model, *recall(random, max(DISTANCES), TESTED))
    sheet.picture("distances", figure)
    sheet.picture("gradients", _gradients(sheet, before, after))


def train(model, make, random, distances, steps: int) -> None:
    """Trains all networks of a model on batches of a distance drawn anew each time."""

    def loss(targets, outputs):
        targets = keras.ops.repeat(targets[..., None], outputs.shape[2], axis=2)
        if outputs.shape[-1] == 1:
            found = keras.ops.square(targets - outputs[..., 0])
        else:
            found = keras.ops.sparse_categorical_crossentropy(targets, outputs, from_logits=True)
        return keras.ops.sum(found, axis=-1)

    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps, alpha=0.05)
    # Clipped by weight: the networks side by side must not feel each other's gradients.
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), loss)
    for _ in range(steps):
        inputs, targets, weights = make(random, int(random.choice(distances)), BATCH)
        scale = weights.size / weights.sum()  # Keras divides by all steps, unweighted ones as well
        model.train_on_batch(inputs, targets, weights * scale)


def test(model, inputs, targets, weights) -> dict[str, float]:
    """Returns the accuracy of each network, or its root mean squared error of numbers."""
    chosen, found = weights > 0, {}
    answers = model.predict(inputs, batch_size=64, verbose=0)
    for name, outputs in zip(model.recurrent, np.moveaxis(answers, 2, 0), strict=True):
        if outputs.shape[-1] == 1:
            error = outputs[..., 0][chosen] - targets[chosen]
            found[name] = float(np.sqrt((error**2).mean()))
        else:
            found[name] = float((outputs.argmax(-1) == targets)[chosen].mean())
    return found


def gradients(model, inputs, targets, weights) -> dict[str, np.ndarray]:
    """Returns by step how long the gradient of the last step's loss is, of each network.

    It is that of one sequence's cross entropy by its input, and the mean of its length over
    sequences.
    """
    import tensorflow as tf

    sequences = tf.convert_to_tensor(inputs[:64])
    answers = tf.convert_to_tensor(targets[:64, -1])
    found = {}
    for name, layer in model.recurrent.items():
        with tf.GradientTape() as tape:
            tape.watch(sequences)
            logits = model.answers[name](layer(sequences)[:, -1])
            loss = tf.reduce_sum(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=answers, logits=logits)
            )
        found[name] = np.linalg.norm(tape.gradient(loss, sequences), axis=-1).mean(axis=0)
    return found


def _by_cell(values: dict) -> dict[str, np.ndarray]:
    """Returns `{cell: (seeds, ...)}` of `{"<cell> <number>": ...}`."""
    return {
        cell: np.stack([values[f"{cell} {number}"] for number in range(SEEDS)])
        for cell in layers.CELLS
    }


def _report(sheet, axes, name: str, found: dict, chance: float) -> None:
    distances = list(found)
    scores = _by_cell(
        {network: [found[d][network] for d in distances] for network in found[distances[0]]}
    )
    of = "error (RMSE)" if name == "adding" else "accuracy"
    rows = [
        [f"{cell}, {what}", *(float(v) for v in values)]
        for cell, runs in scores.items()
        for what, values in (("mean", runs.mean(axis=0)), ("std", runs.std(axis=0, ddof=1)))
    ]
    sheet.table(f"{name}: {of} by distance", ["cell", *map(str, distances)], rows)
    sheet.say(f"chance: {chance:.3f}")
    for cell, runs in scores.items():
        mean, std = runs.mean(axis=0), runs.std(axis=0, ddof=1)
        axes.plot(distances, mean, marker="o", color=COLOURS[cell], label=cell)
        axes.fill_between(distances, mean - std, mean + std, color=COLOURS[cell], alpha=0.2)
    axes.axhline(chance, color="gray", linestyle=":", label="chance")
    axes.set_xscale("log")
    axes.set_xticks(distances, map(str, distances))
    axes.minorticks_off()
    axes.set_xlabel("distance in steps")
    axes.set_ylabel(of)
    axes.set_title(name)
    axes.legend(frameon=False, fontsize=8)


def _gradients(sheet, before: dict, after: dict) -> Figure:
    figure = Figure(figsize=(9, 4), layout="constrained")
    rows = []
    for axes, (when, values) in zip(
        figure.subplots(1, 2, sharey=True), (("before", before), ("after", after)), strict=True
    ):
        for cell, runs in _by_cell(values).items():
            # Position 0 is the symbol, the last is where the answer is asked for.
            backwards = np.maximum(runs.mean(axis=0)[::-1], 1e-12)
            axes.semilogy(backwards, color=COLOURS[cell], label=cell)
            rows.append([f"{cell}, {when}", *(f"{backwards[d]:.1e}" for d in (1, *DISTANCES))])
        axes.set_xlabel("steps back from the answer")
        axes.set_title(f"{when} training")
        axes.set_ylim(1e-12, None)
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("length of the gradient by the input")
    sheet.table("Gradient by steps back", ["cell", *map(str, (1, *DISTANCES))], rows)
    return figure
