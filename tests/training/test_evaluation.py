"""The test stage: failures after training lose neither the weights nor the other scores."""

import io
import types

import numpy as np
import pytest
from rich.console import Console

from rnn_topologies.cli import app, progress
from rnn_topologies.runs import model_io, store
from rnn_topologies.tasks import base, classification
from rnn_topologies.tasks.baselines import classification as classifiers
from rnn_topologies.tasks.baselines.scores import BaselineScores
from rnn_topologies.training import evaluation, experiment, memory

from ..support import runs, training
from ..support.small_data import small_data

SETTINGS = {"limit": 60, "epochs": 1, "units": 4, "cell": "simple_rnn"}
LABELS = np.array([0, 1, 1])


class ResourceExhaustedError(Exception):
    """An error like TensorFlow's."""


@pytest.fixture
def fast():
    """Runs on little data, and without tracing graphs."""
    with small_data(), training.execution(eager=True):
        yield


@pytest.fixture
def record():
    return runs.started_record()


def score_with(record, second):
    """Scores three baselines, the second of which is a function, and returns the notes."""
    predictions = {"second": second, "third": LABELS}
    baselines = classifiers.score_baselines(LABELS, LABELS, predictions)
    task = types.SimpleNamespace(
        baseline=lambda data: baselines,
        dataset_spec=types.SimpleNamespace(headline=classification.ACCURACY),
    )
    notes = []
    evaluation.score_baselines(task, base.Data("d", "", {}), record, notes.append)
    return notes


def raising(error):
    """Returns a function that always raises an error."""

    def fail(*arguments, **options):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory"),
        (np.linalg.LinAlgError("singular"), "LinAlgError: singular"),
        (ValueError("no terms\nremain"), "ValueError: no terms remain"),
        (TimeoutError("too slow"), "TimeoutError: too slow"),
        (ResourceExhaustedError("OOM"), "out of memory: OOM"),
        (RuntimeError("std::bad_alloc"), "out of memory: std::bad_alloc"),
        (RecursionError(), "RecursionError"),
        (ImportError("No module named 'sklearn'"), "ImportError: No module named 'sklearn'"),
        (KeyError("accuracy"), "KeyError: 'accuracy'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_baseline_that_fails_leaves_the_others_alone(record, error, reason):
    notes = score_with(record, raising(error))
    assert list(record.baselines) == ["majority class", "third"]
    assert record.baselines["third"] == 1.0
    assert record.baseline_errors == {"second": reason}
    assert notes == [f"baseline second failed: {reason}"]


def test_an_array_that_does_not_fit_into_memory_is_a_failure_with_its_size(record):
    score_with(record, lambda: np.empty((1 << 40, 1 << 10)))
    assert record.baseline_errors["second"].startswith("out of memory: Unable to allocate")


def test_a_score_that_is_not_finite_is_a_failure(record, monkeypatch):
    monkeypatch.setattr(classifiers, "label_scores", lambda *_: {"accuracy": float("nan")})
    score_with(record, LABELS)
    assert record.baselines == {}
    assert record.baseline_errors["second"] == "ValueError: the score accuracy is nan"


def test_ctrl_c_is_no_failure_of_a_baseline(record):
    with pytest.raises(KeyboardInterrupt):
        score_with(record, raising(KeyboardInterrupt()))


def test_a_task_whose_baselines_cannot_be_listed_has_none(record):
    task = types.SimpleNamespace(baseline=lambda data: 1 / 0)
    notes = []
    evaluation.score_baselines(task, base.Data("d", "", {}), record, notes.append)
    assert notes == ["all baselines failed: ZeroDivisionError: division by zero"]
    assert record.baseline_errors == {"all baselines": "ZeroDivisionError: division by zero"}


def test_baselines_are_computed_when_they_are_read_and_only_once():
    calls = []
    scores = BaselineScores(
        {"a": lambda: calls.append("a") or 1.0, "b": raising(MemoryError())},
        lambda value: {"accuracy": value},
    )
    assert (list(scores), len(scores), "b" in scores, "c" in scores) == (["a", "b"], 2, True, False)
    assert calls == []
    assert scores["a"] == scores["a"] == {"accuracy": 1.0}
    assert calls == ["a"]


def test_a_run_with_a_failed_baseline_is_complete_and_usable(tmp_path, fast, monkeypatch, capfd):
    monkeypatch.setattr(classification, "_predict_from_pixels", raising(MemoryError("no room")))
    output = io.StringIO()
    record, folder = experiment.run_experiment(
        "classification",
        SETTINGS,
        results_dir=tmp_path,
        display=progress.Display(Console(file=output, width=80)),
    )
    reason = "out of memory: no room"
    assert record.status == "ok"
    assert list(record.baselines) == ["majority class"]
    assert record.baseline_errors == {"logistic regression on pixels": reason}
    assert store.read_record(folder) == record
    table = " ".join(output.getvalue().split())
    assert f"baseline: logistic regression on pixels failed: {reason}" in table
    task, model, data = model_io.load_model(folder)
    image = np.zeros((8, 8, 1), "uint8")
    assert len(task.predict(model, [image], data)) == 1
    (row,) = store.load_run_rows(tmp_path)
    assert row["baseline_error/logistic regression on pixels"] == reason
    for arguments in (("table",), ("report",), ("compare", folder.name, folder.name)):
        assert runs.run_main(*arguments, "--results-dir", tmp_path) == 0
    printed = " ".join(capfd.readouterr().out.split())
    assert "majority class" in printed
    assert f"logistic regression on pixels failed: {reason}" in printed
    assert f"failed: {reason}" in (tmp_path / "report.html").read_text("utf-8")


def test_the_summary_of_runs_without_any_baseline_says_so(record):
    output = io.StringIO()
    record.status = "ok"
    record.headline = {"name": "accuracy", "value": 0.5, "higher_is_better": True}
    progress.Display(Console(file=output, width=80)).show_summary([record])
    assert "failed" in output.getvalue()


def test_weights_and_vocabulary_are_written_before_the_model_is_tested(tmp_path, fast, monkeypatch):
    seen = []

    def look(part, original):
        def call(*arguments, **options):
            (folder,) = store.list_run_folders(tmp_path)
            assert store.read_weights(folder)
            seen.append((part, store.read_record(folder).status))
            return original(*arguments, **options)

        return call

    for part in ("evaluate", "explain", "baseline"):
        original = getattr(classification.ClassificationTask, part)
        monkeypatch.setattr(classification.ClassificationTask, part, look(part, original))
    folder = runs.run_experiment("classification", SETTINGS, tmp_path)
    assert seen == [(part, "interrupted") for part in ("evaluate", "explain", "baseline")]
    assert store.read_record(folder).status == "ok"


def test_a_failure_in_the_metrics_keeps_the_weights_and_can_be_resumed(tmp_path, fast, monkeypatch):
    with monkeypatch.context() as patch:
        broken = raising(ZeroDivisionError("division by zero"))
        patch.setattr(classification.ClassificationTask, "evaluate", broken)
        with pytest.raises(ZeroDivisionError):
            runs.run_experiment("classification", SETTINGS, tmp_path)
    (folder,) = store.list_run_folders(tmp_path)
    record = store.read_record(folder)
    assert (record.status, record.error) == ("failed", "ZeroDivisionError: division by zero")
    assert "validation/loss" in record.metrics
    weights = store.read_weights(folder)
    model_io.load_model(folder)
    assert runs.resume_experiment(tmp_path) == folder
    assert store.read_record(folder).status == "ok"
    for name, array in store.read_weights(folder).items():
        np.testing.assert_array_equal(array, weights[name])


def test_a_failure_in_the_explanations_is_recorded(tmp_path, fast, monkeypatch):
    broken = raising(ZeroDivisionError("division by zero"))
    monkeypatch.setattr(classification.ClassificationTask, "explain", broken)
    folder = runs.run_experiment("classification", SETTINGS, tmp_path)
    record = store.read_record(folder)
    assert record.status == "ok"
    assert record.explanation_error == "ZeroDivisionError: division by zero"
    assert len(record.baselines) == 2


@pytest.mark.parametrize(
    ("part", "hint"),
    [
        ("load_data", "out of memory while reading the data. Try fewer examples: --limit."),
        ("loss", "out of memory in training. Try a smaller --batch-size."),
        ("evaluate", "out of memory while testing the model. Its weights are saved; .*--resume"),
    ],
)
def test_the_hint_fits_the_stage_that_ran_out_of_memory(part, hint, tmp_path, fast, monkeypatch):
    broken = raising(ResourceExhaustedError("OOM when allocating tensor"))
    monkeypatch.setattr(classification.ClassificationTask, part, broken)
    with pytest.raises(
        MemoryError, match=hint + r".* \(out of memory: OOM when allocating tensor\)"
    ):
        runs.run_experiment("classification", SETTINGS, tmp_path)
    (folder,) = store.list_run_folders(tmp_path)
    assert store.read_record(folder).error.startswith("out of memory ")


def test_running_out_of_memory_is_one_line_with_status_1(monkeypatch, capfd):
    monkeypatch.setattr(app, "requested_task", raising(MemoryError("no memory here.")))
    assert runs.run_main("list") == 1
    assert capfd.readouterr().err == "error: no memory here.\n"


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    assert not memory.is_out_of_memory(ValueError("4 features, the weights are for 3"))
    assert memory.is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert memory.is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating"))
