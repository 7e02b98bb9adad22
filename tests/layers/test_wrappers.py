"""Every wrapper and stack equals a loop over the NumPy equations."""

import itertools

import keras
import numpy as np
import pytest

from rnn_topologies import layers

from . import cases, reference

X = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
WIDE = cases.random(cases.BATCH, cases.TIME, cases.UNITS, seed=4)  # as wide as the cells
each_mask = pytest.mark.parametrize("mask", [None, *cases.MASKS])
both_ways = pytest.mark.parametrize("go_backwards", [False, True])
FLOAT = {"dtype": cases.FLOAT}
CELLS = ("lstm", "gru", "min_gru", "lstmp")


def cell_of(name, units=cases.UNITS):
    layer_class, arguments = cases.LAYERS[name]
    return layer_class.cell_class(units, **arguments, **FLOAT)


def run(cell, x, **settings):
    """Returns a layer that runs `cell`, with random weights."""
    layer = layers.RNN(cell, return_sequences=True, return_state=True, **FLOAT, **settings)
    layer.build(x.shape)
    cases.randomize(layer)
    return layer


def values(weights):
    return [cases.numpy(weight) for weight in weights]


def by_hand(step, x, states, mask, go_backwards, first):
    """Returns (outputs, last states) of `step(x_t, states) -> (output, states)`, row by row.

    Args:
        first: `(states) -> output` held before the first valid step.
    """
    time = range(x.shape[1])
    outputs, last = [], []
    for row in range(len(x)):
        now = [state[row : row + 1] for state in states]
        held, shown = first(now), []
        for t in reversed(time) if go_backwards else time:
            if mask is None or mask[row][t]:
                held, now = step(x[row : row + 1, t], now)
            shown.append(held[0])
        outputs.append(shown)
        last.append([state[0] for state in now])
    return np.array(outputs), [np.array(column) for column in zip(*last, strict=True)]


def compare(layer, x, states, step, mask, first, go_backwards=False):
    mask = None if mask is None else np.array(cases.MASKS[mask], bool)
    outputs, *last = cases.numpy(layer(x, initial_state=states, mask=mask))
    expected, expected_last = by_hand(step, x, states, mask, go_backwards, first)
    np.testing.assert_allclose(outputs, expected, **cases.TOLERANCE)
    for state, value in zip(last, expected_last, strict=True):
        np.testing.assert_allclose(state, value, **cases.TOLERANCE)


@pytest.mark.parametrize(("name", "mask"), cases.with_masks(("lstm", "gru", "min_gru"), "lstm"))
@both_ways
def test_residual_adds_the_input(name, mask, go_backwards):
    layer = run(layers.Residual(cell_of(name)), WIDE, go_backwards=go_backwards)
    weights = values(layer.cell.cell.weights)

    def step(x, states):
        new = reference.STEPS[name](x, states, weights)
        return x + new[0], new

    def first(states):
        return np.zeros_like(states[0])

    compare(layer, WIDE, cases.states_for(name), step, mask, first, go_backwards)


@pytest.mark.parametrize("name", ["lstm", "gru"])
@each_mask
def test_highway_mixes_by_its_gate(name, mask):
    layer = run(layers.Highway(cell_of(name)), WIDE)
    weights = values(layer.cell.cell.weights)
    kernel, bias = cases.numpy(layer.cell.kernel), cases.numpy(layer.cell.bias)

    def step(x, states):
        new = reference.STEPS[name](x, states, weights)
        gate = reference.sigmoid(x @ kernel + bias)
        return gate * new[0] + (1 - gate) * x, new

    compare(layer, WIDE, cases.states_for(name), step, mask, lambda s: np.zeros_like(s[0]))


@pytest.mark.parametrize(("name", "mask"), cases.with_masks(CELLS, "lstmp"))
def test_zoneout_takes_the_mean_outside_training(name, mask):
    layer = run(layers.Zoneout(cell_of(name), 0.3), X)
    weights = values(layer.cell.cell.weights)

    def step(x, states):
        new = reference.STEPS[name](x, states, weights)
        new = [0.3 * old + 0.7 * value for old, value in zip(states, new, strict=True)]
        return new[0], new

    compare(layer, X, cases.states_for(name), step, mask, lambda states: states[0])


@pytest.mark.parametrize("mask", [None, "gaps"])
def test_zoneout_samples_units_at_every_step_in_training(mask, monkeypatch):
    layer = run(layers.Zoneout(cell_of("lstm"), {"h": 0.25, "c": 0.5}), X)
    weights = values(layer.cell.cell.weights)
    noise = np.random.default_rng(3).random((*X.shape[:2], 2 * cases.UNITS)).astype(cases.FLOAT)
    uniform = keras.ops.convert_to_tensor(noise)
    monkeypatch.setattr(keras.random, "uniform", lambda shape, dtype, seed: uniform)
    times = itertools.cycle(range(cases.TIME))
    mask = None if mask is None else np.array(cases.MASKS[mask], bool)
    states = cases.states_for("lstm")
    outputs, *last = cases.numpy(layer(X, initial_state=states, mask=mask, training=True))
    expected = []
    for t in times:
        h, c = reference.lstm(X[:, t], states, weights)
        new = [
            np.where(noise[:, t, : cases.UNITS] < 0.25, states[0], h),
            np.where(noise[:, t, cases.UNITS :] < 0.5, states[1], c),
        ]
        valid = np.ones((cases.BATCH, 1), bool) if mask is None else mask[:, t, None]
        states = [np.where(valid, a, b) for a, b in zip(new, states, strict=True)]
        expected.append(states[0])
        if t == cases.TIME - 1:
            break
    np.testing.assert_allclose(outputs, np.stack(expected, 1), **cases.TOLERANCE)
    for state, value in zip(last, states, strict=True):
        np.testing.assert_allclose(state, value, **cases.TOLERANCE)


def test_zoneout_keeps_about_the_requested_fraction():
    layer = layers.RNN(layers.Zoneout(layers.GRUCell(200), 0.3, seed=1), return_sequences=True)
    x = np.random.default_rng(0).normal(size=(4, 50, 3)).astype("float32")
    outputs = cases.numpy(layer(x, training=True))
    kept = outputs[:, 1:] == outputs[:, :-1]
    assert abs(kept.mean() - 0.3) < 0.01  # 39,200 samples: the standard deviation is 0.0023
    steps = kept.reshape(-1, 200)
    assert len(np.unique(steps, axis=0)) == len(steps)  # sampled at every step


@pytest.mark.parametrize("name", ["lstm", "gru"])
@each_mask
def test_recurrent_dropout_drops_the_same_units_at_every_step(name, mask, monkeypatch):
    layer = run(layers.RecurrentDropout(cell_of(name), 0.5), X)
    weights = values(layer.cell.cell.weights)
    kept = 2.0 * (cases.random(cases.BATCH, cases.UNITS, seed=5) > 0).astype(cases.FLOAT)
    dropout_mask, rates = keras.ops.convert_to_tensor(kept), []

    def draw(ones, rate, seed):
        rates.append(rate)
        return dropout_mask

    monkeypatch.setattr(keras.random, "dropout", draw)
    valid = np.ones(X.shape[:2], bool) if mask is None else np.array(cases.MASKS[mask], bool)
    states = cases.states_for(name)
    outputs, *_ = cases.numpy(
        layer(X, initial_state=states, mask=None if mask is None else valid, training=True)
    )
    for t in range(cases.TIME):
        entering = [states[0] * kept, *states[1:]]
        new = reference.STEPS[name](X[:, t], entering, weights)
        pairs = zip(new, states, strict=True)
        states = [np.where(valid[:, t, None], after, before) for after, before in pairs]
        np.testing.assert_allclose(outputs[:, t], states[0], **cases.TOLERANCE)
    assert rates == [0.5]  # once per sequence


@pytest.mark.parametrize("name", CELLS)
def test_the_initial_state_is_learned(name):
    cell = layers.TrainableInitialState(cell_of(name), initializer="ones")
    layer = run(cell, X)
    weights = values(cell.cell.weights)
    first = [np.repeat(value[None], cases.BATCH, 0) for value in values(cell.initial_states)]
    outputs, *_ = cases.numpy(layer(X))
    expected, _ = reference.sequence(reference.STEPS[name], X, first, weights)
    np.testing.assert_allclose(outputs, expected, **cases.TOLERANCE)
    gradients = cases.gradients(layer, lambda x: keras.ops.sum(layer(x[0])[0] ** 2), [X])
    names = [weight.name for weight in layer.trainable_weights]
    for state in cell.state_names:
        assert np.abs(gradients[names.index(f"initial_{state}")]).max() > 1e-4
    states = cases.states_for(name)
    expected, _ = reference.sequence(reference.STEPS[name], X, states, weights)
    np.testing.assert_allclose(
        cases.numpy(layer(X, initial_state=states)[0]), expected, **cases.TOLERANCE
    )


def test_a_stateful_layer_is_reset_to_the_learned_initial_state():
    cell = layers.TrainableInitialState(cell_of("gru"))
    layer = layers.RNN(cell, stateful=True, **FLOAT)
    layer.build(X.shape)
    cases.randomize(cell)
    layer.reset_state()
    once = cases.numpy(layer(X))
    assert np.abs(cases.numpy(layer(X)) - once).max() > 1e-3
    layer.reset_state()
    np.testing.assert_allclose(cases.numpy(layer(X)), once, **cases.TOLERANCE)
    expected = cases.numpy(layers.RNN(cell, **FLOAT)(X))
    np.testing.assert_allclose(once, expected, **cases.TOLERANCE)


STACKS = {
    "one kind": lambda: [cell_of("gru", 4), cell_of("gru", 4)],
    "different widths": lambda: [cell_of("lstm", 7), cell_of("gru", 4), cell_of("lstmp", 6)],
    "with a Keras cell": lambda: [keras.layers.LSTMCell(6, **FLOAT), cell_of("gru", 4)],
}
KINDS = {
    "one kind": ("gru", "gru"),
    "different widths": ("lstm", "gru", "lstmp"),
    "with a Keras cell": ("lstm", "gru"),
}


@pytest.mark.parametrize(("stack", "mask"), cases.with_masks(STACKS, "different widths"))
@pytest.mark.parametrize(("go_backwards", "unroll"), [(True, False), (False, True)])
def test_stacked_cells_equal_stacked_layers(stack, mask, go_backwards, unroll):
    cell = layers.StackedCells(STACKS[stack]())
    layer = run(cell, X, go_backwards=go_backwards, unroll=unroll)
    weights = [values(inner.weights) for inner in cell.cells]
    counts = [len(inner.state_sizes) for inner in cell.cells]
    states = [cases.random(cases.BATCH, n, seed=30 + n) for n in cell.state_sizes]

    def step(x, states):
        states, new = list(states), []
        for name, cell_weights, count in zip(KINDS[stack], weights, counts, strict=True):
            actual = reference.STEPS[name](x, states[:count], cell_weights)
            states, x = states[count:], actual[0]
            new += actual
        return x, new

    compare(layer, X, states, step, mask, lambda s: s[-counts[-1]], go_backwards)


def test_wrappers_and_stacks_are_nested():
    def stack():
        return layers.Zoneout(
            layers.StackedCells(
                [
                    layers.TrainableInitialState(layers.LSTMCell(5)),
                    layers.Residual(
                        layers.Zoneout(layers.RecurrentDropout(layers.GRUCell(5), 0.2))
                    ),
                    layers.Highway(keras.layers.GRUCell(5)),
                ]
            ),
            {"cell_0_c": 0.2},
        )

    x = X.astype("float32")
    mask = np.array(cases.MASKS["gaps"], bool)
    layer = layers.RNN(stack(), return_sequences=True)
    layer.build(x.shape)
    cases.randomize(layer)
    plain = cases.numpy(layer(x, mask=mask))
    assert np.isfinite(cases.numpy(layer(x, mask=mask, training=True))).all()
    assert np.abs(cases.numpy(layer(x, mask=mask, training=True)) - plain).max() > 1e-3
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    again.build(x.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(cases.numpy(again(x, mask=mask)), plain)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Zoneout(layers.LSTMCell(cases.UNITS), {"h": 0.1}, seed=3),
        lambda: layers.Residual(layers.GRUCell(cases.UNITS)),
        lambda: layers.Highway(layers.GRUCell(cases.UNITS), bias_initializer="zeros"),
        lambda: layers.RecurrentDropout(layers.LSTMCell(cases.UNITS), 0.3, seed=4),
        lambda: layers.TrainableInitialState(layers.LSTMCell(cases.UNITS), "ones"),
        lambda: layers.StackedCells([layers.LSTMCell(4), keras.layers.GRUCell(cases.UNITS)]),
    ],
)
@pytest.mark.parametrize("eager", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_model_with_a_wrapper_trains_and_is_saved_and_loaded(make, eager, tmp_path):
    inputs = keras.Input((None, cases.UNITS))
    mask = keras.Input((None,), dtype="bool")
    hidden = layers.RNN(make(), return_sequences=True)(inputs, mask=mask)
    hidden = layers.Bidirectional(layers.RNN(make()))(hidden, mask=mask)
    model = keras.Model([inputs, mask], keras.layers.Dense(1)(hidden))
    model.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=eager)
    x, valid = WIDE.astype("float32"), np.array(cases.MASKS["gaps"], bool)
    model.fit([x, valid], np.ones((cases.BATCH, 1)), epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    again.run_eagerly = eager
    cells = [m.get_layer(index=2).cell.get_config() for m in (model, again)]
    for config in cells:  # the shapes that Keras records may differ
        config.pop("cell", None)
        config.pop("cells", None)
    assert cells[0] == cells[1]
    actual = [m.predict([x, valid], verbose=0) for m in (model, again)]
    np.testing.assert_array_equal(*actual)


def test_traces_of_a_stack_are_named_after_its_cells():
    stack = layers.StackedCells([cell_of("lstm"), layers.Residual(cell_of("gru"))])
    layer = layers.RNN(stack, return_sequences=True, **FLOAT)
    trace = layers.trace_gates(layer, X)
    assert {"cell_0_f", "cell_0_c", "cell_1_z", "cell_1_h", "cell_1_y"} <= set(trace)
    np.testing.assert_allclose(trace["cell_1_y"], cases.numpy(layer(X)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.Zoneout("lstm"), TypeError, "wraps a recurrent cell"),
        (lambda: layers.Zoneout(layers.GRU(3)), TypeError, "wraps a recurrent cell"),
        (
            lambda: layers.Zoneout(layers.GRUCell(3), 1.0),
            ValueError,
            r"`rates` must be in \[0, 1\)",
        ),
        (
            lambda: layers.Zoneout(layers.GRUCell(3), {"c": 0.1}),
            ValueError,
            "the states of GRUCell",
        ),
        (lambda: layers.RecurrentDropout(layers.GRUCell(3), -1), ValueError, "`rate` must be in"),
        (lambda: layers.StackedCells([]), ValueError, "at least one cell"),
        (lambda: layers.StackedCells(["gru"]), TypeError, "wraps a recurrent cell"),
        (
            lambda: layers.RNN(layers.Residual(layers.GRUCell(4)))(X),
            ValueError,
            r"the inputs have 3 features, GRUCell has 4 units. Put a `Dense\(4\)`",
        ),
    ],
)
def test_a_wrong_argument_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_wrappers_that_need_our_loop_say_so():
    x = X.astype("float32")
    with pytest.raises(ValueError, match="needs 4 random numbers per step"):
        keras.layers.RNN(layers.Zoneout(layers.GRUCell(4)))(x, training=True)
    with pytest.raises(ValueError, match=r"Run the cell in `rnn_topologies.layers.RNN`"):
        keras.layers.RNN(layers.RecurrentDropout(layers.GRUCell(4)))(x, training=True)


@pytest.mark.parametrize("cell_class", [keras.layers.SimpleRNNCell, keras.layers.GRUCell])
def test_stacked_keras_cells_with_dropout_train(cell_class):
    cells = [cell_class(4, dropout=0.3, recurrent_dropout=0.2) for _ in range(2)]
    inputs = keras.Input((5, 3))
    model = keras.Model(inputs, layers.RNN(cells)(inputs))
    model.compile("sgd", "mse")
    x = cases.random(6, 5, 3).astype("float32")
    before = model.predict(x, verbose=0)
    model.fit(x, np.ones((6, 4)), verbose=0)
    after = model.predict(x, verbose=0)
    assert np.abs(after - before).max() > 0
    np.testing.assert_array_equal(after, model.predict(x, verbose=0))
