"""Batches of fixed-size examples, and of sequences bucketed by length to save padding."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ..errors import UserError
from ..models import compilation


def pad_sequences(
    sequences: Sequence[Any],
    value: float = 0,
    *,
    dtype: npt.DTypeLike = "int32",
    min_length: int = 0,
    multiple_of: int = 1,
    extra_columns: int = 0,
) -> np.ndarray:
    """Returns the sequences as the rows of one array, padded at the end with `value`.

    Args:
        sequences: sequences of numbers, or of arrays that all have the same shape.
        value: the padding value.
        dtype: dtype of the returned array.
        min_length: minimum number of columns, even if all sequences are shorter.
        multiple_of: the number of columns is rounded up to a multiple of this.
        extra_columns: columns of padding to add after rounding.
    """
    longest = max(min_length, *map(len, sequences), 0)
    width = max(-(-longest // multiple_of) * multiple_of, multiple_of) + extra_columns
    step_shape = np.shape(sequences[0])[1:] if len(sequences) else ()
    padded = np.full((len(sequences), width, *step_shape), value, dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


class Batches(keras.utils.PyDataset):
    """Batches of examples that all have the same size.

    The order of the examples and the random numbers of each batch depend only on the seed, the
    epoch and the step. Training can therefore resume at any step as if it had never stopped.

    Args:
        num_examples: number of examples.
        collate: `(indices, random) -> batch`. `random` is a NumPy generator that restarts with
            the same state each time the same batch of the same epoch is built; None if `seed` is
            None.
        batch_size: examples per batch; the last batch in the order may be smaller.
        seed: reshuffles the examples every epoch; None keeps their order.

    Attributes:
        user_error: the last `UserError` that building a batch raised in this process, such as for
            a damaged image. TensorFlow re-raises it as a different exception.
    """

    user_error: UserError | None = None

    def __init__(
        self,
        num_examples: int,
        collate: Callable[..., Any],
        *,
        batch_size: int,
        seed: int | None = None,
    ):
        super().__init__(workers=1, use_multiprocessing=False)
        self.num_examples = num_examples
        self.collate = collate
        self.batch_size = batch_size
        self.seed = seed
        self.seek(0)

    def seek(self, epoch: int, step: int = 0) -> None:
        """Moves to a step of an epoch, both counted from 0; earlier steps are left out."""
        self.epoch, self.first_step = epoch, step
        random = self._generator()
        self.order = self._order_examples(random)
        starts = np.arange(0, self.num_examples, self.batch_size)
        self.batches = [self.order[start : start + self.batch_size] for start in starts]
        if random is not None:
            random.shuffle(self.batches)

    def _generator(self, *key: int) -> np.random.Generator | None:
        return None if self.seed is None else np.random.default_rng([self.seed, self.epoch, *key])

    def _order_examples(self, random: np.random.Generator | None) -> np.ndarray:
        if random is None:
            return np.arange(self.num_examples)
        return random.permutation(self.num_examples)

    def __len__(self) -> int:
        return len(self.batches) - self.first_step

    def __getitem__(self, index: int) -> Any:
        try:
            return self._build_batch(self.first_step + index)
        except UserError as error:
            Batches.user_error = error
            raise

    def _build_batch(self, number: int) -> Any:
        return self.collate(self.batches[number], self._generator(number))

    def on_epoch_end(self) -> None:
        if self.seed is not None:
            self.seek(self.epoch + 1)

    def restore_order(self, outputs: Sequence[Any]) -> list[Any]:
        """Returns outputs, one per example in batch order, reordered to match the examples."""
        restored: list[Any] = [None] * len(self.order)
        for index, output in zip(np.concatenate(self.batches), outputs, strict=True):
            restored[index] = output
        return restored


class BucketedBatches(Batches):
    """Batches of sequences of similar length, each batch padded to its longest sequence.

    Args:
        lengths: (examples,) or (examples, kinds). Examples are sorted by the last kind, and by
            the earlier kinds where it ties.
        collate: `(indices, pad, random) -> batch`, where `pad(sequences, value, dtype=...,
            min_length=...)` is `pad_sequences` with the number of columns settled. If `collate`
            shortens sequences at random, it must pass their full length as `min_length`: with a
            single batch per epoch, Keras fixes the width to that of the first epoch.
        batch_size: examples per batch; the last batch in the order may be smaller.
        seed: reshuffles examples of equal length, and the batches, every epoch; None keeps them
            sorted by length.
    """

    def __init__(
        self,
        lengths: npt.ArrayLike,
        collate: Callable[..., Any],
        *,
        batch_size: int,
        seed: int | None = None,
    ):
        array = np.asarray(lengths, "int64")
        self.lengths = array.reshape(len(array), -1)
        # Epoch and number of the last even batch, and the widths of its padded arrays.
        self._previous: tuple[tuple[int, int] | None, list[int]] = None, []
        super().__init__(len(self.lengths), collate, batch_size=batch_size, seed=seed)

    def _order_examples(self, random: np.random.Generator | None) -> np.ndarray:
        return np.lexsort([super()._order_examples(random), *self.lengths.T])

    def _build_batch(self, number: int) -> Any:
        if number % 2 == 0 or keras.backend.backend() != "tensorflow":
            batch, widths = self._pad_batch(number)
            self._previous = (self.epoch, number), widths
            return batch
        previous, widths = self._previous  # read once: Keras prefetches batches in a thread
        if previous != (self.epoch, number - 1):
            _, widths = self._pad_batch(number - 1)
        return self._pad_batch(number, widths)[0]

    def _pad_batch(self, number: int, avoid_widths: Sequence[int] = ()) -> tuple[Any, list[int]]:
        """Returns a batch, and the width of each array that was padded for it."""
        pad = _BatchPadder(compilation.shape_multiple(), avoid_widths)
        batch = self.collate(self.batches[number], pad, self._generator(number))
        return batch, pad.widths


class _BatchPadder:
    """`pad_sequences` that chooses the width of each array of a batch.

    Args:
        multiple_of: widths are rounded up to a multiple of this. JAX compiles again for every new
            shape, so there should be few of them.
        avoid_widths: widths of the previous batch, one per call. On TensorFlow, Keras takes an
            axis as fixed if it has the same size in the first two batches that it sees, and then
            fails on the first batch that differs. Two consecutive batches, starting at an even
            one, must therefore differ in width, whichever step training resumes from.
    """

    def __init__(self, multiple_of: int, avoid_widths: Sequence[int]):
        self.multiple_of, self.avoid_widths = multiple_of, avoid_widths
        self.widths: list[int] = []

    def __call__(
        self,
        sequences: Sequence[Any],
        value: float = 0,
        *,
        dtype: npt.DTypeLike = "int32",
        min_length: int = 0,
    ) -> np.ndarray:
        pad = functools.partial(
            pad_sequences,
            sequences,
            value,
            dtype=dtype,
            min_length=min_length,
            multiple_of=self.multiple_of,
        )
        array = pad()
        call = len(self.widths)
        if call < len(self.avoid_widths) and array.shape[1] == self.avoid_widths[call]:
            array = pad(extra_columns=1)
        self.widths.append(array.shape[1])
        return array
