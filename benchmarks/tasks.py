"""Training whole tasks on a CPU: our layers against keras.layers, and against torch.nn.

    python benchmarks/tasks.py layers [--reviews D]
                                                two tasks with our layers and with keras.layers,
                                                and a third on movie reviews (the aclImdb folder)
    python benchmarks/tasks.py translation --manual-dir D
                                                Multi30k with our model and with one in PyTorch
    python benchmarks/tasks.py table            updates the tables of docs/cpu.md

`layers` trains the same model from the same seed on the same batches, on the TensorFlow backend,
once with our layers and once with `keras.layers` instead. Each run is a separate process, and the
runs take turns. It records the seconds per epoch, and the seconds until a validation accuracy was
reached, including compilation. `translation` trains an encoder-decoder with GRUs and attention on
the same batches, once with our task and once with `torch.nn` and packed sequences. It records the
seconds per epoch and the validation loss.
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
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import marks

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "results" / "benchmarks"
PAGE = ROOT / "docs" / "cpu.md"
REVIEWS = "movie reviews"
KINDS = ("ours", "keras")

Row: TypeAlias = dict[str, Any]


class Benchmark(NamedTuple):
    """A task to train, and the validation accuracy to reach."""

    task: str
    settings: dict[str, Any]
    accuracy: float


BENCHMARKS = {  # by data
    "digits": Benchmark("classification", {}, 0.98),
    "cldr_languages": Benchmark("text_classification", {}, 0.80),
    REVIEWS: Benchmark("text_classification", {"limit": 6000}, 0.80),
}


def train_task(name: str, kind: str, settings: Mapping[str, Any]) -> list[Row]:
    """Trains a task in this process and returns the rows of its epochs.csv."""
    import keras

    from rnn_topologies import layers
    from rnn_topologies.cli.progress import Display
    from rnn_topologies.training import experiment

    if kind == "keras":
        module: Any = layers
        for cell, keras_layer in (("gru", keras.layers.GRU), ("lstm", keras.layers.LSTM)):
            module.CELLS[cell] = module.CELLS[cell]._replace(layer=keras_layer)
        module.Bidirectional = keras.layers.Bidirectional
    with tempfile.TemporaryDirectory() as folder:
        _, run = experiment.run_experiment(name, settings, results_dir=folder, display=Display())
        with (run / "epochs.csv").open(newline="") as file:
            return list(csv.DictReader(file))


def run_child(*arguments: str) -> list[Any]:
    """Runs this script in a process with these arguments and returns the JSON that it prints."""
    process = subprocess.run(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return json.loads(process.stdout.splitlines()[-1])


def read_results(name: str) -> list[Row]:
    with (RESULTS / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_results(name: str, rows: list[Row]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def measure_layers(reviews: str | None, turns: int) -> None:
    """Trains each task with our layers and with keras.layers, in turns; see `train_task`."""
    rows = []
    for data in BENCHMARKS:
        if data == REVIEWS and not reviews:
            continue
        for turn in range(turns):
            for kind in KINDS:
                rows.append(measure_task(data, kind, turn, reviews or ""))
                print(rows[-1], flush=True)
    measured = {row["data"] for row in rows}
    write_results("tasks", rows + [r for r in read_results("tasks") if r["data"] not in measured])


def measure_task(data: str, kind: str, turn: int, reviews: str) -> Row:
    """Trains a task in a child process and returns its row of results."""
    accuracy = BENCHMARKS[data].accuracy
    epochs = run_child("train", "--data", data, "--kind", kind, "--reviews", reviews)
    seconds = [float(epoch["seconds"]) for epoch in epochs]
    accuracies = [float(epoch["val_accuracy"]) for epoch in epochs]
    best = max(accuracies)
    if best < accuracy:
        raise SystemExit(f"{data}, {kind}: reached an accuracy of {best} instead of {accuracy}")
    needed = next(i for i, value in enumerate(accuracies, start=1) if value >= accuracy)
    return {
        "data": data,
        "layers": kind,
        "turn": turn,
        "cores": len(os.sched_getaffinity(0)),
        "seconds_per_epoch": round(statistics.median(seconds), 2),
        "accuracy": accuracy,
        "epochs_to_accuracy": needed,
        "seconds_to_accuracy": round(sum(seconds[:needed]), 1),
        "best": round(best, 4),
    }


def load_translation(manual_dir: str, limit: int | None) -> tuple[Any, Any, Any, Any]:
    """Returns the translation task, its data, and its batches for training and validation."""
    from rnn_topologies import tasks

    settings = {"dataset": "multi30k/de-en", "manual_dir": manual_dir, "limit": limit}
    task: Any = tasks.get_task("translation")(settings)
    data = task.load_data()
    train = task.batches(data.splits["train"], data, training=True)
    return task, data, train, task.batches(data.splits["validation"], data, training=False)


def train_keras(
    task: Any, data: Any, train: Any, validation: Any, epochs: int
) -> Iterator[tuple[float, float, int]]:
    """Yields the seconds, the validation cross entropy and the parameters of every epoch."""
    import keras

    from rnn_topologies.training import loop

    keras.utils.set_random_seed(0)
    model = task.build_model(data)
    loop.compile_model(model, task, len(train) * epochs, task.metrics())
    for epoch in range(epochs):
        train.seek(epoch)
        start = time.perf_counter()
        model.fit(train, verbose=0, shuffle=False)
        seconds = time.perf_counter() - start
        scores = model.evaluate(validation, verbose=0, return_dict=True)
        yield seconds, scores["cross_entropy"], model.count_params()


def make_torch_model(task: Any, data: Any) -> Any:
    """Returns the same model in PyTorch, as one would write it there."""
    import torch
    from torch import nn

    config = task.config
    units, embedding_size = config.units, config.embedding_size
    source_size = len(data.preprocessors["source"])
    target_size = len(data.preprocessors["target"])

    class EncoderDecoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.source = nn.Embedding(source_size, embedding_size)
            self.target = nn.Embedding(target_size, embedding_size)
            for embedding in (self.source, self.target):
                nn.init.normal_(embedding.weight, std=embedding_size**-0.5)
            self.encoder = nn.GRU(embedding_size, units, batch_first=True, bidirectional=True)
            self.initial_state = nn.Linear(2 * units, units)
            self.decoder = nn.GRU(embedding_size, units, batch_first=True)
            self.keys = nn.Linear(2 * units, units, bias=False)
            self.readout = nn.Linear(3 * units, embedding_size)
            self.bias = nn.Parameter(torch.zeros(target_size))
            self.drop = nn.Dropout(config.dropout)

        def forward(self, source, previous):
            valid = source != 0
            embedded = nn.utils.rnn.pack_padded_sequence(
                self.drop(self.source(source)),
                valid.sum(1),
                batch_first=True,
                enforce_sorted=False,
            )
            memory, final = self.encoder(embedded)
            memory, _ = nn.utils.rnn.pad_packed_sequence(
                memory, batch_first=True, total_length=source.shape[1]
            )
            start = torch.tanh(self.initial_state(torch.cat([final[0], final[1]], dim=-1)))
            query, _ = self.decoder(self.drop(self.target(previous)), start[None])
            scores = query @ self.keys(memory).transpose(1, 2)
            scores = scores.masked_fill(~valid[:, None], -1e9)
            context = torch.softmax(scores, dim=-1) @ memory
            readout = torch.tanh(self.readout(torch.cat([query, context], dim=-1)))
            return self.drop(readout) @ self.target.weight.T + self.bias

    return EncoderDecoder()


def torch_batches(batches: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yields (source, previous tokens, flat next tokens) as tensors."""
    import torch

    for index in range(len(batches)):
        inputs, following, _ = batches[index]
        source, previous = (torch.tensor(inputs[k]).long() for k in ("source", "previous"))
        yield source, previous, torch.tensor(following).long().flatten()


def train_torch(
    task: Any, data: Any, train: Any, validation: Any, epochs: int
) -> Iterator[tuple[float, float, int]]:
    """Yields the same as `train_keras`, for a model in PyTorch of the same size and settings."""
    import torch
    from torch import nn

    from rnn_topologies.training.loop import learning_rate_schedule

    torch.manual_seed(0)
    model = make_torch_model(task, data)
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7)
    schedule: Any = learning_rate_schedule(task.config.learning_rate, len(train) * epochs)
    smoothing = task.config.label_smoothing
    loss_function = nn.CrossEntropyLoss(ignore_index=0, label_smoothing=smoothing)
    step = 0
    for epoch in range(epochs):
        train.seek(epoch)
        start = time.perf_counter()
        model.train()
        for source, previous, following in torch_batches(train):
            for group in optimizer.param_groups:
                group["lr"] = float(schedule(step))
            optimizer.zero_grad()
            logits = model(source, previous).flatten(0, 1)
            loss_function(logits, following).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
        seconds = time.perf_counter() - start
        parameters = sum(weight.numel() for weight in model.parameters())
        yield seconds, torch_cross_entropy(model, validation), parameters


def torch_cross_entropy(model: Any, batches: Any) -> float:
    """Returns the mean cross entropy over all tokens that are not padding."""
    import torch
    from torch import nn

    model.eval()
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for source, previous, following in torch_batches(batches):
            logits = model(source, previous).flatten(0, 1)
            total += nn.functional.cross_entropy(
                logits, following, ignore_index=0, reduction="sum"
            ).item()
            tokens += int((following != 0).sum())
    return total / tokens


def measure_translation(manual_dir: str, limit: int | None, epochs: int, turns: int) -> None:
    """Trains the translation model and its PyTorch counterpart, in turns."""
    rows = []
    for turn in range(turns):
        for kind in ("ours", "torch.nn"):
            arguments = ["train", "--data", "multi30k", "--kind", kind, "--epochs", str(epochs)]
            arguments += ["--manual-dir", manual_dir]
            arguments += ["--limit", str(limit)] if limit else []
            for epoch, (seconds, loss, parameters) in enumerate(run_child(*arguments), start=1):
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
    write_results("translation", rows)


def median_of(rows: Iterable[Row], column: str) -> float:
    return statistics.median(float(row[column]) for row in rows)


def layers_table() -> str:
    lines = [
        "| task | data | seconds per epoch: ours, keras.layers | accuracy | seconds to reach it: "
        "ours, keras.layers | speedup: per epoch, to reach it |",
        "|---|---|---|---|---|---|",
    ]
    rows = read_results("tasks")
    for data in dict.fromkeys(row["data"] for row in rows):
        by_kind = [[r for r in rows if (r["data"], r["layers"]) == (data, k)] for k in KINDS]
        ours, theirs = (median_of(group, "seconds_per_epoch") for group in by_kind)
        ours_to, theirs_to = (median_of(group, "seconds_to_accuracy") for group in by_kind)
        accuracy = float(by_kind[0][0]["accuracy"])
        lines.append(
            f"| {BENCHMARKS[data].task} | {data} | {ours:.3g}, {theirs:.3g} | {accuracy:.2f} | "
            f"{ours_to:.3g}, {theirs_to:.3g} | {theirs / ours:.1f}, {theirs_to / ours_to:.1f} |"
        )
    return "\n".join(lines)


def translation_table() -> str:
    lines = [
        "| model | parameters | seconds per epoch | final validation cross entropy |",
        "|---|---|---|---|",
    ]
    rows = read_results("translation")
    for model in dict.fromkeys(row["model"] for row in rows):
        own_rows = [row for row in rows if row["model"] == model]
        last_epoch = [row for row in own_rows if row["epoch"] == own_rows[-1]["epoch"]]
        lines.append(
            f"| {model} | {int(own_rows[0]['parameters']):,} | "
            f"{median_of(own_rows, 'seconds'):.0f} | "
            f"{median_of(last_epoch, 'validation_cross_entropy'):.2f} |"
        )
    return "\n".join(lines)


TABLES = {"tasks": layers_table, "translation": translation_table}


def update_tables(page: str) -> str:
    """Returns the page with its tables rebuilt from the results."""
    for name, table in TABLES.items():
        page = marks.replace_table(page, name, table())
    return page


def train_in_child(arguments: argparse.Namespace) -> list[Any]:
    """Trains what `run_child` requests and returns the results of its epochs."""
    if arguments.data == "multi30k":
        parts = load_translation(arguments.manual_dir, arguments.limit)
        train = train_keras if arguments.kind == "ours" else train_torch
        return list(train(*parts, arguments.epochs))
    benchmark = BENCHMARKS[arguments.data]
    dataset = {"dataset": arguments.reviews} if arguments.data == REVIEWS else {}
    return train_task(benchmark.task, arguments.kind, benchmark.settings | dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("layers", "translation", "table", "train"))
    parser.add_argument("--manual-dir", help="folder with the files of Multi30k")
    parser.add_argument("--limit", type=int, help="maximum number of training examples (Multi30k)")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of translation")
    parser.add_argument("--turns", type=int, default=2, help="runs of each kind")
    parser.add_argument("--reviews", help="folder of the movie reviews: aclImdb")
    parser.add_argument("--data", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.command == "table":
        PAGE.write_text(update_tables(PAGE.read_text("utf-8")), "utf-8")
    elif arguments.command == "layers":
        measure_layers(arguments.reviews, arguments.turns)
    elif arguments.command == "translation":
        if not arguments.manual_dir:
            parser.error("translation needs --manual-dir")
        measure_translation(
            arguments.manual_dir, arguments.limit, arguments.epochs, arguments.turns
        )
    else:
        print(json.dumps(train_in_child(arguments)))


if __name__ == "__main__":
    main()
