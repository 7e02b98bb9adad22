"""Reading both ways: an answer that depends on what comes later.

    3:01:23 PM        is this character part of a time after noon?

Times are written by Babel as Americans write them; every character is to be labelled "after
noon" or not. Which it is, only the last two letters tell. A network that reads from left to
right cannot know it before they come; one that reads both ways knows it from the first digit.
"""

import datetime

import keras
import numpy as np
from matplotlib.figure import Figure

from rnn_topologies import layers

UNITS = 16
STEPS, BATCH = 300, 32
SEEDS = 3
KINDS = {"one direction": False, "both directions": True}
FORMATS = ("h:mm a", "h:mm:ss a", "EEEE h:mm a", "MMM d, h:mm a", "h 'o''clock' a")


class Tagger(keras.Model):
    """Characters, an LSTM that reads one way or both, and a label for each character.

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
        self.answer = keras.layers.Dense(1, name="answer")
        self(np.zeros((1, 2), "int32"))

    def read(self, tokens):
        return keras.ops.one_hot(tokens, self.characters)

    def call(self, tokens):
        mask = keras.ops.not_equal(tokens, 0)
        return self.answer(self.recurrent(self.read(tokens), mask=mask))


def phrases(random, count: int) -> tuple[list[str], np.ndarray]:
    """Returns times as text, and whether each is after noon."""
    from babel.dates import format_datetime

    start, found, late = datetime.datetime(1950, 1, 1), [], []
    for seconds, form in zip(
        random.integers(0, 100 * 365 * 86400, count), random.choice(FORMATS, count), strict=True
    ):
        moment = start + datetime.timedelta(seconds=int(seconds))
        # CLDR puts a narrow space before AM and PM, which looks like nothing in a picture.
        found.append(format_datetime(moment, form, locale="en_US").replace("\u202f", " "))
        late.append(moment.hour >= 12)
    return found, np.array(late, "float32")


def run(sheet):
    random = np.random.default_rng(sheet.seed)
    alphabet = sorted(set("".join(phrases(np.random.default_rng(0), 2000)[0])))
    numbers = {letter: number for number, letter in enumerate(alphabet, 1)}

    def encoded(count):
        texts, late = phrases(random, count)
        tokens = np.zeros((count, max(map(len, texts))), "int32")
        for row, text in enumerate(texts):
            tokens[row, : len(text)] = [numbers[letter] for letter in text]
        return texts, tokens, np.repeat(late[:, None], tokens.shape[1], axis=1)

    tested = encoded(500)
    models, scores, rows = {}, {}, []
    for name, bidirectional in KINDS.items():
        runs = []
        for number in range(SEEDS):
            keras.utils.set_random_seed(sheet.seed + number)
            model = Tagger(len(alphabet) + 1, bidirectional=bidirectional)
            _train(model, encoded)
            runs.append(_right(model, *tested[1:]))
            models.setdefault(name, model)
        scores[name] = np.nanmean(np.stack(runs), axis=1)
        places = _by_place(tested[0], np.stack(runs))
        weights = models[name].recurrent.count_params()
        rows.append(
            [name, weights, *(f"{part.mean():.3f} ± {part.std(ddof=1):.3f}" for part in places)]
        )
    share = tested[2][:, 0].mean()
    rows.append(["always the more frequent label", 0, *[f"{max(share, 1 - share):.3f}"] * 3])
    columns = ["network", "weights", "all characters", "before AM or PM", "from A or P on"]
    sheet.table("Accuracy, mean ± std of 3 seeds", columns, rows)
    sheet.picture("positions", _positions(tested[0], models, scores, tested))
    sheet.picture("joined", _joined(sheet, models["both directions"], tested))


def _train(model, encoded) -> None:
    rate = keras.optimizers.schedules.CosineDecay(1e-2, STEPS, alpha=0.05)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), loss)
    for _ in range(STEPS):
        _, tokens, labels = encoded(BATCH)
        weights = (tokens > 0).astype("float32")
        model.train_on_batch(tokens, labels[..., None], sample_weight=weights)


def _right(model, tokens, labels) -> np.ndarray:
    """Returns 1 where a character is labelled right, 0 where it is not, NaN at padding."""
    right = (model.predict(tokens, verbose=0)[..., 0] > 0) == (labels > 0)
    return np.where(tokens > 0, right, np.nan)


def _back(texts, width: int) -> np.ndarray:
    """Returns how many characters each one stands before the A or P that tells, (texts, width)."""
    return np.array([len(text) - 2 for text in texts])[:, None] - np.arange(width)


def _by_place(texts, right) -> list[np.ndarray]:
    """Returns for each seed the accuracy of all characters, of those before, and from there on."""
    back = _back(texts, right.shape[2])
    return [
        np.nanmean(np.where(chosen, right, np.nan), axis=(1, 2))
        for chosen in (np.full(back.shape, True), back > 0, back <= 0)
    ]


def _positions(texts, models, scores, tested) -> Figure:
    """Draws the accuracy by distance from AM or PM, and the probabilities of one phrase."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _, tokens, labels = tested
    back = _back(texts, tokens.shape[1])
    colours = dict(zip(KINDS, ("#d55e00", "#0072b2"), strict=True))
    for name, model in models.items():
        found = _right(model, tokens, labels)
        distances = range(8, -2, -1)
        values = [np.nanmean(found[back == distance]) for distance in distances]
        left.plot([-d for d in distances], values, marker="o", color=colours[name], label=name)
    left.axvline(-0.5, color="gray", linestyle=":")
    left.set_xticks(range(-8, 2), [*map(str, range(-8, 0)), "A/P", "M"])
    left.set_xlabel("characters from AM or PM")
    left.set_ylabel("accuracy")
    left.set_ylim(0.4, 1.03)
    left.legend(frameon=False)
    chosen = next(i for i, text in enumerate(texts) if text.endswith("PM") and len(text) > 14)
    text = texts[chosen]
    for name, model in models.items():
        logits = keras.ops.convert_to_numpy(model(tokens[chosen : chosen + 1]))[0, : len(text), 0]
        right.plot(1 / (1 + np.exp(-logits)), marker="o", color=colours[name], label=name)
    right.set_xticks(range(len(text)), [letter.replace(" ", "␣") for letter in text])
    right.set_ylim(-0.03, 1.03)
    right.set_ylabel("probability of “after noon”")
    return figure


def _joined(sheet, model, tested) -> Figure:
    """Draws how the outputs of both directions are joined, and checks that they are."""
    texts, tokens, _ = tested
    chosen = next(i for i, text in enumerate(texts) if text.endswith("PM") and len(text) > 14)
    tokens = tokens[chosen : chosen + 1, : len(texts[chosen])]
    trace = layers.trace_gates(model.recurrent, model.read(tokens))
    halves = trace["forward_h"][0], trace["backward_h"][0]
    joined = keras.ops.convert_to_numpy(model.recurrent(model.read(tokens)))[0]
    np.testing.assert_allclose(np.concatenate(halves, axis=-1), joined, atol=1e-5)
    sheet.say(f"\njoined by concatenation: {UNITS} + {UNITS} = {joined.shape[-1]} numbers a step")
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    titles = ("forwards: knows what came before", "backwards: knows what comes after")
    for axes, values, title in zip(figure.subplots(2, 1, sharex=True), halves, titles, strict=True):
        image = axes.imshow(values.T, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        axes.set_title(title, fontsize=9)
        axes.set_ylabel("units")
    figure.axes[1].set_xticks(range(tokens.shape[1]), [c.replace(" ", "␣") for c in texts[chosen]])
    figure.colorbar(image, ax=figure.axes[:2], label="hidden state h")
    return figure
