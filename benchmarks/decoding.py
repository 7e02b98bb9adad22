"""Decoding speed of a trained translation model: batched greedy and beam search, or one by one.

    python benchmarks/decoding.py results/runs/<run id> [--data-dir D] [--manual-dir D]

"One by one" is what most examples on the web do: `model.predict` with a batch size of 1, once for
the encoder and once per token. The methods take turns for `--rounds` rounds in one process; the
medians are printed with their ratio to the slowest. The batched methods translate the whole test
split, the other one its first `--sentences` sentences (after a warm-up).
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from rnn_topologies.runs import model_io
from rnn_topologies.tasks.data import vocabulary


class EncoderModel(keras.Model):
    """The encoder of a translation model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def call(self, source: Any) -> dict[str, Any]:
        return self.model.encode(source)


class StepModel(keras.Model):
    """One step of the decoder of a translation model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.decoder

    def call(self, inputs: dict[str, Any]) -> tuple[Any, Any]:
        logits, states, _ = self.decoder.step(
            inputs["token"], inputs["states"], inputs.get("memory"), inputs.get("memory_mask")
        )
        return logits, states


def translate_one_by_one(
    model: Any, sources: Sequence[Sequence[int]], max_length: int
) -> Callable[[], list[list[int]]]:
    """Returns a function that decodes each source greedily, calling `predict` once per token."""
    encoder: Any = EncoderModel(model)
    step: Any = StepModel(model)

    def run() -> list[list[int]]:
        translations = []
        for source in sources:
            encoded = encoder.predict(np.array([source]), verbose=0)
            states, tokens, token = encoded.pop("initial_state"), [], vocabulary.START
            while token != vocabulary.END and len(tokens) < max_length:
                inputs = {"token": np.array([token]), "states": states, **encoded}
                logits, states = step.predict(inputs, verbose=0)
                logits[:, [vocabulary.START, vocabulary.PAD]] = -np.inf
                token = int(logits.argmax())
                tokens.append(token)
            translations.append(tokens)
        return translations

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", help="folder of a run of the translation task")
    parser.add_argument("--data-dir", help="folder of prepared data sets")
    parser.add_argument("--manual-dir", help="folder of manually downloaded data")
    parser.add_argument("--rounds", type=int, default=3, help="how often each method runs")
    parser.add_argument("--sentences", type=int, default=20, help="sentences for one by one")
    arguments = parser.parse_args()
    task: Any
    task, model, data = model_io.load_model(
        arguments.run, data_dir=arguments.data_dir, manual_dir=arguments.manual_dir
    )
    pairs = task.load_data().splits["test"]
    subset = pairs[: arguments.sentences]
    max_length = data.notes["longest_target"]

    def translate_batched(beam_size: int, pairs: Sequence[Any]) -> Callable[[], Any]:
        sources = [pair.source for pair in pairs]
        return lambda: task.n_best(model, sources, data, beam_size=beam_size)

    one_by_one = translate_one_by_one(model, [pair.source_tokens for pair in subset], max_length)
    methods = {
        "greedy, predict a token at a time": (len(subset), one_by_one),
        "greedy, batched": (len(pairs), translate_batched(1, pairs)),
        "beam of 5, batched": (len(pairs), translate_batched(5, pairs)),
    }
    equal = [
        data.preprocessors["target"].decode([tokens])[0] == best[0]
        for tokens, best in zip(one_by_one(), translate_batched(1, subset)(), strict=True)
    ]
    print(f"{sum(equal)} of {len(subset)} translations are equal, one by one and batched")
    speeds = {name: [] for name in methods}
    for _ in range(arguments.rounds):
        for name, (count, run) in methods.items():
            start = time.perf_counter()
            run()
            speeds[name].append(count / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    cores = len(os.sched_getaffinity(0))
    print(f"{keras.backend.backend()}, {cores} cores, {task.config.dataset}, {task.config.cell}")
    for name, median in medians.items():
        print(f"{name:<36}{median:>8.1f} sentences/s{median / min(medians.values()):>8.1f} x")


if __name__ == "__main__":
    main()
