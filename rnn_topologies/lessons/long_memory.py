"""The long-term dependency problem: how far back SimpleRNN, LSTM and GRU remember.

Three problems that test nothing but memory, at several distances:

    recall   a symbol, then noise; at the end: which symbol was it? Trained per distance.
    copy     three symbols, then blanks; then output the three symbols in order
    adding   numbers, two of them marked; at the end: their sum

and the cause: the gradient that reaches an input from an answer many steps later.

`lstm_open` is an LSTM whose forget gates start open and whose input gates start shut, as if it
had to remember for 1 to 200 steps (Tallec and Ollivier, 2018, "Can recurrent neural networks warp
time?"). The other three start from Keras's default initializers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnn_topologies import layers

from . import Sheet

DISTANCES = (5, 10, 20, 50, 100, 200)
SYMBOLS = 8
COPIED = 3
UNITS = 32
SEEDS = 3
BATCH = 32
TEST_SEQUENCES = 256  # per distance
LEARNING_RATE = 1e-2


class Network(NamedTuple):
    """A kind of network: its cell, how it starts, and how it is drawn."""

    cell: str
    label: str
    color: str
    starts_open: bool = False


NETWORKS = {
    "simple_rnn": Network("simple_rnn", "SimpleRNN", "#d55e00"),
    "lstm": Network("lstm", "LSTM", "#0072b2"),
    "gru": Network("gru", "GRU", "#009e73"),
    "lstm_open": Network("lstm", "LSTM, gates open", "#56b4e9", starts_open=True),
}


class Batch(NamedTuple):
    """Sequences of a problem.

    Attributes:
        inputs: (batch, time, features).
        targets: (batch, time), symbols or numbers.
        weights: (batch, time), 1 where an answer is due, else 0.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def sample_recall(random: np.random.Generator, distance: int, count: int) -> Batch:
    """Returns a symbol, `distance` steps of noise, and the symbol as the answer to the last."""
    symbols = random.integers(0, SYMBOLS, count)
    noise = random.integers(SYMBOLS, 2 * SYMBOLS, (count, distance))
    inputs = np.eye(2 * SYMBOLS, dtype="float32")[np.column_stack([symbols, noise])]
    targets = np.zeros((count, distance + 1), "int32")
    targets[:, -1] = symbols
    return Batch(inputs, targets, _last_step_only(targets.shape))


def sample_copy(random: np.random.Generator, distance: int, count: int) -> Batch:
    """Returns symbols, blanks, and as many markers, which ask for the symbols in order."""
    symbols = random.integers(0, SYMBOLS, (count, COPIED))
    blanks = np.full((count, distance - COPIED), SYMBOLS)
    markers = np.full((count, COPIED), SYMBOLS + 1)
    inputs = np.eye(SYMBOLS + 2, dtype="float32")[np.column_stack([symbols, blanks, markers])]
    targets = np.zeros(inputs.shape[:2], "int32")
    targets[:, -COPIED:] = symbols
    weights = np.zeros(targets.shape, "float32")
    weights[:, -COPIED:] = 1
    return Batch(inputs, targets, weights)


def sample_adding(random: np.random.Generator, distance: int, count: int) -> Batch:
    """Returns numbers between 0 and 1, one marked in each half, and the sum of those two."""
    values = random.uniform(size=(count, distance)).astype("float32")
    marks = np.zeros_like(values)
    rows, half = np.arange(count), distance // 2
    marks[rows, random.integers(0, half, count)] = 1
    marks[rows, random.integers(half, distance, count)] = 1
    targets = np.zeros_like(values)
    targets[:, -1] = (values * marks).sum(axis=1)
    inputs = np.stack([values, marks], axis=-1)
    return Batch(inputs, targets, _last_step_only(targets.shape))


def _last_step_only(shape: tuple[int, ...]) -> np.ndarray:
    weights = np.zeros(shape, "float32")
    weights[:, -1] = 1
    return weights


class BlockDiagonal(keras.constraints.Constraint):
    """Zeroes the recurrent weights between networks that share a layer: they stay independent."""

    def __init__(self, gates: int):
        blocks = np.kron(np.eye(SEEDS), np.ones((UNITS, UNITS)))
        self.mask = np.tile(blocks, (1, gates)).astype("float32")

    def __call__(self, value: Any) -> Any:
        return value * self.mask


def build_layer(name: str, features: int) -> layers.RNN:
    """Returns one layer that runs `SEEDS` independent networks, each with its own weights."""
    cell, layer = layers.CELLS[NETWORKS[name].cell]
    gates = len(cell.gates)
    shared = layer(
        SEEDS * UNITS,
        return_sequences=True,
        recurrent_constraint=BlockDiagonal(gates),
        name=name,
    )
    shared.build((None, None, features))
    weights_by_seed = []
    for seed in range(SEEDS):
        single = layer(UNITS)
        single.build((None, None, features))
        weights = single.get_weights()
        if NETWORKS[name].starts_open:
            _open_gates(weights[-1], np.random.default_rng(seed))
        # Split by gate: the shared layer keeps the units of all networks together for each gate.
        weights_by_seed.append([w.reshape(*w.shape[:-1], gates, UNITS) for w in weights])
    kernels, recurrent_kernels, biases = zip(*weights_by_seed, strict=True)
    blocks = np.zeros((SEEDS * UNITS, gates, SEEDS * UNITS), "float32")
    for seed, weight in enumerate(recurrent_kernels):
        own_units = slice(seed * UNITS, (seed + 1) * UNITS)
        blocks[own_units, :, own_units] = weight
    joined = [np.concatenate(kernels, axis=-1), blocks, np.concatenate(biases, axis=-1)]
    shapes = [weight.shape for weight in shared.get_weights()]
    shared.set_weights([w.reshape(shape) for w, shape in zip(joined, shapes, strict=True)])
    return shared


def _open_gates(bias: np.ndarray, random: np.random.Generator) -> None:
    """Sets gate biases for memories of 1 to 200 steps: forget gates open, input gates shut."""
    log_times = np.log(random.uniform(1, max(DISTANCES), UNITS))
    bias[:UNITS], bias[UNITS : 2 * UNITS] = -log_times, log_times


class NetworkGrid(keras.Model):
    """All kinds of networks with several seeds each, run on the same inputs.

    Call arguments:
        inputs: (batch, time, features).

    Returns:
        (batch, time, kinds * seeds, outputs).
    """

    def __init__(self, features: int, outputs: int):
        super().__init__(name="network_grid")
        self.recurrent = [build_layer(name, features) for name in NETWORKS]
        self.heads = [[keras.layers.Dense(outputs) for _ in range(SEEDS)] for _ in NETWORKS]
        self(np.zeros((1, 2, features), "float32"))

    def head_outputs(self, kind: int, seed: int, hidden: Any) -> Any:
        """Returns the outputs of one network, given the hidden states of all of its kind."""
        return self.heads[kind][seed](hidden[..., seed * UNITS : (seed + 1) * UNITS])

    def call(self, inputs: Any) -> Any:
        outputs = []
        for kind, layer in enumerate(self.recurrent):
            hidden = layer(inputs)
            outputs += [self.head_outputs(kind, seed, hidden) for seed in range(SEEDS)]
        return keras.ops.stack(outputs, axis=2)


class Problem(NamedTuple):
    """A problem to train on; `chance` is the score of a constant answer."""

    sample: Callable[[np.random.Generator, int, int], Batch]
    features: int
    outputs: int
    training_steps: int
    distances: Sequence[int]
    chance: float


PROBLEMS = {
    "recall": Problem(sample_recall, 2 * SYMBOLS, SYMBOLS, 150, DISTANCES, 1 / SYMBOLS),
    "copy": Problem(sample_copy, SYMBOLS + 2, SYMBOLS, 400, (5, 10, 20, 50), 1 / SYMBOLS),
    "adding": Problem(sample_adding, 2, 1, 500, (10, 20, 50, 100), 1 / 6**0.5),
}


def run_lesson(sheet: Sheet) -> None:
    keras.utils.set_random_seed(sheet.seed)
    random = np.random.default_rng(sheet.seed)
    figure = Figure(figsize=(13, 4.3), layout="constrained")
    norms = {}
    for axes, (name, problem) in zip(figure.subplots(1, 3), PROBLEMS.items(), strict=True):
        model = NetworkGrid(problem.features, problem.outputs)
        trainer = Trainer(model, problem, random)
        scores = {}
        if name == "recall":
            longest = sample_recall(random, max(DISTANCES), TEST_SEQUENCES)
            norms["before training"] = input_gradient_norms(model, longest)
            for distance in problem.distances:
                trainer.train([distance])
                scores[distance] = score(model, problem.sample(random, distance, TEST_SEQUENCES))
            norms["after training"] = input_gradient_norms(model, longest)
        else:
            trainer.train(problem.distances)
            for distance in problem.distances:
                scores[distance] = score(model, problem.sample(random, distance, TEST_SEQUENCES))
        _report_scores(sheet, axes, name, scores, problem.chance)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    sheet.add_picture("distances", figure)
    sheet.add_picture("gradients", _draw_gradient_norms(sheet, norms))


class Trainer:
    """Trains all networks of a model on a problem, each time from the same initial weights."""

    def __init__(self, model: NetworkGrid, problem: Problem, random: np.random.Generator):
        self.model, self.problem, self.random = model, problem, random
        schedule: Any = keras.optimizers.schedules.CosineDecay(
            LEARNING_RATE, problem.training_steps, alpha=0.05
        )
        # `clipnorm` clips each weight separately, so that kinds of networks do not affect each
        # other; the seeds of one kind share their weights and are clipped together.
        model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), self._loss)
        self.initial_weights = model.get_weights()

    @staticmethod
    def _loss(targets: Any, outputs: Any) -> Any:
        targets = keras.ops.repeat(targets[..., None], outputs.shape[2], axis=2)
        if outputs.shape[-1] == 1:
            losses = keras.ops.square(targets - outputs[..., 0])
        else:
            losses = keras.ops.sparse_categorical_crossentropy(targets, outputs, from_logits=True)
        return keras.ops.sum(losses, axis=-1)

    def train(self, distances: Sequence[int]) -> None:
        """Trains from the initial weights on batches of randomly chosen distances."""
        self.model.set_weights(self.initial_weights)
        for variable in self.model.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(keras.ops.zeros_like(variable))
        for _ in range(self.problem.training_steps):
            distance = int(self.random.choice(distances))
            batch = self.problem.sample(self.random, distance, BATCH)
            # Keras averages over all steps, also those of weight 0.
            scale = batch.weights.size / batch.weights.sum()
            self.model.train_on_batch(batch.inputs, batch.targets, batch.weights * scale)


def score(model: NetworkGrid, batch: Batch) -> np.ndarray:
    """Returns the accuracy of each network, or its root mean squared error, (kinds, seeds)."""
    chosen, scores = batch.weights > 0, []
    predictions = model.predict(
        batch.inputs,
        batch_size=64,
        verbose=0,  # pyright: ignore[reportArgumentType] - or int
    )
    for outputs in np.moveaxis(predictions, 2, 0):
        if outputs.shape[-1] == 1:
            errors = outputs[..., 0][chosen] - batch.targets[chosen]
            scores.append(np.sqrt((errors**2).mean()))
        else:
            scores.append((outputs.argmax(-1) == batch.targets)[chosen].mean())
    return np.reshape(scores, (len(NETWORKS), SEEDS))


def input_gradient_norms(model: NetworkGrid, batch: Batch) -> np.ndarray:
    """Returns the norm of the gradient of the last answer's loss with respect to each input step.

    Returns:
        (kinds, time): means over seeds and sequences.
    """
    import tensorflow as tf

    inputs = tf.convert_to_tensor(batch.inputs[:64])
    answers = tf.convert_to_tensor(batch.targets[:64, -1])
    norms_by_kind = []
    for kind, layer in enumerate(model.recurrent):
        norms = []
        for seed in range(SEEDS):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                logits = model.head_outputs(kind, seed, layer(inputs)[:, -1])
                loss = tf.reduce_sum(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=answers, logits=logits)
                )
            gradient = np.asarray(tape.gradient(loss, inputs))
            norms.append(np.linalg.norm(gradient, axis=-1).mean(axis=0))
        norms_by_kind.append(np.mean(norms, axis=0))
    return np.stack(norms_by_kind)


def _report_scores(
    sheet: Sheet, axes: Axes, problem: str, scores: Mapping[int, np.ndarray], chance: float
) -> None:
    distances = list(scores)
    by_kind = np.stack(list(scores.values()), axis=-1)  # kinds, seeds, distances
    metric = "error (RMSE)" if problem == "adding" else "accuracy"
    rows = []
    for network, runs in zip(NETWORKS.values(), by_kind, strict=True):
        mean, std = runs.mean(axis=0), runs.std(axis=0, ddof=1)
        rows.append([network.label, *(f"{m:.2f}±{s:.2f}" for m, s in zip(mean, std, strict=True))])
        axes.plot(distances, mean, marker="o", color=network.color, label=network.label)
        axes.fill_between(
            distances, mean - std, mean + std, color=network.color, alpha=0.2, linewidth=0
        )
    columns = ["network", *map(str, distances)]
    sheet.add_table(f"{problem}: {metric} by distance", columns, rows)
    sheet.print(f"chance {chance:.3f}; mean ± std of {SEEDS} seeds")
    axes.axhline(chance, color="gray", linestyle=":", label="chance")
    axes.set_ylim(0, 0.5 if problem == "adding" else 1.03)
    axes.set_xscale("log")
    axes.set_xticks(distances, [str(distance) for distance in distances])
    axes.minorticks_off()
    axes.set_xlabel("distance in steps")
    axes.set_ylabel(metric)
    axes.set_title(problem)


def _draw_gradient_norms(sheet: Sheet, norms: Mapping[str, np.ndarray]) -> Figure:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    rows, steps_back = [], (1, *DISTANCES)
    for axes, (when, by_kind) in zip(
        figure.subplots(1, 2, sharey=True), norms.items(), strict=True
    ):
        for network, by_step in zip(NETWORKS.values(), by_kind, strict=True):
            # Step 0 is the symbol, the last step is the question.
            backward = np.maximum(by_step[::-1], 1e-20)
            axes.semilogy(backward, color=network.color, label=network.label)
            values = [f"{backward[steps]:.0e}" for steps in steps_back]
            rows.append([f"{network.label}, {when}", *values])
        axes.set_xlabel("steps back from the answer")
        axes.set_title(f"recall over {max(DISTANCES)} steps, {when}", fontsize=11)
        axes.set_ylim(1e-14, None)
    figure.axes[0].set_ylabel("gradient norm with respect to the input")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    columns = ["network", *map(str, steps_back)]
    sheet.add_table("Gradient norm by steps back from the answer", columns, rows)
    return figure
