"""`RNN`: the loop over time, for any cell."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import ops, tree

from .arguments import LayerOptions, checked
from .cells.base import Cell, RecurrentCell
from .cells.contract import output_shape
from .cells.states import initial_states, pack_states, state_specs
from .dispatch.execution import execute
from .dispatch.plan import FUSED, Plan, choose_plan
from .inputs import as_mask, check_features, check_sequences, features_of
from .stacked import StackedCells
from .streaming import Stream, compiled_step
from .typing import Shape, States, Tensor


@keras.saving.register_keras_serializable(package="rnn_topologies")
class RNN(keras.layers.RNN):
    """Applies a cell at every step of a sequence: the recurrence, unrolled in time.

        output_t, states_t = cell(x_t, states_{t-1}),    t = 1 ... time

    Every step uses the same weights. Everything is as in `keras.layers.RNN`, except where that
    depends on the backend or on the kind of padding. Here, on every backend, with a `mask`
    (batch, time) of any pattern (padding on the right, on the left, in gaps, or whole rows):

    - A padded step leaves the states unchanged: outputs at valid steps and final states are those
      of the sequence without its padded steps.
    - The output at a padded step repeats the output of the last valid step before it in reading
      order. Before the first valid step, the output is the initial state h (zeros by default) if
      the cell is known to return its state, as the cells of this library and of Keras do, and zero
      for any other cell. With `zero_output_for_mask` and `return_sequences`, the output at every
      padded step is zero. Without `return_sequences`, the layer always returns the output of the
      last valid step.
    - Values of the inputs at padded steps, even NaN, affect neither outputs, states nor gradients.
    - The mask passed on to the next layer is in the order of the outputs: with `go_backwards` it
      is reversed too.

    Args:
        cell: a cell with `state_size`, `call(inputs, states)` and `get_initial_state`, or a list
            of cells, which becomes `StackedCells` with all states in one flat list. Its output
            need not be one of its states. Inputs, outputs and states may have further axes, such
            as (batch, height, width, channels): `state_size` is then a list with a shape, without
            the batch axis, for every state, and `output_size` a shape if it differs.
        return_sequences: return the output of every step instead of the last one.
        return_state: also return the final states.
        go_backwards: process the sequence in reverse; outputs come in that order.
        stateful: start each batch from the final states of the previous one.
        unroll: unroll the loop into separate operations for every step.
        zero_output_for_mask: with `return_sequences`, output zeros at padded steps.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        sequences: (batch, time, features), or with further axes if the cell reads them.
        initial_state: list of initial states, each (batch, units); those of the cell if None.
            Nested states, such as those of `keras.layers.StackedRNNCells`, are accepted as
            returned or as one flat list.
        mask: (batch, time), true at valid steps; None if all are valid.
        training: whether dropout is applied.
        sequences_mask: set by Keras, next to `initial_state`, to the mask that the layer before
            attached to `sequences`; used if `mask` is None.

    Returns:
        The output, (batch, units), or (batch, time, units) with `return_sequences`; with
        `return_state` a tuple of the output and the final states.

    Raises:
        ValueError: `sequences`, `mask` or `initial_state` have the wrong number or shape;
            `unroll` or `stateful` without a fixed time or batch size.

    Example:
        >>> layer = RNN(GRUCell(4), return_sequences=True)
        >>> mask = np.array([[False, True, True], [True, False, False]])
        >>> tuple(layer(np.ones((2, 3, 5)), mask=mask).shape)
        (2, 3, 4)
    """

    cell: Any

    def __init__(
        self,
        cell: keras.layers.Layer | Sequence[keras.layers.Layer],
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Unpack[LayerOptions],
    ):
        if isinstance(cell, keras.layers.RNN | type):
            raise TypeError(
                f"RNN expects a cell, such as `LSTMCell(32)`, or a list of cells, got {cell!r}."
            )
        loop = {
            "return_sequences": return_sequences,
            "return_state": return_state,
            "go_backwards": go_backwards,
            "stateful": stateful,
            "unroll": unroll,
            "zero_output_for_mask": zero_output_for_mask,
        }
        super().__init__(
            StackedCells(cell) if isinstance(cell, list | tuple) else cell,
            **checked(loop),
            **kwargs,
        )
        # Keras 3.16 turns this off in its recurrent layers; here a mask still propagates.
        self.supports_masking = True
        self._step = None
        self._input_rank = 3  # until the layer is built

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args or "sequences" in kwargs:  # Keras rejects a call without inputs
            sequences = args[0] if args else kwargs["sequences"]
            check_sequences(self, self.cell, sequences, kwargs.get("mask"))
            states = args[1] if len(args) > 1 else kwargs.get("initial_state")
            if states is not None and isinstance(sequences, keras.KerasTensor):
                self._check_states(states, sequences.shape[0])  # Keras does not run `call`
        return super().__call__(*args, **kwargs)

    def call(
        self,
        sequences: Tensor,
        initial_state: States | Tensor | None = None,
        mask: Tensor | None = None,
        training: bool = False,
        sequences_mask: Tensor | None = None,
    ) -> Any:
        mask = sequences_mask if mask is None else mask
        sequences = ops.convert_to_tensor(sequences)
        _check_rank(self, sequences)
        _check_steps(self.cell, sequences)
        check_features(type(self).__name__, features_of(self.cell), sequences.shape)
        if initial_state is not None:
            initial_state = self._check_states(initial_state, sequences.shape[0])
        if mask is not None:
            mask = as_mask(mask, sequences, "the input's shape (batch, time)")
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def inner_loop(
        self,
        sequences: Tensor,
        initial_state: list[Tensor],
        mask: Tensor | None,
        training: bool = False,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        if self.stateful and keras.backend.backend() == "torch":
            # The state variables change in place before the backward pass reads these states.
            initial_state = tree.map_structure(ops.copy, initial_state)
        plan = choose_plan(
            self,
            sequences.shape[1],
            masked=mask is not None,
            training=training,
            sequences=sequences,
            states=tree.flatten(initial_state),
        )
        if getattr(self, "use_cudnn", "auto") is True and plan.method != FUSED:
            reasons = "; ".join(plan.reasons) or f"there is none for {type(self).__name__} here"
            raise ValueError(
                f"`use_cudnn=True`, but the backend's fused kernel cannot run: {reasons}. Keep it "
                "at 'auto' to fall back to the cell's equations."
            )
        with contextlib.ExitStack() as stack:
            if isinstance(self.cell, RecurrentCell):
                step = sequences[:, 0]
                stack.enter_context(self.cell.sequence(step, initial_state, training))
                if training and self.cell.noise_size:
                    sequences = _append_noise(self.cell, sequences)
            return execute(plan.method, self, sequences, initial_state, mask, training)

    def explain(self, input_shape: Shape, mask: Any = None, training: bool = False) -> Plan:
        """Returns which method will run and, if it is not the fastest, why and what to change.

        Args:
            input_shape: (batch, time, features), or with further axes; None where unknown.
            mask: a mask, or whether there is one.
            training: whether dropout is applied.

        Returns:
            A `Plan` with `method`, `fastest`, `description`, `reasons` and `suggestions`; `print`
            shows all of it.

        Example:
            >>> "linear_recurrence" in MinGRU(8).explain((32, 100, 4)).description
            True
        """
        if len(input_shape) < 3:
            raise ValueError(
                f"`input_shape` must be (batch, time, features), got {tuple(input_shape)}."
            )
        masked = mask is not None and mask is not False
        return choose_plan(self, input_shape[1], masked=masked, training=training)

    def step(self, inputs: Tensor, states: States | None = None) -> tuple[Tensor, list[Tensor]]:
        """Runs one time step, compiled once: for input that must be answered as it arrives.

        Args:
            inputs: (batch, features).
            states: the states that the previous step returned; the initial states if None.

        Returns:
            `(output, states)`: the output of the step, (batch, units), and the new states.

        Raises:
            ValueError: the layer runs backwards, or `inputs` has a time axis.

        Example:
            >>> layer = LSTM(4)
            >>> output, states = layer.step(np.ones((2, 3), "float32"))
            >>> output, states = layer.step(np.ones((2, 3), "float32"), states)
            >>> tuple(output.shape), len(states)
            ((2, 4), 2)
        """
        self._check_forwards()
        inputs = ops.convert_to_tensor(inputs, dtype=self.compute_dtype)
        if len(inputs.shape) != self._input_rank - 1:
            raise ValueError(
                f"`step` takes one time step, (batch, features), got {tuple(inputs.shape)}. For "
                "inputs with further axes, call the layer on a whole sequence first."
            )
        check_features(type(self).__name__, features_of(self.cell), inputs.shape)
        if not self.built:
            self.build((inputs.shape[0], None, *inputs.shape[1:]))
        if states is None:
            states = self.get_initial_state(inputs.shape[0])
        if self._step is None:
            self._step = compiled_step(self.cell)
        output, new_states = self._step(inputs, list(states))
        return output, pack_states(states, new_states, self.cell)

    def build(self, sequences_shape: Shape, initial_state_shape: Any = None) -> None:
        self._input_rank = len(sequences_shape)
        super().build(sequences_shape)

    def stream(self, batch_size: int = 1) -> Stream:
        """Returns a `Stream`, which runs the layer on a sequence as it arrives.

        Raises:
            ValueError, TypeError: the layer runs backwards, or `batch_size` is not a positive
                integer.
        """
        self._check_forwards()
        return Stream(self, batch_size)

    @property
    def variables(self) -> list[keras.Variable]:
        """The weights, the random seeds and, unlike in Keras, the states of a stateful layer.

        On JAX, compiled training and prediction update only these variables.
        """
        return [*super().variables, *tree.flatten(self.states or [])]

    def reset_state(self) -> None:
        """Resets a stateful layer to its initial states."""
        if self.states is not None:
            batch = tree.flatten(self.states)[0].shape[0]
            initial_states = tree.flatten(self.get_initial_state(batch))
            for variable, value in zip(tree.flatten(self.states), initial_states, strict=True):
                variable.assign(value)

    def _create_state_variables(self, batch_size: int) -> None:
        super()._create_state_variables(batch_size)
        for variable in tree.flatten(self.states):
            # In mixed precision on PyTorch, `assign` would change a copy in another dtype.
            variable._autocast = False

    def _maybe_config_dropout_masks(self, cell: Any, *args: Any) -> None:
        # Keras reads the first state, but a cell may have none.
        if tree.flatten(self.state_size):
            super()._maybe_config_dropout_masks(cell, *args)

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        return initial_states(self.cell, batch_size)

    def compute_output_shape(self, sequences_shape: Shape, initial_state_shape: Any = None) -> Any:
        batch, time, *rest = sequences_shape
        _, *axes = output_shape(self.cell, (batch, *rest))
        shape = (batch, time, *axes) if self.return_sequences else (batch, *axes)
        if not self.return_state:
            return shape
        specs = state_specs(self.cell, batch)
        return (shape, *tree.map_structure(lambda spec: tuple(spec.shape), specs))

    def compute_mask(self, sequences: Any, previous_mask: Any) -> Any:
        mask = tree.flatten(previous_mask)[0]
        if not self.return_sequences:
            mask = None
        elif mask is not None and self.go_backwards:
            mask = ops.flip(mask, axis=1)
        return [mask, *(None for _ in state_specs(self.cell))] if self.return_state else mask

    def _check_forwards(self) -> None:
        if self.go_backwards:
            raise ValueError(
                f"{type(self).__name__} has `go_backwards=True`: it starts from the last step, "
                "which is not available yet."
            )

    def _check_states(self, states: Any, batch: Any) -> list[Any]:
        """Returns the initial states in the structure that the cell expects."""
        # A size that is not an integer is unknown: None, or a symbol while JAX exports.
        specs = state_specs(self.cell, batch if isinstance(batch, int) else None)
        states, flat_specs = tree.flatten(states), tree.flatten(specs)
        if len(states) != len(flat_specs):
            names = getattr(self.cell, "state_names", None)
            listed = f" [{', '.join(names)}]" if names else ""
            raise ValueError(
                f"`initial_state` of {type(self).__name__} must contain {len(flat_specs)} "
                f"states{listed}, got {len(states)}."
            )
        for spec, state in zip(flat_specs, states, strict=True):
            _check_shape(self, "each initial state", state, tuple(spec.shape))
        return tree.pack_sequence_as(specs, states)


def _check_rank(layer, sequences):
    if len(sequences.shape) < 3:
        raise ValueError(
            f"{type(layer).__name__} expects inputs of shape (batch, time, features), got "
            f"{tuple(sequences.shape)}. A single feature still needs an axis: x[..., None]."
        )
    if sequences.shape[1] == 0:
        raise ValueError(
            f"{type(layer).__name__} needs at least one time step, got inputs of shape "
            f"{tuple(sequences.shape)}."
        )


def _check_steps(cell, sequences):
    """Checks that a gated cell gets steps (batch, features), which it multiplies by a matrix."""
    if isinstance(cell, Cell) and len(sequences.shape) != 3:
        raise ValueError(
            f"{type(cell).__name__} expects sequences of shape (batch, time, features), got "
            f"{tuple(sequences.shape)}. Flatten the further axes: "
            "`keras.layers.TimeDistributed(keras.layers.Flatten())`."
        )


def _append_noise(cell, sequences):
    if len(sequences.shape) != 3:
        raise ValueError(
            f"{type(cell).__name__} draws random numbers at every step of training, which needs "
            f"inputs of shape (batch, time, features), got {tuple(sequences.shape)}."
        )
    noise = ops.cast(cell.noise(ops.shape(sequences)[:2]), sequences.dtype)
    return ops.concatenate([sequences, noise], axis=-1)


def _check_shape(layer, name, tensor, expected):
    if not hasattr(tensor, "shape"):
        raise TypeError(
            f"{type(layer).__name__}: {name} must be a tensor of shape {expected}, got {tensor!r}."
        )
    shape = tuple(tensor.shape)
    pairs = zip(shape, expected, strict=False)
    if len(shape) != len(expected) or any(
        size is not None and wanted is not None and size != wanted for size, wanted in pairs
    ):
        raise ValueError(f"{type(layer).__name__}: {name} must have shape {expected}, got {shape}.")
