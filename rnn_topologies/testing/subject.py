"""The cell under test, and ways to run it."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops, tree

from rnn_topologies import layers

BATCH, TIME = 3, 6  # different from each other and from most sizes, so that swapped axes show
# Float32 has 24 significant bits, and sums are computed in another order: about 100 times its
# rounding error.
RTOL, ATOL = 1e-4, 1e-5
MASK = np.array([[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1]], bool)


class CellError(AssertionError):
    """A violation of the contract of recurrent cells, with a suggested fix."""


class Skipped(Exception):  # noqa: N818
    """A check that cannot run here, with the reason."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A cell under test.

    Attributes:
        make: creates the cell; takes further constructor arguments.
        features: number of input features.
        reference: a step in NumPy to compare with, or None.
        cell_class: the class of the cell.
    """

    make: Callable[..., Any]
    features: int
    reference: Callable[..., Sequence[np.ndarray]] | None
    cell_class: type

    def build_cell(self, **kwargs: Any) -> Any:
        """Returns a new cell with random weights, the same in every call."""
        cell = self.make(**kwargs)
        cell.build((None, self.features))
        cell.built = True
        generator = np.random.default_rng(1)
        cell.set_weights([0.5 * generator.normal(size=w.shape) for w in cell.get_weights()])
        return cell

    def sequence(self, seed: int = 0) -> np.ndarray:
        """Returns random inputs, (batch, time, features)."""
        shape = (BATCH, TIME, self.features)
        return np.random.default_rng(seed).normal(size=shape).astype("float32")

    def states(self, cell: Any, seed: int = 2) -> list[np.ndarray]:
        """Returns random states for a cell, each (batch, size)."""
        generator = np.random.default_rng(seed)
        return [
            0.5 * generator.normal(size=(BATCH, size)).astype("float32")
            for size in state_sizes(cell)
        ]


@contextlib.contextmanager
def failing_with(message: str) -> Iterator[None]:
    """Turns any exception of a cell into a `CellError` that starts with `message`."""
    try:
        yield
    except (CellError, Skipped):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise CellError(f"{message} ({type(error).__name__}: {text})") from error


def state_sizes(cell: Any) -> list[int]:
    """Returns the size of each state."""
    size = cell.state_size
    return list(size) if isinstance(size, list | tuple) else [size]


def as_list(states: Any) -> list[Any]:
    """Returns the states in a list, even if there is only one."""
    return list(states) if isinstance(states, list | tuple) else [states]


def as_tensors(arrays: Sequence[np.ndarray]) -> list[Any]:
    """Returns tensors in a list, as Keras's loop passes states to a cell."""
    return [ops.convert_to_tensor(array) for array in arrays]


def as_numpy(value: Any) -> Any:
    """Returns a nested structure of tensors as float32 arrays."""
    return tree.map_structure(
        lambda x: np.asarray(ops.convert_to_numpy(ops.cast(x, "float32"))), value
    )


def run_step(
    cell: Any, x: np.ndarray, states: Sequence[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Runs one step of a cell; returns its output and new states."""
    output, new_states = cell(ops.convert_to_tensor(x), as_tensors(states))
    return as_numpy(output), as_numpy(as_list(new_states))


def make_layer(cell: Any, **kwargs: Any) -> layers.RNN:
    """Returns a layer around a cell that returns sequences and states."""
    return layers.RNN(cell, return_sequences=True, return_state=True, **kwargs)


def run_layer(
    layer: layers.RNN,
    x: np.ndarray,
    states: Sequence[np.ndarray],
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Runs a layer on a sequence; returns its outputs and final states."""
    outputs, *final_states = layer(
        ops.convert_to_tensor(x),
        initial_state=as_tensors(states),
        mask=None if mask is None else ops.convert_to_tensor(mask),
    )
    return as_numpy(outputs), [as_numpy(state) for state in final_states]


def is_close(actual: Any, expected: Any) -> bool:
    """Returns whether two nested structures of arrays agree in shapes and, about, in values."""
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=RTOL, atol=ATOL)
        for a, b in zip(tree.flatten(actual), tree.flatten(expected), strict=True)
    )
