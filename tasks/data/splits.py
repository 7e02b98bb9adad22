"""Train, validation and test splits by hash.

`split_by_group` decides for every group separately. The user's files are split by `Groups`, which
also balances the classes and leaves no split empty if possible.
"""

import collections
import hashlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

SPLITS = ("train", "validation", "test")  # every data set has these; some have more
MAX_DEVIATION = 0.1  # relative, from the share of a class that a split should get; or one group
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
    return _split_at(hash_fraction(group), fractions)


def _split_at(position: float, fractions: Mapping[str, float]) -> str:
    """Returns the split that a number from 0 to 1 falls into, if each covers its fraction."""
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


class Groups:
    """Rows that must stay in the same split, with a class for each group, to balance the splits.

    Rows belong together if they share a key, directly or through other rows. A group is stratified
    by the rarest of its classes, so that clips with frames of a rare class are spread over splits.

    Args:
        keys: one or more keys for each row; the first of a group's first row identifies the group.
        labels: the classes of each row; empty for rows without classes.
    """

    def __init__(self, keys: Sequence[Sequence[str]], labels: Sequence[Collection[Hashable]]):
        self.rows = _connect_rows(keys)
        self._hashes = [hash_fraction(keys[rows[0]][0]) for rows in self.rows]
        self._strata = _rarest_labels(
            [set().union(*(labels[row] for row in rows)) for rows in self.rows]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def split(
        self, fractions: Mapping[str, float], members: Sequence[int] | None = None
    ) -> dict[str, list[int]]:
        """Returns `{split: rows}` for train and the splits in `fractions`.

        Of every class, each split gets its fraction of the groups, within 10 % or one group, and at
        least one group if there are enough. Within that range the hash decides. Groups are assigned
        in the order of their first rows: adding rows at the end moves no other row, inserting rows
        moves a few.

        Args:
            fractions: fraction of the groups that each split gets; train gets the rest.
            members: indices of the groups to split; None for all.
        """
        members = range(len(self)) if members is None else members
        strata = [self._strata[group] for group in members]
        assigned = self._assign(members, strata, fractions)
        if not set(fractions) <= set(assigned):  # every class has too few groups for all splits
            assigned = self._assign(members, [None] * len(members), fractions)
        rows: dict[str, list[int]] = {"train": [], **{name: [] for name in fractions}}
        for group, split in zip(members, assigned, strict=True):
            rows[split] += self.rows[group]
        return {split: sorted(indices) for split, indices in rows.items()}

    def _assign(
        self, members: Sequence[int], strata: Sequence[Hashable], fractions: Mapping[str, float]
    ) -> list[str]:
        counts = collections.defaultdict(lambda: dict.fromkeys(("train", *fractions), 0))
        assigned = []
        for group, stratum in zip(members, strata, strict=True):
            split = _next_split(self._hashes[group], counts[stratum], fractions)
            counts[stratum][split] += 1
            assigned.append(split)
        return assigned

    def fold(self, count: int) -> list[list[int]]:
        """Returns the groups of each of `count` folds, stratified by class."""
        folds: list[list[int]] = [[] for _ in range(count)]
        sizes = [0] * count
        by_class = collections.defaultdict(list)
        for group in sorted(range(len(self)), key=self._hashes.__getitem__):
            by_class[self._strata[group]].append(group)
        for groups in by_class.values():
            counts = [0] * count
            for group in groups:
                fold = min(range(count), key=lambda fold: (counts[fold], sizes[fold]))
                counts[fold] += 1
                sizes[fold] += len(self.rows[group])
                folds[fold].append(group)
        return [sorted(groups) for groups in folds]


def _connect_rows(keys: Sequence[Sequence[str]]) -> list[list[int]]:
    """Returns the rows of each group, in the order of their first rows."""
    parents = list(range(len(keys)))

    def find_first(row: int) -> int:
        while parents[row] != row:
            parents[row] = row = parents[parents[row]]
        return row

    first_rows: dict[str, int] = {}
    for row, row_keys in enumerate(keys):
        for key in row_keys:
            low, high = sorted((find_first(first_rows.setdefault(key, row)), find_first(row)))
            parents[high] = low
    groups: dict[int, list[int]] = {}
    for row in range(len(keys)):
        groups.setdefault(find_first(row), []).append(row)
    return list(groups.values())


def _rarest_labels(labels: Sequence[Collection[Hashable]]) -> list[Hashable]:
    """Returns the rarest label of each group, counted in groups; None if it has no labels."""
    counts = collections.Counter(label for group in labels for label in group)
    return [
        min(group, key=lambda label: (counts[label], str(label)), default=None) for group in labels
    ]


def _next_split(position: float, counts: Mapping[str, int], fractions: Mapping[str, float]) -> str:
    """Returns the split of the next group of a class.

    Args:
        position: the hash of the group, 0 to 1.
        counts: number of groups of the class that each split already has.
        fractions: fraction of the groups that each split gets; train gets the rest.
    """
    total = sum(counts.values()) + 1
    for split in ("train", *fractions):
        if counts[split] == 0 and total <= len(counts):
            return split
    for split, fraction in fractions.items():
        share = fraction * total
        if counts[split] < share - max(1, MAX_DEVIATION * share):
            return split
    preferred = _split_at(position, fractions)
    share = fractions.get(preferred, 1) * total
    return preferred if counts[preferred] + 1 <= share + max(1, MAX_DEVIATION * share) else "train"
