"""The user's own texts, with classes or translations."""

import hashlib
import pathlib
from typing import Any

from ...errors import UserError
from ..source import Source
from . import layout, tables


def read_text_files(dataset: str) -> Source:
    """Returns texts with classes, from folders of .txt files or from .csv or .tsv tables.

    Args:
        dataset: path of a folder with a sub-folder of .txt files for each class, of a table with
            columns `text` and `label`, or of a folder with either of these for each split.

    Raises:
        UserError: something is missing or cannot be read; names the file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    splits: dict[str, list[dict[str, Any]]] = {}
    for split, split_path in layout.find_split_paths(path, tables.TABLE_SUFFIXES).items():
        rows = _read_folder(split_path) if split_path.is_dir() else _read_table(split_path)
        layout.check_classes((row["label"] for row in rows), split_path)
        for row in rows:
            digest.update(f"{split}\0{row['label']}\0{row['text']}\0".encode())
        splits[split] = rows
    labels = {split: {row["label"] for row in rows} for split, rows in splits.items()}
    classes = layout.merge_classes(labels, path)
    for row in (row for rows in splits.values() for row in rows):
        row["label"] = classes.index(row["label"])
    return layout.build_source(
        path, splits, digest=digest, group_of=lambda row: row["text"], classes=classes
    )


def _read_folder(folder: pathlib.Path) -> list[dict[str, Any]]:
    rows = []
    for label, files in layout.list_class_files(folder).items():
        for path in files:
            if path.suffix.lower() != ".txt":
                raise UserError(f"{path} is not a .txt file. Convert it, or remove it.")
            text = layout.read_utf8(path).strip()
            if not text:
                raise UserError(f"{path} is empty. Add text, or remove the file.")
            rows.append({"text": text, "label": label})
    return rows


def _read_table(path: pathlib.Path) -> list[dict[str, Any]]:
    if path.suffix.lower() not in tables.TABLE_SUFFIXES:
        raise UserError(
            f"{path} is neither a folder nor a .csv or .tsv file. Expected a folder with a "
            "sub-folder of .txt files for each class, or a table with columns text and label."
        )
    return [row for _, row in tables.read_rows(path, ("text", "label"))]


def read_text_pairs(dataset: str) -> Source:
    """Returns texts with translations, from .tsv files.

    Args:
        dataset: path of a .tsv file without header, with source and target in its first two
            columns, or of a folder with one such file for each split.

    Raises:
        UserError: something is missing or cannot be read; names the file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    splits: dict[str, list[dict[str, str]]] = {}
    for split, split_path in layout.find_split_paths(path, (".tsv",)).items():
        if split_path.suffix.lower() != ".tsv":
            raise UserError(
                f"{split_path} is not a .tsv file or a folder with train.tsv. Expected source and "
                "target in the first two columns, separated by a tab."
            )
        splits[split] = []
        for line, row in tables.read_cells(split_path):
            if len(row) < 2 or not (row[0].strip() and row[1].strip()):
                raise UserError(
                    f"{split_path}, line {line}: expected a source, a tab and a target, got "
                    f"{_shorten(' | '.join(row))}."
                )
            pair = {"source": row[0].strip(), "target": row[1].strip()}
            digest.update(f"{split}\0{pair['source']}\0{pair['target']}\0".encode())
            splits[split].append(pair)
    return layout.build_source(path, splits, digest=digest, group_of=lambda row: row["source"])


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
