"""The user's own clips, with a label for every frame."""

import dataclasses
import functools
import hashlib
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import UserError
from ..filesystem import printable
from ..image_reader import read_image
from ..source import LazyExamples, Source
from . import layout, splitting, tables
from .entries import find_entry, list_entries, list_folders, walk_files
from .images import add_image_facts, read_checked_image
from .videos import list_frames, refuse_videos

LABELS_FILE = "labels.csv"
LARGEST = float(np.finfo("float32").max)
EXACT_INTEGERS = 2**53  # float64 represents all integers up to this one
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
INTEGER = re.compile(r"[+-]?[0-9]+")


class FeatureTable(NamedTuple):
    """The frames of a clip of feature vectors, read from a .csv file.

    Attributes:
        path: path of the file.
        columns: names of the features.
        frames: (time, features), float64.
        lines: the line of each frame.
        labels: the label of each frame, if the table has labels.
        integers: `{column: (smallest, largest)}` of columns of integers that reach 2**53.
    """

    path: pathlib.Path
    columns: list[str]
    frames: np.ndarray
    lines: list[int]
    labels: list[str]
    integers: dict[str, tuple[int, int]]

    def describe_value(self, frame: int, feature: int) -> str:
        """Returns where a value is in the file, for error messages."""
        name = self.columns[feature % len(self.columns)]
        change = "the change of " if feature >= len(self.columns) else ""
        return f"{self.path}, line {self.lines[frame]}: {change}column {name!r}"

    def select_columns(self, columns: Sequence[str]) -> np.ndarray:
        """Returns the frames with the columns in this order.

        Raises:
            UserError: the table has other columns.
        """
        if sorted(columns) != sorted(self.columns):
            raise UserError(
                f"{self.path}, line 1: expected the columns {', '.join(columns)}, got "
                f"{', '.join(self.columns)}."
            )
        return self.frames[:, [self.columns.index(name) for name in columns]]


def read_clips(dataset: str) -> Source:
    """Returns clips of images or of feature vectors.

    Args:
        dataset: path of a folder of clips in one of two forms, or of a folder with such a folder
            for each of train, validation and test. Image clips: a sub-folder per clip with one
            image per frame, in the natural order of their names, and `labels.csv` with columns
            `clip`, `frame` (the image's file name, its stem, or its number) and `label`. Feature
            clips: one .csv or .tsv file per clip, with numeric columns and `label`; a split may be
            such a file.

    Raises:
        UserError: something is missing or cannot be read; names the file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    splits: dict[str, list[dict[str, Any]]] = {}
    suffixes = tables.TABLE_SUFFIXES if layout.has_split_files(path, tables.TABLE_SUFFIXES) else ()
    for split, folder in layout.find_split_paths(path, suffixes).items():
        rows = _read_split(folder, is_clip=folder.suffix.lower() in suffixes)
        if not rows:
            refuse_videos(walk_files(folder))
            raise UserError(
                f"{folder} contains neither {LABELS_FILE} nor .csv files. Expected a sub-folder of "
                f"images for each clip and {LABELS_FILE} with columns clip, frame and label; or a "
                ".csv file for each clip, with numeric columns and label."
            )
        for row in rows:
            digest.update("\0".join([split, row["name"], row["key"], *row["labels"], ""]).encode())
        splits[split] = rows
    all_rows = [row for rows in splits.values() for row in rows]
    classes = sorted({label for row in all_rows for label in row["labels"]})
    layout.check_classes(classes, path)
    tables.check_labels(classes, path)
    _check_columns(all_rows)
    _check_integers(all_rows)
    for row in all_rows:
        row["labels"] = np.array([classes.index(label) for label in row["labels"]], "int32")
    source = splitting.build_source(
        path,
        splits,
        digest=digest,
        group_of=lambda row: row["name"],
        classes=classes,
        wrap_rows=lambda rows: LazyExamples(
            range(len(rows)), functools.partial(_read_example, rows)
        ),
    )
    columns = _columns_of(all_rows[0])
    notes = {**source.notes, "columns": columns} if columns else source.notes
    facts = (frame for row in all_rows for frame in row.get("facts", ()))
    return add_image_facts(dataclasses.replace(source, notes=notes), facts)


def _read_split(path: pathlib.Path, *, is_clip: bool) -> list[dict[str, Any]]:
    """Returns the clips in a folder, or the only clip of a split that is a file."""
    if is_clip and path.is_file():
        return [_read_feature_clip(path)]
    if not path.is_dir():
        raise UserError(f"{path} is not a folder of clips.")
    has_table = find_entry(path, LABELS_FILE).is_file()
    return _read_image_clips(path) if has_table else _read_feature_clips(path)


def read_clip(path: str) -> list[pathlib.Path] | FeatureTable:
    """Returns one clip without labels: the image paths in a folder, or the table in a file.

    Raises:
        UserError: the path is neither, or cannot be read.
    """
    clip = pathlib.Path(path).expanduser()
    if os.path.isdir(clip):
        files = list_frames(clip)
        if not files:
            raise UserError(f"{clip} contains no images. Expected one file per frame.")
        return files
    refuse_videos([clip])
    if clip.suffix.lower() not in tables.TABLE_SUFFIXES or not os.path.isfile(clip):
        raise UserError(f"{clip} is neither a folder of images nor a .csv or .tsv file.")
    return _read_feature_table(clip, needs_labels=False)


def _read_example(rows: Sequence[Mapping[str, Any]], index: int) -> dict[str, Any]:
    row = rows[index]
    frames = row["frames"]
    if isinstance(frames, list):
        frames = [read_image(file) for file in frames]
    return {**row, "frames": frames}


def _read_image_clips(folder: pathlib.Path) -> list[dict[str, Any]]:
    table = find_entry(folder, LABELS_FILE)
    labels: dict[str, dict[str, tuple[int, str]]] = {}  # {clip: {frame: (line, label)}}
    for line, values in tables.read_rows(table, ("clip", "frame", "label")):
        frames = labels.setdefault(values["clip"], {})
        if values["frame"] in frames:
            first_line, _ = frames[values["frame"]]
            raise UserError(
                f"{table}, line {line}: frame {values['frame']!r} of clip {values['clip']!r} "
                f"already has a label in line {first_line}. Remove one of them."
            )
        frames[values["frame"]] = (line, values["label"])
    clips = []
    for clip_folder in list_folders(folder):
        files = list_frames(clip_folder)
        if not files:
            raise UserError(
                f"{clip_folder}: the clip has no frames. Add images, or remove the folder."
            )
        clips.append(_read_image_clip(table, clip_folder, files, labels.pop(clip_folder.name, {})))
    if labels:
        clip, frames = next(iter(labels.items()))
        refuse_videos(path for path in list_entries(folder) if clip in (path.name, path.stem))
        line = min(line for line, _ in frames.values())
        raise UserError(
            f"{table}, line {line}: there is no folder for clip {clip!r}. Add it, or remove its "
            "rows."
        )
    return clips


def _read_image_clip(
    table: pathlib.Path,
    folder: pathlib.Path,
    files: Sequence[pathlib.Path],
    labels_of: Mapping[str, tuple[int, str]],
) -> dict[str, Any]:
    labels, facts, digest = [], [], hashlib.sha256()
    unused = dict(labels_of)
    for file in files:
        name = next((name for name in _frame_names(file) if name in unused), None)
        if name is None:
            raise UserError(
                f"{file}: the frame has no label in {table}. Add a row for it, or remove the file."
            )
        labels.append(unused.pop(name)[1])
        content, frame_facts = read_checked_image(file)
        digest.update(content)
        facts.append(frame_facts)
    if unused:
        name, (line, _) = next(iter(unused.items()))
        raise UserError(
            f"{table}, line {line}: clip {folder.name!r} has no frame {name!r}. Add the image, or "
            "remove the row."
        )
    return {
        "name": printable(folder.name),
        "frames": files,
        "labels": labels,
        "key": digest.hexdigest(),
        "facts": facts,
    }


def _frame_names(file: pathlib.Path) -> list[str]:
    """Returns the names by which `labels.csv` may refer to a frame."""
    digits = "".join(filter(str.isdecimal, file.stem))
    return [file.name, file.stem, *([str(int(digits)), digits] if digits else [])]


def _read_feature_clips(folder: pathlib.Path) -> list[dict[str, Any]]:
    return [
        _read_feature_clip(path)
        for path in list_entries(folder)
        if path.suffix.lower() in tables.TABLE_SUFFIXES
    ]


def _read_feature_clip(path: pathlib.Path) -> dict[str, Any]:
    table = _read_feature_table(path)
    key = layout.sha256_hex("\0".join(table.columns).encode() + table.frames.tobytes())
    return {
        "name": printable(path.stem),
        "frames": table.frames,
        "labels": table.labels,
        "key": key,
        "table": table,
    }


def _read_feature_table(path: pathlib.Path, *, needs_labels: bool = True) -> FeatureTable:
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
            raise UserError(f"{path}, line 1: column {name!r} is there twice. Rename one of them.")
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


def _check_columns(rows: Sequence[Mapping[str, Any]]) -> None:
    expected = _columns_of(rows[0])
    for row in rows:
        if _columns_of(row) != expected:
            raise UserError(
                f"All clips must have the same columns: {rows[0]['name']} has "
                f"{_describe_columns(expected)}, but {row['name']} has "
                f"{_describe_columns(_columns_of(row))}."
            )


def _columns_of(row: Mapping[str, Any]) -> list[str]:
    return row["table"].columns if "table" in row else []


def _describe_columns(columns: Sequence[str]) -> str:
    return ", ".join(columns) or "images"


def _check_integers(rows: Sequence[Mapping[str, Any]]) -> None:
    """Checks that no column of large integers differs only in digits that float64 lacks."""
    ranges = [row["table"].integers for row in rows if "table" in row]
    for column in set.intersection(*map(set, ranges)) if ranges else ():
        low, high = (min(r[column][0] for r in ranges), max(r[column][1] for r in ranges))
        if 0 < high - low < 1000 * np.spacing(float(max(abs(low), abs(high)))):
            raise UserError(
                f"{rows[0]['table'].path}: column {column!r} has integers from {low} to {high}, "
                "whose last digits do not fit into 64-bit numbers. Subtract a constant from it."
            )
