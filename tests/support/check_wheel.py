"""Checks an installed wheel: `python check_wheel.py [--native]` fits an LSTM on KERAS_BACKEND.

It needs nothing but the wheel and a backend. `--native` also requires the CPU kernel, which a
wheel for Linux or macOS must have.
"""

import importlib.metadata
import pathlib
import sys

import keras
import numpy as np

import rnn_topologies
from rnn_topologies.layers import LSTM
from rnn_topologies.testing import check_cell

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def main() -> None:
    package = pathlib.Path(rnn_topologies.__file__)
    if package.is_relative_to(CHECKOUT / "rnn_topologies"):
        sys.exit(f"{package} is the checkout, not the installed wheel.")
    assert importlib.metadata.version("rnn-topologies") == rnn_topologies.__version__

    inputs = np.random.default_rng(0).normal(size=(32, 10, 8)).astype("float32")
    model = keras.Sequential([LSTM(16), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(inputs, inputs.mean(axis=(1, 2))[:, None], epochs=2, verbose=0)
    check_cell(rnn_topologies.layers.GRUCell, units=5, checks=["contract"])

    plan = LSTM(16).explain((32, None, 8))
    print(f"{keras.backend.backend()}: {plan}")
    if "--native" in sys.argv and plan.method != "CPU kernel":
        sys.exit(f"The CPU kernel is not in use, but {plan.method!r}.")


if __name__ == "__main__":
    main()
