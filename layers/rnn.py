"""The loop over time: `RNN`, for any cell."""

import contextlib

import keras
from keras import ops, tree

from . import native
from .cells.base import RecurrentCell, takes_training
from .cells.linear import linear_recurrence
from .dispatch import fused
from .dispatch import plan as kernels
from .dispatch.alignment import Alignment
from .stacked import StackedCells
from .streaming import Stream, compiled_step


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
        cell: a cell with `state_size`, `call(inputs, states)`, `get_initial_state`, or a list of
            them, which becomes `StackedCells` with the states of all in one flat list. The first
            state of a cell is its previous output, unless it is a `RecurrentCell` that says
            otherwise.
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
        cell = StackedCells(cell) if isinstance(cell, list | tuple) else cell
        super().__init__(cell, *args, **kwargs)
        # Keras 3.16 takes this from its recurrent layers; a mask given here still goes on.
        self.supports_masking = True
        self._step = None

    def call(self, sequences, initial_state=None, mask=None, training=False):
        sequences = ops.convert_to_tensor(sequences)
        _check_rank(self, sequences)
        if initial_state is not None:
            if isinstance(self.cell, StackedCells):
                initial_state = tree.flatten(initial_state)
            initial_state = self._check_states(initial_state, sequences.shape[0])
        if mask is not None:
            mask = _check_mask(mask, sequences)
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def inner_loop(self, sequences, initial_state, mask, training=False):
        plan = kernels.choose(
            self, sequences.shape[1], masked=mask is not None, training=training, traced=sequences
        )
        if getattr(self, "use_cudnn", "auto") is True and plan.kernel != kernels.FUSED:
            reasons = "; ".join(plan.why) or f"there is none for {type(self).__name__} here"
            raise ValueError(
                f"`use_cudnn=True`, and no kernel of the backend's own can run: {reasons}. Leave "
                "it at 'auto' to run the equations of the cell then."
            )
        with contextlib.ExitStack() as drawn:
            if isinstance(self.cell, RecurrentCell):
                step = sequences[:, 0]
                drawn.enter_context(self.cell.sequence(step, initial_state, training))
                if training and self.cell.noise_size:
                    noise = self.cell.noise(ops.shape(sequences)[:2])
                    noise = ops.cast(noise, sequences.dtype)
                    sequences = ops.concatenate([sequences, noise], axis=-1)
            loop = {
                kernels.PARALLEL: self._parallel,
                kernels.NATIVE: self._native,
                kernels.FUSED: self._fused,
                kernels.UNROLLED: self._unrolled,
                kernels.LOOP: self._loop,
                kernels.SLICED: self._sliced,
            }[plan.kernel]
            last, outputs, states = loop(sequences, initial_state, mask, training)
        if mask is None or plan.kernel == kernels.NATIVE:
            return last, outputs, states
        return self._hold(last, outputs, initial_state, states, mask)

    def _loop(self, sequences, states, mask, training):
        """The backend's own loop, as in Keras."""
        below = getattr(self.cell, "top_state", 0)
        if not below:
            return super().inner_loop(sequences, states, mask, training=training)
        # On JAX Keras puts the first state, or of nested ones the first of the last, in place of
        # the output at padded steps: it must at least be as wide.
        nested = [states[:below], states[below:]]
        last, outputs, nested = super().inner_loop(sequences, nested, mask, training=training)
        return last, outputs, tree.flatten(nested)

    def _sliced(self, sequences, states, mask, training):
        """A loop that writes every output into one tensor: what LiteRT can hold.

        Keras's loop on TensorFlow keeps outputs in a list, an operation of TensorFlow alone.
        """
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
        batch, time = ops.shape(sequences)[:2]
        width = getattr(self.cell, "output_size", None) or self.state_size[0]
        settings = {"training": training} if takes_training(self.cell) else {}

        def step(t, outputs, *states):
            states = list(states)
            output, new = self.cell(ops.take(sequences, t, axis=1), states, **settings)
            if mask is not None:
                valid = ops.expand_dims(ops.take(mask, t, axis=1), -1)
                pairs = zip(new, states, strict=True)
                new = [ops.where(valid, after, before) for after, before in pairs]
            outputs = ops.slice_update(outputs, (0, t, 0), ops.expand_dims(output, 1))
            return t + 1, outputs, *new

        outputs = ops.zeros((batch, time, width), dtype=states[0].dtype)
        start = (ops.convert_to_tensor(0, dtype="int32"), outputs, *states)
        _, outputs, *states = ops.while_loop(lambda t, *_: t < time, step, start)
        if mask is not None:
            outputs = Alignment(mask).hold(outputs)
        return outputs[:, -1], outputs, states

    def _parallel(self, sequences, states, mask, training):
        """All steps at once, of a cell that is linear in its state."""
        named = self.cell.coefficients(sequences, training)
        keep, add = named["keep"], named["add"]
        if mask is not None:
            valid = ops.expand_dims(mask, -1)
            keep = ops.where(valid, keep, ops.ones_like(keep))
            add = ops.where(valid, add, ops.zeros_like(add))
        if self.go_backwards:
            keep, add = ops.flip(keep, axis=1), ops.flip(add, axis=1)
        outputs = linear_recurrence(keep, add, states[0])
        last = outputs[:, -1]
        return last, outputs, [last]

    def _native(self, sequences, states, mask, training):
        """All steps in our own kernel for CPUs, which gives padded steps what is promised."""
        cell = self.cell
        if training and cell.dropout:
            sequences = sequences * ops.expand_dims(cell.input_mask(), 1)
        outputs, states = native.run(
            kernels.native_name(cell),
            sequences,
            states,
            (cell.kernel, cell.recurrent_kernel, cell.bias),
            mask=mask,
            reverse=self.go_backwards,
            training=training,
            keep_outputs=self.return_sequences,
        )
        last = states[0]
        if not self.return_sequences:
            return last, last, states
        if mask is not None and self.zero_output_for_mask:
            mask = ops.flip(mask, axis=1) if self.go_backwards else mask
            outputs = ops.where(ops.expand_dims(mask, -1), outputs, ops.zeros_like(outputs))
        return last, outputs, states

    def _fused(self, sequences, states, mask, training):
        """All steps in one kernel of the backend's, which need not know of masks."""
        cell, rows = self.cell, None
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
        if training and cell.dropout:
            sequences = sequences * ops.expand_dims(cell.input_mask(), 1)
        if mask is not None:
            rows = Alignment(mask)
            sequences = rows.align(sequences)
        if keras.backend.backend() == "tensorflow":
            self.supports_jit = False  # XLA does not take cuDNN
        outputs, new_states = fused.fused(cell, sequences, states, rows)
        if rows is not None:
            outputs = rows.restore(outputs)
            some = ops.expand_dims(rows.count > 0, -1)
            new_states = [
                ops.where(some, new, old) for new, old in zip(new_states, states, strict=True)
            ]
        return outputs[:, -1], outputs, new_states

    def _unrolled(self, sequences, states, mask, training):
        """Lays the steps out one after the other; Keras's own fails or errs under masks."""
        settings = {"training": training} if takes_training(self.cell) else {}
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
        before, after = self._held(initial_state), self._held(states)
        reversed_mask = ops.flip(mask, axis=1) if self.go_backwards else mask
        valid = ops.expand_dims(reversed_mask, -1)
        if after is None and self.return_sequences:
            outputs = Alignment(reversed_mask).hold(outputs)
            begun = ops.cumsum(ops.cast(valid, "int32"), axis=1) > 0
            outputs = ops.where(begun, outputs, ops.zeros_like(outputs))
            last = outputs[:, -1]
        elif after is not None:
            last = after
        if not self.return_sequences:
            return last, outputs, states
        if self.zero_output_for_mask:
            return last, ops.where(valid, outputs, ops.zeros_like(outputs)), states
        if before is not None:
            begun = ops.cumsum(ops.cast(valid, "int32"), axis=1) > 0
            outputs = ops.where(begun, outputs, ops.expand_dims(before, 1))
        return last, outputs, states

    def _held(self, states):
        """Returns the state that is also the output, or None if no state is."""
        if isinstance(self.cell, RecurrentCell):
            return self.cell.held(states)
        # Of Keras's stacked cells it is the first state of the last.
        return states[-1][0] if tree.is_nested(states[0]) else states[0]

    def explain(self, input_shape, mask=None, training=False):
        """Says which kernel will run, and if it is not the fastest, why and what to change.

        Args:
            input_shape: (batch, time, features); None where unknown.
            mask: a mask, or whether there is one.
            training: whether it is about training, where dropout is applied.

        Returns:
            A `Plan`: `kernel`, `fastest`, `runs`, `why` and `change`; `print` shows it whole.

        Example:
            >>> "linear_recurrence" in MinGRU(8).explain((32, 100, 4)).runs
            True
        """
        if len(input_shape) != 3:
            raise ValueError(
                f"`input_shape` must be (batch, time, features), got {tuple(input_shape)}."
            )
        masked = mask is not None and mask is not False
        return kernels.choose(self, input_shape[1], masked=masked, training=training)

    def step(self, inputs, states=None):
        """Reads one step, compiled once: for input that arrives while it is answered.

        Args:
            inputs: (batch, features).
            states: what the last step returned; if None, those that a sequence starts from.

        Returns:
            `(output, states)`: the output (batch, width) of the step and the states after it.

        Raises:
            ValueError: the layer reads backwards, or `inputs` has a time axis.

        Example:
            >>> layer = LSTM(4)
            >>> output, states = layer.step(np.ones((2, 3), "float32"))
            >>> output, states = layer.step(np.ones((2, 3), "float32"), states)
            >>> tuple(output.shape), len(states)
            ((2, 4), 2)
        """
        if self.go_backwards:
            raise ValueError(
                f"{type(self).__name__} reads backwards, from a step that has not come yet."
            )
        inputs = ops.convert_to_tensor(inputs, dtype=self.compute_dtype)
        if len(inputs.shape) != 2:
            raise ValueError(
                f"`step` reads one step, (batch, features), got {tuple(inputs.shape)}."
            )
        if not self.built:
            self.build((inputs.shape[0], None, inputs.shape[1]))
        if states is None:
            states = tree.flatten(self.get_initial_state(inputs.shape[0]))
        if self._step is None:
            self._step = compiled_step(self.cell)
        output, states = self._step(inputs, list(states))
        return output, list(states)

    def stream(self, batch_size=1):
        """Returns a `Stream`: a sequence that is read while it arrives."""
        return Stream(self, batch_size)

    def reset_state(self):
        """Lets a stateful layer begin anew, from what its cell starts from."""
        if self.states is not None:
            batch = tree.flatten(self.states)[0].shape[0]
            first = tree.flatten(self.get_initial_state(batch))
            for variable, value in zip(tree.flatten(self.states), first, strict=True):
                variable.assign(value)

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
        # What is no integer is unknown: None, or a symbol where JAX exports.
        isinstance(got, int) and isinstance(want, int) and got != want
        for got, want in zip(shape, expected, strict=True)
    ):
        raise ValueError(
            f"`mask` must have the shape (batch, time) = {expected} of the input, got {shape}."
        )
    return mask
