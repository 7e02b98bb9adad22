"""Tokenization with the `tokenizers` library: from text to token ids and back.

Text is cut into characters, byte pairs or words. A token id is a row of the vocabulary; the first
three rows are special tokens that pad, start and end a sequence.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from ..errors import UserError

PAD, START, END = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "<start>", "<end>")
UNKNOWN = "<unknown>"
LosslessUnit: TypeAlias = Literal["characters", "byte_pairs"]  # decoding restores any text exactly
TokenUnit: TypeAlias = Literal["characters", "byte_pairs", "words"]


class Vocabulary:
    """A tokenizer whose first three tokens pad, start and end a sequence.

    With characters and byte pairs, `decode(encode(text))` returns any text unchanged: characters
    that are not in the vocabulary are encoded as bytes. With words, the text comes back in lower
    case, with `<unknown>` in place of rare words and a space between any two words.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    @property
    def is_of_words(self) -> bool:
        """Whether the tokens are words, so that decoded tokens are separated by spaces."""
        return type(self._tokenizer.model).__name__ == "WordLevel"

    def find_problem(self, text: object) -> str | None:
        """Returns why a model cannot process a text, or None if it can."""
        if not isinstance(text, str):
            return f"Expected a text, got {text!r}."
        if not text.strip():
            return "The text is empty."
        if any("\ud800" <= character <= "\udfff" for character in text):
            return f"{text!a} is not valid Unicode: it has half of a surrogate pair."
        if not self.is_known(self.encode([text])[0]):
            unit = "words" if self.is_of_words else "characters"
            return f"The model knows none of the {unit} in {text!r}."
        return None

    def is_known(self, tokens: Sequence[int]) -> bool:
        """Whether any of the tokens may have occurred in the training texts.

        False if all words are unknown, or all characters are encoded as bytes.
        """
        return not self.unknown_tokens().issuperset(tokens)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of each text, without start and end tokens."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def decode(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """Returns the text of each sequence of token ids, up to its end token."""
        kept = []
        for tokens in sequences:
            tokens = [int(token) for token in tokens]
            tokens = tokens[: tokens.index(END)] if END in tokens else tokens
            kept.append([token for token in tokens if token >= len(SPECIAL_TOKENS)])
        return self._tokenizer.decode_batch(kept, skip_special_tokens=False)

    def token_texts(self, tokens: Iterable[int]) -> list[str]:
        """Returns the text of each single token, for axis labels of plots."""
        return [self.decode([[token]])[0] or SPECIAL_TOKENS[min(token, END)] for token in tokens]

    def unknown_tokens(self) -> set[int]:
        """Returns the tokens for text that did not occur in the training texts.

        For words this is one token, for characters the 256 bytes; byte pairs have none.
        """
        if self.is_of_words:
            return {self._tokenizer.token_to_id(UNKNOWN)}
        if self._tokenizer.model.byte_fallback:
            return set(range(len(SPECIAL_TOKENS), len(SPECIAL_TOKENS) + 256))
        return set()

    def to_json(self) -> str:
        """Returns the vocabulary as JSON, for `from_json`."""
        return self._tokenizer.to_str()

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """Returns the vocabulary that `to_json` wrote.

        Raises:
            UserError: the text is not a valid vocabulary.
        """
        import tokenizers

        try:
            _check_components(json.loads(text))
            tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exception
            raise UserError(f"This is not a vocabulary: {error}") from error
        return cls(_treat_special_tokens_as_text(tokenizer))


# The components that vocabularies of this module are made of. Vocabulary files are untrusted input,
# and the library supports more, such as regular expressions that can take exponential time.
ALLOWED_COMPONENTS = {
    "model": {"BPE", "WordLevel"},
    "normalizer": {None, "Sequence", "NFC", "Lowercase"},
    "pre_tokenizer": {None, "ByteLevel", "Whitespace"},
    "decoder": {None, "Sequence", "ByteFallback", "Fuse", "ByteLevel"},
    "post_processor": {None},
    "truncation": {None},
    "padding": {None},
}


def _check_components(fields: Any) -> None:
    if not isinstance(fields, dict):
        raise ValueError("expected a JSON object")
    for name, allowed in ALLOWED_COMPONENTS.items():
        component = fields.get(name)
        inner = (component or {}).get("normalizers", []) + (component or {}).get("decoders", [])
        for part in (component, *inner):
            kind = None if part is None else part["type"]
            if kind not in allowed:
                raise ValueError(f"{name} of type {kind} is not supported")


def _treat_special_tokens_as_text(tokenizer: Any) -> Any:
    # If a text contains "<end>", those are five characters, not the end token.
    tokenizer.encode_special_tokens = True
    return tokenizer


def build_character_vocabulary(texts: Iterable[str]) -> Vocabulary:
    """Returns a vocabulary of the characters in `texts`, and of bytes for all others."""
    from tokenizers import Tokenizer, decoders, models

    tokens = [*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += sorted(set().union(*map(set, texts)))
    model = models.BPE(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[], byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return Vocabulary(_treat_special_tokens_as_text(tokenizer))


def build_byte_pair_vocabulary(texts: Iterable[str], size: int) -> Vocabulary:
    """Returns a byte-level BPE vocabulary of at most `size` tokens, trained on `texts`.

    Reference: Sennrich, Haddow and Birch, 2016, "Neural machine translation of rare words with
    subword units".
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    min_size = len(SPECIAL_TOKENS) + 256
    if size < min_size:
        raise UserError(
            f"--vocabulary-size must be at least {min_size} with byte pairs (256 bytes and "
            f"{len(SPECIAL_TOKENS)} special tokens), got {size}."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return Vocabulary(_treat_special_tokens_as_text(tokenizer))


def build_word_vocabulary(texts: Iterable[str], size: int) -> Vocabulary:
    """Returns a vocabulary of at most `size` tokens: the most frequent words, in lower case.

    A word is a run of letters, digits and underscores, or a run of punctuation; it must occur at
    least twice.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    special = [*SPECIAL_TOKENS, UNKNOWN]
    if size <= len(special):
        raise UserError(
            f"--vocabulary-size must be above {len(special)} with words (there are {len(special)} "
            f"special tokens), got {size}."
        )
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(
        vocab_size=size, min_frequency=2, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return Vocabulary(_treat_special_tokens_as_text(tokenizer))


def build_vocabulary(unit: TokenUnit, texts: Sequence[str], size: int) -> Vocabulary:
    """Returns a vocabulary trained on `texts`, of characters, byte pairs or words.

    Args:
        unit: what text is cut into.
        texts: the training texts.
        size: maximum number of tokens; ignored with characters.
    """
    if unit == "characters":
        return build_character_vocabulary(texts)
    if unit == "byte_pairs":
        return build_byte_pair_vocabulary(texts, size)
    return build_word_vocabulary(texts, size)


def describe_vocabulary(vocabulary: Vocabulary) -> dict[str, int]:
    """Returns the number of tokens and of BPE merges, for the record."""
    model = json.loads(vocabulary.to_json())["model"]
    return {"tokens": len(vocabulary), "merges": len(model.get("merges", ()))}


def unknown_shares(
    vocabulary: Vocabulary, splits: Mapping[str, Iterable[Sequence[int]]]
) -> dict[str, float]:
    """Returns the fraction of unknown tokens in each split, 0 to 1, see `unknown_tokens`.

    Args:
        vocabulary: the vocabulary.
        splits: the tokens of each text, by split.
    """
    unknown, shares = vocabulary.unknown_tokens(), {}
    for split, texts in splits.items():
        tokens = [token for text in texts for token in text if token >= len(SPECIAL_TOKENS)]
        shares[split] = sum(token in unknown for token in tokens) / max(1, len(tokens))
    return {split: round(share, 4) for split, share in shares.items()}
