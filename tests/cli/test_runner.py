import dataclasses
import io
import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import requests
from rich.console import Console

from rnn_topologies import tasks
from rnn_topologies.cli import app, progress
from rnn_topologies.runs import model_io, store
from rnn_topologies.runs.record import SCHEMA, Record, new_record, new_run_id, utc_timestamp
from rnn_topologies.tasks import translation
from rnn_topologies.tasks.data.sources.cldr_dates import cldr_dates_dataset_builder as cldr_dates
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.training import callbacks, experiment

from ..support.paths import ROOT, RUNNER, code_blocks
from ..support.runs import run_main, silent_display

SMALL = {"units": 8, "embedding_size": 4, "epochs": 2, "batch_size": 16}
FIELDS = {
    *("schema", "run_id", "started_at", "status", "task", "topology", "cell", "dataset"),
    *("config", "data", "model", "metrics", "headline", "baselines", "epochs_run", "best_epoch"),
    *("seconds", "environment", "git", "tables", "baseline_metrics"),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def translate(results_dir, **settings):
    """Trains a small translation and returns (record, folder, output)."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cldr_dates, "SPLIT_SIZES", {"train": 64, "validation": 16, "test": 16})
        record, folder = experiment.run_experiment(
            "translation",
            {**SMALL, **settings},
            results_dir=results_dir,
            display=progress.Display(Console(file=output)),
        )
    return record, folder, output.getvalue()


@pytest.fixture
def run(tmp_path, data_dir):
    """Returns a function that trains a small translation and returns (record, folder, output)."""

    def train(**settings):
        return translate(tmp_path / "results", data_dir=data_dir, **settings)

    return train


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir):
    """Returns (record, folder, output) of a successful run."""
    settings = {"cell": "lstm", "seed": 3, "attention": "additive", "layers": 2}
    return translate(tmp_path_factory.mktemp("results"), data_dir=data_dir, **settings)


def only_run(tmp_path):
    (folder,) = (tmp_path / "results/runs").iterdir()
    return folder


def test_a_run_writes_its_record_epochs_and_samples(finished):
    record, folder, output = finished
    fields = json.loads((folder / "record.json").read_text("utf-8"))
    assert set(fields) >= FIELDS
    assert fields["status"] == "ok"
    assert fields["schema"] == SCHEMA
    assert fields["data"]["examples"] == {"train": 64, "validation": 16, "test": 16}
    assert fields["config"]["seed"] == 3
    assert fields["epochs_run"] == 2
    assert fields["best_epoch"] in (1, 2)
    assert set(fields["seconds"]) == {"data", "compile", "fit", "evaluate"}
    assert {"test/exact_match", "test/bleu", "test/chrf", "test/perplexity"} <= set(
        fields["metrics"]
    )
    assert set(fields["environment"]) == {
        *("python", "keras", "backend", "backend_version", "device", "cores", "cpu_kernel")
    }
    assert "copy the source" in fields["baselines"]
    for name, value in fields["baselines"].items():
        assert fields["baseline_metrics"][name]["exact_match"] == value
    assert store.read_record(folder) == record
    rows = (folder / "epochs.csv").read_text("utf-8").splitlines()
    assert len(rows) == 3
    assert rows[0].startswith("epoch,seconds,learning_rate")
    samples = [json.loads(line) for line in (folder / "samples.jsonl").open(encoding="utf-8")]
    assert len(samples) == 16
    assert set(samples[0]) == {"source", "target", "output", "right"}
    assert str(folder) in output.replace("\n", "")
    (warning,) = fields["data"]["warnings"]
    assert warning.startswith("the test split has only 16 examples, fewer than 30: scores vary")
    lines = output.splitlines()
    assert lines[0].startswith("data cldr_dates/en-de")
    assert lines[1] == f"warning: {warning}"
    assert output.count("expected") == 5  # no output is right after two epochs


def test_a_record_contains_no_paths_or_host_names(finished, data_dir):
    _, folder, _ = finished
    text = (folder / "record.json").read_text("utf-8")
    results_dir = str(folder.parents[1])
    for private in (data_dir, results_dir, os.uname().nodename, str(pathlib.Path.home())):
        assert private not in text


def test_a_run_is_rebuilt_from_its_folder_alone(finished):
    record, folder, _ = finished
    task, model, data = model_io.load_model(folder)
    samples = [json.loads(line) for line in (folder / "samples.jsonl").open(encoding="utf-8")]
    sources = [sample["source"] for sample in samples]
    assert task.predict(model, sources, data) == [sample["output"] for sample in samples]
    arrays = store.read_weights(folder)
    assert (
        sum(np.prod(array.shape) for array in arrays.values())
        >= (record.model["trainable_parameters"])
    )
    model_io.check_shapes(model, arrays)
    name, array = next(iter(arrays.items()))
    with pytest.raises(UserError, match=f"do not fit the model: {name}"):
        model_io.check_shapes(model, {**arrays, name: array[:1]})


@pytest.fixture
def trained(monkeypatch):
    """Returns the settings of the runs that the command line starts, which end at once."""
    settings = []

    def run_experiment(task, run_settings, *, results_dir, **_):
        settings.append(run_settings)
        task = tasks.get_task(task)(run_settings)
        run_id = new_run_id("text_classification", "gru", len(settings))
        record = new_record(
            task, "text_classification", run_id=run_id, started_at="", environment={}, git=None
        )
        record.status, record.data = "ok", {"name": "t.csv", "sha256": "a" * 64}
        record.headline = {"name": "accuracy", "value": 0.5, "higher_is_better": True}
        record.metrics = {"test/accuracy": 0.5}
        return record, store.write_run(results_dir, record)

    monkeypatch.setattr(experiment, "run_experiment", run_experiment)
    return settings


def test_folds_are_trained_in_turn_and_end_in_one_table(trained, tmp_path, capfd):
    (tmp_path / "t.csv").write_text("text,label\na,b\nc,d\n", "utf-8")
    arguments = ["--task", "text_classification", "--dataset", tmp_path / "t.csv", "--folds", "3"]
    arguments += ["--results-dir", tmp_path / "results"]
    assert run_main(*arguments) == 0
    printed = capfd.readouterr().out
    assert [run["fold"] for run in trained] == [1, 2, 3]
    assert "text_classification, fold 2 of 3" in printed
    assert "0.500 ± 0.000  3 folds" in printed
    assert "not run" not in printed
    trained.clear()
    assert run_main(*arguments, "--fold", "2") == 0
    assert [run["fold"] for run in trained] == [2]


def test_folds_that_are_left_after_an_interruption_are_named(trained, tmp_path, capfd, monkeypatch):
    (tmp_path / "t.csv").write_text("text,label\na,b\nc,d\n", "utf-8")
    train = experiment.run_experiment

    def interrupted(*arguments, **options):
        record, folder = train(*arguments, **options)
        record.status = "interrupted" if len(trained) == 2 else "ok"
        return record, folder

    monkeypatch.setattr(experiment, "run_experiment", interrupted)
    arguments = ["--task", "text_classification", "--dataset", tmp_path / "t.csv", "--folds", "4"]
    assert run_main(*arguments, "--results-dir", tmp_path / "results") == app.EXIT_INTERRUPTED
    printed = capfd.readouterr()
    assert "not run: --fold 3 and --fold 4" in printed.out
    assert "To resume: --resume" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--folds", "1"), "--folds must be at least 2, got 1"),
        (("--folds", "101"), "--folds must be at most 100, got 101"),
        (("--folds", "999999999999"), "--folds must be at most 100"),
        (("--folds", "3", "--fold", "4"), "--fold must be at most --folds 3, got 4"),
        (("--fold", "4"), "give both"),
        (("--folds", "3", "--dataset", "cldr_languages"), "cldr_languages comes with a test split"),
    ],
)
def test_wrong_folds_are_reported(arguments, message, trained, tmp_path, capfd):
    (tmp_path / "t.csv").write_text("text,label\na,b\nc,d\n", "utf-8")
    dataset = ("--dataset", tmp_path / "t.csv")
    assert run_main("--task", "text_classification", *dataset, *arguments) == 2
    assert message in capfd.readouterr().err
    assert not trained


def test_a_loss_that_is_not_finite_ends_the_run_and_is_recorded(run, tmp_path):
    record, folder, output = run(learning_rate=1e38)
    assert record.status == "diverged"
    assert "became NaN or infinite at step" in record.error
    assert "--learning-rate" in record.error
    assert store.read_record(folder).status == "diverged"
    assert "diverged" in output


def test_ctrl_c_keeps_the_finished_epochs(run, monkeypatch):
    original = callbacks.CheckpointSaver.on_epoch_end

    def interrupt(self, epoch, logs=None):
        original(self, epoch, logs)
        raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.CheckpointSaver, "on_epoch_end", interrupt)
    record, folder, output = run()
    assert record.status == "interrupted"
    assert record.epochs_run == 1
    assert (folder / "weights.npz").is_file()
    assert "interrupted" in output


def test_a_crash_is_recorded_and_raised(run, tmp_path, monkeypatch):
    def broken(self, data):
        raise RuntimeError("no such thing")

    monkeypatch.setattr(translation.TranslationTask, "build_model", broken)
    with pytest.raises(RuntimeError, match="no such thing"):
        run()
    record = store.read_record(only_run(tmp_path))
    assert (record.status, record.error) == ("failed", "RuntimeError: no such thing")


@pytest.mark.parametrize(
    "settings",
    [{"cell": "lstmm"}, {"units": 0}, {"dataset": "cldr_dates/en-xx"}, {"test_split": "no"}],
)
def test_a_user_error_leaves_no_folder(run, tmp_path, settings):
    with pytest.raises(UserError):
        run(**settings)
    assert not (tmp_path / "results").exists()


def test_an_unwritable_results_folder_is_reported_before_training(tmp_path, data_dir):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="Choose another folder with --results-dir"):
        experiment.run_experiment(
            "translation", {"data_dir": data_dir}, results_dir=blocked, display=progress.Display()
        )


def test_a_run_folder_appears_complete_or_not_at_all(tmp_path):
    record = Record(
        run_id="r",
        started_at=utc_timestamp(),
        status="ok",
        task="t",
        topology="o",
        cell="c",
        dataset="d",
        config={"cell": "c", "seed": 0},
        environment={},
        git=None,
        metrics={"test/loss": float("nan")},
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_run(tmp_path, record)
    assert not list((tmp_path / "runs").iterdir())
    record.metrics = {}
    assert store.read_record(store.write_run(tmp_path, record)) == record


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema": 99}', "newer than 5. Update"),
        ("[]", "is damaged: Input should be an object"),
        ('{"schema": 3, "run_id": "../../etc"}', "is damaged: run_id: String should match"),
        ("{", "is damaged: Invalid JSON"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused(tmp_path, content, message):
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(UserError, match=message):
        store.read_record(tmp_path)


def test_run_ids_differ_even_within_a_second():
    assert len({new_run_id("t", "c", 0) for _ in range(50)}) == 50


def run_in_a_new_process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, RUNNER, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", **environment},
        timeout=900,
    )


def test_help_imports_neither_keras_nor_a_backend():
    code = (
        "import sys; sys.argv = ['runner.py', '--help']\n"
        "from rnn_topologies.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'keras', 'tensorflow', 'numpy', 'jax', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "--task" in done.stdout
    assert "list" in done.stdout


def test_the_help_of_a_task_names_every_setting():
    done = run_in_a_new_process("--task", "translation", "--help")
    assert done.returncode == 0
    for field in dataclasses.fields(translation.TranslationConfig):
        assert f"--{field.name.replace('_', '-')}" in done.stdout
    for flag in ("--backend", "--results-dir"):
        assert flag in done.stdout


def test_list_shows_tasks_topologies_data_sets_and_cells(capfd):
    assert run_main("list") == 0
    output = capfd.readouterr().out
    for name in tasks.task_names():
        assert name in output
    for word in (
        "many-to-many, unaligned",
        "cldr_dates/",
        "multi30k/",
        "one-to-one",
        "one-to-many",
        "many-to-one",
        "many-to-many, aligned",
        "scenes",
        "moving_shapes",
        "PATH",
        "simple_rnn",
        "lstm",
        "gru",
    ):
        assert word in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "translaton"), "Unknown task: 'translaton'.*Did you mean 'translation'"),
        (("--task",), "--task needs a name"),
        (("--task", "translation", "--units", "-1"), "--units must be at least 1, got -1"),
        (("--task", "all", "--units", "-1"), "--units must be at least 1, got -1"),
        (("--task", "all", "--dataset", "mnist"), "No such option: --dataset"),
        (("--task", "classification", "--bidirectional"), "--bidirectional needs a sequence"),
        (("--task", "image_captioning", "--bidirectional"), "the decoder is autoregressive"),
        (("--task", "classification", "--dataset", "./no"), "no such file or folder"),
        (("--task", "translation", "--units", "many"), "--units"),
        (("--task", "translation", "--unit", "3"), "No such option: --unit"),
        (("--task", "translation", "--backend", "theano"), "Unknown backend: 'theano'"),
        (("--task=translation", "--dataset", "wmt"), "Unknown data set: 'wmt'"),
        (("lst",), "No such command 'lst'"),
        ((), "Missing --task NAME or a command"),
        (("--epochs", "3"), "No such option: --epochs"),
    ],
)
def test_a_user_error_is_reported_in_one_line_with_status_2(arguments, message, capfd):
    assert run_main(*arguments) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("error: ")
    assert re.search(message, printed.err), printed.err


def test_a_user_error_ends_a_process_with_status_2():
    done = run_in_a_new_process("lst")
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch("error: No such command 'lst'.*\n", done.stderr)


def test_a_wrong_environment_variable_is_reported_with_status_2(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("RNN_TOPOLOGIES_CPU_KERNEL", "fast")
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())  # set by the command line
    run = ("--task", "classification", "--limit", "16", "--results-dir", str(tmp_path))
    assert run_main(*run) == 2
    error = capfd.readouterr().err
    assert "RNN_TOPOLOGIES_CPU_KERNEL must be 'auto', 'off' or one of avx512" in error
    assert "Traceback" not in error


def test_a_backend_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="jax is not installed. Run: pip install"):
        app.train(["translation"], {}, backend="jax", strategy=None)


def test_a_failed_download_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    def unreachable(address, **_):
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(requests, "head", unreachable)
    settings = {"dataset": "multi30k/de-en", "data_dir": str(tmp_path / "data")}
    with pytest.raises(UserError, match=r"cannot be reached.*--manual-dir"):
        translation.TranslationTask(settings).load_data()
    remaining = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert remaining == [".multi30k.lock"]
    with pytest.raises(UserError, match="--manual-dir .* is not a folder"):
        translation.TranslationTask({**settings, "manual_dir": str(tmp_path / "no")}).load_data()


def test_the_shown_examples_include_a_wrong_and_a_right_one():
    rows = [{"right": True, "number": number} for number in range(20)]
    assert progress.choose_examples(rows) == rows[:5]
    rows[17]["right"] = False
    assert progress.choose_examples(rows) == [*rows[:4], rows[17]]


def test_long_texts_of_examples_are_shortened():
    display = silent_display()
    display._show_examples([{"right": True, "source": "word " * 1000, "output": "[a]"}])
    shown = display.console.file.getvalue()
    assert "[a]" in shown
    assert "…" in shown
    assert shown.count("word") == 80


@pytest.mark.parametrize(
    ("task", "baseline"),
    [
        ("classification", "majority class"),
        pytest.param("translation", "copy the source", marks=pytest.mark.slow),
    ],
)
def test_a_new_process_trains_and_prints_plain_text_into_a_file(tmp_path, task, baseline):
    done = run_in_a_new_process(
        *("--task", task, "--limit", "64", "--epochs", "1", "--units", "8"),
        *("--data-dir", str(tmp_path / "data"), "--results-dir", str(tmp_path / "results")),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) < 40
    assert f"baseline: {baseline}" in done.stdout
    record = store.read_record(only_run(tmp_path))
    assert record.data["examples"]["train"] == 64


# tests/runs/test_predict.py trains them in process and checks the results.
@pytest.mark.slow
def test_all_tasks_train_in_a_new_process(tmp_path):
    done = run_in_a_new_process(
        *("--task", "all", "--limit", "40", "--epochs", "1", "--units", "4", "--cell", "lstm"),
        *("--data-dir", str(tmp_path / "data"), "--results-dir", str(tmp_path / "results")),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    records = [store.read_record(folder) for folder in (tmp_path / "results/runs").iterdir()]
    assert sorted(record.task for record in records) == tasks.task_names()


def test_a_run_on_own_files_is_recorded_without_their_path(tmp_path):
    rows = "".join(f"{'good' if n % 2 else 'bad'} film {n},{n % 2}\n" for n in range(60))
    path = tmp_path / "films.csv"
    path.write_text("text,label\n" + rows, "utf-8")
    settings = {"dataset": str(path), "units": 4, "epochs": 1}
    record, folder = experiment.run_experiment(
        "text_classification",
        settings,
        results_dir=tmp_path / "results",
        display=silent_display(),
    )
    assert record.dataset == record.config["dataset"] == "files/films.csv"
    assert str(tmp_path) not in (folder / "record.json").read_text("utf-8")
    path.unlink()
    task, model, data = model_io.load_model(folder)
    samples = [json.loads(line) for line in (folder / "samples.jsonl").open(encoding="utf-8")]
    texts = [sample["source"] for sample in samples]
    assert task.predict(model, texts, data) == [sample["output"] for sample in samples]
    with pytest.raises(UserError, match="no such file"):
        task.load_data()


def test_a_new_task_is_one_file(tmp_path, monkeypatch):
    example = code_blocks("CONTRIBUTING.md", "python")[0]
    assert len(example.splitlines()) <= 60
    (tmp_path / "parity.py").write_text(example, "utf-8")
    # As if the file were in tasks/, so that its relative imports work.
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    assert "parity" in tasks.task_names()
    record, folder = experiment.run_experiment(
        "parity", {"cell": "lstm"}, results_dir=tmp_path / "results", display=silent_display()
    )
    assert record.status == "ok"
    assert record.topology == "many-to-many, aligned"
    assert record.headline["value"] > 0.95 > record.baselines["majority class"]
    task, model, data = model_io.load_model(folder)
    assert task.predict(model, [[1, 0, 1, 1]], data) == [[1, 1, 0, 1]]
    monkeypatch.delitem(sys.modules, "rnn_topologies.tasks.parity")
