"""Splits of the user's files: provided, split off from train, or folds of a cross-validation."""

import dataclasses
import pathlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from ...errors import UserError
from .. import checks
from ..filesystem import printable
from ..source import Source
from ..splits import SPLIT_FRACTIONS, SPLITS, Groups, hash_fraction

SOURCE_MARK = "__"  # in file names, ends the prefix that names the source of an example

GROUPS = "group{s} of examples that belong together"
# Nouns for the examples, by a field of their rows.
NOUNS = {"text": "texts", "source": "sources", "image": "images", "frames": "clips"}

Row = Mapping[str, Any]


def build_source(
    path: pathlib.Path,
    rows: Mapping[str, list[Any]],
    *,
    digest: Any,
    group_of: Callable[..., str],
    classes: Sequence[str] = (),
    wrap_rows: Callable[[list[Any]], Sequence[Any]] = list,
) -> Source:
    """Returns the source of a user's data set; `Groups` splits missing splits off from train.

    These rows stay in one split: rows with the same `group_of`, ignoring case and spaces; rows with
    the same `group` or `key`; and rows whose names have the same prefix up to two underscores,
    such as `session3__a` and `session3__b`.

    Args:
        path: path of the data set.
        rows: `{split: rows}`, or `{"": rows}` for a data set without splits. A row may have a
            `name`, a `group`, a `key` (the hash of its content), and a `label`, `labels` or a
            `target`.
        digest: a `hashlib` object that was updated with the content of all rows.
        group_of: `(row) -> str`, the group that must stay in one split.
        classes: names of the classes.
        wrap_rows: turns the rows of a split into the examples of the source.
    """
    files = _Files(
        path=path,
        rows=rows,
        sha256=digest.hexdigest(),
        group_of=group_of,
        classes=classes,
        wrap_rows=wrap_rows,
    )
    return files.cut()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Files:
    """The rows of a data set, and how to split them; for the fields see `build_source`."""

    path: pathlib.Path
    rows: Mapping[str, list[Any]]
    sha256: str
    group_of: Callable[..., str]
    classes: Sequence[str]
    wrap_rows: Callable[[list[Any]], Sequence[Any]]

    @property
    def provided(self) -> dict[str, list[Any]]:
        """The splits that are not split off from train."""
        return {split: self.rows[split] for split in ("validation", "test") if split in self.rows}

    @property
    def missing(self) -> dict[str, float]:
        """The fraction of each split that is split off from train."""
        return {name: part for name, part in SPLIT_FRACTIONS.items() if name not in self.rows}

    @property
    def unsplit(self) -> list[Any]:
        return self.rows["train"] if "train" in self.rows else self.rows[""]

    def find_groups(self, rows: Sequence[Row]) -> Groups:
        keys = [_group_keys(row, self.group_of(row)) for row in rows]
        return Groups(keys, list(map(checks.labels_of, rows)))

    def cut(self) -> Source:
        """Returns the source with missing splits split off from train."""
        splits = self.arrange(self.find_groups(self.unsplit).split(self.missing))
        warnings = [*self.find_copies(splits), *_shared_origins(splits)]
        if len(splits["test"]) >= checks.MIN_TESTS:  # fewer are reported anyway
            count = len(self.find_groups(splits["test"]))
            warnings += checks.size_warnings("the test split has", count, GROUPS)
        origins = {split: "provided" if split in self.rows else "by hash" for split in SPLITS}
        rule = {"split_rule": "stratified"} if self.missing else {}
        return self.make_source(splits, warnings, {"splits": origins, **rule})

    def make_fold(self, count: int, number: int) -> Source:
        """Returns the source with a fold as the test split, see `Source.make_fold`."""
        groups = self.find_groups(self.unsplit)
        if len(groups) < count:
            raise UserError(
                f"--folds {count} needs at least {count} examples that do not belong together, but "
                f"{self.path} has {len(groups)}. Use fewer folds."
            )
        folds = groups.fold(count)
        test = folds.pop(number - 1)
        fractions = {name: part for name, part in self.missing.items() if name != "test"}
        parts = groups.split(fractions, sorted(group for fold in folds for group in fold))
        parts["test"] = sorted(row for group in test for row in groups.rows[group])
        # About all folds together, so that every fold has the same warnings.
        warnings = self.find_copies({**self.provided, "train": self.unsplit})
        if len(self.unsplit) >= checks.MIN_TESTS:
            warnings += checks.size_warnings("all folds together have", len(groups), GROUPS)
        origins = {split: "provided" if split in self.rows else "by hash" for split in SPLITS}
        notes = {"splits": {**origins, "test": f"fold {number} of {count}"}}
        return self.make_source(self.arrange(parts), warnings, notes)

    def arrange(self, parts: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        """Returns the rows of each split.

        Args:
            parts: indices of the rows that each split gets from train.
        """
        cut = {split: [self.unsplit[row] for row in indices] for split, indices in parts.items()}
        return {split: {**self.provided, **cut}[split] for split in SPLITS}

    def make_source(
        self,
        splits: Mapping[str, list[Any]],
        warnings: Sequence[str],
        notes: Mapping[str, Any],
    ) -> Source:
        splits = dict(splits)
        if self.classes:
            labels = {split: list(map(checks.labels_of, rows)) for split, rows in splits.items()}
            warnings = [*checks.class_warnings(labels, self.classes), *warnings]
            # Files are sorted by class.
            splits["train"] = sorted(
                splits["train"], key=lambda row: hash_fraction(self.group_of(row))
            )
        return Source(
            name=printable(self.path.absolute().name),
            sha256=self.sha256,
            splits={split: self.wrap_rows(splits[split]) for split in SPLITS},
            classes=tuple(map(printable, self.classes)),
            notes={**notes, **({"warnings": warnings} if warnings else {})},
            make_fold=None if "test" in self.rows else self.make_fold,
        )

    def find_copies(self, splits: Mapping[str, Sequence[Row]]) -> list[str]:
        """Returns warnings about duplicate and contradictory rows."""
        first = next((row for rows in splits.values() for row in rows), {})
        inputs = {
            split: [row.get("key") or self.group_of(row) for row in rows]
            for split, rows in splits.items()
        }
        return checks.duplicate_warnings(
            inputs,
            {split: list(map(_target, rows)) for split, rows in splits.items()},
            noun=next((noun for field, noun in NOUNS.items() if field in first), "examples"),
            targets_are_labels=bool(self.classes),
        )


def _group_keys(row: Row, group: str) -> list[str]:
    keys = [group, f"\0text {' '.join(group.casefold().split())}", *_origins(row)]
    return [*keys, f"\0content {row['key']}"] if "key" in row else keys


def _origins(row: Row) -> list[str]:
    """Returns where a row comes from, according to its column `group` and its name."""
    origins = [f"\0group {row['group']}"] if row.get("group") else []
    source, mark, _ = pathlib.PurePath(row.get("name", "")).name.partition(SOURCE_MARK)
    return [*origins, f"\0source {source}"] if source and mark else origins


def _shared_origins(splits: Mapping[str, Sequence[Row]]) -> list[str]:
    """Returns warnings about provided splits that share groups with train."""
    origins = {
        split: {origin for row in rows for origin in _origins(row)}
        for split, rows in splits.items()
    }
    warnings = []
    for split in ("validation", "test"):
        if shared := len(origins[split] & origins["train"]):
            size = len(origins[split])
            warnings.append(f"{shared:,} of {size:,} groups in {split} also have examples in train")
    return warnings


def _target(row: Row) -> Hashable:
    """Returns the target of a row."""
    if "labels" in row:
        return tuple(row["labels"].tolist())
    return row["label"] if "label" in row else row.get("target")
