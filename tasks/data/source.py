"""Raw data sets: examples in splits, before a task turns them into tensors."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UserError
from .splits import hash_fraction

MIN_SAMPLE = 20  # examples of a split that `limit_train` keeps, or all if there are fewer
FOLD_NOTES = ("splits", "split_rule", "warnings")  # each fold has its own
CACHE_BYTES = 1 << 30  # decoded examples to keep in memory, per split


@dataclasses.dataclass(frozen=True)
class Source:
    """Raw examples in splits.

    Attributes:
        name: name of the data set, with its version.
        sha256: hash of the content of all splits, in hexadecimal.
        splits: `{"train", "validation", "test"}` and possibly more, each a sequence of mappings.
        classes: class names; a `label` in an example is an index into them.
        notes: facts about the data set for the record, JSON types only.
        image_shape: typical (height, width, channels) of images to resize, with None for an unknown
            size; None if all images have the same shape, or there are none.
        unlimited: the splits before sampling by `limit_train`; None without sampling.
        make_fold: `(folds, number) -> Source`, the same data with a fold as the test split, counted
            from 1; None if the data set comes with a test split.
    """

    name: str
    sha256: str
    splits: Mapping[str, Sequence[Mapping[str, Any]]]
    classes: Sequence[str] = ()
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    image_shape: tuple[int | None, int | None, int] | None = None
    unlimited: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    make_fold: Callable[[int, int], "Source"] | None = None

    def all_rows(self, split: str) -> Sequence[Mapping[str, Any]]:
        """Returns the examples of a split, including those that `limit_train` left out."""
        return (self.unlimited or self.splits)[split]

    def select_fold(self, folds: int, number: int) -> "Source":
        """Returns the source with one fold as the test split, and the rest as train and validation.

        Args:
            folds: number of folds.
            number: number of the fold to test on, from 1.

        Raises:
            UserError: the data set comes with a test split, or has too few examples.
        """
        if self.make_fold is None:
            raise UserError(
                f"{self.name} already has a test split, which --folds would ignore. Omit "
                "--folds, or put all examples into one file or folder without splits."
            )
        fold = self.make_fold(folds, number)
        notes = {name: self.notes[name] for name in self.notes if name not in FOLD_NOTES}
        return dataclasses.replace(
            self,
            sha256=hashlib.sha256(f"{self.sha256} fold {number} of {folds}".encode()).hexdigest(),
            splits=fold.splits,
            notes={**notes, **fold.notes, "content_sha256": self.sha256},
        )

    def warn(self, warnings: Sequence[str], *, of_folds: bool = False) -> "Source":
        """Returns the source with additional warnings in its notes.

        Args:
            warnings: the warnings.
            of_folds: whether they also apply to the folds of a cross-validation.
        """
        if not warnings:
            return self
        notes = {**self.notes, "warnings": [*self.notes.get("warnings", ()), *warnings]}
        source = dataclasses.replace(self, notes=notes)
        make_fold = self.make_fold
        if make_fold is None or not of_folds:
            return source
        return dataclasses.replace(
            source, make_fold=lambda count, number: make_fold(count, number).warn(warnings)
        )

    def limit_train(self, count: int | None) -> "Source":
        """Returns the source with a sample of `count` training examples; None keeps all.

        The other splits shrink in proportion, but not below `MIN_SAMPLE` examples. The sample
        depends only on the number of examples, see `sample_indices`, so that runs with different
        seeds, backends or machines share it.
        """
        train = self.splits["train"]
        if count is None or count >= len(train):
            return self
        sizes = {
            name: max(MIN_SAMPLE, math.ceil(len(rows) * count / len(train)))
            for name, rows in self.splits.items()
        }
        splits = {name: sample_rows(self.splits[name], n) for name, n in sizes.items()}
        splits["train"] = sample_rows(train, count)
        lengths = {name: len(rows) for name, rows in self.splits.items()}
        return dataclasses.replace(
            self,
            splits=splits,
            sha256=hashlib.sha256(f"{self.sha256} {count}".encode()).hexdigest(),
            notes={"content_sha256": self.sha256, **self.notes, "sampled_from": lengths},
            unlimited=self.splits,
        )


def sample_indices(total: int, count: int) -> list[int]:
    """Returns `count` of the numbers 0 to `total - 1` in order, chosen by their hash; at most all.

    The choice is the same on every machine, and a smaller sample is a subset of a larger one.

    Example:
        >>> sample_indices(10, 3)
        [2, 5, 7]
    """
    return sorted(hash_order(total)[:count])


def hash_order(total: int) -> list[int]:
    """Returns the numbers 0 to `total - 1` in a fixed pseudorandom order, that of their hashes."""
    return sorted(range(total), key=lambda index: hash_fraction(f"row {index}"))


def sample_rows(rows: Sequence[Any], count: int) -> Sequence[Any]:
    """Returns `count` of the rows in their order, see `sample_indices`; at most all.

    Args:
        rows: a list, an array or lazily read examples.
        count: number of rows to return.
    """
    if count >= len(rows):
        return rows
    return select_rows(rows, sample_indices(len(rows), count))


def select_rows(rows: Any, indices: Sequence[int]) -> Any:
    """Returns the rows at some indices; lazily read rows stay lazy."""
    if isinstance(rows, np.ndarray):
        return rows[list(indices)]
    if isinstance(rows, list):
        return [rows[index] for index in indices]
    return LazyExamples(list(indices), rows.__getitem__)


class LazyExamples(Sequence[Any]):
    """Examples that are read on first access and cached up to a memory limit.

    Args:
        keys: arguments of `read`, one per example; a range or a list.
        read: `(key) -> example`, a mapping or a tuple.
        cache_bytes: bytes of arrays to cache; examples beyond that are read again every time.
    """

    def __init__(self, keys: Sequence[Any], read: Callable[[Any], Any], cache_bytes: int = 0):
        self._keys, self._read, self._free_bytes = keys, read, cache_bytes
        self._cache: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LazyExamples(self._keys[index], self._read, self._free_bytes)
        key = self._keys[index]
        if key in self._cache:
            return self._cache[key]
        example = self._read(key)
        values = example.values() if isinstance(example, Mapping) else example
        size = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._cache[key] = example
        return example


def content_hash(splits: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """Returns the SHA-256 of examples made of text, numbers and arrays, in hexadecimal.

    Unlike a hash of files, it does not depend on the version of the library that wrote them.
    """
    digest = hashlib.sha256()
    for name, rows in sorted(splits.items()):
        for row in rows:
            arrays = {key: value for key, value in row.items() if isinstance(value, np.ndarray)}
            others = {key: value for key, value in row.items() if key not in arrays}
            digest.update(json.dumps([name, others], sort_keys=True, default=int).encode())
            for key, array in sorted(arrays.items()):
                digest.update(f"{key} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def check_splits(name: str, splits: Mapping[str, Sequence[Any]]) -> None:
    """Checks that no split of a data set is empty.

    Raises:
        UserError: a split is empty; names it.
    """
    for split, rows in splits.items():
        if not len(rows):
            counts = ", ".join(f"{other} {len(rows)}" for other, rows in splits.items())
            raise UserError(
                f"{name} has no example in its {split} split ({counts}). At least three examples "
                "that do not belong together are needed. Add more, or provide your own folders or "
                "files named train, validation and test."
            )
