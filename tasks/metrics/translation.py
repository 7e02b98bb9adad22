"""Scores of generated text against references."""

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF


def exact_match(outputs: Sequence[str], references: Sequence[str]) -> float:
    """Returns the fraction of outputs that equal their reference, 0 to 1."""
    equal = [output == reference for output, reference in zip(outputs, references, strict=True)]
    return sum(equal) / len(equal)


def translation_scores(outputs: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Returns exact match (0 to 1), and BLEU, lowercased BLEU and chrF (0 to 100).

    BLEU and chrF are sacreBLEU's corpus scores, not means over sentences.
    """
    return {
        "exact_match": exact_match(outputs, references),
        **{
            name: metric.corpus_score(outputs, [references]).score
            for name, metric in _sacrebleu_metrics().items()
        },
    }


def translation_signatures() -> dict[str, str]:
    """Returns sacreBLEU's own description of how each score is computed."""
    signatures = {}
    for name, metric in _sacrebleu_metrics().items():
        # A signature contains the number of references, which is known only after use.
        metric.corpus_score(["-"], [["-"]])
        signatures[name] = str(metric.get_signature())
    return signatures


def translation_bleu() -> BLEU:
    """Returns the metric of the score `bleu`."""
    return BLEU()


def _sacrebleu_metrics() -> dict[str, Any]:
    return {
        "bleu": translation_bleu(),
        "bleu_lowercase": BLEU(lowercase=True),
        "chrf": CHRF(),
    }
