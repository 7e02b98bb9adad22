"""`--limit N`: the same sample of every split everywhere, not the first examples."""

import subprocess
import sys

import numpy as np
import pytest

from rnn_topologies import tasks
from rnn_topologies.cli import progress
from rnn_topologies.tasks.data.files import texts
from rnn_topologies.tasks.data.source import (
    MIN_SAMPLE,
    LazyExamples,
    Source,
    hash_order,
    sample_indices,
    sample_rows,
)
from rnn_topologies.training import experiment

from ..support import runs, training
from .test_files import FORMS

CODE = "from rnn_topologies.tasks.data.source import sample_indices; print(sample_indices(500, 9))"


def pairs_by_length(path, count=400):
    """Writes a .tsv whose lines get longer and longer, in three splits."""
    for split, number in (("train", count), ("validation", count // 4), ("test", count // 2)):
        lines = [f"{split} {'ab' * n}\t{'cd' * n}" for n in range(1, number + 1)]
        path.mkdir(exist_ok=True)
        (path / f"{split}.tsv").write_text("\n".join(lines), "utf-8")
    return path


def lengths(rows):
    return [len(row["target"]) for row in rows]


def test_a_sample_represents_a_file_that_is_sorted_by_length(tmp_path):
    full = texts.read_text_pairs(str(pairs_by_length(tmp_path / "pairs")))
    limited = full.limit_train(80)
    assert {name: len(rows) for name, rows in limited.splits.items()} == {
        "train": 80,
        "validation": 20,
        "test": 40,
    }
    for split, rows in limited.splits.items():
        mean, deviation = np.mean(lengths(rows)), np.std(lengths(full.splits[split]))
        error = 3 * deviation / len(rows) ** 0.5
        assert abs(mean - np.mean(lengths(full.splits[split]))) < error
        assert lengths(rows) == sorted(lengths(rows))  # in the order of the file
    assert max(lengths(limited.all_rows("train"))) == 800


@pytest.mark.parametrize("form", FORMS)
def test_every_format_is_sampled_without_reading_what_is_left_out(tmp_path, form):
    make, read = FORMS[form]
    full = read(str(make(tmp_path / "data", count=200 if "table" in form else 60)))
    limited = full.limit_train(12)
    names = [str(sorted(row.items())) for row in full.splits["train"]]
    chosen = [str(sorted(row.items())) for row in limited.splits["train"]]
    assert len(chosen) == 12
    assert chosen != names[:12]
    assert set(chosen) < set(names)
    for split in ("validation", "test"):
        assert len(limited.splits[split]) == min(MIN_SAMPLE, len(full.splits[split]))
    assert limited.notes["sampled_from"] == {name: len(s) for name, s in full.splits.items()}
    assert limited.sha256 != full.sha256


def test_the_sample_does_not_depend_on_seed_process_or_hash_seed(tmp_path):
    expected = str(sample_indices(500, 9))
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            timeout=300,
        )
        assert done.stdout.strip() == expected, done.stderr
    path = str(pairs_by_length(tmp_path / "pairs"))
    task = tasks.get_task("translation")
    sources = [task({"dataset": path, "limit": 50, "seed": n}).load_source() for n in (0, 1)]
    assert sources[0].splits == sources[1].splits
    assert sources[0].sha256 == sources[1].sha256


def test_a_smaller_sample_is_part_of_a_larger_one():
    small, large = set(sample_indices(1000, 30)), set(sample_indices(1000, 300))
    assert small < large
    assert len(large) == 300
    assert sorted(hash_order(7)) == list(range(7))


@pytest.mark.parametrize("limit", [None, 400, 10**9])
def test_a_limit_that_leaves_nothing_out_changes_nothing(tmp_path, limit):
    full = texts.read_text_pairs(str(pairs_by_length(tmp_path / "pairs")))
    assert full.limit_train(limit) is full
    assert full.all_rows("train") is full.splits["train"]


def test_small_splits_keep_what_they_have():
    splits = {"train": [1] * 100, "validation": [1] * 10, "test": [1] * 30, "unseen": [1] * 50}
    limited = Source("name", "0", splits).limit_train(1)
    assert {name: len(rows) for name, rows in limited.splits.items()} == {
        "train": 1,
        "validation": 10,
        "test": 20,
        "unseen": 20,
    }


def test_lists_arrays_and_lazy_examples_are_sampled_alike():
    indices, read = sample_indices(50, 5), []
    lazy = LazyExamples(range(50), lambda index: read.append(index) or {"index": index})
    sample = sample_rows(lazy, 5)
    assert read == []
    assert [row["index"] for row in sample] == indices == read
    assert [row["index"] for row in sample_rows(sample, 2)] == [
        indices[n] for n in sample_indices(5, 2)
    ]
    assert sample_rows(list(range(50)), 5) == indices
    np.testing.assert_array_equal(sample_rows(np.arange(50), 5), indices)
    assert sample_rows(lazy, 50) is lazy


def test_classes_sorted_in_a_file_are_all_sampled(tmp_path):
    lines = [f"{label} text {n},{label}" for label in "abcd" for n in range(200)]
    path = tmp_path / "texts.csv"
    path.write_text("text,label\n" + "\n".join(lines), "utf-8")
    source = tasks.get_task("text_classification")(
        {"dataset": str(path), "limit": 60}
    ).load_source()
    for rows in source.splits.values():
        assert {row["label"] for row in rows} == {0, 1, 2, 3}


def test_the_first_lines_and_the_record_say_what_was_sampled(tmp_path, capsys):
    settings = {"limit": 60, "epochs": 1, "units": 4, "cell": "simple_rnn"}
    with training.execution(eager=True):
        record, _ = experiment.run_experiment(
            "classification", settings, results_dir=tmp_path, display=progress.Display()
        )
    first_lines = capsys.readouterr().out.splitlines()[:3]
    assert any("--limit 60: sampled 60 of 1,2" in line for line in first_lines)
    examples, full = record.data["examples"], record.data["sampled_from"]
    assert examples["train"] == 60
    assert examples["test"] == max(20, -(-full["test"] * 60 // full["train"]))
    assert sum(full.values()) == 1797


def test_the_examples_shown_are_not_the_first_ones():
    rows = [{"right": True, "source": str(n), "output": "", "target": ""} for n in range(100)]
    display = runs.silent_display()
    display._show_examples(rows)
    shown = display.console.file.getvalue().split("correct")[1:]
    assert [text.split()[0] for text in shown] == [str(n) for n in hash_order(100)[:5]]


def test_the_baseline_trains_on_a_sample_of_many_images(monkeypatch):
    module = sys.modules[tasks.get_task("classification").__module__]
    monkeypatch.setattr(module, "BASELINE_IMAGES", 50)
    images = [module.Example("", np.zeros((4, 4, 1), "uint8"), n // 60) for n in range(120)]
    seen = {}
    monkeypatch.setattr(
        module,
        "_predict_from_pixels",
        lambda train, test: seen.update(train=len(train), test=len(test)) or [0] * len(test),
    )
    task = tasks.get_task("classification")({})
    data = module.base.Data("d", "", {"train": images, "test": images})
    assert task.baseline(data)["logistic regression on pixels"]["accuracy"] == 0.5
    assert seen == {"train": 50, "test": 120}
    assert {example.label for example in sample_rows(images, 50)} == {0, 1}


def test_a_sampled_test_source_keeps_all_its_references(tmp_path):
    path = pairs_by_length(tmp_path / "pairs", count=80)
    lines = [f"source {n % 50}\ttranslation {n}" for n in range(150)]
    (path / "test.tsv").write_text("\n".join(lines), "utf-8")
    task = tasks.get_task("translation")({"dataset": str(path), "tokens": "characters", "limit": 8})
    pairs = task.load_data().splits["test"]
    assert 10 <= len(pairs) <= 20
    assert all(len(pair.references) == 3 for pair in pairs)
