"""Running step by step equals running the whole sequence."""

import keras
import numpy as np
import pytest

from rnn_topologies import layers

from . import cases

X = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
each_layer = pytest.mark.parametrize("name", cases.LAYERS)


@each_layer
def test_steps_equal_the_whole_sequence(name):
    layer, _ = cases.build(name, return_sequences=True, return_state=True)
    states = cases.states_for(name)
    expected, *expected_last = cases.numpy(layer(X, initial_state=states))
    for t in range(cases.TIME):
        output, states = layer.step(X[:, t], states)
        np.testing.assert_allclose(cases.numpy(output), expected[:, t], **cases.TOLERANCE)
    for state, value in zip(states, expected_last, strict=True):
        np.testing.assert_allclose(cases.numpy(state), value, **cases.TOLERANCE)


def deep():
    cells = [layers.LSTMCell(7), layers.Residual(layers.Zoneout(layers.GRUCell(7), 0.2))]
    return layers.RNN(
        layers.TrainableInitialState(layers.StackedCells(cells)), return_sequences=True
    )


@pytest.mark.parametrize("make", [deep, lambda: layers.RNN([keras.layers.GRUCell(4)])])
def test_a_stream_continues_from_its_last_state(make):
    layer = make()
    layer.return_sequences = True
    x = X.astype("float32")
    layer.build(x.shape)
    cases.randomize(layer)
    expected = cases.numpy(layer(x))
    live = layer.stream(cases.BATCH)
    for t in range(cases.TIME):
        np.testing.assert_allclose(cases.numpy(live(x[:, t])), expected[:, t], rtol=1e-5, atol=1e-6)
    live.reset(rows=[True, False, True, False])
    again = cases.numpy(live(x[:, 0]))
    np.testing.assert_allclose(again[::2], expected[::2, 0], rtol=1e-5, atol=1e-6)
    assert np.abs(again[1::2] - expected[1::2, 0]).max() > 1e-3
    live.reset()
    np.testing.assert_allclose(cases.numpy(live(x[:, 0])), expected[:, 0], rtol=1e-5, atol=1e-6)


def test_a_compiled_step_uses_new_weights():
    layer, weights = cases.build("gru")
    states = cases.states_for("gru")
    layer.step(X[:, 0], states)
    layer.set_weights([2 * weight for weight in weights])
    expected = cases.numpy(layer(X[:, :1], initial_state=states))
    np.testing.assert_allclose(
        cases.numpy(layer.step(X[:, 0], states)[0]), expected, **cases.TOLERANCE
    )


@pytest.mark.skipif(cases.BACKEND == "torch", reason="PyTorch compiles nothing here")
def test_a_step_is_compiled_once(monkeypatch):
    traced = []
    original = layers.GRUCell.values

    def values(self, *args, **settings):
        traced.append(1)
        return original(self, *args, **settings)

    monkeypatch.setattr(layers.GRUCell, "values", values)
    layer, _ = cases.build("gru")
    states = None
    for t in range(cases.TIME):
        _, states = layer.step(X[:, t], states)
    assert len(traced) == 1


def test_layers_that_need_the_whole_sequence_are_refused():
    with pytest.raises(ValueError, match="starts from the last step"):
        layers.GRU(3, go_backwards=True).step(X[:, 0])
    with pytest.raises(ValueError, match=r"one time step, \(batch, features\)"):
        layers.GRU(3).step(X)
    with pytest.raises(ValueError, match="cannot run step by step"):
        layers.Bidirectional(layers.GRU(3)).step(X[:, 0])


def test_a_stream_of_another_batch_size_or_direction_is_refused():
    layer = layers.GRU(4)
    with pytest.raises(ValueError, match="has 1 sequences, got inputs for 2"):
        layer.stream()(np.ones((2, 3), "float32"))
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        layer.stream(0)
    with pytest.raises(ValueError, match="has `go_backwards=True`"):
        layers.GRU(4, go_backwards=True).stream()
    with pytest.raises(ValueError, match="Bidirectional cannot run step by step"):
        layers.Bidirectional(layer).stream()
