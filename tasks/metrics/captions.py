"""Scores of captions against several references each.

Captions are compared in lower case and without punctuation.
"""

import collections
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from .. import progress
from ..data.token_units import is_unspaced_letter
from .translation import reference_streams

NGram: TypeAlias = tuple[str, ...]

ORDERS = (1, 2, 3, 4)  # n-gram lengths
SIGMA = 6.0  # words: how much CIDEr-D tolerates a difference in length


def caption_words(caption: str) -> list[str]:
    """Returns the words of a caption, in lower case and without punctuation.

    Letters of scripts without spaces between words, such as Chinese, are words by themselves.
    """
    if not caption.isascii():
        caption = "".join(f" {c} " if is_unspaced_letter(c) else c for c in caption)
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?|'[^\W_]+", caption.lower())


def normalize_caption(caption: str) -> str:
    """Returns the words of a caption, separated by spaces."""
    return " ".join(caption_words(caption))


def caption_scores(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Returns BLEU-1 to BLEU-4 of the corpus (0 to 100), and mean CIDEr-D (0 to 10).

    Args:
        outputs: one caption per image.
        references: one or more captions per image.
    """
    scores = {}
    for order, metric in _bleu_metrics().items():
        with progress.part(f"bleu_{order}"):
            score = metric.corpus_score(*_sacrebleu_inputs(outputs, references)).score
        scores[f"bleu_{order}"] = score
    with progress.part("cider_d"):
        scores["cider_d"] = cider_d(outputs, references)
    return scores


def caption_signatures(references: Sequence[Sequence[str]]) -> dict[str, str]:
    """Returns sacreBLEU's own description of how each score is computed."""
    # A signature says whether all images have the same number of references: two images suffice.
    references = [min(references, key=len), max(references, key=len)]
    signatures = {}
    for order, metric in _bleu_metrics().items():
        # The number of references is known only after use.
        outputs = [captions[0] for captions in references]
        metric.corpus_score(*_sacrebleu_inputs(outputs, references))
        signatures[f"bleu_{order}"] = str(metric.get_signature())
    return signatures


def caption_bleu(order: int) -> BLEU:
    """Returns the metric for BLEU-`order`, which expects captions from `normalize_caption`."""
    return BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", force=True)


def _bleu_metrics() -> dict[int, BLEU]:
    return {order: caption_bleu(order) for order in ORDERS}


def _sacrebleu_inputs(
    outputs: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[Any]]]:
    """Returns outputs and references in the format of sacreBLEU."""
    normalized = [[normalize_caption(caption) for caption in captions] for captions in references]
    return [normalize_caption(output) for output in outputs], reference_streams(normalized)


def cider_d(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Returns the mean CIDEr-D of captions, 0 to 10.

        10 / 4 * sum over n of  mean over references of
            exp(-(difference of lengths)^2 / (2 * 6^2)) * clipped cosine of TF-IDF of n-grams

    The weight of an n-gram is log(images / images with it among their references), so n-grams
    that describe every image count for nothing. The clipped cosine limits the weight of an n-gram
    in the caption to its weight in the reference, so repeating a word does not help.

    Reference: Vedantam, Zitnick and Parikh, 2015, "CIDEr: consensus-based image description
    evaluation".
    """
    counts = [[_count_ngrams(caption_words(text)) for text in captions] for captions in references]
    images_with: collections.Counter[NGram] = collections.Counter()
    for captions in counts:
        images_with.update(set().union(*captions))
    log_images = math.log(len(references))
    scores = []
    for output, captions in zip(outputs, counts, strict=True):
        vector = _TfidfVectors(_count_ngrams(caption_words(output)), images_with, log_images)
        others = [_TfidfVectors(caption, images_with, log_images) for caption in captions]
        scores.append(np.mean([vector.similarity(other) for other in others]))
    return 10.0 * float(np.mean(scores))


def _count_ngrams(words: Sequence[str]) -> collections.Counter[NGram]:
    return collections.Counter(
        tuple(words[start : start + order])
        for order in ORDERS
        for start in range(len(words) - order + 1)
    )


class _TfidfVectors:
    """A caption as one TF-IDF vector per n-gram length.

    Args:
        counts: n-grams of the caption.
        images_with: number of images that have each n-gram among their references.
        log_images: logarithm of the number of images.
    """

    def __init__(
        self,
        counts: Mapping[NGram, int],
        images_with: collections.Counter[NGram],
        log_images: float,
    ):
        self.length = sum(count for ngram, count in counts.items() if len(ngram) == 1)
        self.vectors: dict[int, dict[NGram, float]] = {order: {} for order in ORDERS}
        for ngram, count in counts.items():
            weight = count * (log_images - math.log(max(1, images_with[ngram])))
            self.vectors[len(ngram)][ngram] = weight
        self.norms = {
            order: math.sqrt(sum(weight**2 for weight in vector.values()))
            for order, vector in self.vectors.items()
        }

    def similarity(self, reference: "_TfidfVectors") -> float:
        """Returns the CIDEr-D similarity to a reference, 0 to 1."""
        total = 0.0
        for order in ORDERS:
            ours, theirs = self.vectors[order], reference.vectors[order]
            dot = sum(
                min(weight, theirs[ngram]) * theirs[ngram]
                for ngram, weight in ours.items()
                if ngram in theirs
            )
            norm = self.norms[order] * reference.norms[order]
            total += dot / norm if norm else 0.0
        difference = self.length - reference.length
        return total / len(ORDERS) * math.exp(-(difference**2) / (2 * SIGMA**2))
