"""Shared by the two lessons on gates: text with brackets, and networks that track the brackets.

Names of currencies, from the Unicode CLDR through Babel, are joined into sentences such as

    Afghan Afghani (1927-2002), Albanian Lek, Angolan Kwanza (1977-1991)

The network labels every character: is it inside brackets? To answer, it has to set a memory at
`(`, keep it until the bracket closes, and clear it at `)`.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnn_topologies import layers

from . import Sheet

LANGUAGES = ("en", "de", "fr", "es", "it", "nl")
NAMES_PER_SENTENCE = 4
STEPS, BATCH = 400, 32
SEEDS = 3
GATES = "ifozr"  # traced quantities between 0 and 1
CLAMP_BIAS = 1e4  # outweighs every other input to a gate: the sigmoid is exactly 0 or 1


class TaggedText(NamedTuple):
    """Sentences as character ids, padded with 0, with a label and a weight per character.

    Attributes:
        sentences: the text.
        tokens: (batch, time), character ids from 1 on.
        labels: (batch, time), 1 inside brackets, else 0.
        weights: (batch, time), 1 at characters, 0 at padding.
    """

    sentences: list[str]
    tokens: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


class TrainedTagger(NamedTuple):
    """A trained network, test text, and the seconds of training."""

    model: "BracketTagger"
    test_text: TaggedText
    seconds: float


def currency_names() -> tuple[list[str], list[str]]:
    """Returns disjoint names for training and testing; half of each list have brackets."""
    import babel

    names = sorted({n for code in LANGUAGES for n in babel.Locale(code).currencies.values()})
    names = [name for name in names if 8 <= len(name) <= 40 and name.count("(") < 2]
    with_brackets = [name for name in names if "(" in name and name.endswith(")")]
    without = [name for name in names if "(" not in name and ")" not in name]
    size = min(len(with_brackets), len(without))
    random = np.random.default_rng(0)
    halves = [list(random.permutation(part)[:size]) for part in (with_brackets, without)]
    test_size = size // 5
    train = halves[0][test_size:] + halves[1][test_size:]
    return train, halves[0][:test_size] + halves[1][:test_size]


class SentenceSampler:
    """Draws sentences of random names."""

    def __init__(self, alphabet: str, names: list[str], seed: int):
        self.ids = {character: number for number, character in enumerate(alphabet, 1)}
        self.names, self.random = names, np.random.default_rng(seed)

    def sample(self, count: int) -> TaggedText:
        sentences = [
            ", ".join(self.random.choice(self.names, NAMES_PER_SENTENCE)) for _ in range(count)
        ]
        longest = max(map(len, sentences))
        tokens = np.zeros((count, longest), "int32")
        labels, weights = np.zeros(tokens.shape, "float32"), np.zeros(tokens.shape, "float32")
        for row, sentence in enumerate(sentences):
            end = len(sentence)
            tokens[row, :end] = [self.ids[character] for character in sentence]
            labels[row, :end] = bracket_labels(sentence)
            weights[row, :end] = 1
        return TaggedText(sentences, tokens, labels, weights)


def bracket_labels(sentence: str) -> list[int]:
    """Returns 1 for each character from `(` up to, but not including, `)`, else 0."""
    labels, inside = [], 0
    for character in sentence:
        inside = {"(": 1, ")": 0}.get(character, inside)
        labels.append(inside)
    return labels


def sentence_samplers(seed: int) -> tuple[int, SentenceSampler, SentenceSampler]:
    """Returns the number of character ids, and samplers of training and test sentences."""
    train, test = currency_names()
    alphabet = "".join(sorted(set("".join([*train, *test, ", "]))))
    train_sampler = SentenceSampler(alphabet, train, seed)
    return len(alphabet) + 1, train_sampler, SentenceSampler(alphabet, test, seed + 1)


class BracketTagger(keras.Model):
    """One recurrent layer over characters, and for each one a logit of being inside brackets.

    Call arguments:
        tokens: (batch, time).

    Returns:
        logits (batch, time, 1).
    """

    def __init__(self, cell: str, units: int, characters: int):
        super().__init__(name="bracket_tagger")
        self.characters = characters
        self.recurrent = layers.CELLS[cell].layer(units, return_sequences=True, name="recurrent")
        self.head = keras.layers.Dense(1, name="head")
        self(np.zeros((1, 2), "int32"))

    def one_hot(self, tokens: Any) -> Any:
        return keras.ops.one_hot(tokens, self.characters)

    def call(self, tokens: Any) -> Any:
        return self.head(self.recurrent(self.one_hot(tokens)))


def train_tagger(cell: str, units: int, seed: int) -> TrainedTagger:
    """Trains a network of one recurrent layer to label the characters inside brackets."""
    keras.utils.set_random_seed(seed)
    characters, train_sampler, test_sampler = sentence_samplers(seed)
    model = BracketTagger(cell, units, characters)
    schedule: Any = keras.optimizers.schedules.CosineDecay(2e-2, STEPS, alpha=0.05)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss)
    start = time.perf_counter()
    for _ in range(STEPS):
        text = train_sampler.sample(BATCH)
        model.train_on_batch(text.tokens, text.labels[..., None], sample_weight=text.weights)
    return TrainedTagger(model, test_sampler.sample(200), time.perf_counter() - start)


def accuracy(model: BracketTagger, text: TaggedText) -> float:
    """Returns the fraction of characters that are labeled correctly, ignoring padding."""
    logits = model.predict(text.tokens, verbose=0)  # pyright: ignore[reportArgumentType] - or int
    correct = (logits[..., 0] > 0) == (text.labels > 0)
    return float(correct[text.weights > 0].mean())


def majority_accuracy(text: TaggedText) -> float:
    """Returns the accuracy of always predicting the more frequent label."""
    share = text.labels[text.weights > 0].mean()
    return float(max(share, 1 - share))


@contextlib.contextmanager
def clamp_gate(model: BracketTagger, gate: str, *, is_open: bool) -> Iterator[None]:
    """Holds a gate of all units at 1 (open) or at 0 (shut) within a `with` block."""
    layer = model.recurrent
    trained = layer.get_weights()
    bias = trained[-1].copy()
    units, block = layer.units, layer.cell.gates.index(gate)
    input_bias = bias[0] if bias.ndim == 2 else bias
    input_bias[block * units : (block + 1) * units] = CLAMP_BIAS if is_open else -CLAMP_BIAS
    layer.set_weights([*trained[:-1], bias])
    try:
        yield
    finally:
        layer.set_weights(trained)


def report_ablation(
    sheet: Sheet, model: BracketTagger, text: TaggedText, gates: Mapping[str, str]
) -> None:
    """Reports the accuracy with each gate clamped open and shut.

    Args:
        sheet: where the table goes.
        model: the trained network.
        text: what it is tested on.
        gates: the full name of each gate.
    """
    rows = [["as trained", accuracy(model, text), accuracy(model, text)]]
    for gate, name in gates.items():
        scores = []
        for is_open in (True, False):
            with clamp_gate(model, gate, is_open=is_open):
                scores.append(accuracy(model, text))
        rows.append([f"{name} ({gate})", *scores])
    rows.append(["always the more frequent label", *[majority_accuracy(text)] * 2])
    sheet.add_table("One gate clamped: accuracy", ["gate", "open (1)", "shut (0)"], rows)


def pick_sentence(text: TaggedText) -> int:
    """Returns the index of a sentence of about 85 characters with two pairs of brackets."""
    candidates = [i for i, s in enumerate(text.sentences) if s.count("(") == 2]
    return min(candidates, key=lambda index: abs(len(text.sentences[index]) - 85))


def find_memory_unit(trace: Mapping[str, np.ndarray], labels: np.ndarray, state: str) -> int:
    """Returns the unit whose state correlates most strongly with the labels."""
    values = trace[state][0]
    varies = values.std(axis=0) > 1e-6
    correlations = [
        abs(np.corrcoef(values[:, unit], labels)[0, 1]) if varies[unit] else 0.0
        for unit in range(values.shape[1])
    ]
    return int(np.argmax(correlations))


class GateFigures(NamedTuple):
    """Gates and states over one sentence.

    Attributes:
        all_units: heat maps of all units.
        memory_unit: lines of the unit that remembers.
        means: of that unit, the mean of each quantity at `(`, inside brackets, at `)`, outside.
    """

    all_units: Figure
    memory_unit: Figure
    means: dict[str, dict[str, float]]


def draw_gates(
    model: BracketTagger, text: TaggedText, names: Mapping[str, str], state: str
) -> GateFigures:
    """Draws gates and states over one sentence.

    Args:
        model: the trained network.
        text: where the sentence is taken from.
        names: the full name of each traced quantity, in drawing order.
        state: the quantity that carries the memory.
    """
    index = pick_sentence(text)
    sentence = text.sentences[index]
    tokens = text.tokens[index : index + 1, : len(sentence)]
    labels = np.array(bracket_labels(sentence))
    trace = layers.trace_gates(model.recurrent, model.one_hot(tokens))
    unit = find_memory_unit(trace, labels, state)
    logits = np.asarray(model(tokens))[0, :, 0]
    all_units = _draw_all_units({name: trace[name][0] for name in names}, names, unit)
    top, *_, bottom = all_units.axes[: len(names) + 1]
    top.plot(1 / (1 + np.exp(-logits)), color="#0072b2")
    top.fill_between(range(len(labels)), labels, step="mid", color="#d55e00", alpha=0.25)
    _label_characters(bottom, sentence)
    values = {name: trace[name][0, :, unit] for name in names}
    memory_unit = _draw_one_unit(values, names, labels)
    memory_unit.suptitle(f"The unit that remembers: unit {unit}", fontsize=11)
    _label_characters(memory_unit.axes[-1], sentence)
    return GateFigures(all_units, memory_unit, _mean_values(values, sentence, labels))


def _draw_all_units(
    values: Mapping[str, np.ndarray], names: Mapping[str, str], unit: int
) -> Figure:
    """Draws each quantity, (time, units), below empty axes for the prediction."""
    figure = Figure(figsize=(14, 1.1 * (len(names) + 1)), layout="constrained")
    top, *rows = figure.subplots(len(names) + 1, 1, sharex=True)
    top.set_ylabel("inside\nbrackets", fontsize=9)
    top.tick_params(axis="x", length=0)
    top.set_ylim(-0.05, 1.05)
    for axes, (name, full_name) in zip(rows, names.items(), strict=True):
        is_gate = name in GATES
        limit = 1.0 if is_gate else max(1.0, np.abs(values[name]).max())
        image = axes.imshow(
            values[name].T,
            aspect="auto",
            cmap="viridis" if is_gate else "RdBu",
            vmin=0 if is_gate else -limit,
            vmax=limit,
        )
        axes.set_ylabel(f"{full_name}\n{name}", fontsize=9)
        axes.tick_params(axis="x", length=0)
        axes.set_yticks([unit], [f"unit {unit}"], fontsize=8)
        figure.colorbar(image, ax=axes, fraction=0.02, pad=0.01)
    return figure


def _draw_one_unit(
    values: Mapping[str, np.ndarray], names: Mapping[str, str], labels: np.ndarray
) -> Figure:
    """Draws each quantity of one unit, (time,), with brackets shaded in the background."""
    figure = Figure(figsize=(14, 1.0 * len(names) + 0.6), layout="constrained")
    rows = figure.subplots(len(names), 1, sharex=True)
    for axes, (name, full_name) in zip(rows, names.items(), strict=True):
        axes.fill_between(
            range(len(labels)),
            labels,
            step="mid",
            transform=axes.get_xaxis_transform(),
            color="#d55e00",
            alpha=0.2,
            linewidth=0,
        )
        axes.plot(values[name], color="#0072b2", marker=".", markersize=4)
        axes.set_ylabel(f"{full_name}\n{name}", fontsize=9)
        axes.tick_params(axis="x", length=0)
        if name in GATES:
            axes.set_ylim(-0.05, 1.05)
    figure.align_ylabels(rows)
    return figure


def _mean_values(
    values: Mapping[str, np.ndarray], sentence: str, labels: np.ndarray
) -> dict[str, dict[str, float]]:
    characters = np.array(list(sentence))
    positions = {
        "at (": characters == "(",
        "inside": (labels == 1) & (characters != "("),
        "at )": characters == ")",
        "outside": (labels == 0) & (characters != ")"),
    }
    return {
        name: {position: float(row[chosen].mean()) for position, chosen in positions.items()}
        for name, row in values.items()
    }


def _label_characters(axes: Axes, sentence: str) -> None:
    axes.set_xticks(range(len(sentence)), list(sentence), fontsize=9)
    axes.set_xlim(-0.5, len(sentence) - 0.5)
