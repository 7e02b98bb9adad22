"""Any input to the command line and the readers is accepted or refused in one clear line."""

import contextlib
import io
import json
import pathlib
import string
import tempfile
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnn_topologies import tasks
from rnn_topologies.cli import app, commands
from rnn_topologies.runs import record, store
from rnn_topologies.tasks.data import images, scaling
from rnn_topologies.tasks.data.files import clips, texts
from rnn_topologies.tasks.data.vocabulary import (
    Vocabulary,
    build_character_vocabulary,
    build_word_vocabulary,
)
from rnn_topologies.tasks.errors import UserError

from ..support.runs import run_main

COMMANDS = ("list", "table", "compare", "report", "predict", "lesson", "sweep")
WORDS = st.one_of(
    st.sampled_from(
        [
            *COMMANDS,
            *tasks.task_names(),
            *("--task", "--cell", "--units", "--seed", "--epochs", "--help", "--resume", "--limit"),
            *("--results-dir", "--dataset", "--backend", "--set", "--json", "--file", "--strategy"),
            *("gru", "lstm", "jax", "last", "best:translation", "-1", "0", "1e9"),
            *("", ".", "/", "-"),
        ]
    ),
    st.text(max_size=12),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FEW, MANY = (
    settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    for count in (30, 200)
)


def refuse(*_, **__):
    raise UserError("would start")


@pytest.fixture
def nothing_starts(monkeypatch, tmp_path):
    """Replaces what would train, download or open a browser."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "set_up_keras", refuse)
    monkeypatch.setattr(commands, "lesson_command", lambda *_, **__: None)
    monkeypatch.setattr(commands.sys, "stdin", io.StringIO("a line\n"))


def run(arguments) -> tuple[int, str]:
    """Runs the command line and returns its exit status and its standard error."""
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        status = run_main(*arguments)
    return status, error.getvalue()


def check_command_line(arguments):
    if arguments[:1] in (["list"], ["lesson"], ["sweep"]):
        arguments = ["table", *arguments[1:]]  # these import keras, and have their own tests
    status, error = run(arguments)
    assert status in (0, 2), (arguments, error)
    assert "Traceback" not in error
    assert error.count("\n") <= 1


any_arguments = given(arguments=st.lists(WORDS, max_size=6))


@FEW
@any_arguments
def test_any_command_line_exits_with_0_or_2(nothing_starts, arguments):
    check_command_line(arguments)


@pytest.mark.slow
@MANY
@any_arguments
def test_many_command_lines_exit_with_0_or_2(nothing_starts, arguments):
    check_command_line(arguments)


def complete_record():
    return {
        "schema": record.SCHEMA,
        "run_id": "20260101T000000Z-translation-gru-seed0-abcd",
        "started_at": "2026-01-01T00:00:00+00:00",
        "status": "ok",
        "task": "translation",
        "topology": "many-to-many, unaligned",
        "cell": "gru",
        "dataset": "cldr_dates/en-de",
        "config": {"seed": 0, "cell": "gru", "units": 8},
        "environment": {"backend": "tensorflow"},
        "git": None,
        "data": {"name": "d", "examples": {"test": 3}},
        "model": {"trainable_parameters": 10},
        "metrics": {"test/bleu": 1.0},
        "headline": {"name": "bleu", "value": 1.0, "higher_is_better": True, "meaning": "."},
        "baselines": {"copy": 0.5},
        "seconds": {"fit": 1.0},
        "tables": {"confusion": {"classes": ["a"], "counts": [[1]]}},
    }


def check_record(changes, more):
    with tempfile.TemporaryDirectory() as folder_name:
        folder = pathlib.Path(folder_name) / "runs/one"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(complete_record() | changes | more), "utf-8")
        with contextlib.suppress(UserError):
            store.read_record(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for command in ("table", "report"):
                status, error = run([command, "--results-dir", folder_name])
                assert status in (0, 2), error
        status, error = run(["predict", str(folder), "a sentence"])
        assert status == 2, error
        assert error.count("\n") == 1, error


any_changes = given(
    changes=st.dictionaries(st.sampled_from(sorted(complete_record())), JSON, max_size=3),
    more=st.dictionaries(st.text(max_size=8), JSON, max_size=1),
)


@FEW
@any_changes
def test_any_record_is_read_or_refused(changes, more):
    check_record(changes, more)


@pytest.mark.slow
@MANY
@any_changes
def test_many_records_are_read_or_refused(changes, more):
    check_record(changes, more)


@MANY
@given(content=st.binary(max_size=300))
@pytest.mark.parametrize("name", ["record.json", "epochs.csv", "samples.jsonl", "weights.npz"])
def test_any_file_of_a_run_is_read_or_refused(name, content):
    read = {
        "record.json": store.read_record,
        "epochs.csv": store.read_epochs,
        "samples.jsonl": lambda folder: store.read_json_lines(folder, name),
        "weights.npz": store.read_weights,
    }[name]
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / name).write_bytes(content)
        with contextlib.suppress(UserError):
            read(folder)


CELLS = st.text(st.characters(codec="utf-8") | st.sampled_from(',;\t\n\r"'), max_size=40)


@MANY
@given(head=st.sampled_from(["", "text,label\n", "source\ttarget\n", "a,label\n"]), body=CELLS)
@pytest.mark.parametrize("name", ["own.csv", "own.tsv", "clips/one.csv"])
def test_any_table_is_read_or_refused(name, head, body):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(head + body, "utf-8", newline="")
        for read in (texts.read_text_files, texts.read_text_pairs, clips.read_clips):
            with contextlib.suppress(UserError):
                read(str(path.parent if "clips" in name else path))


@MANY
@given(
    content=st.binary(max_size=200), start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
)
def test_any_image_is_read_or_refused(content, start):
    with contextlib.suppress(UserError):
        images.read_image(io.BytesIO(start + content), "an image")


@MANY
@given(fields=JSON)
@pytest.mark.parametrize("read", [Vocabulary.from_json, scaling.Scaler.from_json])
def test_any_preprocessor_is_read_or_refused(read, fields):
    for content in (json.dumps(fields), str(fields)):
        with contextlib.suppress(UserError):
            read(content)


@MANY
@given(
    change=st.dictionaries(st.sampled_from(["model", "decoder", "added_tokens", "version"]), JSON)
)
def test_any_vocabulary_is_read_or_refused(change):
    fields = json.loads(build_word_vocabulary(["a b", "a b"], 9).to_json())
    with contextlib.suppress(UserError):
        Vocabulary.from_json(json.dumps(fields | change))


@given(st.lists(st.text(string.printable), max_size=3))
def test_any_text_survives_a_vocabulary(sentences):
    vocabulary = build_character_vocabulary(["abc"])
    assert vocabulary.decode(vocabulary.encode(sentences)) == sentences
    np.testing.assert_array_equal(len(vocabulary), 3 + 256 + 3)
