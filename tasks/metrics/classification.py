"""Scores of predicted classes."""

import contextlib
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from ..base import Evaluation

BINS = 15  # of the calibration error, as in Guo et al.


def softmax(logits) -> np.ndarray:
    """Returns probabilities, float64, along the last axis."""
    logits = np.asarray(logits, "float64")
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def label_scores(predicted: Sequence[int], labels: Sequence[int]) -> dict[str, float]:
    """Returns accuracy and macro F1, both 0 to 1.

    Macro F1 is the plain mean over the classes that occur among labels or predictions, so that
    a rare class counts as much as a frequent one.
    """
    from sklearn import metrics

    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "macro_f1": float(metrics.f1_score(labels, predicted, average="macro", zero_division=0)),
    }


def class_scores(probabilities: np.ndarray, labels: Sequence[int]) -> dict[str, float]:
    """Returns what `label_scores` returns, and how good the probabilities are.

    `log_loss` is the mean of -log p(label) in nats. `calibration_error` is the expected
    calibration error, 0 to 1.

    Args:
        probabilities: (examples, classes).
        labels: (examples,).
    """
    labels = np.asarray(labels)
    chosen = probabilities[np.arange(len(labels)), labels]
    return {
        **label_scores(probabilities.argmax(-1), labels),
        "log_loss": float(-np.log(np.maximum(chosen, np.finfo("float64").tiny)).mean()),
        "calibration_error": calibration_error(probabilities, labels),
    }


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns by how much confidence and accuracy differ, 0 to 1.

        sum over bins of  share of examples in it * |accuracy in it - mean confidence in it|

    with 15 bins of equal width over the probability of the predicted class.

    Reference: Guo, Pleiss, Sun and Weinberger, 2017, "On calibration of modern neural networks".
    """
    confidence = probabilities.max(-1)
    right = probabilities.argmax(-1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def confusion(predicted: Sequence[int], labels: Sequence[int], classes: Sequence[str]) -> dict:
    """Returns how often each class (row) was taken for each (column)."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, predicted, labels=range(len(classes)))
    return {"classes": list(classes), "counts": counts.tolist()}


def evaluation(
    probabilities: np.ndarray, labels: Sequence[int], names: Sequence[str], classes: Sequence[str]
) -> Evaluation:
    """Returns scores, confusion matrix and examples of a task that gives each input one class.

    Args:
        probabilities: (examples, classes).
        labels: the true classes.
        names: what each input is called, or the input itself if it is text.
        classes: names of the classes.
    """
    predicted = probabilities.argmax(-1)
    examples = [
        {
            "source": name,
            "output": classes[guess],
            "target": classes[label],
            "right": bool(guess == label),
            "probability": round(float(row[guess]), 4),
        }
        for name, guess, label, row in zip(names, predicted, labels, probabilities, strict=True)
    ]
    return Evaluation(
        class_scores(probabilities, labels),
        examples,
        tables={"confusion": confusion(predicted, labels, classes)},
    )


def baselines(
    train_labels: Sequence[int], labels: Sequence[int], guesses: Mapping[str, Sequence[int]]
) -> dict[str, dict[str, float]]:
    """Returns the scores of the most frequent training class, and of other guesses."""
    most = np.bincount(train_labels).argmax()
    all_guesses = {"majority class": np.full(len(labels), most), **guesses}
    return {name: label_scores(predicted, labels) for name, predicted in all_guesses.items()}


@contextlib.contextmanager
def unconverged():
    """Silences scikit-learn's note that an opponent stopped before its optimum."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
