import inspect

import keras
import numpy as np
import pytest

from rnn_topologies import layers

from . import cases, reference

X = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
each_layer = pytest.mark.parametrize("name", cases.LAYERS)
each_of_keras = pytest.mark.parametrize("name", cases.KERAS)
each_mask = pytest.mark.parametrize("mask", cases.MASKS)
both_ways = pytest.mark.parametrize("go_backwards", [False, True])


def run_reference(name, weights, states, **settings):
    return reference.sequence(reference.STEPS[name], X, states, weights, **settings)


@each_layer
@both_ways
@pytest.mark.parametrize("unroll", [False, True])
def test_a_layer_equals_the_equations_in_float64(name, go_backwards, unroll):
    settings = {"go_backwards": go_backwards, "unroll": unroll}
    layer, weights = cases.build(name, return_sequences=True, return_state=True, **settings)
    states = cases.states_for(name)
    outputs, *last = cases.numpy(layer(X, initial_state=states))
    expected, expected_last = run_reference(name, weights, states, go_backwards=go_backwards)
    np.testing.assert_allclose(outputs, expected, **cases.TOLERANCE)
    for state, value in zip(last, expected_last, strict=True):
        np.testing.assert_allclose(state, value, **cases.TOLERANCE)


# Every layer in a loop and unrolled; one layer with both settings on and off.
PADDED = [(name, unroll, not unroll) for name in cases.LAYERS for unroll in (False, True)]
PADDED += [("lstmp", False, False), ("lstmp", True, True)]


@pytest.mark.parametrize(("name", "unroll", "zero_output_for_mask"), PADDED)
@each_mask
@both_ways
def test_padded_steps_change_nothing_and_have_the_documented_value(
    name, mask, go_backwards, unroll, zero_output_for_mask
):
    layer, weights = cases.build(
        name,
        return_sequences=True,
        return_state=True,
        go_backwards=go_backwards,
        unroll=unroll,
        zero_output_for_mask=zero_output_for_mask,
    )
    states, mask = cases.states_for(name), np.array(cases.MASKS[mask], bool)
    outputs, *last = cases.numpy(layer(X, initial_state=states, mask=mask))
    expected, expected_last = run_reference(
        name, weights, states, mask=mask, go_backwards=go_backwards
    )
    if zero_output_for_mask:
        expected = expected * (mask[:, ::-1] if go_backwards else mask)[..., None]
    np.testing.assert_allclose(outputs, expected, **cases.TOLERANCE)
    for state, value in zip(last, expected_last, strict=True):
        np.testing.assert_allclose(state, value, **cases.TOLERANCE)


@pytest.mark.parametrize(
    ("name", "mask"), [pair for pair in cases.with_masks(cases.LAYERS, "lstmp") if pair[1]]
)
@both_ways
def test_the_single_output_is_that_of_the_last_valid_step(name, mask, go_backwards):
    settings = {"go_backwards": go_backwards, "zero_output_for_mask": True}
    layer, weights = cases.build(name, **settings)
    states, mask = cases.states_for(name), np.array(cases.MASKS[mask], bool)
    output = cases.numpy(layer(X, initial_state=states, mask=mask))
    _, last = run_reference(name, weights, states, mask=mask, go_backwards=go_backwards)
    np.testing.assert_allclose(output, last[0], **cases.TOLERANCE)


@each_layer
def test_values_at_padded_steps_do_not_matter(name):
    layer, _ = cases.build(name, return_sequences=True)
    mask = np.array(cases.MASKS["gaps"], bool)
    other = np.where(mask[..., None], X, 1e3).astype(cases.FLOAT)
    np.testing.assert_array_equal(
        cases.numpy(layer(X, mask=mask)), cases.numpy(layer(other, mask=mask))
    )


@each_of_keras
@both_ways
def test_weights_are_interchangeable_with_keras(name, go_backwards):
    ours, theirs, arguments = cases.KERAS[name]
    settings = {"return_sequences": True, "go_backwards": go_backwards, "dtype": cases.FLOAT}
    ours, theirs = (kind(cases.UNITS, **arguments, **settings) for kind in (ours, theirs))
    ours.build(X.shape)
    theirs.build(X.shape)
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    theirs.set_weights(cases.randomize(ours))
    np.testing.assert_allclose(cases.numpy(ours(X)), cases.numpy(theirs(X)), **cases.TOLERANCE)
    ours.set_weights([weight * 0.5 for weight in theirs.get_weights()])
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(cases.numpy(ours(X)), cases.numpy(theirs(X)), **cases.TOLERANCE)


@each_of_keras
@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.3, 0.4)])
def test_a_seed_gives_the_same_dropout_as_in_keras(name, rates):
    dropout, recurrent_dropout = rates
    outputs = []
    for kind in cases.KERAS[name][:2]:
        layer = kind(
            cases.UNITS,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=11,
            return_sequences=True,
            **cases.KERAS[name][2],
        )
        layer.build(X.shape)
        cases.randomize(layer)
        outputs.append(cases.numpy(layer(X.astype("float32"), training=True)))
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)
    assert np.abs(outputs[0] - cases.numpy(layer(X.astype("float32")))).max() > 0.01


RATES = {"dropout": 0.3, "recurrent_dropout": 0.4}
SEEDED = {
    "simple RNN": lambda k: k.SimpleRNN(4, bias_initializer="random_normal", **RATES),
    "LSTM": lambda k: k.LSTM(4, bias_initializer="random_normal", **RATES),
    "GRU": lambda k: k.GRU(4, kernel_initializer="he_normal", dropout=0.3),
    "seeded simple RNN": lambda k: k.SimpleRNN(4, seed=5, **RATES),
    "cell": lambda k: k.RNN(k.SimpleRNNCell(4, **RATES)),
    "list of cells": lambda k: k.RNN([k.SimpleRNNCell(4, **RATES), k.LSTMCell(3, **RATES)]),
    "Keras's cells": lambda k: k.RNN([keras.layers.LSTMCell(4, **RATES), k.GRUCell(3)]),
    "Bidirectional": lambda k: k.Bidirectional(k.SimpleRNN(4, **RATES)),
    "two directions": lambda k: k.Bidirectional(
        k.GRU(4, dropout=0.3), backward_layer=k.SimpleRNN(3, go_backwards=True, **RATES)
    ),
    "TimeDistributed": lambda k: keras.Sequential(
        [
            keras.layers.Reshape((2, 3, cases.FEATURES)),
            keras.layers.TimeDistributed(k.GRU(4, **RATES)),
        ]
    ),
    "several layers": lambda k: keras.Sequential(
        [
            k.SimpleRNN(4, return_sequences=True, **RATES),
            k.LSTM(4, return_sequences=True, **RATES),
            k.Bidirectional(k.GRU(3, dropout=0.3)),
            keras.layers.Dense(2),
        ]
    ),
}


@pytest.mark.parametrize("name", SEEDED)
def test_a_global_seed_gives_the_weights_and_dropout_of_keras(name):
    x, weights, outputs = X.astype("float32"), [], []
    for library in (layers, keras.layers):
        keras.utils.set_random_seed(7)
        layer = SEEDED[name](library)
        layer.build(x.shape)
        weights.append(layer.get_weights())
        # Two batches: the second one gets other masks.
        outputs.append([cases.numpy(layer(x, training=True)) for _ in range(2)])
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)
    assert np.abs(outputs[0][0] - outputs[0][1]).max() > 1e-3


@each_of_keras
def test_the_signature_is_that_of_keras(name):
    ours, theirs, _ = cases.KERAS[name]

    def described(kind):
        parameters = inspect.signature(kind).parameters.values()
        hidden = ("kwargs", "zero_output_for_mask")  # Keras passes the second in the first
        return [(p.name, p.default) for p in parameters if p.name not in hidden]

    assert sorted(described(ours), key=str) == sorted(described(theirs), key=str)
    positional = described(theirs)[: described(theirs).index(("recurrent_dropout", 0.0)) + 1]
    assert described(ours)[: len(positional)] == positional


@each_of_keras
def test_a_keras_config_builds_our_layer(name):
    ours, theirs, arguments = cases.KERAS[name]
    settings = {"go_backwards": True, "dropout": 0.25, "kernel_regularizer": "l2", **arguments}
    config = theirs(7, activity_regularizer="l1", **settings).get_config()
    config.pop("name")
    again = ours.from_config(config).get_config()
    for key, value in config.items():
        if key not in ("dtype", "seed"):  # Keras's SimpleRNN forgets its seed
            assert again[key] == value, key


@each_layer
def test_a_layer_is_rebuilt_from_its_config(name):
    layer_class, arguments = cases.LAYERS[name]
    layer = layer_class(
        3,
        return_sequences=True,
        go_backwards=True,
        unroll=True,
        zero_output_for_mask=True,
        dropout=0.1,
        seed=4,
        activity_regularizer="l2",
        **arguments,
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


@each_layer
def test_a_saved_model_gives_the_same_numbers(name, tmp_path):
    layer_class, arguments = cases.LAYERS[name]
    inputs = keras.Input((None, cases.FEATURES))
    hidden = layer_class(cases.UNITS, return_sequences=True, **arguments)(inputs)
    model = keras.Model(inputs, layers.Bidirectional(layer_class(cases.UNITS, **arguments))(hidden))
    cases.randomize(model)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = X.astype("float32")
    np.testing.assert_array_equal(cases.numpy(model(x)), cases.numpy(again(x)))


@each_layer
def test_a_sequence_in_chunks_equals_the_whole_sequence(name):
    layer, _ = cases.build(name, return_sequences=True, return_state=True)
    mask = np.array(cases.MASKS["whole rows"], bool)
    states = cases.states_for(name)
    whole, *last = cases.numpy(layer(X, initial_state=states, mask=mask))
    chunks = []
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        outputs, *states = layer(X[:, part], initial_state=list(states), mask=mask[:, part])
        chunks.append(cases.numpy(outputs))
    np.testing.assert_allclose(np.concatenate(chunks, 1), whole, **cases.TOLERANCE)
    for state, value in zip(states, last, strict=True):
        np.testing.assert_allclose(cases.numpy(state), value, **cases.TOLERANCE)


@each_layer
def test_a_stateful_layer_continues_from_its_states_until_reset(name):
    plain, weights = cases.build(name)
    stateful, _ = cases.build(name, stateful=True)
    stateful.set_weights(weights)
    first = cases.numpy(stateful(X[:, :2]))
    second = cases.numpy(stateful(X[:, 2:]))
    np.testing.assert_allclose(second, cases.numpy(plain(X)), **cases.TOLERANCE)
    stateful.reset_state()
    np.testing.assert_allclose(cases.numpy(stateful(X[:, :2])), first, **cases.TOLERANCE)


def test_a_stateful_layer_refuses_another_batch_size():
    layer, _ = cases.build("gru", stateful=True)
    with pytest.raises(ValueError, match="batch size"):
        layer(X[:2])


@each_layer
def test_a_layer_equals_a_python_loop_over_its_cell(name):
    layer, _ = cases.build(name, return_sequences=True)
    states, outputs = cases.states_for(name), []
    expected = cases.numpy(layer(X, initial_state=states))
    for t in range(cases.TIME):
        output, states = layer.cell(X[:, t], states)
        outputs.append(cases.numpy(output))
    np.testing.assert_allclose(np.stack(outputs, 1), expected, **cases.TOLERANCE)


@each_layer
@pytest.mark.parametrize(("mask", "go_backwards"), [(None, False), ("gaps", True)])
def test_gradients_equal_central_differences_of_the_equations(name, mask, go_backwards):
    batch, time, units = 2, 5, 4  # small: two losses for every number
    layer, weights = cases.build(
        name, units, return_sequences=True, return_state=True, go_backwards=go_backwards
    )
    mask = None if mask is None else np.array(cases.MASKS[mask], bool)[:batch, :time]
    sizes = cases.state_sizes(name, units)
    states = [cases.random(batch, size, seed=2 + index) for index, size in enumerate(sizes)]
    weighting = cases.random(batch, time, layer.cell.output_size, seed=9)
    count = len(weights)

    def loss(tensors):
        outputs, *last = layer(tensors[0], initial_state=tensors[1:], mask=mask)
        weighted = outputs * keras.ops.convert_to_tensor(weighting)
        return keras.ops.sum(weighted) + keras.ops.sum(last[-1])

    def reference_loss(arrays):
        weights, (x, *states) = arrays[:count], arrays[count:]
        step = reference.STEPS[name]
        outputs, last = reference.sequence(step, x, states, weights, mask, go_backwards)
        return np.sum(outputs * weighting) + np.sum(last[-1])

    x = X[:batch, :time]
    actual = cases.gradients(layer, loss, [x, *states])
    expected = cases.numeric_gradients(reference_loss, [*weights, x, *states])
    # Central differences are accurate to about 1e-8 here; float32 gradients to a relative 1e-4.
    tolerance = 2e-3 if cases.FLOAT == "float32" else 1e-6
    for gradient, value in zip(actual, expected, strict=True):
        np.testing.assert_allclose(gradient, value, rtol=tolerance, atol=tolerance)


@each_layer
def test_mixed_precision_computes_in_bfloat16_and_keeps_float32_weights(name):
    layer_class, arguments = cases.LAYERS[name]
    half = layer_class(cases.UNITS, dtype="mixed_bfloat16", return_sequences=True, **arguments)
    whole = layer_class(cases.UNITS, return_sequences=True, **arguments)
    half.build(X.shape)
    whole.build(X.shape)
    whole.set_weights(cases.randomize(half))
    output = half(X.astype("float32"), mask=np.array(cases.MASKS["left"], bool))
    assert keras.backend.standardize_dtype(output.dtype) == "bfloat16"
    assert {keras.backend.standardize_dtype(w.dtype) for w in half.weights} == {"float32"}
    expected = cases.numpy(whole(X.astype("float32"), mask=np.array(cases.MASKS["left"], bool)))
    actual = cases.numpy(keras.ops.cast(output, "float32"))
    assert np.abs(actual - expected).max() < 0.1  # bfloat16 has 8 bits of precision


COMPILED = ("lstm", "lstmp", "min_gru")  # by the native kernel, in a loop, and in parallel


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in COMPILED else pytest.mark.slow)
        for name in cases.LAYERS
    ],
)
def test_a_model_compiles_with_any_length_and_learns(name):
    layer_class, arguments = cases.LAYERS[name]
    inputs = keras.Input((None, cases.FEATURES))
    mask = keras.Input((None,), dtype="bool")
    recurrent = {} if cases.without_state_in_gates(name) else {"recurrent_dropout": 0.1}
    layer = layer_class(8, return_sequences=True, dropout=0.1, **recurrent, **arguments)
    hidden = layer(inputs, mask=mask)
    model = keras.Model([inputs, mask], keras.layers.Dense(1)(hidden[:, -1]))
    model.compile(keras.optimizers.Adam(0.02), "mse")
    x = np.random.default_rng(0).normal(size=(64, 5, cases.FEATURES)).astype("float32")
    valid = np.ones((64, 5), bool)
    valid[::2, 3:] = False
    y = x[:, :2].sum((1, 2))[:, None]
    before = model.evaluate([x, valid], y, verbose=0)
    model.fit([x, valid], y, epochs=40, verbose=0)
    assert model.evaluate([x, valid], y, verbose=0) < 0.7 * before
    assert model.predict([x[:, :2], valid[:, :2]], verbose=0).shape == (64, 1)


@both_ways
def test_the_mask_is_passed_on_in_the_order_of_the_outputs(go_backwards):
    mask = np.array(cases.MASKS["right"], bool)
    layer, _ = cases.build("gru", return_sequences=True, go_backwards=go_backwards)
    handed_on = cases.numpy(layer.compute_mask(X, keras.ops.convert_to_tensor(mask)))
    np.testing.assert_array_equal(handed_on, mask[:, ::-1] if go_backwards else mask)
    single, _ = cases.build("gru", go_backwards=go_backwards)
    assert single.compute_mask(X, keras.ops.convert_to_tensor(mask)) is None


def test_regularizers_and_constraints_reach_the_weights():
    layer = layers.LSTM(
        3, kernel_regularizer="l2", recurrent_regularizer="l1", kernel_constraint="non_neg"
    )
    layer(X.astype("float32"))
    kernel, recurrent_kernel, _ = layer.get_weights()
    expected = 0.01 * (np.square(kernel).sum() + np.abs(recurrent_kernel).sum())
    np.testing.assert_allclose(sum(map(float, cases.numpy(layer.losses))), expected, rtol=1e-5)
    assert isinstance(layer.cell.kernel.constraint, keras.constraints.NonNeg)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: layer(X[0]), "expected ndim=3|reads \\(batch, time, features\\)"),
        (lambda layer: layer(X, mask=np.ones((4, 5), bool)), "`mask` must have the input's shape"),
        (
            lambda layer: layer(X, mask=np.ones((4, 6, 1), bool)),
            "`mask` must have the input's shape",
        ),
        (lambda layer: layer(X, initial_state=[X[:, 0]]), r"2 states \[h, c\], got 1"),
        (
            lambda layer: layer(X, initial_state=[X[:, 0], X[:, 0]]),
            r"each initial state must have shape \(4, 5\), got \(4, 3\)",
        ),
    ],
)
def test_a_bad_call_is_named(call, message):
    layer, _ = cases.build("lstm")
    with pytest.raises(ValueError, match=message):
        call(layer)


def test_use_cudnn_is_refused_without_a_fused_kernel():
    layer = layers.GRU(3, use_cudnn=True, reset_after=False)
    with pytest.raises(
        ValueError, match="`use_cudnn=True`, but the backend's fused kernel cannot run"
    ):
        layer(X)
    with pytest.raises(ValueError, match="`use_cudnn` must be one of"):
        layers.GRU(3, use_cudnn="maybe")


# Layers by their name in messages, with weights for cases.FEATURES features.
OF_THREE_FEATURES = {
    "SimpleRNN": lambda: layers.SimpleRNN(4),
    "LSTM": lambda: layers.LSTM(4),
    "MinGRU": lambda: layers.MinGRU(4),
    "LSTMP": lambda: layers.LSTMP(4),
    "RNN": lambda: layers.RNN(layers.Zoneout(layers.GRUCell(4))),
    "RNN of a list": lambda: layers.RNN([layers.GRUCell(4), layers.LSTMCell(3)]),
    "RNN of Keras's cell": lambda: layers.RNN(keras.layers.LSTMCell(4)),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(4)),
}


@pytest.mark.parametrize("name", OF_THREE_FEATURES)
def test_another_number_of_features_is_named_with_that_of_the_weights(name):
    layer = OF_THREE_FEATURES[name]()
    layer(X.astype("float32"))
    wrong = np.ones((*X.shape[:2], 4), "float32")
    message = f"{name.split()[0]} got inputs with 4 features, but its weights are for 3"
    for inputs in (wrong, keras.Input(wrong.shape[1:])):
        with pytest.raises(ValueError, match=message):
            layer(inputs)
    if name != "Bidirectional":
        with pytest.raises(ValueError, match=message):
            layer.step(wrong[:, 0])
        with pytest.raises(ValueError, match=message):
            layer.stream(len(X))(wrong[:, 0])


@pytest.mark.parametrize("name", ["LSTM", "RNN of a list"])
def test_a_cell_names_other_numbers_of_features_and_other_widths_of_states(name):
    layer = OF_THREE_FEATURES[name]()
    layer(X.astype("float32"))
    states = layer.get_initial_state(len(X))
    with pytest.raises(ValueError, match="got inputs with 4 features, but its weights are for 3"):
        layer.cell(np.ones((len(X), 4), "float32"), states)
    wide = [keras.ops.ones((len(X), 9)) for _ in states]
    with pytest.raises(ValueError, match=r"must have shape \(batch, 4\), got \(4, 9\)"):
        layer.cell(X[:, 0].astype("float32"), wide)
    with pytest.raises(ValueError, match=r"must have shape \(batch, 4\), got \(4, 9\)"):
        layer.step(X[:, 0].astype("float32"), wide)


@pytest.mark.parametrize("kind", [layers.LSTM, layers.Bidirectional])
def test_symbolic_states_of_another_width_are_refused(kind):
    layer = layers.LSTM(4) if kind is layers.LSTM else kind(layers.LSTM(4))
    count = 2 if kind is layers.LSTM else 4
    inputs = keras.Input((5, 3))
    layer(inputs, initial_state=[keras.Input((4,)) for _ in range(count)])
    with pytest.raises(ValueError, match=r"must have shape \(None, 4\), got \(None, 9\)"):
        layer(inputs, initial_state=[keras.Input((9,)) for _ in range(count)])


def test_an_unknown_number_of_features_is_refused_before_weights_are_made():
    with pytest.raises(ValueError, match="LSTMCell needs a fixed number of features"):
        layers.LSTM(4)(keras.Input((5, None)))


@pytest.mark.parametrize("not_a_cell", [layers.LSTM(4), layers.LSTMCell])
def test_only_a_cell_is_run(not_a_cell):
    with pytest.raises(TypeError, match=r"RNN expects a cell, such as `LSTMCell\(32\)`"):
        layers.RNN(not_a_cell)
    with pytest.raises(TypeError, match="`cells` must be a list of cells"):
        layers.StackedCells(not_a_cell)


def test_a_cell_without_weights_reads_any_number_of_features():
    class Sum(keras.layers.Layer):
        state_size = 1

        def call(self, inputs, states):
            total = states[0] + keras.ops.sum(inputs, axis=-1, keepdims=True)
            return total, [total]

    layer = layers.RNN(Sum())
    for features in (3, 4):
        assert float(layer(np.ones((1, 2, features), "float32"))[0, 0]) == 2 * features


def ragged_and_sparse():
    """Returns inputs that are not one dense tensor, by name."""
    lists = [[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]
    inputs = [("ragged", lists), ("ragged", np.array([np.ones((2, 3)), np.ones((1, 3))], object))]
    if cases.BACKEND == "tensorflow":
        import tensorflow as tf

        inputs += [
            ("ragged", tf.ragged.constant(lists, ragged_rank=1)),
            ("ragged", keras.Input((None, 3), ragged=True)),
            ("sparse", tf.sparse.from_dense(X)),
            ("sparse", keras.Input((None, 3), sparse=True)),
        ]
    elif cases.BACKEND == "torch":
        import torch

        rows = [torch.ones(2, 3), torch.ones(1, 3)]
        inputs += [("ragged", torch.nested.nested_tensor(rows)), ("ragged", rows)]
        inputs += [("ragged", torch.nested.nested_tensor(rows, layout=torch.jagged))]
        inputs += [("ragged", torch.nn.utils.rnn.pack_sequence(rows))]
        inputs += [("sparse", torch.ones(2, 5, 3).to_sparse())]
    else:
        from jax.experimental import sparse

        inputs += [("sparse", sparse.BCOO.fromdense(X))]
    return inputs


@pytest.mark.parametrize("name", ["LSTM", "RNN", "Bidirectional"])
def test_ragged_and_sparse_inputs_are_refused_with_a_way_out(name):
    hints = {"ragged": r"Pad it .*to_tensor.*`mask=`", "sparse": "dense tensor"}
    for kind, inputs in ragged_and_sparse():
        with pytest.raises(ValueError, match=f"{name} got {kind} inputs.*{hints[kind]}"):
            OF_THREE_FEATURES[name]()(inputs)


def test_a_ragged_mask_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match="ragged masks"):
        layers.LSTM(4)(X, mask=[[True], [True, False]])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.array([[["a"]]]), "expects numbers, got inputs of dtype str"),
        (X.astype("complex64"), "expects real numbers, got inputs of dtype complex64"),
        (X.tolist(), "one tensor .*, got a list of 4. Pass an array"),
        ([X, X], "one tensor .*, got a list of 2.* states as `initial_state=`"),
        ({"x": X}, "one tensor"),
        (None, "one tensor"),
        (1.5, "one tensor"),
    ],
)
@pytest.mark.parametrize("name", ["LSTM", "RNN", "Bidirectional"])
def test_inputs_of_another_type_are_refused(name, inputs, message):
    with pytest.raises(TypeError, match=f"{name} expects .*{message.removeprefix('expects ')}"):
        OF_THREE_FEATURES[name]()(inputs)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "float64", "float16"])
def test_numbers_of_any_type_are_cast_as_in_keras(dtype):
    x = np.arange(30).reshape(2, 5, 3).astype(dtype)
    ours, theirs = layers.LSTM(4), keras.layers.LSTM(4)
    ours.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(cases.randomize(ours))
    np.testing.assert_allclose(cases.numpy(ours(x)), cases.numpy(theirs(x)), rtol=1e-5, atol=1e-6)


def test_inputs_without_steps_are_refused():
    with pytest.raises(ValueError, match=r"at least one time step, got .* \(4, 0, 3\)"):
        layers.LSTM(4)(X[:, :0])


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.LSTMCell, layers.GRUCell])
def test_the_implementation_argument_of_keras_is_checked(kind):
    assert kind(3, implementation=1).units == 3
    assert kind(3, implementation=2, dropout=0.5).units == 3
    with pytest.raises(ValueError, match="`implementation` must be one of"):
        kind(3, implementation=3)
    with pytest.raises(ValueError, match="draws one mask per gate"):
        kind(3, implementation=1, dropout=0.5)


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.MinGRU, layers.SimpleRNNCell])
def test_only_lstm_and_gru_have_implementations(kind):
    with pytest.raises(TypeError, match="has no argument `implementation`"):
        kind(3, implementation=2)


def test_the_choice_of_equations_is_saved():
    layer = layers.GRU(3, use_cudnn=False)
    assert layers.GRU.from_config(layer.get_config()).use_cudnn is False
    assert layers.Bidirectional(layer).backward_layer.use_cudnn is False
    assert "use_cudnn" not in layers.GRU(3, use_cudnn=True).get_config()


@each_layer
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_integers_are_read_as_numbers(name, dtype):
    layer_class, arguments = cases.LAYERS[name]
    layer = layer_class(cases.UNITS, dtype=dtype, **arguments)
    x = np.random.default_rng(0).integers(-3, 4, X.shape)
    outputs = [keras.ops.cast(layer(x.astype(kind)), "float32") for kind in ("float32", "int32")]
    np.testing.assert_allclose(*cases.numpy(outputs), rtol=1e-5, atol=1e-6)
