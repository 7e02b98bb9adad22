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
    config = {"cell": "gru", "seed": 0, "units": 8, "dataset": fields.get("dataset", "digits")}
    config |= fields.pop("config", {})
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


def on(name, content, *, tests=4, **data):
    """Returns the fields of a record of a run on the user's files."""
    examples = {"test": tests}
    return {
        "task": "text_classification",
        "dataset": f"files/{name}",
        "data": {"name": name, "examples": examples, "sha256": content * 64, **data},
    }


def summary(folder):
    return tables.summarize_runs(store.load_runs(folder))


def printed(table, width=100):
    text = io.StringIO()
    tables.print_tables(table, Console(file=text, width=width))
    return text.getvalue()


def test_different_files_of_the_same_name_are_two_data_sets(tmp_path):
    write(tmp_path, 0, value=0.9, **on("spam.csv", "a"))
    write(tmp_path, 1, value=0.5, **on("spam.csv", "b"))
    table = summary(tmp_path)
    assert list(table["dataset"]) == ["files/spam.csv@aaaaaaa", "files/spam.csv@bbbbbbb"]
    assert list(table["mean"]) == [0.9, 0.5]
    assert list(table["best"]) == [True, True]
    for text in (printed(table), tables.to_markdown(table), tables.to_csv(table)):
        assert "spam.csv@aaaaaaa" in text
        assert "spam.csv@bbbbbbb" in text


def test_the_same_content_under_two_names_is_one_data_set(tmp_path):
    first = write(
        tmp_path, 0, value=0.9, samples=rows_of([1] * 9 + [0]), **on("spam.csv", "a", tests=10)
    )
    second = write(
        tmp_path, 1, value=0.5, samples=rows_of([1, 0] * 5), config={"seed": 1},
        **on("copy of spam.csv", "a", tests=10),
    )  # fmt: skip
    (row,) = tables.table_rows(summary(tmp_path))
    assert (row["dataset"], row["mean"], row["seeds"]) == ("files/spam.csv", 0.7, 2)
    runs = store.load_runs(tmp_path)
    assert len(tables.select_dataset(runs, "copy of spam.csv")) == 2
    assert compare.compare_runs(first, second).difference == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("other", "label"),
    [
        (on("a.csv", "a", tests=2), "files/a.csv@2-tests"),
        (on("a.csv", "a", sampled_from={}) | {"config": {"limit": 20}}, "files/a.csv@limit-20"),
        (on("a.csv", "a", splits={"test": "by hash"}), "files/a.csv@by-hash"),
        (on("a.csv", "a") | {"config": {"folds": 5, "fold": 1}}, "files/a.csv@5-folds"),
    ],
)  # fmt: skip
def test_other_test_examples_are_another_data_set(tmp_path, other, label):
    write(tmp_path, 0, **on("a.csv", "a"))
    write(tmp_path, 1, **other)
    labels = set(summary(tmp_path)["dataset"])
    assert len(labels) == 2
    assert label in labels


def test_samples_and_folds_of_two_files_of_one_name_are_told_apart(tmp_path):
    number = 0
    for content in "ab":
        for config in ({}, {"limit": 50}, {"folds": 3, "fold": 1}, {"folds": 3, "fold": 2}):
            facts = {"content_sha256": content * 64} if config else {}
            facts |= {"sampled_from": {}} if "limit" in config else {}
            fields = on("a.csv", content if not config else str(number), **facts)
            write(tmp_path, number, config=config, **fields)
            number += 1
    names = [f"files/a.csv@{content * 7}" for content in "ab"]
    assert sorted(summary(tmp_path)["dataset"]) == sorted(
        name + suffix for name in names for suffix in ("", ",3-folds", ",limit-50")
    )


def test_a_prepared_copy_is_the_same_data_set_in_spite_of_its_hash(tmp_path):
    for number, content in enumerate("ab"):
        data = on("mnist", content, reads={"image": "image"})["data"] | {"name": "mnist/3.0.1"}
        write(tmp_path, number, dataset="mnist", data=data)
    assert list(summary(tmp_path)["dataset"]) == ["mnist"]


def test_a_run_that_failed_before_its_data_were_read_joins_the_only_data_set_of_its_name(tmp_path):
    write(tmp_path, 0, **on("a.csv", "a"))
    write(tmp_path, 1, status="failed", **on("a.csv", "a") | {"data": None})
    (row,) = tables.table_rows(summary(tmp_path))
    assert row["not_ok"] == 1
    write(tmp_path, 2, **on("a.csv", "b"))
    assert sorted(summary(tmp_path)["dataset"]) == [
        *("files/a.csv", "files/a.csv@aaaaaaa", "files/a.csv@bbbbbbb"),
    ]


def test_folds_are_averaged_and_never_mixed_with_other_runs(tmp_path):
    write(tmp_path, 0, value=0.1, **on("a.csv", "a"))
    for fold, value in enumerate((0.2, 0.4, 0.9), 1):
        for seed in (0, 1):
            write(
                tmp_path, 2 * fold + seed, value=value + seed / 100,
                config={"folds": 4, "fold": fold, "seed": seed},
                baselines={"majority class": value / 2}, **on("a.csv", "a", tests=fold),
            )  # fmt: skip
    plain, folds = tables.table_rows(summary(tmp_path))
    assert (plain["mean"], plain["folds"]) == (0.1, 0)
    values = [0.205, 0.405, 0.905]
    assert folds["mean"] == pytest.approx(statistics.mean(values))
    assert folds["std"] == pytest.approx(statistics.stdev(values))
    assert tables.format_seeds(folds) == "3 of 4 folds x 2 seeds"
    assert folds["setting"] == ""
    assert tables.format_baselines(folds) == "majority class 0.250"


def test_warnings_about_the_data_are_in_tables_and_in_the_report(tmp_path):
    from rnn_topologies.report import page

    warnings = ["the test split has only 3 examples", "5 texts occur with different labels"]
    write(tmp_path, 0, **on("a.csv", "a", warnings=warnings))
    write(tmp_path, 1, config={"seed": 1}, **on("a.csv", "a", warnings=warnings[:1]))
    report = page.write_report(tmp_path).read_text("utf-8")
    for text in (printed(summary(tmp_path)), report):
        assert [text.count(f"warning: {warning}") for warning in warnings] == [1, 1]


def test_no_baseline_disappears_and_the_best_comes_first(tmp_path):
    write(tmp_path, 0, value=0.92, baselines={"majority class": 0.5, "words": 0.898})
    write(
        tmp_path, 1, value=0.91, config={"units": 16},
        baselines={"majority class": 0.5, "words": 0.93, "characters": 0.7},
    )  # fmt: skip
    table = summary(tmp_path)
    expected = "words 0.930 (0.898 with other settings), characters 0.700, majority class 0.500"
    assert [tables.format_baselines(row) for row in tables.table_rows(table)] == [expected] * 2
    assert list(table["best"]) == [True, False]
    assert list(table["baseline_wins"]) == [True, True]
    assert f"* baselines: {expected}" in " ".join(printed(table, 200).split())
    assert "* gru" not in " ".join(printed(table).split())
    markdown = tables.to_markdown(table)
    assert "**words 0.930 (0.898 with other settings)**" in markdown
    assert "**gru**" not in markdown
    (first, _) = csv.DictReader(io.StringIO(tables.to_csv(table)))
    assert (first["best_baseline"], first["best_baseline_score"]) == ("words", "0.93")


def test_a_baseline_that_failed_is_named_last(tmp_path):
    for number, errors in enumerate(({"nearest": "out of memory"}, {"words": "empty"})):
        write(
            tmp_path, number, config={"seed": number}, baseline_errors=errors,
            baselines={"majority class": 0.5, **({} if "words" in errors else {"words": 0.9})},
        )  # fmt: skip
    (row,) = tables.table_rows(summary(tmp_path))
    expected = "words 0.900, majority class 0.500, nearest failed: out of memory"
    assert tables.format_baselines(row) == expected
    assert "nearest failed: out of memory |" in tables.to_markdown(summary(tmp_path))
    (line,) = csv.DictReader(io.StringIO(tables.to_csv(summary(tmp_path))))
    assert line["baseline_error/nearest"] == "out of memory"
    assert row["baseline_wins"]


def test_a_run_without_baselines_says_nothing_about_those_of_others(tmp_path):
    errors = {"all baselines": "out of memory"}
    write(tmp_path, 0, config={"seed": 0}, baselines={}, baseline_errors=errors)
    (row,) = tables.table_rows(summary(tmp_path))
    assert tables.format_baselines(row) == "all baselines failed: out of memory"
    write(tmp_path, 1, config={"seed": 1}, baselines={"majority class": 0.5})
    (row,) = tables.table_rows(summary(tmp_path))
    assert tables.format_baselines(row) == "majority class 0.500"


def test_baselines_are_means_over_the_seeds_that_they_depend_on(tmp_path):
    for number, (seed, units, value) in enumerate(((0, 8, 0.6), (1, 8, 0.8), (0, 16, 0.6))):
        write(
            tmp_path, number, config={"seed": seed, "units": units}, baselines={"boosting": value}
        )
    assert {tables.format_baselines(row) for row in tables.table_rows(summary(tmp_path))} == {
        "boosting 0.700"
    }


def test_the_best_baseline_has_the_lowest_score_where_lower_is_better(tmp_path):
    headline = {"name": "error", "value": 0.3, "higher_is_better": False}
    write(tmp_path, 0, headline=headline, baselines={"weak": 0.9, "strong": 0.2})
    (row,) = tables.table_rows(summary(tmp_path))
    assert tables.format_baselines(row) == "strong 0.200, weak 0.900"
    assert row["baseline_wins"]
    assert not tables.wins(row)


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


def test_runs_on_other_files_of_the_same_name_cannot_be_compared(tmp_path):
    first = write(tmp_path, 0, value=1.0, samples=rows_of([1, 1]), **on("spam.csv", "a"))
    second = write(tmp_path, 1, value=1.0, samples=rows_of([1, 1]), **on("spam.csv", "b"))
    with pytest.raises(UserError, match="data sets: files/spam.csv@aaaaaaa and files/spam.csv@bbb"):
        compare.compare_runs(first, second)


def test_the_best_run_on_a_data_set_is_found_by_its_name(tmp_path):
    names = {
        "emotions": write(tmp_path, 0, value=0.9, **on("emotions.csv", "a")),
        "questions": write(tmp_path, 1, value=0.5, **on("my questions (1).tsv", "b")),
        "better": write(tmp_path, 2, value=0.6, **on("my questions (1).tsv", "b")),
        "languages": write(tmp_path, 3, task="text_classification", dataset="cldr_languages"),
    }
    for dataset, expected in (
        ("files/emotions.csv", "emotions"),
        ("emotions.csv", "emotions"),
        ("../data/emotions.csv", "emotions"),
        ("emo", "emotions"),
        ("my-questions-1-.tsv", "better"),
        ("my-questions", "better"),
        ("my questions (1).tsv", "better"),
        ("cldr_languages", "languages"),
    ):
        found = trained_model.find_run(f"best:text_classification/{dataset}", tmp_path)
        assert found.name == names[expected].name, dataset
    for dataset, message in (
        (
            "",
            "There are runs on 3 data sets. Choose one: best:text_classification/cldr_lang",
        ),
        ("/none.csv", "No completed run on 'none.csv'. Choose one: best:text_classification/cldr"),
        ("/files", "'files' matches 2 data sets. Choose one: best:text_classification/files/emot"),
    ):
        with pytest.raises(UserError, match=message):
            trained_model.find_run(f"best:text_classification{dataset}", tmp_path)


def test_files_of_the_same_name_are_told_apart_by_their_hash(tmp_path):
    first = write(tmp_path, 0, value=0.5, **on("spam.csv", "a"))
    write(tmp_path, 1, value=0.9, **on("spam.csv", "b"))
    best = "best:text_classification/spam.csv"
    with pytest.raises(UserError, match=r"matches 2 data sets.*csv@aaaaaaa, .*csv@bbbbbbb\."):
        trained_model.find_run(best, tmp_path)
    assert trained_model.find_run(f"{best}@aaaaaaa", tmp_path).name == first.name
    assert trained_model.find_run(f"{best}@aa", tmp_path).name == first.name


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
    assert "best baseline: logistic regression 0.400\n" in text.getvalue()
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
        (apart, "different data sets"),
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


def test_a_record_with_nonsense_about_its_data_is_shown(tmp_path):
    data = {"name": ["x"], "sha256": 5, "examples": "many", "splits": [1], "warnings": {"a": 1}}
    config = {"folds": "five", "fold": [2], "limit": {}}
    write(tmp_path, 0, data=data | {"sampled_from": 1}, config=config)
    write(tmp_path, 1, data=data | {"reads": 0, "examples": {"test": "x"}}, config={"folds": True})
    table = summary(tmp_path)
    assert len(table) == 2
    assert printed(table)
