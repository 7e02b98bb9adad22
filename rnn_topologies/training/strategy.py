"""One run on several devices or machines: each takes its part of every batch.

Through Keras's own distribution API, which Keras 3 has for JAX. Every process runs the same
program; XLA adds up what they come to. Losses and gradients are those of the joint batch, since
both are sums over its targets, divided by their number in all parts.

Several processes find each other by `KERAS_DISTRIBUTION_JOB_ADDRESSES`, `..._NUM_PROCESSES` and
`..._PROCESS_ID`, see `keras.distribution.initialize`.
"""

import os

import keras
import numpy as np

from rnn_topologies.tasks.errors import UserError

COUNT, NUMBER = "KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"


def begin() -> None:
    """Joins the other processes, and spreads batches over all devices from now on.

    Raises:
        UserError: the backend cannot.
    """
    backend = keras.backend.backend()
    if backend != "jax":
        raise UserError(
            f"--strategy data_parallel needs --backend jax, got {backend}. Keras 3 has no "
            "distribution for PyTorch, and on TensorFlow each replica divides its loss by its own "
            "number of tokens, which is not the loss of the joint batch."
        )
    if os.environ.get(COUNT):
        keras.distribution.initialize()
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))


def end() -> None:
    """Spreads nothing any more: what is built from now on belongs to this process."""
    keras.distribution.set_distribution(None)


def is_spread() -> bool:
    return keras.distribution.distribution() is not None


def facts() -> dict:
    """Returns how a run is spread, for its record; empty if it is not."""
    if not is_spread():
        return {}
    devices = int(keras.distribution.distribution().device_mesh.devices.size)
    return {"strategy": "data_parallel", "processes": processes(), "devices": devices}


def processes() -> int:
    return int(os.environ.get(COUNT) or 1)


def is_chief() -> bool:
    """Whether this is the process that tests and records."""
    return int(os.environ.get(NUMBER) or 0) == 0


class Part(keras.utils.PyDataset):
    """This process's part of every batch, the same number of rows for each device.

    A batch that cannot be divided so is filled up with rows that weigh nothing.

    Args:
        batches: of `(inputs, targets)` or `(inputs, targets, weights)`.
    """

    def __init__(self, batches):
        super().__init__(workers=1, use_multiprocessing=False)
        self.batches = batches
        self.number = int(os.environ.get(NUMBER) or 0)
        self.devices = keras.distribution.distribution().device_mesh.devices.size

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        inputs, targets, *weights = self.batches[index]
        weights = weights[0] if weights else np.ones(np.shape(targets), "float32")
        rows = -(-len(targets) // self.devices) * self.devices
        share = rows // processes()
        start = self.number * share

        def part(array):
            missing = rows - len(array)
            filled = np.concatenate([array, np.repeat(array[:1], missing, axis=0)])
            return filled[start : start + share]

        weights = np.concatenate([weights, np.zeros((rows - len(weights), *weights.shape[1:]))])
        shared = keras.tree.map_structure(part, (inputs, targets))
        return *shared, weights[start : start + share].astype("float32")

    def on_epoch_end(self):
        self.batches.on_epoch_end()

    def go_to(self, epoch: int, step: int = 0) -> None:
        self.batches.go_to(epoch, step)
