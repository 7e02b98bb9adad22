import keras
import numpy as np
import pytest

from rnn_topologies import layers

from . import cases

QUERY, MEMORY = cases.random(2, 3, 5), cases.random(2, 4, 7, seed=1)
MASK = np.array([[True, False, True, True], [False, True, False, False]])
KINDS = {
    "dot": lambda: layers.DotAttention(dtype=cases.FLOAT),
    "scaled dot": lambda: layers.DotAttention(scale=True, dtype=cases.FLOAT),
    "bilinear": lambda: layers.DotAttention(bilinear=True, dtype=cases.FLOAT),
    "additive": lambda: layers.AdditiveAttention(6, dtype=cases.FLOAT),
}
each_kind = pytest.mark.parametrize("kind", KINDS)
# Weights are computed in float32 by design.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def memory_for(kind):
    return MEMORY[..., :5] if "dot" in kind else MEMORY


def reference(kind, weights, query, memory, mask):
    """Attends row by row, query by query, step by step of the memory."""
    contexts, shares = [], []
    for row, valid in zip(range(len(query)), mask, strict=True):
        for q in query[row]:
            scores = []
            for m in memory[row]:
                if kind == "additive":
                    query_kernel, memory_kernel, v = weights
                    scores.append(v @ np.tanh(q @ query_kernel + m @ memory_kernel))
                else:
                    key = m @ weights[0] if kind == "bilinear" else m
                    scores.append(q @ key / (len(q) ** 0.5 if kind == "scaled dot" else 1))
            powers = np.exp(scores) * valid
            shares.append(powers / powers.sum() if valid.any() else powers)
            contexts.append(shares[-1] @ memory[row])
    shape = (*query.shape[:2], -1)
    return np.reshape(contexts, shape), np.reshape(shares, shape)


@each_kind
@pytest.mark.parametrize("masked", [False, True])
def test_context_and_weights_equal_the_equations(kind, masked):
    attention, memory = KINDS[kind](), memory_for(kind)
    attention.build(QUERY.shape, memory.shape)
    weights = cases.randomize(attention)
    mask = MASK if masked else np.ones_like(MASK)
    actual = cases.numpy(attention(QUERY, memory, mask=mask if masked else None))
    for value, expected in zip(actual, reference(kind, weights, QUERY, memory, mask), strict=True):
        np.testing.assert_allclose(value, expected, **TOLERANCE)
    np.testing.assert_allclose(actual[1].sum(-1), 1, rtol=1e-6)
    assert (actual[1][:, :, :][~np.broadcast_to(mask[:, None], actual[1].shape)] == 0).all()


@each_kind
def test_one_query_and_precomputed_keys_give_the_same(kind):
    attention, memory = KINDS[kind](), memory_for(kind)
    attention.build(QUERY.shape, memory.shape)
    cases.randomize(attention)
    contexts, weights = cases.numpy(attention(QUERY, memory, mask=MASK))
    keys = attention.keys(keras.ops.convert_to_tensor(memory))
    context, weight = cases.numpy(attention(QUERY[:, 1], memory, mask=MASK, keys=keys))
    np.testing.assert_allclose(context, contexts[:, 1], **TOLERANCE)
    np.testing.assert_allclose(weight, weights[:, 1], **TOLERANCE)


@each_kind
def test_a_memory_without_a_valid_step_gives_zero_and_no_nan(kind):
    attention, memory = KINDS[kind](), memory_for(kind)
    nothing = np.zeros_like(MASK)
    context, weights = cases.numpy(attention(QUERY, memory, mask=nothing))
    np.testing.assert_array_equal(context, 0)
    np.testing.assert_array_equal(weights, 0)


@each_kind
def test_attention_is_saved_and_loaded_in_a_model(kind, tmp_path):
    query, memory = keras.Input((None, 5)), keras.Input((None, memory_for(kind).shape[-1]))
    mask = keras.Input((None,), dtype="bool")
    attention = KINDS[kind]()
    model = keras.Model([query, memory, mask], attention(query, memory, mask=mask))
    cases.randomize(attention)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [QUERY, memory_for(kind), MASK]
    for output, loaded_output in zip(
        *map(cases.numpy, (model(inputs), again(inputs))), strict=True
    ):
        np.testing.assert_array_equal(output, loaded_output)


def test_unequal_widths_are_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="got 5 and 7. Pass `bilinear=True`"):
        layers.DotAttention()(QUERY, MEMORY)
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        layers.AdditiveAttention(0)


ATTENTIONS = [
    (lambda: layers.DotAttention(), "query and a memory with the same number .* got 3 and 4"),
    (lambda: layers.DotAttention(bilinear=True), "got a memory with 4 features, .* are for 3"),
    (lambda: layers.AdditiveAttention(5), "got a memory with 4 features, .* are for 3"),
]


@pytest.mark.parametrize(("build", "message"), ATTENTIONS)
def test_another_number_of_features_is_named(build, message):
    attention = build()
    attention(np.ones((2, 3), "float32"), np.ones((2, 5, 3), "float32"))
    with pytest.raises(ValueError, match=message):
        attention(np.ones((2, 3), "float32"), np.ones((2, 5, 4), "float32"))
    with pytest.raises(ValueError, match="features|got 4 and 3"):
        attention(np.ones((2, 4), "float32"), np.ones((2, 5, 3), "float32"))


@pytest.mark.parametrize("memory_rows", [1, 3])
def test_a_memory_of_another_batch_size_is_refused(memory_rows):
    memory = np.ones((memory_rows, 4, 3), "float32")
    with pytest.raises(ValueError, match=f"memory has batch size {memory_rows}, the queries 2"):
        layers.DotAttention()(np.ones((2, 3), "float32"), memory)


@pytest.mark.parametrize("shape", [(2, 3), (1, 4), (2, 4, 1)])
def test_a_mask_of_another_shape_than_the_memory_is_refused(shape):
    attention, memory = layers.DotAttention(), np.ones((2, 4, 3), "float32")
    with pytest.raises(ValueError, match="memory's shape"):
        attention(np.ones((2, 3), "float32"), memory, mask=np.ones(shape, bool))
