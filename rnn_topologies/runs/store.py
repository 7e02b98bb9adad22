"""Run folders on disk: reads and writes records and the files next to them. Imports no keras.

`<results>/runs/<run id>/` holds

    record.json          one object with the fields of `Record`
    epochs.csv           one row per epoch: epoch, seconds, learning_rate, losses and metrics
    samples.jsonl        one line per test example: input, target and model output
    explained.jsonl      attention or probabilities for a few of them, see `Task.explain`
    tensorboard/         the epochs as TensorBoard logs
    weights.npz          arrays in the order of `model.weights`, named by their paths
    <preprocessor>.json  what turns raw input into tensors, such as a vocabulary

Run folders are written atomically: to a temporary folder that is then renamed. Any number of runs
can write at the same time without a lock.
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
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, cast

import pydantic

from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.errors import UserError

from .datasets import dataset_use, label_datasets, to_integer
from .record import SCHEMA, Config, Explanation, Record, Sample, Versioned, current_settings

if TYPE_CHECKING:
    import pandas as pd

# Fields of a record that `load_runs` turns into columns unchanged.
PLAIN_COLUMNS = ("run_id", "started_at", "status", "task", "topology", "cell", "dataset")
PLAIN_COLUMNS += ("epochs_run", "best_epoch", "error")
RECORD, WEIGHTS = "record.json", "weights.npz"
SAMPLES, EXPLANATIONS = "samples.jsonl", "explained.jsonl"
ARRAY_NAME = re.compile(r"[0-9]{3,}\.[\w.-]+\.npy")
MAX_TEXT_BYTES = 256 << 20


def list_run_folders(path: str | pathlib.Path) -> list[pathlib.Path]:
    """Returns the run folders in a results folder, or in a folder of run folders, oldest first."""
    path = pathlib.Path(path)
    parent = runs_folder(path) if runs_folder(path).is_dir() else path
    return sorted(record.parent for record in parent.glob(f"*/{RECORD}"))


def load_runs(path: str | pathlib.Path) -> "pd.DataFrame":
    """Returns all runs of a results folder as a `pandas.DataFrame`, one tidy row per run.

    Args:
        path: a results folder, or a folder of run folders such as `results/reference`.

    Returns:
        Columns `run_id`, `started_at`, `status`, `task`, `topology`, `cell`, `dataset`,
        `dataset_label` (see `datasets.label_datasets`), `folds` and `fold` (0 without), `headline`,
        `value` and `higher_is_better` of the headline, `parameters`, `seconds` (total),
        `epochs_run`, `best_epoch`, `error`, `folder`, `warnings` (about the data), and
        `config/...`, `validation/...`, `test/...`, `baseline/...` (the headline metric of the
        baselines), `baseline_error/...` (why a baseline failed), `environment/...`, empty for runs
        that lack them. Records that cannot be read are skipped with a warning.
    """
    import pandas as pd

    return pd.DataFrame(load_run_rows(path))


def load_run_rows(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """Returns the rows of `load_runs` as dictionaries, without importing pandas."""
    records = {}
    for folder in list_run_folders(path):
        try:
            records[folder] = read_record(folder)
        except UserError as error:
            warnings.warn(f"skipping {folder}: {error}", stacklevel=2)
    labels = label_datasets(map(dataset_use, records.values()))
    return [
        _run_row(record, folder, labels[dataset_use(record)]) for folder, record in records.items()
    ]


def _run_row(record: Record, folder: pathlib.Path, dataset_label: str) -> dict[str, Any]:
    headline = record.headline or {}
    return {
        **{name: getattr(record, name) for name in PLAIN_COLUMNS},
        "dataset_label": dataset_label,
        "folds": to_integer(record.config.get("folds")),
        "fold": to_integer(record.config.get("fold")),
        "headline": headline.get("name"),
        "value": headline.get("value"),
        "higher_is_better": headline.get("higher_is_better"),
        "parameters": (record.model or {}).get("trainable_parameters"),
        "seconds": sum(record.seconds.values()),
        "folder": str(folder),
        "warnings": _warnings(record),
        **{f"config/{name}": value for name, value in record.config.items()},
        **record.metrics,
        **{f"baseline/{name}": value for name, value in record.baselines.items()},
        **{f"baseline_error/{name}": text for name, text in record.baseline_errors.items()},
        **{f"environment/{name}": value for name, value in record.environment.items()},
    }


def _warnings(record: Record) -> list[str]:
    """Returns the warnings about the data of a run."""
    warnings = (record.data or {}).get("warnings")
    return list(map(str, warnings)) if isinstance(warnings, list) else []


def runs_folder(results_dir: str | pathlib.Path) -> pathlib.Path:
    """Returns the folder that holds the run folders of a results folder."""
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
    """Writes a run folder atomically, replacing an earlier one, and returns its path.

    Args:
        results_dir: the results folder; the run is written to `runs/<run id>` in it.
        record: the record of the run.
        epochs: the rows of `epochs.csv`.
        examples: the lines of `samples.jsonl`.
        explained: the lines of `explained.jsonl`.
        preprocessors: the JSON text of each preprocessor by name.
        weights: the arrays of the model by name, see `model_io.weights_by_name`.

    Raises:
        OSError: the folder cannot be written; nothing is left behind.
    """
    folder = runs_folder(results_dir) / record.run_id
    with _atomic_folder(folder) as partial:
        _write_csv(partial / "epochs.csv", epochs)
        _write_json_lines(partial / SAMPLES, examples)
        _write_json_lines(partial / EXPLANATIONS, explained)
        _write_tensorboard(partial / "tensorboard", epochs)
        for name, text in (preprocessors or {}).items():
            (partial / f"{name}.json").write_text(text, "utf-8")
        if weights:
            import numpy as np

            np.savez(partial / WEIGHTS, **weights)
        fields = dataclasses.asdict(record)
        text = json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False)
        (partial / RECORD).write_text(text + "\n", "utf-8")
    return folder


def write_run_files(
    results_dir: str | pathlib.Path, run_id: str, files: Mapping[str, bytes]
) -> pathlib.Path:
    """Writes a run folder like `write_run`, from the contents of files written elsewhere.

    Args:
        results_dir: the results folder.
        run_id: the id of the run.
        files: the content of each file by its path within the run folder.
    """
    folder = runs_folder(results_dir) / run_id
    with _atomic_folder(folder) as partial:
        for name, content in files.items():
            path = partial / name
            filesystem.make_folder(path.parent)
            path.write_bytes(content)
    return folder


@contextlib.contextmanager
def _atomic_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder to write into, then renames it to `folder`."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed while writing
    filesystem.make_folder(partial)
    try:
        yield partial
        if folder.exists():  # the record of an interrupted run that has been resumed
            shutil.rmtree(folder)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_csv(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        if rows:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _write_json_lines(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
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
    """Returns the path of a file in a run folder, or None if it does not exist.

    Raises:
        UserError: the path is not a regular file. A symbolic link could point outside the folder,
            and reading a pipe could block forever.
    """
    path = pathlib.Path(folder) / name
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is not a regular file and is not read.")
    return path if path.is_file() else None


def read_text(folder: str | pathlib.Path, name: str) -> str:
    """Returns the text of a file in a run folder.

    Raises:
        UserError: the file is missing, too large or unreadable.
    """
    path = find_file(folder, name)
    if path is None:
        raise UserError(f"{pathlib.Path(folder) / name} is missing.")
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise UserError(f"{path} is larger than {MAX_TEXT_BYTES >> 20} MB and is not read.")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error


def read_epochs(folder: str | pathlib.Path) -> list[dict[str, float]]:
    """Returns the rows of a run's `epochs.csv`; empty if the file does not exist.

    Raises:
        UserError: the file is damaged.
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
    """Returns the objects in `samples.jsonl` or `explained.jsonl`; empty if it does not exist.

    Raises:
        UserError: the file is damaged.
    """
    if find_file(folder, name) is None:
        return []
    line_type = Explanation if name == EXPLANATIONS else Sample
    # Not `splitlines`, which also splits at characters that JSON strings may contain unescaped.
    lines = read_text(folder, name).split("\n")
    return [
        _parse(line_type, line, f"{pathlib.Path(folder) / name}, line {number}")
        for number, line in enumerate(lines, 1)
        if line
    ]


def read_record(folder: str | pathlib.Path) -> Record:
    """Reads the record of a run folder; settings of older schemas get their current names.

    Raises:
        UserError: the record is missing, damaged, or of a newer schema.
    """
    path = pathlib.Path(folder) / RECORD
    text = read_text(folder, RECORD)
    schema = _parse(Versioned, text, path)["schema"]
    if schema > SCHEMA:
        raise UserError(
            f"{path} has schema {schema}, newer than {SCHEMA}. Update rnn-topologies to read it."
        )
    record = _parse(Record, text, path)
    record.config = cast(Config, current_settings(record.config, schema))
    record.schema = SCHEMA
    return record


def find_record(results_dir: str | pathlib.Path, run_id: str) -> Record | None:
    """Returns the record of a run, or None if there is no readable record."""
    try:
        return read_record(runs_folder(results_dir) / run_id)
    except UserError:
        return None


def _parse(schema: Any, text: str, source: str | pathlib.Path) -> Any:
    """Parses JSON and validates every field against a type."""
    try:
        return _adapter(schema).validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = ".".join(map(str, first["loc"]))
        prefix = f"{location}: " if location else ""
        raise UserError(f"{source} is damaged: {prefix}{first['msg']}.") from error


@functools.cache
def _adapter(schema: Any) -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(schema)


def read_weights(folder: str | pathlib.Path) -> dict[str, Any]:
    """Returns the weights of a run by name, in the order of `model.weights`.

    Only a plain, uncompressed archive of numeric arrays is accepted: it takes no more memory than
    disk space, nothing is unpickled and no file is written.

    Raises:
        UserError: the file is missing or contains anything else.
    """
    path = find_file(folder, WEIGHTS)
    if path is None:
        raise UserError(f"{folder} has no weights, only a record.")
    arrays, remaining = {}, path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.infolist(), key=lambda member: member.filename):
                if member.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{member.filename} is compressed")
                if not ARRAY_NAME.fullmatch(member.filename):
                    raise ValueError(f"{member.filename!r} is not a valid array name")
                remaining -= member.file_size
                if remaining < 0:  # several members may share the same bytes
                    raise ValueError("its arrays are larger than the file")
                with archive.open(member) as file:
                    arrays[member.filename.removesuffix(".npy")] = _read_array(file, member)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"{path} is not a weights file of this program: {error}") from error
    return arrays


def _read_array(file: IO[bytes], member: zipfile.ZipInfo) -> Any:
    """Reads a numeric array whose header matches the size of the archive member."""
    import numpy as np

    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"{member.filename} has format version {version}, expected (1, 0)")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in "fiub" or fortran or file.tell() + size != member.file_size:
        raise ValueError(f"{member.filename} is not a plain numeric array")
    return np.frombuffer(file.read(size), dtype).reshape(shape)
