"""Tables in .csv and .tsv files, read row by row so that errors can name the line."""

import csv
import io
import math
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ...errors import UserError
from . import reading

# The usual delimiter comes first, then alternatives that some programs use.
DELIMITERS = {".csv": ",;\t|", ".tsv": "\t,;|"}
TABLE_SUFFIXES = tuple(DELIMITERS)
MAX_FIELD = 2**31 - 1  # characters of a value; the default of the csv module is 131,072
SEPARATOR_LINE = re.compile(r"sep=(.)\s*(?=[\r\n])")  # understood by Excel
# Values that are certainly quoted: they contain doubled quotation marks.
QUOTED_VALUE = re.compile(
    r'(?:^|\t)"(?:[^"\t\r\n]|"")*""(?:[^"\t\r\n]|"")*"(?=[\t\r\n]|$)', re.MULTILINE
)
QUOTED_LINE = re.compile(r'"[^"\t]*"(\t"[^"\t]*")*')

Row = tuple[int, list[str]]  # line number of its start, and its values


def read_rows(path: pathlib.Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Returns an iterator over the line number and the named columns of each row.

    The first line contains the column names, case-insensitive. Other columns and empty lines are
    ignored. Values are separated by commas, semicolons, tabs or vertical bars.

    Raises:
        UserError: a column or a value is missing, a column is duplicated, or the file cannot be
            decoded.
    """
    header, rows = read_table(path, columns)
    positions = {name: find_column(path, header, name, columns) for name in columns}
    return select_values(path, rows, positions)


def select_values(
    path: pathlib.Path, rows: Iterable[Row], positions: Mapping[str, int]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the line number and the named columns of each row.

    Args:
        path: path of the table, for error messages.
        rows: see `read_table`.
        positions: position of each column, from 0.

    Raises:
        UserError: a value is missing.
    """
    for line, row in rows:
        values = {name: row[position].strip() for name, position in positions.items()}
        for name, value in values.items():
            if not value:
                raise UserError(
                    f"{path}, line {line}: column {name!r} is empty. Fill it in, or remove the row."
                )
        yield line, values


def read_table(path: pathlib.Path, columns: Sequence[str]) -> tuple[list[str], list[Row]]:
    """Returns the column names and the rows, each with one value per column.

    Args:
        path: path of the table.
        columns: expected names, from which the delimiter is detected.

    Raises:
        UserError: a row has too few or too many values, or the file cannot be decoded.
    """
    text = reading.read_text(path)
    separator_line = SEPARATOR_LINE.match(text)
    if separator_line:
        text = text[separator_line.end() :]  # leaves an empty line, so that the next is line 2
        delimiter = separator_line[1]
    else:
        delimiter = _find_delimiter(path, text, columns)
    rows = parse_table(path, text, delimiter)
    header = [name.strip() for name in _drop_empty_end(rows[0][1], 0)] if rows else []
    return header, [(line, _fit_row(path, line, row, len(header))) for line, row in rows[1:]]


def _find_delimiter(path: pathlib.Path, text: str, columns: Sequence[str]) -> str:
    """Returns the delimiter that yields most of the columns in the first line."""
    first_line = next(filter(str.strip, reading.split_lines(text)), "")

    def score(delimiter: str) -> tuple[int, int]:
        names = [name.strip(' "').casefold() for name in first_line.split(delimiter)]
        return sum(name in names for name in columns), len(names)

    return max(DELIMITERS[path.suffix.lower()], key=score)


def _fit_row(path: pathlib.Path, line: int, row: list[str], width: int) -> list[str]:
    # With an unclosed quotation mark, a delimiter in quotes may have split the value.
    if not any(value.startswith('"') and value.count('"') % 2 for value in row):
        row = _drop_empty_end(row, width)
    if len(row) != width:
        raise UserError(
            f"{path}, line {line}: expected {width} values, one for each column, got {len(row)}."
        )
    return row


def _drop_empty_end(row: list[str], width: int) -> list[str]:
    """Returns the row without empty values at its end, beyond the width."""
    end = len(row)
    while end > width and not row[end - 1].strip():
        end -= 1
    return row[:end]


def find_column(
    path: pathlib.Path, header: Sequence[str], name: str, columns: Sequence[str]
) -> int:
    """Returns the position of a column, ignoring the case of its name.

    Args:
        path: path of the table, for error messages.
        header: names of the columns.
        name: the column, in lower case.
        columns: all columns that the table must have, for error messages.

    Raises:
        UserError: the column is missing, or there are several.
    """
    exact = [index for index, other in enumerate(header) if other == name]
    found = exact or [index for index, other in enumerate(header) if other.casefold() == name]
    if not found:
        raise UserError(
            f"{path}, line 1: column {name!r} is missing. The first line must name the columns "
            f"{', '.join(columns)}, got {', '.join(header) or 'none'}."
        )
    if len(found) > 1:
        raise UserError(
            f"{path}, line 1: column {name!r} occurs {len(found)} times, got "
            f"{', '.join(header)}. Rename the others."
        )
    return found[0]


def describe_columns(positions: Mapping[str, int], header: Sequence[str]) -> dict[str, str]:
    """Returns the number, from 1, and the name, if any, of each column."""
    return {
        role: str(position + 1) + "".join(f" ({name})" for name in header[position : position + 1])
        for role, position in positions.items()
    }


def parse_table(path: pathlib.Path, text: str, delimiter: str) -> list[Row]:
    """Returns the rows of a table that are not empty.

    Values that contain the delimiter are quoted. If the delimiter is a tab, quotation marks are
    ordinary characters unless all values are quoted, or some contain doubled quotation marks.

    Raises:
        UserError: a quotation mark is not closed.
    """
    is_plain = delimiter == "\t" and not _has_quoted_values(text)
    return list(_read_csv(path, text, delimiter, has_quotes=not is_plain))


def _has_quoted_values(text: str) -> bool:
    lines = [line for line in reading.split_lines(text) if line.strip()]
    is_quoted = all(map(QUOTED_LINE.fullmatch, lines)) and bool(lines)
    return is_quoted or QUOTED_VALUE.search(text) is not None


def _read_csv(path: pathlib.Path, text: str, delimiter: str, *, has_quotes: bool) -> Iterator[Row]:
    limit = csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE,
        strict=True,
    )
    line = 1
    try:
        for row in reader:
            if any(value.strip() for value in row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: {error}. Check the quotation marks.") from error
    finally:
        csv.field_size_limit(limit)


def parse_number(value: str) -> float:
    """Returns the number that a value represents, or NaN if it is not a number.

    Unlike in Python, underscores between digits are not allowed.
    """
    try:
        return math.nan if "_" in value else float(value)
    except ValueError:
        return math.nan


def is_number(value: str) -> bool:
    """Whether a value represents a finite number."""
    return math.isfinite(parse_number(value))


def check_labels(labels: Iterable[str], path: pathlib.Path) -> None:
    """Checks that no two labels are variants of the same label, and that none is missing.

    Raises:
        UserError: there are labels such as 1 and 1.0, Spam and spam, or nan.
    """
    known: dict[float | str, str] = {}
    for label in sorted(set(labels)):
        if label.casefold() == "nan":
            raise UserError(f"{path}: a label is {label!r}, a missing value. Fill it in.")
        number = parse_number(label)
        spelling = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
        key = spelling if math.isnan(number) else number
        other = known.setdefault(key, label)
        if other != label:
            raise UserError(
                f"{path}: the labels {other!r} and {label!r} differ only in spelling. Use the same "
                "spelling, or rename one of them."
            )
