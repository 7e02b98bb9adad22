"""Scores of predicted classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import progress
from ..base import Evaluation

BINS = 15  # of the calibration error, as in Guo et al.


def softmax(logits: npt.ArrayLike) -> np.ndarray:
    """Returns probabilities along the last axis, in float64."""
    logits = np.asarray(logits, "float64")
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def label_scores(predicted: npt.ArrayLike, labels: npt.ArrayLike) -> dict[str, float]:
    """Returns accuracy and macro F1, both 0 to 1.

    Macro F1 is the unweighted mean over the classes that occur among labels or predictions, so
    rare classes count as much as frequent ones.

    Args:
        predicted, labels: class indices (examples,).
    """
    from sklearn import metrics

    # scikit-learn has no type hints: pyright takes the type of `zero_division` from its default.
    macro_f1 = metrics.f1_score(
        labels,
        predicted,
        average="macro",
        zero_division=0,  # pyright: ignore[reportArgumentType]
    )
    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "macro_f1": float(macro_f1),
    }


def class_scores(probabilities: np.ndarray, labels: npt.ArrayLike) -> dict[str, float]:
    """Returns the scores of `label_scores`, log loss and calibration error.

    `log_loss` is the mean of -log p(label), in nats. `calibration_error` is the expected
    calibration error, 0 to 1.

    Args:
        probabilities: (examples, classes).
        labels: class indices (examples,).
    """
    labels = np.asarray(labels)
    label_probabilities = probabilities[np.arange(len(labels)), labels]
    smallest = np.finfo("float64").tiny
    return {
        **label_scores(probabilities.argmax(-1), labels),
        "log_loss": float(-np.log(np.maximum(label_probabilities, smallest)).mean()),
        "calibration_error": calibration_error(probabilities, labels),
    }


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the expected calibration error: how far confidence is from accuracy, 0 to 1.

        sum over bins of  fraction of examples in it * |accuracy in it - mean confidence in it|

    with 15 bins of equal width over the probability of the predicted class.

    Reference: Guo, Pleiss, Sun and Weinberger, 2017, "On calibration of modern neural networks".
    """
    confidence = probabilities.max(-1)
    correct = probabilities.argmax(-1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, correct - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def confusion_table(
    predicted: npt.ArrayLike, labels: npt.ArrayLike, classes: Sequence[str]
) -> dict[str, Any]:
    """Returns the confusion matrix as JSON types: rows are true classes, columns predictions."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, predicted, labels=range(len(classes)))
    return {"classes": list(classes), "counts": counts.tolist()}


def evaluate_classes(
    probabilities: np.ndarray, labels: Sequence[int], names: Sequence[str], classes: Sequence[str]
) -> Evaluation:
    """Returns scores, confusion matrix and examples of a task that assigns one class per input.

    Args:
        probabilities: (examples, classes).
        labels: true class indices (examples,).
        names: name of each input, or the input itself if it is text.
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
    with progress.part("accuracy, macro F1, log loss, calibration"):
        scores = class_scores(probabilities, labels)
        confusion = confusion_table(predicted, labels, classes)
    return Evaluation(scores, examples, tables={"confusion": confusion})
