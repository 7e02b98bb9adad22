"""Speed of recurrent layers on a CPU: ours and keras.layers on every backend, and torch.nn.

    python benchmarks/layers.py             measures into results/benchmarks/layers.csv; with
                                            --size and --cores only those rows are replaced
    python benchmarks/layers.py table       updates the tables of docs/cpu.md

Simple RNN, LSTM, GRU and a bidirectional LSTM; a forward pass, and a training step, which is
forward and backward with the gradients of weights and inputs; four sizes; one core and all cores.
Every contender has its own process, since the threads of TensorFlow, OpenMP and JAX get in each
other's way. Within a row of the table the contenders take turns, after one or two to warm up,
until each has had seven turns or has used up its time; the medians are kept. `products` is the
time of the layer's matrix products alone, with all steps in one product (NumPy with OpenBLAS).
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
from collections.abc import Callable, Iterable
from typing import IO, Any, TypeAlias, cast

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
GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3, "Bidirectional LSTM": 4}
MODES = ("forward", "training step")
BACKENDS = ("tensorflow", "jax", "torch")
CONTENDERS = [f"{kind} {backend}" for backend in BACKENDS for kind in ("ours", "keras")]
CONTENDERS += ["torch.nn", "products"]
MAX_TURNS, MAX_SECONDS = 7, 5.0  # per contender and row
TURN = 0.05  # seconds: a turn is one call, or as many as start within this time
PAUSE = 0.03  # seconds between turns, because OpenMP's threads keep spinning for a while
LAST = "products"  # takes its turns at the end: OpenBLAS's threads spin for longer
COLUMNS: tuple[str, ...] = ("cores", "size", "layer", "way", "contender", "ms", "turns")

Row: TypeAlias = dict[str, Any]
Run: TypeAlias = Callable[[], Any]
Wait: TypeAlias = Callable[[Any], Any]  # waits for an asynchronous result


def return_at_once(result: Any) -> Any:
    return result


def make_arrays(layer: str, size: str) -> tuple[Any, Any]:
    """Returns the inputs and the gradient of the outputs."""
    import numpy as np

    batch, time, features, units = SIZES[size]
    width = 2 * units if layer == "Bidirectional LSTM" else units
    generator = np.random.default_rng(0)
    x = generator.normal(size=(batch, time, features)).astype("float32")
    return x, generator.normal(size=(batch, time, width)).astype("float32")


def make_keras_layer(kind: str, layer: str, size: str) -> Any:
    import keras

    from rnn_topologies import layers

    module: Any = layers if kind == "ours" else keras.layers
    units = SIZES[size][-1]
    if layer == "Bidirectional LSTM":
        return module.Bidirectional(module.LSTM(units, return_sequences=True))
    return getattr(module, layer)(units, return_sequences=True)


def prepare_tensorflow(layer: Any, x: Any, output_gradient: Any, mode: str) -> tuple[Run, Wait]:
    import tensorflow as tf

    x, output_gradient = tf.constant(x), tf.constant(output_gradient)
    layer(x)
    if mode == "forward":
        return cast(Run, tf.function(lambda: layer(x))), return_at_once

    @tf.function
    def training_step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
        sources = [x, *layer.trainable_variables]
        return tape.gradient(outputs, sources, output_gradients=[output_gradient])

    return cast(Run, training_step), return_at_once


def prepare_jax(layer: Any, x: Any, output_gradient: Any, mode: str) -> tuple[Run, Wait]:
    import jax

    x, output_gradient = jax.numpy.asarray(x), jax.numpy.asarray(output_gradient)
    layer(x)
    trainable = [weight.value for weight in layer.trainable_variables]
    non_trainable = [weight.value for weight in layer.non_trainable_variables]

    def forward(weights, x, training=False):
        return layer.stateless_call(weights, non_trainable, x, training=training)[0]

    def training_step(weights, x):
        _, backward = jax.vjp(functools.partial(forward, training=True), weights, x)
        return backward(output_gradient)

    run = jax.jit(forward if mode == "forward" else training_step)
    return lambda: run(trainable, x), jax.block_until_ready


def prepare_torch(layer: Any, x: Any, output_gradient: Any, mode: str) -> tuple[Run, Wait]:
    import torch

    x, output_gradient = torch.tensor(x), torch.tensor(output_gradient)
    returns_states = not torch.is_tensor(layer(x))
    if mode == "forward":

        def forward():
            with torch.inference_mode():
                return layer(x)

        return forward, return_at_once
    x.requires_grad_()
    leaves = [x, *layer.parameters()]

    def training_step():
        for leaf in leaves:
            leaf.grad = None
        outputs = layer(x)[0] if returns_states else layer(x)
        outputs.backward(output_gradient)

    return training_step, return_at_once


def make_torch_layer(layer: str, size: str) -> Any:
    import torch

    _, _, features, units = SIZES[size]
    name = {"SimpleRNN": "RNN", "Bidirectional LSTM": "LSTM"}.get(layer, layer)
    bidirectional = layer == "Bidirectional LSTM"
    layer_class: Any = getattr(torch.nn, name)
    return layer_class(features, units, batch_first=True, bidirectional=bidirectional)


def prepare_products(layer: str, size: str, mode: str) -> tuple[Run, Wait]:
    """Prepares the matrix products alone: [x h] [W; R], and twice as many for backward."""
    import numpy as np

    batch, time, features, units = SIZES[size]
    rows, depth, width = batch * time, features + units, GATES[layer] * units
    a, b = np.ones((rows, depth), "float32"), np.ones((depth, width), "float32")
    c = np.ones((rows, width), "float32")
    a_gradient, b_gradient = np.empty_like(a), np.empty_like(b)
    products = [lambda: np.matmul(a, b, out=c)]
    if mode == "training step":
        products.append(lambda: np.matmul(c, b.T, out=a_gradient))
        products.append(lambda: np.matmul(a.T, c, out=b_gradient))
    products *= 2 if layer == "Bidirectional LSTM" else 1
    return lambda: [product() for product in products], return_at_once


def prepare_turn(contender: str, layer: str, size: str, mode: str) -> Callable[[], float]:
    """Returns a function that takes one turn and returns its median in milliseconds."""
    kind, _, backend = contender.partition(" ")
    x, output_gradient = make_arrays(layer, size)
    if contender == "products":
        run, wait = prepare_products(layer, size, mode)
    elif contender == "torch.nn":
        run, wait = prepare_torch(make_torch_layer(layer, size), x, output_gradient, mode)
    else:
        prepare = {"tensorflow": prepare_tensorflow, "jax": prepare_jax, "torch": prepare_torch}
        run, wait = prepare[backend](make_keras_layer(kind, layer, size), x, output_gradient, mode)

    def take_turn() -> float:
        times, end = [], time.perf_counter() + TURN
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            wait(run())
            times.append(1000 * (time.perf_counter() - start))
        return statistics.median(times)

    return take_turn


def serve(contender: str) -> None:
    """Answers lines of JSON: [layer, size, mode] prepares a row, an empty list takes a turn."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    take_turn: Callable[[], float] | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if request:
            take_turn = None  # frees the memory of the previous row
            take_turn = prepare_turn(contender, *request)
            answer = take_turn()
            if answer < 3000:
                answer = min(answer, take_turn())
        elif take_turn is not None:
            answer = take_turn()
        else:
            raise ValueError("a turn was requested before any row")
        print(json.dumps(answer), file=answers, flush=True)


class Contender:
    """A process that measures one contender on request.

    Args:
        name: one of `CONTENDERS`.
        cores: the cores that it may use.
    """

    def __init__(self, name: str, cores: Iterable[int]) -> None:
        self.name = name
        environment = {
            "KERAS_BACKEND": backend_of(name),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OMP_WAIT_POLICY": "passive",
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__, "serve", "--contender", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.requests = cast(IO[str], self.process.stdin)
        self.answers = cast(IO[str], self.process.stdout)

    def ask(self, *row: str) -> float:
        """Sends a request and returns the milliseconds of a turn; see `serve`."""
        print(json.dumps(row), file=self.requests, flush=True)
        answer = self.answers.readline()
        if not answer:
            raise RuntimeError(f"{self.name} exited at {row}")
        return json.loads(answer)

    def close(self) -> None:
        self.requests.close()
        self.process.wait()


def backend_of(contender: str) -> str:
    """Returns the package that a contender needs."""
    return contender.partition(" ")[2] or "torch"


def measure_row(contenders: dict[str, Contender], row: tuple[str, str, str]) -> dict[str, Any]:
    """Returns the milliseconds of every contender, measured in turns."""
    seconds_left = dict.fromkeys(contenders, MAX_SECONDS)
    times = {name: [] for name in contenders}
    first = [name for name in contenders if name != LAST]
    for group in (first, [name for name in contenders if name == LAST]):
        for name in group:
            seconds_left[name] -= 2 * contenders[name].ask(*row) / 1000
        for turn in range(MAX_TURNS):
            for name in group:
                if turn == 0 or seconds_left[name] > 0:
                    time.sleep(PAUSE)
                    times[name].append(contenders[name].ask())
                    seconds_left[name] -= max(times[name][-1] / 1000, TURN)
    time.sleep(10 * PAUSE)
    return times


def measure(sizes: Iterable[str], core_counts: Iterable[int]) -> list[Row]:
    """Measures all layers and modes; a core count of 0 means all cores."""
    all_cores = sorted(os.sched_getaffinity(0))
    names = [name for name in CONTENDERS if importlib.util.find_spec(backend_of(name))]
    rows = []
    for count in core_counts:
        cores = all_cores[: count or len(all_cores)]
        contenders = {name: Contender(name, cores) for name in names}
        for size in sizes:
            for layer in GATES:
                for mode in MODES:
                    times = measure_row(contenders, (layer, size, mode))
                    medians = {n: round(statistics.median(t), 3) for n, t in times.items()}
                    for name, ms in medians.items():
                        row = (str(len(cores)), size, layer, mode, name, ms, len(times[name]))
                        rows.append(dict(zip(COLUMNS, row, strict=True)))
                    print(len(cores), size, layer, mode, medians, flush=True)
        for contender in contenders.values():
            contender.close()
    return rows


def format_ms(ms: float) -> str:
    return f"{ms:.2f}" if ms < 1 else f"{ms:.1f}" if ms < 10 else f"{ms:.0f}"


def markdown_table(rows: list[Row], cores: int) -> str:
    """Returns one line per size, layer and mode: speedups over Keras, then milliseconds."""
    by_line: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        if int(row["cores"]) == cores:
            line = (row["size"], row["layer"], row["way"])
            by_line.setdefault(line, {})[row["contender"]] = float(row["ms"])
    table = ["| size | layer | | TF | JAX | PyTorch | " + " | ".join(CONTENDERS) + " |"]
    table.append("|---" * (len(CONTENDERS) + 6) + "|")
    for line, ms in by_line.items():
        times = [format_ms(ms[name]) if name in ms else "-" for name in CONTENDERS]
        speedups = [
            f"{ms[f'keras {backend}'] / ms[f'ours {backend}']:.1f}"
            if f"ours {backend}" in ms
            else "-"
            for backend in BACKENDS
        ]
        table.append("| " + " | ".join([*line, *speedups, *times]) + " |")
    return "\n".join(table)


def read_results() -> list[Row]:
    """Returns the rows of earlier measurements."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def write_results(rows: Iterable[Row]) -> None:
    """Writes rows, sorted; of rows for the same measurement, the last one is kept."""
    latest = {tuple(row[key] for key in COLUMNS[:5]): row for row in rows}
    order = {size: index for index, size in enumerate(SIZES)}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(
            sorted(latest.values(), key=lambda row: (-int(row["cores"]), order[row["size"]]))
        )


def update_tables(page: str) -> str:
    """Returns the page with its tables rebuilt from the results."""
    rows = read_results()
    for cores in sorted({int(row["cores"]) for row in rows}):
        name = "one core" if cores == 1 else "all cores"
        page = marks.replace_table(page, name, markdown_table(rows, cores))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "command", nargs="?", default="measure", choices=("measure", "table", "serve")
    )
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument(
        "--size", choices=SIZES, action="append", help="measure only this size; repeatable"
    )
    parser.add_argument(
        "--cores",
        type=int,
        action="append",
        help="measure only with this many cores, 0 for all; repeatable",
    )
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if arguments.command == "serve":
        serve(arguments.contender)
    elif arguments.command == "table":
        PAGE.write_text(update_tables(PAGE.read_text("utf-8")), "utf-8")
    else:
        rows = measure(arguments.size or list(SIZES), arguments.cores or [0, 1])
        write_results([*read_results(), *rows])


if __name__ == "__main__":
    main()
