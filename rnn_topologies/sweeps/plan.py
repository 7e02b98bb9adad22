"""What a sweep is to run: settings from text, grids and draws, and a name for every run."""

import dataclasses
import datetime
import hashlib
import itertools
import json
import math
import pathlib
import re
import secrets
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from rnn_topologies import tasks
from rnn_topologies.tasks.base import flag_name
from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.errors import UserError, unknown_name

Search = Literal["grid", "random", "optuna"]
TRUTH = {"true": True, "false": False}


class Range(NamedTuple):
    """Values from `low` to `high`, included: whole numbers, or numbers drawn on a log scale."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float | int:
        if isinstance(self.low, int):
            return int(random.integers(self.low, self.high, endpoint=True))
        return rounded(float(np.exp(random.uniform(math.log(self.low), math.log(self.high)))))


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a sweep was asked to do, in JSON types: enough to go on with it."""

    sweep_id: str
    tasks: list[str]
    cells: list[str]
    seeds: int
    given: list[str]  # NAME=VALUES
    search: Search
    trials: int
    stop_early: bool
    backend: str
    cpus_per_run: int
    max_concurrent: int | None
    address: str | None


class Trial(NamedTuple):
    """One run of a sweep."""

    run_id: str
    task: str
    settings: dict[str, Any]


def new_id() -> str:
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-sweep-{secrets.token_hex(2)}"


def trial(asked: Asked, task: str, settings: Mapping[str, Any]) -> Trial:
    """Returns a run, named after the sweep and what it is: the same settings, the same name."""
    when = asked.sweep_id.partition("-")[0]
    digest = hashlib.sha256(json.dumps([task, settings], sort_keys=True).encode()).hexdigest()
    name = f"{when}-{task}-{settings['cell']}-seed{settings['seed']}-{digest[:8]}"
    return Trial(name, task, dict(settings))


def of(asked: Asked, config: Mapping[str, Any]) -> Trial:
    """Returns the run that Ray has in mind: one of a grid, or settings that a search proposes."""
    if "trial" in config:
        return Trial(**config["trial"])
    settings = {name: rounded(value) for name, value in config.items()}
    return trial(asked, asked.tasks[0], {"seed": 0, **settings})


def trials(asked: Asked) -> list[Trial]:
    """Returns the runs of a grid, or of settings that are drawn once for all tasks and cells.

    All cells with one seed come before the next seed: a sweep that is cut short still compares.

    Raises:
        UserError: a setting is wrong.
    """
    found = []
    for seed, name, cell in itertools.product(range(asked.seeds), asked.tasks, asked.cells):
        for chosen in _chosen(asked, name):
            settings = {"cell": cell, "seed": seed, **chosen}
            tasks.get_task(name)(settings)  # tells mistakes before anything runs
            found.append(trial(asked, name, settings))
    return found


def _chosen(asked: Asked, task: str) -> Iterator[dict[str, Any]]:
    values = values_of(asked, task)
    if asked.search == "grid":
        for name, choices in values.items():
            if isinstance(choices, Range):
                raise UserError(f"--set {name}: a range needs --search random or optuna.")
        for combination in itertools.product(*values.values()):
            yield dict(zip(values, combination, strict=True))
        return
    random = np.random.default_rng(0)
    for _ in range(asked.trials):
        yield {name: draw(choices, random) for name, choices in values.items()}


def rounded(value):
    """Returns a number with a fraction to three digits: what is drawn is to be read, too."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def draw(choices: Range | Sequence, random: np.random.Generator):
    if isinstance(choices, Range):
        return choices.draw(random)
    return choices[int(random.integers(len(choices)))]


def values_of(asked: Asked, task: str) -> dict[str, Range | list]:
    """Returns the values of every setting that was given.

    Raises:
        UserError: there is no such setting, or a value is not of its kind.
    """
    fields = {field.name: field for field in dataclasses.fields(tasks.get_task(task).Config)}
    found = {}
    for given in asked.given:
        name, equals, text = given.partition("=")
        name = name.strip().replace("-", "_")
        if not (equals and text):
            raise UserError(f"--set {given}: expected NAME=VALUE,VALUE or NAME=LOW..HIGH.")
        if name not in fields:
            raise UserError(unknown_name(f"setting of {task}", name, sorted(fields)))
        if name in ("cell", "seed"):
            raise UserError(f"--set {given}: use {'--cell' if name == 'cell' else '--seeds'}.")
        if name in found:
            raise UserError(f"--set {name} is given twice.")
        found[name] = _values(fields[name], text)
    return found


def _values(field: dataclasses.Field, text: str) -> Range | list:
    kind = field.type
    if isinstance(kind, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not types.NoneType)
    ends = re.fullmatch(r"(.+)\.\.(.+)", text)
    if ends and kind in (int, float):
        low, high = (_value(field, kind, end) for end in ends.groups())
        if not low < high or (kind is float and low <= 0):
            raise UserError(f"--set {field.name}={text}: expected LOW..HIGH, LOW above 0.")
        return Range(low, high)
    return [_value(field, kind, one) for one in text.split(",")]


def _value(field: dataclasses.Field, kind, text: str):
    text = text.strip()
    try:
        if kind is bool:
            return TRUTH[text.lower()]
        return kind(text) if kind in (int, float) else text
    except (KeyError, ValueError):
        wanted = "true or false" if kind is bool else f"a {kind.__name__}"
        raise UserError(f"{flag_name(field.name)} must be {wanted}, got {text!r}.") from None


def place(results_dir: str | pathlib.Path, sweep_id: str) -> pathlib.Path:
    return pathlib.Path(results_dir) / "sweeps" / f"{sweep_id}.json"


def save(asked: Asked, results_dir) -> None:
    path = place(results_dir, asked.sweep_id)
    filesystem.make(path.parent)
    with filesystem.replacing(path) as beside:
        beside.write_text(json.dumps(dataclasses.asdict(asked), indent=2) + "\n", "utf-8")


def find(sweep: str, results_dir) -> Asked:
    """Returns an earlier sweep.

    Args:
        sweep: its id, the beginning of its id if no other begins so, or `last`.
        results_dir: where sweeps are.

    Raises:
        UserError: there is no such sweep.
    """
    known = sorted(path.stem for path in place(results_dir, "").parent.glob("*.json"))
    found = known[-1:] if sweep == "last" else [name for name in known if name.startswith(sweep)]
    if len(found) != 1:
        if not known:
            raise UserError(f"There is no sweep in {results_dir}.")
        raise UserError(unknown_name("sweep", sweep, known[-5:]))
    path = place(results_dir, found[0])
    try:
        return Asked(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
