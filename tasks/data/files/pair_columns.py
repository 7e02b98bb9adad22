"""Which columns of a table of translations are the source and the target."""

import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import UserError
from . import reading, tables

# Names of a first column of row identifiers.
ID_COLUMNS = ("#", "id", "idx", "index", "key", "no", "no.", "nr", "number", "row")
ROW_NUMBER = re.compile(r"[#(\[]?\d+(,\d{3})*[.:)\]]?")
CODE = re.compile(r"\S*\d\S*")  # such as train-0017 or 0x1f
MIN_ROWS = 10  # with at least this many rows, a constant column, such as `en`, is not text


class PairTable(NamedTuple):
    """The rows of a table of pairs, and the columns of the source and the target.

    Attributes:
        rows: line and values of each row, without the header.
        source, target: positions of the two columns, from 0.
        header: the column names, if the first line has them.
    """

    rows: Sequence[tables.Row]
    source: int
    target: int
    header: Sequence[str] = ()

    def describe_columns(self) -> dict[str, str]:
        """Returns the number and the name, if any, of the columns that are read."""
        positions = {"source": self.source, "target": self.target}
        return tables.describe_columns(positions, self.header)

    def has_columns_of(self, other: "PairTable") -> bool:
        """Whether source and target are in the same columns in another table, or named in both."""
        names, other_names = ([name.casefold() for name in table.header] for table in (self, other))
        is_named = "source" in names and "source" in other_names
        return is_named or (self.source, self.target) == (other.source, other.target)


def read_pair_table(path: pathlib.Path) -> PairTable:
    """Returns the rows of a table of pairs.

    Columns of numbers, of codes, such as row numbers, and of a constant, such as the language, are
    neither source nor target. The first line is a header if it names `source` and `target`, or
    does not fit these columns.

    Raises:
        UserError: the file cannot be decoded, or the columns are ambiguous.
    """
    rows = tables.parse_table(path, reading.read_text(path), "\t")
    if not rows:
        raise UserError(f"{path} is empty. Add a source, a tab and a target in each line.")
    header = [name.strip() for name in rows[0][1]]
    names = [name.casefold() for name in header]
    if names.count("source") == names.count("target") == 1:
        return PairTable(rows[1:], names.index("source"), names.index("target"), header)
    columns = _list_columns([row for _, row in rows])
    others = {index for index, values in enumerate(columns) if not _is_text(values[1:])}
    has_header = any(_has_name(values) for values in _select(columns, others))
    if 0 in others and not names[0]:
        has_header = True  # pandas writes no name for row numbers
    if _starts_with_codes(columns):
        others.add(0)
        has_header |= names[0] in ID_COLUMNS
    texts = [index for index in range(len(columns)) if index not in others]
    if others.isdisjoint((0, 1)) or (len(columns) == 2 and 0 not in others):
        texts = [0, 1]  # the target of two columns may be numbers
    if len(texts) < 2:
        raise UserError(
            f"{path}: the source, column 1, contains only numbers or a constant, and there are "
            "no two columns of text. Remove row numbers; if the source is a number, name the "
            "columns source and target in the first line."
        )
    source, target = texts[:2]
    return PairTable(rows[has_header:], source, target, header if has_header else ())


def _list_columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    width = max(map(len, rows))
    return [
        [row[column].strip() if column < len(row) else "" for row in rows]
        for column in range(width)
    ]


def _select(columns: Sequence[list[str]], indices: set[int]) -> list[list[str]]:
    """Returns the columns at some indices, without those that are empty."""
    return [columns[index] for index in indices if any(columns[index][1:])]


def _is_text(values: Sequence[str]) -> bool:
    """Whether a column contains anything but numbers or a constant; without rows, it is text."""
    if len(values) >= MIN_ROWS and len(set(values)) == 1:
        return False
    filled = [value for value in values if value]
    return not values or not all(map(_is_number, filled))


def _has_name(values: Sequence[str]) -> bool:
    """Whether the first value of a column of numbers, codes or a constant is its name."""
    return bool(values[0]) and not _is_number(values[0]) and values[0] != values[1]


def _is_number(value: str) -> bool:
    return ROW_NUMBER.fullmatch(value) is not None or tables.is_number(value)


def _starts_with_codes(columns: Sequence[list[str]]) -> bool:
    """Whether the first column identifies rows by codes, and the next two contain sentences.

    Codes contain digits, no spaces and no duplicates. If the header is a name such as `id`, the
    other columns may be single words.
    """
    if len(columns) < 3:
        return False
    codes = columns[0][1:]
    if len(set(codes)) < len(codes) or not all(map(CODE.fullmatch, codes)):
        return False
    if columns[0][0].casefold() in ID_COLUMNS:
        return True
    sentences = [sum(" " in value for value in values) for values in columns[1:3]]
    return CODE.fullmatch(columns[0][0]) is not None and min(sentences) > len(codes) / 2
