"""Runs that have not ended: what is needed to go on with them. Imports no keras.

`<results>/unfinished/<run id>/` holds, from the beginning of a run until its folder in `runs/` is
complete,

    run.json        what was asked, with the folders of data that a record leaves out
    checkpoint.npz  the state of training after the last epoch, or step, that was saved
    lock            held by the process that works on the run, and let go when it dies

A checkpoint is written beside its place and renamed: however a process ends, there is the last
whole one. It names folders of this machine, so it is not to be passed on.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Mapping
from typing import Any

import filelock

from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.errors import UserError, unknown_name

from ..runs import store
from ..runs.record import FINAL_STATUSES

LAST = "last"
RUN, CHECKPOINT, LOCK = "run.json", "checkpoint.npz", "lock"
FACTS = "facts"  # the array of a checkpoint that holds its JSON


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a run was asked to do, in JSON types: enough to do it again."""

    run_id: str
    started_at: str
    task: str
    settings: Mapping[str, Any]
    backend: str
    checkpoint_steps: int
    environment: Mapping[str, Any]
    git: Mapping[str, Any] | None
    strategy: str | None = None


class Unfinished:
    """A run that has not ended.

    Args:
        folder: `<results>/unfinished/<run id>`.
        asked: what it was asked to do.

    Raises:
        UserError: another process works on it.
    """

    def __init__(self, folder: pathlib.Path, asked: Asked):
        self.folder, self.asked = folder, asked
        filesystem.make(folder)
        self._lock = filelock.FileLock(folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(f"{asked.run_id} is still running.") from None
        self._write_asked()

    @property
    def results_dir(self) -> pathlib.Path:
        return self.folder.parent.parent

    def _write_asked(self) -> None:
        text = json.dumps(dataclasses.asdict(self.asked), indent=2, ensure_ascii=False)
        with filesystem.replacing(self.folder / RUN) as beside:
            beside.write_text(text + "\n", "utf-8")

    def save(self, facts: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """Keeps the state of training in place of the one before.

        Raises:
            OSError: it cannot be written; the one before is kept.
        """
        import numpy as np

        text = json.dumps(facts, allow_nan=False).encode()
        if not (self.folder / RUN).is_file():  # somebody removed the results folder
            filesystem.make(self.folder)
            self._write_asked()
        with filesystem.replacing(self.folder / CHECKPOINT) as beside, beside.open("wb") as file:
            np.savez(file, **{FACTS: np.frombuffer(text, "uint8")}, **arrays)
            file.flush()
            os.fsync(file.fileno())

    def saved(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Returns the facts and arrays of the last checkpoint, or None if there is none.

        Raises:
            UserError: it cannot be read.
        """
        return _saved(self.folder / CHECKPOINT)

    def has_checkpoint(self) -> bool:
        return (self.folder / CHECKPOINT).is_file()

    def close(self, *, keep: bool) -> None:
        """Lets go of the run; unless it is kept, removes its folder."""
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # there is more in one of them
                self.folder.parent.rmdir()
                self.results_dir.rmdir()
        self._lock.release()


def _saved(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    import numpy as np

    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(arrays.pop(FACTS).tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} cannot be read: {error}. Remove it, and --resume starts anew."
        ) from error
    return facts, arrays


def place(results_dir: str | pathlib.Path, run_id: str) -> pathlib.Path:
    return pathlib.Path(results_dir) / "unfinished" / run_id


def names(results_dir: str | pathlib.Path) -> list[str]:
    """Returns the ids of runs that have not ended, oldest first, those that go on among them."""
    return [name for name in _folders(results_dir) if not _has_ended(results_dir, name)]


def _folders(results_dir: str | pathlib.Path) -> list[str]:
    return sorted(path.parent.name for path in place(results_dir, "").glob(f"*/{RUN}"))


def _has_ended(results_dir: str | pathlib.Path, run_id: str) -> bool:
    record = store.find_record(results_dir, run_id)
    return record is not None and record.status in FINAL_STATUSES


def known(results_dir: str | pathlib.Path, run_id: str) -> Asked | None:
    """Returns what an unfinished run was asked, or None if there is no such run."""
    path = place(results_dir, run_id) / RUN
    return _read(path) if path.is_file() else None


def rows(results_dir: str | pathlib.Path, run_id: str) -> list[dict]:
    """Returns the epochs of an unfinished run, as far as it has saved them."""
    saved = _saved(place(results_dir, run_id) / CHECKPOINT)
    return saved[0]["progress"]["rows"] if saved else []


def discard(results_dir: str | pathlib.Path, run_id: str) -> None:
    """Removes the state of a run that nobody will go on with."""
    shutil.rmtree(place(results_dir, run_id), ignore_errors=True)


def is_running(results_dir: str | pathlib.Path, run_id: str) -> bool:
    """Whether a process works on it."""
    if not (place(results_dir, run_id) / LOCK).exists():
        return False
    lock = filelock.FileLock(place(results_dir, run_id) / LOCK)
    try:
        with lock.acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


def find(run: str, results_dir: str | pathlib.Path) -> Unfinished:
    """Returns a run to go on with.

    Args:
        run: its id, the beginning of its id if no other begins so, or `last`: the one that began
            last, of those that no process works on.
        results_dir: where runs are.

    Raises:
        UserError: there is none, there are several, or a process works on it.
    """
    known = names(results_dir)
    for name in set(_folders(results_dir)) - set(known):  # it ended, and then its process died
        discard(results_dir, name)
    if run == LAST:
        found = [name for name in known if not is_running(results_dir, name)][-1:]
    else:
        found = [name for name in known if name == run] or [
            name for name in known if name.startswith(run)
        ]
    if len(found) > 1:
        raise UserError(f"{run!r} is the beginning of {len(found)} runs: {', '.join(found[:5])}.")
    if not found:
        if not known:
            raise UserError(f"There is no unfinished run in {results_dir}.")
        if run == LAST:
            raise UserError(f"All unfinished runs in {results_dir} are still running.")
        raise UserError(unknown_name("unfinished run", run, known[-5:]))
    folder = place(results_dir, found[0])
    return Unfinished(folder, _read(folder / RUN))


def _read(path: pathlib.Path) -> Asked:
    try:
        return Asked(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
