"""What the two lessons on gates share: real text with brackets, and networks that follow them.

Names of currencies, from the Unicode CLDR through Babel, are joined to sentences such as

    Afghan Afghani (1927-2002), Albanian Lek, Angolan Kwanza (1977-1991)

and every character is to be labelled: does it stand within brackets? To know, a network has to
set a memory at `(`, keep it for as long as it takes, and clear it at `)`.
"""

import time
from typing import NamedTuple

import keras
import numpy as np
from matplotlib.figure import Figure

from rnn_topologies import layers

LANGUAGES = ("en", "de", "fr", "es", "it", "nl")
NAMES = 4  # in a sentence
STEPS, BATCH = 400, 32
SEEDS = 3
GATES = "ifozr"  # quantities between 0 and 1
CLAMPED = 1e4  # beside it whatever else goes into a gate is nothing: the sigmoid is 0 or 1


class Text(NamedTuple):
    """Sentences as characters' numbers, padded with 0, and labels: 1 within brackets."""

    sentences: list[str]
    tokens: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def names() -> tuple[list[str], list[str]]:
    """Returns names for training and other names for tests, one half of each with brackets."""
    import babel

    found = sorted({n for code in LANGUAGES for n in babel.Locale(code).currencies.values()})
    found = [name for name in found if 8 <= len(name) <= 40 and name.count("(") < 2]
    with_brackets = [name for name in found if "(" in name and name.endswith(")")]
    without = [name for name in found if "(" not in name and ")" not in name]
    kept = min(len(with_brackets), len(without))
    random = np.random.default_rng(0)
    both = [list(random.permutation(part)[:kept]) for part in (with_brackets, without)]
    test = kept // 5
    return both[0][test:] + both[1][test:], both[0][:test] + both[1][:test]


class Writer:
    """Makes sentences of names."""

    def __init__(self, alphabet: str, names_: list[str], seed: int):
        self.numbers = {letter: number for number, letter in enumerate(alphabet, 1)}
        self.names, self.random = names_, np.random.default_rng(seed)

    def text(self, count: int) -> Text:
        sentences = [", ".join(self.random.choice(self.names, NAMES)) for _ in range(count)]
        longest = max(map(len, sentences))
        tokens = np.zeros((count, longest), "int32")
        labels, weights = np.zeros(tokens.shape, "float32"), np.zeros(tokens.shape, "float32")
        for row, sentence in enumerate(sentences):
            end = len(sentence)
            tokens[row, :end] = [self.numbers[letter] for letter in sentence]
            labels[row, :end] = inside(sentence)
            weights[row, :end] = 1
        return Text(sentences, tokens, labels, weights)


def inside(sentence: str) -> list[int]:
    """Returns 1 for every character from `(` on and before `)`."""
    found, within = [], 0
    for letter in sentence:
        within = {"(": 1, ")": 0}.get(letter, within)
        found.append(within)
    return found


def writers(seed: int) -> tuple[int, Writer, Writer]:
    """Returns the number of characters with padding, and writers of training and test text."""
    train, test = names()
    alphabet = "".join(sorted(set("".join([*train, *test, ", "]))))
    return len(alphabet) + 1, Writer(alphabet, train, seed), Writer(alphabet, test, seed + 1)


class Follower(keras.Model):
    """Characters, one recurrent layer, and for each character whether it is within brackets.

    Call arguments:
        tokens: (batch, time).

    Returns:
        logits (batch, time, 1).
    """

    def __init__(self, cell: str, units: int, characters: int):
        super().__init__(name="follower")
        self.characters = characters
        self.recurrent = layers.CELLS[cell].layer(units, return_sequences=True, name="recurrent")
        self.answer = keras.layers.Dense(1, name="answer")
        self(np.zeros((1, 2), "int32"))

    def read(self, tokens):
        return keras.ops.one_hot(tokens, self.characters)

    def call(self, tokens):
        return self.answer(self.recurrent(self.read(tokens)))


def train(cell: str, units: int, seed: int) -> tuple[Follower, Text, float]:
    """Returns a trained network, test text, and the seconds of training."""
    keras.utils.set_random_seed(seed)
    characters, writer, tester = writers(seed)
    model = Follower(cell, units, characters)
    rate = keras.optimizers.schedules.CosineDecay(2e-2, STEPS, alpha=0.05)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), loss)
    began = time.perf_counter()
    for _ in range(STEPS):
        text = writer.text(BATCH)
        model.train_on_batch(text.tokens, text.labels[..., None], sample_weight=text.weights)
    return model, tester.text(200), time.perf_counter() - began


def accuracy(model: Follower, text: Text) -> float:
    """Returns the fraction of test characters labelled right, padding left out."""
    right = (model.predict(text.tokens, verbose=0)[..., 0] > 0) == (text.labels > 0)
    return float(right[text.weights > 0].mean())


def chance(text: Text) -> float:
    """Returns the accuracy of the more frequent label."""
    share = text.labels[text.weights > 0].mean()
    return float(max(share, 1 - share))


def clamped(model: Follower, gate: str, *, is_open: bool):
    """Sets a gate of all units to 1 or to 0, and returns what undoes it."""
    layer = model.recurrent
    before = layer.get_weights()
    bias = before[-1].copy()
    units, block = layer.units, layer.cell.gates.index(gate)
    first = bias[0] if bias.ndim == 2 else bias
    first[block * units : (block + 1) * units] = CLAMPED if is_open else -CLAMPED
    layer.set_weights([*before[:-1], bias])
    return lambda: layer.set_weights(before)


def ablation(sheet, model: Follower, text: Text, gates: dict[str, str]) -> None:
    """Reports the accuracy with each gate clamped open and shut.

    Args:
        gates: what each gate is called.
    """
    rows = [["as trained", accuracy(model, text), accuracy(model, text)]]
    for gate, name in gates.items():
        scores = []
        for is_open in (True, False):
            undo = clamped(model, gate, is_open=is_open)
            scores.append(accuracy(model, text))
            undo()
        rows.append([f"{name} ({gate})", *scores])
    rows.append(["always the more frequent label", chance(text), chance(text)])
    sheet.table("One gate clamped: accuracy", ["gate", "open (1)", "shut (0)"], rows)


def example(text: Text) -> int:
    """Returns a test sentence of middling length in which brackets open and close twice."""
    fitting = [i for i, s in enumerate(text.sentences) if s.count("(") == 2]
    return min(fitting, key=lambda index: abs(len(text.sentences[index]) - 85))


def keeper(trace: dict[str, np.ndarray], labels: np.ndarray, state: str) -> int:
    """Returns the unit whose state goes most with the labels."""
    values = trace[state][0]
    kept = values.std(axis=0) > 1e-6
    likeness = [
        abs(np.corrcoef(values[:, unit], labels)[0, 1]) if kept[unit] else 0.0
        for unit in range(values.shape[1])
    ]
    return int(np.argmax(likeness))


def heat_maps(
    model: Follower, text: Text, shown: dict[str, str], state: str
) -> tuple[Figure, Figure, dict]:
    """Draws gates and states over one sentence: of all units, and of the one that remembers.

    Args:
        shown: quantities of the trace and what they are called, in the order to be drawn.
        state: the one that carries the memory.

    Returns:
        Two figures, and of the unit that remembers the mean of every quantity at `(`, within
        brackets, at `)` and outside.
    """
    index = example(text)
    sentence = text.sentences[index]
    tokens = text.tokens[index : index + 1, : len(sentence)]
    labels = np.array(inside(sentence))
    trace = layers.trace_gates(model.recurrent, model.read(tokens))
    unit = keeper(trace, labels, state)
    logits = keras.ops.convert_to_numpy(model(tokens))[0, :, 0]
    maps = _maps({name: trace[name][0] for name in shown}, shown, unit)
    top = maps.axes[0]
    top.plot(1 / (1 + np.exp(-logits)), color="#0072b2")
    top.fill_between(range(len(labels)), labels, step="mid", color="#d55e00", alpha=0.25)
    _letters(maps.axes[len(shown)], sentence)
    values = {name: trace[name][0, :, unit] for name in shown}
    lines = _lines(values, shown, labels)
    lines.suptitle(f"The unit that remembers: unit {unit}", fontsize=10)
    _letters(lines.axes[-1], sentence)
    return maps, lines, _means(values, sentence, labels)


def _maps(values: dict[str, np.ndarray], shown: dict[str, str], unit: int) -> Figure:
    """Draws every quantity of all units, (time, units), under an empty plot for the answer."""
    figure = Figure(figsize=(14, 1.1 * (len(shown) + 1)), layout="constrained")
    top, *rows = figure.subplots(len(shown) + 1, 1, sharex=True)
    top.set_ylabel("within\nbrackets")
    top.set_ylim(-0.05, 1.05)
    for axes, (name, called) in zip(rows, shown.items(), strict=True):
        is_gate = name in GATES
        limit = 1.0 if is_gate else max(1.0, np.abs(values[name]).max())
        image = axes.imshow(
            values[name].T,
            aspect="auto",
            cmap="viridis" if is_gate else "RdBu",
            vmin=0 if is_gate else -limit,
            vmax=limit,
        )
        axes.set_ylabel(f"{called}\n{name}", fontsize=8)
        axes.set_yticks([unit], [f"unit {unit}"], fontsize=7)
        figure.colorbar(image, ax=axes, fraction=0.02, pad=0.01)
    return figure


def _lines(values: dict[str, np.ndarray], shown: dict[str, str], labels: np.ndarray) -> Figure:
    """Draws every quantity of one unit, (time,), with the brackets behind it."""
    figure = Figure(figsize=(14, 1.0 * len(shown) + 0.6), layout="constrained")
    rows = figure.subplots(len(shown), 1, sharex=True)
    for axes, (name, called) in zip(rows, shown.items(), strict=True):
        behind = {"transform": axes.get_xaxis_transform(), "color": "#d55e00", "alpha": 0.2}
        axes.fill_between(range(len(labels)), labels, step="mid", **behind)
        axes.plot(values[name], color="#0072b2", marker=".", markersize=4)
        axes.set_ylabel(f"{called}\n{name}", fontsize=8)
        if name in GATES:
            axes.set_ylim(-0.05, 1.05)
    return figure


def _means(values: dict[str, np.ndarray], sentence: str, labels: np.ndarray) -> dict:
    letters = np.array(list(sentence))
    places = {
        "at (": letters == "(",
        "within": (labels == 1) & (letters != "("),
        "at )": letters == ")",
        "outside": (labels == 0) & (letters != ")"),
    }
    return {
        name: {place: float(row[chosen].mean()) for place, chosen in places.items()}
        for name, row in values.items()
    }


def _letters(axes, sentence: str) -> None:
    axes.set_xticks(range(len(sentence)), list(sentence), fontsize=8)
    axes.set_xlim(-0.5, len(sentence) - 0.5)
