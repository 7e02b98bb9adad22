"""Many-to-many, unaligned: a sentence in, a sentence of another length out.

        source   x1 -> x2 -> x3 -> x4          encoder, bidirectional by default
                  |     |     |     |
                  '-----+--.--+-----'  attention: a weighted sum over all steps
                           |
        target     <start> y1 -> y2 -> y3      decoder: reads the words so far,
                     |     |     |     |       predicts the next one
                     y1    y2    y3  <end>

The target can only be written once the source has been read, and the two differ in length. So an
encoder turns the source into states, and a decoder continues from them until it generates `<end>`.

Data: `cldr_dates/<source>-<target>`, phrases generated from the Unicode CLDR (Unicode License v3);
`multi30k/<source>-<target>`, captions (Elliott et al., 2016; for research); any data set of
TensorFlow Datasets with two texts, such as `ted_hrlr_translate/pt_to_en`; your own `.tsv`.

One example by hand, with characters as tokens (0 is padding, 1 the start, 2 the end, 3 to 258 are
bytes):

    source     "2/3/24"                  264 261 265 261 264 266
    target     "3. Februar 2024"         265 261 259 275 284 282 294 297 281 294 259 264 ...
    previous   what the decoder reads    1 265 261 259 275 284 282 294 297 281 294 259 ...
    following  what it should predict    265 261 259 275 284 282 294 297 281 294 259 ... 2

In training the decoder reads the true target, shifted by one step (teacher forcing). At test time
it reads its own tokens instead. All scores are of these free-running translations, except cross
entropy, perplexity and token accuracy, which are teacher-forced.

A test source with several translations is decoded once and scored against all of them.

Headline: for dates exact match, the fraction of test sources whose translation equals the
reference; otherwise sacreBLEU, 0 to 100. On two cores, expect

    python runner.py --task translation                             1.00 in 3 minutes
    python runner.py --task translation --dataset multi30k/de-en    36.7 in 28 minutes
"""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from . import base, progress
from .data.checks import unknown_warnings
from .data.vocabulary import (
    END,
    PAD,
    START,
    LosslessUnit,
    Vocabulary,
    build_vocabulary,
    describe_vocabulary,
    unknown_shares,
)
from .errors import UserError, did_you_mean, unknown_name

if TYPE_CHECKING:  # most of these modules import keras
    from .baselines.scores import BaselineScores
    from .data.batching import BucketedBatches
    from .data.source import Source
    from .metrics.bootstrap import ScoreParts
    from .models.encoder_decoder import EncoderDecoder

SIMILARITY_BYTES = 64 << 20  # memory for the similarities that the baseline computes at once
BYTES_PER_SIMILARITY = 16  # in a sparse matrix (value and column) and its dense copy
BLEU = base.Headline("bleu", True, "sacreBLEU of the test set, 0 to 100")
SENTENCE_SETTINGS = {  # for sentences in natural languages
    "epochs": 12,
    "units": 256,
    "embedding_size": 256,
    "tokens": "byte_pairs",
    "dropout": 0.3,
    "label_smoothing": 0.1,
    "tie_embeddings": True,
    "beam_size": 5,
    "learning_rate": 2e-3,
}


class Pair(NamedTuple):
    """A source, its translation, the tokens of both, and further reference translations."""

    source: str
    target: str
    source_tokens: list[int]
    target_tokens: list[int]
    more_targets: tuple[str, ...] = ()

    @property
    def references(self) -> list[str]:
        """All translations."""
        return [self.target, *self.more_targets]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslationConfig(base.TaskConfig):
    """The settings of a translation run.

    Raises:
        UserError: a setting is invalid.
    """

    bidirectional: bool = base.setting(True, "Read the source in both directions.")
    attention: Literal["none", "dot", "additive"] = base.setting(
        "dot", "Attention of the decoder to the source."
    )
    layers: int = base.setting(
        1, "Number of recurrent layers of the encoder, and of the decoder.", at_least=1, at_most=100
    )
    embedding_size: int = base.setting(64, "Size of the token embeddings.", at_least=1)
    tie_embeddings: bool = base.setting(
        False, "Use the transposed target embedding as output weights."
    )
    dropout: float = base.setting(
        0.0,
        "Dropout rate for embeddings, between layers and for the readout.",
        at_least=0,
        below=1,
    )
    tokens: LosslessUnit = base.setting("characters", "What texts are split into.")
    vocabulary_size: int = base.setting(
        6000, "Maximum size of a vocabulary of byte pairs, per language.", at_least=1
    )
    beam_size: int = base.setting(1, "Beams of the beam search; 1 decodes greedily.", at_least=1)
    length_penalty: float = base.setting(
        1.0, "Exponent of the length penalty of the beam search; 0 turns it off.", at_least=0
    )
    test_split: str = base.setting(
        "", "Split to test on. Default: the first test split of the data set."
    )


def _read_cldr_dates(config: TranslationConfig) -> "Source":
    import babel
    from babel.localedata import locale_identifiers

    from .data.sources.cldr_dates import cldr_dates_dataset_builder as builder

    source, target = _parse_direction(config)
    for locale in filter(None, (source, target)):
        try:
            babel.Locale.parse(locale)
        except (babel.UnknownLocaleError, ValueError) as error:
            hint = did_you_mean(locale, locale_identifiers())
            hint = hint or " Locales have names like en, pt_BR, zh_Hant."
            raise UserError(f"Unknown locale: {locale!r}.{hint}") from error
    builder_config = builder.locale_pair_config(source or "en", target or "de")
    return _load_source(config, builder.Builder, builder_config)


def _read_multi30k(config: TranslationConfig) -> "Source":
    from .data.sources.multi30k import multi30k_dataset_builder as builder

    source, target = _parse_direction(config)
    direction = f"{source or 'de'}-{target or 'en'}"
    known = sorted(builder.Builder.builder_configs)
    if direction not in known:
        raise UserError(unknown_name("direction of multi30k", direction, known))
    return _load_source(config, builder.Builder, direction)


def _parse_direction(config: TranslationConfig) -> tuple[str, str]:
    """Returns source and target language of `NAME/<source>-<target>`, both empty for `NAME`."""
    name, _, direction = config.dataset.partition("/")
    source, dash, target = direction.partition("-")
    if direction and not (source and dash and target):
        raise UserError(
            f"--dataset {config.dataset} must name a direction <source>-<target>, such as "
            f"{name}/de-en, got {direction!r}."
        )
    return source, target


def _load_source(config: TranslationConfig, builder_class: Any, builder_config: Any) -> "Source":
    """Returns a data set with the configured test split as its only one."""
    from .data import store
    from .data.source import content_hash

    source = store.load_source(builder_class, config, builder_config=builder_config)
    test_splits = [name for name in source.splits if name.startswith("test")]
    test_split = config.test_split or test_splits[0]
    if test_split not in source.splits:
        raise UserError(unknown_name("value of --test-split", test_split, sorted(source.splits)))
    splits = {
        "train": list(source.splits["train"]),
        "validation": list(source.splits["validation"]),
        "test": list(source.splits[test_split]),
    }
    notes = {**source.notes, "test_split": test_split}
    return dataclasses.replace(source, splits=splits, notes=notes, sha256=content_hash(splits))


def _read_tfds(config: TranslationConfig) -> "Source":
    from .data.sources import public

    return public.read_public_dataset(config, source=public.TEXT, target=public.TEXT)


def _read_files(config: TranslationConfig) -> "Source":
    from .data.files import texts

    return texts.read_text_pairs(config.dataset)


class TranslationTask(base.Task):
    """Translation: an encoder, and a decoder that attends to it unless attention is off."""

    topology = base.Topology.MANY_TO_MANY_UNALIGNED
    summary = "translate a sentence"
    accuracy_name = "token_accuracy"
    default_dataset = "cldr_dates/en-de"
    preprocessors: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "source": Vocabulary.from_json,
        "target": Vocabulary.from_json,
    }
    Config = TranslationConfig
    config: TranslationConfig
    datasets: ClassVar[Mapping[str, base.DatasetSpec]] = {
        "cldr_dates": base.DatasetSpec(
            usage="cldr_dates/<source>-<target>",
            description="dates and times in any two locales, generated in seconds (default: en-de)",
            settings={"epochs": 6, "learning_rate": 3e-3},
            headline=base.Headline(
                "exact_match", True, "fraction of outputs equal to the reference, 0 to 1"
            ),
            read_source=_read_cldr_dates,
        ),
        "multi30k": base.DatasetSpec(
            usage="multi30k/<source>-<target>",
            description="29,000 captions in cs, de, en, fr; test sets of 2016 and 2017",
            settings=SENTENCE_SETTINGS,
            headline=BLEU,
            read_source=_read_multi30k,
        ),
        base.TFDS: base.DatasetSpec(
            usage="NAME of a TFDS set",
            description="any with two texts: ted_hrlr_translate/pt_to_en, ...",
            settings=SENTENCE_SETTINGS,
            headline=BLEU,
            read_source=_read_tfds,
        ),
        base.FILES: base.DatasetSpec(
            usage="PATH",
            description="a .tsv file with source and target in its first two text columns",
            settings=SENTENCE_SETTINGS,
            headline=BLEU,
            read_source=_read_files,
        ),
    }

    def load_data(self) -> base.Data:
        source = self.load_source()
        unit, size = self.config.tokens, self.config.vocabulary_size
        train = source.splits["train"]
        vocabularies = {
            side: build_vocabulary(unit, [row[side] for row in train], size)
            for side in ("source", "target")
        }
        rows = {**source.splits, "test": _keep_references(source)}
        splits = {name: _make_pairs(list(rows[name]), vocabularies) for name in rows}
        unknown = unknown_shares(
            vocabularies["source"],
            {name: [pair.source_tokens for pair in pairs] for name, pairs in splits.items()},
        )
        source = source.warn(unknown_warnings(unknown, unit))
        references = len(splits["test"])
        splits["test"] = _merge_references(splits["test"])
        return base.Data(
            name=source.name,
            sha256=source.sha256,
            splits=splits,
            preprocessors=vocabularies,
            notes={
                **source.notes,
                "longest_target": _longest_target(source.all_rows("train"), vocabularies["target"]),
                "test_sources_seen_in_training": _count_seen_sources(splits),
                "test_references": references,
                "unknown_tokens": unknown,
                **{
                    f"{side}_vocabulary": describe_vocabulary(vocabulary)
                    for side, vocabulary in vocabularies.items()
                },
            },
        )

    def build_model(self, data: base.Data) -> "EncoderDecoder":
        from .models.encoder_decoder import EncoderDecoder

        config = self.config
        return EncoderDecoder(
            cell=config.cell,
            source_size=len(data.preprocessors["source"]),
            target_size=len(data.preprocessors["target"]),
            units=config.units,
            depth=config.layers,
            bidirectional=config.bidirectional,
            attention=config.attention,
            embedding_size=config.embedding_size,
            dropout=config.dropout,
            tie_embeddings=config.tie_embeddings,
        )

    def batches(
        self, examples: Sequence[Pair], data: base.Data, *, training: bool
    ) -> "BucketedBatches":
        from .data.batching import BucketedBatches

        def collate(
            indices: np.ndarray, pad: Callable[..., np.ndarray], random: np.random.Generator
        ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
            batch = [examples[index] for index in indices]
            previous = pad([[START, *pair.target_tokens] for pair in batch], PAD)
            following = pad([[*pair.target_tokens, END] for pair in batch], PAD)
            source = pad([pair.source_tokens for pair in batch], PAD)
            weights = (following != PAD).astype("float32")
            return {"source": source, "previous": previous}, following, weights

        return BucketedBatches(
            [(len(pair.target_tokens), len(pair.source_tokens)) for pair in examples],
            collate,
            batch_size=self.config.batch_size,
            seed=self.config.seed if training else None,
        )

    def evaluate(self, model: "EncoderDecoder", split: str, data: base.Data) -> base.Evaluation:
        from .metrics.translation import translation_scores, translation_signatures
        from .models.encoder_decoder import evaluate_teacher_forced

        pairs = data.splits[split]
        batches = self.batches(_split_references(pairs, data), data, training=False)
        teacher_forced = evaluate_teacher_forced(model, batches)
        outputs = self.predict(model, [pair.source for pair in pairs], data)
        references = [pair.references for pair in pairs]
        metrics = {**translation_scores(outputs, references), **teacher_forced}
        examples = [
            {
                "source": pair.source,
                "target": pair.target,
                "output": output,
                "right": output in pair.references,
                **({"references": pair.references} if pair.more_targets else {}),
            }
            for pair, output in zip(pairs, outputs, strict=True)
        ]
        return base.Evaluation(metrics, examples, translation_signatures(references))

    def baseline(self, data: base.Data) -> "BaselineScores":
        from .baselines.scores import BaselineScores, example_rows
        from .metrics.translation import translation_scores

        train, test = data.splits["train"], data.splits["test"]
        references = [pair.references for pair in test]
        outputs = {
            "copy the source": lambda: [pair.source for pair in test],
            "most frequent target": lambda: [_most_frequent_target(train)] * len(test),
            "target of the nearest source": lambda: _nearest_targets(train, test),
        }
        return BaselineScores(
            outputs,
            lambda texts: translation_scores(texts, references),
            lambda: example_rows(
                {"train": train, "test": test}, ("source_tokens", "target_tokens")
            ),
        )

    def score_parts(self, examples: Sequence[Mapping[str, Any]], data: base.Data) -> "ScoreParts":
        from .metrics.bootstrap import bleu_parts
        from .metrics.translation import translation_bleu

        if self.dataset_spec.headline is not BLEU:
            return super().score_parts(examples, data)
        outputs = [example["output"] for example in examples]
        references = [example.get("references", [example["target"]]) for example in examples]
        return bleu_parts(translation_bleu(references), outputs, references)

    def predict(
        self, model: "EncoderDecoder", raw_inputs: Sequence[str], data: base.Data
    ) -> list[str]:
        """Returns a translation of each sentence."""
        best = self.n_best(model, raw_inputs, data, beam_size=self.config.beam_size)
        return [outputs[0] for outputs in best]

    def n_best(
        self, model: "EncoderDecoder", raw_inputs: Sequence[str], data: base.Data, *, beam_size: int
    ) -> list[list[str]]:
        """Returns `beam_size` translations of each sentence, the best first."""
        sources = data.preprocessors["source"].encode(raw_inputs)
        beams = self._generate(model, sources, data, beam_size)
        return [data.preprocessors["target"].decode(tokens) for tokens in beams]

    def _generate(
        self,
        model: "EncoderDecoder",
        sources: Sequence[list[int]],
        data: base.Data,
        beam_size: int,
    ) -> list[np.ndarray]:
        """Returns tokens (beam_size, time) for each source, the best beam first."""
        from .data.batching import BucketedBatches
        from .models.encoder_decoder import generate

        batches = BucketedBatches(
            [len(tokens) for tokens in sources],
            lambda indices, pad, _: (pad([sources[index] for index in indices], PAD),),
            batch_size=self.config.batch_size,
        )
        return generate(
            model,
            batches,
            longest=data.notes["longest_target"],
            beam_size=beam_size,
            length_penalty=self.config.length_penalty,
        )

    def find_problem(self, raw_input: str, data: base.Data) -> str | None:
        return data.preprocessors["source"].find_problem(raw_input)

    @classmethod
    def read_input_file(cls, path: pathlib.Path) -> list[str]:
        """Returns the sources in a table like those for training, or the lines of another file."""
        from .data.files import texts

        return texts.read_sources(path)

    def read_input(self, argument: str) -> str:
        from .data.files import reading

        return reading.clean_argument(argument)

    def explain(
        self, model: "EncoderDecoder", raw_inputs: Sequence[str], data: base.Data
    ) -> list[dict[str, Any]]:
        from .models import explanations

        source_vocabulary = data.preprocessors["source"]
        target_vocabulary = data.preprocessors["target"]
        sources = source_vocabulary.encode(raw_inputs)
        beams = self._generate(model, sources, data, self.config.beam_size)
        explained = []
        for source, tokens in zip(sources, beams, strict=True):
            best = explanations.cut_after_end(tokens[0])
            explanation = {
                "output": target_vocabulary.decode([best])[0],
                "steps": source_vocabulary.token_texts(source),
                "written": target_vocabulary.token_texts(best),
            }
            weights = explanations.attention_weights(model, np.array(source, "int32"), best)
            if weights is not None:
                explanation["attention"] = weights
            explained.append(explanation)
        return explained


def _make_pairs(
    rows: Sequence[Mapping[str, str]], vocabularies: Mapping[str, Vocabulary]
) -> list[Pair]:
    sources, targets = ([row[side] for row in rows] for side in ("source", "target"))
    tokens = vocabularies["source"].encode(sources), vocabularies["target"].encode(targets)
    return [Pair(*fields) for fields in zip(sources, targets, *tokens, strict=True)]


def _longest_target(rows: Sequence[Mapping[str, str]], vocabulary: Vocabulary) -> int:
    """Returns the number of tokens of the longest target."""
    return max(map(len, vocabulary.encode([row["target"] for row in rows])))


def _keep_references(source: "Source") -> list[Mapping[str, str]]:
    """Returns the test examples with all translations of their sources, even if not sampled."""
    sources = {row["source"] for row in source.splits["test"]}
    return [row for row in source.all_rows("test") if row["source"] in sources]


def _merge_references(pairs: Sequence[Pair]) -> list[Pair]:
    """Returns one pair for each source, with all its distinct translations in order."""
    merged: dict[str, Pair] = {}
    for pair in pairs:
        first = merged.setdefault(pair.source, pair)
        if pair.target not in first.references:
            targets = (*first.more_targets, pair.target)
            merged[pair.source] = first._replace(more_targets=targets)
    return list(merged.values())


def _split_references(pairs: Sequence[Pair], data: base.Data) -> list[Pair]:
    """Returns a pair for each translation of each source."""
    split = []
    for pair in pairs:
        tokens = data.preprocessors["target"].encode(pair.more_targets)
        split.append(pair)
        split += [
            pair._replace(target=target, target_tokens=target_tokens)
            for target, target_tokens in zip(pair.more_targets, tokens, strict=True)
        ]
    return split


def _count_seen_sources(splits: Mapping[str, Sequence[Pair]]) -> int:
    """Returns the number of distinct test sources that also occur in training."""
    train, test = ({pair.source for pair in splits[name]} for name in ("train", "test"))
    return len(train & test)


def _most_frequent_target(train: Sequence[Pair]) -> str:
    counts = collections.Counter(pair.target for pair in train)
    return counts.most_common(1)[0][0]


def _nearest_targets(train: Sequence[Pair], test: Sequence[Pair]) -> list[str]:
    """Returns, for each test source, the target of the most similar training source.

    Similarity is the cosine of TF-IDF vectors of character n-grams, n = 1 to 4; among equally
    similar sources the first one is used. The similarities are computed in blocks that take at most
    `SIMILARITY_BYTES` (or one test source by all training sources, if that is more).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    dtype: Any = np.float32
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), dtype=dtype)
    train_columns = vectorizer.fit_transform([pair.source for pair in train]).T.tocsr()
    test_vectors = vectorizer.transform([pair.source for pair in test])
    block = max(1, SIMILARITY_BYTES // (BYTES_PER_SIMILARITY * len(train)))
    nearest: list[int] = []
    with progress.part("comparing sources") as advance:
        for start in range(0, len(test), block):
            advance(start, len(test))
            similarity = test_vectors[start : start + block] @ train_columns
            nearest += similarity.toarray().argmax(axis=1).tolist()
    return [train[index].target for index in nearest]
