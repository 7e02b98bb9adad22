"""Splits that stay as they are when examples are added."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

SPLITS = ("train", "validation", "test")  # every data set has these; some have more
SHARES = {"test": 0.1, "validation": 0.1}


def share(group: str) -> float:
    """Returns a number in [0, 1) that depends on the text alone, spread evenly over texts."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / 2**64


def split_of(group: str, shares: Mapping[str, float] = SHARES) -> str:
    """Returns the split of a group: one named in `shares`, which takes that share, or train."""
    position = share(group)
    for name, width in shares.items():
        if position < width:
            return name
        position -= width
    return "train"


def by_group(
    rows: Sequence, group: Callable[..., str], shares: Mapping[str, float] = SHARES
) -> dict[str, list]:
    """Returns `{split: rows}`; rows of one group are in one split, whatever other rows there are.

    Args:
        rows: anything.
        group: `(row) -> str`, what must not be torn apart.
        shares: share of the groups that each split gets; train gets the rest.
    """
    found = {"train": [], **{name: [] for name in shares}}
    for row in rows:
        found[split_of(group(row), shares)].append(row)
    return found
