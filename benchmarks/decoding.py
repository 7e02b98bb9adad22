"""Sentences a second of a trained translation: batched greedy and beam search against one by one.

    python benchmarks/decoding.py results/runs/<run id> [--data-dir D] [--manual-dir D]

"One by one" is what most examples on the web do: `model.predict` on a batch of one, once for the
encoder and once for every token. All four ways take turns, `--rounds` times, in one process; the
medians are printed with their ratio to the slowest. Ways that decode a batch translate the whole
test split, those that go one by one its first `--sentences` (after a warm-up).
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from rnn_topologies.runs import model_io
from rnn_topologies.tasks.data import vocabulary


class Reader(keras.Model):
    """The encoder as a model of its own."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, source):
        return self.model.encode(source)


class Step(keras.Model):
    """One step of the decoder as a model of its own."""

    def __init__(self, model):
        super().__init__()
        self.decoder = model.decoder

    def call(self, inputs):
        logits, states, _ = self.decoder.step(
            inputs["token"], inputs["states"], inputs.get("memory"), inputs.get("memory_mask")
        )
        return logits, states


def one_by_one(model, rows, longest):
    """Returns a function that writes each row greedily, a call of `predict` for every token."""
    reader, step = Reader(model), Step(model)

    def run():
        written = []
        for row in rows:
            start = reader.predict(np.array([row]), verbose=0)
            states, tokens, token = start.pop("initial_state"), [], vocabulary.START
            while token != vocabulary.END and len(tokens) < longest:
                inputs = {"token": np.array([token]), "states": states, **start}
                logits, states = step.predict(inputs, verbose=0)
                logits[:, [vocabulary.START, vocabulary.PAD]] = -np.inf
                token = int(logits.argmax())
                tokens.append(token)
            written.append(tokens)
        return written

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a run of the task translation")
    parser.add_argument("--data-dir")
    parser.add_argument("--manual-dir")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=20)
    arguments = parser.parse_args()
    task, model, data = model_io.load_model(
        arguments.run, data_dir=arguments.data_dir, manual_dir=arguments.manual_dir
    )
    pairs = task.load_data().splits["test"]
    few = pairs[: arguments.sentences]
    longest = data.notes["longest_target"]

    def batched(beam_size, chosen):
        sources = [pair.source for pair in chosen]
        return lambda: task.n_best(model, sources, data, beam_size=beam_size)

    singly = one_by_one(model, [pair.source_tokens for pair in few], longest)
    ways = {
        "greedy, predict a token at a time": (len(few), singly),
        "greedy, batched": (len(pairs), batched(1, pairs)),
        "beam of 5, batched": (len(pairs), batched(5, pairs)),
    }
    alike = [
        data.preprocessors["target"].decode([tokens])[0] == best[0]
        for tokens, best in zip(singly(), batched(1, few)(), strict=True)
    ]
    print(f"{sum(alike)} of {len(few)} sentences alike, one by one and batched")
    speeds = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, (count, run) in ways.items():
            began = time.perf_counter()
            run()
            speeds[name].append(count / (time.perf_counter() - began))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    cores = len(os.sched_getaffinity(0))
    print(f"{keras.backend.backend()}, {cores} cores, {task.config.dataset}, {task.config.cell}")
    for name, median in medians.items():
        print(f"{name:<36}{median:>8.1f} sentences/s{median / min(medians.values()):>8.1f} x")


if __name__ == "__main__":
    main()
