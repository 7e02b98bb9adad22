"""Many-to-many, unaligned: a sentence in, a sentence of another length out.

        source   x1 -> x2 -> x3 -> x4          encoder, by default both ways
                  |     |     |     |
                  '-----+--.--+-----'  attention: a weighted look back at every step
                           |
        target     <start> y1 -> y2 -> y3      decoder: reads what it wrote,
                     |     |     |     |       writes what comes next
                     y1    y2    y3  <end>

Nothing can be written before the source has been read, and the two lengths differ: so an
encoder reads it into states, and a decoder goes on from them until it writes `<end>`.

Data: `cldr_dates/<source>-<target>`, phrases made by code from the Unicode CLDR (Unicode
License v3); `multi30k/<source>-<target>`, captions (Elliott et al., 2016; research use); any set of
TensorFlow Datasets with two texts, such as `ted_hrlr_translate/pt_to_en`; your own `.tsv`.

One example by hand, by characters (0 pads, 1 starts, 2 ends, 3 to 258 are bytes):

    source     "2/3/24"                  264 261 265 261 264 266
    target     "3. Februar 2024"         265 261 259 275 284 282 294 297 281 294 259 264 ...
    previous   what the decoder reads    1 265 261 259 275 284 282 294 297 281 294 259 ...
    following  what it shall answer      265 261 259 275 284 282 294 297 281 294 259 ... 2

In training the decoder reads the true target, one step late (teacher forcing).
When it is tested, the decoder reads its own tokens instead. Every score here is of such free
writing; only the loss and the perplexity are teacher-forced, and say so.

Headline: for dates exact match, the fraction of test sources whose translation is right to the
letter; for Multi30k sacreBLEU, 0 to 100. Expect, on two cores,

    python runner.py --task translation                             1.00 in 3 minutes
    python runner.py --task translation --dataset multi30k/de-en    36.7 in 20 minutes
"""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from . import base
from .data import vocabulary
from .errors import UserError, did_you_mean, unknown_name

BLEU = base.Headline("bleu", True, "sacreBLEU of the test set, 0 to 100")
SENTENCES = {  # settings for sentences in natural languages
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
    """A source, its translation, and both as tokens."""

    source: str
    target: str
    source_tokens: list[int]
    target_tokens: list[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslationConfig(base.TaskConfig):
    """The settings of a translation run."""

    bidirectional: bool = base.setting(True, "Whether the encoder reads both ways.")
    attention: Literal["none", "dot", "additive"] = base.setting(
        "dot", "How the decoder looks back at the source."
    )
    layers: int = base.setting(
        1, "Recurrent layers of encoder and decoder each.", at_least=1, at_most=100
    )
    embedding_size: int = base.setting(64, "Width of a token's vector.", at_least=1)
    tie_embeddings: bool = base.setting(
        False, "Whether the output weights are the target embedding, transposed."
    )
    dropout: float = base.setting(
        0.0,
        "Fraction dropped of embeddings, between layers and of the readout.",
        at_least=0,
        below=1,
    )
    tokens: vocabulary.LosslessUnit = base.setting("characters", "What text is cut into.")
    vocabulary_size: int = base.setting(
        6000, "Largest vocabulary of byte pairs, of each language.", at_least=1
    )
    beam_size: int = base.setting(1, "Hypotheses of the beam search; 1 is greedy.", at_least=1)
    length_penalty: float = base.setting(
        1.0, "Exponent of the beam search's length penalty; 0 is none.", at_least=0
    )
    test_split: str = base.setting("", "Split to test on. Default: the data set's first.")


def _cldr_dates(config: TranslationConfig):
    import babel
    from babel.localedata import locale_identifiers

    from .data.sources.cldr_dates import cldr_dates_dataset_builder as builder

    source, target = _direction(config)
    for locale in filter(None, (source, target)):
        try:
            babel.Locale.parse(locale)
        except (babel.UnknownLocaleError, ValueError) as error:
            hint = did_you_mean(locale, locale_identifiers())
            hint = hint or " Locales are named like en, pt_BR, zh_Hant."
            raise UserError(f"Unknown locale: {locale!r}.{hint}") from error
    return _prepared(
        config, builder.Builder, builder.locale_pair_config(source or "en", target or "de")
    )


def _multi30k(config: TranslationConfig):
    from .data.sources.multi30k import multi30k_dataset_builder as builder

    source, target = _direction(config)
    pair = f"{source or 'de'}-{target or 'en'}"
    configs = builder.Builder.builder_configs
    if pair not in configs:
        raise UserError(unknown_name("direction of multi30k", pair, sorted(configs)))
    return _prepared(config, builder.Builder, pair)


def _direction(config: TranslationConfig) -> tuple[str, str]:
    """Returns the two languages of `NAME/<source>-<target>`, both empty if none are named."""
    name, _, pair = config.dataset.partition("/")
    source, dash, target = pair.partition("-")
    if pair and not (source and dash and target):
        raise UserError(
            f"--dataset {config.dataset} must name a direction, such as {name}/de-en: "
            f"<source>-<target>, got {pair!r}."
        )
    return source, target


def _prepared(config: TranslationConfig, builder_class, builder_config):
    """Returns a data set of ours with one of its test splits."""
    from .data import store
    from .data.source import content_hash

    source = store.load_source(builder_class, config, builder_config=builder_config)
    tests = [name for name in source.splits if name.startswith("test")]
    test = config.test_split or tests[0]
    if test not in source.splits:
        raise UserError(unknown_name("value of --test-split", test, sorted(source.splits)))
    splits = {
        "train": source.splits["train"],
        "validation": source.splits["validation"],
        "test": source.splits[test],
    }
    splits = {name: list(rows) for name, rows in splits.items()}
    notes = {**source.notes, "test_split": test}
    return dataclasses.replace(source, splits=splits, notes=notes, sha256=content_hash(splits))


def _public(config: TranslationConfig):
    from .data.sources import public

    return public.read_public_dataset(config, source=public.TEXT, target=public.TEXT)


def _files(config: TranslationConfig):
    from .data.files import texts

    return texts.read_text_pairs(config.dataset)


class TranslationTask(base.Task):
    """Translation by an encoder and a decoder, with attention unless it is turned off."""

    topology = base.Topology.MANY_TO_MANY_UNALIGNED
    summary = "translate a sentence"
    accuracy_name = "token_accuracy"
    default_dataset = "cldr_dates/en-de"
    preprocessors: ClassVar = dict.fromkeys(("source", "target"), vocabulary.Vocabulary.from_json)
    Config = TranslationConfig
    datasets: ClassVar = {
        "cldr_dates": base.DatasetSpec(
            usage="cldr_dates/<source>-<target>",
            description="dates and times in any two locales, made in seconds (default: en-de)",
            settings={"epochs": 6, "learning_rate": 3e-3},
            headline=base.Headline("exact_match", True, "fraction right to the letter"),
            read_source=_cldr_dates,
        ),
        "multi30k": base.DatasetSpec(
            usage="multi30k/<source>-<target>",
            description="29,000 captions in cs, de, en, fr; test sets of 2016 and 2017",
            settings=SENTENCES,
            headline=BLEU,
            read_source=_multi30k,
        ),
        base.TFDS: base.DatasetSpec(
            usage="NAME of a TFDS set",
            description="any with two texts: ted_hrlr_translate/pt_to_en, ...",
            settings=SENTENCES,
            headline=BLEU,
            read_source=_public,
        ),
        base.FILES: base.DatasetSpec(
            usage="PATH",
            description="a .tsv file, source and target in its first two columns",
            settings=SENTENCES,
            headline=BLEU,
            read_source=_files,
        ),
    }

    def load_data(self) -> base.Data:
        source = self.load_source()
        unit, size = self.config.tokens, self.config.vocabulary_size
        preprocessors = {
            side: vocabulary.build_vocabulary(
                unit, [row[side] for row in source.splits["train"]], size
            )
            for side in ("source", "target")
        }
        splits = {name: _pairs(list(rows), preprocessors) for name, rows in source.splits.items()}
        return base.Data(
            name=source.name,
            sha256=source.sha256,
            splits=splits,
            preprocessors=preprocessors,
            notes={
                **source.notes,
                "longest_target": max(len(pair.target_tokens) for pair in splits["train"]),
                "test_sources_seen_in_training": _repeated(splits),
                **{
                    f"{side}_vocabulary": vocabulary.describe_vocabulary(preprocessor)
                    for side, preprocessor in preprocessors.items()
                },
            },
        )

    def build_model(self, data: base.Data):
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

    def batches(self, examples: Sequence[Pair], data: base.Data, *, training: bool):
        from .data import batching

        def collate(indices, pad, _):
            chosen = [examples[index] for index in indices]
            previous = pad(
                [[vocabulary.START, *pair.target_tokens] for pair in chosen], vocabulary.PAD
            )
            following = pad(
                [[*pair.target_tokens, vocabulary.END] for pair in chosen], vocabulary.PAD
            )
            source = pad([pair.source_tokens for pair in chosen], vocabulary.PAD)
            weights = (following != vocabulary.PAD).astype("float32")
            return {"source": source, "previous": previous}, following, weights

        return batching.BucketedBatches(
            [(len(pair.target_tokens), len(pair.source_tokens)) for pair in examples],
            collate,
            batch_size=self.config.batch_size,
            seed=self.config.seed if training else None,
        )

    def evaluate(self, model, split: str, data: base.Data) -> base.Evaluation:
        from .metrics import translation

        pairs = data.splits[split]
        forced = model.evaluate(
            self.batches(pairs, data, training=False), verbose=0, return_dict=True
        )
        sources, references = [p.source for p in pairs], [p.target for p in pairs]
        outputs = self.predict(model, sources, data)
        metrics = translation.translation_scores(outputs, references)
        metrics["cross_entropy"] = forced["cross_entropy"]
        metrics["perplexity"] = math.exp(min(forced["cross_entropy"], 700))
        metrics["token_accuracy"] = forced["token_accuracy"]
        examples = [
            {"source": source, "target": target, "output": output, "right": output == target}
            for source, target, output in zip(sources, references, outputs, strict=True)
        ]
        return base.Evaluation(metrics, examples, translation.translation_signatures())

    def baseline(self, data: base.Data) -> dict[str, dict[str, float]]:
        from .metrics import translation

        train, test = data.splits["train"], data.splits["test"]
        references = [pair.target for pair in test]
        frequent = collections.Counter(pair.target for pair in train).most_common(1)[0][0]
        guesses = {
            "copy the source": [pair.source for pair in test],
            "most frequent target": [frequent] * len(test),
            "target of the nearest source": _nearest(train, test),
        }
        return {
            name: translation.translation_scores(outputs, references)
            for name, outputs in guesses.items()
        }

    def score_parts(self, examples, data: base.Data):
        from .metrics import bootstrap, translation

        if self.dataset_spec.headline is not BLEU:
            return super().score_parts(examples, data)
        outputs = [example["output"] for example in examples]
        references = [[example["target"]] for example in examples]
        return bootstrap.bleu_parts(translation.translation_bleu(), outputs, references)

    def predict(self, model, raw_inputs: Sequence[str], data: base.Data) -> list[str]:
        best = self.n_best(model, raw_inputs, data, beam_size=self.config.beam_size)
        return [outputs[0] for outputs in best]

    def n_best(
        self, model, raw_inputs: Sequence[str], data: base.Data, *, beam_size: int
    ) -> list[list[str]]:
        """Returns `beam_size` translations of each sentence, best first."""
        tokens = data.preprocessors["source"].encode(raw_inputs)
        written = self._write(model, tokens, data, beam_size)
        return [data.preprocessors["target"].decode(beams) for beams in written]

    def _write(self, model, tokens: Sequence[list[int]], data: base.Data, beam_size: int) -> list:
        """Returns (beam_size, time) tokens for each source, best first."""
        from .data import batching
        from .models import compilation
        from .models.encoder_decoder import Generator

        longest = data.notes["longest_target"]  # in tokens
        generator = Generator(
            model,
            max_length=math.ceil(1.1 * longest) + 1,
            beam_size=beam_size,
            length_penalty=self.config.length_penalty,
        )
        generator.compile(jit_compile=compilation.jit_compile())
        sources = batching.BucketedBatches(
            [len(row) for row in tokens],
            lambda indices, pad, _: (pad([tokens[index] for index in indices], vocabulary.PAD),),
            batch_size=self.config.batch_size,
        )
        return sources.restore_order(generator.predict(sources, verbose=0))

    def explain(self, model, raw_inputs: Sequence[str], data: base.Data) -> list[dict]:
        from .models import explanations

        source, target = data.preprocessors["source"], data.preprocessors["target"]
        tokens = source.encode(raw_inputs)
        found = []
        written = self._write(model, tokens, data, self.config.beam_size)
        for read, beams in zip(tokens, written, strict=True):
            best = explanations.cut_after_end(beams[0])
            one = {
                "output": target.decode([best])[0],
                "steps": source.token_texts(read),
                "written": target.token_texts(best),
            }
            weights = explanations.attention_weights(model, np.array(read, "int32"), best)
            found.append(one | ({"attention": weights} if weights is not None else {}))
        return found


def _pairs(rows, preprocessors) -> list[Pair]:
    sources, targets = ([row[side] for row in rows] for side in ("source", "target"))
    encoded = preprocessors["source"].encode(sources), preprocessors["target"].encode(targets)
    return [Pair(*fields) for fields in zip(sources, targets, *encoded, strict=True)]


def _repeated(splits) -> int:
    """Returns how many different test sources are also training sources."""
    train, test = ({pair.source for pair in splits[name]} for name in ("train", "test"))
    return len(train & test)


def _nearest(train: Sequence[Pair], test: Sequence[Pair]) -> list[str]:
    """Returns for each test source the translation of the training source most like it.

    Likeness is the cosine of the TF-IDF weights of character n-grams, 1 to 4 long.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), dtype=np.float32)
    known = vectorizer.fit_transform([pair.source for pair in train])
    asked = vectorizer.transform([pair.source for pair in test])
    likeness = asked @ known.T
    return [train[likeness[row].argmax()].target for row in range(len(test))]
