"""Optional dependencies: reports a missing one in one line. Imports the standard library only."""

import contextlib
import pathlib
import sys
from collections.abc import Iterator

# The modules of each extra in pyproject.toml; those of "" are always installed.
EXTRAS = {
    "": ("keras", "numpy"),
    "suite": (
        "altair",
        "array_record",
        "babel",
        "filelock",
        "importlib_resources",
        "jinja2",
        "matplotlib",
        "pandas",
        "PIL",
        "pydantic",
        "requests",
        "rich",
        "sacrebleu",
        "sklearn",
        "tensorboard",
        "tensorflow",
        "tensorflow_datasets",
        "tokenizers",
        "typer",
        "typing_extensions",
        "vl_convert",
    ),
    "sweep": ("optuna", "ray"),
    "export": ("ai_edge_litert", "onnx", "onnxruntime", "onnxscript", "tf2onnx"),
    "docs": ("mkdocs", "mkdocstrings"),
    "jax": ("jax",),
    "torch": ("torch",),
    "dev": ("hypothesis", "pycocoevalcap", "pyright", "pytest", "ruff", "selenium", "xdist"),
}
CHECKOUT = pathlib.Path(__file__).parents[2]


def install_command(extra: str) -> str:
    """Returns the pip command that installs an extra: from this checkout, or the package."""
    brackets = f"[{extra}]" if extra else ""
    if (CHECKOUT / "pyproject.toml").is_file():
        return f'pip install -e ".{brackets}"'
    return f'pip install "rnn-topologies{brackets}"'


def missing_dependency(module: str) -> str | None:
    """Returns an error message with the command that installs a module; None for other modules."""
    for extra, modules in EXTRAS.items():
        if module in modules:
            return f"{module} is not installed. Run: {install_command(extra)}"
    return None


@contextlib.contextmanager
def exit_if_dependency_is_missing() -> Iterator[None]:
    """Exits with status 2 and one line on standard error if an import fails for lack of an extra.

    Other import errors are bugs and keep their traceback.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = missing_dependency(error.name or "")
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
