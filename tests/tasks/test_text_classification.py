import keras
import numpy as np
import pytest

from rnn_topologies import layers
from rnn_topologies.tasks import text_classification
from rnn_topologies.tasks.data.sources import cldr_languages
from rnn_topologies.tasks.data.vocabulary import END, START, build_word_vocabulary
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.tasks.models.recurrence import Pool, Recurrence

from ..support import training

POOLINGS = ("last", "mean", "max", "attention")


def make(**settings):
    keras.utils.set_random_seed(0)
    small = {"units": 8, "embedding_size": 6, "limit": 200}
    task = text_classification.TextClassificationTask({**small, **settings})
    data = task.load_data()
    return task, data, task.build_model(data)


@pytest.mark.parametrize(
    ("cell", "pooling", "eager"),
    training.cells_and_settings(POOLINGS, "last", eager_cells=layers.CELLS),
)
def test_every_cell_learns_with_every_pooling(cell, pooling, eager):
    small = {"limit": 32, "max_length": 8} if eager else {}
    task, data, model = make(
        cell=cell,
        pooling=pooling,
        bidirectional=cell != "lstm",
        layers=training.depth(cell),
        dropout=0.1,
        batch_size=32,
        **small,
    )
    with training.execution(eager=eager):
        losses = training.losses(task, data, model, epochs=3 if eager else 2)
        assert task.predict(model, ["Deutschland", ""], data)[0] in data.notes["classes"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_does_not_change_the_logits(pooling, bidirectional):
    _, _, model = make(pooling=pooling, bidirectional=bidirectional)
    tokens = np.array([[START, 40, 50, 60, END]])
    wide = np.concatenate([tokens, np.zeros((1, 3), tokens.dtype)], axis=1)
    np.testing.assert_allclose(model(tokens), model(wide), rtol=1e-5, atol=1e-6)


def test_pooling_is_what_its_docstring_says():
    random = np.random.default_rng(0)
    sequences = random.normal(size=(3, 5, 4)).astype("float32")
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], "bool")
    recurrence = Recurrence("lstm", 6, bidirectional=True)
    outputs, states = recurrence(sequences, mask=mask)
    outputs = keras.ops.convert_to_numpy(outputs)
    pool = {how: Pool(how, bidirectional=True) for how in POOLINGS}
    pooled = {
        how: keras.ops.convert_to_numpy(layer(outputs, states, mask)) for how, layer in pool.items()
    }
    attention = pool["attention"]
    for row, length in enumerate(mask.sum(axis=1)):
        valid = outputs[row, :length]
        last = np.concatenate([valid[-1, :6], valid[0, 6:]])  # the last step of each direction
        np.testing.assert_allclose(pooled["last"][row], last, atol=1e-6)
        np.testing.assert_allclose(pooled["mean"][row], valid.mean(0), atol=1e-6)
        np.testing.assert_allclose(pooled["max"][row], valid.max(0), atol=1e-6)
        kernel, bias = (keras.ops.convert_to_numpy(w) for w in attention.hidden.weights)
        score = np.tanh(valid @ kernel + bias) @ keras.ops.convert_to_numpy(attention.score.kernel)
        weights = np.exp(score) / np.exp(score).sum()
        np.testing.assert_allclose(pooled["attention"][row], (weights * valid).sum(0), atol=1e-5)


def test_no_name_has_two_languages_and_no_entity_is_in_two_splits():
    names = cldr_languages.list_cldr_names()
    assert len({row["text"] for row in names}) == len(names) > 15_000
    source = cldr_languages.read_cldr_languages()
    things = [{row["thing"] for row in rows} for rows in source.splits.values()]
    assert sum(map(len, things)) == len(set().union(*things))
    assert {row["label"] for row in source.splits["test"]} == set(range(20))


def test_texts_are_truncated_to_the_maximum_length():
    _, data, _ = make(max_length=4)
    for example in data.splits["test"]:
        assert len(example.tokens) <= 6
        assert (example.tokens[0], example.tokens[-1]) == (START, END)


def test_a_crop_is_a_contiguous_half_or_more():
    random = np.random.default_rng(0)
    tokens = list(range(11))
    crops = [text_classification._crop_tokens(tokens, 1.0, random) for _ in range(300)]
    assert {len(crop) for crop in crops} == set(range(6, 12))
    assert all(crop == tokens[crop[0] : crop[-1] + 1] for crop in crops)
    assert {crop[0] for crop in crops} == set(range(6))
    assert text_classification._crop_tokens(tokens, 0.0, random) == tokens


def test_crops_do_not_change_the_width_of_the_only_batch():
    task, data, model = make(crop=1.0, batch_size=40, limit=40)
    grouped = task.batches(data.splits["train"], data, training=True)
    longest = max(len(example.tokens) for example in data.splits["train"])
    model.compile(loss=task.loss())
    model.fit(grouped, epochs=4, verbose=0)  # Keras refuses a varying width
    assert grouped[0][0].shape == (40, longest)


def test_evaluation_covers_the_test_split_in_order():
    task, data, model = make()
    evaluation = task.evaluate(model, "test", data)
    outputs = task.predict(model, [example.text for example in data.splits["test"]], data)
    assert [row["output"] for row in evaluation.examples] == outputs
    right = [row["output"] == row["target"] for row in evaluation.examples]
    assert evaluation.metrics["accuracy"] == pytest.approx(np.mean(right))
    assert [row["right"] for row in evaluation.examples] == right


@pytest.mark.parametrize("tokens", ["words", "characters"])
def test_the_baselines_read_the_same_units(tmp_path, tokens):
    lines = "".join(f"the {'good' if n % 2 else 'bad'} film {n},{n % 2}\n" for n in range(80))
    (tmp_path / "films.csv").write_text("text,label\n" + lines)
    task = text_classification.TextClassificationTask(
        {"dataset": str(tmp_path / "films.csv"), "tokens": tokens}
    )
    baselines = task.baseline(task.load_data())
    unit = tokens.removesuffix("s")
    assert baselines[f"{unit} n-gram logistic regression"]["accuracy"] == 1.0
    assert baselines[f"{unit} n-gram naive Bayes"]["accuracy"] == 1.0
    assert baselines["majority class"]["accuracy"] < 1.0


def test_words_are_lowercased_and_rare_ones_are_unknown():
    vocabulary = build_word_vocabulary(["The film, the FILM!", "a film"], 100)
    (tokens,) = vocabulary.encode(["THE film, never"])
    assert vocabulary.decode([tokens]) == ["the film <unknown> <unknown>"]
    assert len(build_word_vocabulary([f"w{n} w{n}" for n in range(50)], 20)) == 20
    with pytest.raises(UserError, match="--vocabulary-size must be above 4"):
        build_word_vocabulary(["a"], 3)
