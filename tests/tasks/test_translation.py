import dataclasses
import math
import tracemalloc

import keras
import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from rnn_topologies.tasks import translation
from rnn_topologies.tasks.data import vocabulary
from rnn_topologies.tasks.data.sources.cldr_dates import cldr_dates_dataset_builder as cldr_dates
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.tasks.metrics import translation as scores
from rnn_topologies.tasks.models.encoder_decoder import ATTENTIONS, EncoderDecoder, Generator

from ..support import training

PARTS = {"train": 90, "validation": 20, "test": 20}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


@pytest.fixture
def make(data_dir, monkeypatch):
    """Returns a function that builds (task, data, untrained model) on a small data set."""
    monkeypatch.setattr(cldr_dates, "SPLIT_SIZES", PARTS)

    def built(**settings):
        keras.utils.set_random_seed(0)
        task = translation.TranslationTask(
            {"data_dir": data_dir, "units": 12, "embedding_size": 8, **settings}
        )
        data = task.load_data()
        return task, data, task.build_model(data)

    return built


def compiled(task, model):
    model.compile("adam", task.loss(), weighted_metrics=task.metrics())
    return model


@pytest.mark.parametrize(
    ("cell", "attention", "eager"), training.cells_and_settings(ATTENTIONS, "dot")
)
def test_every_cell_learns_with_every_attention(make, cell, attention, eager):
    task, data, model = make(
        cell=cell,
        attention=attention,
        # One direction with SimpleRNN, so that both run with each attention.
        bidirectional=cell != "simple_rnn",
        layers=training.depth(cell),
        dropout=0.1,
        limit=16 if eager else None,
    )
    with training.execution(eager=eager):
        losses = training.losses(task, data, model, epochs=3)
        assert len(task.predict(model, ["2/3/24"], data)) == 1
    assert losses[-1] < losses[0]


def test_padding_of_the_source_does_not_change_the_logits(make):
    _, _, model = make()
    source, previous = np.array([[5, 6, 7]]), np.array([[vocabulary.START, 9, 8]])
    wide = np.array([[5, 6, 7, vocabulary.PAD, vocabulary.PAD]])
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model({"source": source, "previous": previous})),
        keras.ops.convert_to_numpy(model({"source": wide, "previous": previous})),
        rtol=1e-5,
        atol=1e-6,
    )


def test_batches_hold_the_inputs_and_targets_of_the_decoder(make):
    task, data, _ = make()
    pairs = data.splits["test"][:2]
    inputs, following, weights = task.batches(pairs, data, training=False)[0]
    for row in range(2):
        target = next(
            pair.target_tokens
            for pair in pairs
            if inputs["source"][row, : len(pair.source_tokens)].tolist() == pair.source_tokens
        )
        count = len(target)
        assert inputs["previous"][row, : count + 1].tolist() == [vocabulary.START, *target]
        assert following[row, : count + 1].tolist() == [*target, vocabulary.END]
        assert weights[row].tolist() == [1.0] * (count + 1) + [0.0] * (weights.shape[1] - count - 1)


@pytest.mark.usefixtures("eagerly")
def test_scores_are_of_free_running_decodes_and_count_real_tokens_only(make):
    task, data, model = make()
    evaluation = task.evaluate(compiled(task, model), "test", data)
    pairs = data.splits["test"]
    outputs = task.predict(model, [pair.source for pair in pairs], data)
    assert [example["output"] for example in evaluation.examples] == outputs
    total = count = 0
    for pair in pairs:  # one at a time, so that there is no padding
        previous = np.array([[vocabulary.START, *pair.target_tokens]])
        logits = model({"source": np.array([pair.source_tokens]), "previous": previous})
        logits = keras.ops.convert_to_numpy(logits)[0].astype("float64")
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        for t, token in enumerate([*pair.target_tokens, vocabulary.END]):
            total -= log_p[t, token]
            count += 1
    np.testing.assert_allclose(evaluation.metrics["cross_entropy"], total / count, rtol=1e-4)
    np.testing.assert_allclose(evaluation.metrics["perplexity"], math.exp(total / count), rtol=1e-3)


@pytest.mark.usefixtures("eagerly")
def test_predictions_come_in_the_order_of_the_inputs(make):
    task, data, model = make(beam_size=3)
    model.set_weights([3 * weight for weight in model.get_weights()])  # outputs that differ
    sources = sorted((pair.source for pair in data.splits["test"]), key=len)
    sources = [sources[-1], sources[0], sources[10]]
    together = task.predict(model, sources, data)
    assert together == [task.predict(model, [source], data)[0] for source in sources]
    assert len(set(together)) == 3
    best = task.n_best(model, sources, data, beam_size=4)
    assert [len(outputs) for outputs in best] == [4, 4, 4]


def test_beam_search_and_greedy_decoding_return_the_same_shape(make):
    _, data, model = make()
    source = np.array([data.splits["test"][0].source_tokens])
    for beam_size in (1, 3):
        generator = Generator(model, max_length=5, beam_size=beam_size)
        assert keras.ops.shape(generator(source)) == (1, beam_size, 5)


def test_baselines_are_scored_like_the_model(make):
    task, data, _ = make()
    baselines = task.baseline(data)
    assert set(baselines) == {
        "copy the source",
        "most frequent target",
        "target of the nearest source",
    }
    references = [pair.target for pair in data.splits["test"]]
    copied = scores.translation_scores([p.source for p in data.splits["test"]], references)
    assert baselines["copy the source"] == copied


def test_the_nearest_source_of_a_training_source_is_itself(make):
    _, data, _ = make()
    train = data.splits["train"]
    assert translation._nearest_targets(train, train[:10]) == [pair.target for pair in train[:10]]


@pytest.mark.parametrize("size", [1, 40, 10_000], ids=["one by one", "some", "all at once"])
def test_the_nearest_source_is_the_first_of_the_most_similar_ones(size, monkeypatch):
    random = np.random.default_rng(0)
    sources = ["".join(random.choice(list("ab "), 4)) for _ in range(70)]
    train = [translation.Pair(source, str(n), [], []) for n, source in enumerate(sources)]
    test = [translation.Pair(source, "", [], []) for source in [*sources[::-1][:30], "xyz", "abz"]]
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), dtype=np.float32)
    vectors = vectorizer.fit_transform(sources)
    similarity = (vectorizer.transform([pair.source for pair in test]) @ vectors.T).toarray()
    assert (similarity == similarity.max(axis=1, keepdims=True)).sum() > len(test)  # there are ties
    assert not similarity[-2].any()
    monkeypatch.setattr(translation, "SIMILARITY_BYTES", size * 70)
    expected = [str(row.argmax()) for row in similarity]
    assert translation._nearest_targets(train, test) == expected


def test_the_nearest_sources_are_found_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(translation, "SIMILARITY_BYTES", 4 << 20)
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list("abcdefgh"), 6)) for _ in range(3000)]
    pairs = [translation.Pair(text, text, [], []) for text in texts]
    tracemalloc.start()
    try:
        targets = translation._nearest_targets(pairs, pairs * 2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert targets == texts * 2
    assert peak < 24 << 20  # with the TF-IDF vectors; all similarities at once take 72 MB or more


def test_translation_scores_are_those_of_sacrebleu():
    outputs, references = ["the cat sat on the mat", "A dog"], ["the cat sat on the mat", "a dog"]
    result = scores.translation_scores(outputs, references)
    assert result["exact_match"] == 0.5
    assert result["bleu_lowercase"] == pytest.approx(100)
    assert result["bleu"] < 95
    assert "tok:13a" in scores.translation_signatures()["bleu"]


def test_several_references_are_scored_together():
    outputs = ["the cat sat on the mat", "a dog", "no"]
    references = [["a cat sat on a mat", "the cat sat on the mat"], ["a dog"], ["yes"]]
    result = scores.translation_scores(outputs, references)
    assert result["exact_match"] == pytest.approx(2 / 3)
    from sacrebleu.metrics.bleu import BLEU

    streams = [["a cat sat on a mat", "a dog", "yes"], ["the cat sat on the mat", None, None]]
    assert result["bleu"] == pytest.approx(BLEU().corpus_score(outputs, streams).score)
    assert "nrefs:var" in scores.translation_signatures(references)["bleu"]
    assert "nrefs:1" in scores.translation_signatures([["a"], ["b"]])["bleu"]


@pytest.fixture
def repeated(tmp_path):
    """Returns task, data and model on pairs with up to two translations of a source."""
    lines = [f"ein Satz {n}\t{kind} sentence {n}" for n in range(40) for kind in ("a", "one")]
    lines += [f"noch einer {n}\tanother {n}" for n in range(40)]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines), "utf-8")
    keras.utils.set_random_seed(0)
    task = translation.TranslationTask(
        {"dataset": str(tmp_path / "pairs.tsv"), "units": 8, "embedding_size": 4, "beam_size": 1}
    )
    data = task.load_data()
    return task, data, task.build_model(data)


@pytest.mark.usefixtures("eagerly")
def test_a_source_is_translated_once_and_scored_against_all_its_references(repeated):
    task, data, model = repeated
    test = data.splits["test"]
    assert len({pair.source for pair in test}) == len(test)
    assert {len(pair.references) for pair in test} == {1, 2}
    assert data.notes["test_references"] == sum(len(pair.references) for pair in test)
    evaluation = task.evaluate(compiled(task, model), "test", data)
    assert [row["source"] for row in evaluation.examples] == [pair.source for pair in test]
    assert {len(row.get("references", "1")) for row in evaluation.examples} == {1, 2}
    parts = task.score_parts(evaluation.examples, data)
    total = parts.score(parts.rows.sum(axis=0))
    assert total == pytest.approx(evaluation.metrics["bleu"])
    assert "nrefs:var" in evaluation.signatures["bleu"]


def test_baselines_are_scored_against_all_references(repeated):
    task, data, _ = repeated
    pairs = [pair for pair in data.splits["test"] if len(pair.references) == 2]
    second = [
        translation._make_pairs(
            [{"source": p.source, "target": p.references[1]}], data.preprocessors
        )[0]
        for p in pairs
    ]
    perfect = dataclasses.replace(data, splits={"train": second, "test": pairs})
    baselines = task.baseline(perfect)
    assert baselines["target of the nearest source"]["exact_match"] == 1


def test_all_references_count_in_teacher_forced_metrics(repeated):
    _, data, _ = repeated
    pairs = translation._split_references(data.splits["test"], data)
    assert len(pairs) == data.notes["test_references"]
    for pair in pairs:
        assert data.preprocessors["target"].decode([pair.target_tokens]) == [pair.target]


def test_the_longest_target_is_that_of_all_training_examples(make):
    _, full, _ = make()
    limits = [len(pair.target_tokens) for pair in full.splits["train"]]
    for limit in (1, 2, 30):
        _, limited, _ = make(limit=limit, tokens="characters")
        assert len(limited.splits["train"]) == limit
        # Characters that are not in the sample are several tokens.
        assert limited.notes["longest_target"] >= full.notes["longest_target"] == max(limits)


@pytest.mark.usefixtures("eagerly")
def test_the_same_seed_trains_the_same_model(make):
    losses = [training.losses(*make(limit=48, batch_size=16), epochs=1) for _ in range(2)]
    # TensorFlow does not fix the order in which it sums gradients.
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": 0}, "--units must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "--learning-rate must be above 0"),
        ({"dropout": 1.0}, "--dropout must be below 1"),
        ({"attention": "dott"}, "Unknown value of --attention: 'dott'.*Did you mean 'dot'"),
        ({"beam_size": 0}, "--beam-size must be at least 1"),
        ({"dataset": "cldr_date"}, "Unknown data set: 'cldr_date'. Available: cldr_dates"),
    ],
)
def test_a_wrong_setting_is_named_by_its_flag(settings, message):
    with pytest.raises(UserError, match=message):
        translation.TranslationTask(settings)


def test_a_data_set_has_its_own_defaults_and_the_user_overrides_them():
    task = translation.TranslationTask({"dataset": "multi30k/de-en"})
    assert (task.config.tokens, task.config.beam_size) == ("byte_pairs", 5)
    assert (
        translation.TranslationTask({"dataset": "multi30k/de-en", "beam_size": 2}).config.beam_size
        == 2
    )
    names = {field.name for field in dataclasses.fields(translation.TranslationConfig)}
    for facts in translation.TranslationTask.datasets.values():
        assert set(facts.settings) <= names


def test_a_unidirectional_encoder_has_a_memory_half_as_wide():
    shapes = []
    for bidirectional in (True, False):
        model = EncoderDecoder(
            cell="gru",
            source_size=9,
            target_size=9,
            units=6,
            bidirectional=bidirectional,
            embedding_size=4,
        )
        shapes.append(model.encode(np.array([[4, 5]]))["memory"].shape[-1])
    assert shapes == [12, 6]
