"""The command line: `runner.py --task NAME` trains, `runner.py COMMAND` does everything else.

The flags of a task are the fields of its `Config`. Keras and its backend, which take seconds to
import, are imported only when training starts.
"""

import dataclasses
import importlib.util
import inspect
import os
import sys
import types
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from rnn_topologies import tasks
from rnn_topologies.tasks.base import TaskConfig, expand_folds, flag_name
from rnn_topologies.tasks.errors import NotWrittenError, UserError, unknown_name

from ..training import environment
from . import commands
from .extras import missing_dependency

if TYPE_CHECKING:
    from ..runs.record import Record
    from .progress import Display

BACKENDS = ("tensorflow", "jax", "torch")
STRATEGIES = ("data_parallel",)
ALL = "all"  # instead of the name of a task
EXIT_USAGE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TERMINATED = 2, 1, 130, 143
CHECKPOINT_STEPS = 200

EPILOG = (
    "For the settings of a task, run `runner.py --task NAME --help`. "
    "New here? Start with `runner.py --task translation` (three minutes on a laptop)."
)


def main() -> None:
    """Runs the command line and exits.

    The status is 0 on success, 2 after a user error, 1 if a run failed, 130 after Ctrl-C and 143
    after SIGTERM. Errors of the user are reported in one line on standard error.
    """
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        name = requested_task(sys.argv[1:])
        app = build_task_app(name) if name is not None else build_main_app()
        status = app(standalone_mode=False)
    except UserError as error:
        status = fail(str(error))
    except typer.TyperException as error:
        status = fail(error.format_message())
    except NotWrittenError as error:
        status = fail(str(error), EXIT_FAILED)
    except MemoryError as error:
        status = fail(str(error) or "out of memory", EXIT_FAILED)
    except (typer.Abort, KeyboardInterrupt):
        status = fail("interrupted", EXIT_INTERRUPTED)
    sys.exit(status)


def fail(message: str, status: int = EXIT_USAGE) -> int:
    """Prints an error in one line on standard error and returns the exit status."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def requested_task(arguments: Sequence[str]) -> str | None:
    """Returns the value of the global `--task`, or None; commands have a `--task` of their own."""
    if not arguments or not arguments[0].startswith("-"):
        return None
    for index, argument in enumerate(arguments):
        if argument == "--task":
            if index + 1 == len(arguments):
                raise UserError(f"--task needs a name: {', '.join(tasks.task_names())}, or {ALL}.")
            return arguments[index + 1]
        if argument.startswith("--task="):
            return argument.partition("=")[2]
    return None


def build_main_app() -> typer.Typer:
    """Returns the command line without `--task`: help, `--resume` and the commands."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback(invoke_without_command=True, epilog=EPILOG)
    def run(
        context: typer.Context,
        task: Annotated[
            str | None,
            typer.Option(
                metavar="NAME", help=f"Train a task: {', '.join(tasks.task_names())}, or {ALL}."
            ),
        ] = None,
        resume: Annotated[
            str | None,
            typer.Option(metavar="RUN", help="Resume an interrupted run: its id, or last."),
        ] = None,
        results_dir: Annotated[
            str, typer.Option(metavar="DIR", help="Results folder of the run to resume.")
        ] = "results",
    ) -> int | None:
        """Train and evaluate recurrent networks on five tasks, one per topology."""
        del task  # `main` calls `build_task_app` if there is a `--task`
        if context.invoked_subcommand is not None:
            return None
        if resume is not None:
            return resume_run(resume, results_dir)
        raise UserError(
            f"Missing --task NAME or a command; see --help. Tasks: {', '.join(tasks.task_names())}."
        )

    commands.add_commands(app)
    return app


def build_task_app(name: str) -> typer.Typer:
    """Returns the command line of one task, or of all tasks, with a flag for each setting.

    With "all", the flags are the settings that all tasks share, and each task uses its default data
    set.
    """
    if name == ALL:
        names, help_text = tasks.task_names(), "Train all tasks in turn on their default data sets."
        of_files = ("dataset", "folds", "fold")
        fields = [f for f in dataclasses.fields(TaskConfig) if f.name not in of_files]
    else:
        names, task = [name], tasks.get_task(name)
        fields = dataclasses.fields(task.Config)
        help_text = f"{task.summary[:1].upper()}{task.summary[1:]} ({task.topology})."
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    def run(**values: Any) -> int:
        values.pop("task")
        option_names = ("backend", "strategy", "results_dir", "checkpoint_steps")
        options = {name: values.pop(name) for name in option_names}
        settings = {name: value for name, value in values.items() if value is not None}
        return train(names, settings, **options)

    parameters = [
        _option("task", str, "", metavar="NAME", help="Task to train."),
        *map(_setting_option, fields),
        _option("backend", str, metavar="NAME", help=f"Keras backend: {', '.join(BACKENDS)}."),
        _option(
            "strategy",
            str,
            metavar="NAME",
            help="Train on all devices: data_parallel (JAX only).",
        ),
        _option("results_dir", str, "results", metavar="DIR", help="Results folder."),
        _option(
            "checkpoint_steps",
            int,
            CHECKPOINT_STEPS,
            metavar="N",
            min=1,
            help="Save a checkpoint every N steps, and after every epoch.",
        ),
    ]
    command: Any = run
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = help_text
    app.command()(command)
    return app


def _option(name: str, kind: Any, default: Any = None, **attributes: Any) -> inspect.Parameter:
    flag = flag_name(name)
    declaration = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    option = typer.Option(declaration, **attributes)
    annotation = Annotated[kind if default is not None else kind | None, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _setting_option(field: dataclasses.Field) -> inspect.Parameter:
    """Returns the flag of a setting. It defaults to None: data sets have defaults of their own."""
    kind: Any = field.type
    if isinstance(kind, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not types.NoneType)
    metavar = {int: "N", float: "X"}.get(kind, "DIR" if field.name.endswith("_dir") else "NAME")
    if get_origin(kind) is Literal:
        kind, metavar = str, "|".join(get_args(kind))
    help_text = field.metadata["help"]
    if isinstance(field.default, bool):
        help_text += f" Default: {'on' if field.default else 'off'}."
    elif field.default not in (None, ""):
        help_text += f" Default: {field.default}."
    return _option(field.name, kind, metavar=metavar, help=help_text, show_default=False)


def train(
    names: Sequence[str],
    settings: dict[str, Any],
    *,
    backend: str | None,
    strategy: str | None,
    **options: Any,
) -> int:
    """Trains tasks, or the folds of a cross-validation, in turn and returns the exit status.

    Args:
        names: the tasks.
        settings: the settings given on the command line.
        backend: the Keras backend; by default `$KERAS_BACKEND` or TensorFlow.
        strategy: how to use several devices; None uses one.
        options: `results_dir` and `checkpoint_steps`, see `experiment.run_experiment`.
    """
    backend = check_backend(backend or os.environ.get("KERAS_BACKEND") or BACKENDS[0])
    runs = [(name, fold) for name in names for fold in expand_folds(settings)]
    for name, run_settings in runs:
        tasks.get_task(name)(run_settings)  # validates the settings before the slow imports
    display = set_up_keras(
        backend, deterministic=settings.get("deterministic", False), strategy=strategy
    )
    from ..training import experiment

    records = []
    for name, run_settings in runs:
        if len(runs) > 1:
            fold = ", fold {fold} of {folds}" if "fold" in run_settings else ""
            display.show_heading(name + fold.format_map(run_settings))
        record, _ = experiment.run_experiment(name, run_settings, display=display, **options)
        records.append(record)
        if record.status == "interrupted":
            break
    if len(names) > 1:
        display.show_summary(records)
    elif len(runs) > 1:
        _print_folds(records, options["results_dir"])
        if not_run := [str(run_settings["fold"]) for _, run_settings in runs[len(records) :]]:
            display.note(f"not run: --fold {' and --fold '.join(not_run)}")
    return _exit_status(records)


def _print_folds(records: Sequence["Record"], results_dir: str) -> None:
    """Prints the table of the runs of a cross-validation."""
    from rich.console import Console

    from ..runs import store, tables

    run_ids = [record.run_id for record in records]
    runs = tables.select_runs(store.load_runs(results_dir), {"run_id": run_ids})
    if not runs.empty:  # as on all processes of a distributed run but the chief
        console = Console(highlight=False)
        console.print()
        tables.print_tables(tables.summarize_runs(runs), console)


def resume_run(run: str, results_dir: str) -> int:
    """Resumes an interrupted run and returns the exit status."""
    from ..training import checkpoint

    manager = checkpoint.find_checkpoint(run, results_dir)
    request = manager.request
    display = set_up_keras(
        check_backend(request.backend),
        deterministic=request.settings.get("deterministic", False),
        strategy=request.strategy,
    )
    display.note(f"resuming {request.run_id}")
    from ..training import experiment

    record, _ = experiment.resume_experiment(manager, display=display)
    return _exit_status([record])


def check_backend(backend: str) -> str:
    """Returns the name of a Keras backend after checking it.

    Raises:
        UserError: the backend does not exist or is not installed.
    """
    if backend not in BACKENDS:
        raise UserError(unknown_name("backend", backend, BACKENDS))
    if importlib.util.find_spec(backend) is None:
        raise UserError(missing_dependency(backend))
    return backend


def set_up_keras(backend: str, *, deterministic: bool, strategy: str | None) -> "Display":
    """Imports Keras with a backend, sets up devices, and returns the display for the runs.

    Raises:
        UserError: the backend does not support the strategy.
    """
    if strategy not in (None, *STRATEGIES):
        raise UserError(unknown_name("strategy", strategy, STRATEGIES))
    from .progress import Display

    os.environ["KERAS_BACKEND"] = backend
    environment.silence_tensorflow()
    display = Display()
    with display.stage(f"Keras on {backend}"), environment.hide_native_output(sys.stderr):
        if deterministic:
            environment.make_deterministic(backend)
        import keras

        if strategy is not None:
            from ..training.strategy import enable_data_parallel

            enable_data_parallel()
        # Keras seeds TensorFlow as well if it is installed, and imports it to do so: here, not
        # while a run is timed.
        keras.utils.set_random_seed(0)
    return display


def _exit_status(records: Sequence["Record"]) -> int:
    """Returns the exit status for these runs, and prints what went wrong."""
    last = records[-1]
    if last.status == "interrupted":
        fail(f"{last.task}: interrupted. To resume: --resume {last.run_id}", EXIT_INTERRUPTED)
        return EXIT_TERMINATED if "SIGTERM" in (last.error or "") else EXIT_INTERRUPTED
    diverged = [record for record in records if record.status == "diverged"]
    for record in diverged:
        fail(f"{record.task}: {record.error}", EXIT_FAILED)
    return EXIT_FAILED if diverged else 0
