"""Masks that `keras.layers.Masking` and embeddings attach to their outputs."""

import keras
import numpy as np
import pytest

from rnn_topologies import layers

from . import cases

PADDING = 9.0
MASK = np.array(cases.MASKS["gaps"], bool)
X = cases.random(cases.BATCH, cases.TIME, cases.FEATURES).astype("float32")
PADDED = np.where(MASK[..., None], X, np.float32(PADDING))
LAYERS = {
    "lstm": lambda: layers.LSTM(cases.UNITS, return_sequences=True),
    "min_gru": lambda: layers.MinGRU(cases.UNITS, return_sequences=True),
    "bidirectional": lambda: layers.Bidirectional(layers.GRU(cases.UNITS, return_sequences=True)),
    "bidirectional keras": lambda: layers.Bidirectional(keras.layers.SimpleRNN(cases.UNITS)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_implicit_mask_applies_together_with_an_initial_state(name):
    layer = LAYERS[name]()
    layer.build(X.shape)
    shape = cases.BATCH, cases.UNITS
    count = 1 if name == "min_gru" else 2
    states = [cases.random(*shape, seed=k).astype("float32") for k in range(count)]
    expected = layer(X, initial_state=states, mask=MASK)
    masked = keras.layers.Masking(PADDING)(PADDED)
    np.testing.assert_allclose(
        *cases.numpy([layer(masked, initial_state=states), expected]), rtol=1e-5, atol=1e-6
    )
    inputs = keras.Input(X.shape[1:])
    state_inputs = [keras.Input((cases.UNITS,)) for _ in states]
    outputs = layer(keras.layers.Masking(PADDING)(inputs), initial_state=state_inputs)
    model = keras.Model([inputs, *state_inputs], outputs)
    np.testing.assert_allclose(
        model.predict([PADDED, *states], verbose=0), cases.numpy(expected), rtol=1e-5, atol=1e-6
    )


def test_an_explicit_mask_replaces_the_implicit_one():
    layer = layers.GRU(cases.UNITS, return_sequences=True)
    masked = keras.layers.Masking(PADDING)(PADDED)
    every_step = np.ones_like(MASK)
    np.testing.assert_allclose(
        *cases.numpy([layer(masked, mask=every_step), layer(cases.numpy(masked))]), rtol=1e-6
    )


def test_attention_applies_the_implicit_mask_of_its_memory():
    attention = layers.DotAttention()
    query = cases.random(cases.BATCH, 1, cases.FEATURES).astype("float32")
    memory = keras.layers.Masking(PADDING)(PADDED)
    _, weights = cases.numpy(attention(query, memory))
    np.testing.assert_array_equal(weights[:, 0] > 0, MASK)
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-5)
