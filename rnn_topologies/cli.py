"""The command line: `runner.py --task NAME` runs a task, `runner.py list` says what there is.

The flags of a task are the fields of its `Config`. Keras and its backend, which take seconds to
import, are imported only when a run begins.
"""

import dataclasses
import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Sequence
from typing import Annotated, Literal, get_args, get_origin

import typer

from rnn_topologies import tasks
from rnn_topologies.tasks.parts.errors import UserError
from rnn_topologies.tasks.parts.task import TaskConfig, flag, unknown

from . import commands, environment

BACKENDS = ("tensorflow", "jax", "torch")
ALL = "all"  # in place of a task's name
EXIT_USAGE, EXIT_FAILED, EXIT_INTERRUPTED = 2, 1, 130

EPILOG = (
    "All settings of a task: runner.py --task NAME --help. "
    "First run: runner.py --task translation (three minutes on a laptop)."
)


def main() -> None:
    """Runs the command line and leaves with 0, or 2 after a user's mistake, told in one line."""
    try:
        name = named_task(sys.argv[1:])
        app = task_app(name) if name is not None else general_app()
        status = app(standalone_mode=False)
    except UserError as error:
        status = fail(str(error))
    except typer.TyperException as error:
        status = fail(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        status = fail("interrupted", EXIT_INTERRUPTED)
    sys.exit(status)


def fail(message: str, status: int = EXIT_USAGE) -> int:
    """Prints one line on standard error and returns the exit status."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def named_task(arguments: list[str]) -> str | None:
    """Returns the value of `--task`, or None if it is not among the arguments."""
    for index, argument in enumerate(arguments):
        if argument == "--task":
            if index + 1 == len(arguments):
                raise UserError(f"--task needs a name: {', '.join(tasks.names())}, or {ALL}.")
            return arguments[index + 1]
        if argument.startswith("--task="):
            return argument.partition("=")[2]
    return None


def general_app() -> typer.Typer:
    """Returns the command line without a task: help, and the commands."""
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
            typer.Option(metavar="NAME", help=f"Task: {', '.join(tasks.names())}, or {ALL}."),
        ] = None,
    ):
        """Train and test a recurrent network on a task of one of five topologies."""
        del task  # with --task, `task_app` has taken over
        if context.invoked_subcommand is None:
            raise UserError(f"Give a --task ({', '.join(tasks.names())}) or a command; see --help.")

    commands.add_to(app)
    return app


def task_app(name: str) -> typer.Typer:
    """Returns the command line of one task, or of all, with a flag for every field of its settings.

    All tasks together have the settings that every task has, and each its default data set.
    """
    if name == ALL:
        names, text = tasks.names(), "Run all tasks on their default data, one after the other."
        fields = [f for f in dataclasses.fields(TaskConfig) if f.name != "dataset"]
    else:
        names, task = [name], tasks.find(name)
        fields, text = dataclasses.fields(task.Config), f"{task.summary} ({task.topology})."
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    def run(**values):
        values.pop("task")
        backend, results_dir = values.pop("backend"), values.pop("results_dir")
        chosen = {name: value for name, value in values.items() if value is not None}
        return start(names, chosen, backend=backend, results_dir=results_dir)

    run.__signature__ = inspect.Signature(
        [
            _option("task", str, "", "Task to run."),
            *(_option_of(field) for field in fields),
            _option("backend", str, None, f"Keras backend: {', '.join(BACKENDS)}."),
            _option("results_dir", str, "results", "Folder to write the run's folder into."),
        ]
    )
    run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}
    run.__doc__ = text[:1].upper() + text[1:]
    app.command()(run)
    return app


def _option(name, kind, default, text, **settings) -> inspect.Parameter:
    option = typer.Option(*_declarations(name, kind), help=text, **settings)
    annotation = Annotated[kind if default is not None else kind | None, option]
    parameter = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, parameter, default=default, annotation=annotation)


def _declarations(name, kind) -> tuple[str, ...]:
    return (f"{flag(name)}/--no-{flag(name)[2:]}",) if kind is bool else (flag(name),)


def _option_of(field: dataclasses.Field) -> inspect.Parameter:
    """Returns the flag of a field; unset, the data set's own value or the default holds."""
    kind, metavar = field.type, None
    if get_origin(kind) is Literal:
        kind, metavar = str, "|".join(get_args(kind))
    elif isinstance(kind, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not types.NoneType)
    text = field.metadata["help"]
    if field.default not in (None, ""):
        text += f" Default: {field.default}."
    return _option(field.name, kind, None, text, metavar=metavar, show_default=False)


def start(names: Sequence[str], settings: dict, *, backend: str | None, results_dir: str) -> int:
    """Settles the backend, runs the tasks, and returns the exit status."""
    backend = backend or os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if backend not in BACKENDS:
        raise UserError(unknown("backend", backend, BACKENDS))
    if importlib.util.find_spec(backend) is None:
        raise UserError(
            f"The backend {backend} is not installed: pip install 'rnn-topologies[{backend}]'."
        )
    os.environ["KERAS_BACKEND"] = backend
    environment.quiet()
    for name in names:
        tasks.find(name)(settings)  # mistakes in settings are told before seconds of imports
    from .display import Display

    display = Display()
    with display.stage(f"Keras on {backend}"), environment.held_back(sys.stderr):
        import keras

        from . import experiment

        # Sets TensorFlow's seed too where it is installed, and imports it to do so.
        keras.utils.set_random_seed(settings.get("seed", 0))
    records = []
    for name in names:
        if len(names) > 1:
            display.heading(name)
        record, _ = experiment.run(name, settings, results_dir=results_dir, display=display)
        records.append(record)
        if record.status == "interrupted":
            break
    if len(names) > 1:
        display.table(records)
    return _status(records)


def _status(records) -> int:
    """Returns the exit status after these runs, and says on standard error what went wrong."""
    if records[-1].status == "interrupted":
        return EXIT_INTERRUPTED
    diverged = [record for record in records if record.status == "diverged"]
    for record in diverged:
        fail(f"{record.task}: {record.error}", EXIT_FAILED)
    return EXIT_FAILED if diverged else 0
