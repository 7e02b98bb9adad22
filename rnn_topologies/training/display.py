"""What an experiment reports while it runs; the command line and Ray workers implement it."""

import pathlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from rnn_topologies.tasks.progress import Advance

from ..runs.record import Record


class RunDisplay(Protocol):
    """Receives the events of a run."""

    def stage(self, text: str, *, has_bars: bool = False) -> AbstractContextManager[None]:
        """Wraps a stage other than training; `has_bars` if it draws its own progress bars."""
        ...

    def part(self, text: str) -> AbstractContextManager[Advance]:
        """Wraps a part of a stage; yields a function `(done, total)` to report progress."""
        ...

    def training(self, epochs: int) -> AbstractContextManager[None]:
        """Wraps training."""
        ...

    def start_epoch(self, number: int) -> None:
        """Reports that an epoch starts, counted from 1."""
        ...

    def step(self, done: int, total: int, loss: float) -> None:
        """Reports a completed training step of the current epoch."""
        ...

    def show_epoch(self, row: Mapping[str, Any]) -> None:
        """Reports a completed epoch: a row of `epochs.csv`."""
        ...

    def note(self, text: str) -> None:
        """Reports one line about the run as a whole."""
        ...

    def show_result(
        self, record: Record, examples: Sequence[Mapping[str, Any]], folder: pathlib.Path
    ) -> None:
        """Reports the end of the run: its record, test examples with outputs, and its folder."""
        ...
