"""What a record holds, and of which type each field is. Imports no keras.

A record may be a stranger's: whoever reads one checks it by these types.
"""

import dataclasses
import datetime
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NotRequired

import pydantic
from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

# 2 added `tables` and `baseline_metrics`; 3 `diverged_step`, `reproducible`, `resumed`, and the
# status `stopped`.
SCHEMA = 3
# Where files lie on somebody's machine is nobody else's business and changes no result.
NOT_RECORDED = ("data_dir", "manual_dir")
Status = Literal["ok", "diverged", "stopped", "interrupted", "failed"]
FINAL_STATUSES = ("ok", "diverged", "stopped")  # there is nothing to go on with

PlainName = Annotated[str, pydantic.StringConstraints(pattern=r"^\w[\w.-]*$", max_length=200)]
Base64 = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
MetricName = Annotated[str, pydantic.StringConstraints(pattern=r"^(validation|test)/.")]
ALLOW_EXTRA_KEYS = pydantic.ConfigDict(strict=True, extra="allow")


class Versioned(TypedDict):
    """What a record of any schema has."""

    __pydantic_config__ = ALLOW_EXTRA_KEYS

    schema: int


class Config(TypedDict):
    """The settings of a run; these are what every task has, and each adds its own."""

    __pydantic_config__ = ALLOW_EXTRA_KEYS

    seed: int
    cell: str


class Headline(TypedDict):
    """The figure to compare runs by."""

    name: str
    value: float
    higher_is_better: bool
    meaning: NotRequired[str]


class Sample(TypedDict):
    """A line of `samples.jsonl`; a task may add to it."""

    __pydantic_config__ = ALLOW_EXTRA_KEYS

    source: str
    target: str
    output: str
    right: bool


class Explanation(TypedDict):
    """A line of `explained.jsonl`, see `Task.explain`."""

    __pydantic_config__ = ALLOW_EXTRA_KEYS

    index: Annotated[int, pydantic.Field(ge=0)]
    output: str | list[str]
    image: NotRequired[Base64]
    steps: NotRequired[list[str]]
    classes: NotRequired[list[str]]
    probabilities: NotRequired[list[list[float]]]
    written: NotRequired[list[str]]
    attention: NotRequired[list[list[float]]]
    grid: NotRequired[list[int]]


@dataclasses.dataclass
class Record:
    """One run. `metrics` is flat ("test/bleu"); `seconds` has data, compile, fit, evaluate."""

    __pydantic_config__: ClassVar = pydantic.ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False
    )

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
    tables: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    epochs_run: int = 0
    best_epoch: int | None = None
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    error: str | None = None
    diverged_step: int | None = None
    reproducible: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    resumed: Sequence[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    schema: int = SCHEMA


def new_run_id(task: str, cell: str, seed: int) -> str:
    """Returns an id that sorts by time and that no two runs share."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{task}-{cell}-seed{seed}-{secrets.token_hex(2)}"


def utc_timestamp() -> str:
    """Returns the time in UTC as ISO-8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def new_record(task, name: str, **facts) -> Record:
    """Returns the record of a run of which nothing is known yet but what was asked.

    Args:
        task: with its settings resolved.
        name: of the task.
        facts: `run_id`, `started_at`, `environment` and `git`.
    """
    config = dataclasses.asdict(task.config)
    return Record(
        status="failed",
        task=name,
        topology=str(task.topology),
        cell=config["cell"],
        dataset=task.dataset,
        config={
            **{name: value for name, value in config.items() if name not in NOT_RECORDED},
            "dataset": task.dataset,
        },
        **facts,
    )
