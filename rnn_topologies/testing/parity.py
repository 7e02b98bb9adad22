"""The same cell on the other installed backends, each in a process of its own."""

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

import keras
import numpy as np

from .subject import MASK, CellError, Skipped, Subject, layer_of, near, run

BACKENDS = ("tensorflow", "jax", "torch")


def check_parity(subject):
    """The other installed backends give the same numbers."""
    others = [
        name
        for name in BACKENDS
        if name != keras.backend.backend() and importlib.util.find_spec(name)
    ]
    if not others:
        raise Skipped("no other backend is installed")
    if "<locals>" in subject.cell_class.__qualname__:
        raise Skipped("the class stands in a function, where another process does not find it")
    cell = subject.built()
    wanted = run(layer_of(cell), subject.sequence(), subject.states(cell), MASK)
    for backend in others:
        with tempfile.TemporaryDirectory() as folder:
            found = _elsewhere(subject, cell, backend, pathlib.Path(folder))
        if not near(found, wanted):
            raise CellError(
                f"On {backend} the cell gives other numbers than on {keras.backend.backend()}. Use "
                "`keras.ops` in place of a backend's own functions."
            )


def _elsewhere(subject, cell, backend, folder):
    config = keras.saving.serialize_keras_object(cell)["config"]
    config.pop("build_config", None)
    asked = {
        "file": inspect.getsourcefile(subject.cell_class),
        "module": subject.cell_class.__module__,
        "name": subject.cell_class.__qualname__,
        "config": config,
        "features": subject.features,
        "path": sys.path,
    }
    (folder / "asked.json").write_text(json.dumps(asked), "utf-8")
    np.savez(folder / "weights.npz", *cell.get_weights())
    code = f"from rnn_topologies.testing import parity; parity.answer({str(folder)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        text = done.stderr.strip()
        begins = [error.start() for error in re.finditer(r"^\w+(Error|Exception): ", text, re.M)]
        said = " ".join(text[begins[-1] if begins else 0 :].split())
        raise CellError(
            f"On {backend} the cell fails ({said[:300]}). Use `keras.ops` in place of a backend's "
            "own functions."
        )
    with np.load(folder / "answer.npz") as answer:
        arrays = [answer[f"arr_{number}"] for number in range(len(answer.files))]
    return arrays[0], arrays[1:]


def answer(folder: str) -> None:
    """Runs the cell that another process asks about, on this process's backend."""
    folder = pathlib.Path(folder)
    asked = json.loads((folder / "asked.json").read_text("utf-8"))
    sys.path[:] = asked["path"]
    found = None
    if asked["module"] != "__main__":
        with contextlib.suppress(ImportError):
            found = importlib.import_module(asked["module"])
    if found is None:
        spec = importlib.util.spec_from_file_location("cell_under_test", asked["file"])
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    for name in asked["name"].split("."):
        found = getattr(found, name)
    cell_class = found
    subject = Subject(
        lambda: cell_class.from_config(dict(asked["config"])), asked["features"], None, cell_class
    )
    cell = subject.built()
    with np.load(folder / "weights.npz") as weights:
        cell.set_weights([weights[f"arr_{number}"] for number in range(len(weights.files))])
    outputs, last = run(layer_of(cell), subject.sequence(), subject.states(cell), MASK)
    np.savez(folder / "answer.npz", outputs, *last)
