"""The paired bootstrap over test examples: confidence intervals for differences of scores."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import progress

CHUNK = 1 << 22  # counts sampled at once, to bound memory use with many test examples


class ScoreParts(NamedTuple):
    """A score as a function of a sum over examples, so that it can be resampled quickly.

    Attributes:
        rows: (examples, n), the contribution of each example.
        score: `(sum of rows) -> float`, the score of the summed examples.
    """

    rows: np.ndarray
    score: Callable[[np.ndarray], float]


def mean_parts(values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> ScoreParts:
    """Returns the parts of a mean: the sum of values over the sum of weights.

    Args:
        values: (examples,), such as the number of correct frames of each clip.
        weights: (examples,), such as the number of frames of each clip; None weighs all 1.
    """
    values = np.asarray(values, "float64")
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, "float64")
    return ScoreParts(np.stack([values, weights], axis=1), lambda total: total[0] / total[1])


def bleu_parts(
    metric: Any, outputs: Sequence[str], references: Sequence[Sequence[str]]
) -> ScoreParts:
    """Returns the parts of sacreBLEU's corpus score.

    Args:
        metric: a `sacrebleu.metrics.BLEU`.
        outputs: one text per example.
        references: one or more texts per example.
    """
    order = metric.max_ngram_order
    # Used only for its n-gram counts, whose sums over sentences are those of the corpus.
    sentence_metric = type(metric)(
        lowercase=metric.lowercase,
        tokenize=metric.tokenizer.signature(),
        max_ngram_order=order,
        effective_order=True,
    )
    with progress.part("counting n-grams"):
        scores = [
            sentence_metric.sentence_score(output, list(texts))
            for output, texts in zip(outputs, references, strict=True)
        ]
    rows = [[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores]

    def score(total: np.ndarray) -> float:
        return metric.compute_bleu(
            correct=[int(count) for count in total[:order]],
            total=[int(count) for count in total[order : 2 * order]],
            sys_len=int(total[-2]),
            ref_len=int(total[-1]),
            smooth_method=metric.smooth_method,
            smooth_value=metric.smooth_value,
            max_ngram_order=order,
        ).score

    return ScoreParts(np.array(rows, "float64"), score)


def macro_f1_parts(
    labels: Sequence[Sequence[int]], predicted: Sequence[Sequence[int]], classes: int
) -> ScoreParts:
    """Returns the parts of the macro F1 over steps, where each example is a sequence of labels.

    The mean is over the classes that occur among labels or predictions.

    Args:
        labels, predicted: one sequence of class indices per example.
        classes: number of classes.
    """
    rows = np.zeros((len(labels), classes, classes))
    for counts, truth, guess in zip(rows, labels, predicted, strict=True):
        np.add.at(counts, (np.asarray(truth), np.asarray(guess)), 1)

    def score(total: np.ndarray) -> float:
        counts = total.reshape(classes, classes)
        support = counts.sum(axis=0) + counts.sum(axis=1)
        occurs = support > 0
        return float((2 * np.diag(counts)[occurs] / support[occurs]).mean())

    return ScoreParts(rows.reshape(len(labels), -1), score)


def paired_bootstrap_interval(
    first: ScoreParts, second: ScoreParts, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Returns the 95 % interval of score(first) - score(second) under the paired bootstrap.

    Both are scored on the same resamples of the test examples, drawn with replacement. The
    interval is between the 2.5th and 97.5th percentile. It accounts for the choice of test
    examples, not for the choice of seeds.

    Raises:
        ValueError: the scores are not over the same number of examples.

    References: Efron and Tibshirani, 1993, "An introduction to the bootstrap"; Koehn, 2004,
    "Statistical significance tests for machine translation evaluation".
    """
    count = len(first.rows)
    if count != len(second.rows):
        raise ValueError(
            f"Paired scores need the same test examples, got {count} and {len(second.rows)}."
        )
    random = np.random.default_rng(seed)
    differences: list[float] = []
    with progress.part("bootstrap") as advance:
        while len(differences) < resamples:
            size = min(max(1, CHUNK // count), resamples - len(differences))
            weights = random.multinomial(count, np.full(count, 1 / count), size=size)
            for a, b in zip(weights @ first.rows, weights @ second.rows, strict=True):
                differences.append(first.score(a) - second.score(b))
                advance(len(differences), resamples)
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)
