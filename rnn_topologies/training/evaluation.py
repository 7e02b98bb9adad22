"""The test stage of a run: scores of the model, explained examples, and baselines."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from rnn_topologies.tasks import progress
from rnn_topologies.tasks.base import Data, Task
from rnn_topologies.tasks.baselines.scores import BaselineScores
from rnn_topologies.tasks.data.source import sample_indices

from ..runs.record import ALL_BASELINES, Record
from .baseline_cache import BaselineCache, DamagedError, is_enabled
from .memory import describe_error

MAX_EXPLAINED = 4  # number of correct test examples to explain, and of incorrect ones


def score_model(
    task: Task, model: keras.Model, data: Data, record: Record
) -> Sequence[Mapping[str, Any]]:
    """Adds the test scores of a model to the record of its run, and returns the test examples.

    Raises:
        ValueError: a score is not finite.
        Exception: whatever the task raises.
    """
    evaluation = task.evaluate(model, "test", data)
    _check_finite(evaluation.metrics)
    headline = task.dataset_spec.headline
    test = {f"test/{name}": value for name, value in evaluation.metrics.items()}
    record.headline = {
        "name": headline.name,
        "value": evaluation.metrics[headline.name],
        "higher_is_better": headline.higher_is_better,
        "meaning": headline.meaning,
    }
    record.metrics = {**record.metrics, **test}
    record.signatures = evaluation.signatures
    record.tables = evaluation.tables
    return evaluation.examples


def _check_finite(scores: Mapping[str, float]) -> None:
    for name, value in scores.items():
        if not math.isfinite(value):
            raise ValueError(f"the score {name} is {value}")


def explain_examples(
    task: Task,
    model: keras.Model,
    data: Data,
    examples: Sequence[Mapping[str, Any]],
    record: Record,
    note: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Returns explanations of a sample of test examples, correct and incorrect ones.

    If that fails, the list is empty and the record says why: no score depends on it.

    Args:
        task: the task of the run.
        model: its trained model.
        data: its data.
        examples: the test examples with outputs.
        record: the record to add to.
        note: called with one line if it fails.
    """
    test = data.splits["test"]
    indices = _choose_examples(examples[: len(test)])
    if not indices:
        return []
    try:
        with progress.part(f"explaining {len(indices)} examples"):
            raw_inputs = [task.raw_input(test[index]) for index in indices]
            explanations = task.explain(model, raw_inputs, data)
    except Exception as error:
        record.explanation_error = describe_error(error)
        note(f"explaining examples failed: {record.explanation_error}")
        return []
    return [
        {"index": index, **explanation}
        for index, explanation in zip(indices, explanations, strict=True)
    ]


def _choose_examples(examples: Sequence[Mapping[str, Any]]) -> list[int]:
    """Returns the indices of a sample of correct examples, then of incorrect ones."""
    chosen = []
    for is_right in (True, False):
        indices = [i for i, example in enumerate(examples) if bool(example["right"]) is is_right]
        chosen += [indices[n] for n in sample_indices(len(indices), MAX_EXPLAINED)]
    return chosen


def score_baselines(task: Task, data: Data, record: Record, note: Callable[[str], None]) -> None:
    """Adds the test scores of the baselines to a record, or the reasons why they failed.

    Failures of a baseline or of the cache do not fail the run.

    Args:
        task: the task of the run.
        data: its data.
        record: the record to add to.
        note: called with one line for each failure.
    """
    try:
        baselines = task.baseline(data)
    except Exception as error:
        baselines = {}
        _note_failure(ALL_BASELINES, error, record, note)
    cache = _open_cache(task, baselines, note)
    for name in baselines:
        try:
            with progress.part(f"baseline: {name}"):
                scores, is_cached = _read_or_compute(name, baselines, cache, note)
                headline = scores[task.dataset_spec.headline.name]
        except Exception as error:
            _note_failure(name, error, record, note)
            continue
        record.baseline_metrics = {**record.baseline_metrics, name: scores}
        record.baselines = {**record.baselines, name: headline}
        if is_cached:
            record.cached_baselines = [*record.cached_baselines, name]


def _open_cache(
    task: Task, baselines: Mapping[str, Mapping[str, float]], note: Callable[[str], None]
) -> BaselineCache | None:
    """Returns the cache of these baselines, or None if they cannot or should not be cached."""
    if not isinstance(baselines, BaselineScores) or baselines.rows is None or not is_enabled():
        return None
    try:
        return BaselineCache(task, baselines.rows())
    except Exception as error:
        note(f"baselines are not cached: {describe_error(error)}")
        return None


def _read_or_compute(
    name: str,
    baselines: Mapping[str, Mapping[str, float]],
    cache: BaselineCache | None,
    note: Callable[[str], None],
) -> tuple[dict[str, float], bool]:
    """Returns the scores of a baseline, and whether they were in the cache.

    Raises:
        Exception: the baseline failed.
    """
    if cache is None:
        return _compute(baselines, name), False
    with cache.lock(name):
        try:
            if (cached := cache.read(name)) is not None:
                return cached, True
        except DamagedError as error:
            note(f"{error}: recomputing the baseline")
        scores = _compute(baselines, name)
        try:
            cache.write(name, scores)
        except OSError as error:
            note(f"baseline {name} is not cached: {describe_error(error)}")
        return scores, False


def _compute(baselines: Mapping[str, Mapping[str, float]], name: str) -> dict[str, float]:
    scores = dict(baselines[name])
    _check_finite(scores)
    return scores


def _note_failure(name: str, error: Exception, record: Record, note: Callable[[str], None]) -> None:
    reason = describe_error(error)
    record.baseline_errors = {**record.baseline_errors, name: reason}
    note(f"{name if name == ALL_BASELINES else f'baseline {name}'} failed: {reason}")
