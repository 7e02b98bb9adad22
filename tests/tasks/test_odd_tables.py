"""Random tables in every dialect are read as by pandas, or rejected with one clear error.

RNN_TOPOLOGIES_ODD_TABLES sets the number of tables per test, for a longer search.
"""

import csv
import io
import os
import pathlib
import tempfile

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_topologies.tasks.data.files import clips, feature_tables, pair_columns, tables, texts
from rnn_topologies.tasks.errors import UserError

COUNT = int(os.environ.get("RNN_TOPOLOGIES_ODD_TABLES", "60"))
ODD = settings(max_examples=COUNT, deadline=None)
# Characters that dialects treat differently, and any others.
CHARACTERS = st.one_of(
    st.sampled_from(list("ab1.,;|:\t\"'\\ \n\r\u2028\x85\x0b\ufeff\u00a0é漢#=-")),
    st.characters(codec="utf-8", exclude_characters="\0"),
)
VALUES = st.text(CHARACTERS, min_size=1, max_size=12).filter(str.strip)
SIMPLE = st.from_regex(r"[a-zé漢][a-zé漢 ]{0,8}[a-zé漢]", fullmatch=True)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@st.composite
def dialects(draw):
    return {
        "delimiter": draw(st.sampled_from(",;\t|")),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        "lineterminator": draw(st.sampled_from(["\n", "\r\n"])),
    }


def write_table(rows, dialect):
    if any("\r" in value for row in rows for value in row):
        dialect = dialect | {"quoting": csv.QUOTE_ALL}  # the csv module does not quote for them
    content = io.StringIO(newline="")
    csv.writer(content, **dialect).writerows(rows)
    return content.getvalue()


def read(function, path):
    """Returns the result and no message, or no result and the message of the error."""
    try:
        return function(path), ""
    except UserError as error:
        return None, str(error)


def read_with_pandas(content, delimiter):
    # pandas decodes neither UTF-32 with a mark nor, reliably, other encodings: pass it text.
    frame = pd.read_csv(
        io.StringIO(content, newline=""), sep=delimiter, dtype=str, keep_default_na=False
    )
    return frame.rename(columns=lambda name: name.strip().lower())


@ODD
@given(
    rows=st.lists(st.tuples(VALUES, VALUES, VALUES | st.just("")), min_size=1, max_size=6),
    header=st.permutations(["text", "label", "note"]),
    case=st.sampled_from([str.lower, str.upper, str.title, lambda name: f" {name} "]),
    dialect=dialects(),
    encoding=st.sampled_from(ENCODINGS),
    suffix=st.sampled_from([".csv", ".tsv", ".CSV"]),
)
def test_any_table_of_texts_is_read_as_pandas_reads_it(
    rows, header, case, dialect, encoding, suffix
):
    order = [["text", "label", "note"].index(name) for name in header]
    cells = [[case(name) for name in header], *([row[i] for i in order] for row in rows)]
    content = write_table(cells, dialect)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"own{suffix}"
        path.write_bytes(content.encode(encoding))
        found, message = read(lambda path: list(tables.read_rows(path, ("text", "label"))), path)
    if found is None:
        # In tab-separated tables, quotation marks may be ordinary characters: values that need
        # quoting are rejected unless they are clearly quoted.
        assert dialect["delimiter"] == "\t", message
        assert '"' in content
        return
    frame = read_with_pandas(content, dialect["delimiter"])
    expected = [
        {name: row[name].strip() for name in ("text", "label")} for row in frame.to_dict("records")
    ]
    assert [values for _, values in found] == expected
    assert expected == [{"text": text.strip(), "label": label.strip()} for text, label, _ in rows]


@ODD
@given(
    rows=st.lists(st.tuples(SIMPLE, SIMPLE, SIMPLE), min_size=3, max_size=6),
    numbers=st.lists(st.sampled_from(["first", "middle", "last"]), max_size=2, unique=True),
    has_header=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(ENCODINGS),
)
def test_pairs_are_found_among_columns_of_numbers(rows, numbers, has_header, end, encoding):
    if has_header:
        rows = [("german", "english", "note"), *rows]
    cells = []
    for index, (source, target, note) in enumerate(rows):
        number = "id" if has_header and index == 0 else str(index)
        row = [
            *([number] if "first" in numbers else []),
            source,
            *([number] if "middle" in numbers else []),
            target,
            note,
            *([number] if "last" in numbers else []),
        ]
        cells.append("\t".join(row))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "own.tsv"
        path.write_bytes((end.join(cells) + end).encode(encoding))
        table = pair_columns.read_pair_table(path)
    found = [(row[table.source], row[table.target]) for _, row in table.rows]
    expected = [(source, target) for source, target, _ in rows]
    assert found == (expected[1:] if has_header and numbers else expected)


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from([" 1 ", "+1", "1.", ".5", "1E5", "-0", "1e-320", "3.4e38"]),
    st.sampled_from(["", "nan", "inf", "1e39", "1_0", "1,5", "0x1", "True", "x", "1e", "--1"]),
)


@ODD
@given(
    values=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4),
    delimiter=st.sampled_from(",;\t"),
    encoding=st.sampled_from(ENCODINGS),
)
def test_any_clip_of_features_is_read_as_pandas_reads_it(values, delimiter, encoding):
    cells = [("x", "Label", "y"), *((x, "walk", y) for x, y in values)]
    content = write_table(cells, {"delimiter": delimiter})
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "clip.csv"
        path.write_bytes(content.encode(encoding))
        table, message = read(clips.read_clip, str(path))
    frame = pd.read_csv(io.StringIO(content), sep=delimiter, dtype=str, keep_default_na=False)
    columns = [pd.to_numeric(frame[name], errors="coerce") for name in ("x", "y")]
    expected = np.stack([column.to_numpy("float64") for column in columns], axis=1)
    if (np.abs(expected) <= feature_tables.LARGEST).all():
        np.testing.assert_allclose(table.frames, expected, rtol=1e-15)
    else:
        assert "clip.csv, line " in message
        assert "column 'x'" in message or "column 'y'" in message


@ODD
@given(
    body=st.text(st.sampled_from(list('ab12,;\t|"\n\r \0\x85')), max_size=40),
    head=st.sampled_from(
        ["text,label\n", "text;label\r\n", '"text"\t"label"\n', "source\ttarget\n"]
    ),
    damage=st.binary(max_size=2),
)
def test_any_file_is_read_or_refused(body, head, damage):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("own.csv", "own.tsv", "own.txt"):
            path = pathlib.Path(folder) / name
            path.write_bytes((head + body).encode() + damage)
            for function in (
                *(texts.read_text_files, texts.read_text_pairs, clips.read_clips, clips.read_clip),
                *(lambda path: texts.read_texts(pathlib.Path(path)),),
                *(lambda path: texts.read_sources(pathlib.Path(path)),),
            ):
                result, message = read(function, str(path))
                assert result is not None or message
