"""Baselines for tasks that assign one class per input."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..metrics.classification import label_scores
from .scores import BaselineScores, Rows


def score_baselines(
    train_labels: npt.ArrayLike,
    test_labels: npt.ArrayLike,
    predictions: Mapping[str, npt.ArrayLike | Callable[[], npt.ArrayLike]],
    rows: Callable[[], Rows] | None = None,
) -> BaselineScores:
    """Returns the test scores of the majority class and of other baselines.

    Args:
        train_labels: class indices of the training examples.
        test_labels: class indices of the test examples.
        predictions: predicted class indices of the test examples, or a function that returns
            them, by name of the baseline.
        rows: see `BaselineScores`.
    """
    labels = np.asarray(test_labels)

    def predict_majority() -> np.ndarray:
        return np.full(len(labels), np.bincount(np.asarray(train_labels)).argmax())

    outputs = {
        name: predicted if callable(predicted) else functools.partial(np.asarray, predicted)
        for name, predicted in {"majority class": predict_majority, **predictions}.items()
    }
    return BaselineScores(outputs, lambda predicted: label_scores(predicted, labels), rows)


def fit_and_predict(model: Any, train: Any, labels: npt.ArrayLike, test: Any) -> np.ndarray:
    """Fits a scikit-learn classifier and returns the classes that it predicts.

    Args:
        model: a classifier or a pipeline.
        train: the training inputs.
        labels: their class indices.
        test: the test inputs.
    """
    with _ignore_convergence_warnings():
        model.fit(train, labels)
    return model.predict(test)


@contextlib.contextmanager
def _ignore_convergence_warnings() -> Iterator[None]:
    """Silences scikit-learn's warning that a model stopped before its optimum."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
