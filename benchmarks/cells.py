"""Our cells: the same numbers everywhere, what they cost, and from which length scans pay.

    python benchmarks/cells.py parity      layer, backend, mask: difference from NumPy float64
    python benchmarks/cells.py speed       a training step: ours, the variants, keras.layers
    python benchmarks/cells.py lengths     minGRU and minLSTM against GRU, time 16 to 4096
    python benchmarks/cells.py steps       one step at a time against `model.predict` on one step

    python benchmarks/cells.py tables      of all that was measured, into docs/layers.md

Every backend that is installed runs in a process of its own, one after the other. Within it what
is compared runs in turns; medians and their ratios are kept, in results/benchmarks/<name>.csv.
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

import marks

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "results" / "benchmarks"
PAGE = ROOT / "docs" / "layers.md"
BACKENDS = ("tensorflow", "jax", "torch")
BATCH, TIME, FEATURES, UNITS = 64, 100, 128, 256


def rows_of_masks():
    from tests.layers import cases

    return {"none": None, **cases.MASKS}


def parity() -> list[dict]:
    """The largest difference from the equations in NumPy float64, outputs and last states."""
    import keras
    import numpy as np

    from tests.layers import cases, reference

    found = []
    for name, (layer_class, own) in cases.LAYERS.items():
        for mask, rows in rows_of_masks().items():
            valid = None if rows is None else np.array(rows, bool)
            differences = []
            for go_backwards in (False, True):
                settings = {"return_sequences": True, "return_state": True, **own}
                layer = layer_class(cases.UNITS, go_backwards=go_backwards, **settings)
                layer.build((cases.BATCH, cases.TIME, cases.FEATURES))
                weights = [w.astype("float64") for w in cases.randomize(layer)]
                x = cases.random(cases.BATCH, cases.TIME, cases.FEATURES).astype("float32")
                states = [state.astype("float32") for state in cases.states_for(name)]
                answer = layer(x, initial_state=states, mask=valid)
                outputs, *last = [keras.ops.convert_to_numpy(part) for part in answer]
                wanted, wanted_last = reference.sequence(
                    reference.STEPS[name], x.astype("float64"), states, weights, valid, go_backwards
                )
                pairs = zip([outputs, *last], [wanted, *wanted_last], strict=True)
                differences += [float(np.abs(a - b).max()) for a, b in pairs]
            found.append({"layer": name, "mask": mask, "difference": max(differences)})
    return found


def model_of(layer, steps=TIME, units=UNITS):
    import keras

    inputs = keras.Input((steps, FEATURES), batch_size=BATCH)
    model = keras.Model(inputs, layer(inputs))
    model.compile("sgd", "mse", jit_compile=keras.backend.backend() == "jax")
    return model


def in_turns(functions: dict, rounds: int) -> dict[str, list[float]]:
    """Returns milliseconds of every function, in turns, after three rounds to warm up."""
    for function in list(functions.values()) * 3:
        function()
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            times[name].append(1000 * (time.perf_counter() - began))
    return times


def speed() -> list[dict]:
    """A training step of each of our layers beside the one of `keras.layers` it stands for."""
    import keras
    import numpy as np

    from rnn_topologies import layers

    def around(wrapper, units=UNITS, **settings):
        return lambda: layers.RNN(
            wrapper(layers.LSTMCell(units), **settings), return_sequences=True
        )

    def ours(name):
        return lambda: layers.CELLS[name].layer(UNITS, return_sequences=True)

    theirs = {
        name: lambda kind=kind: kind(UNITS, return_sequences=True)
        for name, kind in (
            ("keras SimpleRNN", keras.layers.SimpleRNN),
            ("keras LSTM", keras.layers.LSTM),
            ("keras GRU", keras.layers.GRU),
        )
    }
    wrapped = {
        "lstm, zoneout": around(layers.Zoneout),
        "lstm, recurrent dropout": around(layers.RecurrentDropout, rate=0.1),
        "lstm, learnt first state": around(layers.TrainableInitialState),
        "lstm, recurrent_dropout=0.1": lambda: layers.LSTM(
            UNITS, return_sequences=True, recurrent_dropout=0.1
        ),
        "keras LSTM, recurrent_dropout=0.1": lambda: keras.layers.LSTM(
            UNITS, return_sequences=True, recurrent_dropout=0.1
        ),
    }
    alike = {  # what needs inputs as wide as the cell
        "keras LSTM of 128": lambda: keras.layers.LSTM(FEATURES, return_sequences=True),
        "lstm of 128, residual": around(layers.Residual, units=FEATURES),
        "lstm of 128, highway": around(layers.Highway, units=FEATURES),
    }
    makers = {**theirs, **{name: ours(name) for name in layers.CELLS}, **wrapped, **alike}
    x = np.random.default_rng(0).normal(size=(BATCH, TIME, FEATURES)).astype("float32")
    steps = {}
    for name, make in makers.items():
        model = model_of(make())
        y = np.zeros(model.output_shape, "float32")
        steps[name] = lambda model=model, y=y: model.train_on_batch(x, y)
    times = in_turns(steps, 7)
    beside = {"simple_rnn": "keras SimpleRNN", "ind_rnn": "keras SimpleRNN"}
    beside |= dict.fromkeys(alike, "keras LSTM of 128")
    beside |= dict.fromkeys(("gru", "layer_norm_gru", "min_gru"), "keras GRU")
    found = []
    for name, taken in times.items():
        other = beside.get(name, name if name in theirs else "keras LSTM")
        ratio = statistics.median(a / b for a, b in zip(taken, times[other], strict=True))
        median = round(statistics.median(taken), 1)
        found.append({"layer": name, "ms": median, "beside": other, "ratio": round(ratio, 2)})
    return found


def lengths() -> list[dict]:
    """Forward and backward over 16 to 4096 steps, batch 16, units 64: scan, loop, GRU."""
    import keras
    import numpy as np

    from rnn_topologies import layers

    class Scan(layers.MinGRU):
        """Runs in parallel where the loop would be chosen, too."""

        def inner_loop(self, sequences, initial_state, mask, training=False):
            return self._parallel(sequences, initial_state, mask, training)

    found = []
    for steps in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096):
        x = np.random.default_rng(0).normal(size=(16, steps, 32)).astype("float32")
        makers = {
            "min_gru": lambda: layers.MinGRU(64, return_sequences=True),
            "min_lstm": lambda: layers.MinLSTM(64, return_sequences=True),
            "gru": lambda: layers.GRU(64, return_sequences=True),
            "gru, equations": lambda: layers.GRU(64, return_sequences=True, use_cudnn=False),
            "min_gru, scan": lambda: Scan(64, return_sequences=True),
            "min_gru, loop": lambda: keras.layers.RNN(layers.MinGRUCell(64), return_sequences=True),
        }
        functions = {}
        for name, make in makers.items():
            inputs = keras.Input((steps, 32), batch_size=16)
            model = keras.Model(inputs, make()(inputs))
            model.compile("sgd", "mse", jit_compile=keras.backend.backend() == "jax")
            y = np.zeros((16, steps, 64), "float32")
            functions[name] = lambda model=model, x=x, y=y: model.train_on_batch(x, y)
        times = in_turns(functions, 5)
        medians = {name: round(statistics.median(taken), 1) for name, taken in times.items()}
        ratio = statistics.median(
            a / b for a, b in zip(times["gru"], times["min_gru"], strict=True)
        )
        found.append({"time": steps, **medians, "gru / min_gru": round(ratio, 1)})
    return found


def steps() -> list[dict]:
    """Microseconds for one step of one sequence: `step`, and `predict` on a stateful model."""
    import keras
    import numpy as np

    from rnn_topologies import layers

    found = []
    x = np.random.default_rng(0).normal(size=(1, FEATURES)).astype("float32")
    for name in ("simple_rnn", "lstm", "gru", "min_gru"):
        live = layers.CELLS[name].layer(UNITS).stream()
        inputs = keras.Input((1, FEATURES), batch_size=1)
        stateful = layers.CELLS[name].layer(UNITS, stateful=True)
        model = keras.Model(inputs, stateful(inputs))
        functions = {
            "step": lambda live=live: keras.ops.convert_to_numpy(live(x)),
            "predict": lambda model=model: model.predict(x[:, None], verbose=0),
            "predict_on_batch": lambda model=model: model.predict_on_batch(x[:, None]),
        }
        times = in_turns(functions, 200)
        medians = {key: round(1000 * statistics.median(taken)) for key, taken in times.items()}
        ratio = round(medians["predict"] / medians["step"])
        found.append({"layer": name, **medians, "predict / step": ratio})
    return found


MEASURES = {"parity": parity, "speed": speed, "lengths": lengths, "steps": steps}


def parity_table(rows):
    """A line for a layer, a column for a mask, in it the backends in their order."""
    masks = list(dict.fromkeys(row["mask"] for row in rows))
    yield ("layer", *masks)
    for layer in dict.fromkeys(row["layer"] for row in rows):
        cells = [
            ", ".join(
                f"{float(row['difference']):.0e}"
                for row in rows
                if (row["layer"], row["mask"]) == (layer, mask)
            )
            for mask in masks
        ]
        yield (layer, *cells)


def by_backend(rows, key, show):
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    yield (key, *backends)
    for value in dict.fromkeys(row[key] for row in rows):
        found = {row["backend"]: show(row) for row in rows if row[key] == value}
        yield (value, *(found.get(backend, "") for backend in backends))


KINDS = ("gru", "gru, equations", "min_gru, loop", "min_gru, scan", "min_gru", "min_lstm")
TABLES = {
    "parity": parity_table,
    "speed": lambda rows: by_backend(
        rows, "layer", lambda row: f"{float(row['ms']):.0f} ms, {float(row['ratio']):.2f}"
    ),
    "lengths": lambda rows: by_backend(
        rows, "time", lambda row: " / ".join(row[kind] for kind in KINDS)
    ),
    "steps": lambda rows: by_backend(
        rows, "layer", lambda row: f"{row['step']}, {row['predict_on_batch']}, {row['predict']}"
    ),
}


def markdown(lines) -> str:
    head, *rest = [" | ".join(line) for line in lines]
    rule = "|---" * (head.count("|") + 1) + "|"
    return "\n".join([f"| {head} |", rule, *(f"| {line} |" for line in rest)])


def tables(page: str) -> str:
    """Returns the page with every table between its marks made anew."""
    for name, lines in TABLES.items():
        with (RESULTS / f"{name}.csv").open(newline="") as file:
            page = marks.filled(page, name, markdown(lines(list(csv.DictReader(file)))))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measure", choices=(*MEASURES, "tables"))
    parser.add_argument("--here", action="store_true", help="on KERAS_BACKEND only, as JSON")
    chosen = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if chosen.measure == "tables":
        PAGE.write_text(tables(PAGE.read_text("utf-8")), "utf-8")
        return
    if chosen.here:
        print(json.dumps(MEASURES[chosen.measure]()))
        return
    found = []
    for backend in BACKENDS:
        if not importlib.util.find_spec(backend):
            print(f"{backend} is not installed", file=sys.stderr)
            continue
        done = subprocess.run(
            [sys.executable, __file__, chosen.measure, "--here"],
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        rows = json.loads(done.stdout.splitlines()[-1])
        found += [{"backend": backend, **row} for row in rows]
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / f"{chosen.measure}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    with (RESULTS / f"{chosen.measure}.csv").open(newline="") as file:
        print(markdown(TABLES[chosen.measure](list(csv.DictReader(file)))))
    print(f"{len(os.sched_getaffinity(0))} cores")


if __name__ == "__main__":
    main()
