"""Baselines for tasks that assign one class per input."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from ..metrics.classification import label_scores


def score_baselines(
    train_labels: npt.ArrayLike,
    test_labels: npt.ArrayLike,
    predictions: Mapping[str, npt.ArrayLike],
) -> dict[str, dict[str, float]]:
    """Returns the test scores of the majority class and of other baselines.

    Args:
        train_labels: class indices of the training examples.
        test_labels: class indices of the test examples.
        predictions: predicted class indices of the test examples, by name of the baseline.
    """
    labels = np.asarray(test_labels)
    majority = np.bincount(np.asarray(train_labels)).argmax()
    return {
        name: label_scores(predicted, labels)
        for name, predicted in {
            "majority class": np.full(len(labels), majority),
            **predictions,
        }.items()
    }


@contextlib.contextmanager
def ignore_convergence_warnings() -> Iterator[None]:
    """Silences scikit-learn's warning that a model stopped before its optimum."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
