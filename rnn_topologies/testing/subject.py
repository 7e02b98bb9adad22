"""The cell under test, and ways to run it."""

import contextlib
import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from keras import ops, tree

from rnn_topologies import layers

BATCH, TIME = 3, 6  # unequal to each other and to most sizes, so that mixed-up axes show
# Float32 has 24 bits, and sums are taken in another order: about 100 times their rounding.
NEAR = {"rtol": 1e-4, "atol": 1e-5}
MASK = np.array([[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1]], bool)


class CellError(AssertionError):
    """What a cell does that no recurrent cell may do, and how to mend it."""


class Skipped(Exception):  # noqa: N818
    """A check that cannot be made here, with the reason."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A cell under test: how to make it, and what it is compared with."""

    make: Callable[..., keras.layers.Layer]
    features: int
    reference: Callable | None
    cell_class: type

    def built(self, **settings):
        """Returns a new cell with random weights, always the same."""
        cell = self.make(**settings)
        cell.build((None, self.features))
        cell.built = True
        generator = np.random.default_rng(1)
        cell.set_weights([0.5 * generator.normal(size=w.shape) for w in cell.get_weights()])
        return cell

    def sequence(self, seed=0):
        shape = (BATCH, TIME, self.features)
        return np.random.default_rng(seed).normal(size=shape).astype("float32")

    def states(self, cell, seed=2):
        generator = np.random.default_rng(seed)
        return [
            0.5 * generator.normal(size=(BATCH, size)).astype("float32") for size in sizes_of(cell)
        ]


@contextlib.contextmanager
def says(what):
    """Turns whatever a cell raises into a `CellError` that begins with `what`."""
    try:
        yield
    except (CellError, Skipped):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise CellError(f"{what} ({type(error).__name__}: {text})") from error


def sizes_of(cell):
    size = cell.state_size
    return list(size) if isinstance(size, list | tuple) else [size]


def listed(states):
    return list(states) if isinstance(states, list | tuple) else [states]


def given(cell, states):
    """Returns states as the loop of Keras hands them to a cell: always in a list."""
    return [ops.convert_to_tensor(state) for state in states]


def as_numpy(value):
    return tree.map_structure(
        lambda x: np.asarray(ops.convert_to_numpy(ops.cast(x, "float32"))), value
    )


def one_step(cell, x, states, **settings):
    output, new = cell(ops.convert_to_tensor(x), given(cell, states), **settings)
    return as_numpy(output), as_numpy(listed(new))


def layer_of(cell, **settings):
    return layers.RNN(cell, return_sequences=True, return_state=True, **settings)


def run(layer, x, states, mask=None):
    outputs, *last = layer(
        ops.convert_to_tensor(x),
        initial_state=[ops.convert_to_tensor(state) for state in states],
        mask=None if mask is None else ops.convert_to_tensor(mask),
    )
    return as_numpy(outputs), [as_numpy(state) for state in last]


def near(found, wanted) -> bool:
    return all(
        a.shape == b.shape and np.allclose(a, b, **NEAR)
        for a, b in zip(tree.flatten(found), tree.flatten(wanted), strict=True)
    )
