"""Recurrent layers on a CPU: ours and those of keras.layers on every backend, and torch.nn.

    python benchmarks/layers.py             measures, into results/benchmarks/layers.csv; with
                                            --size and --cores some rows, the others stay
    python benchmarks/layers.py table       writes what was measured into docs/cpu.md

Simple RNN, LSTM, GRU and a bidirectional LSTM; forward, and a training step: forward and
backward, with the gradients of the weights and of the input; four sizes; one core and all. Every
contender is a process of its own, since the threads of TensorFlow, OpenMP and JAX stand in each
other's way. In a row of the table all take turns, after one or two to warm up, until each has had
seven or enough seconds; medians are kept. `products` is what the matrix products of the layer
take by themselves, all steps in one product (NumPy with OpenBLAS).
"""

import argparse
import csv
import functools
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import marks

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "results" / "benchmarks" / "layers.csv"
PAGE = ROOT / "docs" / "cpu.md"
SIZES = {  # batch, time, features, units
    "small": (32, 28, 28, 128),
    "medium": (64, 100, 128, 256),
    "large": (64, 400, 256, 512),
    "batch of one": (1, 100, 128, 256),
}
LAYERS = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3, "Bidirectional LSTM": 4}  # gates
WAYS = ("forward", "training step")
BACKENDS = ("tensorflow", "jax", "torch")
CONTENDERS = [f"{kind} {of}" for of in BACKENDS for kind in ("ours", "keras")]
CONTENDERS += ["torch.nn", "products"]
TURNS, SECONDS = 7, 5.0  # at most so many turns, and so many seconds, of a contender in a row
TURN = 0.05  # seconds: a turn is one call, or as many as begin within this time
PAUSE = 0.03  # seconds between turns: OpenMP's threads go on spinning for a while
ALONE = "products"  # takes its turns at the end: OpenBLAS's threads spin for longer


def arrays(layer, size):
    import numpy as np

    batch, time, features, units = SIZES[size]
    width = 2 * units if layer == "Bidirectional LSTM" else units
    generator = np.random.default_rng(0)
    x = generator.normal(size=(batch, time, features)).astype("float32")
    return x, generator.normal(size=(batch, time, width)).astype("float32")


def keras_layer(kind, layer, size):
    import keras

    from rnn_topologies import layers

    home = layers if kind == "ours" else keras.layers
    units = SIZES[size][-1]
    if layer == "Bidirectional LSTM":
        return home.Bidirectional(home.LSTM(units, return_sequences=True))
    return getattr(home, layer)(units, return_sequences=True)


def on_tensorflow(made, x, above, way):
    import tensorflow as tf

    x, above = tf.constant(x), tf.constant(above)
    made(x)
    if way == "forward":
        return tf.function(lambda: made(x)), lambda answer: answer  # there when the call returns

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = made(x, training=True)
        sources = [x, *made.trainable_variables]
        return tape.gradient(outputs, sources, output_gradients=above)

    return step, lambda answer: answer


def on_jax(made, x, above, way):
    import jax

    x, above = jax.numpy.asarray(x), jax.numpy.asarray(above)
    made(x)
    weights = [weight.value for weight in made.trainable_variables]
    rest = [weight.value for weight in made.non_trainable_variables]

    def answer(weights, x, training=False):
        return made.stateless_call(weights, rest, x, training=training)[0]

    def step(weights, x):
        training = functools.partial(answer, training=True)
        return jax.vjp(training, weights, x)[1](above)

    run = jax.jit(answer if way == "forward" else step)
    return lambda: run(weights, x), jax.block_until_ready


def on_torch(made, x, above, way):
    import torch

    x, above = torch.tensor(x), torch.tensor(above)
    outputs = made(x)
    first = (lambda answer: answer) if torch.is_tensor(outputs) else (lambda answer: answer[0])
    if way == "forward":

        def run():
            with torch.inference_mode():
                return made(x)

        return run, lambda answer: answer
    x.requires_grad_()
    weights = [x, *made.parameters()]

    def step():
        for of in weights:
            of.grad = None
        first(made(x)).backward(above)

    return step, lambda answer: answer


def torch_layer(layer, size):
    import torch

    _, _, features, units = SIZES[size]
    name = {"SimpleRNN": "RNN", "Bidirectional LSTM": "LSTM"}.get(layer, layer)
    both = layer == "Bidirectional LSTM"
    return getattr(torch.nn, name)(features, units, batch_first=True, bidirectional=both)


def products(layer, size, way):
    """The matrix products by themselves: [x h] [W; R], and backward twice as many."""
    import numpy as np

    batch, time, features, units = SIZES[size]
    rows, depth, width = batch * time, features + units, LAYERS[layer] * units
    a, b, c = (
        np.ones(shape, "float32") for shape in ((rows, depth), (depth, width), (rows, width))
    )
    of_a, of_b = np.empty_like(a), np.empty_like(b)
    runs = [lambda: np.matmul(a, b, out=c)]
    if way == "training step":
        runs += [lambda: np.matmul(c, b.T, out=of_a), lambda: np.matmul(a.T, c, out=of_b)]
    runs *= 2 if layer == "Bidirectional LSTM" else 1
    return lambda: [run() for run in runs], lambda answer: answer


def prepare(contender, layer, size, way):
    """Returns a function that takes a turn and returns milliseconds."""
    kind, _, backend = contender.partition(" ")
    x, above = arrays(layer, size)
    if contender == "products":
        run, wait = products(layer, size, way)
    elif contender == "torch.nn":
        run, wait = on_torch(torch_layer(layer, size), x, above, way)
    else:
        on = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}[backend]
        run, wait = on(keras_layer(kind, layer, size), x, above, way)

    def turn():
        times, ends = [], time.perf_counter() + TURN
        while not times or time.perf_counter() < ends:
            began = time.perf_counter()
            wait(run())
            times.append(1000 * (time.perf_counter() - began))
        return statistics.median(times)

    return turn


def work(contender):
    """Answers lines of JSON: [layer, size, way] prepares, an empty list takes a turn."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    run = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked:
            run = None
            run = prepare(contender, *asked)
            answer = run()
            if answer < 3000:
                answer = min(answer, run())
        else:
            answer = run()
        print(json.dumps(answer), file=answers, flush=True)


class Contender:
    """A process that runs what it is asked to."""

    def __init__(self, name, cores):
        backend = name.partition(" ")[2] or "torch"
        quiet = {
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OMP_WAIT_POLICY": "passive",
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__, "work", "--contender", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **quiet},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    def ask(self, *row):
        print(json.dumps(row), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args[-1]} ended at {row}")
        return json.loads(answer)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def measure_row(contenders, row):
    """Returns the milliseconds of every contender, in turns."""
    left = dict.fromkeys(contenders, SECONDS)
    taken = {name: [] for name in contenders}
    together = [name for name in contenders if name != ALONE]
    for group in (together, [name for name in contenders if name == ALONE]):
        for name in group:
            left[name] -= 2 * contenders[name].ask(*row) / 1000
        for turn in range(TURNS):
            for name in group:
                if turn == 0 or left[name] > 0:
                    time.sleep(PAUSE)
                    taken[name].append(contenders[name].ask())
                    left[name] -= max(taken[name][-1] / 1000, TURN)
    time.sleep(10 * PAUSE)
    return taken


def measure(sizes, numbers):
    every = sorted(os.sched_getaffinity(0))
    lines = []
    for count in numbers:
        cores = every[: count or len(every)]
        names = [
            name
            for name in CONTENDERS
            if importlib.util.find_spec(name.partition(" ")[2] or "torch")
        ]
        contenders = {name: Contender(name, cores) for name in names}
        for size in sizes:
            for layer in LAYERS:
                for way in WAYS:
                    taken = measure_row(contenders, (layer, size, way))
                    medians = {name: round(statistics.median(of), 3) for name, of in taken.items()}
                    for name, ms in medians.items():
                        row = (str(len(cores)), size, layer, way, name, ms, len(taken[name]))
                        lines.append(dict(zip(HEAD, row, strict=True)))
                    print(len(cores), size, layer, way, medians, flush=True)
        for contender in contenders.values():
            contender.end()
    return lines


HEAD = ("cores", "size", "layer", "way", "contender", "ms", "turns")


def number(ms):
    return f"{ms:.2f}" if ms < 1 else f"{ms:.1f}" if ms < 10 else f"{ms:.0f}"


def table(lines, cores) -> str:
    """One row for each size, layer and way; the first columns are how often we are as fast."""
    found = {}
    for line in lines:
        if int(line["cores"]) == cores:
            row = (line["size"], line["layer"], line["way"])
            found.setdefault(row, {})[line["contender"]] = float(line["ms"])
    made = ["| size | layer | | TF | JAX | PyTorch | " + " | ".join(CONTENDERS) + " |"]
    made.append("|---" * (len(CONTENDERS) + 6) + "|")
    for row, ms in found.items():
        times = [number(ms[name]) if name in ms else "-" for name in CONTENDERS]
        ratios = [
            f"{ms[f'keras {of}'] / ms[f'ours {of}']:.1f}" if f"ours {of}" in ms else "-"
            for of in BACKENDS
        ]
        made.append("| " + " | ".join([*row, *ratios, *times]) + " |")
    return "\n".join(made)


def read() -> list[dict]:
    """Returns what was measured before."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def tables(page: str) -> str:
    """Returns the page with the tables between its marks made anew."""
    lines = read()
    for cores in sorted({int(line["cores"]) for line in lines}):
        name = "one core" if cores == 1 else "all cores"
        page = marks.filled(page, name, table(lines, cores))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", default="measure", choices=("measure", "table", "work"))
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, action="append", help="only this one")
    parser.add_argument(
        "--cores", type=int, action="append", help="only on so many; 0 stands for all"
    )
    chosen = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if chosen.what == "work":
        work(chosen.contender)
        return
    if chosen.what == "table":
        PAGE.write_text(tables(PAGE.read_text("utf-8")), "utf-8")
        return
    rows = [*read(), *measure(chosen.size or list(SIZES), chosen.cores or [0, 1])]
    newest = {tuple(row[key] for key in HEAD[:5]): row for row in rows}
    places = {size: place for place, size in enumerate(SIZES)}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEAD)
        writer.writeheader()
        writer.writerows(
            sorted(newest.values(), key=lambda row: (-int(row["cores"]), places[row["size"]]))
        )


if __name__ == "__main__":
    main()
