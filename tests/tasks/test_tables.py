"""Users' tables and texts: every variant is read correctly or rejected in one line."""

import csv
import io
import pathlib

import pandas as pd
import pytest

from rnn_topologies.tasks.data.files import entries, layout, pair_columns, tables, texts
from rnn_topologies.tasks.errors import UserError


def write(path: pathlib.Path, content: str | bytes) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def table(path: pathlib.Path, count: int) -> pathlib.Path:
    rows = [f"text number {n},{'ab'[n % 2]}" for n in range(count)]
    return write(path, "\n".join(["text,label", *rows]))


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("Train.csv", "Valid.csv", "Test.csv"), ("train", "validation", "test")),
        (("TRAIN.CSV", "DEV.CSV", "TEST.CSV"), ("train", "validation", "test")),
        (("training_set.tsv", "test_set.tsv"), ("train", "test")),
        (("Training Data.csv", "Testing Data.csv"), ("train", "test")),
        (("imdb_train.csv", "imdb_val.csv", "imdb_test.csv"), ("train", "validation", "test")),
        (("train2017.csv", "val2017.csv"), ("train", "validation")),
        (("train.csv", "development.csv", "notes.csv"), ("train", "validation")),
        (("positive_test.csv", "negative_test.csv"), ("",)),
        (("trainers.csv", "latest.csv"), ("",)),
    ],
)
def test_splits_are_found_by_common_spellings(tmp_path, names, splits):
    for name in names:
        write(tmp_path / name, "")
    found = layout.find_split_paths(tmp_path, (".csv", ".tsv"))
    assert tuple(found) == splits
    if splits != ("",):
        assert [path.name for path in found.values()] == list(names[: len(splits)])


def test_folders_of_splits_are_found_by_common_spellings(tmp_path):
    for name in ("Test", "Training", "data_val"):
        (tmp_path / name).mkdir()
    assert set(layout.find_split_paths(tmp_path)) == {"train", "test"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train.csv", "Train_Set.csv"), "has train more than once: Train_Set.csv, train.csv"),
        (("train.csv", "train.tsv"), "has train more than once"),
        (("train.csv", "val.csv", "valid.csv"), "has validation more than once: val.csv, valid"),
        (("a_train.csv", "a_test.csv", "b_train.csv", "b_test.csv"), "several data sets"),
        (("Test.csv",), "has Test.csv but no train"),
    ],
)
def test_ambiguous_splits_are_refused(tmp_path, names, message):
    for name in names:
        write(tmp_path / name, "")
    with pytest.raises(UserError, match=message):
        layout.find_split_paths(tmp_path, (".csv", ".tsv"))


def test_a_folder_of_tables_that_are_no_splits_is_refused(tmp_path):
    table(tmp_path / "reviews.csv", 20)
    with pytest.raises(UserError, match="has reviews.csv, but no folders of classes. Pass the"):
        texts.read_text_files(str(tmp_path))


def test_a_class_named_train_is_not_silently_taken_as_a_split(tmp_path):
    for name in ("train", "bus", "car"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="is train a split or a class"):
        layout.find_split_paths(tmp_path)


def test_one_table_per_split_is_read_in_any_case(tmp_path):
    for name, count in (("Train.csv", 20), ("Valid.csv", 4), ("Test.CSV", 6)):
        table(tmp_path / name, count)
    source = texts.read_text_files(str(tmp_path))
    assert {name: len(rows) for name, rows in source.splits.items()} == {
        "train": 20,
        "validation": 4,
        "test": 6,
    }


ROWS = [("Grüße, alle!", "a"), ('she said "no"', "b"), ("two\nlines", "a"), ("Ende; gut", "b")]
FLAT = [(text.replace("\n", " "), label) for text, label in ROWS]


def to_csv(rows=ROWS, *, header=("text", "label"), delimiter=",", line_end="\r\n", **options):
    content = io.StringIO(newline="")
    csv.writer(content, delimiter=delimiter, lineterminator=line_end, **options).writerows(
        [header, *rows]
    )
    return content.getvalue()


SPELLINGS = {
    "plain": ("a.csv", to_csv()),
    "semicolons": ("a.csv", to_csv(delimiter=";")),
    "tabs in .csv": ("a.csv", to_csv(delimiter="\t")),
    "commas in .tsv": ("a.tsv", to_csv()),
    "upper case": ("A.CSV", to_csv(header=(" Text ", "LABEL"))),
    "all quoted": ("a.csv", to_csv(quoting=csv.QUOTE_ALL)),
    "line feeds": ("a.csv", to_csv(line_end="\n")),
    "carriage returns": ("a.csv", to_csv(FLAT, line_end="\r")),
    "a byte order mark": ("a.csv", to_csv().encode("utf-8-sig")),
    "UTF-16": ("a.csv", to_csv(delimiter="\t").encode("utf-16")),
    "UTF-16, big endian": ("a.csv", b"\xfe\xff" + to_csv(delimiter="\t").encode("utf-16-be")),
    "UTF-32": ("a.tsv", to_csv().encode("utf-32")),
    "a separator line": ("a.csv", "sep=;\r\n" + to_csv(delimiter=";")),
    "trailing delimiters": (
        "a.csv",
        to_csv([(*r, "", "") for r in ROWS], header=("text", "label", "")),
    ),
    "trailing delimiters in rows": ("a.csv", to_csv([(*row, "") for row in ROWS])),
    "blank lines": ("a.csv", "\n\n" + to_csv().replace("\r\n", "\r\n,\r\n\r\n")),
    "row numbers": (
        "a.csv",
        to_csv([(n, *r) for n, r in enumerate(ROWS)], header=("", "text", "label")),
    ),
    "other columns twice": (
        "a.csv",
        to_csv([(1, *row, 2) for row in ROWS], header=("x", "text", "label", "x")),
    ),
    "quotation marks in .tsv": ("a.tsv", to_csv(FLAT, delimiter="\t")),
    "all quoted in .tsv": ("a.tsv", to_csv(FLAT, delimiter="\t", quoting=csv.QUOTE_ALL)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_table_is_read_alike(tmp_path, spelling):
    name, content = SPELLINGS[spelling]
    path = write(tmp_path / name, content)
    rows = [(row["text"], row["label"]) for _, row in tables.read_rows(path, ("text", "label"))]
    assert rows == (FLAT if "two lines" in str(content) else ROWS)


def test_quotation_marks_in_plain_tsv_are_kept(tmp_path):
    content = 'text\tlabel\n"Ja"\ta\nhe said "no\tb\n"Ja\tyes"\n'
    rows = [row for _, row in tables.read_rows(write(tmp_path / "a.tsv", content), ("text",))]
    assert [row["text"] for row in rows] == ['"Ja"', 'he said "no', '"Ja']


def test_long_values_are_read_and_the_limit_of_the_csv_module_is_restored(tmp_path):
    long, limit = "word " * 50_000, csv.field_size_limit()
    path = write(tmp_path / "a.csv", to_csv([(long, "a"), ("short", "b")]))
    rows = [row["text"] for _, row in tables.read_rows(path, ("text", "label"))]
    assert rows == [long.strip(), "short"]
    assert csv.field_size_limit() == limit


def test_a_row_is_named_by_the_line_where_it_starts(tmp_path):
    path = write(tmp_path / "a.csv", to_csv([*ROWS, ("", "a")]))
    with pytest.raises(UserError, match="a.csv, line 7: column 'text' is empty"):
        list(tables.read_rows(path, ("text", "label")))
    path = write(tmp_path / "a.csv", to_csv([*ROWS, ("x\ny", "a", "z")]))
    with pytest.raises(UserError, match="a.csv, line 7: expected 2 values"):
        list(tables.read_rows(path, ("text", "label")))


REFUSED = {
    "latin-1": ("naïve,a".encode("latin-1"), r"line 2: not valid UTF-8 \(byte 0xef\)"),
    "NUL characters": ("a\0b,a", "line 2: contains a NUL character"),
    "UTF-16 without a mark": ("a,b".encode("utf-16-le"), "line 2: contains a NUL character"),
    "missing label": ("x,a\ny,", "line 3: column 'label' is empty"),
    "a label that was a missing number": ("x,1.0\ny,nan", "a label is 'nan', a missing value"),
    "labels as integers and decimals": ("x,1\ny,1.0\nz,2", "labels '1' and '1.0' differ only"),
    "labels that are texts": (
        "\n".join(f"{n % 2},sentence {n}" for n in range(20)),
        "every row has a different label, such as 'sentence 0'",
    ),
    "labels in two cases": (
        "x,Spam\ny,spam\nz,ham",
        "labels 'Spam' and 'spam' differ only in spelling",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_cannot_be_read_right_is_refused(tmp_path, mistake):
    content, message = REFUSED[mistake]
    content = content if isinstance(content, bytes) else content.encode()
    path = write(tmp_path / "a.csv", b"text,label\n" + content)
    with pytest.raises(UserError, match=message):
        texts.read_text_files(str(path))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a text,positive", "column 'text' is missing"),
        ("text", "column 'label' is missing"),
        ("text,Label,LABEL", "column 'label' occurs 2 times"),
        ("text,label,label", "column 'label' occurs 2 times"),
    ],
)
def test_unclear_columns_are_refused(tmp_path, header, message):
    row = ",".join("x" for _ in header.split(","))
    path = write(tmp_path / "a.csv", f"{header}\n{row}\n{row}\n")
    with pytest.raises(UserError, match=f"a.csv, line 1: {message}"):
        texts.read_text_files(str(path))


SIDES = [("ein Hund", "a dog"), ("zwei Katzen", "two cats"), ("3", "three"), ("Maus", "mouse")]
SENTENCE_SIDES = SIDES[:2]
PAIRS = {
    "pairs": ([*SIDES], {"source": "1", "target": "2"}),
    "more columns": ([(*pair, "CC BY") for pair in SIDES], {"source": "1", "target": "2"}),
    "row numbers": ([(n, *pair) for n, pair in enumerate(SIDES)], {"source": "2", "target": "3"}),
    "row numbers with a point": (
        [(f"{n}.", *pair) for n, pair in enumerate(SIDES)],
        {"source": "2", "target": "3"},
    ),
    "numbers of both sentences": (
        [(9 - n, source, n, target) for n, (source, target) in enumerate(SIDES)],
        {"source": "2", "target": "4"},
    ),
    "a header": (
        [("id", "de", "en"), *((n, *pair) for n, pair in enumerate(SIDES))],
        {"source": "2 (de)", "target": "3 (en)"},
    ),
    "a header with codes": (
        [("ID", "de", "en"), *((f"x{n}", *pair) for n, pair in enumerate(SIDES))],
        {"source": "2 (de)", "target": "3 (en)"},
    ),
    "codes": (
        [(f"train-{n}", *pair) for n, pair in enumerate(SENTENCE_SIDES)],
        {"source": "2", "target": "3"},
    ),
    "thousands": (
        [(f"{n + 998:,}", *pair) for n, pair in enumerate(SIDES)],
        {"source": "2", "target": "3"},
    ),
    "an empty column": ([(n, "", *p) for n, p in enumerate(SIDES)], {"source": "3", "target": "4"}),
    "an index of pandas": (
        [("", "de", "en"), *((n, *pair) for n, pair in enumerate(SIDES))],
        {"source": "2 (de)", "target": "3 (en)"},
    ),
    "scores": (
        [(source, 0.5 + n, target) for n, (source, target) in enumerate(SIDES)],
        {"source": "1", "target": "3"},
    ),
    "names": (
        [("Target", "Source"), *((target, source) for source, target in SIDES)],
        {"source": "2 (Source)", "target": "1 (Target)"},
    ),
    "trailing tabs": ([(*pair, "", "") for pair in SIDES], {"source": "1", "target": "2"}),
}


@pytest.mark.parametrize("form", PAIRS)
def test_source_and_target_are_found_by_their_type_or_name(tmp_path, form):
    rows, columns = PAIRS[form]
    content = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    path = write(tmp_path / "a.tsv", content)
    table = pair_columns.read_pair_table(path)
    assert table.describe_columns() == columns
    assert [(row[table.source], row[table.target]) for _, row in table.rows] == (
        SENTENCE_SIDES if form == "codes" else SIDES
    )


def test_numbers_are_translated_if_they_are_named_or_the_target(tmp_path):
    words = [("one", "1"), ("two", "2")]
    for rows, expected in (
        ([("source", "target"), *words], words),
        (words, words),
        ([("target", "source"), *words], [("1", "one"), ("2", "two")]),
    ):
        table = pair_columns.read_pair_table(
            write(tmp_path / "a.tsv", "\n".join(map("\t".join, rows)))
        )
        assert [(row[table.source], row[table.target]) for _, row in table.rows] == expected


@pytest.mark.parametrize(
    "rows",
    [
        *("1\tone\n2\ttwo\n", "1\t2\n3\t4\n", "n\tword\n1\tone\n2\ttwo\n"),
        "".join(f"de\tword {n}\n" for n in range(20)),
    ],
)
def test_a_source_of_numbers_only_is_refused(tmp_path, rows):
    path = write(tmp_path / "a.tsv", rows)
    with pytest.raises(UserError, match="the source, column 1, contains only numbers"):
        texts.read_text_pairs(str(path))


@pytest.mark.parametrize("header", ["", "lang\tde\tlang2\ten\n"])
def test_columns_of_equal_values_are_neither_source_nor_target(tmp_path, header):
    rows = "".join(f"deu\tsource {n}\teng\ttarget {n}\n" for n in range(20))
    table = pair_columns.read_pair_table(write(tmp_path / "a.tsv", header + rows))
    assert (table.source, table.target, len(table.rows)) == (1, 3, 20)


def test_splits_with_source_and_target_in_other_columns_are_refused(tmp_path):
    lines = [f"source {n}\ttarget {n}\n" for n in range(4)]
    pairs = "".join(lines)
    write(
        tmp_path / "train.tsv",
        "".join(f"{n}\t{row}\n" for n, row in enumerate(pairs.split("\n")[:4])),
    )
    write(tmp_path / "test.tsv", pairs)
    with pytest.raises(UserError, match="columns 2 and 3 of train, but 1 and 2 of test. Name the"):
        texts.read_text_pairs(str(tmp_path))
    write(tmp_path / "train.tsv", "target\tsource\n" + pairs)
    write(tmp_path / "test.tsv", "source\ttarget\n" + pairs)
    source = texts.read_text_pairs(str(tmp_path))
    assert source.splits["test"][0] == {"source": "source 0", "target": "target 0"}


def test_the_columns_of_pairs_are_recorded(tmp_path):
    rows = "".join(f"{n}\tsource {n}\ttarget {n}\n" for n in range(40))
    source = texts.read_text_pairs(str(write(tmp_path / "a.tsv", rows)))
    assert source.notes["columns"] == {"source": "2", "target": "3"}
    assert all(row["source"].startswith("source") for row in source.splits["train"])


@pytest.mark.parametrize("name", ["Labels.csv", "LABELS.CSV"])
def test_the_table_of_labels_is_found_in_any_case(tmp_path, name):
    write(tmp_path / name, "")
    assert entries.find_entry(tmp_path, "labels.csv").samefile(tmp_path / name)
    write(tmp_path / "labels.csv", "")
    assert entries.find_entry(tmp_path, "labels.csv") == tmp_path / "labels.csv"
    assert entries.find_entry(tmp_path, "captions.csv") == tmp_path / "captions.csv"


def test_a_text_file_is_read_alike_with_any_line_ends(tmp_path):
    ends = ("\n", "\r\n", "\r")
    for number, end in enumerate(ends):
        for label in "ab":
            text = f"{label} one{end}two\u2028three"
            write(tmp_path / f"{number}/{label}/0.txt", text.encode("utf-8-sig"))
    rows = [texts._read_folder(tmp_path / str(number)) for number in range(3)]
    assert rows[0] == rows[1] == rows[2]
    assert rows[0][0]["text"] == "a one\ntwo\u2028three"


def test_tables_are_read_as_pandas_reads_them(tmp_path):
    path = write(tmp_path / "a.csv", to_csv([*ROWS, ("x\u2028y\x85z", "NA"), ("None", "null")]))
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    rows = [row for _, row in tables.read_rows(path, ("text", "label"))]
    assert rows == frame.to_dict("records")
