"""Splits of the user's own files: provided, cut from train, or folds of a cross-validation."""

import pathlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

from ...errors import UserError
from .. import checks
from ..filesystem import printable
from ..source import Source
from ..splits import SPLIT_FRACTIONS, SPLITS, Groups, hash_fraction

SOURCE_MARK = "__"  # in a name, between the source of an example and the rest

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
    """Returns the source of a user's data set; missing splits are cut from train, see `Groups`.

    These rows stay in one split: rows of the same group, whatever its case and spaces; rows with
    the same `key`; and rows whose names have the same beginning up to two underscores, as
    `session3__a` and `session3__b`.

    Args:
        path: path of the data set.
        rows: `{split: rows}`, or `{"": rows}` for a data set without splits. A row may have a
            `name`, a `key` (the hash of its content), and a `label`, `labels` or a `target`.
        digest: a `hashlib` object that was updated with the content of all rows.
        group_of: `(row) -> str`, the group that must stay in one split.
        classes: names of the classes.
        wrap_rows: turns the rows of a split into the examples of the source.
    """
    provided = {split: rows[split] for split in SPLITS if split in rows}
    unsplit = provided.pop("train") if provided else rows[""]
    missing = {name: part for name, part in SPLIT_FRACTIONS.items() if name not in provided}
    groups = _find_groups(unsplit, group_of)

    def make_source(parts: Mapping[str, Sequence[int]], **notes: Any) -> Source:
        cut = {split: [unsplit[row] for row in indices] for split, indices in parts.items()}
        splits = {split: {**provided, **cut}[split] for split in SPLITS}
        warnings = _find_problems(splits, group_of, classes)
        if classes:  # files are sorted by class
            splits["train"] = sorted(splits["train"], key=lambda row: hash_fraction(group_of(row)))
        return Source(
            name=printable(path.absolute().name),
            sha256=digest.hexdigest(),
            splits={split: wrap_rows(splits[split]) for split in SPLITS},
            classes=tuple(map(printable, classes)),
            notes={**notes, **({"warnings": warnings} if warnings else {})},
            make_fold=None if "test" in provided else make_fold,
        )

    def make_fold(count: int, number: int) -> Source:
        if len(groups) < count:
            raise UserError(
                f"--folds {count} needs at least {count} examples that do not belong together, but "
                f"{path} has {len(groups)}. Use fewer folds."
            )
        folds = groups.fold(count)
        test = folds.pop(number - 1)
        others = sorted(group for fold in folds for group in fold)
        fractions = {name: part for name, part in missing.items() if name != "test"}
        parts = groups.split(fractions, others)
        parts["test"] = sorted(row for group in test for row in groups.rows[group])
        return make_source(parts, splits={**origins, "test": f"fold {number} of {count}"})

    origins = {split: "provided" if split in rows else "by hash" for split in SPLITS}
    rule = {"split_rule": "stratified"} if missing else {}
    return make_source(groups.split(missing), splits=origins, **rule)


def _find_groups(rows: Sequence[Row], group_of: Callable[..., str]) -> Groups:
    return Groups([_group_keys(row, group_of(row)) for row in rows], [_labels(row) for row in rows])


def _group_keys(row: Row, group: str) -> list[str]:
    keys = [group, f"\0text {' '.join(group.casefold().split())}"]
    if "key" in row:
        keys.append(f"\0content {row['key']}")
    source, mark, _ = pathlib.PurePath(row.get("name", "")).name.partition(SOURCE_MARK)
    if source and mark:
        keys.append(f"\0source {source}")
    return keys


def _labels(row: Row) -> Collection[int]:
    if "labels" in row:
        return set(row["labels"].tolist())
    return [row["label"]] if "label" in row else []


def _find_problems(
    splits: Mapping[str, Sequence[Row]], group_of: Callable[..., str], classes: Sequence[str]
) -> list[str]:
    """Returns warnings about the splits."""
    warnings = []
    groups = len(_find_groups(splits["test"], group_of))
    if len(splits["test"]) >= checks.MIN_TESTS:  # otherwise the number of examples is too small
        warnings += checks.size_warnings(groups, unit="groups of examples that belong together")
    if classes:
        labels = {split: list(map(_labels, rows)) for split, rows in splits.items()}
        warnings += checks.class_warnings(labels, classes)
    first = next((row for rows in splits.values() for row in rows), {})
    warnings += checks.duplicate_warnings(
        {name: [row.get("key") or group_of(row) for row in rows] for name, rows in splits.items()},
        {name: list(map(_target, rows)) for name, rows in splits.items()},
        noun=next((noun for field, noun in NOUNS.items() if field in first), "examples"),
        targets_are_labels=bool(classes),
    )
    return warnings


# What an example is called, by a field of its row.
NOUNS = {"text": "texts", "source": "sources", "image": "images", "frames": "clips"}


def _target(row: Row) -> Hashable:
    """Returns what is to be predicted for a row."""
    if "labels" in row:
        return tuple(row["labels"].tolist())
    return row["label"] if "label" in row else row.get("target")
