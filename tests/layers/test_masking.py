"""Padding in the loop over any cell: outputs are held, states kept, gradients clean."""

import keras
import numpy as np
import pytest

from rnn_topologies import layers
from rnn_topologies.layers import rnn
from rnn_topologies.layers.dispatch import plan

from . import cases, odd_cells

TIME = cases.TIME
X = cases.random(cases.BATCH, TIME, 3).astype("float32")
# As many rows as steps and pixels: a mask that is broadcast along the wrong axis goes unnoticed.
IMAGES = cases.random(4, 4, 4, 4, 2).astype("float32")
IMAGE_MASK = np.array([[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 1]], bool)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
KINDS = [*odd_cells.VECTORS, *odd_cells.IMAGES]
# States of every structure, type and rank.
STATES = (
    odd_cells.Groups,
    odd_cells.OneNumberPerRow,
    odd_cells.IntegerState,
    odd_cells.ImageAndVector,
)
each_cell = pytest.mark.parametrize("kind", KINDS)


def data_for(kind, mask="gaps"):
    if kind in odd_cells.IMAGES:
        return IMAGES, IMAGE_MASK
    return X, np.array(cases.MASKS[mask], bool)


def assert_close(actual, expected):
    actual, expected = keras.tree.flatten(actual), keras.tree.flatten(expected)
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert tuple(one.shape) == other.shape
        np.testing.assert_allclose(cases.numpy(one), other, **TOLERANCE)


# Every cell with gaps, one of them with every mask; forwards in a loop, backwards unrolled, and
# one of them in all four ways.
WAYS = [(kind, "gaps", back, back) for kind in KINDS for back in (False, True)]
WAYS += [(odd_cells.TransformedState, mask, True, False) for mask in cases.MASKS]
WAYS += [(odd_cells.TransformedState, mask, False, True) for mask in cases.MASKS]


@pytest.mark.parametrize(("kind", "mask", "go_backwards", "unroll"), WAYS)
def test_any_cell_equals_a_python_loop_over_its_valid_steps(kind, mask, go_backwards, unroll):
    cell = kind()
    x, mask = data_for(kind, mask)
    settings = {"go_backwards": go_backwards, "unroll": unroll, "return_state": True}
    layer = layers.RNN(cell, return_sequences=True, **settings)
    outputs, *states = layer(x, mask=mask)
    expected, last = odd_cells.by_hand(cell, x, mask, go_backwards=go_backwards)
    assert_close([outputs, *states], [expected, *last])
    single = layers.RNN(cell, zero_output_for_mask=True, **settings)
    assert_close(single(x, mask=mask), [expected[:, -1], *last])


@pytest.mark.parametrize("go_backwards", [False, True])
def test_zero_output_for_mask_zeroes_any_output(go_backwards):
    cell = odd_cells.ImageCell()
    settings = {"go_backwards": go_backwards, "zero_output_for_mask": True}
    layer = layers.RNN(cell, return_sequences=True, **settings)
    expected, _ = odd_cells.by_hand(cell, IMAGES, IMAGE_MASK, go_backwards=go_backwards)
    valid = IMAGE_MASK[:, ::-1] if go_backwards else IMAGE_MASK
    expected = np.where(valid[..., None, None, None], expected, 0)
    assert_close(layer(IMAGES, mask=IMAGE_MASK), expected)


@pytest.mark.parametrize("kind", STATES)
def test_any_cell_runs_in_the_loop_for_litert(kind, monkeypatch):
    cell = kind()
    x, mask = data_for(kind)
    layer = layers.RNN(cell, return_sequences=True, return_state=True)
    layer.build(x.shape)
    sliced = plan.Plan(plan.SLICED, True, "")
    monkeypatch.setattr(rnn, "choose_plan", lambda *_, **__: sliced)
    for valid in (mask, np.ones_like(mask)):
        expected = odd_cells.by_hand(cell, x, valid)
        actual = layer(x, mask=None if valid.all() else valid)
        assert_close(actual, [expected[0], *expected[1]])


@each_cell
def test_symbolic_shapes_are_those_of_the_outputs(kind):
    cell = kind()
    x, mask = data_for(kind)
    layer = layers.RNN(cell, return_sequences=True, return_state=True)
    inputs, valid = keras.Input(x.shape[1:]), keras.Input(x.shape[1:2], dtype="bool")
    outputs = layer(inputs, mask=valid)
    model = keras.Model([inputs, valid], outputs)
    actual = model([x, mask])
    expected = odd_cells.by_hand(cell, x, mask)
    assert_close(actual, [expected[0], *expected[1]])
    for spec, value in zip(keras.tree.flatten(outputs), keras.tree.flatten(actual), strict=True):
        assert spec.shape[1:] == tuple(value.shape[1:])
    assert layers.RNN(cell).compute_output_shape((None, *x.shape[1:])) == (
        None,
        *expected[0].shape[2:],
    )


@pytest.mark.parametrize("kind", STATES)
def test_a_stateful_layer_and_returned_states_continue_a_sequence(kind):
    cell = kind()
    x, mask = data_for(kind)
    _, *last = layers.RNN(cell, return_sequences=True, return_state=True)(x, mask=mask)
    stateful = layers.RNN(cell, return_state=True, stateful=True)
    stateful(x[:, :2], mask=mask[:, :2])
    layer = layers.RNN(cell, return_state=True)
    _, *states = layer(x[:, :2], mask=mask[:, :2])
    flat = keras.tree.flatten(states)
    for actual in (
        stateful(x[:, 2:], mask=mask[:, 2:]),
        layer(x[:, 2:], initial_state=states, mask=mask[:, 2:]),
        layer(x[:, 2:], initial_state=flat, mask=mask[:, 2:]),
    ):
        assert_close(actual[1:], cases.numpy(last))
    stateful.reset_state()
    assert_close(stateful(x[:, :2], mask=mask[:, :2])[1:], cases.numpy(states))


@pytest.mark.parametrize("kind", STATES)
def test_streaming_gives_the_outputs_of_the_whole_sequence(kind):
    cell = kind()
    x, _ = data_for(kind)
    layer = layers.RNN(cell, return_sequences=True)
    expected = cases.numpy(layer(x))
    stream = layer.stream(batch_size=len(x))
    assert_close([stream(x[:, t]) for t in range(2)], [expected[:, t] for t in range(2)])
    stream.reset(np.arange(len(x)) == 1)
    continued = cases.numpy(stream(x[:, 2]))
    np.testing.assert_allclose(continued[0], expected[0, 2], **TOLERANCE)
    stream.reset()
    assert_close(stream(x[:, 0]), expected[:, 0])


@pytest.mark.parametrize("kind", [odd_cells.UserCell, odd_cells.OtherWidth, odd_cells.ImageCell])
def test_both_directions_hold_the_output(kind):
    cell = kind()
    x, mask = data_for(kind)
    keras.saving.register_keras_serializable("odd")(kind)
    layer = layers.Bidirectional(layers.RNN(cell, return_sequences=True), merge_mode=None)
    forward, backward = layer(x, mask=mask)
    for output, one_way in ((forward, layer.forward_layer), (backward, layer.backward_layer)):
        backwards = one_way.go_backwards
        expected, _ = odd_cells.by_hand(one_way.cell, x, mask, go_backwards=backwards)
        expected = expected[:, ::-1] if backwards else expected
        valid = mask.reshape(*mask.shape, *(1 for _ in expected.shape[2:]))
        assert_close(output, np.where(valid, expected, 0))
