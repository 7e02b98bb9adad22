"""What a run shows while it goes on: bars in a terminal, a few plain lines in a file."""

import contextlib
import time

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
from rich.table import Table

SHOWN_EXAMPLES = 5


class Display:
    """Shows the stages, steps and epochs of a run on standard output."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(highlight=False)
        self._bar = self._task = None
        self._epochs = self._number = 0

    @contextlib.contextmanager
    def stage(self, text: str, *, has_bars: bool = False):
        """Shows that something goes on, and then how long it took.

        Args:
            has_bars: whether it draws bars of its own, which a spinner would tear.
        """
        began = time.perf_counter()
        if self.console.is_terminal and not has_bars:
            with self.console.status(f"{text} ..."):
                yield
        else:
            yield
        self.console.print(f"{text}: {time.perf_counter() - began:.1f} s")

    @contextlib.contextmanager
    def training(self, epochs: int):
        """Shows the training of so many epochs."""
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
        with Progress(*columns, console=self.console, transient=True) as self._bar:
            self._task = self._bar.add_task("compiling the model", total=None)
            yield
        self._bar = None

    def step(self, done: int, total: int, loss: float) -> None:
        if self._bar is not None:
            description = f"epoch {self._number}/{self._epochs}  loss {loss:.4f}"
            self._bar.update(self._task, description=description, completed=done, total=total)

    def start_epoch(self, number: int) -> None:
        self._number = number
        if self._bar is not None:
            self._bar.reset(self._task)

    def show_epoch(self, row) -> None:
        """Prints one line about an epoch that has ended."""
        shown = [f"epoch {row['epoch']}/{self._epochs}"]
        for name in ("loss", "val_loss"):
            if name in row:
                shown.append(f"{name} {row[name]:.4f}")
        self.console.print("  ".join(shown) + f"  {row['seconds']:.1f} s")

    def show_result(self, record, examples, folder) -> None:
        """Prints the score beside its baselines, a few examples, and where everything is."""
        if record.status == "ok":
            self._scores(record)
            self._examples(examples)
        total = sum(record.seconds.values())
        self.console.print(
            f"{record.status}, {total:.0f} s, written to {folder}", markup=False, soft_wrap=True
        )

    def note(self, text: str) -> None:
        """Prints a line about the run as a whole."""
        self.console.print(text, markup=False, soft_wrap=True)

    def show_heading(self, name: str) -> None:
        """Prints the name of the task that follows."""
        self.console.print()
        self.console.rule(f"[bold]{escape(name)}[/bold]", align="left")

    def show_summary(self, records) -> None:
        """Prints two lines for each of several runs: one of all is too wide for 80 columns."""
        table = Table(box=None, pad_edge=False, title="all on the test split", title_justify="left")
        for name in ("task, topology", "data set, headline"):
            table.add_column(name)
        for name in ("value", "best baseline", "seconds"):
            table.add_column(name, justify="right")
        for record in records:
            name, value, baseline = record.status, "", ""
            if record.status == "ok":
                headline = record.headline
                best = max if headline["higher_is_better"] else min
                name, value = headline["name"], f"[bold]{headline['value']:.3f}[/bold]"
                baseline = f"{best(record.baselines.values()):.3f}"
            seconds = f"{sum(record.seconds.values()):.0f}"
            place = f"{escape(record.dataset)}\n[dim]{name}[/dim]"
            task = f"[bold]{escape(record.task)}[/bold]\n[dim]{record.topology}[/dim]"
            table.add_row(task, place, value, baseline, seconds)
        self.console.print()
        self.console.print(table)

    def _scores(self, record) -> None:
        headline = record.headline
        better = "higher" if headline["higher_is_better"] else "lower"
        title = f"{record.task} · {record.dataset} · {record.cell}"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("on the test split")
        table.add_column(f"{headline['name']}, {better} is better", justify="right")
        table.add_row(f"[bold]{record.cell}[/bold]", f"[bold]{headline['value']:.3f}[/bold]")
        for name, value in record.baselines.items():
            table.add_row(f"baseline: {name}", f"{value:.3f}")
        self.console.print()
        self.console.print(table)

    def _examples(self, examples) -> None:
        for example in choose_examples(examples):
            mark = "[green]right[/green]" if example["right"] else "[red]wrong[/red]"
            self.console.print(f"\n{mark}  {escape(example['source'])}")
            self.console.print(f"    → {escape(example['output'])}")
            if not example["right"]:
                self.console.print(f"expected {escape(example['target'])}")
        self.console.print()


def choose_examples(examples) -> list:
    """Returns the first few examples, with a wrong one and a right one among them if there are."""
    chosen = list(examples[:SHOWN_EXAMPLES])
    for kind in (True, False):
        if chosen and all(example["right"] is not kind for example in chosen):
            found = next((example for example in examples if example["right"] is kind), None)
            if found is not None:
                chosen[-1] = found
    return chosen
