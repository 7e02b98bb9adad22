"""Scores of generated text against references."""

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

References = Sequence[str] | Sequence[Sequence[str]]  # one or more for each output


def exact_match(outputs: Sequence[str], references: References) -> float:
    """Returns the fraction of outputs that equal a reference of theirs, 0 to 1."""
    pairs = zip(outputs, _list_references(references), strict=True)
    return sum(output in texts for output, texts in pairs) / len(outputs)


def translation_scores(outputs: Sequence[str], references: References) -> dict[str, float]:
    """Returns exact match (0 to 1), and BLEU, lowercased BLEU and chrF (0 to 100).

    BLEU and chrF are sacreBLEU's corpus scores, not means over sentences.

    Args:
        outputs: one text per source.
        references: one or more texts per source.
    """
    streams = reference_streams(_list_references(references))
    return {
        "exact_match": exact_match(outputs, references),
        **{
            name: metric.corpus_score(outputs, streams).score
            for name, metric in _sacrebleu_metrics().items()
        },
    }


def translation_signatures(references: References = ("-",)) -> dict[str, str]:
    """Returns sacreBLEU's own description of how each score is computed.

    Args:
        references: one or more texts per source; a signature contains their number.
    """
    signatures, listed = {}, _list_references(references)
    for name, metric in _sacrebleu_metrics().items():
        # The number of references is known only after use.
        metric.corpus_score([texts[0] for texts in listed], reference_streams(listed))
        signatures[name] = str(metric.get_signature())
    return signatures


def _list_references(references: References) -> list[Sequence[str]]:
    return [[texts] if isinstance(texts, str) else texts for texts in references]


def reference_streams(references: Sequence[Sequence[str]]) -> list[list[Any]]:
    """Returns references in the format of sacreBLEU.

    That is one list for each number of a reference, with None where a text has fewer.

    Args:
        references: one or more texts per output.
    """
    most = max(map(len, references))
    return [
        [texts[number] if number < len(texts) else None for texts in references]
        for number in range(most)
    ]


def translation_bleu() -> BLEU:
    """Returns the metric of the score `bleu`."""
    return BLEU()


def _sacrebleu_metrics() -> dict[str, Any]:
    return {
        "bleu": translation_bleu(),
        "bleu_lowercase": BLEU(lowercase=True),
        "chrf": CHRF(),
    }
