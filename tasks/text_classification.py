"""Many-to-one: a text in, one class out.

        text     x1 -> x2 -> x3 -> x4 -> x5     recurrent layers read it token by token
                  |     |     |     |     |
                  '-----'-----'-----'-----'     pooling: by default the last state alone
                                          |
        class                             y

The text may have any length, the answer is one of a few classes. The last state has seen
everything, but what was read first has come furthest; mean, max or attention pooling look at the
outputs of all steps instead.

Data: `cldr_languages` (default), real names in twenty languages, from the Unicode CLDR (Unicode
License v3), see `tasks/data/sources/cldr_languages.py`; any set of TensorFlow Datasets with a text
and a class, such as `imdb_reviews` (Maas et al., 2011; research use); your own texts.

One example by hand, by characters (0 pads, 1 starts, 2 ends, 3 to 258 are bytes):

    text       "Sri Lanka"    1 297 324 316 259 290 307 320 317 307 2
    class      "English"      3

Headline: accuracy, the fraction of test texts whose class is right. Expect, on two cores,

    python runner.py --task text_classification                     0.86 in 3 minutes
    python runner.py --task text_classification --units 256 --epochs 40 --crop 1 \\
        --patience 40 --label-smoothing 0.1                         0.87 in 14 minutes
    python runner.py --task text_classification --dataset ~/aclImdb 0.89 in 15 minutes

where `aclImdb` is the folder of IMDB reviews as Maas et al. packed it, without `train/unsup`.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from . import base
from .data import vocabulary as text

ACCURACY = base.Headline("accuracy", True, "fraction of test texts whose class is right")

STEPS = 60  # of a text at most, to be shown
TEXTS = {  # settings for texts of many words
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
    """A text, its class, and its tokens with start and end."""

    text: str
    label: int
    tokens: list[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextClassificationConfig(base.TaskConfig):
    """The settings of a text classification run."""

    bidirectional: bool = base.setting(False, "Whether the text is read both ways.")
    pooling: Literal["last", "mean", "max", "attention"] = base.setting(
        "last", "What the class is read from: the last state, or the outputs of all steps."
    )
    layers: int = base.setting(1, "Recurrent layers.", at_least=1, at_most=100)
    embedding_size: int = base.setting(64, "Width of a token's vector.", at_least=1)
    dropout: float = base.setting(
        0.0,
        "Fraction dropped of embeddings, between layers and before the class.",
        at_least=0,
        below=1,
    )
    crop: float = base.setting(
        0.0,
        "Fraction of training texts of which a random half or more is read instead.",
        at_least=0,
        at_most=1,
    )
    tokens: text.TokenUnit = base.setting("words", "What text is cut into.")
    vocabulary_size: int = base.setting(
        10_000, "Largest vocabulary of words or byte pairs.", at_least=1
    )
    max_length: int | None = base.setting(
        None, "Read this many tokens of a text at most.", at_least=1
    )


def _cldr_languages(config: TextClassificationConfig):
    from .data.sources import cldr_languages

    return cldr_languages.read_cldr_languages()


def _public(config: TextClassificationConfig):
    from .data.sources import public

    return public.read_public_dataset(config, text=public.TEXT, label=public.LABEL)


def _files(config: TextClassificationConfig):
    from .data.files import texts

    return texts.read_text_files(config.dataset)


class TextClassificationTask(base.Task):
    """Text classification: a recurrence, pooling, and a class."""

    topology = base.Topology.MANY_TO_ONE
    summary = "tell the class of a text"
    default_dataset = "cldr_languages"
    preprocessors: ClassVar = {"text": text.Vocabulary.from_json}
    Config = TextClassificationConfig
    datasets: ClassVar = {
        "cldr_languages": base.DatasetSpec(
            usage="cldr_languages",
            description="16,000 names of places, languages, moneys, scripts: in which of 20 languages?",
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
            read_source=_cldr_languages,
        ),
        "imdb_reviews": base.DatasetSpec(
            usage="imdb_reviews",
            description="50,000 film reviews, for or against",
            settings=TEXTS,
            headline=ACCURACY,
            read_source=_public,
        ),
        base.TFDS: base.DatasetSpec(
            usage="NAME of a TFDS set",
            description="any with a text and a class: ag_news_subset, glue/sst2, trec, ...",
            settings=TEXTS,
            headline=ACCURACY,
            read_source=_public,
        ),
        base.FILES: base.DatasetSpec(
            usage="PATH",
            description="a folder of .txt files, a sub-folder a class; or .csv, .tsv with text,label",
            settings=TEXTS,
            headline=ACCURACY,
            read_source=_files,
        ),
    }

    def load_data(self) -> base.Data:
        source = self.load_source()
        rows = {name: list(split) for name, split in source.splits.items()}
        texts = [row["text"] for row in rows["train"]]
        vocabulary = text.build_vocabulary(self.config.tokens, texts, self.config.vocabulary_size)
        splits = {name: self._examples(split, vocabulary) for name, split in rows.items()}
        return base.Data(
            name=source.name,
            sha256=source.sha256,
            splits=splits,
            preprocessors={"text": vocabulary},
            notes={
                **source.notes,
                "classes": list(source.classes),
                "vocabulary": text.describe_vocabulary(vocabulary),
            },
        )

    def _examples(self, rows, vocabulary) -> list[Example]:
        tokens = vocabulary.encode([row["text"] for row in rows])
        longest = self.config.max_length
        return [
            Example(row["text"], int(row["label"]), [text.START, *row_tokens[:longest], text.END])
            for row, row_tokens in zip(rows, tokens, strict=True)
        ]

    def build_model(self, data: base.Data):
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

    def batches(self, examples: Sequence[Example], data: base.Data, *, training: bool):
        from .data import batching

        def collate(indices, pad, random):
            chosen = [examples[index] for index in indices]
            rows = [example.tokens for example in chosen]
            longest = max(map(len, rows))
            if training:
                rows = [_cropped(tokens, self.config.crop, random) for tokens in rows]
            tokens = pad(rows, text.PAD, min_length=longest)
            return tokens, np.array([example.label for example in chosen], "int32")

        return batching.BucketedBatches(
            [len(example.tokens) for example in examples],
            collate,
            batch_size=self.config.batch_size,
            seed=self.config.seed if training else None,
        )

    def evaluate(self, model, split: str, data: base.Data) -> base.Evaluation:
        from .metrics import classification

        examples = data.splits[split]
        probabilities = self._probabilities(model, examples, data)
        labels = [example.label for example in examples]
        texts = [example.text for example in examples]
        return classification.evaluate_classes(probabilities, labels, texts, data.notes["classes"])

    def _probabilities(self, model, examples, data) -> np.ndarray:
        from .metrics.classification import softmax

        grouped = self.batches(examples, data, training=False)
        return softmax(grouped.restore_order(model.predict(grouped, verbose=0)))

    def baseline(self, data: base.Data) -> dict[str, dict[str, float]]:
        from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.naive_bayes import MultinomialNB
        from sklearn.pipeline import make_pipeline

        from .baselines.classification import ignore_convergence_warnings, score_baselines

        # Chosen on the validation splits of `cldr_languages` and of the IMDB reviews.
        if self.config.tokens == "characters":
            unit, grams = "character", {"analyzer": "char_wb", "ngram_range": (1, 5)}
        else:
            unit, grams = "word", {"ngram_range": (1, 2), "token_pattern": r"\w+|[^\w\s]+"}
        opponents = {
            f"{unit} n-gram naive Bayes": make_pipeline(
                CountVectorizer(**grams), MultinomialNB(alpha=0.1)
            ),
            f"{unit} n-gram logistic regression": make_pipeline(
                TfidfVectorizer(**grams, lowercase=unit == "word", min_df=2, sublinear_tf=True),
                LogisticRegression(C=30, max_iter=300),
            ),
        }
        train, test = data.splits["train"], data.splits["test"]
        texts, labels = [example.text for example in train], [example.label for example in train]
        guesses = {}
        for name, opponent in opponents.items():
            with ignore_convergence_warnings():
                opponent.fit(texts, labels)
            guesses[name] = opponent.predict([example.text for example in test])
        return score_baselines(labels, [example.label for example in test], guesses)

    def predict(self, model, raw_inputs: Sequence[str], data: base.Data) -> list[str]:
        probabilities = self._probabilities(model, self._asked(raw_inputs, data), data)
        return [data.notes["classes"][label] for label in probabilities.argmax(-1)]

    def _asked(self, raw_inputs: Sequence[str], data: base.Data) -> list[Example]:
        rows = [{"text": raw, "label": 0} for raw in raw_inputs]
        return self._examples(rows, data.preprocessors["text"])

    def explain(self, model, raw_inputs: Sequence[str], data: base.Data) -> list[dict]:
        """Probabilities are those of the text up to each step, as if it ended there."""
        from .models import explanations

        classes, found = data.notes["classes"], []
        for example in self._asked(raw_inputs, data):
            last = len(example.tokens)
            # Of long texts some steps: each is a text of its own to the model.
            ends = sorted({-(-last * number // STEPS) for number in range(1, STEPS + 1)})
            begun = [example._replace(tokens=example.tokens[:end]) for end in ends]
            probabilities = self._probabilities(model, begun, data)
            shown = explanations.top_classes(probabilities, 4)
            starts = [0, *ends[:-1]]
            found.append(
                {
                    "output": classes[shown[0]],
                    "steps": [
                        self._piece(data.preprocessors["text"], example.tokens[start:end])
                        for start, end in zip(starts, ends, strict=True)
                    ],
                    "classes": [classes[index] for index in shown],
                    "probabilities": explanations.round_values(probabilities[:, shown]),
                }
            )
        return found

    def _piece(self, vocabulary, tokens: list[int]) -> str:
        """Returns what some tokens stand for, to be read."""
        between = " " if self.config.tokens == "words" else ""
        return between.join(vocabulary.token_texts(tokens))


def _cropped(tokens: list[int], share: float, random: np.random.Generator) -> list[int]:
    """Returns, for that share of calls, a run of the tokens at least half as long as all.

    Start and end are kept only where they are part of it: a model then sees what may stand in
    the middle of a text, and cannot learn whole texts by heart.
    """
    if random.random() >= share:
        return tokens
    length = int(random.integers(-(-len(tokens) // 2), len(tokens) + 1))
    start = int(random.integers(0, len(tokens) - length + 1))
    return tokens[start : start + length]
