"""Whole tasks on a CPU: our layers against keras.layers, and against a model in PyTorch.

    python benchmarks/tasks.py layers [--reviews D]
                                                two tasks, each with our layers and with Keras's;
                                                and one more with film reviews, aclImdb's folder
    python benchmarks/tasks.py translation --manual-dir D
                                                Multi30k: our model and one of PyTorch's own
    python benchmarks/tasks.py table            writes what was measured into docs/cpu.md

`layers` trains the same model from the same seed on the same batches, TensorFlow backend, once
with our layers and once with those of `keras.layers` in their places; each run is a process of its
own, and runs take turns. It keeps seconds per epoch, and the seconds after which a score on the
validation examples was reached, compiling included. `translation` trains an encoder-decoder with
GRUs and attention on the same batches, as a run of the task does and as `torch.nn` with packed
sequences does, and keeps seconds per epoch and the validation loss after it.
"""

import argparse
import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import marks

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "results" / "benchmarks"
PAGE = ROOT / "docs" / "cpu.md"
REVIEWS = "film reviews"
TASKS = {  # by data: the task, settings, and the accuracy on the validation examples to reach
    "digits": ("classification", {}, 0.98),
    "cldr_languages": ("text_classification", {}, 0.80),
    REVIEWS: ("text_classification", {"limit": 6000}, 0.80),
}
KINDS = ("ours", "keras")


def run_task(name, kind, settings):
    """Trains in this process; returns the rows of epochs.csv."""
    import keras

    from rnn_topologies import layers
    from rnn_topologies.cli.progress import Display
    from rnn_topologies.training import experiment

    if kind == "keras":
        for cell, theirs in (("gru", keras.layers.GRU), ("lstm", keras.layers.LSTM)):
            layers.CELLS[cell] = layers.CELLS[cell]._replace(layer=theirs)
        layers.Bidirectional = keras.layers.Bidirectional
    with tempfile.TemporaryDirectory() as folder:
        _, place = experiment.run_experiment(name, settings, results_dir=folder, display=Display())
        with (place / "epochs.csv").open(newline="") as file:
            return list(csv.DictReader(file))


def child(*arguments) -> list:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
    )
    return json.loads(done.stdout.splitlines()[-1])


def write(name, rows):
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def measure_layers(reviews, turns):
    rows = []
    for data, (_, _, wanted) in TASKS.items():
        if data == REVIEWS and not reviews:
            continue
        for turn in range(turns):
            for kind in KINDS:
                epochs = child("one", "--data", data, "--kind", kind, "--reviews", reviews or "")
                seconds = [float(epoch["seconds"]) for epoch in epochs]
                scores = [float(epoch["val_accuracy"]) for epoch in epochs]
                if max(scores) < wanted:
                    raise SystemExit(f"{data}, {kind}: {wanted} was not reached, but {max(scores)}")
                needed = next(i for i, score in enumerate(scores, start=1) if score >= wanted)
                rows.append(
                    {
                        "data": data,
                        "layers": kind,
                        "turn": turn,
                        "cores": len(os.sched_getaffinity(0)),
                        "seconds_per_epoch": round(statistics.median(seconds), 2),
                        "accuracy": wanted,
                        "epochs_to_accuracy": needed,
                        "seconds_to_accuracy": round(sum(seconds[:needed]), 1),
                        "best": round(max(scores), 4),
                    }
                )
                print(rows[-1], flush=True)
    measured = {row["data"] for row in rows}
    write("tasks", rows + [row for row in read("tasks") if row["data"] not in measured])


def translation_batches(manual_dir, limit):
    """Returns the task, its data, and its batches for training and validation."""
    from rnn_topologies import tasks

    settings = {"dataset": "multi30k/de-en", "manual_dir": manual_dir, "limit": limit}
    task = tasks.get_task("translation")(settings)
    data = task.load_data()
    train = task.batches(data.splits["train"], data, training=True)
    return task, data, train, task.batches(data.splits["validation"], data, training=False)


def epochs_of_keras(task, data, train, validation, count):
    import keras

    from rnn_topologies.training import loop

    keras.utils.set_random_seed(0)
    model = task.build_model(data)
    loop.compile_model(model, task, len(train) * count, task.metrics())
    for epoch in range(count):
        train.seek(epoch)
        began = time.perf_counter()
        model.fit(train, verbose=0, shuffle=False)
        seconds = time.perf_counter() - began
        found = model.evaluate(validation, verbose=0, return_dict=True)
        yield seconds, found["cross_entropy"], model.count_params()


def epochs_of_torch(task, data, train, validation, count):
    """The same model in PyTorch, as one would write it there, by the same sizes and settings."""
    import torch
    from torch import nn

    from rnn_topologies.training.loop import learning_rate_schedule

    config = task.config
    units, width, target_size = (
        config.units,
        config.embedding_size,
        len(data.preprocessors["target"]),
    )

    class EncoderDecoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.source = nn.Embedding(len(data.preprocessors["source"]), width)
            self.target = nn.Embedding(target_size, width)
            for embedding in (self.source, self.target):
                nn.init.normal_(embedding.weight, std=width**-0.5)
            self.encoder = nn.GRU(width, units, batch_first=True, bidirectional=True)
            self.first = nn.Linear(2 * units, units)
            self.decoder = nn.GRU(width, units, batch_first=True)
            self.keys = nn.Linear(2 * units, units, bias=False)
            self.readout = nn.Linear(3 * units, width)
            self.bias = nn.Parameter(torch.zeros(target_size))
            self.drop = nn.Dropout(config.dropout)

        def forward(self, source, previous):
            valid = source != 0
            hidden = nn.utils.rnn.pack_padded_sequence(
                self.drop(self.source(source)),
                valid.sum(1),
                batch_first=True,
                enforce_sorted=False,
            )
            memory, last = self.encoder(hidden)
            memory, _ = nn.utils.rnn.pad_packed_sequence(
                memory, batch_first=True, total_length=source.shape[1]
            )
            start = torch.tanh(self.first(torch.cat([last[0], last[1]], dim=-1)))
            query, _ = self.decoder(self.drop(self.target(previous)), start[None])
            scores = query @ self.keys(memory).transpose(1, 2)
            scores = scores.masked_fill(~valid[:, None], -1e9)
            context = torch.softmax(scores, dim=-1) @ memory
            read = torch.tanh(self.readout(torch.cat([query, context], dim=-1)))
            return self.drop(read) @ self.target.weight.T + self.bias

    torch.manual_seed(0)
    model = EncoderDecoder()
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7)
    rate = learning_rate_schedule(config.learning_rate, len(train) * count)
    loss_of = nn.CrossEntropyLoss(ignore_index=0, label_smoothing=config.label_smoothing)
    step = 0
    for epoch in range(count):
        train.seek(epoch)
        began = time.perf_counter()
        model.train()
        for index in range(len(train)):
            inputs, following, _ = train[index]
            source, previous = (torch.tensor(inputs[k]).long() for k in ("source", "previous"))
            for group in optimizer.param_groups:
                group["lr"] = float(rate(step))
            optimizer.zero_grad()
            logits = model(source, previous)
            loss_of(logits.flatten(0, 1), torch.tensor(following).long().flatten()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
        seconds = time.perf_counter() - began
        model.eval()
        total = tokens = 0
        with torch.inference_mode():
            for index in range(len(validation)):
                inputs, following, _ = validation[index]
                source, previous = (torch.tensor(inputs[k]).long() for k in ("source", "previous"))
                following = torch.tensor(following).long().flatten()
                logits = model(source, previous).flatten(0, 1)
                total += nn.functional.cross_entropy(
                    logits, following, ignore_index=0, reduction="sum"
                ).item()
                tokens += int((following != 0).sum())
        parameters = sum(weight.numel() for weight in model.parameters())
        yield seconds, total / tokens, parameters


def measure_translation(manual_dir, limit, epochs, turns):
    rows = []
    for turn in range(turns):
        for kind in ("ours", "torch.nn"):
            arguments = ["one", "--data", "multi30k", "--kind", kind, "--epochs", str(epochs)]
            arguments += ["--manual-dir", manual_dir]
            arguments += ["--limit", str(limit)] if limit else []
            for epoch, (seconds, loss, parameters) in enumerate(child(*arguments), start=1):
                rows.append(
                    {
                        "model": kind,
                        "turn": turn,
                        "cores": len(os.sched_getaffinity(0)),
                        "epoch": epoch,
                        "seconds": round(seconds, 1),
                        "validation_cross_entropy": round(loss, 3),
                        "parameters": parameters,
                    }
                )
                print(rows[-1], flush=True)
    write("translation", rows)


def read(name):
    with (RESULTS / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def median(rows, column):
    return statistics.median(float(row[column]) for row in rows)


def layers_table() -> str:
    lines = [
        "| task | data | seconds per epoch: ours, keras.layers | accuracy | seconds to it: ours, "
        "keras.layers | times |",
        "|---|---|---|---|---|---|",
    ]
    rows = read("tasks")
    for data in dict.fromkeys(row["data"] for row in rows):
        of = {kind: [r for r in rows if (r["data"], r["layers"]) == (data, kind)] for kind in KINDS}
        epoch = [median(of[kind], "seconds_per_epoch") for kind in KINDS]
        reached = [median(of[kind], "seconds_to_accuracy") for kind in KINDS]
        lines.append(
            f"| {TASKS[data][0]} | {data} | {epoch[0]:.3g}, {epoch[1]:.3g} | "
            f"{float(of['ours'][0]['accuracy']):.2f} | {reached[0]:.3g}, {reached[1]:.3g} | "
            f"{epoch[1] / epoch[0]:.1f}, {reached[1] / reached[0]:.1f} |"
        )
    return "\n".join(lines)


def translation_table() -> str:
    lines = [
        "| model | weights | seconds per epoch | validation cross entropy after the last |",
        "|---|---|---|---|",
    ]
    rows = read("translation")
    for model in dict.fromkeys(row["model"] for row in rows):
        of = [row for row in rows if row["model"] == model]
        last = [row for row in of if row["epoch"] == of[-1]["epoch"]]
        lines.append(
            f"| {model} | {int(of[0]['parameters']):,} | {median(of, 'seconds'):.0f} | "
            f"{median(last, 'validation_cross_entropy'):.2f} |"
        )
    return "\n".join(lines)


TABLES = {"tasks": layers_table, "translation": translation_table}


def tables(page: str) -> str:
    """Returns the page with the tables between its marks made anew."""
    for name, made in TABLES.items():
        page = marks.filled(page, name, made())
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("layers", "translation", "table", "one"))
    parser.add_argument("--manual-dir", help="folder of Multi30k's files")
    parser.add_argument("--limit", type=int, help="examples of Multi30k to train on at most")
    parser.add_argument("--epochs", type=int, default=2, help="of translation")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--reviews", help="folder of the film reviews: aclImdb")
    parser.add_argument("--data", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.what == "table":
        PAGE.write_text(tables(PAGE.read_text("utf-8")), "utf-8")
    elif chosen.what == "layers":
        measure_layers(chosen.reviews, chosen.turns)
    elif chosen.what == "translation":
        measure_translation(chosen.manual_dir, chosen.limit, chosen.epochs, chosen.turns)
    elif chosen.data == "multi30k":
        parts = translation_batches(chosen.manual_dir, chosen.limit)
        epochs = epochs_of_keras if chosen.kind == "ours" else epochs_of_torch
        print(json.dumps(list(epochs(*parts, chosen.epochs))))
    else:
        task, settings, _ = TASKS[chosen.data]
        own = {"dataset": chosen.reviews} if chosen.data == REVIEWS else {}
        print(json.dumps(run_task(task, chosen.kind, settings | own)))


if __name__ == "__main__":
    main()
