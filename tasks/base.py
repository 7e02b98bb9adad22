"""What a task is: attributes that describe it, and methods that load data, build and score a model.

The runner knows nothing else about a task.
"""

import abc
import dataclasses
import enum
import os
import pathlib
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin

from .data.filesystem import printable
from .errors import UserError, did_you_mean, unknown_name

if TYPE_CHECKING:  # these modules import keras
    import keras

    from .data.batching import Batches
    from .data.source import Source
    from .metrics.bootstrap import ScoreParts

# Keys of `Task.datasets` for data sets that have no entry of their own.
FILES = "files"  # your own files, by path
MAX_FOLDS = 100
TFDS = "tfds"  # any data set of TensorFlow Datasets, by name


class Topology(enum.StrEnum):
    """How a recurrent network maps an input sequence to an output sequence."""

    ONE_TO_ONE = "one-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_ONE = "many-to-one"
    MANY_TO_MANY_UNALIGNED = "many-to-many, unaligned"
    MANY_TO_MANY_ALIGNED = "many-to-many, aligned"


@dataclasses.dataclass(frozen=True)
class Headline:
    """The metric that runs of a task are compared by.

    Attributes:
        name: its key in `Evaluation.metrics`.
        higher_is_better: whether the best run has the highest value.
        meaning: its unit, denominator and range in one line.
    """

    name: str
    higher_is_better: bool
    meaning: str


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set of a task: what `runner.py list` shows, its default settings, how to read it.

    Attributes:
        usage: what to pass to `--dataset`, such as `cldr_dates/<source>-<target>`.
        description: one line about the data.
        settings: defaults of `Task.Config` fields for this data set.
        headline: the metric to compare runs by.
        read_source: `(config) -> Source`, reads the raw examples. Raises `UserError` for problems
            that the user can fix.
    """

    usage: str
    description: str
    settings: Mapping[str, Any]
    headline: Headline
    read_source: Callable[[Any], "Source"]


def setting(default: Any, help_text: str, **limits: float) -> Any:
    """Returns a field of a `TaskConfig`.

    Args:
        default: value if neither the user nor the data set sets it.
        help_text: shown by `--help`.
        limits: any of `at_least`, `at_most`, `above` and `below`.
    """
    return dataclasses.field(default=default, metadata={"help": help_text, **limits})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The settings that all tasks have. Each field is also a command line flag.

    Raises:
        UserError: a value has the wrong type or is out of range.
    """

    dataset: str = setting("", "Data set: a name (see `list`) or a path to your own files.")
    cell: str = setting("gru", "Recurrent cell (see `list`).")
    units: int = setting(128, "Size of the recurrent state.", at_least=1)
    epochs: int = setting(10, "Maximum number of training epochs.", at_least=1)
    batch_size: int = setting(64, "Examples per batch.", at_least=1)
    learning_rate: float = setting(1e-3, "Peak learning rate of Adam.", above=0)
    patience: int = setting(
        3, "Stop after this many epochs without a lower validation loss.", at_least=1
    )
    label_smoothing: float = setting(
        0.0, "Fraction of the target probability spread over all classes.", at_least=0, below=1
    )
    seed: int = setting(0, "Random seed.", at_least=0)
    limit: int | None = setting(
        None,
        "Train on a sample of N examples, the same for every seed; validation and test shrink "
        "proportionally.",
        at_least=1,
    )
    folds: int | None = setting(
        None,
        "Cross-validate on your own files: test on each of N folds in turn.",
        at_least=2,
        at_most=MAX_FOLDS,
    )
    fold: int | None = setting(None, "Run only fold N of --folds, counted from 1.", at_least=1)
    deterministic: bool = setting(
        False, "Make runs with the same seed on the same machine bit-identical (CPU only)."
    )
    data_dir: str | None = setting(
        None, "Folder for prepared data sets. Default: that of TensorFlow Datasets."
    )
    manual_dir: str | None = setting(
        None, "Folder with original files to use instead of downloading them."
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                check_setting(field, value)
        if (self.folds is None) != (self.fold is None):
            raise UserError("--fold N selects one of the K runs of --folds K: give both.")
        if self.folds is not None and self.fold is not None and self.fold > self.folds:
            raise UserError(f"--fold must be at most --folds {self.folds}, got {self.fold}.")


def expand_folds(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the settings of each run of a cross-validation, or of the only run.

    Example:
        >>> expand_folds({"folds": 2})
        [{'folds': 2, 'fold': 1}, {'folds': 2, 'fold': 2}]
    """
    folds = settings.get("folds")
    if folds is None or settings.get("fold") is not None:
        return [dict(settings)]
    # `TaskConfig` rejects numbers out of range.
    count = folds if 2 <= folds <= MAX_FOLDS else 1
    return [{**settings, "fold": number} for number in range(1, count + 1)]


def flag_name(field_name: str) -> str:
    """Returns the command line flag of a field.

    Example:
        >>> flag_name("batch_size")
        '--batch-size'
    """
    return "--" + field_name.replace("_", "-")


def check_setting(field: dataclasses.Field, value: Any) -> None:
    """Checks a value against the type of a field and the limits in its metadata.

    Raises:
        UserError: the value has the wrong type or is out of range.
    """
    flag, limits = flag_name(field.name), field.metadata
    if not _has_type(value, field.type):
        raise UserError(f"{flag} must be {_describe_type(field.type)}, got {value!r}.")
    if get_origin(field.type) is Literal and value not in get_args(field.type):
        raise UserError(unknown_name(f"value of {flag}", value, get_args(field.type)))
    if "at_least" in limits and not value >= limits["at_least"]:
        raise UserError(f"{flag} must be at least {limits['at_least']}, got {value}.")
    if "at_most" in limits and not value <= limits["at_most"]:
        raise UserError(f"{flag} must be at most {limits['at_most']}, got {value}.")
    if "above" in limits and not value > limits["above"]:
        raise UserError(f"{flag} must be above {limits['above']}, got {value}.")
    if "below" in limits and not value < limits["below"]:
        raise UserError(f"{flag} must be below {limits['below']}, got {value}.")


def _has_type(value: Any, field_type: Any) -> bool:
    # Settings also come from records, which are untrusted input.
    if get_origin(field_type) is Literal:
        return isinstance(value, str)
    if isinstance(field_type, types.UnionType):
        return any(_has_type(value, member) for member in get_args(field_type))
    if isinstance(value, bool):
        return field_type is bool
    return isinstance(value, int | float if field_type is float else field_type)


def _describe_type(field_type: Any) -> str:
    if isinstance(field_type, types.UnionType):
        field_type = get_args(field_type)[0]
    descriptions = {int: "an integer", float: "a number", bool: "true or false"}
    return descriptions.get(field_type, "a string")


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set, ready to train on.

    Attributes:
        name: name and version of the data set.
        sha256: hash of the content of all splits.
        splits: `{"train": ..., "validation": ..., "test": ...}` and possibly more, each a
            sequence of examples.
        preprocessors: objects that turn raw input into tensors and back, such as vocabularies.
            Each has a method `to_json() -> str` and is saved with the weights.
        notes: facts about the data set for the record, JSON types only.
    """

    name: str
    sha256: str
    splits: Mapping[str, Sequence[Any]]
    preprocessors: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of a model on a split.

    Attributes:
        metrics: value of each metric; the names do not include the split.
        examples: one row per example, JSON types only: `source`, `output` and `target` as
            readable text, `right` (whether the output is correct), and more at the task's choice.
        signatures: settings of metrics in their library's notation, such as sacreBLEU's.
        tables: results with rows and columns, such as a confusion matrix, JSON types only.
    """

    metrics: Mapping[str, float]
    examples: Sequence[Mapping[str, Any]]
    signatures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Task(abc.ABC):
    """One topology, applied to one kind of data.

    A task never calls `fit` and never writes a file. It imports keras only where it builds a
    model, so that `runner.py list` and `--help` start quickly.

    Args:
        settings: settings chosen by the user. Those of the data set, then the defaults of
            `Config`, fill in the rest.

    Attributes:
        topology: how inputs map to outputs.
        summary: what the task does, in a few words.
        default_dataset: the data set to use if the user names none.
        datasets: a `DatasetSpec` per data set, by its name up to the first slash; `FILES` and
            `TFDS` stand for all data sets that have no entry of their own.
        preprocessors: for each entry of `Data.preprocessors`, the function that reads its JSON.
        Config: the class of the settings.
        accuracy_name: name of the accuracy that is logged during training.
        config: all settings, resolved.
        dataset_key: key of the chosen data set in `datasets`.
        dataset_spec: its entry in `datasets`.

    Raises:
        UserError: a setting or the data set is invalid.
    """

    topology: ClassVar[Topology]
    summary: ClassVar[str]
    default_dataset: ClassVar[str]
    datasets: ClassVar[Mapping[str, DatasetSpec]]
    preprocessors: ClassVar[Mapping[str, Callable[[str], Any]]] = {}
    Config: ClassVar[type[TaskConfig]] = TaskConfig
    accuracy_name: ClassVar[str] = "accuracy"

    config: Any  # an instance of `Config`; subclasses declare its class

    def __init__(self, settings: Mapping[str, Any]):
        dataset = settings.get("dataset") or self.default_dataset
        self.dataset_key = self._find_dataset_key(dataset)
        self.dataset_spec = self.datasets[self.dataset_key]
        self.config = self.Config(**{**self.dataset_spec.settings, **settings, "dataset": dataset})
        if self.config.folds is not None and self.dataset_key != FILES:
            raise UserError(f"--folds is for your own files: {dataset} comes with a test split.")

    @property
    def dataset(self) -> str:
        """Name of the data set in records; a path is reduced to its last component."""
        name = self.config.dataset
        if self.dataset_key == FILES:
            return f"{FILES}/{printable(pathlib.Path(name).absolute().name)}"
        return name

    def local_paths(self) -> dict[str, str]:
        """Returns the settings that are paths, made absolute.

        With these, a run can be resumed from any working directory.
        """
        names = ["data_dir", "manual_dir", *(["dataset"] if self.dataset_key == FILES else [])]
        paths = {name: getattr(self.config, name) for name in names}
        return {
            name: str(pathlib.Path(path).expanduser().absolute())
            for name, path in paths.items()
            if path is not None
        }

    def _find_dataset_key(self, dataset: str) -> str:
        name = dataset.partition("/")[0]
        if name in self.datasets and name not in (FILES, TFDS):
            return name
        path = pathlib.Path(dataset).expanduser()
        # Records name files `files/<name>`: models are rebuilt from them without the files.
        if os.path.exists(path) or name == FILES:
            return FILES
        if path.suffix.lower() in (".csv", ".tsv") or dataset[0] in "./~":
            raise UserError(f"--dataset {dataset}: no such file or folder.")
        from .data.sources import public

        if public.is_public_dataset(name):
            return TFDS
        usages = ", ".join(spec.usage for spec in self.datasets.values())
        hint = did_you_mean(name, [*self.datasets, *public.public_dataset_names()])
        raise UserError(f"Unknown data set: {dataset!r}. Available: {usages}.{hint}")

    def load_source(self) -> "Source":
        """Returns the raw data, one fold of it, or a sample, see `Source.limit_train`.

        Raises:
            UserError: the data cannot be obtained or read, or a split is empty.
        """
        from .data.checks import sample_warnings, size_warnings
        from .data.source import check_splits

        source = self.dataset_spec.read_source(self.config)
        if self.config.folds is not None:
            source = source.select_fold(self.config.folds, self.config.fold)
        source = source.limit_train(self.config.limit)
        check_splits(self.dataset, source.splits)
        count = len(source.splits["test"])
        subject = "the test split has"
        has_folds = source.make_fold is not None and self.config.folds is None
        if self.config.folds is not None:
            count = sum(map(len, source.splits.values()))
            subject = "all folds together have"
        warnings = size_warnings(subject, count, has_folds=has_folds)
        return source.warn([*warnings, *sample_warnings(source)])

    @abc.abstractmethod
    def load_data(self) -> Data:
        """Returns the data, ready to train on. Final scores are computed on its test split."""

    def describe_data(self, data: Data) -> list[str]:
        """Returns one line for each choice made when reading the data, for the user to check."""
        notes, lines = data.notes, []
        columns = notes.get("columns")  # of features, or {role: number and name}
        if isinstance(columns, Mapping):
            columns = [f"{role} from column {column}" for role, column in columns.items()]
        if columns:
            lines.append(f"columns: {', '.join(columns)}")
        if "tokens" in notes:
            lines.append(f"tokens: {notes['tokens']} ({notes['tokens_chosen']})")
        shape = notes.get("image_shape", notes.get("frame_shape", ()))
        if len(shape) == 3 and self.dataset_key in (FILES, TFDS):
            height, width, channels = shape
            colors = "greyscale" if channels == 1 else "colour"
            lines.append(f"images: {width} x {height} pixels, {colors}")
        return lines

    @abc.abstractmethod
    def build_model(self, data: Data) -> "keras.Model":
        """Returns a model with initialized weights, not compiled, that outputs logits.

        Uses only the preprocessors and notes of `data`: a saved model is rebuilt without splits.
        """

    @abc.abstractmethod
    def batches(self, examples: Sequence[Any], data: Data, *, training: bool) -> "Batches":
        """Returns batches of (inputs, targets, weights), for `fit` and `evaluate`.

        In training, their order and all random draws depend on the seed, the epoch and the step
        alone, so that a resumed run continues as if it had never been interrupted.
        """

    def loss(self) -> "keras.losses.Loss":
        """Returns the training loss: cross entropy with the configured label smoothing."""
        from .models.losses import CrossEntropy

        return CrossEntropy(self.config.label_smoothing)

    def metrics(self) -> "list[keras.metrics.Metric]":
        """Returns the metrics to log in training, weighted by the weights in the batches."""
        from .models.losses import training_metrics

        return training_metrics(self.accuracy_name)

    @abc.abstractmethod
    def evaluate(self, model: Any, split: str, data: Data) -> Evaluation:
        """Scores the model the way it is used: decoders read their own output."""

    @abc.abstractmethod
    def baseline(self, data: Data) -> Mapping[str, Mapping[str, float]]:
        """Returns the test scores of a trivial and of a strong classical baseline.

        Each has those metrics of `evaluate` that need no probabilities, including the headline.
        With `BaselineScores` they are cached, and computed one by one, so that a failing one does
        not affect the others. They must not depend on the cell or the seed of the run.
        """

    def score_parts(self, examples: Sequence[Mapping[str, Any]], data: Data) -> "ScoreParts":
        """Returns what each test example contributes to the headline, see `bootstrap.ScoreParts`.

        Args:
            examples: the rows of `Evaluation.examples` for the test split.
            data: only its notes are used.
        """
        from .metrics.bootstrap import mean_parts

        return mean_parts([example["right"] for example in examples])

    @abc.abstractmethod
    def predict(self, model: Any, raw_inputs: Sequence[Any], data: Data) -> list[Any]:
        """Returns a readable output for each raw input."""

    def explain(self, model: Any, raw_inputs: Sequence[Any], data: Data) -> list[dict[str, Any]]:
        """Returns how the model arrived at each output, as plain data to plot, JSON types only.

        Keys, all but the first optional:
            output: what `predict` returns.
            image: the input as a PNG file in base64; the frames of a clip are side by side.
            steps: the input, step by step.
            classes, probabilities: some classes, and their probabilities after each step
                (steps, classes).
            written: the generated tokens.
            attention: weights (written, steps), or (written, positions in the image).
            grid: number of rows and columns of those positions.
        """
        return [{"output": output} for output in self.predict(model, raw_inputs, data)]

    def raw_input(self, example: Any) -> Any:
        """Returns the raw input of an example: the first field of a tuple, or the example."""
        return example[0] if isinstance(example, tuple) else example

    def find_problem(self, raw_input: Any, data: Data) -> str | None:
        """Returns why the model cannot process a raw input, such as an empty text, or None."""
        return None

    @classmethod
    def read_input_file(cls, path: pathlib.Path) -> list[str]:
        """Returns the inputs in a file, by default one per line, as arguments of `read_input`.

        Raises:
            UserError: the file cannot be read or decoded.
        """
        from .data.files import reading

        return reading.read_lines(path)

    def read_input(self, argument: str) -> Any:
        """Returns the raw input that a command line argument denotes, such as a path."""
        return argument
