"""What a task is: four facts and a few methods. The runner knows no more of it."""

import abc
import dataclasses
import enum
import pathlib
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args, get_origin

from .errors import UserError, did_you_mean, unknown_name

# Keys of `Task.datasets` for what has no name of its own there.
FILES = "files"  # a user's own files, by their path
PUBLIC = "tfds"  # any set of TensorFlow Datasets, by its name


class Topology(enum.StrEnum):
    """How a recurrent network maps what it reads to what it writes."""

    ONE_TO_ONE = "one-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_ONE = "many-to-one"
    MANY_TO_MANY_UNALIGNED = "many-to-many, unaligned"
    MANY_TO_MANY_ALIGNED = "many-to-many, aligned"


@dataclasses.dataclass(frozen=True)
class Headline:
    """The one figure by which runs of a task are compared, and how to read it."""

    name: str
    higher_is_better: bool
    meaning: str


@dataclasses.dataclass(frozen=True)
class DatasetFacts:
    """What `list` says about a data set, and the settings that suit it.

    Attributes:
        form: how it is named, such as `cldr_dates/<source>-<target>`.
        text: one line about it.
        settings: values for the fields of `Config` that the user leaves open.
        headline: the figure to compare runs by.
        read: `(config) -> Source`, the raw examples; raises `UserError` for what a user can mend.
    """

    form: str
    text: str
    settings: Mapping[str, Any]
    headline: Headline
    read: Callable[[Any], Any]


def setting(default: Any, text: str, **metadata) -> Any:
    """A field of a `TaskConfig`: its default, the help of its flag, and its limits."""
    return dataclasses.field(default=default, metadata={"help": text, **metadata})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The settings that every task has. Every field is a flag of the command line.

    Raises:
        UserError: a value is out of its limits.
    """

    dataset: str = setting("", "Data set: a name, see `list`, or the path of your own files.")
    cell: str = setting("gru", "Recurrent cell; see `list`.")
    units: int = setting(128, "Size of the recurrent state.", at_least=1)
    epochs: int = setting(10, "Passes over the training data, at most.", at_least=1)
    batch_size: int = setting(64, "Examples a step.", at_least=1)
    learning_rate: float = setting(1e-3, "Highest step size of Adam.", above=0)
    patience: int = setting(
        3, "Stop after this many epochs without a better validation loss.", at_least=1
    )
    label_smoothing: float = setting(
        0.0, "Share of the target's probability spread over all classes.", at_least=0, below=1
    )
    seed: int = setting(0, "Seed of everything that is drawn.", at_least=0)
    limit: int | None = setting(None, "Use the first N training examples only.", at_least=1)
    deterministic: bool = setting(
        False, "Same seed, same machine: same figures to the last bit, on a CPU."
    )
    data_dir: str | None = setting(
        None, "Folder of prepared data sets. Default: the one of TensorFlow Datasets."
    )
    manual_dir: str | None = setting(
        None, "Folder with original files that you have, instead of downloading them."
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                check_setting(field, value)


def flag(name: str) -> str:
    """Returns the flag of a field: `batch_size` is set by `--batch-size`."""
    return "--" + name.replace("_", "-")


def check_setting(field: dataclasses.Field, value: Any) -> None:
    """Checks a value against the limits in its field's metadata."""
    name, limits = flag(field.name), field.metadata
    if not _is_of(field.type, value):
        raise UserError(f"{name} must be {_kind(field.type)}, got {value!r}.")
    if get_origin(field.type) is Literal and value not in get_args(field.type):
        raise UserError(unknown_name(f"value of {name}", value, get_args(field.type)))
    if "at_least" in limits and not value >= limits["at_least"]:
        raise UserError(f"{name} must be at least {limits['at_least']}, got {value}.")
    if "at_most" in limits and not value <= limits["at_most"]:
        raise UserError(f"{name} must be at most {limits['at_most']}, got {value}.")
    if "above" in limits and not value > limits["above"]:
        raise UserError(f"{name} must be above {limits['above']}, got {value}.")
    if "below" in limits and not value < limits["below"]:
        raise UserError(f"{name} must be below {limits['below']}, got {value}.")


def _is_of(kind, value) -> bool:
    """Whether a value, perhaps from a record that somebody has changed, is of a field's type."""
    if get_origin(kind) is Literal:
        return isinstance(value, str)
    if isinstance(kind, types.UnionType):
        return any(_is_of(part, value) for part in get_args(kind))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def _kind(kind) -> str:
    if isinstance(kind, types.UnionType):
        kind = get_args(kind)[0]
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set ready to train on.

    Attributes:
        name: of the set, with its version.
        sha256: of its content, all splits.
        splits: `{"train", "validation", "test"}` and perhaps more, each a sequence of examples.
        preprocessors: whatever turns raw input into tensors and back, such as vocabularies; each with
            `to_json() -> str`, to be kept with the weights.
        notes: facts about the set for the record, JSON types only.
    """

    name: str
    sha256: str
    splits: Mapping[str, Sequence]
    preprocessors: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a model scores on a split.

    Attributes:
        metrics: flat, without the name of the split.
        examples: one row for each example, JSON types only: `source`, `output` and `target` as
            text to be read, whether the output is `right`, and what else a task has to tell.
        signatures: how a library describes its own figures.
        tables: figures with rows and columns, JSON types only, such as a confusion matrix.
    """

    metrics: Mapping[str, float]
    examples: Sequence[Mapping[str, Any]]
    signatures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Task(abc.ABC):
    """One topology, on one kind of data.

    A task never calls `fit` and never writes a file. It imports keras only where it builds a
    model, so that `list` and `--help` answer at once.
    """

    topology: ClassVar[Topology]
    summary: ClassVar[str]
    default_dataset: ClassVar[str]
    datasets: ClassVar[Mapping[str, DatasetFacts]]  # by the first part of their names
    preprocessors: ClassVar[
        Mapping[str, Callable[[str], Any]]
    ] = {}  # how to read what `to_json` wrote
    Config: ClassVar[type[TaskConfig]] = TaskConfig
    watched_accuracy: ClassVar[str] = "accuracy"  # what to call it, of tokens or frames

    def __init__(self, settings: Mapping[str, Any]):
        """Takes the settings that the user chose; the data set's own fill the rest."""
        dataset = settings.get("dataset") or self.default_dataset
        self.kind = self._kind_of(dataset)
        self.facts = self.datasets[self.kind]
        self.config = self.Config(**{**self.facts.settings, **settings, "dataset": dataset})

    @property
    def dataset(self) -> str:
        """The data set as a record names it: of a path the last part only."""
        name = self.config.dataset
        return f"{FILES}/{pathlib.Path(name).name}" if self.kind == FILES else name

    def places(self) -> dict[str, str]:
        """Returns the settings that name places on this machine, whatever folder one stands in."""
        names = ["data_dir", "manual_dir", *(["dataset"] if self.kind == FILES else [])]
        values = {name: getattr(self.config, name) for name in names}
        return {
            name: str(pathlib.Path(value).expanduser().absolute())
            for name, value in values.items()
            if value is not None
        }

    def _kind_of(self, dataset: str) -> str:
        name = dataset.partition("/")[0]
        if name in self.datasets and name not in (FILES, PUBLIC):
            return name
        path = pathlib.Path(dataset).expanduser()
        # A record says `files/<name>`, and a run is rebuilt without the files.
        if path.exists() or name == FILES:
            return FILES
        if path.suffix in (".csv", ".tsv") or dataset[0] in "./~":
            raise UserError(f"--dataset {dataset}: there is no such file or folder.")
        from .data.sources import public

        if public.is_known(name):
            return PUBLIC
        known = [facts.form for facts in self.datasets.values()]
        hint = did_you_mean(name, [*self.datasets, *public.names()])
        raise UserError(f"Unknown data set: {dataset!r}. Available: {', '.join(known)}.{hint}")

    def source(self):
        """Returns the raw data, of the training examples as many as asked for.

        Raises:
            UserError: it cannot be had or read, or a split is empty.
        """
        from .data.source import check_splits

        found = self.facts.read(self.config).limited(self.config.limit)
        check_splits(self.dataset, found.splits)
        return found

    @abc.abstractmethod
    def load_data(self) -> Data:
        """Returns the data; the test split is the one that scores are reported on."""

    @abc.abstractmethod
    def build_model(self, data: Data):
        """Returns an uncompiled `keras.Model` with its weights, whose outputs are logits.

        Of the data it needs preprocessors and notes only, so that a run is rebuilt without its splits.
        """

    @abc.abstractmethod
    def batches(self, examples: Sequence, data: Data, *, training: bool):
        """Returns `batches.Batches` of (inputs, targets, weights), to fit and evaluate on.

        With `training`, order and draws follow from seed, epoch and step alone: so a run that was
        cut off goes on as if it had not been.
        """

    def loss(self):
        """Returns the loss to train with: cross entropy, with the label smoothing asked for."""
        from .models.losses import CrossEntropy

        return CrossEntropy(self.config.label_smoothing)

    def metrics(self) -> list:
        """Returns metrics to watch, weighted by the batches' weights."""
        from .models.losses import watched

        return watched(self.watched_accuracy)

    @abc.abstractmethod
    def evaluate(self, model, split: str, data: Data) -> Evaluation:
        """Scores the model as its user would run it: what it writes is decoded freely."""

    @abc.abstractmethod
    def baseline(self, data: Data) -> dict[str, dict[str, float]]:
        """Returns the scores on test of a trivial opponent and a strong classical one.

        Each has the figures of `evaluate` that do not need probabilities, the headline among them.
        """

    def score_parts(self, examples: Sequence[Mapping[str, Any]], data: Data):
        """Takes the headline figure apart by test examples, see `resampling.Parts`.

        Args:
            examples: those of `evaluate`, of the test split alone.
            data: needs notes only.
        """
        from .metrics.bootstrap import mean_of

        return mean_of([example["right"] for example in examples])

    @abc.abstractmethod
    def predict(self, model, raw_inputs: Sequence, data: Data) -> list:
        """Raw input in, readable output out."""

    def explain(self, model, raw_inputs: Sequence, data: Data) -> list[dict[str, Any]]:
        """Returns what the model did with each raw input, JSON types only, to be drawn.

        Keys, those that there are:
            output: what `predict` returns.
            image: the input as a PNG file in base64; of a clip its frames side by side.
            steps: what was read, piece by piece.
            classes, probabilities: some classes, and (steps, classes) after each step.
            written: what was written, piece by piece.
            attention: (written, steps), or (written, places of the image).
            grid: rows and columns of those places.
        """
        return [{"output": output} for output in self.predict(model, raw_inputs, data)]

    def raw(self, example) -> Any:
        """Returns the raw input of an example: a tuple's first field, or the example itself."""
        return example[0] if isinstance(example, tuple) else example

    def read_input(self, given: str) -> Any:
        """Returns the raw input that a user means by what stands on the command line."""
        return given
