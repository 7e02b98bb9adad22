"""Records of runs on disk: what was asked, what came out. Reads no model and imports no keras.

`<results>/runs/<run id>/` holds

    record.json      one object: the fields of `Record`
    epochs.csv       one row an epoch: epoch, seconds, learning_rate, losses and metrics
    samples.jsonl    one test example a line, with what the model made of it
    explained.jsonl  how it came to it, for a few of them: see `Task.explain`
    tensorboard/     the epochs once more, as TensorBoard reads them
    weights.npz      arrays in the order of `model.weights`, under their paths
    <tool>.json      whatever turns raw input into tensors, such as vocabularies

A run's folder appears whole or not at all: it is written beside its place and renamed. So any
number of runs can write at once without a lock.
"""

import csv
import dataclasses
import datetime
import json
import pathlib
import secrets
import shutil
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

SCHEMA = 2  # 2 added `tables` and `baseline_metrics`
# Fields of a record that are columns of `load` as they are.
PLAIN = ("run_id", "started_at", "status", "task", "topology", "cell", "dataset")
PLAIN += ("epochs_run", "best_epoch", "error")
Status = Literal["ok", "diverged", "interrupted", "failed"]


def new_run_id(task: str, cell: str, seed: int) -> str:
    """Returns an id that sorts by time and that no two runs share."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{task}-{cell}-seed{seed}-{secrets.token_hex(2)}"


def timestamp() -> str:
    """Returns the time in UTC as ISO-8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclasses.dataclass
class Record:
    """One run. `metrics` is flat ("test/bleu"); `seconds` has data, compile, fit, evaluate."""

    run_id: str
    started_at: str
    status: Status
    task: str
    topology: str
    cell: str
    dataset: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    git: Mapping[str, Any] | None
    data: Mapping[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    signatures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headline: Mapping[str, Any] | None = None
    baselines: Mapping[str, float] = dataclasses.field(default_factory=dict)
    baseline_metrics: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    epochs_run: int = 0
    best_epoch: int | None = None
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    error: str | None = None
    schema: int = SCHEMA


def run_folders(path: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the run folders in a results folder, or in a folder of run folders, oldest first."""
    path = pathlib.Path(path)
    place = runs_folder(path) if runs_folder(path).is_dir() else path
    return sorted(record.parent for record in place.glob("*/record.json"))


def load(path: str | pathlib.Path):
    """Returns all runs of a results folder as a `pandas.DataFrame`, one tidy row a run.

    Args:
        path: a results folder, or a folder of run folders such as `results/reference`.

    Returns:
        Columns `run_id`, `started_at`, `status`, `task`, `topology`, `cell`, `dataset`,
        `headline`, `value` and `higher_is_better` of the headline, `parameters`, `seconds` (in
        all), `epochs_run`, `best_epoch`, `error`, `folder`; and `config/...`, `validation/...`,
        `test/...`, `baseline/...` (the headline of the opponents), `environment/...`, empty where
        a run has none. A record that cannot be read is left out with a warning that names it.
    """
    import pandas as pd

    rows = []
    for folder in run_folders(path):
        try:
            rows.append(_tidy(read(folder), folder))
        except (ValueError, TypeError, KeyError, OSError) as error:
            warnings.warn(f"{folder} is left out: {error}", stacklevel=2)
    return pd.DataFrame(rows)


def _tidy(record: "Record", folder: pathlib.Path) -> dict[str, Any]:
    headline = record.headline or {}
    return {
        **{name: getattr(record, name) for name in PLAIN},
        "headline": headline.get("name"),
        "value": headline.get("value"),
        "higher_is_better": headline.get("higher_is_better"),
        "parameters": (record.model or {}).get("trainable_parameters"),
        "seconds": sum(record.seconds.values()),
        "folder": str(folder),
        **{f"config/{name}": value for name, value in record.config.items()},
        **record.metrics,
        **{f"baseline/{name}": value for name, value in record.baselines.items()},
        **{f"environment/{name}": value for name, value in record.environment.items()},
    }


def runs_folder(results_dir: str | pathlib.Path) -> pathlib.Path:
    return pathlib.Path(results_dir) / "runs"


def write(
    results_dir: str | pathlib.Path,
    record: Record,
    *,
    epochs: Sequence[Mapping[str, Any]] = (),
    examples: Sequence[Mapping[str, Any]] = (),
    explained: Sequence[Mapping[str, Any]] = (),
    tools: Mapping[str, str] | None = None,
    weights: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes a run's folder, whole or not at all, and returns it.

    Raises:
        OSError: the folder cannot be written; nothing is left behind.
    """
    place = runs_folder(results_dir) / record.run_id
    beside = place.with_name(f".{place.name}.partial")
    beside.mkdir(parents=True)
    try:
        _write_table(beside / "epochs.csv", epochs)
        _write_lines(beside / "samples.jsonl", examples)
        _write_lines(beside / "explained.jsonl", explained)
        _write_tensorboard(beside / "tensorboard", epochs)
        for name, text in (tools or {}).items():
            (beside / f"{name}.json").write_text(text, "utf-8")
        if weights:
            import numpy as np

            np.savez(beside / "weights.npz", **weights)
        fields = dataclasses.asdict(record)
        text = json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False)
        (beside / "record.json").write_text(text + "\n", "utf-8")
        beside.rename(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return place


def _write_table(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        if rows:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _write_lines(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_tensorboard(folder: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from tensorboard.summary import Writer

    for part, prefix in (("validation", "val_"), ("train", "")):
        writer = Writer(str(folder / part))
        for row in rows:
            for name, value in row.items():
                if name != "epoch" and name.startswith("val_") == bool(prefix):
                    writer.add_scalar(name.removeprefix(prefix), value, row["epoch"])
        writer.close()


def read_epochs(folder: str | pathlib.Path) -> list[dict[str, float]]:
    """Returns the rows of a run's `epochs.csv`, empty if there is none."""
    path = pathlib.Path(folder) / "epochs.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(v) for name, v in row.items() if v} for row in csv.DictReader(file)]


def read_lines(folder: str | pathlib.Path, name: str) -> list[dict[str, Any]]:
    """Returns the rows of a run's `samples.jsonl` or `explained.jsonl`, empty if there is none."""
    path = pathlib.Path(folder) / name
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read(folder: str | pathlib.Path) -> Record:
    """Reads the record in a run's folder.

    Raises:
        ValueError: it is of a newer schema, or not a record.
        OSError: there is none.
    """
    path = pathlib.Path(folder) / "record.json"
    fields = json.loads(path.read_text("utf-8"))
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if not isinstance(schema, int):
        raise ValueError(f"{path} is not the record of a run.")
    if schema > SCHEMA:
        raise ValueError(
            f"{path} has schema {schema}, newer than {SCHEMA}. Update rnn-topologies to read it."
        )
    return Record(**fields)


def read_weights(folder: str | pathlib.Path) -> dict[str, Any]:
    """Returns the arrays of a run's weights in their order; never unpickles anything.

    Raises:
        ValueError: the file holds anything but arrays of numbers.
        OSError: there is none.
    """
    import numpy as np

    with np.load(pathlib.Path(folder) / "weights.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in sorted(arrays.files)}
