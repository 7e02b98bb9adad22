"""Random layers, run by this library and by `keras.layers`, with equal results and errors.

`RNN_TOPOLOGIES_DIFFERENTIAL_CASES` sets the number of cases, and `--hypothesis-seed` draws others.
"""

import os

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from rnn_topologies import layers

from .cases import BACKEND
from .differential.case import cases
from .differential.observation import differences

DEFAULT = {"tensorflow": 100, "jax": 60, "torch": 500}  # about half a minute
CASES = os.environ.get("RNN_TOPOLOGIES_DIFFERENTIAL_CASES", DEFAULT[BACKEND])


@settings(
    max_examples=int(CASES),
    deadline=None,
    derandomize="RNN_TOPOLOGIES_DIFFERENTIAL_CASES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(cases())
def test_a_random_layer_equals_that_of_keras(case):
    assert differences(case) == []


ARGUMENTS = {
    "units 0": {"units": 0},
    "units -1": {"units": -1},
    "units None": {"units": None},
    "unknown activation": {"activation": "tanhh"},
    "unknown initializer": {"kernel_initializer": "glorot"},
    "unknown regularizer": {"kernel_regularizer": "l3"},
    "unknown constraint": {"kernel_constraint": "unit"},
    "unknown argument": {"return_sequence": True},
    "unknown dtype": {"dtype": "float31"},
}
X = np.ones((2, 4, 3), "float32")
CALLS = {
    "no time axis": lambda layer: layer(X[:, 0]),
    "no feature axis": lambda layer: layer(X[..., 0]),
    "no axes": lambda layer: layer(X[0, 0, 0]),
    "other features": lambda layer: (layer(X), layer(X[..., :2])),
    "too many states": lambda layer: layer(X, initial_state=[np.ones((2, 5))] * 3),
    "states of another size": lambda layer: layer(X, initial_state=_states(layer, 2, 4)),
    "states of another batch": lambda layer: layer(X, initial_state=_states(layer, 3, 5)),
    "strings": lambda layer: layer(np.full((2, 4, 3), "a")),
    "unknown call argument": lambda layer: layer(X, masks=None),
}


def _states(layer, batch, units):
    layer.build(X.shape)
    return [np.ones((batch, units), "float32") for _ in layer.state_size]


@pytest.mark.parametrize("flaw", ARGUMENTS)
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_arguments_that_keras_refuses_are_refused(kind, flaw):
    arguments = {"units": 5, **ARGUMENTS[flaw]}
    for library in (keras.layers, layers):
        with pytest.raises((ValueError, TypeError)):
            getattr(library, kind)(**arguments)


@pytest.mark.parametrize("flaw", CALLS)
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_calls_that_cannot_work_are_refused(kind, flaw):
    with pytest.raises((ValueError, TypeError)):
        CALLS[flaw](getattr(layers, kind)(5))
