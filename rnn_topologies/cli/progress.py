"""Progress of a run: progress bars in a terminal, a few plain lines in a log file."""

import contextlib
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Table

from rnn_topologies.tasks.data.source import hash_order
from rnn_topologies.tasks.progress import Advance, shown_by

from .parts import PartsLine

if TYPE_CHECKING:
    from ..runs.record import Headline, Record

SHOWN_EXAMPLES = 5
SHOWN_CHARACTERS = 400  # of each text
MIN_SHOWN_SECONDS = 1.0  # in a terminal, shorter parts of a stage leave no line


class Display:
    """Shows the stages, steps and epochs of a run on standard output.

    Args:
        console: where to print; standard output by default.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console(highlight=False)
        self._bar: Progress | None = None
        self._status: Status | None = None
        self._stage = ""
        self._parts = PartsLine(self.console)
        self._epochs = self._epoch = 0

    @contextlib.contextmanager
    def stage(self, text: str, *, has_bars: bool = False) -> Iterator[None]:
        """Shows a spinner while a stage runs, then how long it took.

        Args:
            text: what is being done.
            has_bars: whether the stage draws its own progress bars, which a spinner would break.
        """
        start = time.perf_counter()
        self._stage = text = escape(text)
        try:
            if self.console.is_terminal and not has_bars:
                with self.console.status(f"{text} ...") as self._status:
                    yield
            else:
                yield
        finally:
            self._status = None
            self._parts.end()
        self.console.print(f"{text}: {time.perf_counter() - start:.1f} s")

    @contextlib.contextmanager
    def part(self, text: str) -> Iterator[Advance]:
        """Shows a part of a stage and its progress: next to the spinner, or as a line.

        Args:
            text: what is being computed.
        """
        start = time.perf_counter()

        def advance(done: int, total: int) -> None:
            if self._status is not None:
                self._status.update(f"{self._stage}: {escape(text)} {done:,}/{total:,} ...")
            else:
                self._parts.advance(done, total)

        if self._status is not None:
            self._status.update(f"{self._stage}: {escape(text)} ...")
        else:
            self._parts.start(text)
        try:
            yield advance
        finally:
            seconds = time.perf_counter() - start
            if self._status is None:
                self._parts.finish(seconds)
            elif seconds >= MIN_SHOWN_SECONDS:
                self.console.print(f"  {text}: {seconds:.1f} s", markup=False)

    @contextlib.contextmanager
    def training(self, epochs: int) -> Iterator[None]:
        """Shows a progress bar while the model trains for up to `epochs` epochs."""
        self._epochs = epochs
        if not self.console.is_terminal:
            yield
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            bar.add_task("compiling the model", total=None)
            self._bar = bar
            yield
        self._bar = None

    def step(self, done: int, total: int, loss: float) -> None:
        """Updates the progress bar after a training step."""
        if self._bar is not None:
            description = f"epoch {self._epoch}/{self._epochs}  loss {loss:.4f}"
            (task_id,) = self._bar.task_ids
            self._bar.update(task_id, description=description, completed=done, total=total)

    def start_epoch(self, number: int) -> None:
        """Resets the progress bar for an epoch, counted from 1."""
        self._epoch = number
        if self._bar is not None:
            (task_id,) = self._bar.task_ids
            self._bar.reset(task_id)

    def show_epoch(self, row: Mapping[str, Any]) -> None:
        """Prints the losses and the duration of an epoch that has finished."""
        parts = [f"epoch {row['epoch']}/{self._epochs}"]
        parts += [f"{name} {row[name]:.4f}" for name in ("loss", "val_loss") if name in row]
        self.console.print("  ".join(parts) + f"  {row['seconds']:.1f} s")

    def show_result(
        self, record: "Record", examples: Sequence[Mapping[str, Any]], folder: pathlib.Path
    ) -> None:
        """Prints the score next to the baselines, a few examples, and the path of the run."""
        if record.headline is not None and record.status == "ok":
            self._show_scores(record, record.headline)
            self._show_examples(examples)
        total = sum(record.seconds.values())
        self.console.print(
            f"{record.status}, {total:.0f} s, saved to {folder}", markup=False, soft_wrap=True
        )

    def note(self, text: str) -> None:
        """Prints a line about the run as a whole."""
        self._parts.end()
        self.console.print(text, markup=False, soft_wrap=True)

    def show_heading(self, task: str) -> None:
        """Prints the name of the task that starts next."""
        self.console.print()
        self.console.rule(f"[bold]{escape(task)}[/bold]", align="left")

    def show_summary(self, records: Sequence["Record"]) -> None:
        """Prints a table with two lines per run: one line would not fit into 80 columns."""
        table = Table(box=None, pad_edge=False, title="all on the test split", title_justify="left")
        for name in ("task, topology", "data set, headline"):
            table.add_column(name)
        for name in ("value", "best baseline", "seconds"):
            table.add_column(name, justify="right")
        for record in records:
            metric, value, baseline = record.status, "", ""
            headline = record.headline
            if headline is not None and record.status == "ok":
                best = max if headline["higher_is_better"] else min
                metric, value = headline["name"], f"[bold]{headline['value']:.3f}[/bold]"
                scores = record.baselines.values()
                baseline = f"{best(scores):.3f}" if scores else "failed"
            task = f"[bold]{escape(record.task)}[/bold]\n[dim]{record.topology}[/dim]"
            dataset = f"{escape(record.dataset)}\n[dim]{metric}[/dim]"
            seconds = f"{sum(record.seconds.values()):.0f}"
            table.add_row(task, dataset, value, baseline, seconds)
        self.console.print()
        self.console.print(table)

    def _show_scores(self, record: "Record", headline: "Headline") -> None:
        direction = "higher" if headline["higher_is_better"] else "lower"
        title = escape(f"{record.task} · {record.dataset} · {record.cell}")
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("on the test split")
        table.add_column(f"{headline['name']}, {direction} is better", justify="right")
        table.add_row(f"[bold]{record.cell}[/bold]", f"[bold]{headline['value']:.3f}[/bold]")
        for name, value in record.baselines.items():
            table.add_row(f"baseline: {escape(name)}", f"{value:.3f}")
        for name, reason in record.baseline_errors.items():
            table.add_row(f"baseline: {escape(name)}", f"failed: {escape(reason)}")
        self.console.print()
        self.console.print(table)

    def _show_examples(self, examples: Sequence[Mapping[str, Any]]) -> None:
        # Test examples are often sorted by class or length: do not show the first ones.
        shuffled = [examples[index] for index in hash_order(len(examples))]
        for example in choose_examples(shuffled):
            verdict = "[green]correct[/green] " if example["right"] else "[red]wrong[/red]   "
            self.console.print(f"\n{verdict} {_format_text(example['source'])}")
            self.console.print(f"→        {_format_text(example['output'])}")
            if not example["right"]:
                self.console.print(f"expected {_format_text(example['target'])}")
        self.console.print()


@contextlib.contextmanager
def show_parts() -> Iterator[None]:
    """Shows progress of the enclosed code on standard error, if that is a terminal."""
    display = Display(Console(stderr=True, highlight=False))
    if not display.console.is_terminal:
        yield
        return
    with display.stage("comparison"), shown_by(display.part):
        yield


def _format_text(text: str) -> str:
    """Returns the beginning of a text, with an ellipsis if it is longer."""
    is_long = len(text) > SHOWN_CHARACTERS
    return escape(text[:SHOWN_CHARACTERS] + "…" if is_long else text)


def choose_examples(examples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the first few examples, including a correct and a wrong one if there are any."""
    chosen = list(examples[:SHOWN_EXAMPLES])
    for is_right in (True, False):
        if chosen and all(example["right"] is not is_right for example in chosen):
            match = next((example for example in examples if example["right"] is is_right), None)
            if match is not None:
                chosen[-1] = match
    return chosen
