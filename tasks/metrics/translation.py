"""Scores of generated text against references."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from .. import progress
from ..data.token_units import is_unspaced, is_unspaced_letter

References = Sequence[str] | Sequence[Sequence[str]]  # one or more for each output


def exact_match(outputs: Sequence[str], references: References) -> float:
    """Returns the fraction of outputs that equal one of their references, 0 to 1."""
    pairs = zip(outputs, _list_references(references), strict=True)
    return sum(output in texts for output, texts in pairs) / len(outputs)


def translation_scores(outputs: Sequence[str], references: References) -> dict[str, float]:
    """Returns exact match (0 to 1), and BLEU, lowercased BLEU and chrF (0 to 100).

    BLEU and chrF are sacreBLEU's corpus scores, not means over sentences. BLEU uses character
    n-grams if the references have no spaces between words.

    Args:
        outputs: one text per source.
        references: one or more texts per source.
    """
    listed = _list_references(references)
    streams = reference_streams(listed)
    scores = {"exact_match": exact_match(outputs, references)}
    for name, metric in _sacrebleu_metrics(listed).items():
        with progress.part(name):
            scores[name] = metric.corpus_score(outputs, streams).score
    return scores


def translation_signatures(references: References = ("-",)) -> dict[str, str]:
    """Returns sacreBLEU's own description of how each score is computed.

    Args:
        references: one or more texts per source; a signature contains their number.
    """
    listed = _list_references(references)
    metrics = _sacrebleu_metrics(listed)
    # A signature says whether all texts have the same number of references: two texts suffice.
    listed = [min(listed, key=len), max(listed, key=len)]
    signatures = {}
    for name, metric in metrics.items():
        # The number of references is known only after use.
        metric.corpus_score([texts[0] for texts in listed], reference_streams(listed))
        signatures[name] = str(metric.get_signature())
    return signatures


def _list_references(references: References) -> list[Sequence[str]]:
    return [[texts] if isinstance(texts, str) else texts for texts in references]


def reference_streams(references: Sequence[Sequence[str]]) -> list[list[Any]]:
    """Returns references in the format of sacreBLEU.

    The k-th list has the k-th reference of every text, or None if it has fewer.

    Args:
        references: one or more texts per output.
    """
    most = max(map(len, references))
    return [
        [texts[number] if number < len(texts) else None for texts in references]
        for number in range(most)
    ]


def translation_bleu(references: Sequence[Sequence[str]] = ()) -> BLEU:
    """Returns the metric of the score `bleu`, with a tokenizer for the script of the references.

    Args:
        references: one or more texts per output.
    """
    return BLEU(tokenize=_find_tokenizer(references))


def _sacrebleu_metrics(references: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {
        "bleu": translation_bleu(references),
        "bleu_lowercase": BLEU(lowercase=True, tokenize=_find_tokenizer(references)),
        "chrf": CHRF(),
    }


def _find_tokenizer(references: Sequence[Sequence[str]]) -> str:
    """Returns the name of sacreBLEU's tokenizer for the script of the references.

    The default splits at spaces and punctuation: a Chinese sentence would be a single word.
    """
    texts = [text for listed in references for text in listed]
    if not is_unspaced(texts):
        return BLEU.TOKENIZER_DEFAULT
    letters = filter(is_unspaced_letter, set().union(*texts))
    is_chinese = all(unicodedata.name(letter).startswith("CJK") for letter in letters)
    return "zh" if is_chinese else "char"
