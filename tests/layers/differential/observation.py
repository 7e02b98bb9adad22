"""What a user observes in a case, and how the two libraries differ in it."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import tree

from rnn_topologies import layers

from .case import Case
from .gradients import gradients
from .subject import Subject, arrays, inputs_of
from .without_padding import state_sizes


def _call(subject: Subject) -> dict[str, Any]:
    case = subject.case
    outputs = subject(inputs_of(case), subject.states(), case.training)
    shapes = subject.layer.compute_output_shape((case.batch, case.time, case.features))
    result = {
        "outputs": arrays(outputs),
        "dtypes": [keras.backend.standardize_dtype(output.dtype) for output in outputs],
        "losses": arrays([sum(subject.layer.losses, 0.0)]),
    }
    if not subject.by_row and not (subject.is_reference and case.backward):
        # Keras computes the shapes of `Bidirectional` from its forward layer alone.
        shapes = [tuple(s) for s in tree.flatten(tree.map_shape_structure(_Shape, shapes))]
        result["computed shapes"] = shapes
    return result


class _Shape:
    """A shape as a leaf of a structure."""

    def __init__(self, shape):
        self.shape = shape

    def __iter__(self):
        return iter(self.shape)


def _saved(subject: Subject) -> dict[str, Any]:
    if subject.is_reference:
        return _predicted(subject)
    model = subject.model()
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        model = keras.saving.load_model(Path(folder) / "model.keras")
    return {"outputs": arrays(tree.flatten(model(subject.model_inputs())))}


def _predicted(subject: Subject) -> dict[str, Any]:
    """Runs compiled; the reference, which computes the same, is not compiled."""
    if subject.is_reference:
        outputs = subject(inputs_of(subject.case), subject.states(), False)
        return {"outputs": arrays(outputs)}
    outputs = subject.model().predict(
        subject.model_inputs(), batch_size=subject.case.batch, verbose=0
    )
    return {"outputs": arrays(tree.flatten(outputs))}


def _fitted(subject: Subject) -> dict[str, Any]:
    case = subject.case
    dense = keras.layers.Dense(1, kernel_initializer="ones", dtype="float32")
    model = subject.model(lambda outputs: dense(keras.layers.Flatten()(outputs[0])))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    targets = case.array(case.batch, 1, offset=50)
    model.fit(
        subject.model_inputs(), targets, batch_size=case.batch, epochs=2, shuffle=False, verbose=0
    )
    return {"weights": arrays(subject.layer.get_weights())}


def _continued(subject: Subject) -> dict[str, Any]:
    """Two batches of a stateful layer, and one after a reset."""
    x, case = inputs_of(subject.case), subject.case
    if not subject.by_row:
        first, second = (subject(x * scale, [], False) for scale in (1, 0.5))
        subject.layer.reset_state()
        return {"outputs": arrays([*first, *second, *subject(x, [], False)])}
    count = len(tree.flatten(state_sizes(subject.layer)))
    subject.case = subject.runner.case = dataclasses.replace(
        case, loop={**case.loop, "return_state": True}
    )
    first = subject(x, [], False)
    second = subject(x * 0.5, first[-count:], False)
    if not case.loop.get("return_state"):
        first, second = first[:-count], second[:-count]
    return {"outputs": arrays([*first, *second, *first])}


def _gradient(subject: Subject) -> dict[str, Any]:
    return {"gradients": gradients(subject, penalty=False)}


def _penalty(subject: Subject) -> dict[str, Any]:
    return {"gradients of a gradient penalty": gradients(subject, penalty=True)}


MODES = {
    "call": _call,
    "gradient": _gradient,
    "penalty": _penalty,
    "fit": _fitted,
    "predict": _predicted,
    "save": _saved,
    "stateful": _continued,
}


def observe(case: Case, library: Any) -> dict[str, Any]:
    """Returns what a user observes in a case, by name; only "error" if anything is raised."""
    try:
        subject = Subject(case, library)
        return {"initial weights": arrays(subject.initial_weights), **MODES[case.mode](subject)}
    except Exception as error:  # whatever is raised is compared
        return {"error": error}


def differences(case: Case) -> list[str]:
    """Returns the differences from `keras.layers`; empty if there are none."""
    ours, theirs = observe(case, layers), observe(case, keras.layers)
    if "error" in ours or "error" in theirs:
        errors = {who: result.get("error") for who, result in (("we", ours), ("Keras", theirs))}
        return [f"{who} raise {error!r}" for who, error in errors.items() if error is not None]
    return [
        f"{name}: {ours[name]} instead of {theirs[name]}"
        for name in ours.keys() & theirs.keys()
        if not _equal(case, name, ours[name], theirs[name])
    ]


def _equal(case, name, ours, theirs):
    if not ours or not isinstance(ours[0], np.ndarray):
        return ours == theirs
    if [value.shape for value in ours] != [value.shape for value in theirs]:
        return False
    tolerance = {"float64": 1e-6, "float32": 1e-4}.get(case.dtype, 0.1)
    if name != "initial weights" and ours:
        largest = max(np.abs(value).max(initial=0) for value in theirs)
        tolerance *= max(1.0, largest)
    return all(
        np.allclose(a, b, rtol=1e-4, atol=tolerance, equal_nan=True)
        for a, b in zip(ours, theirs, strict=True)
    )
