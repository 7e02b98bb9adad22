"""Checkpoints: what it takes to resume a run that has not finished. Imports no keras.

`<results>/unfinished/<run id>/` exists from the start of a run until its folder in `runs/` is
complete, and holds

    run.json        the `RunRequest`, with the data folders that a record leaves out
    checkpoint.npz  the state of training at the last checkpoint
    lock            held by the process that works on the run, released when it dies

A checkpoint is written to a temporary file and renamed: however a process dies, the last complete
checkpoint remains. `run.json` contains paths of this machine, so do not share it.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import filelock

from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.errors import UserError, unknown_name

from ..runs import store
from ..runs.record import FINAL_STATUSES, SCHEMA, current_settings

if TYPE_CHECKING:
    import numpy as np

LAST = "last"
REQUEST, CHECKPOINT, LOCK = "run.json", "checkpoint.npz", "lock"
METADATA = "facts"  # the array of a checkpoint that holds its metadata as JSON


@dataclasses.dataclass(frozen=True)
class RunRequest:
    """Everything needed to start a run again, in JSON types."""

    run_id: str
    started_at: str
    task: str
    settings: Mapping[str, Any]
    backend: str
    checkpoint_steps: int
    environment: Mapping[str, Any]
    git: Mapping[str, Any] | None
    strategy: str | None = None
    schema: int = SCHEMA  # see `record.RENAMED_SETTINGS`


class CheckpointManager:
    """Saves and loads the checkpoint of one run, and locks the run for this process.

    Args:
        folder: `<results>/unfinished/<run id>`, created if missing.
        request: how to start the run again.

    Raises:
        UserError: another process is working on the run.
    """

    def __init__(self, folder: pathlib.Path, request: RunRequest):
        self.folder, self.request = folder, request
        filesystem.make_folder(folder)
        self._lock = filelock.FileLock(folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(f"{request.run_id} is still running.") from None
        self._write_request()

    @property
    def results_dir(self) -> pathlib.Path:
        return self.folder.parent.parent

    def _write_request(self) -> None:
        text = json.dumps(dataclasses.asdict(self.request), indent=2)
        with filesystem.atomic_write(self.folder / REQUEST) as temporary:
            temporary.write_text(text + "\n", "utf-8")

    def save(self, metadata: Mapping[str, Any], arrays: Mapping[str, "np.ndarray"]) -> None:
        """Replaces the checkpoint.

        Raises:
            OSError: it cannot be written; the previous one is kept.
        """
        import numpy as np

        text = json.dumps(metadata, allow_nan=False).encode()
        members: dict[str, Any] = {METADATA: np.frombuffer(text, "uint8"), **arrays}
        if not (self.folder / REQUEST).is_file():  # somebody deleted the results folder
            filesystem.make_folder(self.folder)
            self._write_request()
        with (
            filesystem.atomic_write(self.folder / CHECKPOINT) as temporary,
            temporary.open("wb") as file,
        ):
            np.savez(file, **members)
            file.flush()
            os.fsync(file.fileno())

    def load(self) -> tuple[dict[str, Any], dict[str, "np.ndarray"]] | None:
        """Returns the metadata and arrays of the checkpoint, or None if there is none yet.

        Raises:
            UserError: it cannot be read.
        """
        return _load(self.folder / CHECKPOINT)

    def has_checkpoint(self) -> bool:
        return (self.folder / CHECKPOINT).is_file()

    def close(self, *, keep: bool) -> None:
        """Unlocks the run, and deletes its folder unless `keep`."""
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # one of them is not empty
                self.folder.parent.rmdir()
                self.results_dir.rmdir()
        self._lock.release()


def _load(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, "np.ndarray"]] | None:
    import numpy as np

    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        metadata = json.loads(arrays.pop(METADATA).tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"Cannot read {path}: {error}. Delete it, and --resume starts the run from scratch."
        ) from error
    return metadata, arrays


def checkpoint_folder(results_dir: str | pathlib.Path, run_id: str) -> pathlib.Path:
    return pathlib.Path(results_dir) / "unfinished" / run_id


def unfinished_runs(results_dir: str | pathlib.Path) -> list[str]:
    """Returns the ids of runs that have not finished, oldest first, including running ones."""
    return [name for name in _folder_names(results_dir) if not _has_finished(results_dir, name)]


def _folder_names(results_dir: str | pathlib.Path) -> list[str]:
    requests = checkpoint_folder(results_dir, "").glob(f"*/{REQUEST}")
    return sorted(path.parent.name for path in requests)


def _has_finished(results_dir: str | pathlib.Path, run_id: str) -> bool:
    record = store.find_record(results_dir, run_id)
    return record is not None and record.status in FINAL_STATUSES


def read_request(results_dir: str | pathlib.Path, run_id: str) -> RunRequest | None:
    """Returns the request of an unfinished run, or None if there is no such run."""
    path = checkpoint_folder(results_dir, run_id) / REQUEST
    return _read_request(path) if path.is_file() else None


def saved_epochs(results_dir: str | pathlib.Path, run_id: str) -> list[dict[str, Any]]:
    """Returns the rows of `epochs.csv` that an unfinished run has saved so far."""
    checkpoint = _load(checkpoint_folder(results_dir, run_id) / CHECKPOINT)
    if checkpoint is None:
        return []
    metadata, _ = checkpoint
    return metadata["progress"]["rows"]


def discard_checkpoint(results_dir: str | pathlib.Path, run_id: str) -> None:
    """Deletes the checkpoint of a run that will not be resumed."""
    shutil.rmtree(checkpoint_folder(results_dir, run_id), ignore_errors=True)


def is_running(results_dir: str | pathlib.Path, run_id: str) -> bool:
    """Whether a process is working on the run."""
    path = checkpoint_folder(results_dir, run_id) / LOCK
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path).acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


def find_checkpoint(run: str, results_dir: str | pathlib.Path) -> CheckpointManager:
    """Returns the checkpoint of an interrupted run, locked for this process.

    Args:
        run: run id, a unique prefix of one, or `last`: the most recent run that is not running.
        results_dir: folder of results.

    Raises:
        UserError: no run matches, several do, or it is still running.
    """
    unfinished = unfinished_runs(results_dir)
    for name in set(_folder_names(results_dir)) - set(unfinished):
        discard_checkpoint(results_dir, name)  # its process died right after finishing the run
    if run == LAST:
        matches = [name for name in unfinished if not is_running(results_dir, name)][-1:]
    else:
        matches = [name for name in unfinished if name == run] or [
            name for name in unfinished if name.startswith(run)
        ]
    if len(matches) > 1:
        raise UserError(f"{run!r} matches {len(matches)} runs: {', '.join(matches[:5])}.")
    if not matches:
        if not unfinished:
            raise UserError(f"No interrupted run in {results_dir}.")
        if run == LAST:
            raise UserError(f"All unfinished runs in {results_dir} are still running.")
        raise UserError(unknown_name("interrupted run", run, unfinished[-5:]))
    folder = checkpoint_folder(results_dir, matches[0])
    return CheckpointManager(folder, _read_request(folder / REQUEST))


def _read_request(path: pathlib.Path) -> RunRequest:
    try:
        fields = {"schema": 3} | json.loads(path.read_text("utf-8"))  # up to 3 it was not written
        settings = current_settings(fields["settings"], fields["schema"])
        return RunRequest(**{**fields, "settings": settings, "schema": SCHEMA})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"Cannot read {path}: {error}.") from error
