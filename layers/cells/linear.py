"""The base class of cells that are linear in the state, which run in parallel over time."""

from __future__ import annotations

from typing import Unpack

from ..arguments import LayerOptions, from_locals
from ..typing import Activation, Constraint, Initializer, Regularizer, States, Tensor
from .base import Cell


class LinearCell(Cell):
    """A step that is linear in the state, so that a whole sequence runs at once.

        h' = keep * h + add

    where `keep` and `add` depend on the input alone. `RNN` runs such a cell in parallel over time
    unless the sequence is very short. A subclass implements `coefficients` instead of `values`.

    Args:
        units: dimension of the state and of the output.
        activation: activation of the candidate.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of `kernel`.
        bias_initializer: initializer of `bias`.
        kernel_regularizer: regularizer of `kernel`.
        bias_regularizer: regularizer of `bias`.
        kernel_constraint: constraint on `kernel`.
        bias_constraint: constraint on `bias`.
        dropout: fraction of the input features to drop, with one mask per sequence.
        seed: seed of the dropout masks.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Example:
        >>> class Leaky(LinearCell):
        ...     gates = ("h",)
        ...
        ...     def coefficients(self, inputs, training=False):
        ...         x = self.activation(self.input_product(inputs, training) + self.bias)
        ...         return {"keep": keras.ops.full_like(x, 0.9), "add": 0.1 * x}
        >>> layer = RNN(Leaky(4))
        >>> layer.explain((32, 1000, 3)).method, tuple(layer(np.ones((2, 1000, 3))).shape)
        ('parallel over time', (2, 4))
    """

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ):
        values = from_locals(locals(), accepted=self.argument_names())
        super().__init__(**values, recurrent_initializer=None)

    @property
    def recurrent_shape(self) -> None:
        return None

    def coefficients(self, inputs: Tensor, training: bool = False) -> dict[str, Tensor]:
        """Returns `keep`, `add`, and every other quantity in the equations by name.

        Args:
            inputs: one step, (batch, features), or a whole sequence, (batch, time, features).
            training: whether dropout is applied.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `coefficients`.")

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
        (h,) = self.unpack(states)
        coefficients = self.coefficients(inputs, training)
        keep, add = coefficients.pop("keep"), coefficients.pop("add")
        return {**coefficients, "h": keep * h + add}
