"""The loop over time: `RNN` for any cell, `CellLayer` for the layers named after a cell."""

import contextlib
import inspect
from typing import ClassVar

import keras
from keras import ops, tree

from . import arguments
from .cell import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class RNN(keras.layers.RNN):
    """A cell at every step of a sequence: the recurrence, unrolled in time.

        output_t, states_t = cell(x_t, states_{t-1}),    t = 1 ... time

    The same weights serve every step. Everything is as in `keras.layers.RNN`, except where
    that depends on the backend or on the kind of padding. Here, on every backend, with `mask`
    (batch, time) of any pattern (padding right, left, in gaps, whole rows):

    - A padded step leaves the states as they are: the outputs at valid steps and the last
      states are those of the sequence without its padded steps.
    - The output at a padded step is the output held: the one of the last valid step before it
      in reading order or, before the first, the initial state h (zeros unless given). With
      `zero_output_for_mask` and `return_sequences` it is zero. Without `return_sequences`
      the output is the one of the last valid step, whatever `zero_output_for_mask` says.
    - The mask handed on to the next layer is in the order of the outputs: with
      `go_backwards`, reversed like them.

    Args:
        cell: a cell with `state_size`, `call(inputs, states)`, `get_initial_state`, or a
            list of them to be stacked. The first state of a cell is its previous output.
        return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask:
            as in `keras.layers.RNN`.

    Call arguments:
        sequences: (batch, time, features).
        initial_state: list of the states to start from, each (batch, units); zeros if None.
        mask: (batch, time), true at valid steps; None if all are.
        training: whether dropout is applied.

    Returns:
        The output, (batch, units) or with `return_sequences` (batch, time, units); with
        `return_state` a tuple of it and the last states.

    Raises:
        ValueError: `sequences`, `mask` or `initial_state` have the wrong number or shape;
            `unroll` or `stateful` without a fixed time or batch size.

    Example:
        >>> layer = RNN(GRUCell(4), return_sequences=True)
        >>> mask = np.array([[False, True, True], [True, False, False]])
        >>> tuple(layer(np.ones((2, 3, 5)), mask=mask).shape)
        (2, 3, 4)
    """

    def __init__(self, cell, *args, **kwargs):
        super().__init__(cell, *args, **kwargs)
        # Keras 3.16 takes this from its recurrent layers; a mask given here still goes on.
        self.supports_masking = True

    def call(self, sequences, initial_state=None, mask=None, training=False):
        sequences = ops.convert_to_tensor(sequences)
        _check_rank(self, sequences)
        if initial_state is not None:
            initial_state = self._check_states(initial_state, sequences.shape[0])
        if mask is not None:
            mask = _check_mask(mask, sequences)
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def inner_loop(self, sequences, initial_state, mask, training=False):
        with contextlib.ExitStack() as masks:
            if isinstance(self.cell, Cell):
                step = sequences[:, 0]
                masks.enter_context(self.cell.sequence(step, initial_state, training))
            loop = self._unrolled if self.unroll else super().inner_loop
            last, outputs, states = loop(sequences, initial_state, mask, training=training)
        if mask is None:
            return last, outputs, states
        return self._hold(last, outputs, initial_state, states, mask)

    def _unrolled(self, sequences, states, mask, training):
        """Lays the steps out one after the other; Keras's own fails or errs under masks."""
        takes_training = "training" in inspect.signature(self.cell.call).parameters
        settings = {"training": training} if takes_training else {}
        times = range(sequences.shape[1])
        outputs = []
        for t in reversed(times) if self.go_backwards else times:
            output, new_states = self.cell(sequences[:, t], states, **settings)
            if mask is not None:
                valid = ops.expand_dims(mask[:, t], -1)
                new_states = tree.map_structure(
                    lambda new, old, valid=valid: ops.where(valid, new, old),
                    list(new_states),
                    list(states),
                )
                output = ops.where(valid, output, outputs[-1] if outputs else 0.0)
            states = new_states
            outputs.append(output)
        return outputs[-1], ops.stack(outputs, axis=1), states

    def _hold(self, last, outputs, initial_state, states, mask):
        """Gives the outputs at padded steps the value that the docstring promises.

        Keras's loops freeze the states alike on every backend, but differ here: before the
        first valid step TensorFlow and PyTorch put zeros, and JAX the first state.
        """
        before, after = _held_output(initial_state), _held_output(states)
        if tuple(after.shape[1:]) == tuple(last.shape[1:]):
            last = after
        if not self.return_sequences:
            return last, outputs, states
        mask = ops.expand_dims(ops.flip(mask, axis=1) if self.go_backwards else mask, -1)
        if self.zero_output_for_mask:
            return last, ops.where(mask, outputs, ops.zeros_like(outputs)), states
        if tuple(before.shape[1:]) == tuple(outputs.shape[2:]):
            begun = ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0
            outputs = ops.where(begun, outputs, ops.expand_dims(before, 1))
        return last, outputs, states

    def compute_mask(self, sequences, previous_mask):
        mask = tree.flatten(previous_mask)[0]
        if not self.return_sequences:
            mask = None
        elif mask is not None and self.go_backwards:
            mask = ops.flip(mask, axis=1)
        return [mask, *(None for _ in self.state_size)] if self.return_state else mask

    def _check_states(self, states, batch):
        states = list(states) if isinstance(states, list | tuple) else [states]
        names = getattr(self.cell, "state_names", None)
        if len(states) != len(self.state_size):
            listed = f" [{', '.join(names)}]" if names else ""
            raise ValueError(
                f"`initial_state` of {type(self).__name__} must hold {len(self.state_size)} "
                f"states{listed}, got {len(states)}."
            )
        for size, state in zip(self.state_size, states, strict=True):
            if isinstance(size, int):
                _check_shape(self, "each initial state", state, (batch, size))
        return states


def _held_output(states):
    """Returns the state that is also the output: the first one of the last stacked cell."""
    if tree.is_nested(states[0]):
        states = states[-1]
    return states[0]


def _check_rank(layer, sequences):
    if len(sequences.shape) < 3:
        raise ValueError(
            f"{type(layer).__name__} reads (batch, time, features), got an input of shape "
            f"{tuple(sequences.shape)}. A single feature still needs an axis: x[..., None]."
        )


def _check_shape(layer, name, tensor, expected):
    shape = tuple(tensor.shape)
    pairs = zip(shape, expected, strict=False)
    if len(shape) != len(expected) or any(
        got is not None and want is not None and got != want for got, want in pairs
    ):
        raise ValueError(
            f"{type(layer).__name__}: {name} must have the shape {expected}, got {shape}."
        )


def _check_mask(mask, sequences):
    mask = ops.cast(ops.convert_to_tensor(mask), "bool")
    shape, expected = tuple(mask.shape), tuple(sequences.shape[:2])
    if len(shape) != 2 or any(
        None not in pair and pair[0] != pair[1] for pair in zip(shape, expected, strict=True)
    ):
        raise ValueError(
            f"`mask` must have the shape (batch, time) = {expected} of the input, got {shape}."
        )
    return mask


class CellLayer(RNN):
    """The base of the layers that are named after their cell and take its arguments."""

    cell_class: ClassVar[type[Cell]]
    own_arguments: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        names = {*cls.cell_class.argument_names, *arguments.OF_THE_LOOP, *cls.own_arguments}
        cls.__signature__ = arguments.signature(names)
        cls.__doc__ = arguments.describe(cls.__doc__, names)
        for name in cls.cell_class.argument_names:
            setattr(cls, name, property(lambda self, name=name: getattr(self.cell, name)))

    def __init__(self, *args, **kwargs):
        values, rest = arguments.bind(type(self), args, kwargs)
        if values.pop("use_cudnn", "auto") is True:
            raise ValueError(
                f"`use_cudnn=True`: {type(self).__name__} runs the equations of its cell on every "
                "device. Leave it at 'auto', or take the layer of the same name in `keras.layers`."
            )
        loop = {name: values.pop(name) for name in arguments.OF_THE_LOOP}
        of_both = {name: rest[name] for name in ("dtype", "trainable") if name in rest}
        cell = self.cell_class(**values, **of_both, name="cell")
        super().__init__(cell, **loop, **rest)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def get_config(self):
        loop = super().get_config()
        del loop["cell"]
        regularizer = keras.regularizers.serialize(self.activity_regularizer)
        own = arguments.config(self.cell_class.argument_names, self.cell)
        return {**loop, "activity_regularizer": regularizer, **own}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
