"""Training the model of a task for a few steps, with every cell."""

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import pytest

from rnn_topologies import layers
from rnn_topologies.tasks import base

WITH_EVERY_SETTING = ("simple_rnn", "lstm", "gru")
# One state, two states, two states of different widths, and one that runs in parallel over time.
REPRESENTATIVE = (*WITH_EVERY_SETTING, "lstmp", "min_gru")


def cells_and_settings(
    settings: Sequence[Any], default: Any, *, eager_cells: Iterable[str] = REPRESENTATIVE
) -> list[Any]:
    """Returns the parameters (cell, setting, eager) of a test that trains.

    Eagerly, some cells train with the default setting, and GRU with all of them. Compiled, which
    takes five to ten times as long for tracing the graph, the tests with all cells are `slow`.
    """
    eager = [(cell, default) for cell in eager_cells]
    eager += [("gru", setting) for setting in settings if setting != default]
    compiled = [
        (cell, setting)
        for cell in layers.CELLS
        for setting in settings
        if setting == default or cell in WITH_EVERY_SETTING
    ]
    return [pytest.param(*pair, True, id=f"{pair[0]}-{pair[1]}") for pair in eager] + [
        pytest.param(*pair, False, id=f"{pair[0]}-{pair[1]}-compiled", marks=pytest.mark.slow)
        for pair in compiled
    ]


def depth(cell: str) -> int:
    """Returns how many layers to stack: one if a step is many small operations, and thus slow."""
    return 2 if cell in WITH_EVERY_SETTING else 1


@contextlib.contextmanager
def execution(*, eager: bool) -> Iterator[None]:
    """Inside, TensorFlow runs functions step by step instead of compiling them, if `eager`."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(eager)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Even though the `tf.config")  # of tf.data
            yield
    finally:
        tf.config.run_functions_eagerly(before)


def losses(
    task: base.Task, data: base.Data, model: Any, *, epochs: int, learning_rate: float = 0.01
) -> list[float]:
    """Trains a model and returns its training loss of each epoch."""
    model.compile(
        keras.optimizers.Adam(learning_rate), task.loss(), weighted_metrics=task.metrics()
    )
    batches = task.batches(data.splits["train"], data, training=True)
    return model.fit(batches, epochs=epochs, verbose=0).history["loss"]
