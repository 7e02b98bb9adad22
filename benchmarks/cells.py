"""Recurrent cells: accuracy against NumPy, cost of a training step, scans, and single steps.

    python benchmarks/cells.py parity      difference from NumPy float64, by layer and mask
    python benchmarks/cells.py speed       a training step: our layers, wrappers, keras.layers
    python benchmarks/cells.py lengths     minGRU and minLSTM against GRU, 16 to 4096 time steps
    python benchmarks/cells.py steps       single steps: `step` against `model.predict`

    python benchmarks/cells.py tables      updates the tables of docs/layers.md

Each installed backend runs in its own process. Within a process, the contenders take turns. Medians
and their ratios go to results/benchmarks/<name>.csv.
"""

import argparse
import csv
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import marks

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "results" / "benchmarks"
PAGE = ROOT / "docs" / "layers.md"
BACKENDS = ("tensorflow", "jax", "torch")
BATCH, TIME, FEATURES, UNITS = 64, 100, 128, 256

Row: TypeAlias = dict[str, Any]


def measure_parity() -> list[Row]:
    """Measures the largest difference from the equations in NumPy float64, over all outputs."""
    import numpy as np

    from tests.layers import cases

    rows = []
    for name in cases.LAYERS:
        for mask_name, mask in {"none": None, **cases.MASKS}.items():
            valid = None if mask is None else np.array(mask, bool)
            difference = max(
                difference_from_numpy(name, valid, go_backwards) for go_backwards in (False, True)
            )
            rows.append({"layer": name, "mask": mask_name, "difference": difference})
    return rows


def difference_from_numpy(name: str, mask: Any, go_backwards: bool) -> float:
    """Returns the largest difference of outputs and final states from the NumPy equations."""
    import keras
    import numpy as np

    from tests.layers import cases, reference

    layer_class: Any
    layer_class, own_options = cases.LAYERS[name]
    options = {"return_sequences": True, "return_state": True, **own_options}
    layer = layer_class(cases.UNITS, go_backwards=go_backwards, **options)
    layer.build((cases.BATCH, cases.TIME, cases.FEATURES))
    weights = [w.astype("float64") for w in cases.randomize(layer)]
    x = cases.random(cases.BATCH, cases.TIME, cases.FEATURES).astype("float32")
    states = [state.astype("float32") for state in cases.states_for(name)]
    results = layer(x, initial_state=states, mask=mask)
    actual = [np.asarray(keras.ops.convert_to_numpy(result)) for result in results]
    outputs, final_states = reference.sequence(
        reference.STEPS[name], x.astype("float64"), states, weights, mask, go_backwards
    )
    pairs = zip(actual, [outputs, *final_states], strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def make_model(layer: Any, batch: int, time: int, features: int) -> Any:
    """Returns a compiled model of one layer, with fixed sizes."""
    import keras

    inputs = keras.Input((time, features), batch_size=batch)
    model: Any = keras.Model(inputs, layer(inputs))
    model.compile("sgd", "mse", jit_compile=keras.backend.backend() == "jax")
    return model


def time_in_turns(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Returns the milliseconds of every function, called in turns, after three warm-up rounds."""
    for function in list(functions.values()) * 3:
        function()
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(1000 * (time.perf_counter() - start))
    return times


def median_ratio(times: list[float], baseline: list[float]) -> float:
    """Returns the median of the ratios within the same round."""
    return statistics.median(a / b for a, b in zip(times, baseline, strict=True))


def measure_speed() -> list[Row]:
    """Measures a training step of each layer, relative to the `keras.layers` counterpart."""
    import keras
    import numpy as np

    from rnn_topologies import layers

    def wrap_lstm(wrapper: Any, units: int = UNITS, **options: Any) -> Any:
        return layers.RNN(wrapper(layers.LSTMCell(units), **options), return_sequences=True)

    keras_layers = {
        "keras SimpleRNN": keras.layers.SimpleRNN(UNITS, return_sequences=True),
        "keras LSTM": keras.layers.LSTM(UNITS, return_sequences=True),
        "keras GRU": keras.layers.GRU(UNITS, return_sequences=True),
    }
    layer_classes: dict[str, Any] = {name: pair.layer for name, pair in layers.CELLS.items()}
    our_layers = {
        name: layer_class(UNITS, return_sequences=True)
        for name, layer_class in layer_classes.items()
    }
    dropout = {"return_sequences": True, "recurrent_dropout": 0.1}
    wrapped = {
        "lstm, zoneout": wrap_lstm(layers.Zoneout),
        "lstm, recurrent dropout": wrap_lstm(layers.RecurrentDropout, rate=0.1),
        "lstm, trainable initial state": wrap_lstm(layers.TrainableInitialState),
        "lstm, recurrent_dropout=0.1": layers.LSTM(UNITS, **dropout),
        "keras LSTM, recurrent_dropout=0.1": keras.layers.LSTM(UNITS, **dropout),
    }
    as_wide_as_inputs = {
        "keras LSTM of 128": keras.layers.LSTM(FEATURES, return_sequences=True),
        "lstm of 128, residual": wrap_lstm(layers.Residual, units=FEATURES),
        "lstm of 128, highway": wrap_lstm(layers.Highway, units=FEATURES),
    }
    x = np.random.default_rng(0).normal(size=(BATCH, TIME, FEATURES)).astype("float32")
    training_steps = {}
    for name, layer in {**keras_layers, **our_layers, **wrapped, **as_wide_as_inputs}.items():
        model = make_model(layer, BATCH, TIME, FEATURES)
        y = np.zeros(model.output_shape, "float32")
        training_steps[name] = lambda model=model, y=y: model.train_on_batch(x, y)
    times = time_in_turns(training_steps, 7)
    baselines = {"simple_rnn": "keras SimpleRNN", "ind_rnn": "keras SimpleRNN"}
    baselines |= dict.fromkeys(as_wide_as_inputs, "keras LSTM of 128")
    baselines |= dict.fromkeys(("gru", "layer_norm_gru", "min_gru"), "keras GRU")
    baselines |= {name: name for name in keras_layers}
    rows = []
    for name, own_times in times.items():
        baseline = baselines.get(name, "keras LSTM")
        ratio = median_ratio(own_times, times[baseline])
        ms = round(statistics.median(own_times), 1)
        rows.append({"layer": name, "ms": ms, "baseline": baseline, "ratio": round(ratio, 2)})
    return rows


def measure_lengths() -> list[Row]:
    """Measures training steps over 16 to 4096 time steps, batch size 16, 64 units."""
    import keras
    import numpy as np

    from rnn_topologies import layers
    from rnn_topologies.layers.dispatch import plan
    from rnn_topologies.layers.dispatch.execution import execute

    class ParallelMinGRU(layers.MinGRU):
        """Always runs in parallel over time, even where a loop would be chosen."""

        def inner_loop(self, sequences, initial_state, mask, training=False):
            return execute(plan.PARALLEL, self, sequences, initial_state, mask, training)

    rows = []
    for steps in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096):
        x = np.random.default_rng(0).normal(size=(16, steps, 32)).astype("float32")
        y = np.zeros((16, steps, 64), "float32")
        contenders = {
            "min_gru": layers.MinGRU(64, return_sequences=True),
            "min_lstm": layers.MinLSTM(64, return_sequences=True),
            "gru": layers.GRU(64, return_sequences=True),
            "gru, equations": layers.GRU(64, return_sequences=True, use_cudnn=False),
            "min_gru, scan": ParallelMinGRU(64, return_sequences=True),
            "min_gru, loop": keras.layers.RNN(layers.MinGRUCell(64), return_sequences=True),
        }
        training_steps = {}
        for name, layer in contenders.items():
            model = make_model(layer, 16, steps, 32)
            training_steps[name] = lambda model=model, x=x, y=y: model.train_on_batch(x, y)
        times = time_in_turns(training_steps, 5)
        medians = {name: round(statistics.median(values), 1) for name, values in times.items()}
        ratio = round(median_ratio(times["gru"], times["min_gru"]), 1)
        rows.append({"time": steps, **medians, "gru / min_gru": ratio})
    return rows


def measure_steps() -> list[Row]:
    """Measures one step of one sequence, in microseconds: `step` against a stateful model."""
    import keras
    import numpy as np

    from rnn_topologies import layers

    rows = []
    x = np.random.default_rng(0).normal(size=(1, FEATURES)).astype("float32")
    for name in ("simple_rnn", "lstm", "gru", "min_gru"):
        layer_class: Any = layers.CELLS[name].layer
        stream = layer_class(UNITS).stream()
        inputs = keras.Input((1, FEATURES), batch_size=1)
        model: Any = keras.Model(inputs, layer_class(UNITS, stateful=True)(inputs))
        functions = {
            "step": lambda stream=stream: keras.ops.convert_to_numpy(stream(x)),
            "predict": lambda model=model: model.predict(x[:, None], verbose=0),
            "predict_on_batch": lambda model=model: model.predict_on_batch(x[:, None]),
        }
        times = time_in_turns(functions, 200)
        medians = {key: round(1000 * statistics.median(values)) for key, values in times.items()}
        ratio = round(medians["predict"] / medians["step"])
        rows.append({"layer": name, **medians, "predict / step": ratio})
    return rows


MEASUREMENTS = {
    "parity": measure_parity,
    "speed": measure_speed,
    "lengths": measure_lengths,
    "steps": measure_steps,
}


def parity_table(rows: list[Row]) -> Iterator[tuple[str, ...]]:
    """Yields one line per layer with one column per mask, each listing the backends in order."""
    masks = list(dict.fromkeys(row["mask"] for row in rows))
    yield ("layer", *masks)
    for layer in dict.fromkeys(row["layer"] for row in rows):
        columns = [
            ", ".join(
                f"{float(row['difference']):.0e}"
                for row in rows
                if (row["layer"], row["mask"]) == (layer, mask)
            )
            for mask in masks
        ]
        yield (layer, *columns)


def backend_table(
    rows: list[Row], key: str, text_of: Callable[[Row], str]
) -> Iterator[tuple[str, ...]]:
    """Yields one line per value of `key` with one column per backend."""
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    yield (key, *backends)
    for value in dict.fromkeys(row[key] for row in rows):
        texts = {row["backend"]: text_of(row) for row in rows if row[key] == value}
        yield (value, *(texts.get(backend, "") for backend in backends))


LENGTH_COLUMNS = ("gru", "gru, equations", "min_gru, loop", "min_gru, scan", "min_gru", "min_lstm")
TABLES: dict[str, Callable[[list[Row]], Iterator[tuple[str, ...]]]] = {
    "parity": parity_table,
    "speed": lambda rows: backend_table(
        rows, "layer", lambda row: f"{float(row['ms']):.0f} ms, {float(row['ratio']):.2f}"
    ),
    "lengths": lambda rows: backend_table(
        rows, "time", lambda row: " / ".join(row[column] for column in LENGTH_COLUMNS)
    ),
    "steps": lambda rows: backend_table(
        rows, "layer", lambda row: f"{row['step']}, {row['predict_on_batch']}, {row['predict']}"
    ),
}


def markdown_table(lines: Iterable[tuple[str, ...]]) -> str:
    header, *body = [" | ".join(line) for line in lines]
    rule = "|---" * (header.count("|") + 1) + "|"
    return "\n".join([f"| {header} |", rule, *(f"| {line} |" for line in body)])


def read_results(name: str) -> list[Row]:
    with (RESULTS / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def update_tables(page: str) -> str:
    """Returns the page with all tables rebuilt from the results."""
    for name, lines_of in TABLES.items():
        page = marks.replace_table(page, name, markdown_table(lines_of(read_results(name))))
    return page


def measure_on_backend(backend: str, measurement: str) -> list[Row]:
    """Runs a measurement in a process with another backend."""
    process = subprocess.run(
        [sys.executable, __file__, measurement, "--here"],
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(process.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=(*MEASUREMENTS, "tables"))
    parser.add_argument(
        "--here", action="store_true", help="measure on KERAS_BACKEND only and print JSON"
    )
    arguments = parser.parse_args()
    command = arguments.command
    sys.path.insert(0, str(ROOT))
    if command == "tables":
        PAGE.write_text(update_tables(PAGE.read_text("utf-8")), "utf-8")
        return
    if arguments.here:
        print(json.dumps(MEASUREMENTS[command]()))
        return
    rows = []
    for backend in BACKENDS:
        if importlib.util.find_spec(backend):
            rows += [{"backend": backend, **row} for row in measure_on_backend(backend, command)]
        else:
            print(f"{backend} is not installed", file=sys.stderr)
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / f"{command}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(markdown_table(TABLES[command](read_results(command))))
    print(f"{len(os.sched_getaffinity(0))} cores")


if __name__ == "__main__":
    main()
