"""Tables and texts of the user: every spelling is read right or refused in one line."""

import pathlib

import pytest

from rnn_topologies.tasks.data.files import layout, texts
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
