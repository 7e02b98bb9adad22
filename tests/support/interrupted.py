"""Runs the command line and kills it at a moment: `interrupted.py MOMENT ARGUMENT...`.

Moments: `data` (a data set is being prepared), `epoch` (in the middle of the second epoch),
`checkpoint` (one is half written), `record` (the run's folder is half written).
"""

import os
import signal
import sys

from rnn_topologies.cli import app


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    if moment == "data":
        from rnn_topologies.tasks.data import store

        store._write_manifest = die
        return
    if moment == "record":
        from rnn_topologies.runs import store as results

        results._write_tensorboard = die
        return
    if moment == "checkpoint":
        os.fsync = after(3, die, os.fsync)
        return
    from rnn_topologies.cli import progress

    progress.Display.step = after(7, die, progress.Display.step)


def after(count: int, then, before):
    """Returns what does one thing so many times, and then another."""
    calls = iter(range(count))

    def called(*arguments, **named):
        return (before if next(calls, None) is not None else then)(*arguments, **named)

    return called


if __name__ == "__main__":
    moment, *sys.argv[1:] = sys.argv[1:]
    arm(moment)
    app.main()
