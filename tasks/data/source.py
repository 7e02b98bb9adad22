"""A data set as it is read, before a task makes tensors of it."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UserError

ROOM = 1 << 30  # bytes of decoded examples to keep in memory, of each split


@dataclasses.dataclass(frozen=True)
class Source:
    """Raw examples in splits.

    Attributes:
        name: of the set, with its version.
        sha256: of its content, all splits, in hexadecimal.
        splits: `{"train", "validation", "test"}` and perhaps more, each a sequence of mappings.
        classes: names of the classes, where examples have a `label`: its number.
        notes: facts for the record, JSON types only.
    """

    name: str
    sha256: str
    splits: Mapping[str, Sequence[Mapping[str, Any]]]
    classes: Sequence[str] = ()
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def limited(self, count: int | None) -> "Source":
        """Returns the source with the first `count` training examples, all of them if None."""
        if count is None:
            return self
        return dataclasses.replace(
            self, splits={**self.splits, "train": first(self.splits["train"], count)}
        )


class Lazy(Sequence):
    """Examples that are read when they are asked for, and kept while there is room.

    Args:
        keys: what `read` is called with, one key an example; a range or a list.
        read: `(key) -> example`, a mapping or a tuple.
        room: bytes of arrays to keep; the rest is read again every time.
    """

    def __init__(self, keys: Sequence, read: Callable[[Any], Any], room: int = 0):
        self._keys, self._read, self._room = keys, read, room
        self._kept = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Lazy(self._keys[index], self._read, self._room)
        key = self._keys[index]
        if key in self._kept:
            return self._kept[key]
        example = self._read(key)
        values = example.values() if isinstance(example, Mapping) else example
        size = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
        if size <= self._room:
            self._room -= size
            self._kept[key] = example
        return example


def first(rows: Sequence, count: int) -> Sequence:
    """Returns the first rows, as a sequence of the same kind."""
    return rows[: min(count, len(rows))]


def content_hash(splits: Mapping[str, Iterable[Mapping]]) -> str:
    """Returns the SHA-256 of examples of text, numbers and arrays, in hexadecimal.

    Unlike that of the files, it does not change with the version of what wrote them.
    """
    digest = hashlib.sha256()
    for name, rows in sorted(splits.items()):
        for row in rows:
            arrays = {k: v for k, v in row.items() if isinstance(v, np.ndarray)}
            plain = {k: v for k, v in row.items() if k not in arrays}
            digest.update(json.dumps([name, plain], sort_keys=True, default=int).encode())
            for key, array in sorted(arrays.items()):
                digest.update(f"{key} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def check_splits(name: str, splits: Mapping[str, Sequence]) -> None:
    """Refuses a data set with a split that holds nothing.

    Raises:
        UserError: names the empty split.
    """
    for split, rows in splits.items():
        if not len(rows):
            counts = ", ".join(f"{name} {len(rows)}" for name, rows in splits.items())
            raise UserError(
                f"{name} has no example in its {split} split ({counts}). Splits are made by a "
                "hash of each example; with few examples, bring folders or files named train, "
                "validation and test of your own."
            )
