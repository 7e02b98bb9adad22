"""Many-to-one: a text in, one class out.

        text     x1 -> x2 -> x3 -> x4 -> x5     recurrent layers read it token by token
                  |     |     |     |     |
                  '-----'-----'-----'-----'     pooling of the outputs, or the last one only
                                          |
        class                             y

The text may have any length; the answer is one of a few classes. The last state has seen every
token, but what it knows of the first ones has passed through the most steps. Mean, max and
attention pooling read the outputs of all steps instead.

Data: `cldr_languages` (default), real names in twenty languages from the Unicode CLDR (Unicode
License v3), see `tasks/data/sources/cldr_languages.py`; any data set of TensorFlow Datasets with
texts and classes, such as `imdb_reviews` (Maas et al., 2011; for research); your own texts.

One example by hand, with characters as tokens (0 is padding, 1 the start, 2 the end, 3 to 258 are
bytes):

    text       "Armenian"    1 279 324 319 311 320 315 307 320 2
    class      "English"     3

Headline: accuracy, the fraction of test texts that are classified correctly. On two cores, expect

    python runner.py --task text_classification                     0.86 in 3 minutes
    python runner.py --task text_classification --units 256 --epochs 40 --crop 1 \\
        --patience 40 --label-smoothing 0.1                         0.87 in 15 minutes, one core
    python runner.py --task text_classification --dataset ~/aclImdb 0.89 in 21 minutes, one core

`aclImdb` is the folder of IMDB reviews as distributed by Maas et al., without `train/unsup`.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from . import base, progress
from .data.checks import unknown_warnings
from .data.token_units import TokenSetting, choose_token_unit
from .data.vocabulary import (
    END,
    PAD,
    START,
    TokenUnit,
    Vocabulary,
    build_vocabulary,
    describe_vocabulary,
    unknown_shares,
)

if TYPE_CHECKING:  # most of these modules import keras
    from .baselines.scores import BaselineScores
    from .data.batching import BucketedBatches
    from .data.source import Source
    from .models.text_classifier import TextClassifier

ACCURACY = base.Headline("accuracy", True, "fraction of test texts classified correctly, 0 to 1")
EXPLAINED_STEPS = 60  # `explain` shows at most this many steps of a text
DOCUMENT_SETTINGS = {  # for texts of many words
    "max_length": 400,
    "bidirectional": True,
    "pooling": "max",
    "vocabulary_size": 30_000,
    "embedding_size": 128,
    "epochs": 5,
    "learning_rate": 2e-3,
    "dropout": 0.5,
    "crop": 0.5,
}


class Example(NamedTuple):
    """A text, its class, and its tokens including start and end."""

    text: str
    label: int
    tokens: list[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextClassificationConfig(base.TaskConfig):
    """The settings of a text classification run.

    Raises:
        UserError: a setting is invalid.
    """

    bidirectional: bool = base.setting(False, "Read the text in both directions.")
    pooling: Literal["last", "mean", "max", "attention"] = base.setting(
        "last", "Classify the last state, or the pooled outputs of all steps."
    )
    layers: int = base.setting(1, "Number of recurrent layers.", at_least=1, at_most=100)
    embedding_size: int = base.setting(64, "Size of the token embeddings.", at_least=1)
    dropout: float = base.setting(
        0.0,
        "Dropout rate for embeddings, between layers and before the output layer.",
        at_least=0,
        below=1,
    )
    crop: float = base.setting(
        0.0,
        "Probability of cropping a training text to a random part, at least half of it.",
        at_least=0,
        at_most=1,
    )
    tokens: TokenSetting = base.setting(
        "auto", "What texts are split into; auto chooses words or characters to suit them."
    )
    vocabulary_size: int = base.setting(
        10_000, "Maximum size of a vocabulary of words or byte pairs.", at_least=1
    )
    max_length: int | None = base.setting(None, "Truncate texts to this many tokens.", at_least=1)


def _read_cldr_languages(config: TextClassificationConfig) -> "Source":
    from .data.sources import cldr_languages

    return cldr_languages.read_cldr_languages()


def _read_tfds(config: TextClassificationConfig) -> "Source":
    from .data.sources import public

    return public.read_public_dataset(config, text=public.TEXT, label=public.LABEL)


def _read_files(config: TextClassificationConfig) -> "Source":
    from .data.files import texts

    return texts.read_text_files(config.dataset)


class TextClassificationTask(base.Task):
    """Text classification: recurrent layers, pooling, and a class."""

    topology = base.Topology.MANY_TO_ONE
    summary = "classify a text"
    default_dataset = "cldr_languages"
    preprocessors: ClassVar[Mapping[str, Callable[[str], Any]]] = {"text": Vocabulary.from_json}
    Config = TextClassificationConfig
    config: TextClassificationConfig
    datasets: ClassVar[Mapping[str, base.DatasetSpec]] = {
        "cldr_languages": base.DatasetSpec(
            usage="cldr_languages",
            description="16,000 names of places, languages, currencies and scripts in 20 languages",
            settings={
                "tokens": "characters",
                "bidirectional": True,
                "pooling": "attention",
                "units": 192,
                "epochs": 12,
                "batch_size": 32,
                "learning_rate": 3e-3,
                "dropout": 0.3,
                "crop": 0.5,
            },
            headline=ACCURACY,
            read_source=_read_cldr_languages,
        ),
        "imdb_reviews": base.DatasetSpec(
            usage="imdb_reviews",
            description="50,000 movie reviews, positive or negative",
            settings={**DOCUMENT_SETTINGS, "tokens": "words"},
            headline=ACCURACY,
            read_source=_read_tfds,
        ),
        base.TFDS: base.DatasetSpec(
            usage="NAME of a TFDS set",
            description="any with texts and classes: ag_news_subset, glue/sst2, trec, ...",
            settings=DOCUMENT_SETTINGS,
            headline=ACCURACY,
            read_source=_read_tfds,
        ),
        base.FILES: base.DatasetSpec(
            usage="PATH",
            description="a folder of .txt files, one subfolder per class; or .csv, .tsv with "
            "columns text,label",
            settings=DOCUMENT_SETTINGS,
            headline=ACCURACY,
            read_source=_read_files,
        ),
    }

    def load_data(self) -> base.Data:
        source = self.load_source()
        rows = {name: list(split) for name, split in source.splits.items()}
        texts = [row["text"] for row in rows["train"]]
        unit, reason = choose_token_unit(self.config.tokens, texts)
        vocabulary = build_vocabulary(unit, texts, self.config.vocabulary_size)
        splits = {name: self._make_examples(split, vocabulary) for name, split in rows.items()}
        unknown = unknown_shares(
            vocabulary, {name: [row.tokens for row in split] for name, split in splits.items()}
        )
        source = source.warn(unknown_warnings(unknown, unit))
        return base.Data(
            name=source.name,
            sha256=source.sha256,
            splits=splits,
            preprocessors={"text": vocabulary},
            notes={
                **source.notes,
                "classes": list(source.classes),
                "tokens": unit,
                "tokens_chosen": reason,
                "vocabulary": describe_vocabulary(vocabulary),
                "unknown_tokens": unknown,
            },
        )

    def _make_examples(
        self, rows: Sequence[Mapping[str, Any]], vocabulary: Vocabulary
    ) -> list[Example]:
        tokens = vocabulary.encode([row["text"] for row in rows])
        max_length = self.config.max_length
        return [
            Example(row["text"], int(row["label"]), [START, *row_tokens[:max_length], END])
            for row, row_tokens in zip(rows, tokens, strict=True)
        ]

    def build_model(self, data: base.Data) -> "TextClassifier":
        from .models.text_classifier import TextClassifier

        config = self.config
        return TextClassifier(
            cell=config.cell,
            vocabulary_size=len(data.preprocessors["text"]),
            classes=len(data.notes["classes"]),
            units=config.units,
            depth=config.layers,
            bidirectional=config.bidirectional,
            pooling=config.pooling,
            embedding_size=config.embedding_size,
            dropout=config.dropout,
        )

    def batches(
        self, examples: Sequence[Example], data: base.Data, *, training: bool
    ) -> "BucketedBatches":
        from .data.batching import BucketedBatches

        def collate(
            indices: np.ndarray, pad: Callable[..., np.ndarray], random: np.random.Generator
        ) -> tuple[np.ndarray, np.ndarray]:
            batch = [examples[index] for index in indices]
            rows = [example.tokens for example in batch]
            longest = max(map(len, rows))
            if training:
                rows = [_crop_tokens(tokens, self.config.crop, random) for tokens in rows]
            tokens = pad(rows, PAD, min_length=longest)
            return tokens, np.array([example.label for example in batch], "int32")

        return BucketedBatches(
            [len(example.tokens) for example in examples],
            collate,
            batch_size=self.config.batch_size,
            seed=self.config.seed if training else None,
        )

    def evaluate(self, model: "TextClassifier", split: str, data: base.Data) -> base.Evaluation:
        from .metrics.classification import evaluate_classes

        examples = data.splits[split]
        probabilities = self._probabilities(model, examples, data)
        labels = [example.label for example in examples]
        texts = [example.text for example in examples]
        return evaluate_classes(probabilities, labels, texts, data.notes["classes"])

    def _probabilities(
        self, model: Any, examples: Sequence[Example], data: base.Data
    ) -> np.ndarray:
        """Returns the probability of each class, (examples, classes)."""
        from .metrics.classification import softmax
        from .models.prediction import predict_batches

        batches = self.batches(examples, data, training=False)
        with progress.part(f"classifying {len(examples):,} texts") as advance:
            logits = predict_batches(model, batches, advance)
        return softmax(batches.restore_order(logits))

    def baseline(self, data: base.Data) -> "BaselineScores":
        from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.naive_bayes import MultinomialNB
        from sklearn.pipeline import make_pipeline

        from .baselines.classification import fit_and_predict, score_baselines
        from .baselines.scores import example_rows

        # Tuned on the validation splits of `cldr_languages` and of the IMDB reviews.
        train_texts = [example.text for example in data.splits["train"]]
        unit, ngrams = _choose_ngrams(data.notes["tokens"], train_texts)
        min_count = 2 if _has_repeated_ngram(train_texts, ngrams) else 1
        baselines = {
            f"{unit} n-gram naive Bayes": make_pipeline(
                CountVectorizer(**ngrams), MultinomialNB(alpha=0.1)
            ),
            f"{unit} n-gram logistic regression": make_pipeline(
                TfidfVectorizer(
                    **ngrams, lowercase=unit == "word", min_df=min_count, sublinear_tf=True
                ),
                LogisticRegression(C=30, max_iter=300),
            ),
        }
        train, test = data.splits["train"], data.splits["test"]
        texts, labels = [example.text for example in train], [example.label for example in train]
        test_texts = [example.text for example in test]
        predictions = {
            name: functools.partial(fit_and_predict, model, texts, labels, test_texts)
            for name, model in baselines.items()
        }
        return score_baselines(
            labels,
            [example.label for example in test],
            predictions,
            lambda: example_rows(
                {"train": train, "test": test}, ("tokens",), tokens=data.notes["tokens"]
            ),
        )

    def predict(
        self, model: "TextClassifier", raw_inputs: Sequence[str], data: base.Data
    ) -> list[str]:
        """Returns the class of each text."""
        probabilities = self._probabilities(model, self._to_examples(raw_inputs, data), data)
        return [data.notes["classes"][label] for label in probabilities.argmax(-1)]

    def _to_examples(self, raw_inputs: Sequence[str], data: base.Data) -> list[Example]:
        rows = [{"text": text, "label": 0} for text in raw_inputs]
        return self._make_examples(rows, data.preprocessors["text"])

    def find_problem(self, raw_input: str, data: base.Data) -> str | None:
        return data.preprocessors["text"].find_problem(raw_input)

    @classmethod
    def read_input_file(cls, path: pathlib.Path) -> list[str]:
        """Returns the texts in a table like those for training, or the lines of another file."""
        from .data.files import texts

        return texts.read_texts(path)

    def read_input(self, argument: str) -> str:
        from .data.files import reading

        return reading.clean_argument(argument)

    def explain(
        self, model: "TextClassifier", raw_inputs: Sequence[str], data: base.Data
    ) -> list[dict[str, Any]]:
        """Returns the probabilities after each step, as if the text ended there.

        Keys are those of `Task.explain`.
        """
        from .models import explanations

        classes, explained = data.notes["classes"], []
        for example in self._to_examples(raw_inputs, data):
            length = len(example.tokens)
            # The model reads every prefix as a text by itself, so long texts skip some steps.
            ends = sorted(
                {-(-length * step // EXPLAINED_STEPS) for step in range(1, EXPLAINED_STEPS + 1)}
            )
            prefixes = [example._replace(tokens=example.tokens[:end]) for end in ends]
            probabilities = self._probabilities(model, prefixes, data)
            top = explanations.top_classes(probabilities, 4)
            starts = [0, *ends[:-1]]
            explained.append(
                {
                    "output": classes[top[0]],
                    "steps": [
                        self._join_tokens(data.preprocessors["text"], example.tokens[start:end])
                        for start, end in zip(starts, ends, strict=True)
                    ],
                    "classes": [classes[label] for label in top],
                    "probabilities": explanations.round_values(probabilities[:, top]),
                }
            )
        return explained

    def _join_tokens(self, vocabulary: Vocabulary, tokens: list[int]) -> str:
        separator = " " if vocabulary.is_of_words else ""
        return separator.join(vocabulary.token_texts(tokens))


def _choose_ngrams(tokens: TokenUnit, texts: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Returns the unit of the baselines' n-grams, and scikit-learn's options for it."""
    # Baselines do not support byte pairs: choose the unit that suits the texts.
    unit = tokens if tokens != "byte_pairs" else choose_token_unit("auto", texts).unit
    if unit == "characters":
        return "character", {"analyzer": "char_wb", "ngram_range": (1, 5)}
    return "word", {"ngram_range": (1, 2), "token_pattern": r"\w+|[^\w\s]+"}


def _has_repeated_ngram(texts: Sequence[str], ngrams: Mapping[str, Any]) -> bool:
    """Whether any n-gram occurs in two texts: if not, `min_df=2` would drop all, an error."""
    from sklearn.feature_extraction.text import CountVectorizer

    find_ngrams, seen = CountVectorizer(**ngrams).build_analyzer(), set()
    for text in texts:
        found = set(find_ngrams(text))
        if not seen.isdisjoint(found):
            return True
        seen |= found
    return False


def _crop_tokens(tokens: list[int], probability: float, random: np.random.Generator) -> list[int]:
    """Returns a random contiguous part of the tokens, at least half of them, or all of them.

    Start and end tokens are kept only if the part includes them. The model thus sees parts from
    the middle of texts, and cannot memorize whole texts.

    Args:
        tokens: including start and end.
        probability: of returning a part.
        random: source of randomness.
    """
    if random.random() >= probability:
        return tokens
    length = int(random.integers(-(-len(tokens) // 2), len(tokens) + 1))
    start = int(random.integers(0, len(tokens) - length + 1))
    return tokens[start : start + length]
