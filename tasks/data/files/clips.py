"""The user's own clips, with a label for every frame."""

import functools
import hashlib
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import UserError
from ..image_reader import read_image
from ..source import LazyExamples, Source
from . import layout, tables
from .images import check_image_suffix, read_checked_bytes

LABELS_FILE = "labels.csv"


def read_clips(dataset: str) -> Source:
    """Returns clips of images or of feature vectors.

    Args:
        dataset: path of a folder of clips in one of two forms, or of a folder with such a folder
            for each of train, validation and test. Image clips: a sub-folder per clip with one
            image per frame, in the natural order of their names, and `labels.csv` with columns
            `clip`, `frame` (the image's file name, its stem, or its number) and `label`. Feature
            clips: one .csv file per clip, with numeric columns and `label`.

    Raises:
        UserError: something is missing or cannot be read; names the file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    splits: dict[str, list[dict[str, Any]]] = {}
    for split, folder in layout.find_split_paths(path).items():
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder of clips.")
        has_table = (folder / LABELS_FILE).is_file()
        rows = _read_image_clips(folder) if has_table else _read_feature_clips(folder)
        if not rows:
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
    _check_columns(all_rows)
    for row in all_rows:
        row["labels"] = np.array([classes.index(label) for label in row["labels"]], "int32")
    return layout.build_source(
        path,
        splits,
        digest=digest,
        group_of=lambda row: row["name"],
        classes=classes,
        wrap_rows=lambda rows: LazyExamples(
            range(len(rows)), functools.partial(_read_example, rows)
        ),
    )


def read_clip(path: str) -> list[pathlib.Path] | np.ndarray:
    """Returns one clip without labels: the image paths in a folder, or the numbers in a .csv file.

    Raises:
        UserError: the path is neither, or cannot be read.
    """
    clip = pathlib.Path(path).expanduser()
    if clip.is_dir():
        files = [
            file
            for file in layout.list_entries(clip)
            if file.suffix.lower() in layout.IMAGE_SUFFIXES
        ]
        if not files:
            raise UserError(
                f"{clip} contains no images. Expected one file per frame that ends in one of "
                f"{', '.join(layout.IMAGE_SUFFIXES)}."
            )
        return files
    if clip.suffix.lower() != ".csv" or not clip.is_file():
        raise UserError(f"{clip} is neither a folder of images nor a .csv file.")
    return _read_feature_clip(clip, needs_labels=False)["frames"]


def _read_example(rows: Sequence[Mapping[str, Any]], index: int) -> dict[str, Any]:
    row = rows[index]
    frames = row["frames"]
    if isinstance(frames, list):
        frames = [read_image(file) for file in frames]
    return {"name": row["name"], "frames": frames, "labels": row["labels"]}


def _read_image_clips(folder: pathlib.Path) -> list[dict[str, Any]]:
    table = folder / LABELS_FILE
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
    for clip_folder in filter(pathlib.Path.is_dir, layout.list_entries(folder)):
        files = layout.list_entries(clip_folder)
        if not files:
            raise UserError(
                f"{clip_folder}: the clip has no frames. Add images, or remove the folder."
            )
        clips.append(_read_image_clip(table, clip_folder, files, labels.pop(clip_folder.name, {})))
    if labels:
        clip, frames = next(iter(labels.items()))
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
    labels, digest = [], hashlib.sha256()
    unused = dict(labels_of)
    for file in files:
        check_image_suffix(file)
        name = next((name for name in _frame_names(file) if name in unused), None)
        if name is None:
            raise UserError(
                f"{file}: the frame has no label in {table}. Add a row for it, or remove the image."
            )
        labels.append(unused.pop(name)[1])
        digest.update(read_checked_bytes(file))
    if unused:
        name, (line, _) = next(iter(unused.items()))
        raise UserError(
            f"{table}, line {line}: clip {folder.name!r} has no frame {name!r}. Add the image, or "
            "remove the row."
        )
    return {"name": folder.name, "frames": files, "labels": labels, "key": digest.hexdigest()}


def _frame_names(file: pathlib.Path) -> list[str]:
    """Returns the names by which `labels.csv` may refer to a frame."""
    digits = "".join(filter(str.isdecimal, file.stem))
    return [file.name, file.stem, *([str(int(digits)), digits] if digits else [])]


def _read_feature_clips(folder: pathlib.Path) -> list[dict[str, Any]]:
    return [
        _read_feature_clip(path)
        for path in layout.list_entries(folder)
        if path.suffix.lower() == ".csv"
    ]


def _read_feature_clip(path: pathlib.Path, *, needs_labels: bool = True) -> dict[str, Any]:
    header = [name.strip() for name in next(tables.read_cells(path), (1, []))[1]]
    columns = [name for name in header if name != "label"]
    if not columns:
        raise UserError(
            f"{path}, line 1: there are no numeric columns. The first line must name them, and "
            "the column label."
        )
    frames, labels = [], []
    for line, values in tables.read_rows(path, [*columns, "label"] if needs_labels else columns):
        frames.append([_parse_number(values[name], path, line, name) for name in columns])
        labels.append(values.get("label"))
    if not frames:
        raise UserError(f"{path}: the clip has no frames. Add a row for each frame.")
    array = np.array(frames, "float32")
    key = layout.sha256_hex("\0".join(columns).encode() + array.tobytes())
    return {"name": path.stem, "frames": array, "labels": labels, "key": key, "columns": columns}


def _parse_number(value: str, path: pathlib.Path, line: int, column: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"{path}, line {line}: column {column!r} must be a finite number, got {value!r}."
        )
    return number


def _check_columns(rows: Sequence[Mapping[str, Any]]) -> None:
    expected = rows[0].get("columns")
    for row in rows:
        if row.get("columns") != expected:
            raise UserError(
                f"All clips must have the same columns: {rows[0]['name']} has "
                f"{_describe_columns(expected)}, but {row['name']} has "
                f"{_describe_columns(row.get('columns'))}."
            )


def _describe_columns(columns: Sequence[str] | None) -> str:
    return "images" if columns is None else ", ".join(columns)
