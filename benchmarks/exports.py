"""What exports to which runtime: every cell, by numbers, and the table of docs/export.md.

    python benchmarks/exports.py measure --backend tensorflow     # also jax, torch
    python benchmarks/exports.py table                            # of all that was measured

A model of one layer with random weights is exported, loaded by a runtime that knows nothing of
Keras, and asked for two batches, of another size and length where these are unknown to it. It
works where the outputs differ from the model's own by less than 1e-4. Needs `pip install
"rnn-topologies[export]"`. Writes results/exports/<backend>.csv.
"""

import argparse
import csv
import multiprocessing
import os
import pathlib
import queue
import re
import tempfile
import warnings

ROOT = pathlib.Path(__file__).parent.parent
MEASURED = ROOT / "results" / "exports"
PAGE = ROOT / "docs" / "export.md"
FORMATS = {"tf_saved_model": "", "onnx": ".onnx", "litert": ".tflite"}
SHAPES = {  # of the inputs: batch, time, and whether there is a mask
    "fixed batch, fixed time": (3, 7, False),
    "any batch, fixed time": (None, 7, False),
    "fixed batch, any time": (3, None, False),
    "any batch, any time": (None, None, False),
    "any batch, any time, mask": (None, None, True),
}
FEATURES, UNITS = 4, 6
BACKENDS = ("tensorflow", "jax", "torch")
NEAR = 1e-4
NAMES = {"tf_saved_model": "SavedModel", "onnx": "ONNX", "litert": "LiteRT"}
BEGIN = "<!-- made by benchmarks/exports.py table -->"
COLUMNS = ("backend", "format", "cell", "shape", "difference", "reason")


def layer_of(cell):
    from rnn_topologies import layers

    if cell == "gru, reset before":
        return layers.GRU(UNITS, reset_after=False, return_sequences=True)
    if cell == "bidirectional lstm":
        return layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True))
    return layers.CELLS[cell].layer(UNITS, return_sequences=True)


def model_of(cell, batch, time, masked):
    import keras
    import numpy as np

    inputs = [keras.Input((time, FEATURES), batch_size=batch, name="x")]
    if masked:
        inputs.append(keras.Input((time,), batch_size=batch, dtype="bool", name="mask"))
    outputs = layer_of(cell)(inputs[0], mask=inputs[1] if masked else None)
    model = keras.Model(inputs, outputs)
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


def batches(batch, time, masked):
    import numpy as np

    generator = np.random.default_rng(1)
    for rows, steps in ((3, 7), (5, 11)):
        rows, steps = batch or rows, time or steps
        given = [generator.normal(size=(rows, steps, FEATURES)).astype("float32")]
        yield [*given, generator.random((rows, steps)) > 0.3] if masked else given


def saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda given: loaded.serve([tf.constant(value) for value in given]).numpy()


def onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [one.name for one in session.get_inputs()]
    return lambda given: session.run(None, dict(zip(names, given, strict=True)))[0]


def litert(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))

    def run(given):
        details = interpreter.get_input_details()
        if len(details) > 1:  # in any order
            details.sort(key=lambda detail: -len(detail["shape_signature"]))
        for detail, value in zip(details, given, strict=True):
            if tuple(detail["shape"]) != value.shape:
                interpreter.resize_tensor_input(detail["index"], value.shape)
        interpreter.allocate_tensors()
        for detail, value in zip(details, given, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    return run


RUNTIMES = {"tf_saved_model": saved_model, "onnx": onnx, "litert": litert}


def difference(backend, form, cell, shape) -> float:
    """Exports, loads, runs; returns the largest difference from the model's own outputs."""
    import keras
    import numpy as np

    from rnn_topologies import layers

    batch, time, masked = SHAPES[shape]
    model = model_of(cell, batch, time, masked)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"model{FORMATS[form]}"
        layers.export(model, path)
        run = RUNTIMES[form](path)
        found = 0.0
        for given in batches(batch, time, masked):
            tensors = [keras.ops.convert_to_tensor(value) for value in given]
            wanted = keras.ops.convert_to_numpy(model(tensors))
            found = max(found, float(np.abs(run(given) - wanted).max()))
    return found


def attempt(answers, backend, form, cell):
    """Runs in a process of its own, since some exporters end it."""
    os.environ |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    warnings.simplefilter("ignore")
    for shape in SHAPES:
        try:
            answers.put((shape, difference(backend, form, cell, shape), ""))
        except Exception as error:  # whatever an exporter raises is the answer
            answers.put((shape, None, reason(error)))


def reason(error) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Exception encountered")]
    # Folders, shapes and the numbers of nodes differ from one export to the next.
    first = re.sub(r"/\S*/", "", (telling or [""])[0])
    first = re.sub(r"(?<=[Nn]ode number )\d+|(?<=Split)_\d+|runtimeNode number \d+", "", first)
    first = re.sub(r"\((\d+|None),[^)]*\)", "(...)", first)
    return f"{type(error).__name__}: {first[:160]}"


def measure(backend):
    from rnn_topologies import layers

    cells = [*layers.CELLS, "gru, reset before", "bidirectional lstm"]
    context = multiprocessing.get_context("spawn")
    MEASURED.mkdir(parents=True, exist_ok=True)
    with (MEASURED / f"{backend}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for form in FORMATS:
            for cell in cells:
                for shape, found, why in answers_of(context, backend, form, cell):
                    writer.writerow((backend, form, cell, shape, found, why))
                    print(backend, form, cell, shape, found, why, sep=" | ", flush=True)
                file.flush()


def answers_of(context, backend, form, cell):
    answers = context.Queue()
    process = context.Process(target=attempt, args=(answers, backend, form, cell))
    process.start()
    left = dict.fromkeys(SHAPES)
    while left:
        try:
            shape, *rest = answers.get(timeout=300 if process.is_alive() else 1)
        except queue.Empty:
            process.kill()
            for shape in left:
                yield shape, None, "the exporter ended the process, or took over 300 s"
            return
        del left[shape]
        yield shape, *rest
    process.join()


def table() -> str:
    """Returns the table: a cell, a line; a mark for every backend, format and shape."""
    rows = []
    for backend in BACKENDS:
        path = MEASURED / f"{backend}.csv"
        if path.exists():
            with path.open(newline="") as file:
                rows += list(csv.DictReader(file))
    formats = list(dict.fromkeys((row["backend"], row["format"]) for row in rows))
    lines = []
    for backend, form in formats:
        mine = [row for row in rows if (row["backend"], row["format"]) == (backend, form)]
        lines += [f"### {backend}, {NAMES[form]}", ""]
        whys = list(dict.fromkeys(row["reason"] for row in mine if row["reason"]))
        if len(whys) == 1 and all(row["reason"] for row in mine):
            lines += [f"Nothing: {whys[0]}", ""]
            continue
        lines += ["| cell | " + " | ".join(SHAPES) + " |", "|---" * (len(SHAPES) + 1) + "|"]
        for cell in dict.fromkeys(row["cell"] for row in mine):
            marks = [mark(row, whys) for row in mine if row["cell"] == cell]
            lines.append(f"| {cell} | " + " | ".join(marks) + " |")
        lines += ["", *(f"{number}. {why}" for number, why in enumerate(whys, start=1))]
        lines += [""] if whys else []
    return "\n".join(lines).rstrip() + "\n"


def mark(row, whys) -> str:
    if row["reason"]:
        return f"no ({whys.index(row['reason']) + 1})"
    found = float(row["difference"])
    return f"{found:.0e}" if found < NEAR else f"**wrong: {found:.0e}**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("table")
    one = commands.add_parser("measure")
    one.add_argument("--backend", choices=BACKENDS, default="tensorflow")
    chosen = parser.parse_args()
    if chosen.command == "measure":
        measure(chosen.backend)
        return
    page = PAGE.read_text("utf-8")
    head, _, _ = page.partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{table()}", "utf-8")


if __name__ == "__main__":
    main()
