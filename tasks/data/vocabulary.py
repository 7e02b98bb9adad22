"""From text to tokens and back, through the `tokenizers` library.

A text is cut into tokens, by characters, by pairs of bytes that often stand together, or by words;
each is a row of the vocabulary. The first three rows are special: they pad, start and end a
sequence.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Literal

from ..errors import UserError

PAD, START, END = 0, 1, 2
SPECIAL = ("<pad>", "<start>", "<end>")
UNKNOWN = "<unknown>"
WholeUnit = Literal["characters", "byte_pairs"]  # from which any text can be written again
Unit = Literal["characters", "byte_pairs", "words"]


class Vocabulary:
    """A tokenizer whose first three tokens pad, start and end a sequence.

    By characters and byte pairs, every text survives `decode(encode(text))`, also with characters
    that were never seen: they are spelt in bytes. By words it comes back in lower case, with
    `<unknown>` for rare words, and with a space between any two.
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of each text, without start and end."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def decode(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """Returns the text of each sequence of tokens, up to its end."""
        kept = []
        for tokens in sequences:
            tokens = [int(token) for token in tokens]
            tokens = tokens[: tokens.index(END)] if END in tokens else tokens
            kept.append([token for token in tokens if token >= len(SPECIAL)])
        return self._tokenizer.decode_batch(kept, skip_special_tokens=False)

    def pieces(self, tokens: Iterable[int]) -> list[str]:
        """Returns what each token stands for, for labels of plots."""
        return [self.decode([[token]])[0] or SPECIAL[min(token, END)] for token in tokens]

    def to_json(self) -> str:
        return self._tokenizer.to_str()

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """Reads what `to_json` wrote.

        Raises:
            UserError: it is not a vocabulary.
        """
        import tokenizers

        try:
            _check_parts(json.loads(text))
            tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exception
            raise UserError(f"This is not a vocabulary: {error}") from error
        return cls(_plain(tokenizer))


# What the vocabularies of this module are made of. The library knows more, such as regular
# expressions that take for ever, and a vocabulary may be a stranger's.
PARTS = {
    "model": {"BPE", "WordLevel"},
    "normalizer": {None, "Sequence", "NFC", "Lowercase"},
    "pre_tokenizer": {None, "ByteLevel", "Whitespace"},
    "decoder": {None, "Sequence", "ByteFallback", "Fuse", "ByteLevel"},
    "post_processor": {None},
    "truncation": {None},
    "padding": {None},
}


def _check_parts(fields) -> None:
    for name, known in PARTS.items():
        part = fields.get(name)
        inner = (part or {}).get("normalizers", []) + (part or {}).get("decoders", [])
        for one in (part, *inner):
            kind = None if one is None else one["type"]
            if kind not in known:
                raise ValueError(f"{name} of type {kind}")


def _plain(tokenizer):
    # A text may say "<end>": it is then five characters, not the token of that name.
    tokenizer.encode_special_tokens = True
    return tokenizer


def characters(texts: Iterable[str]) -> Vocabulary:
    """Returns a vocabulary of the characters in `texts` and, for all others, of bytes."""
    from tokenizers import Tokenizer, decoders, models

    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += sorted(set().union(*map(set, texts)))
    model = models.BPE(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[], byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return Vocabulary(_plain(tokenizer))


def byte_pairs(texts: Iterable[str], size: int) -> Vocabulary:
    """Returns a vocabulary of `size` tokens at most, merged from the bytes of `texts`.

    Reference: Sennrich, Haddow and Birch, 2016, "Neural machine translation of rare words with
    subword units".
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    smallest = len(SPECIAL) + 256
    if size < smallest:
        raise UserError(
            f"--vocabulary-size must be at least {smallest}, for all bytes and the special "
            f"tokens, got {size}."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return Vocabulary(_plain(tokenizer))


def words(texts: Iterable[str], size: int) -> Vocabulary:
    """Returns a vocabulary of the `size` most frequent words, in lower case, seen twice at least.

    A word is a run of letters, digits and underscores, or a run of other marks.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    special = [*SPECIAL, UNKNOWN]
    if size <= len(special):
        raise UserError(f"--vocabulary-size must be above {len(special)}, got {size}.")
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(
        vocab_size=size, min_frequency=2, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return Vocabulary(_plain(tokenizer))


def build(unit: Unit, texts: Sequence[str], size: int) -> Vocabulary:
    """Returns a vocabulary of `texts` in the given unit."""
    if unit == "characters":
        return characters(texts)
    return byte_pairs(texts, size) if unit == "byte_pairs" else words(texts, size)


def summary(vocabulary: Vocabulary) -> dict:
    """Returns facts about a vocabulary for the record."""
    model = json.loads(vocabulary.to_json())["model"]
    return {"tokens": len(vocabulary), "merges": len(model.get("merges", ()))}
