"""What the cells have in common: the contract of a step, weights, dropout; no equation."""

import contextlib
import inspect
from typing import Any, ClassVar

import keras
from keras import ops, tree

from .. import arguments


def takes_training(cell) -> bool:
    """Returns whether a cell, ours or another's, wants to know if it is being trained."""
    return "training" in inspect.signature(cell.call).parameters


class RecurrentCell(keras.layers.Layer):
    """The contract of a step in time: what the loops of this library know of a cell.

    A subclass writes its equations in `values` and says:

        state_names: names of the states, in their order.
        state_size: width of each state, in a list; of a single state its width alone.
        output_name: name in `values` of the output, (batch, output_size).
        noise_size: how many random numbers a step needs in training; mostly 0. They stand
            behind the features, so that a step reads (batch, features + noise_size).

    It is Keras's contract as well (`call(inputs, states, training) -> output, new states`,
    `get_initial_state(batch_size)`), so a cell also runs in `keras.layers.RNN`; only what is
    drawn at random needs `rnn_topologies.layers.RNN`, because nothing in the public interface
    of Keras tells a cell where a sequence, and with it a mask, begins.
    """

    state_names: tuple[str, ...] = ("h",)
    output_name: str = "h"
    noise_size: int = 0
    top_state: int = 0  # the place of the first state of the cell whose output this is

    def values(self, inputs, states, training=False) -> dict:
        """Returns the gates, candidates and new states of a step, in the order of the equations."""
        raise NotImplementedError(f"{type(self).__name__} must write its equations in `values`.")

    def call(self, inputs, states, training=False):
        values = self.values(inputs, states, training)
        new = [values[name] for name in self.state_names]
        if tree.is_nested(states) and any(tree.is_nested(state) for state in states):
            new = tree.pack_sequence_as(states, new)
        return values[self.output_name], new

    @property
    def state_sizes(self) -> list[int]:
        """Width of each state."""
        return list(self.state_size) if isinstance(self.state_size, list) else [self.state_size]

    def get_initial_state(self, batch_size=None):
        """Returns zero states, each (batch_size, its width)."""
        return [ops.zeros((batch_size, n), dtype=self.compute_dtype) for n in self.state_sizes]

    def unpack(self, states) -> tuple:
        """Returns the states as a tuple, or says what is wrong with them."""
        states = tuple(tree.flatten(states))
        if len(states) != len(self.state_names):
            raise ValueError(
                f"`states` of {type(self).__name__} must be [{', '.join(self.state_names)}], "
                f"got {len(states)} tensors."
            )
        return states

    def held(self, states):
        """Returns the state that is the last output as well, or None if none is."""
        names = dict(zip(self.state_names, states, strict=True))
        return names.get(self.output_name)

    def noise(self, shape):
        """Returns the random numbers in [0, 1) for steps of `shape`: (*shape, noise_size)."""
        raise NotImplementedError(f"{type(self).__name__} has a `noise_size` and no `noise`.")

    def check_noise(self, inputs, training):
        """Says what is missing where a step in training has no random numbers to read."""
        if training and self.noise_size and inputs.shape[-1] != self.features + self.noise_size:
            raise ValueError(
                f"In training {type(self).__name__} needs {self.noise_size} random numbers a step, "
                f"behind the {self.features} features; got inputs of width {inputs.shape[-1]}. "
                "Run the cell in `rnn_topologies.layers.RNN`, or append `cell.noise((batch,))`."
            )

    @contextlib.contextmanager
    def sequence(self, inputs, states, training):
        """Holds what is drawn once for a sequence, such as dropout masks, during its steps.

        Args:
            inputs: any one step of the sequence, (batch, features).
            states: the states at its beginning.
            training: anything is drawn only where this is true.
        """
        yield


class Cell(RecurrentCell):
    """A step with gates: the base of the cells that are written in this library.

    A subclass names its gates and its states and writes its equations in `values`:

        gates: names of the weight blocks, in the order in which they lie side by side.
        state_names: names of the states; the first, h, is also the output.
        values(inputs, states, training): returns every quantity of the equations under its
            name, the new states among them.
        own_arguments: constructor arguments beyond the common ones; `without`: those of the
            common ones that have no meaning here; `defaults`: where they differ.

    Weights, with G gates:
        kernel (features, G * units), recurrent_kernel (units, G * units), bias (G * units,).
    """

    gates: ClassVar[tuple[str, ...]] = ()
    own_arguments: ClassVar[tuple[str, ...]] = ()
    without: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        names = {*arguments.SHARED_BY_CELLS, *cls.own_arguments} - {*cls.without}
        cls.argument_names = [name for name in arguments.ARGUMENTS if name in names]
        signature = arguments.signature(names, cls.defaults)
        cls.__signature__ = arguments.OfTheClass(signature)
        cls.__doc__ = arguments.describe(cls.__doc__, signature)

    def __init__(self, *args, **kwargs):
        values, rest = arguments.bind(type(self), args, kwargs)
        super().__init__(**rest)
        for name, value in values.items():
            setattr(self, name, value)
        sizes = [self.output_size] + [self.units] * (len(self.state_names) - 1)
        self.state_size = sizes if len(sizes) > 1 else self.output_size
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._dropout_masks = None

    @property
    def output_size(self) -> int:
        """Width of h."""
        return self.units

    @property
    def recurrent_shape(self) -> tuple[int, ...] | None:
        """Shape of `recurrent_kernel`; None if the gates do not look at h."""
        return (self.output_size, len(self.gates) * self.units)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (len(self.gates) * self.units,)

    def build(self, input_shape):
        """Makes the weights for inputs of shape (batch, features)."""
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
        """Makes a weight, with the regularizer and the constraint of its kind if it has one."""
        weight = self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            regularizer=kind and getattr(self, f"{kind}_regularizer"),
            constraint=kind and getattr(self, f"{kind}_constraint"),
        )
        setattr(self, name, weight)

    def initial_bias(self, shape, dtype=None):
        """Returns the first value of `bias`: ones for the forget gate with `unit_forget_bias`."""
        if not getattr(self, "unit_forget_bias", False):
            return self.bias_initializer(shape, dtype=dtype)
        place = self.gates.index("f")
        blocks = [ops.ones((self.units,), dtype=dtype)]
        if place:
            blocks.insert(0, self.bias_initializer((place * self.units,), dtype=dtype))
        if place < len(self.gates) - 1:
            after = (len(self.gates) - 1 - place) * self.units
            blocks.append(self.bias_initializer((after,), dtype=dtype))
        return ops.concatenate(blocks)

    @contextlib.contextmanager
    def sequence(self, inputs, states, training):
        # The draws and their order are Keras's, so that a seed gives the same masks: with
        # recurrent dropout a mask for each gate, without it one for all gates together.
        recurrent = self.recurrent_shape is not None and self.recurrent_dropout
        count = len(self.gates) if recurrent else 1
        drawn = {}
        if training:
            for name, like in (("dropout", inputs), ("recurrent_dropout", self.unpack(states)[0])):
                fraction = getattr(self, name, 0.0)
                drawn[name] = fraction and [
                    keras.random.dropout(ops.ones_like(like), fraction, seed=self.seed_generator)
                    for _ in range(count)
                ]
        self._dropout_masks = drawn
        try:
            yield
        finally:
            self._dropout_masks = None

    def _masks(self, name, training):
        if not training or not getattr(self, name, 0.0):
            return None
        if self._dropout_masks is None:
            raise ValueError(
                f"{type(self).__name__} has {name}={getattr(self, name)}, and nothing drew a mask "
                "for this sequence. Run the cell in `rnn_topologies.layers.RNN`, or call it "
                "within `with cell.sequence(inputs, states, training=True):`."
            )
        return self._dropout_masks[name]

    def input_product(self, inputs, training=False):
        """Returns x W of all gates, (..., G * units), with dropout on x and no bias.

        Args:
            inputs: one step, (batch, features), or a whole sequence, (batch, time, features).
        """
        masks = self._masks("dropout", training)
        if masks and len(inputs.shape) == 3:
            masks = [ops.expand_dims(mask, 1) for mask in masks]
        if masks and len(masks) == 1:
            inputs, masks = inputs * masks[0], None
        return self._product(inputs, self.kernel, masks)

    def input_mask(self):
        """Returns the dropout mask of the inputs, (batch, features), where all gates share one."""
        (mask,) = self._masks("dropout", training=True)
        return mask

    def state_product(self, h, training=False):
        """Returns h U of all gates, (batch, G * units), with dropout on h and no bias."""
        return self._product(h, self.recurrent_kernel, self._masks("recurrent_dropout", training))

    def _product(self, x, weight, masks=None):
        if not masks:
            return ops.matmul(x, weight)
        blocks = ops.split(weight, len(masks), axis=-1)
        return ops.concatenate(
            [ops.matmul(x * mask, block) for mask, block in zip(masks, blocks, strict=True)],
            axis=-1,
        )

    def get_config(self):
        return {**super().get_config(), **arguments.config(self.argument_names, self)}
