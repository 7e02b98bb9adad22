"""The long-term dependency problem: how far back simple, LSTM and GRU networks remember.

Three problems that ask for memory and for nothing else, each at several distances:

    recall   a symbol, then noise; at the end: which symbol was it? Learned at each distance anew.
    copy     three symbols, then blanks; then write all three in their order
    adding   numbers, two of them marked; at the end: their sum

and the reason: the gradient that the end of a sequence sends back to a step far before it.

`lstm_open` is an LSTM whose forget gates begin open and whose input gates begin shut, as if it
had to remember for 1 to 200 steps (Tallec and Ollivier, 2018, "Can recurrent neural networks warp
time?"). The other three begin as Keras's do.
"""

import keras
import numpy as np
from matplotlib.figure import Figure

from rnn_topologies import layers

DISTANCES = (5, 10, 20, 50, 100, 200)
SYMBOLS = 8
COPIED = 3
UNITS = 32
SEEDS = 3
BATCH = 32
TESTED = 256  # sequences at each distance
LEARNING_RATE = 1e-2
KINDS = {"simple_rnn": "simple_rnn", "lstm": "lstm", "gru": "gru", "lstm_open": "lstm"}
COLOURS = {"simple_rnn": "#d55e00", "lstm": "#0072b2", "gru": "#009e73", "lstm_open": "#56b4e9"}


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


class Apart(keras.constraints.Constraint):
    """Keeps several networks apart that are run as one layer: each sees its own states only."""

    def __init__(self, gates: int):
        blocks = np.kron(np.eye(SEEDS), np.ones((UNITS, UNITS)))
        self.mask = np.tile(blocks, (1, gates)).astype("float32")

    def __call__(self, weight):
        return weight * self.mask


def networks(kind: str, features: int):
    """Returns a layer that runs networks of one kind, each with first weights of its own."""
    make = layers.CELLS[KINDS[kind]]
    together = make.layer(
        SEEDS * UNITS,
        return_sequences=True,
        recurrent_constraint=Apart(len(make.cell.gates)),
        name=kind,
    )
    together.build((None, None, features))
    alone = []
    for number in range(SEEDS):
        one = make.layer(UNITS)
        one.build((None, None, features))
        weights = one.get_weights()
        if kind == "lstm_open":
            _open(weights[-1], np.random.default_rng(number))
        alone.append([_by_gate(weight, len(make.cell.gates)) for weight in weights])
    kernels, recurrent, biases = zip(*alone, strict=True)
    whole = np.zeros((SEEDS * UNITS, len(make.cell.gates), SEEDS * UNITS), "float32")
    for number, weight in enumerate(recurrent):
        own = slice(number * UNITS, (number + 1) * UNITS)
        whole[own, :, own] = weight
    joined = [np.concatenate(kernels, axis=-1), whole, np.concatenate(biases, axis=-1)]
    shapes = [weight.shape for weight in together.get_weights()]
    together.set_weights([w.reshape(shape) for w, shape in zip(joined, shapes, strict=True)])
    return together


def _by_gate(weight: np.ndarray, gates: int) -> np.ndarray:
    return weight.reshape(*weight.shape[:-1], gates, UNITS)


def _open(bias: np.ndarray, random) -> None:
    """Opens the forget gates for memories of 1 to 200 steps, and shuts the input gates as far."""
    times = np.log(random.uniform(1, max(DISTANCES), UNITS))
    bias[:UNITS], bias[UNITS : 2 * UNITS] = -times, times


class SideBySide(keras.Model):
    """Networks of each kind with several first weights, all on the same inputs.

    Call arguments:
        inputs: (batch, time, features).

    Returns:
        (batch, time, kinds * seeds, outputs).
    """

    def __init__(self, features: int, outputs: int):
        super().__init__(name="side_by_side")
        self.recurrent = [networks(kind, features) for kind in KINDS]
        self.answers = [[keras.layers.Dense(outputs) for _ in range(SEEDS)] for _ in KINDS]
        self(np.zeros((1, 2, features), "float32"))

    def answer(self, kind: int, seed: int, hidden):
        """Returns the outputs of one network, of the hidden states of all of its kind."""
        return self.answers[kind][seed](hidden[..., seed * UNITS : (seed + 1) * UNITS])

    def call(self, inputs):
        found = []
        for kind, layer in enumerate(self.recurrent):
            hidden = layer(inputs)
            found += [self.answer(kind, seed, hidden) for seed in range(SEEDS)]
        return keras.ops.stack(found, axis=2)


PROBLEMS = {  # how to make it, features, outputs, steps of training, distances, chance
    "recall": (recall, 2 * SYMBOLS, SYMBOLS, 150, DISTANCES, 1 / SYMBOLS),
    "copy": (copy, SYMBOLS + 2, SYMBOLS, 400, (5, 10, 20, 50), 1 / SYMBOLS),
    "adding": (adding, 2, 1, 500, (10, 20, 50, 100), 1 / 6**0.5),
}


def run(sheet):
    keras.utils.set_random_seed(sheet.seed)
    random = np.random.default_rng(sheet.seed)
    figure = Figure(figsize=(13, 4), layout="constrained")
    for axes, (name, problem) in zip(figure.subplots(1, 3), PROBLEMS.items(), strict=True):
        make, features, outputs, steps, distances, chance = problem
        trainer = Trainer(SideBySide(features, outputs), make, random, steps)
        found = {}
        if name == "recall":
            longest = recall(random, max(DISTANCES), TESTED)
            lengths = {"before training": gradients(trainer.model, *longest)}
            for distance in distances:
                trainer.train([distance])
                found[distance] = test(trainer.model, *make(random, distance, TESTED))
            lengths["after training"] = gradients(trainer.model, *longest)
        else:
            trainer.train(distances)
            for distance in distances:
                found[distance] = test(trainer.model, *make(random, distance, TESTED))
        _report(sheet, axes, name, found, chance)
    sheet.picture("distances", figure)
    sheet.picture("gradients", _gradients(sheet, lengths))


class Trainer:
    """Trains all networks of a model, as often as asked from their first weights on."""

    def __init__(self, model: SideBySide, make, random, steps: int):
        self.model, self.make, self.random, self.steps = model, make, random, steps
        rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps, alpha=0.05)
        # Clipped weight by weight, which those of one kind have together and those of others not.
        model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), self._loss)
        self.first = model.get_weights()

    @staticmethod
    def _loss(targets, outputs):
        targets = keras.ops.repeat(targets[..., None], outputs.shape[2], axis=2)
        if outputs.shape[-1] == 1:
            found = keras.ops.square(targets - outputs[..., 0])
        else:
            found = keras.ops.sparse_categorical_crossentropy(targets, outputs, from_logits=True)
        return keras.ops.sum(found, axis=-1)

    def train(self, distances) -> None:
        """Trains on batches of a distance drawn anew each time."""
        self.model.set_weights(self.first)
        for variable in self.model.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(keras.ops.zeros_like(variable))
        for _ in range(self.steps):
            distance = int(self.random.choice(distances))
            inputs, targets, weights = self.make(self.random, distance, BATCH)
            scale = weights.size / weights.sum()  # Keras divides by all steps, weighted or not
            self.model.train_on_batch(inputs, targets, weights * scale)


def test(model, inputs, targets, weights) -> np.ndarray:
    """Returns the accuracy of each network, or its root mean squared error, (kinds, seeds)."""
    chosen, found = weights > 0, []
    answers = model.predict(inputs, batch_size=64, verbose=0)
    for outputs in np.moveaxis(answers, 2, 0):
        if outputs.shape[-1] == 1:
            error = outputs[..., 0][chosen] - targets[chosen]
            found.append(np.sqrt((error**2).mean()))
        else:
            found.append((outputs.argmax(-1) == targets)[chosen].mean())
    return np.reshape(found, (len(KINDS), SEEDS))


def gradients(model, inputs, targets, weights) -> np.ndarray:
    """Returns how long the gradient of the last answer's loss is by the input of each step.

    Returns:
        (kinds, time): means over seeds and sequences.
    """
    import tensorflow as tf

    sequences, answers = tf.convert_to_tensor(inputs[:64]), tf.convert_to_tensor(targets[:64, -1])
    found = []
    for kind, layer in enumerate(model.recurrent):
        lengths = []
        for seed in range(SEEDS):
            with tf.GradientTape() as tape:
                tape.watch(sequences)
                logits = model.answer(kind, seed, layer(sequences)[:, -1])
                loss = tf.reduce_sum(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=answers, logits=logits)
                )
            lengths.append(np.linalg.norm(tape.gradient(loss, sequences), axis=-1).mean(axis=0))
        found.append(np.mean(lengths, axis=0))
    return np.stack(found)


def _report(sheet, axes, name: str, found: dict, chance: float) -> None:
    distances = list(found)
    scores = np.stack(list(found.values()), axis=-1)  # kinds, seeds, distances
    of = "error (RMSE)" if name == "adding" else "accuracy"
    rows = []
    for kind, runs in zip(KINDS, scores, strict=True):
        mean, std = runs.mean(axis=0), runs.std(axis=0, ddof=1)
        rows.append([kind, *(f"{m:.2f}±{s:.2f}" for m, s in zip(mean, std, strict=True))])
        axes.plot(distances, mean, marker="o", color=COLOURS[kind], label=kind)
        axes.fill_between(distances, mean - std, mean + std, color=COLOURS[kind], alpha=0.2)
    sheet.table(f"{name}: {of} by distance", ["network", *map(str, distances)], rows)
    sheet.say(f"chance {chance:.3f}; mean ± std of {SEEDS} seeds")
    axes.axhline(chance, color="gray", linestyle=":", label="chance")
    axes.set_ylim(0, 0.5 if name == "adding" else 1.03)
    axes.set_xscale("log")
    axes.set_xticks(distances, map(str, distances))
    axes.minorticks_off()
    axes.set_xlabel("distance in steps")
    axes.set_ylabel(of)
    axes.set_title(name)
    axes.legend(frameon=False, fontsize=8)


def _gradients(sheet, lengths: dict) -> Figure:
    figure = Figure(figsize=(10, 4), layout="constrained")
    rows, back = [], (1, *DISTANCES)
    for axes, (when, values) in zip(
        figure.subplots(1, 2, sharey=True), lengths.items(), strict=True
    ):
        for kind, by_step in zip(KINDS, values, strict=True):
            # Position 0 is the symbol, the last is where the answer is asked for.
            backwards = np.maximum(by_step[::-1], 1e-20)
            axes.semilogy(backwards, color=COLOURS[kind], label=kind)
            rows.append([f"{kind}, {when}", *(f"{backwards[steps]:.0e}" for steps in back)])
        axes.set_xlabel("steps back from the answer")
        axes.set_title(f"recall over {max(DISTANCES)} steps, {when}")
        axes.set_ylim(1e-14, None)
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("length of the gradient by the input")
    sheet.table("Gradient by steps back from the answer", ["network", *map(str, back)], rows)
    return figure
