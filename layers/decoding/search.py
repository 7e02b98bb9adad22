"""Decoding with a step function: token by token, or by beam search.

Both loops are `keras.ops.while_loop`s over tensors of fixed shape and decode a whole batch at
once. They compile on every backend and stop as soon as no sequence can change any more.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from keras import ops

from ..typing import States, Tensor

# Used instead of minus infinity, which turns into NaN when multiplied by zero.
NEVER = -1e9

Step: TypeAlias = Callable[[Tensor, States], tuple[Tensor, Sequence[Tensor]]]


class Sequences(NamedTuple):
    """Decoded sequences: tokens (batch, ..., max_length) and their scores (batch, ...)."""

    tokens: Tensor
    scores: Tensor


def sample_tokens(logits: Tensor, uniform: Tensor, top_k: int | None = None) -> Tensor:
    """Samples one token per row by inverting the cumulative distribution.

    Args:
        logits: (batch, vocabulary).
        uniform: (batch,), random numbers in [0, 1).
        top_k: sample from this many of the most probable tokens; from all if None.

    Returns:
        (batch,) int32.
    """
    values, tokens = _top_k(logits, top_k or logits.shape[-1])
    cumulative = ops.cumsum(ops.softmax(values, axis=-1), axis=-1)
    # Rounding can leave the last sum below 1: scale the random number, so that it never exceeds it.
    passed = cumulative <= ops.expand_dims(uniform, -1) * cumulative[:, -1:]
    rank = ops.sum(ops.cast(passed, "int32"), axis=-1, keepdims=True)
    return ops.cast(ops.squeeze(ops.take_along_axis(tokens, rank, axis=-1), -1), "int32")


def generate(
    step: Step,
    states: States,
    choose: Callable[[Tensor, Tensor], Tensor],
    *,
    max_length: int,
    start_id: int,
    end_id: int,
    pad_id: int,
) -> Sequences:
    """Decodes a batch of sequences, one token at a time.

    Args:
        step: `(token (batch,), states) -> (logits (batch, vocabulary), states)`.
        states: list of the initial states, each (batch, size).
        choose: `(logits, t) -> token (batch,)`.
        max_length, start_id, end_id, pad_id: see `Decoder`.

    Returns:
        tokens (batch, max_length) and the sums of their log probabilities (batch,).
    """
    batch = ops.shape(states[0])[0]
    positions = ops.expand_dims(ops.arange(max_length, dtype="int32"), 0)

    def body(t, token, ended, tokens, scores, *states):
        logits, states = _step_without_gradient(step, token, states)
        chosen = ops.cast(choose(logits, t), "int32")
        log_p = ops.take_along_axis(
            ops.log_softmax(logits, axis=-1), ops.expand_dims(chosen, -1), axis=-1
        )
        scores = scores + ops.where(ended, 0.0, ops.squeeze(log_p, -1))
        chosen = ops.where(ended, pad_id, chosen)
        tokens = ops.where(positions == t, ops.expand_dims(chosen, -1), tokens)
        return t + 1, chosen, ops.logical_or(ended, chosen == end_id), tokens, scores, *states

    def is_unfinished(t, token, ended, *_):
        return ops.logical_and(t < max_length, ops.logical_not(ops.all(ended)))

    _, _, _, tokens, scores, *_ = ops.while_loop(
        is_unfinished,
        body,
        (
            ops.zeros((), dtype="int32"),
            ops.full((batch,), start_id, dtype="int32"),
            ops.zeros((batch,), dtype="bool"),
            ops.full((batch, max_length), pad_id, dtype="int32"),
            ops.zeros((batch,), dtype="float32"),
            *states,
        ),
    )
    return Sequences(tokens, scores)


def beam_search(
    step: Step,
    states: States,
    *,
    max_length: int,
    beam_size: int,
    length_penalty: float,
    start_id: int,
    end_id: int,
    pad_id: int,
) -> Sequences:
    """Searches for the `beam_size` sequences with the highest length-normalized log probability.

    Open and finished hypotheses are kept apart, `beam_size` of each. Every step considers the
    2 * beam_size best continuations: even if beam_size of them end, as many stay open. The
    search stops when no open hypothesis can beat the worst finished one.

    Args:
        step: `(token (batch * beam_size,), states) -> (logits, states)`.
        states: list of the initial states, each (batch, size).
        max_length, beam_size, length_penalty, start_id, end_id, pad_id: see `Decoder`.

    Returns:
        tokens (batch, beam_size, max_length) and scores (batch, beam_size), best first.
    """
    batch = ops.shape(states[0])[0]
    positions = ops.reshape(ops.arange(max_length, dtype="int32"), (1, 1, -1))
    padding = ops.full((batch, beam_size, max_length), pad_id, dtype="int32")
    # All beams start out equal. Only the first may be extended, or every sequence would appear
    # beam_size times.
    only_first = ops.where(ops.arange(beam_size) == 0, 0.0, NEVER)

    def body(t, token, log_p, tokens, finished, finished_scores, *states):
        logits, states = _step_without_gradient(step, ops.reshape(token, (-1,)), states)
        total, beam, chosen = _best_continuations(logits, log_p, 2 * beam_size)
        candidates = ops.where(
            positions == t, ops.expand_dims(chosen, -1), _gather_beams(tokens, beam)
        )
        ends = chosen == end_id
        scores = ops.where(ends, total / _length_norm(t + 1, length_penalty), NEVER)
        finished, finished_scores = _keep_best(finished, finished_scores, candidates, scores)
        log_p, kept = _top_k(ops.where(ends, NEVER, total), beam_size)
        states = [_gather_states(state, _gather_beams(beam, kept)) for state in states]
        token = ops.reshape(_gather_beams(chosen, kept), (-1,))
        tokens = _gather_beams(candidates, kept)
        return t + 1, token, log_p, tokens, finished, finished_scores, *states

    def can_improve(t, token, log_p, tokens, finished, finished_scores, *_):
        # Log probabilities only decrease, and the length norm is largest at full length.
        bound = log_p[:, 0] / _length_norm(max_length, length_penalty)
        return ops.logical_and(t < max_length, ops.any(bound > finished_scores[:, -1]))

    _, _, log_p, tokens, finished, finished_scores, *_ = ops.while_loop(
        can_improve,
        body,
        (
            ops.zeros((), dtype="int32"),
            ops.full((batch * beam_size,), start_id, dtype="int32"),
            ops.zeros((batch, 1), dtype="float32") + ops.expand_dims(only_first, 0),
            padding,
            padding,
            ops.full((batch, beam_size), NEVER, dtype="float32"),
            *(ops.repeat(state, beam_size, axis=0) for state in states),
        ),
    )
    # A sequence without an end token ranks below all that have one, regardless of its score.
    scores = log_p / _length_norm(max_length, length_penalty)
    _, best = _top_k(ops.concatenate([finished_scores, scores + NEVER / 2], axis=1), beam_size)
    return Sequences(
        _gather_beams(ops.concatenate([finished, tokens], axis=1), best),
        _gather_beams(ops.concatenate([finished_scores, scores], axis=1), best),
    )


def _top_k(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Returns the `k` largest values of each row and their int32 indices."""
    largest, indices = ops.top_k(values, k)
    return largest, ops.cast(indices, "int32")


def _step_without_gradient(
    step: Step, token: Tensor, states: States
) -> tuple[Tensor, list[Tensor]]:
    """Runs a step and drops its gradient: on PyTorch the graph would grow with every token."""
    logits, new_states = step(token, list(states))
    return ops.stop_gradient(logits), [ops.stop_gradient(state) for state in new_states]


def _length_norm(length: Tensor, length_penalty: float) -> Tensor:
    return ((5.0 + ops.cast(length, "float32")) / 6.0) ** length_penalty


def _best_continuations(logits: Tensor, log_p: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the `count` best continuations of each row's beams.

    Args:
        logits: (batch * beams, vocabulary).
        log_p: (batch, beams), log probabilities of the sequences so far.

    Returns:
        Their log probabilities, the beams they continue and their tokens, all (batch, count).
    """
    beams, vocabulary_size = log_p.shape[1], logits.shape[-1]
    total = ops.reshape(ops.log_softmax(logits, axis=-1), (-1, beams, vocabulary_size))
    total = ops.reshape(total + ops.expand_dims(log_p, -1), (-1, beams * vocabulary_size))
    total, index = _top_k(total, count)
    return total, index // vocabulary_size, index % vocabulary_size


def _keep_best(
    rows: Tensor, scores: Tensor, new_rows: Tensor, new_scores: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the best of old and new rows, as many as there are old ones, and their scores."""
    all_scores = ops.concatenate([scores, new_scores], axis=1)
    best_scores, best = _top_k(all_scores, scores.shape[1])
    return _gather_beams(ops.concatenate([rows, new_rows], axis=1), best), best_scores


def _gather_beams(x: Tensor, index: Tensor) -> Tensor:
    """Returns x[b, index[b, m]]: from (batch, n, ...) and (batch, m), (batch, m, ...)."""
    batch, count = ops.shape(x)[0], x.shape[1]
    offset = ops.expand_dims(ops.arange(batch, dtype="int32") * count, -1)
    flat = ops.reshape(x, (-1, *x.shape[2:]))
    taken = ops.take(flat, ops.reshape(index + offset, (-1,)), axis=0)
    return ops.reshape(taken, (-1, index.shape[1], *x.shape[2:]))


def _gather_states(state: Tensor, beam: Tensor) -> Tensor:
    """Gathers beams of a state with batch and beams in one axis, (batch * beams, ...)."""
    by_row = ops.reshape(state, (-1, beam.shape[1], *state.shape[1:]))
    return ops.reshape(_gather_beams(by_row, beam), (-1, *state.shape[1:]))
