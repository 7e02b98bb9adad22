import keras
import numpy as np
import pytest

from rnn_topologies import layers

from . import cases, reference

NAMES = {
    "simple_rnn": "h",
    "lstm": "figcoh",
    "gru": "zrnh",
    "gru_reset_before": "zrnh",
    "peephole_lstm": "figcoh",
    "coupled_lstm": "fgcoh",
    "lstmp": "figcoh",
    "layer_norm_lstm": "figcoh",
    "layer_norm_gru": "zrnh",
    "ind_rnn": "h",
    "min_gru": "znh",
    "min_lstm": "finh",
}


@pytest.mark.parametrize(("name", "mask"), cases.with_masks(cases.LAYERS, "lstmp"))
@pytest.mark.parametrize("go_backwards", [False, True])
def test_traced_states_equal_the_forward_pass(name, mask, go_backwards):
    layer, _ = cases.build(name, return_sequences=True, go_backwards=go_backwards)
    inputs, states = cases.random(cases.BATCH, cases.TIME, cases.FEATURES), cases.states_for(name)
    mask = None if mask is None else np.array(cases.MASKS[mask], "bool")
    trace = layers.trace_gates(layer, inputs, initial_state=states, mask=mask)
    outputs = cases.numpy(layer(inputs, initial_state=states, mask=mask))
    outputs = outputs[:, ::-1] if go_backwards else outputs
    np.testing.assert_allclose(trace["h"], outputs, **cases.TOLERANCE)
    assert sorted(trace) == sorted(NAMES[name])
    for gate, values in trace.items():
        width = layer.cell.output_size if gate == "h" else cases.UNITS
        assert values.shape == (cases.BATCH, cases.TIME, width)
        if mask is not None and gate not in layer.cell.state_names:
            np.testing.assert_array_equal(np.isnan(values).all(-1), ~mask)


def test_traced_gates_equal_the_equations():
    layer, (kernel, recurrent, bias) = cases.build("lstm", return_sequences=True)
    inputs, (h, c) = cases.random(cases.BATCH, cases.TIME, cases.FEATURES), cases.states_for("lstm")
    trace = layers.trace_gates(layer, inputs, initial_state=[h, c])
    for t in range(cases.TIME):
        i, f, g, o = np.split(inputs[:, t] @ kernel + h @ recurrent + bias, 4, axis=-1)
        i, f, g, o = reference.sigmoid(i), reference.sigmoid(f), np.tanh(g), reference.sigmoid(o)
        c = f * c + i * g
        h = o * np.tanh(c)
        expected = {"f": f, "i": i, "g": g, "c": c, "o": o, "h": h}
        for name, values in expected.items():
            np.testing.assert_allclose(trace[name][:, t], values, **cases.TOLERANCE)


@pytest.mark.parametrize("reset_after", [True, False])
def test_the_update_gate_mixes_the_old_state_and_the_candidate(reset_after):
    layer, _ = cases.build("gru" if reset_after else "gru_reset_before")
    inputs = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
    trace = layers.trace_gates(layer, inputs)
    before = np.concatenate([np.zeros_like(trace["h"][:, :1]), trace["h"][:, :-1]], axis=1)
    mixed = trace["z"] * before + (1 - trace["z"]) * trace["n"]
    np.testing.assert_allclose(trace["h"], mixed, **cases.TOLERANCE)


@pytest.mark.parametrize("wrapper", [layers.Bidirectional, keras.layers.Bidirectional])
def test_both_directions_are_traced_in_the_order_of_the_inputs(wrapper):
    layer = wrapper(layers.LSTM(5, return_sequences=True, dtype=cases.FLOAT), dtype=cases.FLOAT)
    inputs = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
    trace = layers.trace_gates(layer, inputs)
    joined = np.concatenate([trace["forward_h"], trace["backward_h"]], axis=-1)
    np.testing.assert_allclose(joined, cases.numpy(layer(inputs)), **cases.TOLERANCE)
    states = [cases.random(cases.BATCH, 5, seed=seed) for seed in range(4)]
    trace = layers.trace_gates(layer, inputs, initial_state=states)
    joined = np.concatenate([trace["forward_h"], trace["backward_h"]], axis=-1)
    outputs = cases.numpy(layer(inputs, initial_state=states))
    np.testing.assert_allclose(joined, outputs, **cases.TOLERANCE)


def test_a_stateful_layer_is_traced_from_its_current_state():
    layer, _ = cases.build("gru", stateful=True, return_sequences=True)
    inputs = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
    layer(inputs)
    traced = layers.trace_gates(layer, inputs)["h"]
    np.testing.assert_allclose(traced, cases.numpy(layer(inputs)), **cases.TOLERANCE)


def test_only_layers_of_this_library_are_traced():
    with pytest.raises(TypeError, match="recurrent layer of rnn_topologies"):
        layers.trace_gates(keras.layers.LSTM(3), np.ones((1, 2, 3)))
