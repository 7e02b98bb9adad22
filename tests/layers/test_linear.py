"""Cells that are linear in their state: the parallel scan equals the loop."""

import keras
import numpy as np
import pytest

from rnn_topologies import layers
from rnn_topologies.layers.dispatch import plan
from rnn_topologies.layers.dispatch.execution import execute

from . import cases, reference

each_cell = pytest.mark.parametrize("name", ["min_gru", "min_lstm"])
# Less than a block, whole blocks, one step more or less, and several levels of blocks.
LENGTHS = [1, 2, 15, 16, 17, 255, 256, 257, 700]


def in_parallel(layer_class):
    """Returns a subclass that runs in parallel even where a loop is faster."""

    class InParallel(layer_class):
        def inner_loop(self, sequences, initial_state, mask, training=False):
            return execute(plan.PARALLEL, self, sequences, initial_state, mask, training)

    return InParallel


@each_cell
@pytest.mark.parametrize("mask", [None, *cases.MASKS])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_masks_have_the_same_effect_in_parallel_as_in_a_loop(name, mask, go_backwards):
    settings = {"return_sequences": True, "return_state": True, "go_backwards": go_backwards}
    layer = in_parallel(cases.LAYERS[name][0])(cases.UNITS, dtype=cases.FLOAT, **settings)
    x = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
    layer.build(x.shape)
    weights, states = cases.randomize(layer), cases.states_for(name)
    valid = None if mask is None else np.array(cases.MASKS[mask], bool)
    outputs, last = cases.numpy(layer(x, initial_state=states, mask=valid))
    step = reference.STEPS[name]
    expected, (expected_last,) = reference.sequence(step, x, states, weights, valid, go_backwards)
    np.testing.assert_allclose(outputs, expected, **cases.TOLERANCE)
    np.testing.assert_allclose(last, expected_last, **cases.TOLERANCE)


def loop_over_steps(keep, add, state):
    states = []
    for t in range(keep.shape[1]):
        state = keep[:, t] * state + add[:, t]
        states.append(state)
    return np.stack(states, axis=1)


@pytest.mark.parametrize("time", LENGTHS)
def test_the_parallel_scan_equals_a_loop(time):
    keep = np.random.default_rng(time).random((2, time, 3)).astype(cases.FLOAT)
    add, first = cases.random(2, time, 3), cases.random(2, 3, seed=1)
    actual = cases.numpy(layers.linear_recurrence(keep, add, first))
    np.testing.assert_allclose(actual, loop_over_steps(keep, add, first), **cases.TOLERANCE)
    actual = cases.numpy(layers.linear_recurrence(keep, add))
    np.testing.assert_allclose(actual, loop_over_steps(keep, add, 0 * first), **cases.TOLERANCE)


@pytest.mark.skipif(cases.BACKEND != "tensorflow", reason="only TensorFlow has unknown lengths")
@pytest.mark.parametrize("time", [*LENGTHS, 5000])
def test_the_parallel_scan_runs_on_an_unknown_length(time):
    import tensorflow as tf

    spec = tf.TensorSpec((None, None, 3), cases.FLOAT)
    recurrence = tf.function(layers.linear_recurrence, input_signature=[spec, spec])
    keep = np.random.default_rng(time).random((2, time, 3)).astype(cases.FLOAT)
    add = cases.random(2, time, 3)
    expected = loop_over_steps(keep, add, np.zeros((2, 3)))
    np.testing.assert_allclose(recurrence(keep, add).numpy(), expected, **cases.TOLERANCE)


@each_cell
@pytest.mark.parametrize("time", [40, 300, pytest.param(4096, marks=pytest.mark.slow)])
def test_long_sequences_give_the_same_numbers_and_gradients_in_float32(name, time):
    """With gates that are wide open and tightly shut: products of hundreds of them vanish."""
    parallel = in_parallel(cases.LAYERS[name][0])(cases.UNITS, return_sequences=True)
    parallel.build((2, time, cases.FEATURES))
    weights = [w * 6 for w in cases.randomize(parallel)]
    parallel.set_weights(weights)
    x = np.random.default_rng(1).normal(size=(2, time, cases.FEATURES)).astype("float32")
    weighting = np.random.default_rng(2).normal(size=(2, time, cases.UNITS)).astype("float32")
    weighting = keras.ops.convert_to_tensor(weighting)

    def loss(layer):
        return lambda tensors: keras.ops.mean(layer(tensors[0]) * weighting)

    actual = cases.numpy(parallel(x))
    zeros = [np.zeros((2, cases.UNITS))]
    weights = [weight.astype("float64") for weight in weights]
    expected, _ = reference.sequence(reference.STEPS[name], x.astype("float64"), zeros, weights)
    scale = np.abs(expected).max()
    assert np.abs(actual - expected).max() < 2e-6 * scale  # float32 has 24 bits: 6e-8
    looped = keras.layers.RNN(parallel.cell, return_sequences=True)
    by_steps = cases.numpy(looped(x))
    assert np.abs(actual - by_steps).max() < 2e-6 * scale
    if time == 40 or cases.BACKEND != "torch":  # where a Python loop takes too long
        pairs = [cases.gradients(kind, loss(kind), [x]) for kind in (parallel, looped)]
        for ours, theirs in zip(*pairs, strict=True):
            assert np.isfinite(ours).all()
            assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


def test_gates_that_are_both_zero_do_not_give_nan():
    layer = layers.MinLSTM(1, return_sequences=True)
    layer.build((1, 3, 1))
    layer.set_weights([np.array([[-200.0, -199.0, 1.0]]), np.zeros(3)])
    x = np.ones((1, 20, 1), "float32")
    states = cases.numpy(layer(x))[0, :, 0]
    # i / (f + i) = e / (1 + e), though both gates are 0 in float32.
    share = np.e / (1 + np.e)
    np.testing.assert_allclose(states, 1 - (1 - share) ** np.arange(1, 21), rtol=1e-5)


def test_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="must have the same shape"):
        layers.linear_recurrence(np.ones((2, 3, 4)), np.ones((2, 3, 5)))


def test_a_custom_linear_cell_runs_in_parallel():
    class Leaky(layers.LinearCell):
        """Forgets at a fixed rate."""

        gates = ("h",)

        def coefficients(self, inputs, training=False):
            x = self.activation(self.input_product(inputs, training) + self.bias)
            return {"n": x, "keep": keras.ops.full_like(x, 0.9), "add": 0.1 * x}

    layer = layers.RNN(Leaky(4, activation="linear"), return_sequences=True)
    x = np.random.default_rng(0).normal(size=(2, 50, 3)).astype("float32")
    chosen = "loop" if cases.BACKEND == "jax" else "parallel over time"
    assert layer.explain(x.shape).method == chosen
    single = keras.layers.RNN(layer.cell, return_sequences=True)
    np.testing.assert_allclose(cases.numpy(layer(x)), cases.numpy(single(x)), rtol=1e-5, atol=1e-6)
