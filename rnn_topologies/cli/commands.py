"""The commands other than training: inspect runs, use trained models, run sweeps and lessons."""

import os
import pathlib
import sys
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rnn_topologies.tasks.data.filesystem import printable
from rnn_topologies.tasks.errors import UserError

from ..training import environment
from .predictions import predict_each, print_predictions

if TYPE_CHECKING:
    from ..runs.trained_model import TrainedModel

ResultsDir = Annotated[
    str, typer.Option(metavar="DIR", help="Results folder, or a folder of run folders.")
]
RUN_HELP = "Run id, a unique prefix of it, a run folder, or best:TASK[/DATASET]."


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command("list")(list_command)
    app.command("table")(table_command)
    app.command("compare")(compare_command)
    app.command("report")(report_command)
    app.command("predict")(predict_command)
    app.command("lesson")(lesson_command)
    app.command("sweep")(sweep_command)


def list_command() -> None:
    """List tasks, data sets and recurrent cells."""
    from .overview import print_overview

    print_overview()


def table_command(
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only runs of this task.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only runs on this data set."),
    ] = None,
    format: Annotated[
        Literal["rich", "markdown", "csv"], typer.Option(help="Output format.")
    ] = "rich",
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Show all test metrics, not only the headline.")
    ] = False,
    results_dir: ResultsDir = "results",
) -> None:
    """Show a table of runs, best first.

    Scores are mean ± standard deviation over seeds on the test split, or over the folds of a
    cross-validation, next to the baselines. The best run is marked, unless a baseline is better.
    """
    from rich.console import Console

    from ..runs import tables
    from ..runs.store import load_runs
    from ..training.checkpoint import unfinished_runs

    if unfinished := unfinished_runs(results_dir):
        noun = "run" if len(unfinished) == 1 else "runs"
        print(f"{len(unfinished)} unfinished {noun}: see --resume", file=sys.stderr)
    runs = tables.select_runs(load_runs(results_dir), {} if task is None else {"task": [task]})
    if dataset is not None and not runs.empty:
        runs = tables.select_dataset(runs, dataset)
    if runs.empty:
        raise UserError(f"No matching runs in {results_dir}. To train: runner.py --task NAME.")
    summary = tables.summarize_runs(runs)
    if format == "rich":
        tables.print_tables(summary, Console(highlight=False), all_metrics=all_metrics)
    else:
        to_text = tables.to_markdown if format == "markdown" else tables.to_csv
        sys.stdout.write(to_text(summary, all_metrics=all_metrics))


def compare_command(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help=RUN_HELP)],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help=RUN_HELP)],
    results_dir: ResultsDir = "results",
) -> None:
    """Compare two runs: settings, metrics and significance.

    Shows the settings that differ, all metrics, and a confidence interval for the difference in
    the headline metric (paired bootstrap over test examples).
    """
    from rich.console import Console

    from ..runs.compare import compare_runs, print_comparison
    from ..runs.trained_model import find_run
    from .progress import show_parts

    with show_parts():
        comparison = compare_runs(find_run(first, results_dir), find_run(second, results_dir))
    print_comparison(comparison, Console(highlight=False))


def report_command(
    results_dir: ResultsDir = "results",
    output: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="HTML file to write. Default: report.html in the results folder."
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Write an HTML report of all runs.

    One file that works offline: table of runs, learning curves, and test examples of each task
    that the model got right and wrong.
    """
    from ..report.page import write_report

    path = write_report(results_dir, output)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    if show:
        webbrowser.open(path.resolve().as_uri())


def predict_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP)],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT", help="Sentence, image file, or clip (image folder, .csv or .tsv)."
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Read inputs from a file, one per line, or from a table of texts; - is stdin.",
        ),
    ] = None,
    beam_size: Annotated[
        int | None, typer.Option(metavar="N", help="Beam size. Default: that of the run.")
    ] = None,
    n_best: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Show the N best outputs (generation tasks only)."),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Plot attention or class probabilities (.png, .svg or .pdf)."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per input.")
    ] = False,
    results_dir: ResultsDir = "results",
) -> None:
    """Run a trained model on your own inputs.

    Inputs that fail are reported and do not stop the others; the exit status is then 2.
    """
    if not inputs and file is None:
        raise UserError("Give an input, or a --file with one input per line.")
    if explain is not None and pathlib.Path(explain).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"--explain {explain}: the file name must end in .png, .svg or .pdf.")
    from ..runs import store
    from ..runs.trained_model import BEST, find_run

    folder = find_run(run, results_dir)
    if run.startswith(BEST):
        dataset = store.read_record(folder).dataset
        print(f"{run} is {folder.name}, trained on {dataset}", file=sys.stderr)
    inputs = [*(inputs or []), *_read_inputs(file, folder)]
    if not inputs:
        raise UserError(f"--file {file} contains no inputs. Write one per line.")
    model = _load_model(folder, beam_size, n_best)
    results = predict_each(model, inputs, n_best)
    failed = [result for result in results if isinstance(result, UserError)]
    if len(inputs) == 1 and failed:
        raise failed[0]
    print_predictions(inputs, results, as_json=as_json, ranked=n_best is not None)
    if explain is not None and len(failed) < len(inputs):
        _explain_predictions(model, inputs, results, explain)
    if failed:
        raise UserError(f"{len(failed)} of {len(inputs)} inputs failed: see the errors above.")


def _explain_predictions(
    model: "TrainedModel", inputs: Sequence[str], results: Sequence[object], path: str
) -> None:
    """Plots explanations of the outputs, for the inputs that did not fail."""
    from ..report import figures

    read = [
        text
        for text, result in zip(inputs, results, strict=True)
        if not isinstance(result, UserError)
    ]
    explained = model.explain([model.task.read_input(text) for text in read])
    figures.save_figure(figures.draw_explanations([*map(printable, read)], explained), path)
    print(f"wrote {path}", file=sys.stderr)


def _load_model(folder: pathlib.Path, beam_size: int | None, n_best: int | None) -> "TrainedModel":
    """Loads the model of a run with Keras on `$KERAS_BACKEND`, by default TensorFlow."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    environment.silence_tensorflow()
    from ..runs import store
    from ..runs.trained_model import TrainedModel

    record = store.read_record(folder)
    sizes = [size for size in (beam_size, n_best) if size is not None]
    settings = {}
    if sizes:
        recorded_size = record.config.get("beam_size")
        if recorded_size is None:
            raise UserError(
                f"{record.task} is not a generation task: --beam-size and --n-best do not apply."
            )
        settings["beam_size"] = max(sizes if beam_size else [*sizes, recorded_size])
    if store.find_file(folder, store.WEIGHTS) is None:
        raise UserError(f"{folder} has no weights, only a record.")
    with environment.hide_native_output(sys.stderr):
        return TrainedModel(folder, settings)


def _read_inputs(file: str | None, folder: pathlib.Path) -> list[str]:
    """Returns the inputs in a file, read in the same way as the training data of the run."""
    from rnn_topologies import tasks
    from rnn_topologies.tasks.data.files import reading

    from ..runs import store

    if file is None:
        return []
    if file == "-":
        return reading.content_lines(_read_standard_input(), "--file -")
    if not os.path.exists(file):
        raise UserError(f"Cannot read --file {file}: no such file.")
    return tasks.get_task(store.read_record(folder).task).read_input_file(pathlib.Path(file))


def _read_standard_input() -> bytes:
    # Bytes, since Python would decode text with the encoding of the terminal, not of files.
    stream = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read().encode() if stream is None else stream.read()


def sweep_command(
    task: Annotated[
        str, typer.Option(metavar="NAMES", help="Tasks, comma-separated, or all.")
    ] = "translation",
    cell: Annotated[
        str, typer.Option(metavar="NAMES", help="Cells, comma-separated, or all.")
    ] = "gru",
    seeds: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of seeds: 0 to N - 1.")
    ] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUES",
            help="Values a,b,c of a setting, or a range LOW..HIGH. May be repeated.",
        ),
    ] = None,
    search: Annotated[
        Literal["grid", "random", "optuna"],
        typer.Option(help="All combinations, random samples, or Optuna."),
    ] = "grid",
    trials: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of trials of a random or Optuna search.")
    ] = 10,
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="Stop unpromising runs early (ASHA).")
    ] = False,
    backend: Annotated[str, typer.Option(metavar="NAME", help="Keras backend.")] = "tensorflow",
    cpus_per_run: Annotated[int, typer.Option(min=1, metavar="N", help="CPU cores per run.")] = 1,
    max_concurrent: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Maximum number of concurrent runs. Default: what the cores allow.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Ray cluster to connect to, such as auto. Default: local."
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="SWEEP", help="Resume an interrupted sweep: its id, or last."),
    ] = None,
    results_dir: ResultsDir = "results",
) -> int:
    """Train a grid of tasks, cells, seeds and settings.

    Runs in parallel with Ray Tune, on this machine or on a cluster; see docs/scale.md.
    """
    from rich.console import Console

    from rnn_topologies import tasks

    from ..runs import tables
    from ..runs.store import load_runs
    from ..sweeps import plan, tune

    if resume is not None:
        spec = plan.find_sweep(resume, results_dir)
    else:
        spec = plan.SweepSpec(
            sweep_id=plan.new_sweep_id(),
            tasks=tasks.task_names() if task == "all" else task.split(","),
            cells=tune.cell_names(backend) if cell == "all" else cell.split(","),
            seeds=seeds,
            settings=settings or [],
            search=search,
            trials=trials,
            stop_early=stop_early,
            backend=backend,
            cpus_per_run=cpus_per_run,
            max_concurrent=max_concurrent,
            address=address,
        )
    try:
        records = tune.run_sweep(spec, results_dir)
    except KeyboardInterrupt:
        print(f"error: interrupted. To resume: sweep --resume {spec.sweep_id}", file=sys.stderr)
        return 130
    run_ids = [record.run_id for record in records]
    runs = tables.select_runs(load_runs(results_dir), {"run_id": run_ids})
    console = Console(highlight=False)
    console.print()
    tables.print_tables(tables.summarize_runs(runs), console)
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        print(f"{record.run_id} failed: {record.error}", file=sys.stderr)
    return 1 if failed else 0


def lesson_command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Lesson; without one, list all lessons.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = 0,
    results_dir: Annotated[
        str, typer.Option(metavar="DIR", help="Results folder; output goes to lessons/NAME in it.")
    ] = "results",
) -> None:
    """Run a small experiment about recurrent networks.

    A lesson takes at most three minutes on two cores, prints tables and plots figures; its page in
    docs/ explains them.
    """
    from .. import lessons

    os.environ["KERAS_BACKEND"] = "tensorflow"  # lessons use its gradients
    environment.silence_tensorflow()
    if name is None:
        with environment.hide_native_output(sys.stderr):
            for lesson in lessons.lesson_names():
                print(f"{lesson:15} {lessons.lesson_summary(lesson)}")
        return
    with environment.hide_native_output(sys.stderr):
        import keras  # noqa: F401 - here, to hide TensorFlow's log lines
    lessons.run_lesson(name, results_dir, seed=seed)
