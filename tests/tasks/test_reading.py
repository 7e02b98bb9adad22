"""Text is read in the same way for training and for prediction."""

import io
import unicodedata

import pytest

from rnn_topologies import tasks
from rnn_topologies.cli import commands
from rnn_topologies.tasks.data.files import reading, tables, texts
from rnn_topologies.tasks.errors import UserError

LINES = ["eins\u2028zwei", "drei\x85vier\x0bfünf", "sechs\tsieben", "caf\u00e9", "\ufeffacht"]
ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]
TEXT_TASKS = ["text_classification", "translation"]


def read(task, path):
    """Returns the texts in a file as the command `predict` passes them to the model."""
    task_class = tasks.get_task(task)
    return [task_class({}).read_input(line) for line in task_class.read_input_file(path)]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("task", TEXT_TASKS)
def test_lines_for_prediction_are_the_texts_of_a_table(tmp_path, task, encoding, end):
    end = ENDS[end]
    (tmp_path / "lines.txt").write_bytes(
        end.join([*LINES[:3], "", *LINES[3:], " ", ""]).encode(encoding)
    )
    table = end.join(["text,label", *(f'"{line}",a' for line in LINES), ""])
    (tmp_path / "table.csv").write_bytes(table.encode(encoding))
    rows = [row["text"] for _, row in tables.read_rows(tmp_path / "table.csv", ("text",))]
    assert read(task, tmp_path / "lines.txt") == rows == LINES


def test_composed_and_decomposed_letters_are_the_same(tmp_path):
    for name, form in (("c", "NFC"), ("d", "NFD")):
        lines = [f"Café Zürich {n},{'ä' if n % 2 else 'ö'}" for n in range(40)]
        content = "\n".join(["text,label", *lines, "Café,ä", "Café,ö"])
        (tmp_path / f"{name}.csv").write_text(unicodedata.normalize(form, content), "utf-8")
        pairs = content.replace(",", "\t")
        (tmp_path / f"{name}.tsv").write_text(unicodedata.normalize(form, pairs), "utf-8")
    for function, suffix in ((texts.read_text_files, "csv"), (texts.read_text_pairs, "tsv")):
        composed, decomposed = (function(str(tmp_path / f"{name}.{suffix}")) for name in "cd")
        assert composed.sha256 == decomposed.sha256
        assert composed.classes == decomposed.classes
    for task in TEXT_TASKS:
        assert tasks.get_task(task)({}).read_input("Cafe\u0301") == "Caf\u00e9"


def test_a_table_is_read_as_a_table_for_prediction(tmp_path):
    (tmp_path / "a.csv").write_text('id;Text\n1; "x, y"\n2;"z\nz"\n'.replace("; ", ";"))
    assert read("text_classification", tmp_path / "a.csv") == ["x, y", "z\nz"]
    (tmp_path / "b.csv").write_text("well, this is a text\nand, yes, another\n")
    assert read("text_classification", tmp_path / "b.csv") == [
        "well, this is a text",
        "and, yes, another",
    ]
    (tmp_path / "c.tsv").write_text("1\tein Hund\ta dog\n2\teine Katze\ta cat\n")
    assert read("translation", tmp_path / "c.tsv") == ["ein Hund", "eine Katze"]
    (tmp_path / "d.tsv").write_text("ein Hund\neine Katze\t\n")
    assert read("translation", tmp_path / "d.tsv") == ["ein Hund", "eine Katze"]


@pytest.mark.parametrize("task", TEXT_TASKS)
def test_arguments_are_stripped_and_must_be_unicode(task):
    task = tasks.get_task(task)({})
    assert task.read_input(" ein Hund\u3000\n") == "ein Hund"
    with pytest.raises(UserError, match=r"'na\\udcefve' is not valid UTF-8"):
        task.read_input("na\udcefve")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("naïve".encode("latin-1"), r"a.txt, line 1: not valid UTF-8 \(byte 0xef\)"),
        (b"a\n\r\nb\0", "a.txt, line 3: contains a NUL character"),
        (b"\xff\xfea", "a.txt, line 1: not valid UTF-16"),
        (None, "a.txt cannot be read: No such file"),
    ],
)
def test_what_cannot_be_decoded_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    for read_file in (reading.read_text, reading.read_lines, texts.read_texts, texts.read_sources):
        with pytest.raises(UserError, match=message):
            read_file(tmp_path / "a.txt")


def test_standard_input_is_decoded_like_a_file(monkeypatch, tmp_path):
    content = io.BytesIO("eins\u2028zwei\r\n\r\ndrei".encode("utf-8-sig"))
    monkeypatch.setattr(commands.sys, "stdin", io.TextIOWrapper(content, "ascii"))
    assert commands._read_inputs("-", tmp_path) == ["eins\u2028zwei", "drei"]
