"""The base classes of cells: the contract of one time step, weights and dropout."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

import keras
from keras import ops, tree

from .. import arguments
from ..inputs import check_features
from ..typing import (
    Activation,
    Constraint,
    Initializer,
    Regularizer,
    Shape,
    States,
    Tensor,
)
from .states import shape_of


def takes_training(cell: keras.layers.Layer) -> bool:
    """Returns whether the cell's `call` has a `training` argument."""
    return "training" in inspect.signature(cell.call).parameters


class RecurrentCell(keras.layers.Layer):
    """The contract of one time step: all that the loops of this library know about a cell.

    A subclass implements its equations in `values` and declares:

        state_names: names of the states, in order.
        state_size: list of the state widths, or the width itself if there is one state. For states
            of higher rank, a shape without the batch axis replaces the width.
        output_name: name in `values` of the output, (batch, output_size).
        noise_size: how many random numbers a training step needs; usually 0. They are appended
            to the features, so that a step reads (batch, features + noise_size).

    This is also Keras's contract (`call(inputs, states, training) -> output, new states`,
    `get_initial_state(batch_size)`), so a cell runs in `keras.layers.RNN` as well. Only cells that
    need random numbers require `rnn_topologies.layers.RNN`: Keras's public interface does not tell
    a cell where a sequence starts, which is when its dropout mask must be drawn.
    """

    state_names: tuple[str, ...] = ("h",)
    output_name: str = "h"
    output_size: int
    state_size: int | list[int]
    noise_size: int = 0
    features: int

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
        """Returns the gates, candidates and new states of a step, in the order of the equations."""
        raise NotImplementedError(f"{type(self).__name__} must implement `values`.")

    def call(
        self, inputs: Tensor, states: States, training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        self.check_inputs(inputs, training)
        values = self.values(inputs, states, training)
        new_states = [values[name] for name in self.state_names]
        if tree.is_nested(states) and any(tree.is_nested(state) for state in states):
            new_states = tree.pack_sequence_as(states, new_states)
        return values[self.output_name], new_states

    @property
    def state_sizes(self) -> list[Any]:
        """Width, or shape without the batch axis, of each state."""
        return self.state_size if isinstance(self.state_size, list) else [self.state_size]

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        """Returns zero states, each (batch_size, width) or (batch_size, *shape)."""
        shapes = [(batch_size, *shape_of(size)) for size in self.state_sizes]
        return [ops.zeros(shape, dtype=self.compute_dtype) for shape in shapes]

    def unpack(self, states: States) -> tuple[Tensor, ...]:
        """Returns the states as a flat tuple.

        Raises:
            ValueError: the number of states or the width of one is wrong.
        """
        states = tuple(tree.flatten(states))
        if len(states) != len(self.state_names):
            raise ValueError(
                f"`states` of {type(self).__name__} must be [{', '.join(self.state_names)}], "
                f"got {len(states)} tensors."
            )
        for name, size, state in zip(self.state_names, self.state_sizes, states, strict=True):
            if isinstance(size, int) and state.shape[-1] not in (size, None):
                raise ValueError(
                    f"State {name} of {type(self).__name__} must have shape (batch, {size}), got "
                    f"{tuple(state.shape)}."
                )
        return states

    def output_state(self, states: States) -> Tensor | None:
        """Returns the state that is also the output, or None if no state is."""
        return dict(zip(self.state_names, states, strict=True)).get(self.output_name)

    def noise(self, shape: Shape) -> Tensor:
        """Returns uniform random numbers in [0, 1) for steps of `shape`: (*shape, noise_size)."""
        raise NotImplementedError(
            f"{type(self).__name__} sets `noise_size` but does not implement `noise`."
        )

    def expected_features(self) -> int | None:
        """Returns the number of input features that the weights are for, None if not known."""
        return getattr(self, "features", None)

    def check_inputs(self, inputs: Tensor, training: bool) -> None:
        """Checks the number of features of a step, with or without its random numbers.

        Raises:
            ValueError: it does not match the weights.
        """
        expected, shape = self.expected_features(), tuple(inputs.shape)
        has_noise = training and expected is not None and shape[-1] == expected + self.noise_size
        if len(shape) == 2 and not has_noise:
            check_features(type(self).__name__, expected, shape)

    def check_noise(self, inputs: Tensor, training: bool) -> None:
        """Checks that a training step has received its random numbers.

        Raises:
            ValueError: they are missing.
        """
        if training and self.noise_size and inputs.shape[-1] != self.features + self.noise_size:
            raise ValueError(
                f"In training {type(self).__name__} needs {self.noise_size} random numbers per "
                f"step, appended to the {self.features} features; got inputs with "
                f"{inputs.shape[-1]} features. Run the cell in `rnn_topologies.layers.RNN`, or "
                "append `cell.noise((batch,))`."
            )

    @contextlib.contextmanager
    def sequence(self, inputs: Tensor, states: States, training: bool) -> Iterator[None]:
        """Draws whatever is random per sequence, such as dropout masks, and keeps it for its steps.

        Args:
            inputs: any step of the sequence, (batch, features).
            states: the initial states.
            training: nothing is drawn unless this is true.
        """
        yield


class Cell(RecurrentCell):
    """A cell with gates: the base class of the cells in this library, and of yours.

    A subclass names its gates and states and implements its equations in `values`:

        gates: names of the weight blocks, in the order in which they are concatenated.
        state_names: names of the states; the first, h, is also the output.
        values(inputs, states, training): returns every quantity in the equations by name,
            including the new states.

    A constructor argument of its own is stored under its name, and `get_config` saves it:

        def __init__(self, units, temperature=1.0, **kwargs):
            super().__init__(units, **kwargs)
            self.temperature = temperature

    Weights, with G gates:
        kernel (features, G * units), recurrent_kernel (units, G * units), bias (G * units,).

    Args:
        units: dimension of the state and of the output.
        activation: activation of the candidate.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of `kernel`.
        recurrent_initializer: initializer of `recurrent_kernel`.
        bias_initializer: initializer of `bias`.
        kernel_regularizer: regularizer of `kernel`.
        recurrent_regularizer: regularizer of `recurrent_kernel`.
        bias_regularizer: regularizer of `bias`.
        kernel_constraint: constraint on `kernel`.
        recurrent_constraint: constraint on `recurrent_kernel`.
        bias_constraint: constraint on `bias`.
        dropout: fraction of the input features to drop, with one mask per sequence.
        recurrent_dropout: fraction of the state to drop on its way into the gates, with one mask
            per sequence.
        seed: seed of the dropout masks.
        **kwargs: other arguments of this library's cells, such as `recurrent_activation`, and
            those of `keras.layers.Layer`.
    """

    gates: ClassVar[tuple[str, ...]] = ()
    # Name by which fused and native implementations know the equations of exactly this class.
    equations: ClassVar[str | None] = None
    # The same global seed gives the same weights as in Keras only if seeds are drawn in its order:
    # Keras's SimpleRNN draws the seed of the dropout masks before those of the initializers, LSTM
    # and GRU after them.
    draws_mask_seed_first: ClassVar[bool] = False
    kernel: keras.Variable
    recurrent_kernel: keras.Variable
    bias: Any  # None without `use_bias`
    activation: Any
    recurrent_activation: Any
    use_bias: bool
    units: int
    bias_initializer: Any
    kernel_initializer: Any
    recurrent_initializer: Any
    dropout: float
    recurrent_dropout: float
    seed: int | None

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer | None = "orthogonal",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        values = arguments.from_locals(locals(), accepted=self.argument_names())
        seed = arguments.optional_integer("seed", seed)
        early = keras.random.SeedGenerator(seed) if self.draws_mask_seed_first else None
        own, options = arguments.split(values)
        super().__init__(**options)
        for name, value in own.items():
            setattr(self, name, value)
        arguments.check_implementation(self, values.get("implementation"))
        sizes = [self.output_size] + [self.units] * (len(self.state_names) - 1)
        self.state_size = sizes if len(sizes) > 1 else self.output_size
        self.seed_generator = early or keras.random.SeedGenerator(seed)
        self._dropout_masks = None

    @classmethod
    def argument_names(cls) -> tuple[str, ...]:
        """Returns the names of the constructor arguments, without those of `keras.layers.Layer`."""
        return arguments.constructor_arguments(cls, Cell)

    def expected_features(self) -> int | None:
        kernel = getattr(self, "kernel", None)
        return None if kernel is None else kernel.shape[0]

    @property
    def output_size(self) -> int:
        """Width of h."""
        return self.units

    @property
    def recurrent_shape(self) -> tuple[int, ...] | None:
        """Shape of `recurrent_kernel`; None if the gates do not read h."""
        return (self.output_size, len(self.gates) * self.units)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of `bias`."""
        return (len(self.gates) * self.units,)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights for inputs of shape (batch, features)."""
        if input_shape[-1] is None:
            raise ValueError(
                f"{type(self).__name__} needs a fixed number of features, got inputs of shape "
                f"{tuple(input_shape)}. Set the last axis of `keras.Input`."
            )
        shape = (input_shape[-1], len(self.gates) * self.units)
        self._add("kernel", shape, self.kernel_initializer, "kernel")
        if self.recurrent_shape is not None:
            initializer = self.recurrent_initializer
            self._add("recurrent_kernel", self.recurrent_shape, initializer, "recurrent")
        self.bias = None
        if self.use_bias:
            self._add("bias", self.bias_shape, self.initial_bias, "bias")
        self.built = True

    def _add(self, name, shape, initializer, kind=None):
        """Creates a weight with the regularizer and constraint of its kind, if it has any."""
        weight = self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            regularizer=kind and getattr(self, f"{kind}_regularizer"),
            constraint=kind and getattr(self, f"{kind}_constraint"),
        )
        setattr(self, name, weight)

    def initial_bias(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Returns the initial `bias`: with `unit_forget_bias`, ones for the forget gate."""
        initializer = self.bias_initializer or keras.initializers.GlorotUniform()  # as in Keras
        if not getattr(self, "unit_forget_bias", False):
            return initializer(shape, dtype=dtype)
        index = self.gates.index("f")
        blocks = [ops.ones((self.units,), dtype=dtype)]
        if index:
            blocks.insert(0, initializer((index * self.units,), dtype=dtype))
        if index < len(self.gates) - 1:
            remaining = (len(self.gates) - 1 - index) * self.units
            blocks.append(initializer((remaining,), dtype=dtype))
        return ops.concatenate(blocks)

    @contextlib.contextmanager
    def sequence(self, inputs: Tensor, states: States, training: bool) -> Iterator[None]:
        # Masks are drawn in Keras's order, so that the same seed gives the same masks: one per
        # gate with recurrent dropout, otherwise one shared by all gates.
        recurrent = self.recurrent_shape is not None and self.recurrent_dropout
        count = len(self.gates) if recurrent else 1
        masks = {}
        if training:
            for name, like in (("dropout", inputs), ("recurrent_dropout", self.unpack(states)[0])):
                fraction = getattr(self, name, 0.0)
                masks[name] = fraction and [
                    keras.random.dropout(ops.ones_like(like), fraction, seed=self.seed_generator)
                    for _ in range(count)
                ]
        self._dropout_masks = masks
        try:
            yield
        finally:
            self._dropout_masks = None

    def _masks(self, name, training) -> Any:
        if not training or not getattr(self, name, 0.0):
            return None
        if self._dropout_masks is None:
            raise ValueError(
                f"{type(self).__name__} has {name}={getattr(self, name)}, but no mask was drawn "
                "for this sequence. Run the cell in `rnn_topologies.layers.RNN` (stack cells as "
                "a list or in `StackedCells`, not Keras's `StackedRNNCells`), or call it within "
                "`with cell.sequence(inputs, states, training=True):`."
            )
        return self._dropout_masks[name]

    def input_product(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns x W for all gates, (..., G * units), with dropout on x and without the bias.

        Args:
            inputs: one step, (batch, features), or a whole sequence, (batch, time, features).
            training: whether dropout is applied.
        """
        masks = self._masks("dropout", training)
        if masks and len(inputs.shape) == 3:
            masks = [ops.expand_dims(mask, 1) for mask in masks]
        if masks and len(masks) == 1:
            inputs, masks = inputs * masks[0], None
        return self._product(inputs, self.kernel, masks)

    def drop_inputs(self, sequences: Tensor, training: bool) -> Tensor:
        """Returns whole sequences with dropout applied, if all gates share one mask."""
        if not training or not self.dropout:
            return sequences
        masks = self._masks("dropout", training)
        return sequences * ops.expand_dims(masks[0], 1)

    def state_product(self, h: Tensor, training: bool = False) -> Tensor:
        """Returns h U for all gates, (batch, G * units), with dropout on h and without the bias."""
        return self._product(h, self.recurrent_kernel, self._masks("recurrent_dropout", training))

    def _product(self, x, weight, masks=None):
        if not masks:
            return ops.matmul(x, weight)
        blocks = ops.split(weight, len(masks), axis=-1)
        return ops.concatenate(
            [ops.matmul(x * mask, block) for mask, block in zip(masks, blocks, strict=True)],
            axis=-1,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **arguments.serialized(self, self.argument_names())}
