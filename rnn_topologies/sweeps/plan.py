"""What a sweep runs: values parsed from flags, grids and random draws, and a name for every run."""

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
from rnn_topologies.tasks.base import expand_folds, flag_name
from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.errors import UserError, unknown_name

from ..runs.record import RENAMED_SETTINGS

Search = Literal["grid", "random", "optuna"]
BOOLEANS = {"true": True, "false": False}


class Range(NamedTuple):
    """Values from `low` to `high` inclusive: integers, or floats on a log scale."""

    low: float
    high: float

    def sample(self, random: np.random.Generator) -> float | int:
        if isinstance(self.low, int):
            return int(random.integers(self.low, int(self.high), endpoint=True))
        return round_to_3_digits(
            float(np.exp(random.uniform(math.log(self.low), math.log(self.high))))
        )


@dataclasses.dataclass(frozen=True)
class SweepSpec:
    """Everything needed to start or resume a sweep, in JSON types.

    Attributes:
        sweep_id: names the sweep, and begins with the time it was created.
        tasks, cells: names.
        seeds: number of seeds.
        settings: values of `--set`, as `NAME=VALUE,VALUE` or `NAME=LOW..HIGH`.
        search: how settings are chosen.
        trials: number of settings to try, unless `search` is "grid".
        stop_early: whether runs that are not among the best are stopped.
        backend: Keras backend.
        cpus_per_run: cores of each run.
        max_concurrent: maximum number of runs at a time; None for as many as there are cores.
        address: Ray cluster; None for this machine.
    """

    sweep_id: str
    tasks: list[str]
    cells: list[str]
    seeds: int
    settings: list[str]
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


def new_sweep_id() -> str:
    """Returns an id that sorts by time and that no two sweeps share."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-sweep-{secrets.token_hex(2)}"


def make_trial(spec: SweepSpec, task: str, settings: Mapping[str, Any]) -> Trial:
    """Returns a trial whose run id follows from the sweep, the task and the settings alone."""
    timestamp = spec.sweep_id.partition("-")[0]
    digest = hashlib.sha256(json.dumps([task, settings], sort_keys=True).encode()).hexdigest()
    run_id = f"{timestamp}-{task}-{settings['cell']}-seed{settings['seed']}-{digest[:8]}"
    return Trial(run_id, task, dict(settings))


def trial_from_config(spec: SweepSpec, config: Mapping[str, Any]) -> Trial:
    """Returns the trial of a Ray config: one of a grid, or settings that a search suggests."""
    if "trial" in config:
        return Trial(**config["trial"])
    settings = {name: round_to_3_digits(value) for name, value in config.items()}
    return make_trial(spec, spec.tasks[0], {"seed": 0, **settings})


def list_trials(spec: SweepSpec) -> list[Trial]:
    """Returns the trials of a grid or random search; all tasks and cells get the same settings.

    All cells with one seed come before the next seed: a sweep that is cut short still compares
    them.

    Raises:
        UserError: a setting is invalid.
    """
    trials = []
    for seed, task, cell in itertools.product(range(spec.seeds), spec.tasks, spec.cells):
        for combination in _combinations(spec, task):
            for settings in expand_folds({"cell": cell, "seed": seed, **combination}):
                tasks.get_task(task)(settings)  # raises before anything runs if one is invalid
                trials.append(make_trial(spec, task, settings))
    return trials


def _combinations(spec: SweepSpec, task: str) -> Iterator[dict[str, Any]]:
    values = parse_settings(spec, task)
    if spec.search == "grid":
        for name, choices in values.items():
            if isinstance(choices, Range):
                raise UserError(f"--set {name}: a range needs --search random or optuna.")
        for combination in itertools.product(*values.values()):
            yield dict(zip(values, combination, strict=True))
        return
    random = np.random.default_rng(0)
    for _ in range(spec.trials):
        yield {name: sample(choices, random) for name, choices in values.items()}


def round_to_3_digits(value: Any) -> Any:
    """Returns a float rounded to three significant digits, to be readable; other types as is."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def sample(choices: Range | Sequence[Any], random: np.random.Generator) -> Any:
    if isinstance(choices, Range):
        return choices.sample(random)
    return choices[int(random.integers(len(choices)))]


def parse_settings(spec: SweepSpec, task: str) -> dict[str, Range | list[Any]]:
    """Returns the values of every setting of `--set`.

    Raises:
        UserError: there is no such setting, or a value has the wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(tasks.get_task(task).Config)}
    values = {}
    for setting in spec.settings:
        name, equals, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not (equals and text):
            raise UserError(f"--set {setting}: expected NAME=VALUE,VALUE or NAME=LOW..HIGH.")
        if name not in fields:
            raise UserError(unknown_name(f"setting of {task}", name, sorted(fields)))
        if name in ("cell", "seed"):
            raise UserError(f"--set {setting}: use {'--cell' if name == 'cell' else '--seeds'}.")
        if name in values:
            raise UserError(f"--set {name} is given twice.")
        values[name] = _parse_values(fields[name], text)
    return values


def _parse_values(field: dataclasses.Field, text: str) -> Range | list[Any]:
    value_type: Any = field.type
    if isinstance(value_type, types.UnionType):
        value_type = next(part for part in get_args(value_type) if part is not types.NoneType)
    ends = re.fullmatch(r"(.+)\.\.(.+)", text)
    if ends and value_type in (int, float):
        low, high = (_parse_value(field.name, value_type, end) for end in ends.groups())
        if not low < high or (value_type is float and low <= 0):
            raise UserError(
                f"--set {field.name}={text}: LOW must be less than HIGH, and above 0 for a float."
            )
        return Range(low, high)
    return [_parse_value(field.name, value_type, value) for value in text.split(",")]


def _parse_value(name: str, value_type: Any, text: str) -> Any:
    text = text.strip()
    try:
        if value_type is bool:
            return BOOLEANS[text.lower()]
        return value_type(text) if value_type in (int, float) else text
    except (KeyError, ValueError):
        expected = {bool: "true or false", int: "an integer", float: "a number"}[value_type]
        raise UserError(f"{flag_name(name)} must be {expected}, got {text!r}.") from None


def sweep_file(results_dir: str | pathlib.Path, sweep_id: str) -> pathlib.Path:
    return pathlib.Path(results_dir) / "sweeps" / f"{sweep_id}.json"


def save_sweep(spec: SweepSpec, results_dir: str | pathlib.Path) -> None:
    path = sweep_file(results_dir, spec.sweep_id)
    filesystem.make_folder(path.parent)
    with filesystem.atomic_write(path) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(spec), indent=2) + "\n", "utf-8")


def find_sweep(sweep: str, results_dir: str | pathlib.Path) -> SweepSpec:
    """Returns a saved sweep.

    Args:
        sweep: sweep id, a unique prefix of one, or `last`.
        results_dir: folder of results.

    Raises:
        UserError: no sweep matches, or several do.
    """
    known = sorted(path.stem for path in sweep_file(results_dir, "").parent.glob("*.json"))
    matches = known[-1:] if sweep == "last" else [name for name in known if name.startswith(sweep)]
    if len(matches) != 1:
        if not known:
            raise UserError(f"No sweep in {results_dir}.")
        raise UserError(unknown_name("sweep", sweep, known[-5:]))
    path = sweep_file(results_dir, matches[0])
    try:
        fields = json.loads(path.read_text("utf-8"))
        if "given" in fields:  # what version 0.1 called `settings`
            fields["settings"] = [_rename_setting(text) for text in fields.pop("given")]
        return SweepSpec(**fields)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"Cannot read {path}: {error}.") from error


def _rename_setting(text: str) -> str:
    """Returns NAME=VALUES of a sweep of version 0.1 with the current name of the setting."""
    name, equals, values = text.partition("=")
    name = name.strip().replace("-", "_")
    return RENAMED_SETTINGS.get(name, name) + equals + values
