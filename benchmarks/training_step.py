"""A training step of our layers against `keras.layers`, in turns in one process.

    python benchmarks/training_step.py [--rounds 15]

Batch 64, time 100, features 128, units 256, float32, on the backend in KERAS_BACKEND. Prints
milliseconds (medians) and the ratio ours / Keras's with its spread over the rounds; below 1,
ours is faster. The machine's other work falls on both alike.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from rnn_topologies import layers

BATCH, TIME, FEATURES, UNITS = 64, 100, 128, 256


def model_of(kind):
    inputs = keras.Input((TIME, FEATURES), batch_size=BATCH)
    model = keras.Model(inputs, kind(UNITS, return_sequences=True)(inputs))
    model.compile("sgd", "mse", jit_compile=keras.backend.backend() == "jax")
    return model


def milliseconds(function) -> float:
    began = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    x = np.random.default_rng(0).normal(size=(BATCH, TIME, FEATURES)).astype("float32")
    y = np.zeros((BATCH, TIME, UNITS), "float32")
    print(f"backend {keras.backend.backend()}, {len(os.sched_getaffinity(0))} cores")
    print(
        f"{'layer':<12}{'ours ms':>10}{'keras ms':>10}{'ratio':>8}{'  quartiles of the ratio':<24}"
    )
    for name in ("SimpleRNN", "LSTM", "GRU"):
        ours, theirs = (model_of(getattr(home, name)) for home in (layers, keras.layers))
        steps = [lambda m=model: m.train_on_batch(x, y) for model in (ours, theirs)]
        for step in steps * 3:
            step()
        times = [[milliseconds(step) for step in steps] for _ in range(rounds)]
        mine, other = (statistics.median(column) for column in zip(*times, strict=True))
        low, middle, high = statistics.quantiles([a / b for a, b in times], n=4)
        print(f"{name:<12}{mine:>10.1f}{other:>10.1f}{middle:>8.3f}  {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
