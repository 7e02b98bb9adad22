"""Own clips, with a label for every frame."""

import functools
import hashlib
import math
import pathlib

import numpy as np

from ...errors import UserError
from .. import images
from ..source import Lazy, Source
from . import layout, tables

LABELS = "labels.csv"


def read(dataset: str) -> Source:
    """Returns clips of images or of feature vectors.

    Args:
        dataset: a folder of clips: either sub-folders of frames, images in the order of their
            names, and `labels.csv` with columns `clip`, `frame` (the image's name, its stem or its
            number) and `label`; or one .csv for each clip, with columns of numbers and `label`.
            Or a folder with folders train, validation and test of that kind.

    Raises:
        UserError: something is missing or cannot be read; names file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    parts = {}
    for split, place in layout.split_places(path).items():
        if not place.is_dir():
            raise UserError(f"{place} is not a folder of clips.")
        found = _image_clips(place) if (place / LABELS).is_file() else _feature_clips(place)
        if not found:
            raise UserError(f"{place} has neither {LABELS} nor a .csv for each clip.")
        for row in found:
            digest.update("\0".join([split, row["name"], row["key"], *row["labels"], ""]).encode())
        parts[split] = found
    rows = [row for found in parts.values() for row in found]
    classes = sorted({label for row in rows for label in row["labels"]})
    layout.check_classes(classes, path)
    _check_widths(rows)
    for row in rows:
        row["labels"] = np.array([classes.index(label) for label in row["labels"]], "int32")
    return layout.made(
        path,
        parts,
        digest=digest,
        group=lambda row: row["name"],
        classes=classes,
        rows=lambda found: Lazy(range(len(found)), functools.partial(_loaded, found)),
    )


def read_clip(given: str) -> list[pathlib.Path] | np.ndarray:
    """Returns one clip: the images in a folder, or the numbers of a .csv file.

    Raises:
        UserError: it is neither, or cannot be read.
    """
    path = pathlib.Path(given).expanduser()
    if path.is_dir():
        files = [file for file in layout.entries(path) if file.suffix.lower() in layout.IMAGES]
        if not files:
            raise UserError(f"{path} holds no images.")
        return files
    if path.suffix.lower() != ".csv" or not path.is_file():
        raise UserError(f"{path} is neither a folder of images nor a .csv file.")
    return _feature_clip(path, needs_labels=False)["frames"]


def _loaded(rows, index: int) -> dict:
    row = rows[index]
    frames = row["frames"]
    if isinstance(frames, list):
        frames = [images.read(file) for file in frames]
    return {"name": row["name"], "frames": frames, "labels": row["labels"]}


def _image_clips(place: pathlib.Path) -> list[dict]:
    table = place / LABELS
    said = {}
    for line, values in tables.rows(table, ("clip", "frame", "label")):
        frames = said.setdefault(values["clip"], {})
        if values["frame"] in frames:
            raise UserError(
                f"{table}, line {line}: frame {values['frame']} of clip {values['clip']} has a "
                "label already."
            )
        frames[values["frame"]] = (line, values["label"])
    found = []
    for folder in filter(pathlib.Path.is_dir, layout.entries(place)):
        files = layout.entries(folder)
        if not files:
            raise UserError(f"{folder}: the clip has no frames.")
        found.append(_image_clip(table, folder, files, said.pop(folder.name, {})))
    if said:
        clip, frames = next(iter(said.items()))
        raise UserError(f"{table}, line {min(frames.values())[0]}: there is no clip {clip!r}.")
    return found


def _image_clip(table, folder, files, said) -> dict:
    labels, digest = [], hashlib.sha256()
    left = dict(said)
    for file in files:
        if file.suffix.lower() not in layout.IMAGES:
            raise UserError(f"{file} is no image: expected one of {', '.join(layout.IMAGES)}.")
        name = next((name for name in _names(file) if name in left), None)
        if name is None:
            raise UserError(f"{file}: the frame has no label in {table}.")
        labels.append(left.pop(name)[1])
        content = file.read_bytes()
        images.of(content, str(file))
        digest.update(content)
    if left:
        name, (line, _) = next(iter(left.items()))
        raise UserError(f"{table}, line {line}: clip {folder.name!r} has no frame {name!r}.")
    return {"name": folder.name, "frames": files, "labels": labels, "key": digest.hexdigest()}


def _names(file: pathlib.Path) -> list[str]:
    """Returns what `labels.csv` may call a frame."""
    digits = "".join(filter(str.isdecimal, file.stem))
    return [file.name, file.stem, *([str(int(digits)), digits] if digits else [])]


def _feature_clips(place: pathlib.Path) -> list[dict]:
    return [_feature_clip(path) for path in layout.entries(place) if path.suffix.lower() == ".csv"]


def _feature_clip(path: pathlib.Path, *, needs_labels: bool = True) -> dict:
    header = [name.strip() for name in next(tables.cells(path), (1, []))[1]]
    columns = [name for name in header if name != "label"]
    if not columns:
        raise UserError(f"{path}, line 1: there is no column of numbers beside the label.")
    frames, labels = [], []
    for line, values in tables.rows(path, [*columns, "label"] if needs_labels else columns):
        frames.append([_number(values[name], path, line, name) for name in columns])
        labels.append(values.get("label"))
    if not frames:
        raise UserError(f"{path}: the clip has no frames.")
    frames = np.array(frames, "float32")
    key = layout.fingerprint("\0".join(columns).encode() + frames.tobytes())
    return {"name": path.stem, "frames": frames, "labels": labels, "key": key, "columns": columns}


def _number(value: str, path: pathlib.Path, line: int, column: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{path}, line {line}: {column} is not a number: {value!r}.")
    return number


def _check_widths(rows) -> None:
    first = rows[0].get("columns")
    for row in rows:
        if row.get("columns") != first:
            raise UserError(
                f"The clip {row['name']} has other columns than {rows[0]['name']}: "
                f"{row.get('columns')} and {first}."
            )
