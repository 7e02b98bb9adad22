"""Cache of baseline test scores on disk, next to the prepared data sets.

Baselines depend on the data, not on the cell or the seed, so the runs of a sweep share them.
`<data folder>/baselines/<key>.json` holds the scores of one baseline. The key is a hash of
everything that they depend on: the examples that the baseline reads, its name and task, the code of
the tasks, and the library versions. Files never go stale, and can be deleted at any time.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import inspect
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import filelock

from rnn_topologies import tasks
from rnn_topologies.tasks.base import Task, TaskConfig
from rnn_topologies.tasks.baselines.scores import Rows, Scores
from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.data.source import content_hash
from rnn_topologies.tasks.errors import UserError

VARIABLE = "RNN_TOPOLOGIES_BASELINE_CACHE"
LIBRARIES = ("numpy", "scipy", "scikit-learn", "sacrebleu")


class DamagedError(Exception):
    """A file of the cache cannot be used."""


def is_enabled() -> bool:
    """Whether baselines may be read from the cache and written to it.

    Raises:
        UserError: the environment variable has an unknown value.
    """
    value = os.environ.get(VARIABLE, "on")
    if value not in ("on", "off"):
        raise UserError(f"{VARIABLE} must be 'on' or 'off', got {value!r}.")
    return value == "on"


class BaselineCache:
    """The cached scores of the baselines of one task on one data set.

    Args:
        task: the task.
        rows: what the baselines read, see `BaselineScores`.
    """

    def __init__(self, task: Task, rows: Rows):
        self.folder = cache_folder(task.config)
        self._facts = {
            "task": type(task).__name__,
            "dataset": task.dataset_key,
            "data": content_hash(rows),
            "code": _code_hash(pathlib.Path(inspect.getfile(type(task)))),
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        }

    def path(self, name: str) -> pathlib.Path:
        """Returns the path of the scores of a baseline."""
        return self.folder / f"{_digest({**self._facts, 'baseline': name})[:32]}.json"

    def read(self, name: str) -> Scores | None:
        """Returns the scores of a baseline, or None if they are not in the cache.

        Raises:
            DamagedError: the file is damaged.
        """
        path = self.path(name)
        try:
            entry = json.loads(path.read_text("utf-8"))
            if entry != self._entry(name, entry["scores"]):
                raise ValueError("its content does not match the recorded hash")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{path} is damaged") from error
        return entry["scores"]

    def write(self, name: str, scores: Scores) -> None:
        """Writes the scores of a baseline atomically.

        Raises:
            OSError: the folder is not writable.
        """
        text = json.dumps(self._entry(name, scores), indent=1, allow_nan=False)
        filesystem.make_folder(self.folder)
        with filesystem.atomic_write(self.path(name)) as temporary:
            temporary.write_text(text + "\n", "utf-8")

    def _entry(self, name: str, scores: Any) -> dict[str, Any]:
        """Returns the content of a file, including its hash."""
        entry = {**self._facts, "baseline": name, "scores": scores}
        return {**entry, "sha256": _digest(entry)}

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Waits for other runs that compute the same baseline; continues if locking fails."""
        path = self.path(name)
        lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
        try:
            filesystem.make_folder(self.folder)
            lock.acquire()
        except (OSError, NotImplementedError):
            yield
            return
        try:
            yield
        finally:
            lock.release()


def cache_folder(config: TaskConfig) -> pathlib.Path:
    """Returns the folder of the cache, inside the folder of the prepared data sets."""
    data_dir = config.data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(data_dir).expanduser() / "baselines"


@functools.cache
def _code_hash(module: pathlib.Path) -> str:
    """Returns the hash of the code of all tasks and of one more module."""
    folder = pathlib.Path(tasks.__file__).resolve().parent
    digest = hashlib.sha256()
    for path in (module, *sorted(folder.rglob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
