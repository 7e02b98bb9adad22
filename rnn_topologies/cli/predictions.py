"""Predictions for command line inputs: an input that fails does not stop the others."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from rnn_topologies.tasks.data.filesystem import printable
from rnn_topologies.tasks.errors import UserError

if TYPE_CHECKING:
    from ..runs.trained_model import TrainedModel

Outputs: TypeAlias = list[Any]  # for one input, best first


def predict_each(
    model: "TrainedModel", inputs: Sequence[str], n_best: int | None = None
) -> list[Outputs | UserError]:
    """Returns the outputs for each input, or the error of an input that fails.

    Args:
        model: the trained model.
        inputs: command line arguments.
        n_best: number of outputs of a generation task for each input; None returns one output.
    """
    try:
        raw_inputs = [model.task.read_input(text) for text in inputs]
        model.check_inputs(raw_inputs)
        if n_best is not None:
            return list(model.n_best(raw_inputs, n_best))
        return [[output] for output in model.predict(raw_inputs)]
    except UserError as error:
        if len(inputs) == 1:
            return [error]
    half = len(inputs) // 2  # bisects to find the inputs that fail
    first, second = inputs[:half], inputs[half:]
    return [*predict_each(model, first, n_best), *predict_each(model, second, n_best)]


def print_predictions(
    inputs: Sequence[str], results: Sequence[Outputs | UserError], *, as_json: bool, ranked: bool
) -> None:
    """Prints the outputs for each input to standard output, and errors to standard error.

    Args:
        inputs: command line arguments.
        results: what `predict_each` returned for them.
        as_json: whether to print one JSON object per input, including those that failed.
        ranked: whether JSON objects list all outputs.
    """
    for text, result in zip(map(printable, inputs), results, strict=True):
        if isinstance(result, UserError):
            message = printable(" ".join(str(result).split()))
            print(f"error: {message}", file=sys.stderr)
            answer = {"input": text, "error": message}
        else:
            answer = {"input": text, "output": result[0]} | ({"n_best": result} if ranked else {})
        if as_json:
            print(json.dumps(answer, ensure_ascii=False))
        elif not isinstance(result, UserError):
            _print_outputs(text, result, is_only_input=len(inputs) == 1)


def _print_outputs(text: str, outputs: Outputs, *, is_only_input: bool) -> None:
    """Prints the outputs for an input, best first, and the input if there are several."""
    lines = [" ".join(output) if isinstance(output, list) else output for output in outputs]
    if len(lines) > 1:
        lines = [f"{rank}. {line}" for rank, line in enumerate(lines, 1)]
    elif not is_only_input:
        lines = [f"    {line}" for line in lines]
    print("\n".join(lines if is_only_input else [text, *lines]))
