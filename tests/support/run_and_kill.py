"""Runs the command line and kills its process: `python -m tests.support.run_and_kill MOMENT ...`.

The moments, each followed by the arguments of the command line:
    data        while a data set is being prepared
    step        before the eighth training step is reported
    checkpoint  while the fourth checkpoint is being written
    record      while the run's folder is being written
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from rnn_topologies.cli import app, progress
from rnn_topologies.runs import store as run_store
from rnn_topologies.tasks.data import store as data_store

from .small_data import small_data


def kill(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_after(calls: int, function: Callable) -> Callable:
    """Returns the function, except that the process dies when it is called once too often."""
    remaining = iter(range(calls))

    def wrapper(*arguments: Any, **options: Any) -> Any:
        if next(remaining, None) is None:
            kill()
        return function(*arguments, **options)

    return wrapper


def schedule_kill(moment: str) -> None:
    if moment == "data":
        data_store._write_manifest = kill
    elif moment == "step":
        progress.Display.step = kill_after(7, progress.Display.step)
    elif moment == "checkpoint":
        os.fsync = kill_after(3, os.fsync)
    elif moment == "record":
        run_store._write_tensorboard = kill
    else:
        raise ValueError(f"Unknown moment: {moment!r}.")


if __name__ == "__main__":
    moment, *sys.argv[1:] = sys.argv[1:]
    schedule_kill(moment)
    with small_data():
        app.main()
