"""Writing sequences with a step function: one choice at a time, or by beam search.

Both loops are `keras.ops.while_loop`s over tensors of fixed shape, for a whole batch at once,
so that they compile on every backend, and stop as soon as no sequence can change any more.
"""

from typing import NamedTuple

from keras import ops

# Stands for minus infinity where two of them may be added or multiplied by zero.
NEVER = -1e9


class Sequences(NamedTuple):
    """Written sequences: tokens (batch, ..., max_length) and their scores (batch, ...)."""

    tokens: object
    scores: object


def draw(logits, uniform, top_k=None):
    """Draws one token a row, by where a uniform number falls in the cumulated probabilities.

    Args:
        logits: (batch, vocabulary).
        uniform: (batch,), in [0, 1).
        top_k: consider this many of the most probable tokens; all if None.

    Returns:
        (batch,) int32.
    """
    values, tokens = ops.top_k(logits, top_k or logits.shape[-1])
    cumulated = ops.cumsum(ops.softmax(values, axis=-1), axis=-1)
    # Rounding can leave the last sum below 1: scale, so that a number never falls behind it.
    passed = cumulated <= ops.expand_dims(uniform, -1) * cumulated[:, -1:]
    rank = ops.sum(ops.cast(passed, "int32"), axis=-1, keepdims=True)
    return ops.cast(ops.squeeze(ops.take_along_axis(tokens, rank, axis=-1), -1), "int32")


def _forward(step, token, states):
    """Takes a step and keeps no gradient: on PyTorch the graph of a long loop would pile up."""
    logits, states = step(token, list(states))
    return ops.stop_gradient(logits), [ops.stop_gradient(state) for state in states]


def write(step, states, choose, *, max_length, start_id, end_id, pad_id) -> Sequences:
    """Writes a batch of sequences, one chosen token after the other.

    Args:
        step: `(token (batch,), states) -> (logits (batch, vocabulary), states)`.
        states: list of the first states, each (batch, size).
        choose: `(logits, t) -> token (batch,)`.
        max_length, start_id, end_id, pad_id: as in `Decoder`.

    Returns:
        tokens (batch, max_length) and the sums of their log probabilities (batch,).
    """
    batch = ops.shape(states[0])[0]
    positions = ops.expand_dims(ops.arange(max_length, dtype="int32"), 0)

    def body(t, token, ended, tokens, scores, *states):
        logits, states = _forward(step, token, states)
        chosen = ops.cast(choose(logits, t), "int32")
        log_p = ops.take_along_axis(
            ops.log_softmax(logits, axis=-1), ops.expand_dims(chosen, -1), axis=-1
        )
        scores = scores + ops.where(ended, 0.0, ops.squeeze(log_p, -1))
        chosen = ops.where(ended, pad_id, chosen)
        tokens = ops.where(positions == t, ops.expand_dims(chosen, -1), tokens)
        return t + 1, chosen, ops.logical_or(ended, chosen == end_id), tokens, scores, *states

    def unfinished(t, token, ended, *_):
        return ops.logical_and(t < max_length, ops.logical_not(ops.all(ended)))

    _, _, _, tokens, scores, *_ = ops.while_loop(
        unfinished,
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


def _penalty(length, exponent):
    return ((5.0 + ops.cast(length, "float32")) / 6.0) ** exponent


def _pick(rows, index):
    """Takes row[index] along the second axis: (batch, n, ...) and (batch, m) to (batch, m, ...)."""
    batch, count = ops.shape(rows)[0], rows.shape[1]
    offset = ops.expand_dims(ops.arange(batch, dtype="int32") * count, -1)
    flat = ops.reshape(rows, (-1, *rows.shape[2:]))
    taken = ops.take(flat, ops.reshape(index + offset, (-1,)), axis=0)
    return ops.reshape(taken, (-1, index.shape[1], *rows.shape[2:]))


def beam_search(
    step, states, *, max_length, beam_size, length_penalty, start_id, end_id, pad_id
) -> Sequences:
    """Looks for the `beam_size` sequences of highest penalised log probability.

    Open hypotheses and finished ones are kept apart, `beam_size` of each. A step takes the
    2 * beam_size best continuations: even if beam_size of them end, as many stay open. The
    search ends when no open hypothesis can get past the worst of the finished ones.

    Args:
        step: `(token (batch * beam_size,), states) -> (logits, states)`.
        states: list of the first states, each (batch, size).
        max_length, beam_size, length_penalty, start_id, end_id, pad_id: as in `Decoder`.

    Returns:
        tokens (batch, beam_size, max_length) and scores (batch, beam_size), best first.
    """
    batch = ops.shape(states[0])[0]
    positions = ops.reshape(ops.arange(max_length, dtype="int32"), (1, 1, -1))
    blank = ops.full((batch, beam_size, max_length), pad_id, dtype="int32")
    # All beams start alike: only the first may be continued, or each would appear beam_size times.
    only_first = ops.where(ops.arange(beam_size) == 0, 0.0, NEVER)

    def body(t, token, log_p, tokens, done, done_scores, *states):
        logits, states = _forward(step, ops.reshape(token, (-1,)), states)
        total, beam, chosen = _continuations(logits, log_p, 2 * beam_size)
        candidates = ops.where(positions == t, ops.expand_dims(chosen, -1), _pick(tokens, beam))
        ends = chosen == end_id
        scores = ops.where(ends, total / _penalty(t + 1, length_penalty), NEVER)
        done, done_scores = _best_of(done, done_scores, candidates, scores)
        log_p, kept = ops.top_k(ops.where(ends, NEVER, total), beam_size)
        kept = ops.cast(kept, "int32")
        states = [_pick_flat(state, _pick(beam, kept)) for state in states]
        token = ops.reshape(_pick(chosen, kept), (-1,))
        return t + 1, token, log_p, _pick(candidates, kept), done, done_scores, *states

    def improvable(t, token, log_p, tokens, done, done_scores, *_):
        # Log probabilities only fall, and the penalty divides by most at full length.
        bound = log_p[:, 0] / _penalty(max_length, length_penalty)
        return ops.logical_and(t < max_length, ops.any(bound > done_scores[:, -1]))

    _, _, log_p, tokens, done, done_scores, *_ = ops.while_loop(
        improvable,
        body,
        (
            ops.zeros((), dtype="int32"),
            ops.full((batch * beam_size,), start_id, dtype="int32"),
            ops.zeros((batch, 1), dtype="float32") + ops.expand_dims(only_first, 0),
            blank,
            blank,
            ops.full((batch, beam_size), NEVER, dtype="float32"),
            *(ops.repeat(state, beam_size, axis=0) for state in states),
        ),
    )
    # A sequence that did not end in time ranks behind all that did, whatever its score.
    scores = log_p / _penalty(max_length, length_penalty)
    _, best = ops.top_k(ops.concatenate([done_scores, scores + NEVER / 2], axis=1), beam_size)
    best = ops.cast(best, "int32")
    return Sequences(
        _pick(ops.concatenate([done, tokens], axis=1), best),
        _pick(ops.concatenate([done_scores, scores], axis=1), best),
    )


def _continuations(logits, log_p, count):
    """Returns the `count` best continuations of each row's beams.

    Args:
        logits: (batch * beams, vocabulary).
        log_p: (batch, beams), of the sequences so far.

    Returns:
        Their log probabilities, the beams they continue and their tokens, all (batch, count).
    """
    beams, size = log_p.shape[1], logits.shape[-1]
    total = ops.reshape(ops.log_softmax(logits, axis=-1), (-1, beams, size))
    total = ops.reshape(total + ops.expand_dims(log_p, -1), (-1, beams * size))
    total, index = ops.top_k(total, count)
    index = ops.cast(index, "int32")
    return total, index // size, index % size


def _best_of(rows, scores, more_rows, more_scores):
    """Returns as many rows as there were, the best of both, with their scores."""
    joined = ops.concatenate([scores, more_scores], axis=1)
    scores, best = ops.top_k(joined, scores.shape[1])
    joined = ops.concatenate([rows, more_rows], axis=1)
    return _pick(joined, ops.cast(best, "int32")), scores


def _pick_flat(state, beam):
    """Takes beams of a state that has batch and beams in one axis: (batch * beams, size)."""
    size = state.shape[-1]
    return ops.reshape(_pick(ops.reshape(state, (-1, beam.shape[1], size)), beam), (-1, size))
