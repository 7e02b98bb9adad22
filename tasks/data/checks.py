"""Warnings about data on which scores are unreliable or too optimistic."""

import collections
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from .source import Source

# With fewer independent test examples, the 95 % interval of an accuracy is ± 0.18 and wider.
MIN_TESTS = 30
MAX_UNKNOWN = 0.2  # fraction of unknown tokens
MAX_NAMES = 5  # classes that a warning lists

Keys = Mapping[str, Sequence[Hashable]]  # what identifies the input of each example, by split
Labels = Mapping[str, Sequence[Collection[int]]]  # the classes of each example, by split


def size_warnings(
    subject: str, count: int, noun: str = "example{s}", *, has_folds: bool = False
) -> list[str]:
    """Returns a warning if there are fewer than `MIN_TESTS` test examples or groups.

    Args:
        subject: beginning of the warning, such as "the test split has".
        count: number of test examples, or of groups of them.
        noun: what is counted, with `{s}` where the plural has an s.
        has_folds: whether the data could be cross-validated instead.
    """
    if count >= MIN_TESTS:
        return []
    hint = " Add data, or cross-validate with --folds." if has_folds else ""
    counted = f"{count} {noun.format(s='' if count == 1 else 's')}"
    return [f"{subject} only {counted}, fewer than {MIN_TESTS}: scores vary a lot by chance.{hint}"]


def class_warnings(labels: Labels, classes: Sequence[str]) -> list[str]:
    """Returns warnings about classes that are missing from training or from the test split.

    Args:
        labels: the classes of each example, by split.
        classes: the names of all classes.
    """
    present = {split: set().union(*rows) for split, rows in labels.items()}
    missing = {split: set(range(len(classes))) - found for split, found in present.items()}
    warnings = []
    if missing["train"]:
        warnings.append(f"no training example of {_list_classes(missing['train'], classes)}")
    if len(present["test"]) == 1:
        name = _list_classes(present["test"], classes)
        warnings.append(f"all test examples are of {name}: scores say nothing about other classes")
    elif missing["test"]:
        warnings.append(f"no test example of {_list_classes(missing['test'], classes)}")
    return warnings


def sample_warnings(source: Source) -> list[str]:
    """Returns warnings about classes that a sample of a data set lacks, see `class_warnings`.

    Only if the rows are in memory: others would have to be read from disk.
    """
    is_sample = "sampled_from" in source.notes and bool(source.classes)
    if not is_sample or not all(isinstance(rows, list) for rows in source.splits.values()):
        return []
    labels = {split: list(map(labels_of, rows)) for split, rows in source.splits.items()}
    known = source.notes.get("warnings", ())
    return [text for text in class_warnings(labels, source.classes) if text not in known]


def labels_of(row: Mapping[str, Any]) -> Collection[int]:
    """Returns the classes of an example: its `label`, or all `labels` of its frames."""
    if "labels" in row:
        return set(np.atleast_1d(row["labels"]).tolist())
    return [int(row["label"])] if "label" in row else []


def _list_classes(labels: Collection[int], classes: Sequence[str]) -> str:
    names = ", ".join(repr(classes[label]) for label in sorted(labels)[:MAX_NAMES])
    more = f" and {len(labels) - MAX_NAMES} more" if len(labels) > MAX_NAMES else ""
    return f"{'class' if len(labels) == 1 else 'classes'} {names}{more}"


def duplicate_warnings(
    inputs: Keys, targets: Keys, *, noun: str, targets_are_labels: bool
) -> list[str]:
    """Returns warnings about examples that repeat others or contradict them.

    Args:
        inputs: what identifies the input of each example, by split.
        targets: what identifies its target, by split.
        noun: plural noun for the inputs, such as "texts".
        targets_are_labels: whether an input with several targets is a contradiction.
    """
    warnings = []
    repeated = {
        split: len(keys) - len(set(zip(keys, targets[split], strict=True)))
        for split, keys in inputs.items()
    }
    if total := sum(repeated.values()):
        counts = ", ".join(f"{split} {count:,}" for split, count in repeated.items() if count)
        where = f" within their split ({counts})" if len(inputs) > 1 else ""
        size = sum(map(len, inputs.values()))
        warnings.append(f"{total:,} of {size:,} examples are duplicates{where}")
    train = set(inputs["train"])
    for split in sorted(inputs.keys() - {"train"}):
        if seen := sum(key in train for key in inputs[split]):
            size = len(inputs[split])
            warnings.append(f"{seen:,} of {size:,} {split} {noun} also occur in train")
    if targets_are_labels and (count := _count_contradictions(inputs, targets)):
        size = len(set().union(*inputs.values()))
        warnings.append(f"{count:,} of {size:,} different {noun} occur with several labels")
    return warnings


def _count_contradictions(inputs: Keys, targets: Keys) -> int:
    labels = collections.defaultdict(set)
    for split, keys in inputs.items():
        for key, target in zip(keys, targets[split], strict=True):
            labels[key].add(target)
    return sum(len(found) > 1 for found in labels.values())


def unknown_warnings(shares: Mapping[str, float], tokens: str) -> list[str]:
    """Returns warnings if a large part of the validation or test tokens is unknown.

    Args:
        shares: the fraction of unknown tokens, by split.
        tokens: the value of `--tokens`.
    """
    others = " or ".join(unit for unit in ("characters", "byte_pairs") if unit != tokens)
    return [
        f"{share:.1%} of the {split} tokens do not occur in training (--tokens {tokens}). Try "
        f"--tokens {others}."
        for split, share in shares.items()
        if share > MAX_UNKNOWN and split in ("validation", "test")
    ]
