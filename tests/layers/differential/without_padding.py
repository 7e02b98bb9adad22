"""The expected result of a masked Keras layer, computed without a mask."""

from typing import Any

import keras
import numpy as np
from keras import ops, tree

from rnn_topologies import layers

from .case import Case
from .cells import CountingCell, ReadoutCell

MERGES = {
    "concat": lambda a, b: ops.concatenate([a, b], -1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
}


class WithoutPadding(keras.layers.Layer):
    """Runs a layer of Keras on each row without its padded steps, then fills these in.

    Args:
        case: has a mask.
        layer: the layer of the case, which returns its states.
    """

    def __init__(self, case: Case, layer: keras.layers.Layer):
        super().__init__(dtype=layer.dtype_policy)
        self.case, self.layer = case, layer

    def build(self, shape):
        self.layer.build(shape)
        self.built = True

    def call(self, x, initial_state=None, training=False):
        if initial_state is None:
            initial_state = initial_states(self.case, self.layer, zero=True)
        states = [ops.cast(s, self.layer.compute_dtype) for s in initial_state]
        mask = self.case.mask or np.ones((self.case.batch, self.case.time))
        rows = [
            self._row(x[b : b + 1], [s[b : b + 1] for s in states], np.array(row, bool), training)
            for b, row in enumerate(mask)
        ]
        results = [ops.concatenate(parts, axis=0) for parts in zip(*rows, strict=True)]
        return results if self.case.loop.get("return_state") else results[: -len(states)]

    def _row(self, x, states, mask, training):
        """Returns the outputs of one row (two without merging), then its states."""
        case, sequences = self.case, self.case.loop.get("return_sequences")
        first = self._first_outputs(states)
        count = len(first)
        outputs = []
        if mask.any():
            x = ops.take(x, np.flatnonzero(mask), axis=1)
            results = self._run(x, states, training)
            outputs, states = results[:count], results[count:]
        if not sequences:
            return [*(outputs or first), *states]
        if case.bidirectional or case.loop.get("zero_output_for_mask"):
            first = [ops.zeros_like(value) for value in first]
        if case.loop.get("go_backwards"):
            mask = mask[::-1]
        filled = [self._fill(f, o, mask) for f, o in zip(first, outputs or first, strict=True)]
        return [*filled, *states]

    def _run(self, x, states, training):
        """Returns the outputs of a row without padding, then the states."""
        layer, case = self.layer, self.case
        if not case.backward:
            return tree.flatten(
                layer(x, initial_state=nest_states(layer, states), training=training)
            )
        results, states = [], list(states)
        for direction in (layer.forward_layer, layer.backward_layer):
            sizes = tree.flatten(state_sizes(direction))
            own, states = states[: len(sizes)], states[len(sizes) :]
            own = nest_states(direction, own)
            results.append(tree.flatten(direction(x, initial_state=own, training=training)))
        (forward, *states), (backward, *more) = results
        if case.loop.get("return_sequences"):
            backward = ops.flip(backward, axis=1)
        merge = MERGES.get(case.merge_mode)
        return [*([merge(forward, backward)] if merge else [forward, backward]), *states, *more]

    def _fill(self, first, outputs, mask):
        """Returns the outputs of all steps: padded ones are zero or repeat the previous one."""
        zero = self.case.bidirectional or self.case.loop.get("zero_output_for_mask")
        steps, latest, taken = [], first, 0
        for valid in mask:
            if valid:
                latest, taken = outputs[:, taken], taken + 1
            steps.append(latest if valid or not zero else ops.zeros_like(latest))
        return ops.stack(steps, axis=1)

    def _first_outputs(self, states):
        """Returns the outputs before the first valid step: h where the cell outputs h, or zeros."""
        if not self.case.bidirectional:
            return [_first_output(self.layer.cell, states)]
        half = len(tree.flatten(state_sizes(self.layer.forward_layer)))
        forward = _first_output(self.layer.forward_layer.cell, states[:half])
        backward = _first_output(self.layer.backward_layer.cell, states[half:])
        merge = MERGES.get(self.case.merge_mode)
        return [merge(forward, backward)] if merge else [forward, backward]


def _first_output(cell, states):
    if isinstance(cell, CountingCell | ReadoutCell):
        return ops.zeros((1, cell.output_size), dtype=states[0].dtype)
    if isinstance(cell, keras.layers.StackedRNNCells):
        last = cell.cells[-1].state_size
        return states[-len(last) if isinstance(last, list | tuple) else -1]
    if isinstance(cell, layers.StackedCells):
        return states[cell.top_state]
    return states[0]


def state_sizes(layer: keras.layers.Layer) -> list[Any]:
    """Returns the sizes of a layer's states, in the structure that it expects."""
    if isinstance(layer, keras.layers.Bidirectional):
        return [*state_sizes(layer.forward_layer), *state_sizes(layer.backward_layer)]
    return [list(s) if isinstance(s, list | tuple) else s for s in layer.state_size]


def nest_states(layer: keras.layers.Layer, states: list[Any]) -> list[Any]:
    """Returns a flat list of states in the structure that the layer expects."""
    return tree.pack_sequence_as(state_sizes(layer), states)


def initial_states(case: Case, layer: keras.layers.Layer, zero: bool = False) -> list[np.ndarray]:
    """Returns random initial states as a flat list, or zeros."""
    return [
        case.array(case.batch, size, offset=index + 1) * (not zero)
        for index, size in enumerate(tree.flatten(state_sizes(layer)))
    ]
