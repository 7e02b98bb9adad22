"""The schema of run records. Imports no keras.

Records are untrusted input: `store` validates every record that it reads against these types.
"""

import dataclasses
import datetime
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, cast

import pydantic
from typing_extensions import TypedDict  # required by pydantic before Python 3.12

if TYPE_CHECKING:
    from rnn_topologies.tasks.base import Task

# 2 added `tables` and `baseline_metrics`; 3 added `diverged_step`, `reproducible`, `resumed` and
# the status `stopped`; 4 renamed settings, see `RENAMED_SETTINGS`; 5 added `baseline_errors`,
# `cached_baselines` and `explanation_error`.
SCHEMA = 5
ALL_BASELINES = "all baselines"  # the name in `baseline_errors` if the task fails to list them
# Settings that had another name up to schema 3.
RENAMED_SETTINGS = {
    "captions": "captions_per_image",
    "differences": "delta_features",
    "embedding": "embedding_size",
    "features": "feature_size",
    "mirror": "horizontal_flip",
    "piece": "chunk_length",
    "shift": "random_translation",
    "width": "filters",
}
# Local paths are private and do not affect results.
NOT_RECORDED = ("data_dir", "manual_dir")
Status = Literal["ok", "diverged", "stopped", "interrupted", "failed"]
FINAL_STATUSES = ("ok", "diverged", "stopped")  # cannot be resumed

PlainName = Annotated[str, pydantic.StringConstraints(pattern=r"^\w[\w.-]*$", max_length=200)]
Base64 = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
MetricName = Annotated[str, pydantic.StringConstraints(pattern=r"^(validation|test)/.")]
ALLOW_EXTRA_KEYS = pydantic.ConfigDict(strict=True, extra="allow")


@pydantic.with_config(ALLOW_EXTRA_KEYS)
class Versioned(TypedDict):
    """The field that records of every schema have."""

    schema: int


@pydantic.with_config(ALLOW_EXTRA_KEYS)
class Config(TypedDict):
    """The settings of a run: those that all tasks share; each task adds its own."""

    seed: int
    cell: str


class Headline(TypedDict):
    """The metric by which runs are compared."""

    name: str
    value: float
    higher_is_better: bool
    meaning: NotRequired[str]


@pydantic.with_config(ALLOW_EXTRA_KEYS)
class Sample(TypedDict):
    """A line of `samples.jsonl`; tasks may add fields."""

    source: str
    target: str
    output: str
    right: bool


@pydantic.with_config(ALLOW_EXTRA_KEYS)
class Explanation(TypedDict):
    """A line of `explained.jsonl`, see `Task.explain`."""

    index: Annotated[int, pydantic.Field(ge=0)]
    output: str | list[str]
    image: NotRequired[Base64]
    steps: NotRequired[list[str]]
    classes: NotRequired[list[str]]
    probabilities: NotRequired[list[list[float]]]
    written: NotRequired[list[str]]
    attention: NotRequired[list[list[float]]]
    grid: NotRequired[list[int]]


@pydantic.with_config(pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
@dataclasses.dataclass
class Record:
    """One run; results/README.md describes the fields.

    `metrics` is flat ("test/bleu"). `seconds` has the keys data, compile, fit and evaluate.
    """

    run_id: PlainName
    started_at: str
    status: Status
    task: str
    topology: str
    cell: str
    dataset: str
    config: Config
    environment: Mapping[str, Any]
    git: Mapping[str, Any] | None
    data: Mapping[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    metrics: Mapping[MetricName, float] = dataclasses.field(default_factory=dict)
    signatures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headline: Headline | None = None
    baselines: Mapping[str, float] = dataclasses.field(default_factory=dict)
    baseline_metrics: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    baseline_errors: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cached_baselines: Sequence[str] = dataclasses.field(default_factory=list)
    explanation_error: str | None = None
    tables: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    epochs_run: int = 0
    best_epoch: int | None = None
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    error: str | None = None
    diverged_step: int | None = None
    reproducible: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    resumed: Sequence[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    schema: int = SCHEMA


def current_settings(settings: Mapping[str, Any], schema: int) -> dict[str, Any]:
    """Returns settings that were stored under a schema, with their current names."""
    renamed = RENAMED_SETTINGS if schema <= 3 else {}
    return {renamed.get(name, name): value for name, value in settings.items()}


def new_run_id(task: str, cell: str, seed: int) -> str:
    """Returns a unique run id; ids sort by time."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{task}-{cell}-seed{seed}-{secrets.token_hex(2)}"


def utc_timestamp() -> str:
    """Returns the current UTC time in ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def new_record(
    task: "Task",
    name: str,
    *,
    run_id: str,
    started_at: str,
    environment: Mapping[str, Any],
    git: Mapping[str, Any] | None,
) -> Record:
    """Returns the record of a run that has just started.

    Its status is `failed` until the run ends.

    Args:
        task: the task, with its settings resolved.
        name: the name of the task.
        run_id: see `new_run_id`.
        started_at: see `utc_timestamp`.
        environment: see `environment.describe_environment`.
        git: see `environment.git_state`.
    """
    config = dataclasses.asdict(task.config)
    recorded = {key: value for key, value in config.items() if key not in NOT_RECORDED}
    return Record(
        run_id=run_id,
        started_at=started_at,
        status="failed",
        task=name,
        topology=str(task.topology),
        cell=config["cell"],
        dataset=task.dataset,
        config=cast(Config, recorded | {"dataset": task.dataset}),
        environment=environment,
        git=git,
    )
