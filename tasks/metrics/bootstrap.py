"""By how much a score may differ by chance: the paired bootstrap over test examples."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

CHUNK = 1 << 22  # counts drawn at once: a bootstrap of many examples shall not fill the memory


class Parts(NamedTuple):
    """A score taken apart by examples.

    Attributes:
        rows: (examples, n), what each example adds.
        score: `(sum of rows) -> float`, the score of them all.
    """

    rows: np.ndarray
    score: Callable[[np.ndarray], float]


def mean_of(values, weights=None) -> Parts:
    """Returns the parts of a mean: of values, or of sums of values over sums of weights."""
    values = np.asarray(values, "float64")
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, "float64")
    return Parts(np.stack([values, weights], axis=1), lambda total: total[0] / total[1])


def bleu(metric, outputs, references) -> Parts:
    """Returns the parts of sacreBLEU's corpus score.

    Args:
        metric: a `sacrebleu.metrics.BLEU`.
        outputs: one text an example.
        references: one or more texts an example.
    """
    order = metric.max_ngram_order
    # Only its counts are taken: their sums over examples are those of the corpus.
    single = type(metric)(
        lowercase=metric.lowercase,
        tokenize=metric.tokenizer.signature(),
        max_ngram_order=order,
        effective_order=True,
    )
    found = [single.sentence_score(o, list(r)) for o, r in zip(outputs, references, strict=True)]
    rows = [[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in found]

    def score(total):
        return metric.compute_bleu(
            correct=[int(count) for count in total[:order]],
            total=[int(count) for count in total[order : 2 * order]],
            sys_len=int(total[-2]),
            ref_len=int(total[-1]),
            smooth_method=metric.smooth_method,
            smooth_value=metric.smooth_value,
            max_ngram_order=order,
        ).score

    return Parts(np.array(rows, "float64"), score)


def macro_f1(labels, predicted, classes: int) -> Parts:
    """Returns the parts of the macro F1 of steps, each example a sequence of labels.

    The mean is over the classes that occur among labels or predictions.
    """
    rows = np.zeros((len(labels), classes, classes))
    for counts, truth, guess in zip(rows, labels, predicted, strict=True):
        np.add.at(counts, (np.asarray(truth), np.asarray(guess)), 1)

    def score(total):
        counts = total.reshape(classes, classes)
        both = counts.sum(axis=0) + counts.sum(axis=1)
        occurs = both > 0
        return float((2 * np.diag(counts)[occurs] / both[occurs]).mean())

    return Parts(rows.reshape(len(labels), -1), score)


def difference(
    first: Parts, second: Parts, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Returns the 95 % interval of score(first) - score(second) under the paired bootstrap.

    Both are scored on the same draws of test examples, with putting back. The interval is that
    of the 2.5th and 97.5th percentile: it holds what may come of other test examples, not of
    other seeds.

    Raises:
        ValueError: the scores are not of equally many examples.

    References: Efron and Tibshirani, 1993, "An introduction to the bootstrap"; Koehn, 2004,
    "Statistical significance tests for machine translation evaluation".
    """
    count = len(first.rows)
    if count != len(second.rows):
        raise ValueError(f"Paired scores need the same examples: {count} and {len(second.rows)}.")
    random = np.random.default_rng(seed)
    differences = []
    while len(differences) < resamples:
        size = min(max(1, CHUNK // count), resamples - len(differences))
        drawn = random.multinomial(count, np.full(count, 1 / count), size=size)
        for one, other in zip(drawn @ first.rows, drawn @ second.rows, strict=True):
            differences.append(first.score(one) - second.score(other))
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)
