"""Running the same cell on the other installed backends, each in its own process."""

import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Any

import keras
import numpy as np

from .subject import MASK, CellError, Skipped, Subject, is_close, make_layer, run_layer

BACKENDS = ("tensorflow", "jax", "torch")


def check_parity(subject: Subject) -> None:
    """Checks that the other installed backends compute the same."""
    others = [
        name
        for name in BACKENDS
        if name != keras.backend.backend() and importlib.util.find_spec(name)
    ]
    if not others:
        raise Skipped("no other backend is installed")
    if "<locals>" in subject.cell_class.__qualname__:
        raise Skipped("the class is defined in a function, where another process cannot import it")
    cell = subject.build_cell()
    expected = run_layer(make_layer(cell), subject.sequence(), subject.states(cell), MASK)
    for backend in others:
        with tempfile.TemporaryDirectory() as folder:
            actual = _run_on_backend(subject, cell, backend, pathlib.Path(folder))
        if not is_close(actual, expected):
            raise CellError(
                f"On {backend} the cell computes different values than on "
                f"{keras.backend.backend()}. Use `keras.ops` instead of a backend's own functions."
            )


def _run_on_backend(
    subject: Subject, cell: Any, backend: str, folder: pathlib.Path
) -> tuple[np.ndarray, list[np.ndarray]]:
    serialized: Any = keras.saving.serialize_keras_object(cell)
    config = serialized["config"]
    config.pop("build_config", None)
    request = {
        "file": inspect.getsourcefile(subject.cell_class),
        "module": subject.cell_class.__module__,
        "name": subject.cell_class.__qualname__,
        "config": config,
        "features": subject.features,
        "path": sys.path,
    }
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    np.savez(folder / "weights.npz", *cell.get_weights())
    code = f"from rnn_topologies.testing import parity; parity.run_request({str(folder)!r})"
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if process.returncode:
        raise CellError(
            f"On {backend} the cell fails ({_last_error(process.stderr)[:300]}). Use `keras.ops` "
            "instead of a backend's own functions."
        )
    with np.load(folder / "result.npz") as result:
        arrays = [result[f"arr_{number}"] for number in range(len(result.files))]
    return arrays[0], arrays[1:]


def _last_error(stderr: str) -> str:
    """Returns the message of the last exception on standard error, on one line."""
    text = stderr.strip()
    starts = [match.start() for match in re.finditer(r"^\w+(Error|Exception): ", text, re.M)]
    return " ".join(text[starts[-1] if starts else 0 :].split())


def run_request(folder: str) -> None:
    """Runs, on this process's backend, the cell that another process describes in a folder."""
    path = pathlib.Path(folder)
    request = json.loads((path / "request.json").read_text("utf-8"))
    sys.path[:] = request["path"]
    cell_class = _import_class(request["module"], request["file"], request["name"])
    subject = Subject(
        lambda: cell_class.from_config(dict(request["config"])),
        request["features"],
        None,
        cell_class,
    )
    cell = subject.build_cell()
    with np.load(path / "weights.npz") as weights:
        cell.set_weights([weights[f"arr_{number}"] for number in range(len(weights.files))])
    outputs, final_states = run_layer(
        make_layer(cell), subject.sequence(), subject.states(cell), MASK
    )
    np.savez(path / "result.npz", outputs, *final_states)


def _import_class(module: str, file: str, name: str) -> Any:
    """Returns a class from a module or, if that cannot be imported by name, from its file."""
    scope: Any = None
    if module != "__main__":
        with contextlib.suppress(ImportError):
            scope = importlib.import_module(module)
    if scope is None:
        spec = importlib.util.spec_from_file_location("cell_under_test", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is not a Python file.")
        scope = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(scope)
    for part in name.split("."):
        scope = getattr(scope, part)
    return scope
