import csv
import io
import pathlib
import statistics

import numpy as np
import pytest
from rich.console import Console

from rnn_topologies.runs import compare, store, tables, trained_model
from rnn_topologies.runs.record import Record
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.tasks.metrics import bootstrap, captions, translation

from ..support.paths import ROOT, code_blocks


def write(folder, number, *, status="ok", value=0.5, samples=(), **fields):
    """Writes the record of a classification run; `fields` override the defaults."""
    ok = status == "ok"
    config = {"cell": "gru", "seed": 0, "units": 8, "dataset": "digits"} | fields.pop("config", {})
    record = Record(
        **{
            "run_id": f"20260101T0000{number:02d}Z-classification-{config['cell']}",
            "started_at": "2026-01-01T00:00:00+00:00",
            "status": status,
            "task": "classification",
            "topology": "one-to-one",
            "cell": config["cell"],
            "dataset": config["dataset"],
            "config": config,
            "environment": {"backend": "tensorflow"},
            "git": None,
            "data": {"name": "digits", "examples": {"test": len(samples)}},
            "model": {"trainable_parameters": 100},
            "metrics": {"test/accuracy": value, "test/log_loss": 1 - value} if ok else {},
            "headline": {"name": "accuracy", "value": value, "higher_is_better": True}
            if ok
            else None,
            "baselines": {"majority class": 0.1, "logistic regression": 0.4} if ok else {},
            "seconds": {"data": 1.0, "fit": 2.5},
            **fields,
        }
    )
    return store.write_run(folder, record, examples=list(samples))


@pytest.fixture
def folder(tmp_path):
    for seed, value in enumerate((0.5, 0.6, 0.85)):
        write(tmp_path, seed, value=value, config={"seed": seed})
    write(tmp_path, 3, value=0.65, config={"seed": 2})  # a second run of this seed
    write(tmp_path, 4, status="diverged")
    write(tmp_path, 5, status="failed", config={"cell": "lstm", "units": 16})
    write(tmp_path, 6, value=0.7, config={"cell": "lstm"})
    return tmp_path


def test_a_run_is_one_tidy_row(folder):
    runs = store.load_runs(folder)
    assert len(runs) == 7
    run = runs[runs["run_id"].str.contains("T000001Z")].iloc[0]
    assert (run["task"], run["headline"], run["value"], run["seconds"]) == (
        *("classification", "accuracy", 0.6, 3.5),
    )
    assert run["config/units"] == 8
    assert run["test/log_loss"] == 0.4
    assert run["baseline/majority class"] == 0.1
    assert pathlib.Path(run["folder"], "record.json").is_file()


def test_a_folder_of_run_folders_is_read_too(folder):
    assert len(store.load_runs(folder / "runs")) == 7


def test_an_unreadable_record_is_reported_and_skipped(folder):
    broken = folder / "runs/broken"
    broken.mkdir()
    (broken / "record.json").write_text("{", "utf-8")
    with pytest.warns(UserWarning, match="skipping .*broken"):
        assert len(store.load_runs(folder)) == 7


def test_means_are_over_seeds_and_failed_runs_are_counted(folder):
    table = tables.summarize_runs(store.load_runs(folder))
    assert list(table["cell"]) == ["lstm", "gru", "lstm"]
    assert list(table["best"]) == [True, False, False]
    gru = table.iloc[1]
    seeds = [0.5, 0.6, 0.75]  # for seed 2 the mean of its two runs
    assert gru["mean"] == pytest.approx(statistics.mean(seeds))
    assert gru["std"] == pytest.approx(statistics.stdev(seeds))
    assert (gru["seeds"], gru["not_ok"], tables.format_seeds(gru)) == (3, 1, "3 (+1 not ok)")
    failed = table.iloc[2]
    assert (failed["seeds"], failed["not_ok"], failed["setting"]) == (0, 1, "units=16")
    assert np.isnan(failed["mean"])
    assert tables.format_score(table.iloc[0]) == "0.700"
    assert tables.format_score(gru) == "0.617 ± 0.126"


def test_lower_is_better_where_the_headline_says_so(tmp_path):
    for number, (cell, value) in enumerate((("gru", 2.0), ("lstm", 1.0))):
        headline = {"name": "error", "value": value, "higher_is_better": False}
        write(tmp_path, number, config={"cell": cell}, headline=headline)
    table = tables.summarize_runs(store.load_runs(tmp_path))
    assert list(table["cell"]) == ["lstm", "gru"]
    assert list(table["best"]) == [True, False]


def test_every_format_shows_the_same_numbers(folder):
    table = tables.summarize_runs(store.load_runs(folder))
    text = io.StringIO()
    tables.print_tables(table, Console(file=text, width=80), all_metrics=True)
    printed, markdown = text.getvalue(), tables.to_markdown(table, all_metrics=True)
    for text in ("0.617 ± 0.126", "3 (+1 not ok)", "majority class 0.100", "log_loss", "units=16"):
        assert text in printed
        assert text in markdown
    assert max(map(len, printed.splitlines())) <= 80
    assert "**lstm**" in markdown
    rows = list(csv.DictReader(io.StringIO(tables.to_csv(table))))
    assert float(rows[1]["mean"]) == pytest.approx(0.6166666)
    assert float(rows[1]["baseline/logistic regression"]) == 0.4
    assert "test/log_loss" not in rows[0]
    assert "test/log_loss" in tables.to_csv(table, all_metrics=True)


def test_the_table_of_the_reference_runs_is_current():
    table = tables.summarize_runs(store.load_runs(ROOT / "results/reference"))
    assert (ROOT / "results/TABLE.md").read_text("utf-8") == tables.to_markdown(table)


def test_the_example_in_the_results_guide_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    code = code_blocks("results/README.md", "python")[0]
    assert len(code.splitlines()) == 5
    exec(compile(code, "results/README.md", "exec"), {})


def rows_of(right, **more):
    return [
        {"source": str(n), "output": "a", "target": "b", "right": bool(r), **more}
        for n, r in enumerate(right)
    ]


def test_runs_are_found_by_id_prefix_folder_and_score(folder):
    names = sorted(path.name for path in (folder / "runs").iterdir())
    assert trained_model.find_run(names[1], folder).name == names[1]
    assert trained_model.find_run(names[1][:15], folder).name == names[1]
    assert trained_model.find_run(str(folder / "runs" / names[2]), folder).name == names[2]
    assert trained_model.find_run("best:classification", folder).name == names[2]
    for wrong, message in (
        ("2026", "matches 7 runs"),
        ("nothing", "Unknown run"),
        ("best:translation", "no completed run"),
        ("best:nothing", "Unknown task"),
    ):
        with pytest.raises(UserError, match=message):
            trained_model.find_run(wrong, folder)
    with pytest.raises(UserError, match="no runs"):
        trained_model.find_run("any", folder / "empty")


def test_two_runs_are_compared_on_the_same_examples(tmp_path):
    random = np.random.default_rng(0)
    right = random.random((2, 400)) < [[0.9], [0.6]]
    folders = [
        write(
            tmp_path, n, value=float(row.mean()), samples=rows_of(row),
            config={"units": 8 * (n + 1)},
        )
        for n, row in enumerate(right)
    ]  # fmt: skip
    comparison = compare.compare_runs(*folders)
    assert comparison.settings == {"units": (8, 16)}
    assert comparison.difference == pytest.approx(right[0].mean() - right[1].mean())
    # The normal approximation for the mean of paired differences.
    paired = right[0].astype(float) - right[1]
    half = 1.96 * paired.std() / 400**0.5
    expected = [comparison.difference - half, comparison.difference + half]
    np.testing.assert_allclose(comparison.interval, expected, atol=0.015)
    text = io.StringIO()
    compare.print_comparison(comparison, Console(file=text, width=100))
    assert ": significant" in text.getvalue()
    assert "--units" in text.getvalue()
    same = compare.compare_runs(folders[0], folders[0])
    assert (same.difference, same.interval) == (0.0, (0.0, 0.0))


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    one = write(tmp_path, 0, value=1.0, samples=rows_of([1, 1]))
    other = write(tmp_path, 1, value=1.0, samples=rows_of([1, 1, 1]))
    changed = write(tmp_path, 2, value=0.2, samples=rows_of([1, 1]))
    failed = write(tmp_path, 3, status="failed", samples=rows_of([1, 1]))
    apart = write(tmp_path, 4, dataset="mnist", samples=rows_of([1, 1]))
    bare = write(tmp_path, 5)
    for second, message in (
        (other, "different examples"),
        (changed, "One of them has been modified"),
        (failed, "is failed"),
        (apart, "different datasets"),
        (bare, "no samples.jsonl"),
    ):
        with pytest.raises(UserError, match=message):
            compare.compare_runs(one, second)


SENTENCES = [
    ("the dog runs over the grass", "the dog runs over the green grass"),
    ("a man in a red shirt", "a man with a red shirt stands there"),
    ("two birds", "two birds sit on a wire and sing"),
    ("a boat on the lake", "a boat on the lake"),
]


def test_the_parts_of_bleu_sum_to_corpus_bleu():
    outputs, references = zip(*SENTENCES, strict=True)
    parts = bootstrap.bleu_parts(translation.translation_bleu(), outputs, [[r] for r in references])
    expected_score = translation.translation_bleu().corpus_score(outputs, [references]).score
    assert parts.score(parts.rows.sum(axis=0)) == pytest.approx(expected_score)
    twice = parts.score(parts.rows[[0, 0, 3]].sum(axis=0))
    chosen = [SENTENCES[index] for index in (0, 0, 3)]
    expected = (
        translation.translation_bleu()
        .corpus_score([o for o, _ in chosen], [[r for _, r in chosen]])
        .score
    )
    assert twice == pytest.approx(expected)


def test_the_parts_of_caption_bleu_sum_to_corpus_bleu():
    outputs, references = zip(*SENTENCES, strict=True)
    several = [[r, "a dog on the grass"][: 1 + n % 2] for n, r in enumerate(references)]
    parts = bootstrap.bleu_parts(captions.caption_bleu(4), outputs, several)
    expected_score = captions.caption_scores(outputs, several)["bleu_4"]
    assert parts.score(parts.rows.sum(axis=0)) == pytest.approx(expected_score)


def test_the_parts_of_macro_f1_and_of_means_sum_to_the_score():
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    labels = [random.integers(0, 3, size) for size in (5, 9, 2)]
    predicted = [random.integers(0, 3, len(row)) for row in labels]
    parts = bootstrap.macro_f1_parts(labels, predicted, 4)
    expected = f1_score(np.concatenate(labels), np.concatenate(predicted), average="macro")
    assert parts.score(parts.rows.sum(axis=0)) == pytest.approx(expected)
    mean = bootstrap.mean_parts([1, 2, 3], [2, 2, 4])
    assert mean.score(mean.rows.sum(axis=0)) == 6 / 8
    with pytest.raises(ValueError, match="same test examples"):
        bootstrap.paired_bootstrap_interval(mean, bootstrap.mean_parts([1, 2]))


def test_a_table_of_failed_runs_is_shown(tmp_path):
    from rnn_topologies.report import page

    write(tmp_path, 0, status="failed", model=None, data=None)
    write(tmp_path, 1, status="interrupted", config={"cell": "lstm"})
    table = tables.summarize_runs(store.load_runs(tmp_path))
    assert list(table["not_ok"]) == [1, 1]
    assert not table["best"].any()
    text = io.StringIO()
    tables.print_tables(table, Console(file=text, width=80))
    assert "0 (+1 not ok)" in text.getvalue()
    assert "0 (+1 not ok)" in tables.to_markdown(table)
    assert "(2 failed, diverged or interrupted)" in page.write_report(tmp_path).read_text("utf-8")
