"""Cells that users write: outputs that are no state; states of any number, shape and dtype."""

import keras
from keras import ops

from rnn_topologies import layers


class UserCell(keras.layers.Layer):
    """Returns the inputs and counts the steps."""

    state_size = 1

    def call(self, inputs, states):
        return inputs, [states[0] + 1]


class TransformedState(UserCell):
    """The output is computed from the new state."""

    state_size = 3

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 3))
        self.recurrent_kernel = self.add_weight(name="recurrent_kernel", shape=(3, 3))

    def call(self, inputs, states):
        products = ops.matmul(inputs, self.kernel) + ops.matmul(states[0], self.recurrent_kernel)
        h = ops.tanh(products)
        return 2 * h + 1, [h]


class OtherWidth(UserCell):
    """The output is wider than the state, and has a declared size."""

    state_size = 2
    output_size = 5

    def call(self, inputs, states):
        h = states[0] + ops.mean(inputs, axis=-1, keepdims=True)
        return ops.concatenate([inputs, h], axis=-1), [h]


class SecondStateIsTheOutput(UserCell):
    state_size = (2, 3)

    def call(self, inputs, states):
        count, total = states
        total = total + inputs
        return total, (count + 1, total)


class Groups(UserCell):
    """States in groups, of different widths."""

    state_size = [[2, 3], 1]

    def call(self, inputs, states):
        (count, total), last = states
        total = total + inputs
        return total - last, [[count + 1, total], last + ops.sum(total, axis=-1, keepdims=True)]


class OneNumberPerRow(UserCell):
    state_size = [()]

    def call(self, inputs, states):
        total = states[0] + ops.sum(inputs, axis=-1)
        return inputs * ops.expand_dims(total, -1), [total]


class RowOutput(OneNumberPerRow):
    """The output has only a batch axis."""

    output_size = ()

    def call(self, inputs, states):
        total = states[0] + ops.sum(inputs, axis=-1)
        return 2 * total, [total]


class Matrix(UserCell):
    """A state with two axes: a decaying sum of outer products of the inputs."""

    state_size = [(3, 3)]
    output_size = 3

    def call(self, inputs, states):
        memory = 0.5 * states[0] + inputs[:, :, None] * ops.tanh(inputs)[:, None, :]
        return ops.sum(memory, axis=1), [memory]


class IntegerState(UserCell):
    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, 1), dtype="int32")]

    def call(self, inputs, states):
        return inputs + states[0], [states[0] + 1]


class BareState(TransformedState):
    """Returns its state without a list."""

    def call(self, inputs, states):
        output, (h,) = super().call(inputs, states)
        return output, h


class DoubledGRU(layers.GRUCell):
    """Overrides `call` of a cell of this library."""

    def __init__(self, units=3, **kwargs):
        super().__init__(units, **kwargs)

    def call(self, inputs, states, training=False):
        h, states = super().call(inputs, states, training)
        return 2 * h, states


class DoubledMinGRU(layers.MinGRUCell):
    def __init__(self, units=3, **kwargs):
        super().__init__(units, **kwargs)

    def call(self, inputs, states, training=False):
        h, states = super().call(inputs, states, training)
        return 2 * h, states


class DoubledKerasLSTM(keras.layers.LSTMCell):
    def __init__(self, units=3, **kwargs):
        super().__init__(units, **kwargs)

    def call(self, inputs, states, training=False):
        h, states = super().call(inputs, states, training=training)
        return 2 * h, states


class ImageCell(UserCell):
    """A convolutional cell for inputs (batch, 4, 4, channels)."""

    state_size = [(4, 4, 2)]
    output_size = (4, 4, 3)

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(3, 3, shape[-1] + 2, 2))

    def call(self, inputs, states):
        joined = ops.concatenate([inputs, states[0]], axis=-1)
        h = ops.tanh(ops.conv(joined, self.kernel, padding="same", data_format="channels_last"))
        return ops.concatenate([h, inputs[..., :1]], axis=-1), [h]


class ImageAndVector(ImageCell):
    """States of different ranks, an image and a vector; the output size is not declared."""

    state_size = [(4, 4, 2), 3]
    output_size = None

    def call(self, inputs, states):
        image, vector = states
        output, (image,) = super().call(inputs, [image])
        vector = vector + ops.mean(image, axis=(1, 2, 3))[:, None]
        return output + vector[:, None, None, :], [image, vector]


class ShapeAsStateSize(ImageCell):
    """Declares the shape of its one state where Keras expects a list."""

    state_size = (4, 4, 2)
    output_size = None

    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, *self.state_size), dtype=self.compute_dtype)]

    def call(self, inputs, states):
        _, states = super().call(inputs, states)
        return states[0], states


class NamedImageCell(layers.RecurrentCell):
    """A cell of images in this library's contract."""

    state_names = ("h", "total")
    state_size = [(4, 4, 2), 2]
    output_name = "y"
    output_size = (4, 4, 2)

    def build(self, shape):
        self.features = shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(3, 3, shape[-1], 2))

    def values(self, inputs, states, training=False):
        h, total = self.unpack(states)
        z = ops.conv(inputs, self.kernel, padding="same", data_format="channels_last")
        h = ops.tanh(z + h)
        return {"h": h, "total": total + ops.mean(h, axis=(1, 2)), "y": 2 * h}


VECTORS = (
    UserCell,
    TransformedState,
    OtherWidth,
    SecondStateIsTheOutput,
    Groups,
    OneNumberPerRow,
    RowOutput,
    Matrix,
    IntegerState,
    BareState,
    DoubledGRU,
    DoubledMinGRU,
    DoubledKerasLSTM,
)
IMAGES = (ImageCell, ImageAndVector, ShapeAsStateSize, NamedImageCell)


def by_hand(cell, x, mask, states=None, go_backwards=False):
    """Returns (outputs, last states) of a Python loop over the valid steps of every row.

    Before the first valid step the output is zero.
    """
    outputs, last = [], []
    time = range(x.shape[1])
    for row in range(len(x)):
        one = slice(row, row + 1)
        if states is None:
            now = layers.RNN(cell).get_initial_state(1)
        else:
            now = keras.tree.map_structure(lambda state, one=one: state[one], states)
        now = keras.tree.map_structure(lambda state: ops.cast(state, cell.compute_dtype), now)
        held, shown = None, []
        for t in reversed(time) if go_backwards else time:
            if mask[row][t]:
                held, new = cell(ops.convert_to_tensor(x[one, t]), now)
                now = keras.tree.pack_sequence_as(now, keras.tree.flatten(new))
            shown.append(held)
        like = cell(ops.convert_to_tensor(x[one, 0]), now)[0]
        shown = [ops.zeros_like(like) if output is None else output for output in shown]
        outputs.append(ops.stack(shown, axis=1))
        last.append(now)
    joined = keras.tree.map_structure(lambda *rows: ops.concatenate(rows, axis=0), *last)
    as_numpy = ops.convert_to_numpy
    return as_numpy(ops.concatenate(outputs, axis=0)), keras.tree.map_structure(as_numpy, joined)
