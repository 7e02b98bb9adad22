"""Scores of written text against references."""

from collections.abc import Sequence

import sacrebleu


def exact_match(outputs: Sequence[str], references: Sequence[str]) -> float:
    """Returns the fraction of outputs equal to their reference, 0 to 1."""
    equal = [output == reference for output, reference in zip(outputs, references, strict=True)]
    return sum(equal) / len(equal)


def translation_scores(outputs: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Returns exact match (0 to 1), and BLEU, the same without case, and chrF (0 to 100).

    BLEU and chrF are sacreBLEU's, of the whole corpus, not means over sentences.
    """
    return {
        "exact_match": exact_match(outputs, references),
        **{
            name: metric.corpus_score(outputs, [references]).score
            for name, metric in _metrics().items()
        },
    }


def signatures() -> dict[str, str]:
    """Returns sacreBLEU's own description of how each figure is computed."""
    found = {}
    for name, metric in _metrics().items():
        metric.corpus_score(["-"], [["-"]])  # a signature knows its references only after use
        found[name] = str(metric.get_signature())
    return found


def bleu() -> sacrebleu.metrics.BLEU:
    """Returns the metric of the figure `bleu`."""
    return sacrebleu.metrics.BLEU()


def _metrics() -> dict:
    return {
        "bleu": bleu(),
        "bleu_lowercase": sacrebleu.metrics.BLEU(lowercase=True),
        "chrf": sacrebleu.metrics.CHRF(),
    }
