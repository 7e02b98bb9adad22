"""Batches of sequences of like length, so that little is padding."""

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np

from . import compilation


def pad(
    sequences: Sequence,
    value: int = 0,
    *,
    dtype="int32",
    at_least: int = 0,
    multiple: int = 1,
    extra: int = 0,
) -> np.ndarray:
    """Returns the sequences as rows of one array, filled up at the end with `value`.

    Args:
        sequences: of numbers, or of arrays of one shape.
        value: the padding.
        dtype: of the array.
        at_least: the width to have if all are shorter.
        multiple: the width is rounded up to a multiple of it.
        extra: columns of padding to add.
    """
    longest = max(at_least, *map(len, sequences), 0)
    width = max(-(-longest // multiple) * multiple, multiple) + extra
    step = np.shape(sequences[0])[1:] if len(sequences) else ()
    padded = np.full((len(sequences), width, *step), value, dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


class Batches(keras.utils.PyDataset):
    """Batches of examples that all have one size.

    Args:
        count: number of examples.
        collate: `(indices) -> batch`.
        batch_size: examples a batch, the last one of an order aside.
        seed: with one, examples come in another random order every epoch; None keeps the order.
    """

    def __init__(
        self,
        count: int,
        collate: Callable[[np.ndarray], tuple],
        *,
        batch_size: int,
        seed: int | None = None,
    ):
        super().__init__(workers=1, use_multiprocessing=False)
        self.count = count
        self.collate = collate
        self.batch_size = batch_size
        self.random = None if seed is None else np.random.default_rng(seed)
        self._arrange()

    def _arrange(self):
        self.order = self._ordered()
        starts = np.arange(0, self.count, self.batch_size)
        self.batches = [self.order[start : start + self.batch_size] for start in starts]
        if self.random is not None:
            self.random.shuffle(self.batches)

    def _ordered(self) -> np.ndarray:
        return np.arange(self.count) if self.random is None else self.random.permutation(self.count)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.collate(self.batches[index])

    def on_epoch_end(self):
        if self.random is not None:
            self._arrange()

    def restore(self, outputs: Sequence) -> list:
        """Puts outputs, one an example in the order of the batches, back in the given order."""
        restored = [None] * len(self.order)
        for index, output in zip(np.concatenate(self.batches), outputs, strict=True):
            restored[index] = output
        return restored


class GroupedBatches(Batches):
    """Batches that each hold examples of like length, to be padded to one.

    Args:
        lengths: (examples,) or (examples, kinds); sorted by the last kind first.
        collate: `(indices, pad) -> batch`, where `pad` is that of this module with the width
            settled: it takes sequences, value, dtype and at_least. Where `collate` draws what a
            sequence is cut to, `at_least` is the longest that it can be: if one batch is all
            there is, Keras holds every epoch to the width of the first.
        batch_size: examples a batch, the last one of an order aside.
        seed: with one, examples of the same length are mixed anew every epoch and batches come
            in random order; None keeps the order of lengths.
    """

    def __init__(
        self,
        lengths,
        collate: Callable[[np.ndarray, Callable], tuple],
        *,
        batch_size: int,
        seed: int | None = None,
    ):
        self.lengths = np.asarray(lengths, "int64").reshape(len(lengths), -1)
        self.first_widths = ()
        super().__init__(len(self.lengths), collate, batch_size=batch_size, seed=seed)

    def _ordered(self):
        return np.lexsort([super()._ordered(), *self.lengths.T])

    def __getitem__(self, index):
        avoided = self.first_widths if index == 1 else ()
        fill = _Fill(compilation.shape_multiple(), avoided)
        batch = self.collate(self.batches[index], fill)
        if index == 0 and keras.backend.backend() == "tensorflow":
            self.first_widths = fill.widths
        return batch


class _Fill:
    """`pad` with the width settled, to which batch after batch is filled up.

    Args:
        multiple: JAX compiles anew for every shape: of multiples there are few.
        avoided: widths of the first batch, one for each call. On TensorFlow, Keras takes an axis
            for fixed that is alike in the first two batches, and fails at the first that differs.
    """

    def __init__(self, multiple: int, avoided: Sequence[int]):
        self.multiple, self.avoided = multiple, avoided
        self.widths = []

    def __call__(
        self, sequences: Sequence, value: int = 0, *, dtype="int32", at_least: int = 0
    ) -> np.ndarray:
        made = functools.partial(
            pad, sequences, value, dtype=dtype, at_least=at_least, multiple=self.multiple
        )
        array = made()
        number = len(self.widths)
        if number < len(self.avoided) and array.shape[1] == self.avoided[number]:
            array = made(extra=1)
        self.widths.append(array.shape[1])
        return array
