import keras
import numpy as np
import pytest

from rnn_topologies import layers

from . import cases, reference

X = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
MERGES = {
    "concat": lambda a, b: np.concatenate([a, b], -1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
}


def build(name, merge_mode="concat", **settings):
    layer_class, arguments = cases.LAYERS[name]
    inner = layer_class(cases.UNITS, dtype=cases.FLOAT, **arguments, **settings)
    layer = layers.Bidirectional(inner, merge_mode=merge_mode, dtype=cases.FLOAT)
    layer.build(X.shape)
    return layer, cases.randomize(layer)


# Every layer with a few masks and one merge mode, and one layer with the others.
OTHER_MODES = ("sum", "mul", "ave", None)
EQUATIONS = [(*pair, "concat") for pair in cases.with_masks(cases.LAYERS, "lstmp")]
EQUATIONS += [("lstm", mask, mode) for mask in (None, "gaps") for mode in OTHER_MODES]
SINGLE_OUTPUTS = [pair for pair in cases.with_masks(cases.LAYERS, "lstmp") if pair[1]]
KERAS = [(name, "concat") for name in cases.KERAS] + [("lstm", mode) for mode in OTHER_MODES]


@pytest.mark.parametrize(("name", "mask", "merge_mode"), EQUATIONS)
def test_both_directions_equal_the_equations(name, mask, merge_mode):
    layer, weights = build(name, merge_mode, return_sequences=True, return_state=True)
    states = [*cases.states_for(name), *cases.states_for(name, seed=20)]
    half, count = len(states) // 2, len(weights) // 2
    valid = np.ones(X.shape[:2], bool)
    if mask is not None:
        valid = np.array(cases.MASKS[mask], bool)
    actual = cases.numpy(layer(X, initial_state=states, mask=None if mask is None else valid))
    step = reference.STEPS[name]
    forward, last = reference.sequence(step, X, states[:half], weights[:count], valid)
    backward, first = reference.sequence(
        step, X, states[half:], weights[count:], valid, go_backwards=True
    )
    forward, backward = forward * valid[..., None], backward[:, ::-1] * valid[..., None]
    merged = [forward, backward] if merge_mode is None else [MERGES[merge_mode](forward, backward)]
    for value, expected in zip(actual, [*merged, *last, *first], strict=True):
        np.testing.assert_allclose(value, expected, **cases.TOLERANCE)


@pytest.mark.parametrize(("name", "mask"), SINGLE_OUTPUTS)
def test_the_single_output_joins_the_last_steps_of_both_directions(name, mask):
    layer, weights = build(name)
    valid = np.array(cases.MASKS[mask], bool)
    zeros = [np.zeros((cases.BATCH, size)) for size in cases.state_sizes(name)]
    count = len(weights) // 2
    step = reference.STEPS[name]
    _, last = reference.sequence(step, X, zeros, weights[:count], valid)
    _, first = reference.sequence(step, X, zeros, weights[count:], valid, go_backwards=True)
    expected = np.concatenate([last[0], first[0]], -1)
    np.testing.assert_allclose(cases.numpy(layer(X, mask=valid)), expected, **cases.TOLERANCE)


@pytest.mark.parametrize(("name", "merge_mode"), KERAS)
@pytest.mark.parametrize("return_sequences", [False, True])
def test_it_equals_keras_with_copied_weights(name, merge_mode, return_sequences):
    outputs = []
    for wrapper, kind in (
        (layers.Bidirectional, cases.KERAS[name][0]),
        (keras.layers.Bidirectional, cases.KERAS[name][1]),
    ):
        inner = kind(
            cases.UNITS,
            return_sequences=return_sequences,
            dtype=cases.FLOAT,
            **cases.KERAS[name][2],
        )
        layer = wrapper(inner, merge_mode=merge_mode, dtype=cases.FLOAT)
        layer.build(X.shape)
        cases.randomize(layer)
        outputs.append(keras.tree.flatten(cases.numpy(layer(X))))
    for ours, theirs in zip(*outputs, strict=True):
        np.testing.assert_allclose(ours, theirs, **cases.TOLERANCE)


@pytest.mark.parametrize("merge_mode", [*MERGES, None])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("return_state", [False, True])
def test_the_computed_shapes_and_masks_match_the_outputs(
    merge_mode, return_sequences, return_state
):
    layer, _ = build(
        "lstm", merge_mode, return_sequences=return_sequences, return_state=return_state
    )
    mask = keras.ops.convert_to_tensor(np.array(cases.MASKS["right"], bool))
    actual = keras.tree.flatten(layer(X, mask=mask))
    announced = layer.compute_output_shape(X.shape)
    announced = [announced] if isinstance(announced[0], int) else list(announced)
    assert [tuple(value.shape) for value in actual] == [tuple(shape) for shape in announced]
    masks = layer.compute_mask(X, mask)
    masks = masks if isinstance(masks, list) else [masks]
    assert len(masks) == len(actual)
    outputs = 2 if merge_mode is None else 1
    assert [m is not None for m in masks] == [
        return_sequences and index < outputs for index in range(len(actual))
    ]


@pytest.mark.parametrize("merge_mode", ["concat", None])
def test_a_saved_model_gives_the_same_numbers(merge_mode, tmp_path):
    inputs = keras.Input((None, cases.FEATURES))
    backward = layers.LSTM(4, go_backwards=True, activation="relu", return_sequences=True)
    layer = layers.Bidirectional(
        layers.LSTM(4, return_sequences=True), merge_mode=merge_mode, backward_layer=backward
    )
    model = keras.Model(inputs, layer(inputs))
    cases.randomize(model)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = X.astype("float32")
    outputs = [keras.tree.flatten(cases.numpy(either(x))) for either in (model, again)]
    for output, loaded_output in zip(*outputs, strict=True):
        np.testing.assert_array_equal(output, loaded_output)


def test_a_change_in_the_last_step_reaches_the_first_output():
    layer, _ = build("gru", return_sequences=True)
    changed = X.copy()
    changed[:, -1] += 1
    before, after = cases.numpy(layer(X)), cases.numpy(layer(changed))
    units = cases.UNITS
    np.testing.assert_array_equal(before[:, 0, :units], after[:, 0, :units])
    assert np.abs(before[:, 0, units:] - after[:, 0, units:]).max() > 1e-6


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="[Mm]erge mode"):
        layers.Bidirectional(layers.GRU(3), merge_mode="max")
    layer, _ = build("lstm")
    with pytest.raises(ValueError, match="must contain 4 states"):
        layer(X, initial_state=cases.states_for("lstm"))


def test_a_stateful_layer_keeps_its_states_in_both_directions_until_reset():
    layer, _ = build("gru", stateful=True)
    first = cases.numpy(layer(X))
    second = cases.numpy(layer(X))
    assert np.abs(first - second).max() > 1e-6
    layer.reset_state()
    np.testing.assert_array_equal(cases.numpy(layer(X)), first)


# Forward and backward layers of different sizes and kinds, and their numbers of states.
PAIRS = {
    "two sizes": (lambda k, **s: k.LSTM(5, **s), lambda k, **s: k.LSTM(9, **s), 2, 2),
    "more states first": (lambda k, **s: k.LSTM(5, **s), lambda k, **s: k.GRU(4, **s), 2, 1),
    "more states last": (lambda k, **s: k.GRU(4, **s), lambda k, **s: k.LSTM(5, **s), 1, 2),
    "stacked cells": (
        lambda k, **s: k.SimpleRNN(3, **s),
        lambda k, **s: k.RNN([k.LSTMCell(4), k.GRUCell(2)], **s),
        1,
        3,
    ),
}
each_pair = pytest.mark.parametrize("pair", PAIRS)


def differing(pair, library=layers, merge_mode="concat", **settings):
    forward, backward, *_ = PAIRS[pair]
    layer = library.Bidirectional(
        forward(library, **settings),
        merge_mode=merge_mode,
        backward_layer=backward(library, go_backwards=True, **settings),
    )
    layer.build(X.shape)
    cases.randomize(layer)
    return layer


@each_pair
@pytest.mark.parametrize("merge_mode", ["concat", None])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_layers_of_other_sizes_have_the_outputs_of_keras(pair, merge_mode, return_sequences):
    settings = {"return_sequences": return_sequences, "return_state": True}
    ours = differing(pair, layers, merge_mode, **settings)
    theirs = differing(pair, keras.layers, merge_mode, **settings)
    x = X.astype("float32")
    actual = keras.tree.flatten(cases.numpy(ours(x)))
    expected = keras.tree.flatten(cases.numpy(theirs(x)))
    for value, wanted in zip(actual, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
    announced = [tuple(shape) for shape in ours.compute_output_shape(X.shape)]
    symbolic = ours(keras.Input(X.shape[1:], batch_size=len(X)))
    assert [value.shape for value in actual] == announced
    assert [tuple(tensor.shape) for tensor in keras.tree.flatten(symbolic)] == announced
    masks = ours.compute_mask(X, keras.ops.ones(X.shape[:2], "bool"))
    assert len(masks) == len(actual)


@each_pair
def test_each_of_two_different_layers_gets_its_own_initial_states(pair):
    layer = differing(pair, return_state=True)
    _, _, forward_count, backward_count = PAIRS[pair]
    x = X.astype("float32")
    states = [cases.random(*state.shape, seed=3).astype("float32") for state in layer(x)[1:]]
    assert len(states) == forward_count + backward_count
    actual = cases.numpy(layer(x, initial_state=states))
    forward = cases.numpy(layer.forward_layer(x, initial_state=states[:forward_count]))
    backward = cases.numpy(layer.backward_layer(x, initial_state=states[forward_count:]))
    expected = [np.concatenate([forward[0], backward[0]], -1), *forward[1:], *backward[1:]]
    for value, wanted in zip(actual, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
    message = rf"{len(states)} states, .* layer \({forward_count}\) .* \({backward_count}\), got 1"
    with pytest.raises(ValueError, match=message):
        layer(x, initial_state=states[:1])


@each_pair
def test_layers_of_other_sizes_train_and_are_saved(pair, tmp_path):
    model = keras.Sequential([keras.Input(X.shape[1:]), differing(pair), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = X.astype("float32")
    model.fit(x, np.ones((len(x), 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(cases.numpy(loaded(x)), cases.numpy(model(x)))
    again = layers.Bidirectional.from_config(model.layers[0].get_config())
    again.build(X.shape)
    again.set_weights(model.layers[0].get_weights())
    np.testing.assert_array_equal(cases.numpy(again(x)), cases.numpy(model.layers[0](x)))


@pytest.mark.parametrize("merge_mode", ["sum", "mul", "ave"])
def test_outputs_of_two_sizes_cannot_be_added(merge_mode):
    with pytest.raises(ValueError, match="5 output features and `backward_layer` has 9"):
        differing("two sizes", merge_mode=merge_mode)
    same_size = layers.Bidirectional(
        layers.LSTM(5), merge_mode, backward_layer=layers.GRU(5, go_backwards=True)
    )
    assert tuple(same_size(X.astype("float32")).shape) == (cases.BATCH, 5)


def test_a_backward_layer_keeps_its_own_use_of_the_fused_kernel():
    backward = layers.GRU(5, go_backwards=True, use_cudnn=False)
    layer = layers.Bidirectional(layers.LSTM(4), backward_layer=backward)
    assert (layer.forward_layer.use_cudnn, layer.backward_layer.use_cudnn) == ("auto", False)


def test_a_mask_follows_outputs_that_are_in_reverse():
    layer = layers.Bidirectional(
        layers.GRU(3, return_sequences=True, go_backwards=True),
        backward_layer=layers.GRU(3, return_sequences=True),
    )
    mask = np.array(cases.MASKS["right"], bool)
    passed_on = cases.numpy(layer.compute_mask(X, keras.ops.convert_to_tensor(mask)))
    np.testing.assert_array_equal(passed_on, mask[:, ::-1])


@pytest.mark.parametrize("has_input", [True, False])
def test_initial_weights_are_those_that_were_passed(has_input):
    weights = [cases.random(*w.shape).astype("float32") for w in differing("two sizes").weights]
    layer = layers.Bidirectional(
        layers.LSTM(5), weights=weights, backward_layer=layers.LSTM(9, go_backwards=True)
    )
    stack = [keras.Input(X.shape[1:])] if has_input else []
    model = keras.Sequential([*stack, layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(X.astype("float32"), np.ones((len(X), 1)), verbose=0)
    for actual, expected in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("settings", "weights", "message"),
    [
        ({}, [np.ones((3, 4))], r"of shapes \[\(3, 4\), .*\]; got \[\(3, 4\)\]"),
        ({}, [np.ones((3, 9))] * 6, r"of shapes \[\(3, 4\), \(4, 4\), .*; got \[\(3, 9\), "),
        ({}, [], r"starts with a kernel \(features, \.\.\.\), got \[\]"),
        ({"stateful": True}, [np.ones((3, 4))], "batch size of a stateful layer"),
    ],
)
def test_initial_weights_that_do_not_fit_are_refused(settings, weights, message):
    with pytest.raises(ValueError, match=message):
        layers.Bidirectional(layers.SimpleRNN(4, **settings), weights=weights)


@pytest.mark.parametrize("not_a_layer", [layers.LSTMCell(3), keras.layers.Dense(3), layers.LSTM])
def test_only_recurrent_layers_have_two_directions(not_a_layer):
    with pytest.raises(TypeError, match="`layer` of Bidirectional must be a recurrent layer"):
        layers.Bidirectional(not_a_layer)
    with pytest.raises(TypeError, match="`backward_layer` of Bidirectional must be a recurrent"):
        layers.Bidirectional(layers.LSTM(3), backward_layer=not_a_layer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "different `go_backwards`"),
        ({"go_backwards": True, "return_sequences": True}, "return_sequences"),
        ({"go_backwards": True, "return_state": True}, "return_state"),
        ({"go_backwards": True, "stateful": True}, "stateful"),
    ],
)
def test_a_backward_layer_with_other_options_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        layers.Bidirectional(layers.LSTM(3), backward_layer=layers.GRU(3, **settings))
