"""Bidirectional networks: the answer depends on what comes later.

    3:01:23 PM        is this character part of a time after noon?

Babel formats times the American way; the network labels every character as before or after noon.
Only the last two letters decide. A network that reads from left to right cannot know the answer
before it reaches them; one that reads in both directions knows it from the first character on.
"""

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnn_topologies import layers

from . import Sheet

UNITS = 16
STEPS, BATCH = 300, 32
SEEDS = 3
NETWORKS = {"one direction": False, "both directions": True}  # bidirectional?
COLORS = {"one direction": "#d55e00", "both directions": "#0072b2"}
FORMATS = ("h:mm a", "h:mm:ss a", "EEEE h:mm a", "MMM d, h:mm a", "h 'o''clock' a")


class LabeledTimes(NamedTuple):
    """Times as text and as character ids, padded with 0.

    Attributes:
        texts: such as "May 10, 8:57 PM".
        tokens: (batch, time), character ids from 1 on.
        labels: (batch, time), 1 if the time is after noon, at all characters of a text.
    """

    texts: list[str]
    tokens: np.ndarray
    labels: np.ndarray


class Tagger(keras.Model):
    """An LSTM over characters, in one direction or both, and a logit for each character.

    Call arguments:
        tokens: (batch, time).

    Returns:
        logits (batch, time, 1).
    """

    def __init__(self, characters: int, *, bidirectional: bool):
        super().__init__(name="tagger")
        self.characters = characters
        layer = layers.LSTM(UNITS, return_sequences=True, name="recurrent")
        self.recurrent = layers.Bidirectional(layer) if bidirectional else layer
        self.head = keras.layers.Dense(1, name="head")
        self(np.zeros((1, 2), "int32"))

    def one_hot(self, tokens: Any) -> Any:
        return keras.ops.one_hot(tokens, self.characters)

    def call(self, tokens: Any) -> Any:
        mask = keras.ops.not_equal(tokens, 0)
        return self.head(self.recurrent(self.one_hot(tokens), mask=mask))


def sample_times(random: np.random.Generator, count: int) -> tuple[list[str], np.ndarray]:
    """Returns random times as text, and for each one whether it is after noon."""
    from babel.dates import format_datetime

    start, texts, afternoon = datetime.datetime(1950, 1, 1), [], []
    for seconds, form in zip(
        random.integers(0, 100 * 365 * 86400, count), random.choice(FORMATS, count), strict=True
    ):
        moment = start + datetime.timedelta(seconds=int(seconds))
        # CLDR puts a narrow no-break space before AM and PM, which is invisible in a picture.
        texts.append(format_datetime(moment, form, locale="en_US").replace("\u202f", " "))
        afternoon.append(moment.hour >= 12)
    return texts, np.array(afternoon, "float32")


class TimeSampler:
    """Draws labeled times."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        alphabet = sorted(set("".join(sample_times(np.random.default_rng(0), 2000)[0])))
        self.ids = {character: number for number, character in enumerate(alphabet, 1)}

    def sample(self, count: int) -> LabeledTimes:
        texts, afternoon = sample_times(self.random, count)
        tokens = np.zeros((count, max(map(len, texts))), "int32")
        for row, text in enumerate(texts):
            tokens[row, : len(text)] = [self.ids[character] for character in text]
        return LabeledTimes(texts, tokens, np.repeat(afternoon[:, None], tokens.shape[1], axis=1))


def run_lesson(sheet: Sheet) -> None:
    sampler = TimeSampler(sheet.seed)
    test = sampler.sample(500)
    models, rows = {}, []
    for name, bidirectional in NETWORKS.items():
        correct = []
        for offset in range(SEEDS):
            keras.utils.set_random_seed(sheet.seed + offset)
            model = Tagger(len(sampler.ids) + 1, bidirectional=bidirectional)
            _train(model, sampler)
            correct.append(_correct(model, test))
            models.setdefault(name, model)
        parameters = models[name].recurrent.count_params()
        parts = _accuracy_by_part(test.texts, np.stack(correct))
        rows.append([name, parameters, *(f"{p.mean():.3f} ± {p.std(ddof=1):.3f}" for p in parts)])
    share = test.labels[:, 0].mean()
    rows.append(["always the more frequent label", 0, *[f"{max(share, 1 - share):.3f}"] * 3])
    columns = ["network", "parameters", "all characters", "before AM or PM", "from A or P on"]
    sheet.add_table(f"Accuracy, mean ± std of {SEEDS} seeds", columns, rows)
    sheet.add_picture("positions", _draw_positions(models, test))
    sheet.add_picture("joined", _draw_directions(sheet, models["both directions"], test))


def _train(model: Tagger, sampler: TimeSampler) -> None:
    schedule: Any = keras.optimizers.schedules.CosineDecay(1e-2, STEPS, alpha=0.05)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss)
    for _ in range(STEPS):
        batch = sampler.sample(BATCH)
        weights = (batch.tokens > 0).astype("float32")
        model.train_on_batch(batch.tokens, batch.labels[..., None], sample_weight=weights)


def _correct(model: Tagger, times: LabeledTimes) -> np.ndarray:
    """Returns 1 where a character is labeled correctly, 0 where not, and NaN at padding."""
    logits = model.predict(times.tokens, verbose=0)  # pyright: ignore[reportArgumentType] - or int
    correct = (logits[..., 0] > 0) == (times.labels > 0)
    return np.where(times.tokens > 0, correct, np.nan)


def _distances(texts: Sequence[str], width: int) -> np.ndarray:
    """Returns how many characters before the A or P each character is, (texts, width)."""
    return np.array([len(text) - 2 for text in texts])[:, None] - np.arange(width)


def _accuracy_by_part(texts: Sequence[str], correct: np.ndarray) -> list[np.ndarray]:
    """Returns, per seed, the accuracy of all characters, before AM or PM, and from there on."""
    distances = _distances(texts, correct.shape[2])
    return [
        np.nanmean(np.where(chosen, correct, np.nan), axis=(1, 2))
        for chosen in (np.full(distances.shape, True), distances > 0, distances <= 0)
    ]


def _example(texts: Sequence[str]) -> int:
    """Returns the index of a time after noon that is long enough to look at."""
    return next(i for i, text in enumerate(texts) if text.endswith("PM") and len(text) > 14)


def _draw_positions(models: dict[str, Tagger], times: LabeledTimes) -> Figure:
    """Draws the accuracy by distance from AM or PM, and the predictions for one time."""
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    distances = _distances(times.texts, times.tokens.shape[1])
    for name, model in models.items():
        correct = _correct(model, times)
        values = [np.nanmean(correct[distances == distance]) for distance in range(8, -2, -1)]
        left.plot(range(-8, 2), values, marker="o", color=COLORS[name], label=name)
    left.axvline(-0.5, color="gray", linestyle=":")
    left.set_xticks(range(-8, 2), [*map(str, range(-8, 0)), "A/P", "M"])
    left.set_xlabel("position relative to AM or PM")
    left.set_ylabel("accuracy")
    left.set_ylim(0.4, 1.03)
    left.set_title("500 test times", fontsize=11)
    left.legend(frameon=False)
    chosen = _example(times.texts)
    text = times.texts[chosen]
    for name, model in models.items():
        tokens = times.tokens[chosen : chosen + 1]
        logits = np.asarray(model(tokens))[0, : len(text), 0]
        right.plot(1 / (1 + np.exp(-logits)), marker="o", color=COLORS[name], label=name)
    _label_characters(right, text)
    right.set_ylim(-0.03, 1.03)
    right.set_ylabel("probability of “after noon”")
    right.set_title("one of them", fontsize=11)
    return figure


def _draw_directions(sheet: Sheet, model: Tagger, times: LabeledTimes) -> Figure:
    """Draws the outputs of both directions, and checks that the layer concatenates them."""
    chosen = _example(times.texts)
    text = times.texts[chosen]
    inputs = model.one_hot(times.tokens[chosen : chosen + 1, : len(text)])
    trace = layers.trace_gates(model.recurrent, inputs)
    halves = trace["forward_h"][0], trace["backward_h"][0]
    outputs = np.asarray(model.recurrent(inputs))[0]
    np.testing.assert_allclose(np.concatenate(halves, axis=-1), outputs, atol=1e-5)
    sheet.print(f"\nConcatenated: {UNITS} + {UNITS} = {outputs.shape[-1]} numbers per step")
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    titles = ("forward: knows what came before", "backward: knows what comes after")
    rows = figure.subplots(2, 1, sharex=True)
    for axes, values, title in zip(rows, halves, titles, strict=True):
        image = axes.imshow(values.T, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        axes.set_title(title, fontsize=11)
        axes.set_ylabel("unit")
    _label_characters(rows[-1], text)
    figure.colorbar(image, ax=rows, label="hidden state h")
    return figure


def _label_characters(axes: Axes, text: str) -> None:
    axes.set_xticks(range(len(text)), [character.replace(" ", "␣") for character in text])
