"""Clips of feature vectors: tables with one row per frame."""

import math
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import UserError
from . import tables

LARGEST = float(np.finfo("float32").max)
EXACT_INTEGERS = 2**53  # float64 represents all integers up to this one
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
INTEGER = re.compile(r"[+-]?[0-9]+")


class FeatureTable(NamedTuple):
    """The frames of a clip of feature vectors, read from a table.

    Attributes:
        path: path of the file.
        columns: names of the features.
        frames: (time, features), float64.
        lines: line number of each frame.
        labels: the label of each frame, if the table has labels.
        integers: `{column: (smallest, largest)}` of columns of integers from 2**53 on.
    """

    path: pathlib.Path
    columns: list[str]
    frames: np.ndarray
    lines: list[int]
    labels: list[str]
    integers: dict[str, tuple[int, int]]

    def describe_value(self, frame: int, feature: int) -> str:
        """Returns the position of a value in the file, for error messages."""
        name = self.columns[feature % len(self.columns)]
        change = "the change of " if feature >= len(self.columns) else ""
        return f"{self.path}, line {self.lines[frame]}: {change}column {name!r}"

    def select_columns(self, columns: Sequence[str]) -> np.ndarray:
        """Returns the frames with the columns in the given order.

        Raises:
            UserError: the table has other columns.
        """
        if sorted(columns) != sorted(self.columns):
            raise UserError(
                f"{self.path}, line 1: expected the columns {', '.join(columns)}, got "
                f"{', '.join(self.columns)}."
            )
        return self.frames[:, [self.columns.index(name) for name in columns]]


def read_feature_table(path: pathlib.Path, *, needs_labels: bool = True) -> FeatureTable:
    """Returns the frames and the labels in a table.

    Args:
        path: path of the table.
        needs_labels: whether a column `label` is required.

    Raises:
        UserError: the table cannot be read; names the line and the column.
    """
    header, rows = tables.read_table(path, ["label"])
    label = None
    if needs_labels or any(name.casefold() == "label" for name in header):
        label = tables.find_column(path, header, "label", ["label"])
    columns = _feature_columns(path, header, label)
    if not rows:
        raise UserError(f"{path}: the clip has no frames. Add a row for each frame.")
    frames = [
        [_parse_feature(row[index], path, line, name) for name, index in columns.items()]
        for line, row in rows
    ]
    labels = [row[label].strip() for _, row in rows] if label is not None else []
    if needs_labels and not all(labels):
        line, _ = rows[labels.index("")]
        raise UserError(f"{path}, line {line}: column 'label' is empty. Fill it in.")
    array = np.array(frames, "float64")
    integers = {
        name: _integer_range([row[index].strip() for _, row in rows])
        for (name, index), values in zip(columns.items(), array.T, strict=True)
        if np.abs(values).max() >= EXACT_INTEGERS
    }
    lines = [line for line, _ in rows]
    return FeatureTable(path, list(columns), array, lines, labels, integers)


def _feature_columns(
    path: pathlib.Path, header: Sequence[str], label: int | None
) -> dict[str, int]:
    """Returns the position of each column of numbers: all but the label."""
    columns = {name: index for index, name in enumerate(header) if index != label}
    if not columns:
        raise UserError(
            f"{path}, line 1: there are no numeric columns. The first line must name them, and "
            "the column label."
        )
    for index, name in enumerate(header):
        if not name:
            raise UserError(
                f"{path}, line 1: column {index + 1} has no name. Name it, or remove it if it "
                "contains row numbers."
            )
        if name in columns and columns[name] != index:
            raise UserError(f"{path}, line 1: column {name!r} is duplicated. Rename one of them.")
    return columns


def _parse_feature(value: str, path: pathlib.Path, line: int, column: str) -> float:
    number = tables.parse_number(value)
    if abs(number) <= LARGEST:
        return number
    if not value.strip():
        raise UserError(
            f"{path}, line {line}: column {column!r} is empty. Fill it in, or remove the row."
        )
    limit = f" of at most {LARGEST:.1e}" if math.isfinite(number) else ""
    hint = " Write a decimal point." if DECIMAL_COMMA.fullmatch(value) else ""
    raise UserError(
        f"{path}, line {line}: column {column!r} must be a finite number{limit}, got {value!r}."
        f"{hint}"
    )


def _integer_range(values: Sequence[str]) -> tuple[int, int]:
    """Returns the exact range of values that are all integers, or (0, 0)."""
    integers = [int(value) for value in values if INTEGER.fullmatch(value)]
    return (min(integers), max(integers)) if len(integers) == len(values) else (0, 0)


def check_integers(clips: Sequence[FeatureTable]) -> None:
    """Checks that float64 can represent the differences within columns of large integers.

    Raises:
        UserError: it cannot.
    """
    ranges = [table.integers for table in clips]
    for column in set.intersection(*map(set, ranges)) if ranges else ():
        low, high = (min(r[column][0] for r in ranges), max(r[column][1] for r in ranges))
        if 0 < high - low < 1000 * np.spacing(float(max(abs(low), abs(high)))):
            raise UserError(
                f"{clips[0].path}: column {column!r} has integers from {low} to {high}, "
                "whose last digits exceed the precision of float64. Subtract a constant from it."
            )


def counter_warnings(clips: Sequence[FeatureTable]) -> list[str]:
    """Returns a warning for each column that is a frame number or a time."""
    clips = [clip for clip in clips if len(clip.frames) > 2]
    columns = clips[0].columns if clips else ()
    return [
        f"column {name!r} changes by a constant step from frame to frame: remove it unless the "
        "model should use the frame number or time"
        for name in columns
        if all(_has_equal_steps(clip.frames[:, clip.columns.index(name)]) for clip in clips)
    ]


def _has_equal_steps(values: np.ndarray) -> bool:
    steps = np.diff(values)
    return steps[0] != 0 and np.allclose(steps, steps[0], rtol=1e-6, atol=0)
