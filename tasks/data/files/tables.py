"""Tables of own data: .csv and .tsv, read line by line so that mistakes have a place."""

import csv
import io
import pathlib
from collections.abc import Iterator, Sequence

from ...errors import UserError
from . import layout

SUFFIXES = (".csv", ".tsv")


def rows(path: pathlib.Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the line and the named columns of each row; the first line holds the names.

    Other columns are left out, and empty lines.

    Raises:
        UserError: a column or a value is missing, or the file is not UTF-8.
    """
    lines = cells(path)
    header = [name.strip() for name in next(lines, (1, []))[1]]
    missing = [name for name in columns if name not in header]
    if missing:
        raise UserError(
            f"{path}, line 1: there is no column {missing[0]!r}; the columns are "
            f"{', '.join(header) or 'none'}."
        )
    places = [header.index(name) for name in columns]
    for line, row in lines:
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(row)} values under {len(header)} names of columns."
            )
        values = {name: row[place].strip() for name, place in zip(columns, places, strict=True)}
        for name, value in values.items():
            if not value:
                raise UserError(f"{path}, line {line}: the {name} is empty.")
        yield line, values


def cells(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """Yields the number and the values of each line that is not empty.

    Tabs separate in .tsv, where quotation marks are marks like any other; commas in .csv, where
    they hold values with commas together.
    """
    text = io.StringIO(layout.read_text(path), newline="")
    tabs = path.suffix.lower() == ".tsv"
    quoting = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    reader = csv.reader(text, delimiter="\t" if tabs else ",", quoting=quoting, strict=True)
    try:
        for row in reader:
            if any(value.strip() for value in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}.") from error
