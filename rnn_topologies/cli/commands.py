"""The commands beside `--task`: they look at runs, ask their models, and teach."""

import json
import os
import pathlib
import sys
import webbrowser
from typing import Annotated, Literal

import typer

from rnn_topologies.tasks.errors import UserError

from ..training import environment

ResultsDir = Annotated[str, typer.Option(help="Folder of results, or of run folders.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="Run: id, its beginning, folder, or best:TASK.")
]


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command("list")(list_tasks)
    app.command("table")(table)
    app.command("compare")(compare)
    app.command("report")(report)
    app.command("predict")(predict)
    app.command("lesson")(lesson)
    app.command("sweep")(sweep)


def list_tasks():
    """Show the tasks with their topology and data sets, and the cells."""
    from . import overview

    overview.print_overview()


def table(
    task: Annotated[str | None, typer.Option(help="Only runs of this task.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only runs on this data set.")] = None,
    format: Annotated[
        Literal["rich", "markdown", "csv"], typer.Option(help="How to write the table.")
    ] = "rich",
    all_metrics: Annotated[bool, typer.Option(help="Show every metric.")] = False,
    results_dir: ResultsDir = "results",
):
    """Show the runs that there are, best first.

    Scores are means and standard deviations over seeds, beside those of the baselines.
    """
    from rich.console import Console

    from ..runs import store, tables
    from ..training import checkpoint

    if left := checkpoint.unfinished_runs(results_dir):
        print(f"{len(left)} unfinished, such as {left[-1]}: see --resume", file=sys.stderr)
    runs = store.load_runs(results_dir)
    for column, wanted in (("task", task), ("dataset", dataset)):
        if wanted is not None and not runs.empty:
            runs = runs[runs[column] == wanted]
    if runs.empty:
        raise UserError(f"There are no such runs in {results_dir}. Train: runner.py --task NAME.")
    summary = tables.summarize_runs(runs)
    if format == "rich":
        tables.print_tables(summary, Console(highlight=False), all_metrics=all_metrics)
    else:
        write = tables.to_markdown if format == "markdown" else tables.to_csv
        sys.stdout.write(write(summary, all_metrics=all_metrics))


def compare(first: RunName, second: RunName, results_dir: ResultsDir = "results"):
    """Set two runs side by side.

    Shows the settings that differ, all metrics, and how much of the difference in the headline
    could be chance: the paired bootstrap over test examples.
    """
    from rich.console import Console

    from ..runs import compare as comparison
    from ..runs import trained_model

    found = comparison.compare_runs(
        trained_model.find_run(first, results_dir), trained_model.find_run(second, results_dir)
    )
    comparison.print_comparison(found, Console(highlight=False))


def report(
    results_dir: ResultsDir = "results",
    output: Annotated[
        str | None, typer.Option(help="File to write. Default: report.html in the results folder.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
):
    """Write one HTML page about all runs.

    It holds the table, learning curves, and for each task what it read and answered, right and
    wrong; it needs no network.
    """
    from ..report import page as page

    path = page.write_report(results_dir, output)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    if show:
        webbrowser.open(path.resolve().as_uri())


def predict(
    run: RunName,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT...", help="A sentence, an image, a clip's folder or .csv."),
    ] = None,
    file: Annotated[
        str | None, typer.Option(help="File with an input on each line; - is standard input.")
    ] = None,
    beam_size: Annotated[
        int | None, typer.Option(help="Hypotheses of the beam search, in place of the run's.")
    ] = None,
    n_best: Annotated[
        int | None, typer.Option(min=1, help="Show the N best outputs of a task that writes.")
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.png", help="Draw attention or probabilities after each step into a file."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write a line of JSON an input.")] = False,
    results_dir: ResultsDir = "results",
):
    """Ask the model of an earlier run."""
    given = [*(inputs or []), *_lines(file)]
    if not given:
        raise UserError("Give an input, or a --file with one on each line.")
    if explain is not None and pathlib.Path(explain).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"--explain {explain}: the file must end in .png, .svg or .pdf.")
    from ..runs import trained_model

    folder = trained_model.find_run(run, results_dir)
    if run.startswith(trained_model.BEST):
        print(f"{run} is {folder.name}", file=sys.stderr)
    model = _load(folder, beam_size, n_best)
    raw = [model.task.read_input(one) for one in given]
    best = model.n_best(raw, n_best) if n_best is not None else None
    outputs = [found[0] for found in best] if best is not None else model.predict(raw)
    for index, (one, output) in enumerate(zip(given, outputs, strict=True)):
        if as_json:
            answer = {"input": one, "output": output}
            answer |= {"n_best": best[index]} if best is not None else {}
            print(json.dumps(answer, ensure_ascii=False))
        else:
            _say(one, best[index] if best is not None else [output], alone=len(given) == 1)
    if explain is not None:
        from ..report import figures

        figures.save_figure(figures.draw_explanations(given, model.explain(raw)), explain)
        print(f"drawn into {explain}", file=sys.stderr)


def _load(folder: pathlib.Path, beam_size: int | None, n_best: int | None):
    """Returns the model of a run, on the backend that is set or else on TensorFlow."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    environment.silence_tensorflow()
    from ..runs import store, trained_model

    record = store.read_record(folder)
    sizes = [size for size in (beam_size, n_best) if size is not None]
    settings = {}
    if sizes:
        if "beam_size" not in record.config:
            raise UserError(f"{record.task} does not write: it has no --beam-size and no --n-best.")
        settings["beam_size"] = max(sizes if beam_size else [*sizes, record.config["beam_size"]])
    if store.find_file(folder, store.WEIGHTS) is None:
        raise UserError(f"{folder} has no weights: only its record was kept.")
    with environment.hide_native_output(sys.stderr):
        return trained_model.TrainedModel(folder, settings)


def _lines(file: str | None) -> list[str]:
    if file is None:
        return []
    try:
        text = sys.stdin.read() if file == "-" else pathlib.Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--file {file} cannot be read: {error}") from error
    return [line for line in text.splitlines() if line.strip()]


def _say(given: str, outputs: list, *, alone: bool) -> None:
    for rank, output in enumerate(outputs, 1):
        shown = " ".join(output) if isinstance(output, list) else output
        if len(outputs) > 1:
            shown = f"{rank}. {shown}"
        if alone or rank > 1:
            print(shown)
        else:
            print(f"{given}\n    {shown}" if len(outputs) == 1 else f"{given}\n{shown}")


def sweep(
    task: Annotated[str, typer.Option(help="Tasks, with commas between; or all.")] = "translation",
    cell: Annotated[str, typer.Option(help="Cells, with commas between; or all.")] = "gru",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to N - 1.")] = 1,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUES", help="Values a,b,c or a range LOW..HIGH."),
    ] = None,
    search: Annotated[
        Literal["grid", "random", "optuna"],
        typer.Option(help="All combinations, draws of them, or what Optuna proposes."),
    ] = "grid",
    trials: Annotated[int, typer.Option(min=1, help="Draws, or proposals.")] = 10,
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="Stop runs that are not among the best (ASHA).")
    ] = False,
    backend: Annotated[str, typer.Option(help="Keras backend.")] = "tensorflow",
    cpus_per_run: Annotated[int, typer.Option(min=1, help="Cores of a run.")] = 1,
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time. Default: as many as there are cores.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to run on, such as auto. Default: here.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="SWEEP", help="Go on with a sweep: its id, or last.")
    ] = None,
    results_dir: ResultsDir = "results",
):
    """Run a grid of runs, side by side, on this machine or on a cluster.

    Needs Ray Tune: pip install 'rnn-topologies[sweep]'. docs/scale.md says more.
    """
    from rich.console import Console

    from rnn_topologies import tasks

    from .. import sweeps
    from ..runs import store, tables
    from ..sweeps import plan

    if resume is not None:
        asked = plan.find(resume, results_dir)
    else:
        asked = plan.Asked(
            sweep_id=plan.new_id(),
            tasks=tasks.task_names() if task == "all" else task.split(","),
            cells=sweeps.cells(backend) if cell == "all" else cell.split(","),
            seeds=seeds,
            given=given or [],
            search=search,
            trials=trials,
            stop_early=stop_early,
            backend=backend,
            cpus_per_run=cpus_per_run,
            max_concurrent=max_concurrent,
            address=address,
        )
    try:
        records = sweeps.run(asked, results_dir)
    except KeyboardInterrupt:
        print(f"error: interrupted. Go on with sweep --resume {asked.sweep_id}.", file=sys.stderr)
        return 130
    names = {record.run_id for record in records}
    runs = store.load_runs(results_dir)
    console = Console(highlight=False)
    console.print()
    tables.print_tables(tables.summarize_runs(runs[runs["run_id"].isin(names)]), console)
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        print(f"{record.run_id} failed: {record.error}", file=sys.stderr)
    return 1 if failed else 0


def lesson(
    name: Annotated[str | None, typer.Argument(help="Lesson; none: list them.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    results_dir: Annotated[
        str, typer.Option(help="Folder; the lesson writes into lessons/NAME under it.")
    ] = "results",
):
    """Learn by a small experiment; none: list them.

    It takes three minutes at most on two cores, prints figures and draws pictures. The pages in
    docs/ explain them.
    """
    from .. import lessons

    os.environ["KERAS_BACKEND"] = "tensorflow"  # for its gradients
    environment.silence_tensorflow()
    if name is None:
        with environment.hide_native_output(sys.stderr):
            for one in lessons.lesson_names():
                print(f"{one:15} {lessons.lesson_summary(one)}")
        return
    with environment.hide_native_output(sys.stderr):
        import keras  # noqa: F401 - TensorFlow's notes about its build
    lessons.run_lesson(name, results_dir, seed=seed)
