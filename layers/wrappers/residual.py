"""What lets the input of a cell pass beside it: residual and highway connections."""

import keras
from keras import ops

from .base import CellWrapper


class _AroundTheOutput(CellWrapper):
    """A wrapper that leaves the states alone and makes another output, `y`, of the same width."""

    def __init__(self, cell, **kwargs):
        super().__init__(cell, **kwargs)
        self.inner_output_name, self.output_name = self.output_name, "y"

    def build(self, input_shape):
        if input_shape[-1] != self.output_size:
            raise ValueError(
                f"{type(self).__name__} adds inputs and outputs, which must be of one width; the "
                f"inputs have {input_shape[-1]} features, {type(self.cell).__name__} gives "
                f"{self.output_size}. Put a `Dense({self.output_size})` before the layer, or give "
                f"the cell {input_shape[-1]} units."
            )
        super().build(input_shape)


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Residual(_AroundTheOutput):
    """Adds the input to the output of a cell, so that deep stacks of cells learn from the start.

        y = x + h'

    The states stay those of the cell; the next cell of a stack reads y. At padded steps y is
    held, and zero before the first valid one.

    Args:
        cell: a recurrent cell as wide as its inputs.

    Call arguments:
        inputs: (batch, units).
        states: as of the inner cell.
        training: passed on to the cell.

    Raises:
        ValueError: inputs and output differ in width.

    Example:
        >>> stack = RNN(StackedCells([GRUCell(4), Residual(GRUCell(4)), Residual(GRUCell(4))]))
        >>> tuple(stack(np.ones((2, 5, 3))).shape)
        (2, 4)

    References: He et al., 2016, "Deep residual learning for image recognition"; Wu et al., 2016,
    "Google's neural machine translation system" (between recurrent layers).
    """

    def change(self, values, inputs, states, noise):
        return {"y": inputs + values[self.inner_output_name]}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Highway(_AroundTheOutput):
    """Lets a gate choose, unit by unit, between the output of a cell and its input.

        t = sigmoid(x W + b)          transform gate
        y = t * h' + (1 - t) * x

    The states stay those of the cell. At padded steps y is held, and zero before the first valid
    one.

    Weights:
        kernel W (units, units), bias b (units,).

    Args:
        cell: a recurrent cell as wide as its inputs.
        bias_initializer: first value of b; below 0 the input passes at first, as the paper
            proposes.
        kernel_initializer: first values of W.

    Call arguments:
        inputs: (batch, units).
        states: as of the inner cell.
        training: passed on to the cell.

    Raises:
        ValueError: inputs and output differ in width.

    Example:
        >>> layer = RNN(Highway(GRUCell(3)), return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 3)

    Reference: Srivastava, Greff and Schmidhuber, 2015, "Highway networks".
    """

    def __init__(self, cell, bias_initializer=None, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(cell, **kwargs)
        bias_initializer = (
            keras.initializers.Constant(-1.0) if bias_initializer is None else bias_initializer
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        super().build(input_shape)
        shape = (self.features, self.output_size)
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=self.kernel_initializer
        )
        self.bias = self.add_weight(name="bias", shape=shape[1:], initializer=self.bias_initializer)

    def change(self, values, inputs, states, noise):
        t = ops.sigmoid(ops.matmul(inputs, self.kernel) + self.bias)
        return {"t": t, "y": t * values[self.inner_output_name] + (1 - t) * inputs}

    def get_config(self):
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "bias_initializer": serialize(self.bias_initializer),
            "kernel_initializer": serialize(self.kernel_initializer),
        }
