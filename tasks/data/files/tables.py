"""Tables in .csv and .tsv files, read row by row so that errors can name the line."""

import csv
import io
import pathlib
from collections.abc import Iterator, Sequence

from ...errors import UserError
from . import layout

TABLE_SUFFIXES = (".csv", ".tsv")


def read_rows(path: pathlib.Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the line number and the named columns of each row.

    The first line contains the column names. Other columns and empty lines are ignored.

    Raises:
        UserError: a column or a value is missing, or the file is not UTF-8.
    """
    lines = read_cells(path)
    header = [name.strip() for name in next(lines, (1, []))[1]]
    missing = [name for name in columns if name not in header]
    if missing:
        raise UserError(
            f"{path}, line 1: column {missing[0]!r} is missing. The first line must name the "
            f"columns {', '.join(columns)}, got {', '.join(header) or 'none'}."
        )
    positions = [header.index(name) for name in columns]
    for line, row in lines:
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: expected {len(header)} values, one for each column, got "
                f"{len(row)}."
            )
        values = {
            name: row[position].strip() for name, position in zip(columns, positions, strict=True)
        }
        for name, value in values.items():
            if not value:
                raise UserError(
                    f"{path}, line {line}: column {name!r} is empty. Fill it in, or remove the row."
                )
        yield line, values


def read_cells(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """Yields the line number and the values of each row that is not empty.

    Values in .tsv files are separated by tabs, and quotation marks have no special meaning. Values
    in .csv files are separated by commas, and quoted if they contain commas.

    Raises:
        UserError: the file is not UTF-8, or a quotation mark is not closed.
    """
    text = io.StringIO(layout.read_utf8(path), newline="")
    is_tsv = path.suffix.lower() == ".tsv"
    quoting = csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL
    reader = csv.reader(text, delimiter="\t" if is_tsv else ",", quoting=quoting, strict=True)
    try:
        for row in reader:
            if any(value.strip() for value in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: {error}. Check the quotation marks."
        ) from error
