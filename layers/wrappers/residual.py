"""Connections from a cell's input to its output: residual and highway."""

from typing import Any, Unpack

import keras
from keras import ops

from .. import arguments
from ..arguments import LayerOptions
from ..cells.states import shape_of
from ..typing import Initializer, Shape, States, Tensor
from .base import CellWrapper


class _SkipConnection(CellWrapper):
    """A wrapper that keeps the states and replaces the output with `y`, of the same size."""

    def __init__(self, cell: keras.layers.Layer, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(cell, **kwargs)
        self.inner_output_name, self.output_name = self.output_name, "y"

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        if tuple(input_shape[-len(shape_of(self.output_size)) :]) != shape_of(self.output_size):
            raise ValueError(
                f"{type(self).__name__} adds inputs and outputs, which must have the same size; "
                f"the inputs have {input_shape[-1]} features, {type(self.cell).__name__} has "
                f"{self.output_size} units. Put a `Dense({self.output_size})` before the layer, or "
                f"use a cell with {input_shape[-1]} units."
            )


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Residual(_SkipConnection):
    """Adds the input of a cell to its output, which makes deep stacks of cells easier to train.

        y = x + h'

    The states are those of the cell; the next cell of a stack reads y. At padded steps y repeats
    its last valid value, and is zero before the first valid step.

    Args:
        cell: a recurrent cell with as many units as the inputs have features.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: (batch, units).
        states: as for the inner cell.
        training: passed to the cell.

    Raises:
        ValueError: inputs and output differ in size.

    Example:
        >>> stack = RNN(StackedCells([GRUCell(4), Residual(GRUCell(4)), Residual(GRUCell(4))]))
        >>> tuple(stack(np.ones((2, 5, 3))).shape)
        (2, 4)

    References: He et al., 2016, "Deep residual learning for image recognition"; Wu et al., 2016,
    "Google's neural machine translation system" (between recurrent layers).
    """

    def transform_values(
        self, values: dict[str, Tensor], inputs: Tensor, states: States, noise: Tensor | None
    ) -> dict[str, Tensor]:
        return {"y": inputs + values[self.inner_output_name]}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Highway(_SkipConnection):
    """Mixes the output of a cell with its input, weighted by a learned gate for every unit.

        t = sigmoid(x W + b)          transform gate
        y = t * h' + (1 - t) * x

    The states are those of the cell. At padded steps y repeats its last valid value, and is zero
    before the first valid step.

    Weights:
        kernel W (units, units), bias b (units,).

    Args:
        cell: a recurrent cell with as many units as the inputs have features.
        bias_initializer: initializer of b; -1 if None. A negative bias lets the input pass at the
            start of training, as the paper recommends.
        kernel_initializer: initializer of W.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: (batch, units).
        states: as for the inner cell.
        training: passed to the cell.

    Raises:
        ValueError: inputs and output differ in size.

    Example:
        >>> layer = RNN(Highway(GRUCell(3)), return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 3)

    Reference: Srivastava, Greff and Schmidhuber, 2015, "Highway networks".
    """

    kernel: keras.Variable
    bias: keras.Variable

    def __init__(
        self,
        cell: keras.layers.Layer,
        bias_initializer: Initializer | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(cell, **kwargs)
        bias_initializer = (
            keras.initializers.Constant(-1.0) if bias_initializer is None else bias_initializer
        )
        self.bias_initializer = arguments.initializer("bias_initializer", bias_initializer)
        self.kernel_initializer = arguments.initializer("kernel_initializer", kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        shape = (self.features, self.features)
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=self.kernel_initializer
        )
        self.bias = self.add_weight(name="bias", shape=shape[1:], initializer=self.bias_initializer)

    def transform_values(
        self, values: dict[str, Tensor], inputs: Tensor, states: States, noise: Tensor | None
    ) -> dict[str, Tensor]:
        t = ops.sigmoid(ops.matmul(inputs, self.kernel) + self.bias)
        return {"t": t, "y": t * values[self.inner_output_name] + (1 - t) * inputs}

    def get_config(self) -> dict[str, Any]:
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "bias_initializer": serialize(self.bias_initializer),
            "kernel_initializer": serialize(self.kernel_initializer),
        }
