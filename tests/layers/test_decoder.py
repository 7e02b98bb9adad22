import itertools

import keras
import numpy as np
import pytest

from rnn_topologies import layers

from . import cases

VOCABULARY, PAD, START, END = 6, 0, 1, 2
BATCH, SOURCE, LENGTH = 3, 5, 4
MEMORY = cases.random(BATCH, SOURCE, 7).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1], [0, 0, 0, 1, 1]], bool)
ATTENTIONS = {
    "none": lambda: None,
    "dot": lambda: layers.DotAttention(bilinear=True),
    "additive": lambda: layers.AdditiveAttention(4),
}
# One state, two states, two states of different widths, and a cell that can run in parallel.
CELLS = ("simple_rnn", "lstm", "gru", "lstmp", "min_gru")
each_cell = pytest.mark.parametrize("cell", CELLS)
each_attention = pytest.mark.parametrize("attention", ATTENTIONS)
# Every cell with one attention, and one cell with the others.
CELLS_AND_ATTENTIONS = [(cell, "dot") for cell in CELLS]
CELLS_AND_ATTENTIONS += [("lstm", "none"), ("lstm", "additive")]
each_cell_or_attention = pytest.mark.parametrize(("cell", "attention"), CELLS_AND_ATTENTIONS)


def build(cell="gru", attention="dot", depth=1, scale=2.0, **settings):
    """Returns a decoder with random weights and the keyword arguments to start it with."""
    decoder = layers.Decoder(
        [layers.CELLS[cell].cell(5) for _ in range(depth)],
        vocabulary_size=VOCABULARY,
        embedding_size=4,
        start_id=START,
        end_id=END,
        pad_id=PAD,
        attention=ATTENTIONS[attention](),
        **settings,
    )
    start = {
        "initial_state": [
            cases.random(BATCH, size, seed=3 + index).astype("float32")
            for index, size in enumerate(decoder.state_sizes)
        ]
    }
    if attention != "none":
        start |= {"memory": MEMORY, "memory_mask": MASK}
    decoder(np.ones((BATCH, 2), "int32"), **start)
    generator = np.random.default_rng(5)
    weights = [generator.normal(size=w.shape) * scale / 2 for w in decoder.get_weights()]
    decoder.set_weights([weight.astype("float32") for weight in weights])
    return decoder, start


def tokens(length=LENGTH, seed=0):
    return np.random.default_rng(seed).integers(0, VOCABULARY, (BATCH, length)).astype("int32")


def log_softmax(logits):
    logits = np.array(logits, "float64")
    logits[..., [PAD, START]] = -1e9  # never generated
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def row_of(start, row, count=1):
    """Returns the arguments to start a decoder with, for `count` copies of one row."""

    def copies(array):
        return np.repeat(array[row : row + 1], count, axis=0)

    return {
        name: [copies(state) for state in value] if isinstance(value, list) else copies(value)
        for name, value in start.items()
    }


def following(decoder, start, row, prefixes):
    """Returns log p of every next token after each prefix; all have the same length."""
    previous = np.array([[START, *prefix] for prefix in prefixes], "int32")
    return log_softmax(cases.numpy(decoder(previous, **row_of(start, row, len(prefixes)))))


def probabilities(decoder, start, row, sequences):
    """Returns log p of each sequence, by teacher forcing."""
    longest = max(map(len, sequences))
    padded = [[*sequence, *[PAD] * (longest - len(sequence))] for sequence in sequences]
    log_p = following(decoder, start, row, [sequence[:-1] for sequence in padded])
    return [
        sum(log_p[index, t, token] for t, token in enumerate(sequence))
        for index, sequence in enumerate(sequences)
    ]


def endings(length):
    """Yields every sequence of up to `length` tokens that ends."""
    words = [token for token in range(VOCABULARY) if token not in (PAD, START, END)]
    for inner in range(length):
        for sequence in itertools.product(words, repeat=inner):
            yield [*sequence, END]


@pytest.mark.parametrize(
    ("cell", "attention", "depth", "tie_embeddings"),
    [
        *((*pair, 1, False) for pair in itertools.product(CELLS, ATTENTIONS)),
        *((cell, "dot", 2, True) for cell in CELLS),
        *(("lstm", "none", 2, False), ("lstm", "additive", 1, True)),
    ],
)
def test_steps_return_the_logits_of_teacher_forcing(cell, attention, depth, tie_embeddings):
    decoder, start = build(cell, attention, depth, tie_embeddings=tie_embeddings)
    previous = tokens()
    whole, weights = decoder(previous, return_weights=True, **start)
    assert (weights is None) == (attention == "none")
    states = start["initial_state"]
    memory = decoder.prepare(start["memory"], MASK) if attention != "none" else None
    for t in range(LENGTH):
        logits, states, weight = decoder.step(previous[:, t], states, memory)
        np.testing.assert_allclose(
            cases.numpy(logits), cases.numpy(whole)[:, t], rtol=1e-4, atol=1e-5
        )
        if weights is not None:
            np.testing.assert_allclose(
                cases.numpy(weight), cases.numpy(weights)[:, t], rtol=1e-4, atol=1e-6
            )


@each_attention
def test_logits_do_not_depend_on_later_tokens(attention):
    decoder, start = build(attention=attention)
    previous, other = tokens(), tokens()
    other[:, 2:] = PAD
    np.testing.assert_array_equal(
        cases.numpy(decoder(previous, **start))[:, :2], cases.numpy(decoder(other, **start))[:, :2]
    )


@each_cell_or_attention
def test_greedy_equals_a_python_loop_of_steps(cell, attention):
    decoder, start = build(cell, attention)
    decoded = decoder.greedy(max_length=7, **start)
    for row in range(BATCH):
        single, sequence, score = row_of(start, row), [], 0.0
        states, token = single["initial_state"], START
        for _ in range(7):
            logits, states, _ = decoder.step(
                np.array([token]), states, single.get("memory"), single.get("memory_mask")
            )
            log_p = log_softmax(cases.numpy(logits))[0]
            token = int(log_p.argmax())
            sequence.append(token)
            score += log_p[token]
            if token == END:
                break
        expected = sequence + [PAD] * (7 - len(sequence))
        assert cases.numpy(decoded.tokens)[row].tolist() == expected
        np.testing.assert_allclose(cases.numpy(decoded.scores)[row], score, rtol=1e-4)


@pytest.mark.parametrize(
    ("cell", "attention", "length_penalty"),
    [*((cell, "dot", 1.0) for cell in CELLS), ("lstm", "none", 0.0), ("lstm", "dot", 0.0)],
)
def test_a_beam_as_wide_as_the_space_finds_the_best_of_all_sequences(
    cell, attention, length_penalty
):
    decoder, start = build(cell, attention)
    beams = 32  # more than the 3 ** 3 prefixes that can be open
    actual = decoder.beam_search(
        max_length=LENGTH, beam_size=beams, length_penalty=length_penalty, **start
    )
    for row in range(BATCH):
        sequences = list(endings(LENGTH))
        scored = sorted(
            (
                (log_p / ((5 + len(sequence)) / 6) ** length_penalty, sequence)
                for log_p, sequence in zip(
                    probabilities(decoder, start, row, sequences), sequences, strict=True
                )
            ),
            reverse=True,
        )
        for rank in range(5):
            score, sequence = scored[rank]
            assert cases.numpy(actual.tokens)[row, rank].tolist() == sequence + [PAD] * (
                LENGTH - len(sequence)
            )
            np.testing.assert_allclose(cases.numpy(actual.scores)[row, rank], score, rtol=1e-4)


def beam_by_hand(decoder, start, row, beam_size, length_penalty, max_length):
    """Beam search over Python lists that scores every prefix again by teacher forcing."""
    opened, finished = [(0.0, [])], []
    for length in range(1, max_length + 1):
        log_p = following(decoder, start, row, [prefix for _, prefix in opened])[:, -1]
        grown = [
            (score + log_p[index, token], [*prefix, token])
            for index, (score, prefix) in enumerate(opened)
            for token in range(VOCABULARY)
        ]
        grown = sorted(grown, reverse=True)[: 2 * beam_size]
        penalty = ((5 + length) / 6) ** length_penalty
        finished += [(log_p / penalty, seq) for log_p, seq in grown if seq[-1] == END]
        finished = sorted(finished, reverse=True)[:beam_size]
        opened = [item for item in grown if item[1][-1] != END][:beam_size]
    return finished


@pytest.mark.parametrize(("cell", "beam_size"), [*((cell, 3) for cell in CELLS), ("lstm", 2)])
def test_a_narrow_beam_equals_beam_search_by_hand(cell, beam_size):
    decoder, start = build(cell, "additive")
    actual = decoder.beam_search(max_length=6, beam_size=beam_size, length_penalty=0.8, **start)
    for row in range(BATCH):
        by_hand = beam_by_hand(decoder, start, row, beam_size, 0.8, 6)
        assert by_hand
        for rank, (score, sequence) in enumerate(by_hand):
            got = cases.numpy(actual.tokens)[row, rank].tolist()
            assert got == sequence + [PAD] * (6 - len(sequence))
            np.testing.assert_allclose(cases.numpy(actual.scores)[row, rank], score, rtol=1e-4)


def test_a_beam_of_one_is_at_least_as_good_as_greedy_decoding():
    decoder, start = build()
    greedy = cases.numpy(decoder.greedy(max_length=12, **start).tokens)
    beam = cases.numpy(
        decoder.beam_search(max_length=12, beam_size=1, length_penalty=0, **start).tokens
    )
    ended = (greedy == END).any(1)
    assert ended.any()
    # With one beam, a sequence whose end is second best is kept while the best one continues, so
    # beam search never does worse.
    for row in np.flatnonzero(ended):
        by_beam, by_greed = probabilities(
            decoder, start, row, [trimmed(beam[row, 0]), trimmed(greedy[row])]
        )
        assert by_beam >= by_greed - 1e-5


def trimmed(sequence):
    sequence = list(map(int, sequence))
    return sequence[: sequence.index(END) + 1] if END in sequence else sequence


def test_unfinished_sequences_come_last():
    decoder, start = build()
    weights = decoder.get_weights()
    bias = next(i for i, w in enumerate(decoder.weights) if w.name == "output_bias")
    weights[bias][END] = -20.0
    decoder.set_weights(weights)
    actual = cases.numpy(decoder.beam_search(max_length=3, beam_size=4, **start))
    ended = (actual.tokens == END).any(-1)
    assert not ended.all()
    assert (np.diff(ended.astype(int), axis=1) <= 0).all()
    assert (actual.tokens != PAD)[~ended].all()
    assert np.isfinite(actual.scores).all()
    assert (actual.scores > -1e3).all()


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (1.0, 2)])
def test_samples_follow_the_distribution_of_the_model(temperature, top_k):
    decoder, start = build(scale=1.0)
    count = 3000
    single, copies = row_of(start, 0), row_of(start, 0, count)
    decoded = decoder.sample(max_length=1, temperature=temperature, top_k=top_k, seed=4, **copies)
    fractions = np.bincount(cases.numpy(decoded.tokens)[:, 0], minlength=VOCABULARY) / count
    logits, *_ = decoder.step(
        np.array([START]), single["initial_state"], single["memory"], single["memory_mask"]
    )
    expected = np.exp(log_softmax(cases.numpy(logits) / temperature))[0]
    if top_k is not None:
        expected[np.argsort(expected)[:-top_k]] = 0
        expected /= expected.sum()
    # Three standard deviations of a fraction of 3000 samples are below 0.028.
    np.testing.assert_allclose(fractions, expected, atol=0.03)
    assert ((fractions > 0) <= (expected > 0)).all()


def test_the_same_seed_samples_the_same_tokens():
    decoder, start = build(scale=1.0)
    samples = [
        cases.numpy(decoder.sample(max_length=8, seed=seed, **start).tokens) for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(samples[0], samples[1])
    assert (samples[0] != samples[2]).any()


class SearchModel(keras.Model):
    """A model whose `predict` compiles the search of a decoder."""

    def __init__(self, decoder, method, **settings):
        super().__init__()
        self.decoder, self.method, self.settings = decoder, method, settings

    def call(self, inputs):
        states, memory, mask = inputs
        return getattr(self.decoder, self.method)(
            initial_state=[states], memory=memory, memory_mask=mask, **self.settings
        ).tokens


@pytest.mark.parametrize(
    ("method", "settings", "batch_size"),
    [
        ("greedy", {}, 2),
        ("beam_search", {"beam_size": 3}, 2),
        ("sample", {"seed": 1, "top_k": 3, "temperature": 0.7}, BATCH),  # one seed per batch
    ],
)
def test_a_compiled_search_returns_what_an_eager_one_returns(method, settings, batch_size):
    decoder, start = build()
    settings = {"max_length": 6, **settings}
    eager = getattr(decoder, method)(**start, **settings)
    model = SearchModel(decoder, method, **settings)
    inputs = [start["initial_state"][0], MEMORY, MASK]
    np.testing.assert_array_equal(
        model.predict(inputs, verbose=0, batch_size=batch_size), cases.numpy(eager.tokens)
    )


@each_cell_or_attention
def test_a_loaded_model_decodes_like_the_saved_one(cell, attention, tmp_path):
    decoder = layers.Decoder(
        layers.CELLS[cell].cell(5, dropout=0.1),
        vocabulary_size=VOCABULARY,
        embedding_size=4,
        start_id=START,
        end_id=END,
        attention=ATTENTIONS[attention](),
        name="decoder",
    )
    previous, vector = keras.Input((None,), dtype="int32"), keras.Input((3,))
    start = {"initial_state": layers.InitialState(decoder.state_sizes)(vector)}
    inputs = [previous, vector]
    if attention != "none":
        memory, mask = keras.Input((None, 7)), keras.Input((None,), dtype="bool")
        inputs += [memory, mask]
        start |= {"memory": memory, "memory_mask": mask}
    model = keras.Model(inputs, decoder(previous, **start))
    cases.randomize(model)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    arrays = [tokens(), cases.random(BATCH, 3), MEMORY, MASK][: len(inputs)]
    np.testing.assert_array_equal(cases.numpy(model(arrays)), cases.numpy(again(arrays)))
    states = [cases.random(BATCH, size).astype("float32") for size in decoder.state_sizes]
    start = {"initial_state": states}
    start |= {"memory": MEMORY, "memory_mask": MASK} if attention != "none" else {}
    np.testing.assert_array_equal(
        cases.numpy(decoder.beam_search(max_length=5, **start).tokens),
        cases.numpy(again.get_layer("decoder").beam_search(max_length=5, **start).tokens),
    )


def test_teacher_forcing_learns_sentences_that_depend_on_the_memory():
    # Three memories, three sentences: only the attention and the states differ.
    sentences = np.array([[3, 4, END], [5, 3, END], [4, 4, END]])
    previous = np.concatenate([np.full((3, 1), START), sentences[:, :-1]], 1)
    decoder, start = build(scale=0.5)
    inputs = [keras.Input((None,), dtype="int32"), keras.Input((5,)), keras.Input((None, 7))]
    model = keras.Model(inputs, decoder(inputs[0], initial_state=[inputs[1]], memory=inputs[2]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss)
    arrays = [previous, start["initial_state"][0], MEMORY]
    model.fit(arrays, sentences, epochs=80, verbose=0)
    decoded = decoder.greedy(max_length=3, initial_state=[arrays[1]], memory=MEMORY)
    np.testing.assert_array_equal(cases.numpy(decoded.tokens), sentences)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end_id": START}, "must differ"),
        ({"end_id": VOCABULARY}, "`end_id` must be a token of the vocabulary, 0 to 5, got 6"),
        ({"cells": []}, "at least one cell"),
        ({"dropout": 1.0}, "`dropout` must be in"),
        ({"tie_embeddings": True, "readout_size": 9}, "`readout_size` is `embedding_size`"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {
        "cells": layers.GRUCell(4),
        "vocabulary_size": VOCABULARY,
        "embedding_size": 3,
        "start_id": START,
        "end_id": END,
    }
    with pytest.raises(ValueError, match=message):
        layers.Decoder(**{**arguments, **change})


def test_bad_calls_are_named():
    with_attention, start = build()
    without, start_without = build(attention="none")
    with pytest.raises(ValueError, match="needs `memory`"):
        with_attention(tokens(), initial_state=start["initial_state"])
    with pytest.raises(ValueError, match="has no attention"):
        without(tokens(), memory=MEMORY, **start_without)
    with pytest.raises(ValueError, match="must contain 1 states of sizes"):
        without(tokens(), initial_state=[MEMORY[:, 0]] * 2)
    with pytest.raises(ValueError, match="needs an `initial_state` to start from"):
        without.greedy(max_length=3)
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        with_attention.sample(max_length=3, temperature=0, **start)
    with pytest.raises(ValueError, match="`beam_size` must be a positive integer"):
        with_attention.beam_search(max_length=3, beam_size=0, **start)
    with pytest.raises(ValueError, match="`length_penalty` must be at least 0"):
        with_attention.beam_search(max_length=3, length_penalty=-1, **start)


@each_cell
def test_decoding_works_in_mixed_precision(cell):
    decoder = layers.Decoder(
        layers.CELLS[cell].cell(5, dtype="mixed_bfloat16"),
        vocabulary_size=VOCABULARY,
        embedding_size=4,
        start_id=START,
        end_id=END,
        attention=layers.AdditiveAttention(4, dtype="mixed_bfloat16"),
        dtype="mixed_bfloat16",
    )
    logits = decoder(tokens(), memory=MEMORY, memory_mask=MASK)
    assert keras.backend.standardize_dtype(logits.dtype) == "bfloat16"
    assert {keras.backend.standardize_dtype(w.dtype) for w in decoder.weights} == {"float32"}
    actual = decoder.beam_search(memory=MEMORY, memory_mask=MASK, max_length=4, beam_size=3)
    assert np.isfinite(cases.numpy(actual.scores)).all()


SIZES = {"vocabulary_size": 6, "embedding_size": 3, "start_id": 1, "end_id": 2}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": "dot"}, "`attention` must be a layer"),
        ({"attention": layers.DotAttention}, "`attention` must be a layer"),
        ({"readout_size": 0}, "`readout_size` must be a positive integer"),
        ({"start_id": 1.0}, "`start_id` must be a token"),
        ({"cells": layers.GRU(4)}, "RNN expects a cell"),
    ],
)
def test_arguments_of_another_type_are_refused(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        layers.Decoder(**{"cells": layers.GRUCell(4), **SIZES, **settings})


@pytest.mark.parametrize(
    ("tokens", "memory", "message"),
    [
        ([[1, 3], [1]], np.ones((2, 5, 4)), "ragged tokens, .* `pad_id`"),
        (np.ones((2, 3, 1), int), np.ones((2, 5, 4)), r"`tokens` of Decoder must be \(batch, time"),
        (np.ones((2, 3), int), np.ones((2, 4)), r"`memory` of Decoder must have shape"),
        (np.ones((2, 3), int), np.ones((2, 5, 3)), "got 4 and 3"),
    ],
)
def test_inputs_of_another_shape_are_refused(tokens, memory, message):
    decoder = layers.Decoder(layers.GRUCell(4), attention=layers.DotAttention(), **SIZES)
    decoder(np.ones((2, 3), int), memory=np.ones((2, 5, 4)))
    with pytest.raises(ValueError, match=message):
        decoder(tokens, memory=memory)
