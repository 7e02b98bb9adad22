"""Data parallelism: one run on several devices or machines, each training on a part of every batch.

Uses Keras's distribution API, which Keras 3 implements for JAX. Every process runs the same
program, and XLA sums their gradients. Losses and gradients equal those of the whole batch, since
both are sums over its targets divided by the number of targets in all parts.

Processes find each other through the environment variables `KERAS_DISTRIBUTION_JOB_ADDRESSES`,
`..._NUM_PROCESSES` and `..._PROCESS_ID`, see `keras.distribution.initialize`.
"""

import os
from typing import Any

import keras
import numpy as np

from rnn_topologies.tasks.data.batching import Batches
from rnn_topologies.tasks.errors import UserError

NUM_PROCESSES, PROCESS_ID = "KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"


def enable_data_parallel() -> None:
    """Connects to the other processes, and shards batches over all devices from now on.

    Raises:
        UserError: the backend does not support it.
    """
    backend = keras.backend.backend()
    if backend != "jax":
        raise UserError(
            f"--strategy data_parallel needs --backend jax, got {backend}. Keras 3 has no "
            "distribution for PyTorch, and on TensorFlow each replica divides its loss by its own "
            "number of tokens, which is not the loss of the whole batch."
        )
    if os.environ.get(NUM_PROCESSES):
        keras.distribution.initialize()
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))


def disable_data_parallel() -> None:
    """Makes models that are built from now on local to this process."""
    keras.distribution.set_distribution(None)


def is_distributed() -> bool:
    return keras.distribution.distribution() is not None


def device_count() -> int:
    """Returns the number of devices over all processes."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)


def process_count() -> int:
    return int(os.environ.get(NUM_PROCESSES) or 1)


def is_chief() -> bool:
    """Whether this is the process that evaluates the model and writes the record."""
    return _process_id() == 0


def _process_id() -> int:
    return int(os.environ.get(PROCESS_ID) or 0)


def describe_strategy() -> dict[str, Any]:
    """Returns the strategy and its size for the record; empty without a strategy."""
    if not is_distributed():
        return {}
    return {
        "strategy": "data_parallel",
        "processes": process_count(),
        "devices": device_count(),
    }


class ShardedBatches(keras.utils.PyDataset):
    """This process's share of every batch, with the same number of rows on every device.

    A batch that does not divide evenly is padded with rows of weight 0.

    Args:
        batches: yields `(inputs, targets)` or `(inputs, targets, weights)`.
    """

    def __init__(self, batches: Batches):
        super().__init__(workers=1, use_multiprocessing=False)
        self.batches = batches
        self.process_id = _process_id()
        self.devices = device_count()

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple:
        inputs, targets, *weights = self.batches[index]
        weights = weights[0] if weights else np.ones(np.shape(targets), "float32")
        rows = -(-len(targets) // self.devices) * self.devices
        share = rows // process_count()
        start = self.process_id * share

        def shard(array: np.ndarray) -> np.ndarray:
            padding = np.repeat(array[:1], rows - len(array), axis=0)
            return np.concatenate([array, padding])[start : start + share]

        weights = np.concatenate([weights, np.zeros((rows - len(weights), *weights.shape[1:]))])
        shards: Any = keras.tree.map_structure(shard, (inputs, targets))
        return *shards, weights[start : start + share].astype("float32")

    def on_epoch_end(self) -> None:
        self.batches.on_epoch_end()

    def seek(self, epoch: int, step: int = 0) -> None:
        self.batches.seek(epoch, step)
