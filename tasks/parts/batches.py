"""Batches of sequences of like length, so that little is padding."""

from collections.abc import Callable, Sequence

import keras
import numpy as np


def pad(sequences: Sequence[Sequence[int]], multiple: int = 1, value: int = 0) -> np.ndarray:
    """Returns the sequences as rows of one array, filled up at the end with `value`.

    The width is that of the longest, rounded up to a multiple: where a backend compiles anew
    for every shape, there are then few of them.
    """
    longest = max(map(len, sequences), default=0)
    width = max(-(-longest // multiple) * multiple, multiple)
    padded = np.full((len(sequences), width), value, "int32")
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


class GroupedBatches(keras.utils.PyDataset):
    """Batches that each hold examples of like length.

    Args:
        lengths: (examples,) or (examples, kinds); sorted by the last kind first.
        collate: `(indices) -> batch`.
        batch_size: examples a batch, the last one of an order aside.
        seed: with one, examples of the same length are mixed anew every epoch and batches come
            in random order; None keeps the order of lengths.
    """

    def __init__(
        self,
        lengths,
        collate: Callable[[np.ndarray], tuple],
        *,
        batch_size: int,
        seed: int | None = None,
    ):
        super().__init__(workers=1, use_multiprocessing=False)
        self.lengths = np.asarray(lengths).reshape(len(lengths), -1)
        self.collate = collate
        self.batch_size = batch_size
        self.random = None if seed is None else np.random.default_rng(seed)
        self._arrange()

    def _arrange(self):
        count = len(self.lengths)
        ties = np.arange(count) if self.random is None else self.random.permutation(count)
        self.order = np.lexsort([ties, *self.lengths.T])
        starts = np.arange(0, count, self.batch_size)
        self.batches = [self.order[start : start + self.batch_size] for start in starts]
        if self.random is not None:
            self.random.shuffle(self.batches)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        batch = self.collate(self.batches[index])
        if index == 1 and keras.backend.backend() == "tensorflow":
            # Keras takes an axis for fixed that is alike in the first two batches, and fails at
            # the first batch that differs.
            batch = keras.tree.map_structure(_unlike, batch, self.collate(self.batches[0]))
        return batch

    def on_epoch_end(self):
        if self.random is not None:
            self._arrange()

    def restore(self, outputs: Sequence) -> list:
        """Puts outputs, one an example in the order of the batches, back in the given order."""
        restored = [None] * len(self.order)
        for index, output in zip(np.concatenate(self.batches), outputs, strict=True):
            restored[index] = output
        return restored


def _unlike(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Adds a column of padding where the two arrays are equally wide."""
    if array.ndim < 2 or array.shape[1] != other.shape[1]:
        return array
    return np.pad(array, [(0, 0), (0, 1), *[(0, 0)] * (array.ndim - 2)])
