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
    with pytest.raises(ValueError, match="must hold 4 states"):
        layer(X, initial_state=cases.states_for("lstm"))


def test_a_stateful_layer_keeps_its_states_in_both_directions_until_reset():
    layer, _ = build("gru", stateful=True)
    first = cases.numpy(layer(X))
    second = cases.numpy(layer(X))
    assert np.abs(first - second).max() > 1e-6
    layer.reset_state()
    np.testing.assert_array_equal(cases.numpy(layer(X)), first)
