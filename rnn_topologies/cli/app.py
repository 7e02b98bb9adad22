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
import warnings
from collections.abc import Sequence
from typing import Annotated, Literal, get_args, get_origin

import typer

from rnn_topologies import tasks
from rnn_topologies.tasks.base import TaskConfig, flag_name
from rnn_topologies.tasks.errors import NotWrittenError, UserError, unknown_name

from ..training import environment
from . import commands

BACKENDS = ("tensorflow", "jax", "torch")
STRATEGIES = ("data_parallel",)
ALL = "all"  # in place of a task's name
EXIT_USAGE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TERMINATED = 2, 1, 130, 143
CHECKPOINT_STEPS = 200

EPILOG = (
    "All settings of a task: runner.py --task NAME --help. "
    "First run: runner.py --task translation (three minutes on a laptop)."
)


def main() -> None:
    """Runs the command line and leaves with 0, or 2 after a user's mistake, told in one line."""
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
    except MemoryError:
        status = fail("out of memory. Try a smaller --batch-size.", EXIT_FAILED)
    except (typer.Abort, KeyboardInterrupt):
        status = fail("interrupted", EXIT_INTERRUPTED)
    sys.exit(status)


def fail(message: str, status: int = EXIT_USAGE) -> int:
    """Prints one line on standard error and returns the exit status."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def requested_task(arguments: list[str]) -> str | None:
    """Returns the value of `--task`, or None if it is not there or belongs to a command."""
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
            typer.Option(metavar="NAME", help=f"Task: {', '.join(tasks.task_names())}, or {ALL}."),
        ] = None,
        resume: Annotated[
            str | None,
            typer.Option(metavar="RUN", help="Go on with an unfinished run: its id, or last."),
        ] = None,
        results_dir: Annotated[
            str, typer.Option(help="Folder of results, for --resume.")
        ] = "results",
    ):
        """Train and test a recurrent network on a task of one of five topologies."""
        del task  # with --task, `build_task_app` has taken over
        if resume is not None and context.invoked_subcommand is None:
            return resume_run(resume, results_dir)
        if context.invoked_subcommand is None:
            raise UserError(
                f"Give a --task ({', '.join(tasks.task_names())}) or a command; see --help."
            )
        return None

    commands.add_commands(app)
    return app


def build_task_app(name: str) -> typer.Typer:
    """Returns the command line of one task, or of all, with a flag for every field of its settings.

    All tasks together have the settings that every task has, and each its default data set.
    """
    if name == ALL:
        names, text = (
            tasks.task_names(),
            "Run all tasks on their default data, one after the other.",
        )
        fields = [f for f in dataclasses.fields(TaskConfig) if f.name != "dataset"]
    else:
        names, task = [name], tasks.get_task(name)
        fields, text = dataclasses.fields(task.Config), f"{task.summary} ({task.topology})."
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    def run(**values):
        values.pop("task")
        names_of_options = ("backend", "strategy", "results_dir", "checkpoint_steps")
        options = {name: values.pop(name) for name in names_of_options}
        chosen = {name: value for name, value in values.items() if value is not None}
        return train(names, chosen, **options)

    run.__signature__ = inspect.Signature(
        [
            _option("task", str, "", "Task to run."),
            *(_option_of(field) for field in fields),
            _option("backend", str, None, f"Keras backend: {', '.join(BACKENDS)}."),
            _option("strategy", str, None, "Spread the run over devices: data_parallel (JAX)."),
            _option("results_dir", str, "results", "Folder to write the run's folder into."),
            _option(
                "checkpoint_steps",
                int,
                CHECKPOINT_STEPS,
                "Save the state after so many steps, beside every epoch.",
                min=1,
            ),
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
    return (f"{flag_name(name)}/--no-{flag_name(name)[2:]}",) if kind is bool else (flag_name(name),)


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


def train(
    names: Sequence[str], settings: dict, *, backend: str | None, strategy: str | None, **options
) -> int:
    """Settles the backend, runs the tasks, and returns the exit status.

    Args:
        options: `results_dir` and `checkpoint_steps`, see `experiment.run_experiment`.
    """
    backend = check_backend(backend or os.environ.get("KERAS_BACKEND") or BACKENDS[0])
    for name in names:
        tasks.get_task(name)(settings)  # mistakes in settings are told before seconds of imports
    display = set_up_keras(
        backend, deterministic=settings.get("deterministic", False), strategy=strategy
    )
    from ..training import experiment

    records = []
    for name in names:
        if len(names) > 1:
            display.show_heading(name)
        record, _ = experiment.run_experiment(name, settings, display=display, **options)
        records.append(record)
        if record.status == "interrupted":
            break
    if len(names) > 1:
        display.show_summary(records)
    return _status(records)


def resume_run(run: str, results_dir: str) -> int:
    """Goes on with a run that has not ended, and returns the exit status."""
    from ..training import checkpoint

    state = checkpoint.find_checkpoint(run, results_dir)
    deterministic = state.request.settings.get("deterministic", False)
    backend = check_backend(state.request.backend)
    display = set_up_keras(backend, deterministic=deterministic, strategy=state.request.strategy)
    display.note(f"resuming {state.request.run_id}")
    from ..training import experiment

    record, _ = experiment.resume_experiment(state, display=display)
    return _status([record])


def check_backend(backend: str) -> str:
    """Returns the backend's name.

    Raises:
        UserError: there is no such backend, or it is not installed.
    """
    if backend not in BACKENDS:
        raise UserError(unknown_name("backend", backend, BACKENDS))
    if importlib.util.find_spec(backend) is None:
        raise UserError(
            f"The backend {backend} is not installed: pip install 'rnn-topologies[{backend}]'."
        )
    return backend


def set_up_keras(backend: str, *, deterministic: bool, strategy: str | None):
    """Imports Keras on a backend, and returns the display.

    Raises:
        UserError: the backend cannot spread a run over devices.
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
            from ..training import strategy as spread

            spread.enable_data_parallel()
        # Sets TensorFlow's seed too where it is installed, and imports it to do so.
        keras.utils.set_random_seed(0)
    return display


def _status(records) -> int:
    """Returns the exit status after these runs, and says on standard error what went wrong."""
    if records[-1].status == "interrupted":
        fail(
            f"{records[-1].task}: interrupted. Go on with --resume {records[-1].run_id}.",
            EXIT_INTERRUPTED,
        )
        return EXIT_TERMINATED if "SIGTERM" in (records[-1].error or "") else EXIT_INTERRUPTED
    diverged = [record for record in records if record.status == "diverged"]
    for record in diverged:
        fail(f"{record.task}: {record.error}", EXIT_FAILED)
    return EXIT_FAILED if diverged else 0
