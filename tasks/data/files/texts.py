"""The user's own texts, with classes or translations."""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import UserError
from ..filesystem import printable
from ..source import Source
from . import class_folders, layout, pair_columns, reading, splitting, tables
from .entries import list_entries

MIN_ROWS = 10  # in a table of at least this many rows, some must share a label


GROUP_COLUMN = "group"  # optional; rows with the same value stay in one split


def read_text_files(dataset: str) -> Source:
    """Returns texts with classes, from folders of .txt files or from .csv or .tsv tables.

    Args:
        dataset: path of a folder with a sub-folder of .txt files for each class, of a table with
            columns `text` and `label`, and optionally `group`, or of a folder with either of these
            for each split.

    Raises:
        UserError: something is missing or cannot be read; names the file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    splits: dict[str, list[dict[str, Any]]] = {}
    columns: dict[str, str] = {}
    for split, split_path in layout.find_split_paths(path, tables.TABLE_SUFFIXES).items():
        if split_path.is_dir():
            rows = _read_folder(split_path)
        else:
            rows, columns = _read_table(split_path)
        layout.check_classes((row["label"] for row in rows), split_path)
        for row in rows:
            digest.update(f"{split}\0{row['label']}\0{row['text']}\0".encode())
            digest.update(f"{row['group']}\0".encode() if "group" in row else b"")
        splits[split] = rows
    labels = {split: {row["label"] for row in rows} for split, rows in splits.items()}
    tables.check_labels(set().union(*labels.values()), path)
    classes = layout.merge_classes(labels, path)
    for row in (row for rows in splits.values() for row in rows):
        row["label"] = classes.index(row["label"])
    source = splitting.build_source(
        path, splits, digest=digest, group_of=lambda row: row["text"], classes=classes
    )
    return dataclasses.replace(source, notes={**source.notes, "columns": columns})


def _read_folder(folder: pathlib.Path) -> list[dict[str, Any]]:
    entries = list_entries(folder)
    found = [path.name for path in entries if path.suffix.lower() in tables.TABLE_SUFFIXES]
    if found and not any(path.is_dir() for path in entries):
        raise UserError(
            f"{folder} has {found[0]}, but no folders of classes. Pass the path of the table, or "
            "name the tables of a folder train, validation and test."
        )
    rows = []
    for label, files in class_folders.list_class_files(folder).items():
        for path in files:
            if path.suffix.lower() != ".txt":
                raise UserError(f"{path} is not a .txt file. Convert it, or remove it.")
            text = reading.clean_text("\n".join(reading.split_lines(reading.read_text(path))))
            if not text:
                raise UserError(f"{path} is empty. Add text, or remove the file.")
            rows.append({"text": text, "label": printable(label)})
    return rows


def _read_table(path: pathlib.Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Returns the rows, and the columns that they were read from."""
    if path.suffix.lower() not in tables.TABLE_SUFFIXES:
        raise UserError(
            f"{path} is neither a folder nor a .csv or .tsv file. Expected a folder with a "
            "sub-folder of .txt files for each class, or a table with columns text and label."
        )
    names = ("text", "label")
    header, rows = tables.read_table(path, names)
    positions = {name: tables.find_column(path, header, name, names) for name in names}
    values = [
        {name: reading.clean_text(value) for name, value in row.items()}
        for _, row in tables.select_values(path, rows, positions)
    ]
    if len(values) >= MIN_ROWS and len({row["label"] for row in values}) == len(values):
        raise UserError(
            f"{path}: every row has a different label, such as "
            f"{_shorten(values[0]['label'])}. Is the column label the class? Name the "
            "columns text and label."
        )
    group = [index for index, name in enumerate(header) if name.casefold() == GROUP_COLUMN]
    for position in group[:1]:
        for (_, row), row_values in zip(rows, values, strict=True):
            row_values["group"] = row[position].strip()
        positions["group"] = position
    return values, tables.describe_columns(positions, header)


def read_texts(path: pathlib.Path) -> list[str]:
    """Returns the texts in a table with a column `text`, or the lines of any other file.

    Raises:
        UserError: the file cannot be read, or a text is missing.
    """
    lines = reading.read_lines(path)
    if path.suffix.lower() not in tables.TABLE_SUFFIXES or not lines:
        return lines
    names = re.split(r"[,;\t|]", lines[0])
    if not any(name.strip(' "').casefold() == "text" for name in names):
        return lines
    return [row["text"] for _, row in tables.read_rows(path, ("text",))]


def read_text_pairs(dataset: str) -> Source:
    """Returns texts with translations, from .tsv files.

    Args:
        dataset: path of a .tsv file with source and target in its first two columns that are not
            numbers, or in the columns `source` and `target` of its header; or of a folder with one
            such file for each split.

    Raises:
        UserError: something is missing or cannot be read; names the file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    splits: dict[str, list[dict[str, str]]] = {}
    tables_of: dict[str, pair_columns.PairTable] = {}
    for split, split_path in layout.find_split_paths(path, (".tsv",)).items():
        if split_path.suffix.lower() != ".tsv":
            raise UserError(
                f"{split_path} is not a .tsv file or a folder with train.tsv. Expected source and "
                "target in the first two columns, separated by a tab."
            )
        pairs = tables_of[split] = pair_columns.read_pair_table(split_path)
        splits[split] = [_make_pair(split_path, pairs, line, row) for line, row in pairs.rows]
        for pair in splits[split]:
            digest.update(f"{split}\0{pair['source']}\0{pair['target']}\0".encode())
    columns = _check_columns(path, tables_of)
    source = splitting.build_source(path, splits, digest=digest, group_of=lambda row: row["source"])
    return dataclasses.replace(source, notes={**source.notes, "columns": columns})


def _check_columns(
    path: pathlib.Path, tables_of: Mapping[str, pair_columns.PairTable]
) -> dict[str, str]:
    """Returns the columns of the first split, after checking that the others use the same."""
    (first, table), *others = tables_of.items()
    columns = table.describe_columns()
    for split, other in others:
        if not other.has_columns_of(table):
            found = other.describe_columns()
            raise UserError(
                f"{path}: source and target seem to be columns {columns['source']} and "
                f"{columns['target']} of {first}, but {found['source']} and {found['target']} of "
                f"{split}. Name the columns source and target in the first line of each file."
            )
    return columns


def read_sources(path: pathlib.Path) -> list[str]:
    """Returns the sources in a table of pairs, or the lines of any other file.

    Raises:
        UserError: the file cannot be read, or a source is missing.
    """
    lines = reading.read_lines(path)
    if path.suffix.lower() != ".tsv" or not any("\t" in line.strip() for line in lines):
        return lines
    pairs = pair_columns.read_pair_table(path)
    return [_make_pair(path, pairs, line, row)["source"] for line, row in pairs.rows]


def _make_pair(
    path: pathlib.Path, pairs: pair_columns.PairTable, line: int, row: Sequence[str]
) -> dict[str, str]:
    sides = {"source": pairs.source, "target": pairs.target}
    pair = {
        side: reading.clean_text(row[column]) if column < len(row) else ""
        for side, column in sides.items()
    }
    if not all(pair.values()):
        raise UserError(
            f"{path}, line {line}: expected a source, a tab and a target, got "
            f"{_shorten(' | '.join(row))}."
        )
    return pair


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
