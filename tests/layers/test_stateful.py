"""Stateful layers keep their states in every dtype, and in compiled models."""

import keras
import numpy as np
import pytest

from rnn_topologies import layers

from . import cases

X = cases.random(cases.BATCH, cases.TIME, cases.FEATURES).astype("float32")
Y = np.ones((cases.BATCH, 1), "float32")
LAYERS = {
    "lstm": layers.LSTM,
    "min_gru": layers.MinGRU,
    "stack": lambda units, **settings: layers.RNN(
        [layers.GRUCell(units), layers.LSTMCell(units)], **settings
    ),
    "bidirectional": lambda units, **settings: layers.Bidirectional(layers.GRU(units, **settings)),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def recurrent(layer):
    bidirectional = isinstance(layer, layers.Bidirectional)
    return (layer.forward_layer, layer.backward_layer) if bidirectional else (layer,)


def states_of(layer):
    states = [keras.tree.flatten(one_way.states) for one_way in recurrent(layer)]
    return [cases.numpy(state) for one_way in states for state in one_way]


def as_float32(tensor):
    return cases.numpy(keras.ops.cast(keras.ops.stop_gradient(tensor), "float32"))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@each_layer
def test_states_are_those_after_the_last_batch(name, dtype):
    with_dtype = {} if name == "stack" else {"dtype": dtype}
    layer = LAYERS[name](cases.UNITS, stateful=True, return_state=True, **with_dtype)
    layer.build(X.shape)
    cases.randomize(layer)
    output, *states = layer(X)
    for variable, state in zip(states_of(layer), states, strict=True):
        np.testing.assert_array_equal(variable, as_float32(state))
    again = layer(X)[0]
    expected = layer(X, initial_state=states)[0]
    arrays = [as_float32(value) for value in (again, expected, output)]
    np.testing.assert_allclose(*arrays[:2], rtol=1e-2, atol=1e-3)
    assert np.abs(arrays[0] - arrays[2]).max() > 1e-2


@each_layer
def test_compiled_models_keep_the_states(name):
    layer = LAYERS[name](cases.UNITS, stateful=True)
    inputs = keras.Input(batch_shape=X.shape)
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    batch = {"batch_size": cases.BATCH, "verbose": 0}
    first, second = (model.predict(X, **batch) for _ in range(2))
    assert np.abs(first - second).max() > 1e-4
    after_two = states_of(layer)
    for one_way in recurrent(layer):
        one_way.reset_state()
    model.fit(X, Y, epochs=2, shuffle=False, **batch)
    for state, expected in zip(states_of(layer), after_two, strict=True):
        np.testing.assert_allclose(state, expected, rtol=1e-4, atol=1e-5)
    third = model.predict(X, **batch)
    model.evaluate(X, Y, **batch)
    assert np.abs(third - second).max() > 0


@each_layer
def test_states_are_not_weights(name):
    layer, other = (LAYERS[name](cases.UNITS, stateful=stateful) for stateful in (True, False))
    for one in (layer, other):
        one.build(X.shape)
    assert [w.shape for w in layer.get_weights()] == [w.shape for w in other.get_weights()]
