"""The user's own clips, with a label for every frame."""

import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import UserError
from ..filesystem import printable
from ..image_reader import read_image
from ..source import LazyExamples, Source
from . import layout, splitting, tables
from .entries import find_entry, list_entries, list_folders, walk_files
from .feature_tables import (
    FeatureTable,
    check_integers,
    counter_warnings,
    read_feature_table,
)
from .images import add_image_facts, read_checked_image
from .videos import list_frames, refuse_videos

LABELS_FILE = "labels.csv"


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
    feature_tables = [row["table"] for row in all_rows if "table" in row]
    check_integers(feature_tables)
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
    source = dataclasses.replace(source, notes=notes)
    source = source.warn(counter_warnings(feature_tables), of_folds=True)
    facts = (frame for row in all_rows for frame in row.get("facts", ()))
    return add_image_facts(source, facts)


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
    return read_feature_table(clip, needs_labels=False)


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
    table = read_feature_table(path)
    key = layout.sha256_hex("\0".join(table.columns).encode() + table.frames.tobytes())
    return {
        "name": printable(path.stem),
        "frames": table.frames,
        "labels": table.labels,
        "key": key,
        "table": table,
    }


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
