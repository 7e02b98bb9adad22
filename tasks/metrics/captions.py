"""Scores of captions against several references each.

Captions are compared in lower case, as words without punctuation.
"""

import collections
import math
import re
from collections.abc import Sequence

import numpy as np

ORDERS = (1, 2, 3, 4)  # lengths of the n-grams
SIGMA = 6.0  # words of difference in length that CIDEr-D forgives


def words(caption: str) -> list[str]:
    """Returns the words of a caption, in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?|'[^\W_]+", caption.lower())


def plain(caption: str) -> str:
    """Returns the words of a caption with spaces between them."""
    return " ".join(words(caption))


def caption_scores(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Returns BLEU-1 to BLEU-4, 0 to 100, and CIDEr-D, 0 to 10, of the whole corpus.

    Args:
        outputs: one caption an image.
        references: one or more captions an image.
    """
    found = {
        f"bleu_{order}": metric.corpus_score(*_streams(outputs, references)).score
        for order, metric in _metrics().items()
    }
    return {**found, "cider_d": cider_d(outputs, references)}


def signatures(references: Sequence[Sequence[str]]) -> dict[str, str]:
    """Returns sacreBLEU's own description of how each figure is computed."""
    found = {}
    for order, metric in _metrics().items():
        # A signature knows how many references there are only after use.
        metric.corpus_score(*_streams([captions[0] for captions in references], references))
        found[f"bleu_{order}"] = str(metric.get_signature())
    return found


def bleu(order: int):
    """Returns the metric of BLEU-`order`, for captions made `plain`."""
    from sacrebleu.metrics import BLEU

    return BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", force=True)


def _metrics() -> dict:
    return {order: bleu(order) for order in ORDERS}


def _streams(outputs, references):
    """Returns outputs and references as sacreBLEU takes them: a list for each reference."""
    known = [[plain(caption) for caption in captions] for captions in references]
    most = max(map(len, known))
    streams = [
        [captions[number] if number < len(captions) else None for captions in known]
        for number in range(most)
    ]
    return [plain(output) for output in outputs], streams


def cider_d(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Returns the mean CIDEr-D of captions, 0 to 10.

        10 / 4 * sum over n of  mean over references of
            exp(-(difference of lengths)^2 / (2 * 6^2)) * clipped cosine of TF-IDF of n-grams

    An n-gram weighs log(images / images with it among their references): what is said of every
    image counts for nothing. In the clipped cosine a caption's weight counts up to that of the
    reference, so that saying a word often gains nothing.

    Reference: Vedantam, Zitnick and Parikh, 2015, "CIDEr: consensus-based image description
    evaluation".
    """
    counted = [[_grams(words(caption)) for caption in captions] for captions in references]
    with_gram = collections.Counter()
    for captions in counted:
        with_gram.update(set().union(*captions))
    images = math.log(len(references))
    scores = []
    for output, captions in zip(outputs, counted, strict=True):
        ours = _Weighted(_grams(words(output)), with_gram, images)
        theirs = [_Weighted(caption, with_gram, images) for caption in captions]
        scores.append(np.mean([ours.likeness(caption) for caption in theirs]))
    return 10.0 * float(np.mean(scores))


def _grams(caption: Sequence[str]) -> collections.Counter:
    return collections.Counter(
        tuple(caption[start : start + order])
        for order in ORDERS
        for start in range(len(caption) - order + 1)
    )


class _Weighted:
    """A caption as a TF-IDF vector for each length of n-grams."""

    def __init__(self, counts, with_gram, images: float):
        self.length = sum(count for gram, count in counts.items() if len(gram) == 1)
        self.vectors = {order: {} for order in ORDERS}
        for gram, count in counts.items():
            weight = count * (images - math.log(max(1, with_gram[gram])))
            self.vectors[len(gram)][gram] = weight
        self.norms = {
            order: math.sqrt(sum(weight**2 for weight in vector.values()))
            for order, vector in self.vectors.items()
        }

    def likeness(self, other: "_Weighted") -> float:
        total = 0.0
        for order in ORDERS:
            ours, theirs = self.vectors[order], other.vectors[order]
            shared = sum(
                min(weight, theirs[gram]) * theirs[gram]
                for gram, weight in ours.items()
                if gram in theirs
            )
            norm = self.norms[order] * other.norms[order]
            total += shared / norm if norm else 0.0
        return total / len(ORDERS) * math.exp(-((self.length - other.length) ** 2) / (2 * SIGMA**2))
