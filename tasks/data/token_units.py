"""The default choice of what texts are split into: words or characters."""

import collections
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from .vocabulary import TokenUnit

TokenSetting: TypeAlias = Literal["auto", "characters", "byte_pairs", "words"]
SAMPLED_TEXTS = 10_000  # more would take long and change little
# Share of words that also occur in another text. Captions reach 0.79 with only 50 texts; names,
# which do best with characters, reach 0.60 with 7,000.
SHARED_WORDS = 2 / 3
# Prefixes of the Unicode names of letters in scripts without spaces between words.
UNSPACED_SCRIPTS = re.compile(
    "CJK|HIRAGANA|KATAKANA|HALFWIDTH KATAKANA|BOPOMOFO|YI SYLLABLE|THAI|LAO|KHMER|MYANMAR|TIBETAN"
    "|JAVANESE|BALINESE|TAI"
)


class TokenChoice(NamedTuple):
    """What texts are split into, and why."""

    unit: TokenUnit
    reason: str


def choose_token_unit(setting: TokenSetting, texts: Sequence[str]) -> TokenChoice:
    """Returns the configured unit, or with `auto` one that suits the training texts.

    `auto` chooses characters if most letters belong to a script without spaces, such as Chinese or
    Thai; if most texts are a single word; or if less than two thirds of the words also occur in
    another text, since the others would be unknown. Otherwise it chooses words.

    Args:
        setting: the setting of the user.
        texts: the training texts.
    """
    if setting != "auto":
        return TokenChoice(setting, "as set")
    texts = texts[:: -(-len(texts) // SAMPLED_TEXTS)]
    if is_unspaced(texts):
        return TokenChoice("characters", "auto: the script has no spaces between words")
    words = [split_words(text) for text in texts]
    if sum(len(words_of_text) <= 1 for words_of_text in words) > len(texts) / 2:
        return TokenChoice("characters", "auto: most texts are a single word")
    counts = collections.Counter(word for words_of_text in words for word in set(words_of_text))
    total = sum(map(len, words))
    shared = sum(counts[word] > 1 for words_of_text in words for word in words_of_text) / total
    unit: TokenUnit = "words" if shared >= SHARED_WORDS else "characters"
    return TokenChoice(unit, f"auto: {shared:.0%} of the words also occur in another text")


def split_words(text: str) -> list[str]:
    """Returns the words of a text, split as by a vocabulary of words, without punctuation."""
    from tokenizers import pre_tokenizers

    parts = pre_tokenizers.Whitespace().pre_tokenize_str(unicodedata.normalize("NFC", text).lower())
    return [part for part, _ in parts if any(map(str.isalnum, part))]


def is_unspaced_letter(character: str) -> bool:
    """Whether a character is a letter of a script without spaces between words."""
    name = unicodedata.name(character, "")
    return character.isalpha() and UNSPACED_SCRIPTS.match(name) is not None


def is_unspaced(texts: Iterable[str]) -> bool:
    """Whether most letters in the texts belong to scripts without spaces between words."""
    counts = collections.Counter(character for text in texts for character in text)
    letters = {letter: count for letter, count in counts.items() if letter.isalpha()}
    unspaced = sum(count for letter, count in letters.items() if is_unspaced_letter(letter))
    return unspaced > sum(letters.values()) / 2
