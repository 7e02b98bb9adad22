"""The test stage shows its progress, in log files of 80 columns and in terminals."""

import io
import re

import pytest
from rich.console import Console

from rnn_topologies.cli import parts, progress
from rnn_topologies.tasks import progress as tasks_progress
from rnn_topologies.tasks.metrics import bootstrap
from rnn_topologies.training import experiment

from ..support import runs, training
from ..support.small_data import small_data

LONG = "baseline: gradient boosting on frames -8 to +8"


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests can set."""
    now = [0.0]
    for module in (parts, progress):
        monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def display_on(**options):
    console = Console(file=io.StringIO(), width=80, highlight=False, **options)
    return progress.Display(console), console.file


def test_a_log_names_a_part_when_it_starts(clock):
    display, file = display_on()
    with display.stage("test"):
        with display.part("decoding 1,000 inputs"):
            assert file.getvalue() == "  decoding 1,000 inputs"
            clock[0] += 81.9
        with display.part("bleu"):
            assert file.getvalue() == "  decoding 1,000 inputs 81.9 s, bleu"
    assert file.getvalue() == "  decoding 1,000 inputs 81.9 s, bleu\ntest: 81.9 s\n"


def test_a_log_shows_how_much_of_a_long_part_is_done(clock):
    display, file = display_on()
    with display.stage("test"), display.part("decoding") as advance:
        for done in range(100):
            advance(done, 100)
            clock[0] += 0.7
        assert file.getvalue() == "  decoding 25% 50% 75%"
    display, file = display_on()
    with display.stage("test"), display.part("decoding") as advance:
        for done in range(100):
            advance(done, 100)
            clock[0] += 0.07
    assert file.getvalue().startswith("  decoding 7.0 s\n")


def test_lines_of_a_log_fit_into_80_columns(clock):
    display, file = display_on()
    with display.stage("test"):
        for number in range(20):
            with display.part(LONG[: 10 + 7 * number % 40]) as advance:
                for done in range(4):
                    clock[0] += 250.0
                    advance(done, 4)
        display.note("a note")
        with display.part("the last"):
            pass
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-3:] == ["a note", "  the last", f"test: {clock[0]:.1f} s"]


def test_a_failure_ends_the_line(clock):
    display, file = display_on()
    with pytest.raises(ZeroDivisionError), display.stage("test"), display.part("bleu"):
        raise ZeroDivisionError
    assert file.getvalue() == "  bleu\n"


def test_a_terminal_shows_the_current_part_and_keeps_the_long_ones(clock):
    display, file = display_on(force_terminal=True, color_system=None)
    with display.stage("test"):
        with display.part(f"{LONG} [1]") as advance:
            advance(320, 1000)
            assert str(display._status.status).startswith("test: baseline: gradient boosting")
            assert str(display._status.status).endswith("320/1,000 ...")
            clock[0] += 2
        with display.part("bleu"):
            pass
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    assert f"  {LONG} [1]: 2.0 s" in text
    assert "bleu: " not in text


def test_parts_within_a_part_are_not_shown():
    seen = []

    def show(text):
        seen.append(text)
        return tasks_progress.ignored(text)

    with tasks_progress.shown_by(show), tasks_progress.part("outer"), tasks_progress.part("inner"):
        pass
    with tasks_progress.part("nobody listens"):
        pass
    assert seen == ["outer"]


def test_a_test_stage_names_predictions_metrics_explanations_and_baselines(tmp_path):
    display, file = display_on()
    settings = {"limit": 60, "epochs": 1, "units": 4, "cell": "simple_rnn"}
    with small_data(), training.execution(eager=True):
        experiment.run_experiment("classification", settings, results_dir=tmp_path, display=display)
    output = file.getvalue()
    stage = output[output.index("epoch 1/1") : output.index("test: ")]
    for text in (
        "classifying 60 images",
        "accuracy, macro F1, log loss, calibration",
        "explaining ",
        "baseline: majority class",
        "baseline: logistic regression on pixels",
    ):
        assert text in stage
    assert max(map(len, stage.splitlines())) <= 80


def test_the_bootstrap_reports_its_progress():
    seen = []

    def show(text):
        seen.append(text)
        return tasks_progress.contextlib.nullcontext(lambda *counts: seen.append(counts))

    scores = bootstrap.mean_parts([1, 0, 1])
    with tasks_progress.shown_by(show):
        bootstrap.paired_bootstrap_interval(scores, scores, resamples=3)
    assert seen == ["bootstrap", (1, 3), (2, 3), (3, 3)]


def test_a_display_without_parts_is_silent():
    display = runs.silent_display()
    with display.stage("test"):
        pass
    assert display.console.file.getvalue().count("\n") == 1
