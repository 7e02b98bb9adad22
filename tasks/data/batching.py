"""Batches of sequences of like length, so that little is padding."""

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np

from ..errors import UserError
from ..models import compilation


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

    Order, and whatever is drawn for a batch, follow from the seed, the epoch and the place of the
    batch in it alone: so training can go on from any step as if it had never stopped.

    Args:
        count: number of examples.
        collate: `(indices, random) -> batch`, where `random` draws the same for a batch of an
            epoch however often it is asked for; None if there is no seed.
        batch_size: examples a batch, the last one of an order aside.
        seed: with one, examples come in another random order every epoch; None keeps the order.

    Attributes:
        mistake: of the user's, that a batch of this process met last, such as a damaged image.
    """

    mistake: UserError | None = None

    def __init__(
        self,
        count: int,
        collate: Callable[[np.ndarray, np.random.Generator | None], tuple],
        *,
        batch_size: int,
        seed: int | None = None,
    ):
        super().__init__(workers=1, use_multiprocessing=False)
        self.count = count
        self.collate = collate
        self.batch_size = batch_size
        self.seed = seed
        self.go_to(0)

    def go_to(self, epoch: int, step: int = 0) -> None:
        """Goes to a step of an epoch, both counted from 0; the epoch then has so many fewer."""
        self.epoch, self.skipped = epoch, step
        random = self._random()
        self.order = self._ordered(random)
        starts = np.arange(0, self.count, self.batch_size)
        self.batches = [self.order[start : start + self.batch_size] for start in starts]
        if random is not None:
            random.shuffle(self.batches)

    def _random(self, *place: int) -> np.random.Generator | None:
        return None if self.seed is None else np.random.default_rng([self.seed, self.epoch, *place])

    def _ordered(self, random: np.random.Generator | None) -> np.ndarray:
        return np.arange(self.count) if random is None else random.permutation(self.count)

    def __len__(self):
        return len(self.batches) - self.skipped

    def __getitem__(self, index):
        try:
            return self._collated(self.skipped + index)
        except UserError as error:
            Batches.mistake = error
            raise

    def _collated(self, number: int):
        return self.collate(self.batches[number], self._random(number))

    def on_epoch_end(self):
        if self.seed is not None:
            self.go_to(self.epoch + 1)

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
        collate: `(indices, pad, random) -> batch`, where `pad` is that of this module with the
            width settled: it takes sequences, value, dtype and at_least. Where `collate` draws
            what a sequence is cut to, `at_least` is the longest that it can be: if one batch is
            all there is, Keras holds every epoch to the width of the first.
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
        self.pair = None, []  # epoch and number of the first batch of a pair, and its widths
        super().__init__(len(self.lengths), collate, batch_size=batch_size, seed=seed)

    def _ordered(self, random):
        return np.lexsort([super()._ordered(random), *self.lengths.T])

    def _collated(self, number: int):
        if number % 2 == 0 or keras.backend.backend() != "tensorflow":
            batch, widths = self._filled(number)
            self.pair = (self.epoch, number), widths
            return batch
        before, widths = self.pair  # at once: Keras reads ahead in another thread
        if before != (self.epoch, number - 1):
            _, widths = self._filled(number - 1)
        return self._filled(number, widths)[0]

    def _filled(self, number: int, avoided: Sequence[int] = ()) -> tuple[tuple, list[int]]:
        """Returns a batch, and the width of each array that was padded for it."""
        fill = _Fill(compilation.shape_multiple(), avoided)
        batch = self.collate(self.batches[number], fill, self._random(number))
        return batch, fill.widths


class _Fill:
    """`pad` with the width settled, to which batch after batch is filled up.

    Args:
        multiple: JAX compiles anew for every shape: of multiples there are few.
        avoided: widths of the batch before, one for each call. On TensorFlow, Keras takes an axis
            for fixed that is alike in the first two batches that it sees, and fails at the first
            that differs: so the two of a pair differ, whichever pair training goes on from.
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
