"""Padding in the loop over any cell: outputs repeat, states are kept, gradients are finite."""

import keras
import numpy as np
import pytest

from rnn_topologies import layers
from rnn_topologies.layers import native, rnn
from rnn_topologies.layers.dispatch import plan

from . import cases, odd_cells

TIME = cases.TIME
X = cases.random(cases.BATCH, TIME, 3).astype("float32")
# As many rows as steps and pixels, so that broadcasting a mask along the wrong axis does not fail.
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


# Every cell with gaps, and one cell with every mask; forwards in a loop, backwards unrolled, and
# one cell in all four ways.
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


# Layer, dispatch: the kernel or the scan of the layer, the backend's kernel or loop, unrolled.
CLEAN = [(name, "auto", False) for name in cases.LAYERS]
CLEAN += [(name, "off", unroll) for name in native.CELLS for unroll in (False, True)]
CLEAN += [(name, "auto", True) for name in ("min_gru", "layer_norm_lstm")]


def poisoned(x, mask, value):
    return np.where(mask.reshape(*mask.shape, *(1 for _ in x.shape[2:])), x, value).astype(x.dtype)


def assert_clean_gradients(layer, x, mask, states):
    """Asserts that values at padded steps change no gradient; the last gradient is that of x."""

    def loss(tensors):
        outputs = layer(tensors[-1], initial_state=tensors[:-1] or None, mask=mask)
        return sum(keras.ops.sum(keras.ops.square(y)) for y in keras.tree.flatten(outputs))

    expected = cases.gradients(layer, loss, [*states, poisoned(x, mask, 0)])
    for value in (np.nan, np.inf):
        actual = cases.gradients(layer, loss, [*states, poisoned(x, mask, value)])
        for gradient, clean in zip(actual, expected, strict=True):
            np.testing.assert_allclose(gradient, clean, rtol=1e-6, atol=1e-7)
        assert np.abs(actual[-1][~mask]).max() == 0


@pytest.mark.parametrize(("name", "switch", "unroll"), CLEAN)
def test_nan_at_padded_steps_reaches_no_gradient(monkeypatch, name, switch, unroll):
    monkeypatch.setenv(native.KERNEL_VARIABLE, switch)
    layer_class, arguments = cases.LAYERS[name]
    layer = layer_class(
        4, return_sequences=True, return_state=True, unroll=unroll, dtype="float32", **arguments
    )
    layer.build(X.shape)
    states = [cases.random(len(X), n).astype("float32") for n in layer.cell.state_sizes]
    assert_clean_gradients(layer, X, np.array(cases.MASKS["whole rows"], bool), states)


WRAPPED = {
    "zoneout": lambda: layers.Zoneout(layers.LSTMCell(3)),
    "residual": lambda: layers.Residual(layers.GRUCell(3)),
    "highway": lambda: layers.Highway(keras.layers.GRUCell(3)),
    "learned start": lambda: layers.TrainableInitialState(odd_cells.TransformedState()),
    "stack": lambda: layers.StackedCells([keras.layers.LSTMCell(3), layers.MinGRUCell(3)]),
    "Keras's stack": lambda: keras.layers.StackedRNNCells([layers.LSTMCell(3)]),
    "images": odd_cells.ImageCell,
}


@pytest.mark.parametrize("cell", WRAPPED)
def test_nan_at_padded_steps_reaches_no_gradient_through_other_cells(cell):
    x, mask = (IMAGES, IMAGE_MASK) if cell == "images" else data_for(odd_cells.UserCell)
    layer = layers.RNN(WRAPPED[cell](), return_sequences=True)
    layer.build(x.shape)
    assert_clean_gradients(layer, x, mask, [])


def test_infinity_at_padded_steps_stays_out_of_mixed_precision():
    layer = layers.LSTM(4, dtype="mixed_float16", return_sequences=True)
    layer.build(X.shape)
    mask = np.array(cases.MASKS["gaps"], bool)
    too_large = poisoned(X, mask, 1e6)  # infinity in float16
    clean = cases.numpy(layer(poisoned(X, mask, 0), mask=mask))
    np.testing.assert_array_equal(cases.numpy(layer(too_large, mask=mask)), clean)

    def loss(tensors):
        return keras.ops.sum(keras.ops.cast(layer(tensors[0], mask=mask), "float32"))

    gradients = cases.gradients(layer, loss, [too_large])
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("attention", [layers.DotAttention, layers.AdditiveAttention])
def test_nan_at_padded_steps_of_a_memory_reaches_no_gradient(attention):
    arguments = {"units": 5} if attention is layers.AdditiveAttention else {"bilinear": True}
    decoder = layers.Decoder(
        layers.GRUCell(4),
        vocabulary_size=6,
        embedding_size=3,
        start_id=1,
        end_id=2,
        attention=attention(**arguments),
    )
    mask, tokens = np.array(cases.MASKS["whole rows"], bool), np.array([[1, 3, 4]] * len(X))

    def loss(tensors):
        logits = decoder(tokens, memory=tensors[0], memory_mask=mask)
        alone, _ = decoder.attention(tensors[1], tensors[0], mask=mask)
        return keras.ops.sum(keras.ops.square(logits)) + keras.ops.sum(keras.ops.square(alone))

    query = cases.random(len(X), 2, 4).astype("float32")
    decoder(tokens, memory=X)
    expected = cases.gradients(decoder, loss, [poisoned(X, mask, 0), query])
    actual = cases.gradients(decoder, loss, [poisoned(X, mask, np.nan), query])
    for gradient, clean in zip(actual, expected, strict=True):
        np.testing.assert_allclose(gradient, clean, rtol=1e-5, atol=1e-6)
    assert np.abs(actual[-2][~mask]).max() == 0


def stack_of_keras():
    return keras.layers.StackedRNNCells([keras.layers.LSTMCell(4), keras.layers.GRUCell(3)])


GROUPED = {
    "Keras's stack": stack_of_keras,
    "Keras's stack of one": lambda: keras.layers.StackedRNNCells([keras.layers.LSTMCell(4)]),
    "stack in a stack": lambda: keras.layers.StackedRNNCells([stack_of_keras(), layers.GRUCell(2)]),
    "Keras's stack in ours": lambda: layers.StackedCells([stack_of_keras(), layers.LSTMCell(2)]),
    "ours in ours": lambda: layers.StackedCells(
        [layers.StackedCells([layers.LSTMCell(4), layers.GRUCell(3)]), keras.layers.GRUCell(2)]
    ),
}


@pytest.mark.parametrize("stack", GROUPED)
def test_states_of_a_stack_are_fed_back_as_returned_or_flat(stack, tmp_path):
    layer = layers.RNN(GROUPED[stack](), return_sequences=True, return_state=True)
    mask = np.array(cases.MASKS["gaps"], bool)
    whole, *last = cases.numpy(layer(X, mask=mask))
    _, *states = layer(X[:, :2], mask=mask[:, :2])
    for given in (states, keras.tree.flatten(states)):
        second = layer(X[:, 2:], initial_state=given, mask=mask[:, 2:])
        assert_close(second, [whole[:, 2:], *last])
    inputs, rest = keras.Input((2, 3)), keras.Input((4, 3))
    _, *symbolic = layer(inputs)
    model = keras.Model([inputs, rest], layer(rest, initial_state=symbolic))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = cases.numpy(layer(X))
    for one in (model, loaded):
        actual = one([X[:, :2], X[:, 2:]])
        assert_close(actual, [expected[0][:, 2:], *expected[1:]])


def test_one_tensor_may_be_several_initial_states():
    layer = layers.RNN(
        layers.StackedCells([layers.PeepholeLSTMCell(3), layers.PeepholeLSTMCell(3)]),
        return_sequences=True,
    )
    mask = np.array(cases.MASKS["left"], bool)
    state = keras.ops.convert_to_tensor(cases.random(len(X), 3).astype("float32"))
    copies = [keras.ops.copy(state) for _ in range(4)]
    expected = cases.numpy(layer(X, initial_state=copies, mask=mask))
    assert_close(layer(X, initial_state=[state] * 4, mask=mask), expected)


IMAGE_WRAPPERS = {
    "learned start": lambda cell: layers.TrainableInitialState(cell, "ones"),
    "recurrent dropout": layers.RecurrentDropout,
    "residual": layers.Residual,
    "highway": layers.Highway,
    "stack": lambda cell: layers.StackedCells([odd_cells.ImageCell(), cell]),
}


@pytest.mark.parametrize("wrapper", IMAGE_WRAPPERS)
def test_wrappers_take_cells_of_images(wrapper):
    cell = IMAGE_WRAPPERS[wrapper](odd_cells.ShapeAsStateSize())
    layer = layers.RNN(cell, return_sequences=True, return_state=True)
    outputs, *states = cases.numpy(layer(IMAGES, mask=IMAGE_MASK))
    start = cases.numpy(layer.get_initial_state(4))
    expected, last = odd_cells.by_hand(cell, IMAGES, IMAGE_MASK, start)
    assert_close([outputs, *states], [expected, *last])


def test_zoneout_refuses_states_of_images():
    with pytest.raises(ValueError, match=r"Zoneout needs states of shape \(batch, size\)"):
        layers.Zoneout(odd_cells.ImageCell())


@pytest.mark.parametrize("rank", [2, 4])
def test_cells_of_gates_name_inputs_of_another_rank(rank):
    with pytest.raises(ValueError, match=r"\(batch, time, features\), got"):
        layers.RNN(layers.GRUCell(3))(np.ones((2,) * rank, "float32"))


def test_both_directions_of_a_stack_take_their_states_back():
    layer = layers.Bidirectional(layers.RNN(stack_of_keras(), return_state=True))
    _, *states = layer(X)
    expected = cases.numpy(layer(X, initial_state=states))
    assert_close(layer(X, initial_state=keras.tree.flatten(states)), expected)
    forward, *_ = layer.forward_layer(X, initial_state=states[:2])
    np.testing.assert_allclose(expected[0][:, :3], cases.numpy(forward), **TOLERANCE)


def test_a_decoder_reads_a_stack_of_keras():
    decoder = layers.Decoder(
        stack_of_keras(), vocabulary_size=6, embedding_size=3, start_id=1, end_id=2
    )
    tokens = np.array([[1, 3, 4]] * len(X))
    states = [cases.random(len(X), size).astype("float32") for size in decoder.state_sizes]
    logits = cases.numpy(decoder(tokens, initial_state=states))
    grouped = [[states[0], states[1]], [states[2]]]
    assert_close(decoder(tokens, initial_state=grouped), logits)
    for t in range(tokens.shape[1]):
        step, states, _ = decoder.step(tokens[:, t], states)
        np.testing.assert_allclose(cases.numpy(step), logits[:, t], **TOLERANCE)
    decoded = decoder.beam_search(max_length=3, beam_size=2, initial_state=grouped)
    assert tuple(decoded.tokens.shape) == (len(X), 2, 3)


def test_a_trace_of_a_cell_of_images_is_masked_by_row():
    layer = layers.RNN(odd_cells.NamedImageCell(), return_sequences=True)
    outputs = cases.numpy(layer(IMAGES, mask=IMAGE_MASK))
    trace = layers.trace_gates(layer, IMAGES, mask=IMAGE_MASK)
    np.testing.assert_array_equal(np.isnan(trace["y"]).all((2, 3, 4)), ~IMAGE_MASK)
    np.testing.assert_allclose(trace["y"][IMAGE_MASK], outputs[IMAGE_MASK], **TOLERANCE)
    started = np.cumsum(IMAGE_MASK, axis=1) > 0
    np.testing.assert_allclose(2 * trace["h"][started], outputs[started], **TOLERANCE)


@pytest.mark.parametrize("kind", [odd_cells.Matrix, odd_cells.OneNumberPerRow])
def test_beam_search_moves_states_of_any_rank(kind):
    decoder = layers.Decoder(
        kind(), vocabulary_size=9, embedding_size=3, start_id=1, end_id=2, readout_size=4
    )
    states = [cases.random(5, *kind.state_size[0]).astype("float32")]
    decoder(np.array([[1]] * 5), initial_state=states)
    search = {"max_length": 4, "beam_size": 3, "length_penalty": 0.0}
    found = cases.numpy(decoder.beam_search(initial_state=states, **search))
    # The score of a sequence is that of its tokens, read one after the other.
    tokens, scores = found.tokens[:, 0], found.scores[:, 0]
    starts = np.full((5, 1), 1)
    logits = decoder(np.concatenate([starts, tokens[:, :-1]], axis=1), initial_state=states)
    allowed = keras.ops.where(np.isin(np.arange(9), (0, 1)), -1e9, logits)
    log_p = cases.numpy(keras.ops.log_softmax(allowed, axis=-1))
    for row in range(5):
        length = next((t + 1 for t, token in enumerate(tokens[row]) if token == 2), 4)
        total = sum(log_p[row, t, tokens[row, t]] for t in range(length))
        np.testing.assert_allclose(scores[row], total, rtol=1e-4)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (lambda ones: [[ones(4), ones(4)]], "must contain 3 states, got 2"),
        (lambda ones: [[ones(4), ones(4)], [ones(7)]], r"must have shape \(4, 3\), got \(4, 7\)"),
        (lambda ones: ones(4), "must contain 3 states, got 1"),
    ],
)
def test_wrong_states_of_a_stack_are_named(states, message):
    layer = layers.RNN(stack_of_keras())
    with pytest.raises(ValueError, match=message):
        layer(X, initial_state=states(lambda size: np.ones((len(X), size), "float32")))
