"""Own texts: with a class each, or with a translation."""

import hashlib
import pathlib

from ...errors import UserError
from ..source import Source
from . import layout, tables


def read(dataset: str) -> Source:
    """Returns texts with classes, of folders of .txt files or of .csv and .tsv files.

    Args:
        dataset: a folder with a sub-folder of .txt files for each class, or a table with columns
            `text` and `label`; or a folder with either for each split.

    Raises:
        UserError: something is missing or cannot be read; names file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    parts = {}
    for split, place in layout.split_places(path, tables.SUFFIXES).items():
        found = _folder(place) if place.is_dir() else _table(place)
        layout.check_classes((row["label"] for row in found), place)
        for row in found:
            digest.update(f"{split}\0{row['label']}\0{row['text']}\0".encode())
        parts[split] = found
    labels = {split: {row["label"] for row in rows} for split, rows in parts.items()}
    classes = layout.same_classes(labels, path)
    for row in (row for rows in parts.values() for row in rows):
        row["label"] = classes.index(row["label"])
    return layout.made(path, parts, digest=digest, group=lambda row: row["text"], classes=classes)


def _folder(place: pathlib.Path) -> list[dict]:
    found = []
    for label, files in layout.class_folders(place).items():
        for path in files:
            if path.suffix.lower() != ".txt":
                raise UserError(f"{path} is no .txt file.")
            text = layout.read_text(path).strip()
            if not text:
                raise UserError(f"{path} is empty.")
            found.append({"text": text, "label": label})
    return found


def _table(path: pathlib.Path) -> list[dict]:
    if path.suffix.lower() not in tables.SUFFIXES:
        raise UserError(f"{path} is neither a folder nor .csv nor .tsv.")
    return [row for _, row in tables.rows(path, ("text", "label"))]


def read_pairs(dataset: str) -> Source:
    """Returns texts with their translations, of .tsv files.

    Args:
        dataset: a .tsv file, source and target in its first two columns and no names above them;
            or a folder with one for each split.

    Raises:
        UserError: something is missing or cannot be read; names file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    parts = {}
    for split, place in layout.split_places(path, (".tsv",)).items():
        if place.suffix.lower() != ".tsv":
            raise UserError(f"{place} is no .tsv file, nor a folder with train.tsv.")
        parts[split] = []
        for line, row in tables.cells(place):
            if len(row) < 2 or not (row[0].strip() and row[1].strip()):
                raise UserError(f"{place}, line {line}: expected a source, a tab and a target.")
            pair = {"source": row[0].strip(), "target": row[1].strip()}
            digest.update(f"{split}\0{pair['source']}\0{pair['target']}\0".encode())
            parts[split].append(pair)
    return layout.made(path, parts, digest=digest, group=lambda row: row["source"])
