import itertools

import keras
import numpy as np
import pytest

from rnn_topologies import layers

from . import cases, reference

CELLS = {name: (layer.cell_class, own) for name, (layer, own) in cases.LAYERS.items()}


def build_cell(name, **settings):
    kind, own = CELLS[name]
    cell = kind(cases.UNITS, dtype=cases.FLOAT, **own, **settings)
    cell.build((cases.BATCH, cases.FEATURES))
    return cell, cases.randomize(cell)


@pytest.mark.parametrize("name", CELLS)
def test_a_step_equals_the_equations_in_float64(name):
    cell, weights = build_cell(name)
    x, states = cases.random(cases.BATCH, cases.FEATURES), cases.states_for(name)
    output, new_states = cases.numpy(cell(x, states))
    expected = reference.STEPS[name](x, states, weights)
    np.testing.assert_allclose(output, expected[0], **cases.TOLERANCE)
    for state, value in zip(new_states, expected, strict=True):
        np.testing.assert_allclose(state, value, **cases.TOLERANCE)


def test_every_wrong_order_of_the_lstm_gates_is_noticed():
    cell, weights = build_cell("lstm")
    x, states = cases.random(cases.BATCH, cases.FEATURES), cases.states_for("lstm")
    output, _ = cases.numpy(cell(x, states))
    orders = ["".join(order) for order in itertools.permutations("ifco")]
    same = [o for o in orders if np.allclose(output, reference.lstm(x, states, weights, o)[0])]
    assert same == ["ifco"]


@pytest.mark.parametrize("name", ["gru", "gru_reset_before"])
def test_every_wrong_order_of_the_gru_gates_is_noticed(name):
    cell, weights = build_cell(name)
    x, states = cases.random(cases.BATCH, cases.FEATURES), cases.states_for(name)
    output, _ = cases.numpy(cell(x, states))
    orders = ["".join(order) for order in itertools.permutations("zrh")]
    step = reference.STEPS[name]
    assert [o for o in orders if np.allclose(output, step(x, states, weights, o)[0])] == ["zrh"]


@pytest.mark.parametrize("name", cases.KERAS)
def test_dropout_masks_enter_where_the_equations_say(name):
    cell, weights = build_cell(name, dropout=0.4, recurrent_dropout=0.3, seed=7)
    x, states = cases.random(cases.BATCH, cases.FEATURES), cases.states_for(name)
    with cell.sequence(x, states, training=True):
        masks = cases.numpy(cell._dropout_masks)
        output, _ = cases.numpy(cell(x, states, training=True))
    gates = len(cell.gates)
    assert len(masks["dropout"]) == len(masks["recurrent_dropout"]) == gates
    # One gate at a time: with that gate's masked inputs, the whole step gives that gate's block.
    kernel, recurrent_kernel, bias = (np.asarray(w, "float64") for w in weights)
    blocks = []
    for gate in range(gates):
        columns = slice(gate * cases.UNITS, (gate + 1) * cases.UNITS)
        blocks.append((masks["dropout"][gate] * x) @ kernel[:, columns])
    entering = np.concatenate(blocks, axis=-1)
    kept = [states[0] * mask for mask in masks["recurrent_dropout"]]
    expected = masked_step(name, entering, kept, states, recurrent_kernel, bias)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=2e-6)


def masked_step(name, entering, kept, states, recurrent_kernel, bias):
    """Returns the new h, given x W of all gates and the masked h for each gate."""
    columns = [slice(g * cases.UNITS, (g + 1) * cases.UNITS) for g in range(len(kept))]
    u = [recurrent_kernel[:, c] for c in columns]
    x = [entering[:, c] for c in columns]
    if name == "simple_rnn":
        return np.tanh(x[0] + kept[0] @ u[0] + bias)
    if name == "lstm":
        z = [a + h @ w + bias[c] for a, h, w, c in zip(x, kept, u, columns, strict=True)]
        i, f, g, o = reference.sigmoid(z[0]), reference.sigmoid(z[1]), np.tanh(z[2]), z[3]
        return reference.sigmoid(o) * np.tanh(f * states[1] + i * g)
    after = name == "gru"
    b, d = bias if after else (bias, np.zeros_like(bias))
    b, d = [b[c] for c in columns], [d[c] for c in columns]
    z = reference.sigmoid(x[0] + b[0] + kept[0] @ u[0] + d[0])
    r = reference.sigmoid(x[1] + b[1] + kept[1] @ u[1] + d[1])
    inner = r * (kept[2] @ u[2] + d[2]) if after else (r * kept[2]) @ u[2]
    return z * states[0] + (1 - z) * np.tanh(x[2] + b[2] + inner)


@pytest.mark.parametrize("name", CELLS)
def test_dropout_masks_the_inputs(name):
    cell, weights = build_cell(name, dropout=0.4, seed=7)
    x, states = cases.random(cases.BATCH, cases.FEATURES), cases.states_for(name)
    with cell.sequence(x, states, training=True):
        ones = keras.ops.ones((cases.BATCH, 1, cases.FEATURES), dtype=x.dtype)
        mask = cases.numpy(cell.drop_inputs(ones, training=True))[:, 0]
        output, _ = cases.numpy(cell(x, states, training=True))
    np.testing.assert_allclose(np.unique(mask), [0, 1 / 0.6], rtol=1e-6)
    expected = reference.STEPS[name](mask * x, states, weights)[0]
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    "name", ["ind_rnn", "peephole_lstm", "coupled_lstm", "lstmp", "layer_norm_lstm"]
)
def test_recurrent_dropout_masks_h_on_its_way_into_the_gates(name, monkeypatch):
    cell, weights = build_cell(name, recurrent_dropout=0.5)
    x, states = cases.random(cases.BATCH, cases.FEATURES), cases.states_for(name)
    mask = 2.0 * (cases.random(*states[0].shape, seed=5) > 0).astype(cases.FLOAT)
    given = keras.ops.convert_to_tensor(mask)
    monkeypatch.setattr(keras.random, "dropout", lambda ones, rate, seed: given)
    with cell.sequence(x, states, training=True):
        output, _ = cases.numpy(cell(x, states, training=True))
    expected = reference.STEPS[name](x, [states[0] * mask, *states[1:]], weights)[0]
    np.testing.assert_allclose(output, expected, **cases.TOLERANCE)


@pytest.mark.parametrize("name", CELLS)
def test_without_training_nothing_is_dropped(name):
    plain, weights = build_cell(name)
    rates = ["dropout"] if cases.without_state_in_gates(name) else ["dropout", "recurrent_dropout"]
    dropping, _ = build_cell(name, **dict.fromkeys(rates, 0.5))
    dropping.set_weights(weights)
    x, states = cases.random(cases.BATCH, cases.FEATURES), cases.states_for(name)
    np.testing.assert_array_equal(
        cases.numpy(plain(x, states)[0]), cases.numpy(dropping(x, states, training=False)[0])
    )


def test_dropout_without_a_sequence_says_what_to_do():
    cell, _ = build_cell("lstm", dropout=0.5)
    x = cases.random(cases.BATCH, cases.FEATURES)
    with pytest.raises(ValueError, match=r"Run the cell in `rnn_topologies.layers.RNN`"):
        cell(x, cases.states_for("lstm"), training=True)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_cell_without_bias_equals_one_with_a_zero_bias(name, use_bias):
    cell, weights = build_cell(name, use_bias=use_bias)
    whole, _ = build_cell(name)
    biases = [weight.name.endswith("bias") for weight in whole.weights]
    assert len(weights) == len(biases) - (0 if use_bias else sum(biases))
    given = iter(weights)
    full = [
        np.zeros(weight.shape) if is_bias and not use_bias else next(given)
        for weight, is_bias in zip(whole.weights, biases, strict=True)
    ]
    x, states = cases.random(cases.BATCH, cases.FEATURES), cases.states_for(name)
    expected = reference.STEPS[name](x, states, full)[0]
    np.testing.assert_allclose(cases.numpy(cell(x, states)[0]), expected, **cases.TOLERANCE)


def test_the_forget_gate_starts_open():
    cell = layers.LSTMCell(3, bias_initializer="ones")
    cell.build((2, 4))
    assert cell.bias.shape == (12,)
    zeros = layers.LSTMCell(3)
    zeros.build((2, 4))
    np.testing.assert_array_equal(cases.numpy(zeros.bias), [0] * 3 + [1] * 3 + [0] * 6)
    shut = layers.LSTMCell(3, unit_forget_bias=False)
    shut.build((2, 4))
    np.testing.assert_array_equal(cases.numpy(shut.bias), [0] * 12)


@pytest.mark.parametrize("name", cases.KERAS)
def test_our_cell_runs_in_keras_rnn_and_theirs_in_ours(name):
    ours, weights = build_cell(name)
    _, keras_layer, own = cases.KERAS[name]
    theirs = type(keras_layer(1, **own).cell)(cases.UNITS, dtype=cases.FLOAT, **own)
    x = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
    crossed = [
        keras.layers.RNN(ours, dtype=cases.FLOAT),
        layers.RNN(theirs, dtype=cases.FLOAT),
    ]
    outputs = []
    for layer in crossed:
        layer.build(x.shape)
        layer.set_weights(weights)
        outputs.append(cases.numpy(layer(x)))
    np.testing.assert_allclose(*outputs, **cases.TOLERANCE)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_comes_back_from_its_config(name):
    recurrent = {"recurrent_dropout": 0.2, "recurrent_constraint": "max_norm"}
    cell, weights = build_cell(
        name,
        dropout=0.1,
        seed=3,
        kernel_regularizer="l2",
        bias_initializer="ones",
        activation="relu",
        **({} if cases.without_state_in_gates(name) else recurrent),
    )
    config = keras.saving.serialize_keras_object(cell)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == cell.get_config()
    assert again.built  # Keras builds it from the shape in the config
    again.set_weights(weights)
    x, states = cases.random(cases.BATCH, cases.FEATURES), cases.states_for(name)
    np.testing.assert_array_equal(cases.numpy(cell(x, states)[0]), cases.numpy(again(x, states)[0]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"units": 0}, ValueError, "`units` must be a positive integer, got 0"),
        ({"units": 2.5}, TypeError, "`units` must be a positive integer, got 2.5"),
        ({"units": True}, TypeError, "`units` must be a positive integer, got True"),
        ({"units": 2, "dropout": 1.5}, ValueError, r"`dropout` must be in \[0, 1\), got 1.5"),
        ({"units": 2, "dropout": "x"}, TypeError, "`dropout` must be a number"),
        ({"units": 2, "use_bias": "yes"}, TypeError, "`use_bias` must be True or False"),
        ({"units": 2, "seed": 1.5}, TypeError, "`seed` must be an integer or None"),
        ({"units": 2, "activation": "tan"}, ValueError, "`activation` must be a name"),
        ({"units": 2, "activaton": "tanh"}, TypeError, "Did you mean `activation`"),
        ({}, TypeError, "missing 1 required positional argument: 'units'"),
    ],
)
@pytest.mark.parametrize("kind", [layers.LSTMCell, layers.GRU])
def test_a_bad_argument_is_named(kind, arguments, error, message):
    with pytest.raises(error, match=message):
        kind(**arguments)


def test_the_wrong_number_of_states_is_named():
    cell, _ = build_cell("lstm")
    with pytest.raises(ValueError, match=r"must be \[h, c\], got 1 tensors"):
        cell(cases.random(cases.BATCH, cases.FEATURES), [cases.random(cases.BATCH, cases.UNITS)])
