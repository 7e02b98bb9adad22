"""What the cells have in common: arguments, weights, dropout; no equation."""

import contextlib
from typing import ClassVar

import keras
from keras import ops

from . import arguments


class Cell(keras.layers.Layer):
    """One step in time of a recurrent network: the base of the cells.

    A subclass names its gates and its states and writes its equations in `values`:

        gates: names of the weight blocks, in the order in which they lie side by side.
        state_names: names of the states; the first is also the output.
        values(inputs, states, training): returns every quantity of the equations under its
            name, the new states among them.
        own_arguments: constructor arguments beyond the common ones.

    Weights, with G gates:
        kernel (features, G * units), recurrent_kernel (units, G * units), bias (G * units,).

    The contract is that of Keras's cells: `state_size`, `output_size`, `call(inputs, states,
    training) -> output, new states`, `get_initial_state(batch_size)`. So a cell also runs in
    `keras.layers.RNN`; only dropout needs `rnn_topologies.layers.RNN`, because nothing in the
    public interface of Keras tells a cell where a sequence, and with it a mask, begins.
    """

    gates: ClassVar[tuple[str, ...]] = ()
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    own_arguments: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        names = {*arguments.SHARED_BY_CELLS, *cls.own_arguments}
        cls.argument_names = [name for name in arguments.ARGUMENTS if name in names]
        cls.__signature__ = arguments.signature(names)
        cls.__doc__ = arguments.describe(cls.__doc__, names)

    def __init__(self, *args, **kwargs):
        values, rest = arguments.bind(type(self), args, kwargs)
        super().__init__(**rest)
        for name, value in values.items():
            setattr(self, name, value)
        sizes = [self.units] * len(self.state_names)
        self.state_size = sizes if len(sizes) > 1 else self.units
        self.output_size = self.units
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._dropout_masks = None

    def build(self, input_shape):
        """Makes the weights for inputs of shape (batch, features)."""
        for name, rows, columns in (
            ("kernel", input_shape[-1], len(self.gates) * self.units),
            ("recurrent_kernel", self.units, len(self.gates) * self.units),
        ):
            kind = "recurrent" if name == "recurrent_kernel" else "kernel"
            self._add(name, (rows, columns), getattr(self, f"{kind}_initializer"), kind)
        self.bias = None
        if self.use_bias:
            self._add("bias", self.bias_shape, self.initial_bias, "bias")
        self.built = True

    def _add(self, name, shape, initializer, kind):
        weight = self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )
        setattr(self, name, weight)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (len(self.gates) * self.units,)

    def initial_bias(self, shape, dtype=None):
        """Returns the first value of `bias`."""
        return self.bias_initializer(shape, dtype=dtype)

    def values(self, inputs, states, training=False) -> dict:
        """Returns the gates, candidates and new states of a step, in the order of the equations."""
        raise NotImplementedError(f"{type(self).__name__} must write its equations in `values`.")

    def call(self, inputs, states, training=False):
        values = self.values(inputs, states, training)
        new = [values[name] for name in self.state_names]
        return new[0], new

    def get_initial_state(self, batch_size=None):
        """Returns zero states, each (batch_size, units)."""
        shape = (batch_size, self.units)
        return [ops.zeros(shape, dtype=self.compute_dtype) for _ in self.state_names]

    def unpack(self, states) -> tuple:
        """Returns the states as a tuple, or says what is wrong with them."""
        states = tuple(states) if isinstance(states, list | tuple) else (states,)
        if len(states) != len(self.state_names):
            raise ValueError(
                f"`states` of {type(self).__name__} must be [{', '.join(self.state_names)}], "
                f"got {len(states)} tensors."
            )
        return states

    @contextlib.contextmanager
    def sequence(self, inputs, states, training):
        """Holds one set of dropout masks for the steps of one sequence.

        Args:
            inputs: any one step of the sequence, (batch, features).
            states: the states at its beginning.
            training: masks are drawn only where this is true.
        """
        # The draws and their order are Keras's, so that a seed gives the same masks: with
        # recurrent dropout a mask for each gate, without it one for all gates together.
        count = len(self.gates) if self.recurrent_dropout else 1
        drawn = {}
        if training:
            for name, like in (("dropout", inputs), ("recurrent_dropout", self.unpack(states)[0])):
                fraction = getattr(self, name)
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
        if not training or not getattr(self, name):
            return None
        if self._dropout_masks is None:
            raise ValueError(
                f"{type(self).__name__} has {name}={getattr(self, name)}, and nothing drew a mask "
                "for this sequence. Run the cell in `rnn_topologies.layers.RNN`, or call it "
                "within `with cell.sequence(inputs, states, training=True):`."
            )
        return self._dropout_masks[name]

    def input_product(self, inputs, training=False):
        """Returns x W of all gates, (batch, G * units), with dropout on x and no bias."""
        masks = self._masks("dropout", training)
        if masks and len(masks) == 1:
            inputs, masks = inputs * masks[0], None
        return self._product(inputs, self.kernel, masks)

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
