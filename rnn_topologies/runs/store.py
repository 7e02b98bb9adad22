"""Records of runs on disk: what was asked, what came out. Reads no model and imports no keras.

`<results>/runs/<run id>/` holds

    record.json      one object: the fields of `records.Record`
    epochs.csv       one row an epoch: epoch, seconds, learning_rate, losses and metrics
    samples.jsonl    one test example a line, with what the model made of it
    explained.jsonl  how it came to it, for a few of them: see `Task.explain`
    tensorboard/     the epochs once more, as TensorBoard reads them
    weights.npz      arrays in the order of `model.weights`, under their paths
    <preprocessor>.json      whatever turns raw input into tensors, such as vocabularies

A run's folder appears whole or not at all: it is written beside its place and renamed. So any
number of runs can write at once without a lock.
"""

import contextlib
import csv
import dataclasses
import functools
import json
import math
import pathlib
import re
import shutil
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.errors import UserError

from .record import SCHEMA, Explanation, Record, Sample, Versioned

# Fields of a record that are columns of `load_runs` as they are.
PLAIN_COLUMNS = ("run_id", "started_at", "status", "task", "topology", "cell", "dataset")
PLAIN_COLUMNS += ("epochs_run", "best_epoch", "error")
RECORD, WEIGHTS, EXPLANATIONS = "record.json", "weights.npz", "explained.jsonl"
ARRAY = re.compile(r"[0-9]{3,}\.[\w.-]+\.npy")
MAX_TEXT_BYTES = 256 << 20  # of a file of text


def list_run_folders(path: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the run folders in a results folder, or in a folder of run folders, oldest first."""
    path = pathlib.Path(path)
    place = runs_folder(path) if runs_folder(path).is_dir() else path
    return sorted(record.parent for record in place.glob("*/record.json"))


def load_runs(path: str | pathlib.Path):
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
    for folder in list_run_folders(path):
        try:
            rows.append(_tidy(read_record(folder), folder))
        except UserError as error:
            warnings.warn(f"{folder} is left out: {error}", stacklevel=2)
    return pd.DataFrame(rows)


def _tidy(record: "Record", folder: pathlib.Path) -> dict[str, Any]:
    headline = record.headline or {}
    return {
        **{name: getattr(record, name) for name in PLAIN_COLUMNS},
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


def write_run(
    results_dir: str | pathlib.Path,
    record: Record,
    *,
    epochs: Sequence[Mapping[str, Any]] = (),
    examples: Sequence[Mapping[str, Any]] = (),
    explained: Sequence[Mapping[str, Any]] = (),
    preprocessors: Mapping[str, str] | None = None,
    weights: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes a run's folder, whole or not at all and in place of an earlier one, and returns it.

    Raises:
        OSError: the folder cannot be written; nothing is left behind.
    """
    place = runs_folder(results_dir) / record.run_id
    with _appearing(place) as beside:
        _write_table(beside / "epochs.csv", epochs)
        _write_lines(beside / "samples.jsonl", examples)
        _write_lines(beside / EXPLANATIONS, explained)
        _write_tensorboard(beside / "tensorboard", epochs)
        for name, text in (preprocessors or {}).items():
            (beside / f"{name}.json").write_text(text, "utf-8")
        if weights:
            import numpy as np

            np.savez(beside / WEIGHTS, **weights)
        fields = dataclasses.asdict(record)
        text = json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False)
        (beside / RECORD).write_text(text + "\n", "utf-8")
    return place


def write_run_files(
    results_dir: str | pathlib.Path, run_id: str, files: Mapping[str, bytes]
) -> pathlib.Path:
    """Writes a run's folder, as `write` does, from the files that it had elsewhere."""
    with _appearing(runs_folder(results_dir) / run_id) as beside:
        for name, content in files.items():
            path = beside / name
            filesystem.make(path.parent)
            path.write_bytes(content)
    return runs_folder(results_dir) / run_id


@contextlib.contextmanager
def _appearing(place: pathlib.Path):
    """Yields a folder to write into, which then takes the place of an earlier one."""
    beside = place.with_name(f".{place.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed while it wrote
    filesystem.make(beside)
    try:
        yield beside
        if place.exists():  # an interrupted run that has been resumed
            shutil.rmtree(place)
        beside.rename(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


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


def find_file(folder: str | pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns the path of a file of a run, or None if there is none.

    Raises:
        UserError: it is anything but a file: a link could lead out of the folder, and a pipe would
            be waited for without end.
    """
    path = pathlib.Path(folder) / name
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is not a plain file, and is not read.")
    return path if path.is_file() else None


def read_text(folder: str | pathlib.Path, name: str) -> str:
    """Returns the text of a file of a run.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = find_file(folder, name)
    if path is None:
        raise UserError(f"{pathlib.Path(folder) / name} is missing.")
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise UserError(f"{path} is larger than {MAX_TEXT_BYTES >> 20} MB, and is not read.")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error


def read_epochs(folder: str | pathlib.Path) -> list[dict[str, float]]:
    """Returns the rows of a run's `epochs.csv`, empty if there is none.

    Raises:
        UserError: it is damaged.
    """
    path = find_file(folder, "epochs.csv")
    if path is None:
        return []
    try:
        rows = csv.DictReader(read_text(folder, path.name).splitlines(), strict=True)
        return [{name: float(v) for name, v in row.items() if v} for row in rows]
    except (csv.Error, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}.") from error


def read_json_lines(folder: str | pathlib.Path, name: str) -> list[dict[str, Any]]:
    """Returns the rows of a run's `samples.jsonl` or `explained.jsonl`, empty if there is none.

    Raises:
        UserError: it is damaged.
    """
    if find_file(folder, name) is None:
        return []
    kind = Explanation if name == EXPLANATIONS else Sample
    # Not `splitlines`, which also breaks at characters that JSON may hold as they are.
    lines = read_text(folder, name).split("\n")
    return [
        _checked(kind, line, f"{pathlib.Path(folder) / name}, line {number}")
        for number, line in enumerate(lines, 1)
        if line
    ]


def read_record(folder: str | pathlib.Path) -> Record:
    """Reads the record in a run's folder.

    Raises:
        UserError: there is none, it is of a newer schema, or not a record.
    """
    path = pathlib.Path(folder) / RECORD
    text = read_text(folder, RECORD)
    schema = _checked(Versioned, text, path)["schema"]
    if schema > SCHEMA:
        raise UserError(
            f"{path} has schema {schema}, newer than {SCHEMA}. Update rnn-topologies to read it."
        )
    return _checked(Record, text, path)


def find_record(results_dir: str | pathlib.Path, run_id: str) -> Record | None:
    """Returns the record of a run, or None if there is none that can be read."""
    try:
        return read_record(runs_folder(results_dir) / run_id)
    except UserError:
        return None


def _checked(kind, text: str, what):
    """Returns JSON as the given type, every field of it checked."""
    try:
        return _adapter(kind).validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        at = f"{place}: " if place else ""
        raise UserError(f"{what} is damaged: {at}{first['msg']}.") from error


@functools.cache
def _adapter(kind):
    return pydantic.TypeAdapter(kind)


def read_weights(folder: str | pathlib.Path) -> dict[str, Any]:
    """Returns the arrays of a run's weights in their order.

    The file is a plain, uncompressed archive of arrays of numbers: what it takes in memory is what
    it takes on disk, nothing is unpickled, and nothing is written anywhere.

    Raises:
        UserError: there is none, or it holds anything else.
    """
    import numpy as np

    path = find_file(folder, WEIGHTS)
    if path is None:
        raise UserError(f"{folder} has no weights: only its record was kept.")
    arrays, left = {}, path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.infolist(), key=lambda one: one.filename):
                if member.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{member.filename} is compressed")
                if not ARRAY.fullmatch(member.filename):
                    raise ValueError(f"{member.filename!r} is not the name of an array")
                left -= member.file_size
                if left < 0:  # members may claim the same bytes, each anew
                    raise ValueError("its arrays are larger than the file")
                with archive.open(member) as file:
                    arrays[member.filename.removesuffix(".npy")] = _array(np, file, member)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"{path} does not hold weights as this program writes them: {error}") from (
            error
        )
    return arrays


def _array(np, file, member: zipfile.ZipInfo):
    """Reads an array of numbers; its header must not promise more than the file holds."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"{member.filename} is of version {version}")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in "fiub" or fortran or file.tell() + size != member.file_size:
        raise ValueError(f"{member.filename} is not a plain array of numbers")
    return np.frombuffer(file.read(size), dtype).reshape(shape)
