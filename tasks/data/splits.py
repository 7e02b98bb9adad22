"""Train, validation and test splits by hash, which do not change when examples are added."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

SPLITS = ("train", "validation", "test")  # every data set has these; some have more
SPLIT_FRACTIONS = {"test": 0.1, "validation": 0.1}  # train gets the rest


def hash_fraction(group: str) -> float:
    """Returns a number in [0, 1) that depends only on the text, uniform over texts."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / 2**64


def assign_split(group: str, fractions: Mapping[str, float] = SPLIT_FRACTIONS) -> str:
    """Returns the split of a group: one of those in `fractions`, or train.

    Args:
        group: text that identifies the group.
        fractions: fraction of all groups that each split gets; train gets the rest.
    """
    position = hash_fraction(group)
    for name, fraction in fractions.items():
        if position < fraction:
            return name
        position -= fraction
    return "train"


def split_by_group(
    rows: Sequence[Any],
    group_of: Callable[..., str],
    fractions: Mapping[str, float] = SPLIT_FRACTIONS,
) -> dict[str, list[Any]]:
    """Returns `{split: rows}`, with all rows of a group in the same split.

    The split of a row does not depend on the other rows.

    Args:
        rows: the examples.
        group_of: `(row) -> str`, the group that must stay together.
        fractions: fraction of all groups that each split gets; train gets the rest.
    """
    splits: dict[str, list[Any]] = {"train": [], **{name: [] for name in fractions}}
    for row in rows:
        splits[assign_split(group_of(row), fractions)].append(row)
    return splits
