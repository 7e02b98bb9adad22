"""The decoder of one-to-many and many-to-many models, with every way to run it."""

from typing import NamedTuple

import keras
from keras import ops

from ..arguments import positive_integer, rate
from ..rnn import RNN
from . import search


class Memory(NamedTuple):
    """What a decoder looks back at: an encoded sequence, its mask, its attention keys."""

    values: object
    mask: object
    keys: object


class _Look:
    """Joins to the outputs of the first cell, and of each further one, what the first looked at."""

    def __init__(self, attention, memory):
        self.attention, self.memory = attention, memory
        self.context = self.weights = None

    def __call__(self, hidden):
        if self.memory is None:
            return hidden
        if self.context is None:
            self.context, self.weights = self.attention(
                hidden, self.memory.values, mask=self.memory.mask, keys=self.memory.keys
            )
        return ops.concatenate([hidden, self.context], axis=-1)


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Decoder(keras.layers.Layer):
    """A recurrent language model that goes on from a given state, token by token.

        h_t, states_t = cell(embedding(token_t), states_{t-1})
        context_t, w_t = attention(h_t, memory)                 with attention only
        r_t = tanh([h_t, context_t] W_r + b_r)
        logits_t = r_t W_o + b_o                                scores of token_{t+1}

    With several cells, attention looks back after the first of them, and every further cell
    reads [h_t, context_t] of what is below it: what was looked at can enter the states, and yet
    each cell is one loop over the whole sequence.

    One object, the same weights, every use: called on whole target sequences it trains by
    teacher forcing; `step` takes one token at a time; `greedy`, `sample` and `beam_search`
    write a whole batch of sequences at once and stop when all have ended. Each of these can
    run eagerly, in `tf.function`, under `jax.jit`, or as the body of a `keras.Model`.

    Weights:
        embedding (vocabulary_size, embedding_size), those of the cells and of the attention,
        readout W_r (units + memory features, readout_size), output W_o
        (readout_size, vocabulary_size), or with `tie_embeddings` the embedding transposed.

    Args:
        cells: a cell, or a list of cells where each reads the outputs of the one before.
        vocabulary_size: number of tokens, the special ones included.
        embedding_size: width of a token's vector.
        start_id, end_id: tokens that begin and end every sequence.
        pad_id: token that fills a sequence up after its end.
        attention: `DotAttention`, `AdditiveAttention`, a layer with the same methods, or None.
        readout_size: width of r; that of the last cell's output if None.
        dropout: fraction to drop of the embedded tokens, between cells, and of r.
        tie_embeddings: whether W_o is the transposed embedding; `readout_size` is then
            `embedding_size`.

    Call arguments:
        tokens: (batch, time), beginning with `start_id`.
        initial_state: the states to start from, those of each cell in turn, each
            (batch, units); zeros if None. `state_sizes` lists their widths.
        memory: (batch, source, features), what attention looks at.
        memory_mask: (batch, source), true at valid steps; None if all are.
        return_weights: whether to return the attention weights as well.
        training: whether dropout is applied.

    Returns:
        logits (batch, time, vocabulary_size); with `return_weights` a tuple of it and the
        attention weights (batch, time, source). Tokens after a position do not change it, so
        that padding at the end needs no mask here, only in the loss.

    Raises:
        ValueError: sizes or special tokens do not fit; attention without memory or memory
            without attention.

    Example:
        >>> decoder = Decoder(GRUCell(8), vocabulary_size=5, embedding_size=4,
        ...                   start_id=1, end_id=2, attention=DotAttention())
        >>> memory = np.ones((3, 6, 8))
        >>> tuple(decoder(np.ones((3, 7), "int32"), memory=memory).shape)
        (3, 7, 5)
        >>> tuple(decoder.beam_search(memory=memory, beam_size=4, max_length=9).tokens.shape)
        (3, 4, 9)

    References: Sutskever, Vinyals and Le, 2014, "Sequence to sequence learning with neural
    networks"; Luong, Pham and Manning, 2015 (attention after the cell); Wu et al., 2016, "Google's
    neural machine translation system" (attention after the first of several cells); Press and
    Wolf, 2017, "Using the output embedding to improve language models" (tied weights).
    """

    def __init__(
        self,
        cells,
        *,
        vocabulary_size,
        embedding_size,
        start_id,
        end_id,
        pad_id=0,
        attention=None,
        readout_size=None,
        dropout=0.0,
        tie_embeddings=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.cells = list(cells) if isinstance(cells, list | tuple) else [cells]
        if not self.cells:
            raise ValueError("`cells` must hold at least one cell, got an empty list.")
        self.vocabulary_size = positive_integer("vocabulary_size", vocabulary_size)
        self.embedding_size = positive_integer("embedding_size", embedding_size)
        self.start_id, self.end_id, self.pad_id = start_id, end_id, pad_id
        self._check_ids()
        self.tie_embeddings = tie_embeddings
        if tie_embeddings and readout_size not in (None, embedding_size):
            raise ValueError(
                f"With `tie_embeddings`, `readout_size` is `embedding_size` ({embedding_size}), "
                f"got {readout_size!r}."
            )
        default = embedding_size if tie_embeddings else self.cells[-1].output_size
        self.readout_size = positive_integer("readout_size", readout_size or default)
        self.dropout = rate("dropout", dropout)
        self.attention = attention
        self.embedding = keras.layers.Embedding(
            vocabulary_size,
            embedding_size,
            embeddings_initializer=embedding_initializer(embedding_size, tie_embeddings),
            dtype=self.dtype_policy,
            name="embedding",
        )
        self.recurrent = [
            RNN(
                cell,
                return_sequences=True,
                return_state=True,
                dtype=self.dtype_policy,
                name=f"recurrent_{number}",
            )
            for number, cell in enumerate(self.cells)
        ]
        self.readout = keras.layers.Dense(
            self.readout_size, activation="tanh", dtype=self.dtype_policy, name="readout"
        )
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def _check_ids(self):
        ids = {"start_id": self.start_id, "end_id": self.end_id, "pad_id": self.pad_id}
        for name, value in ids.items():
            if value not in range(self.vocabulary_size):
                raise ValueError(
                    f"`{name}` must be a token of the vocabulary, 0 to "
                    f"{self.vocabulary_size - 1}, got {value!r}."
                )
        if len(set(ids.values())) < len(ids):
            raise ValueError(f"`start_id`, `end_id` and `pad_id` must differ, got {ids}.")

    @property
    def state_sizes(self) -> list[int]:
        """Widths of the states, those of each cell in turn."""
        return [size for layer in self.recurrent for size in layer.state_size]

    def build(
        self,
        tokens_shape,
        initial_state_shape=None,
        memory_shape=None,
        memory_mask_shape=None,
    ):
        self.embedding.build(tokens_shape)
        shape, context = (*tokens_shape, self.embedding_size), 0
        for index, layer in enumerate(self.recurrent):
            layer.build(shape)
            shape = (*tokens_shape, layer.cell.output_size)
            if index == 0 and self.attention is not None and memory_shape is not None:
                if not self.attention.built:  # loading a model has built it already
                    self.attention.build(shape, memory_shape)
                context = memory_shape[-1]
            shape = (*tokens_shape, shape[-1] + context)
        self.readout.build(shape)
        if not self.tie_embeddings:
            self.output_kernel = self.add_weight(
                name="output_kernel", shape=(self.readout_size, self.vocabulary_size)
            )
        self.output_bias = self.add_weight(
            name="output_bias", shape=(self.vocabulary_size,), initializer="zeros"
        )
        self.built = True

    def call(
        self,
        tokens,
        initial_state=None,
        memory=None,
        memory_mask=None,
        return_weights=False,
        training=False,
    ):
        memory = self._memory(memory, memory_mask)
        groups = self._group(initial_state) if initial_state is not None else None
        hidden = self.drop(self.embedding(tokens), training=training)
        look = _Look(self.attention, memory)
        for index, layer in enumerate(self.recurrent):
            if index:
                hidden = self.drop(hidden, training=training)
            state = groups[index] if groups else None
            hidden, *_ = layer(hidden, initial_state=state, training=training)
            hidden = look(hidden)
        logits = self._logits(hidden, training)
        return (logits, look.weights) if return_weights else logits

    def compute_output_shape(self, tokens_shape, **shapes):
        return (*tokens_shape, self.vocabulary_size)

    def _memory(self, values, mask):
        if (values is None) != (self.attention is None):
            raise ValueError(
                "Decoder has attention and needs `memory`, an encoded sequence of shape "
                "(batch, source, features)."
                if values is None
                else "Decoder got `memory` but has no attention: pass `attention=DotAttention()`, "
                "or give what it shall know as `initial_state`."
            )
        if values is None:
            return None
        values = ops.cast(ops.convert_to_tensor(values), self.compute_dtype)
        return Memory(values, mask, self.attention.keys(values))

    def _group(self, states):
        """Splits the flat list of states into one list for each cell."""
        states = list(states) if isinstance(states, list | tuple) else [states]
        if len(states) != len(self.state_sizes):
            raise ValueError(
                f"`initial_state` of Decoder must hold {len(self.state_sizes)} states of widths "
                f"{self.state_sizes}, got {len(states)}."
            )
        groups = []
        for layer in self.recurrent:
            count = len(layer.state_size)
            groups.append(states[:count])
            states = states[count:]
        return groups

    def _logits(self, hidden, training=False):
        """From cell outputs to logits, for one step (batch, width) or all (batch, time, width)."""
        read = self.drop(self.readout(hidden), training=training)
        kernel = self.embedding.embeddings if self.tie_embeddings else self.output_kernel
        kernel = ops.cast(kernel, read.dtype)
        kernel = ops.transpose(kernel) if self.tie_embeddings else kernel
        return ops.matmul(read, kernel) + ops.cast(self.output_bias, read.dtype)

    def step(self, token, states, memory=None, memory_mask=None):
        """Takes one token: the same numbers as one position of a call on the whole sequence.

        Args:
            token: (batch,).
            states: what the last step returned, or the initial states.
            memory, memory_mask: as in a call; or a `Memory` from `prepare`, whose attention
                keys are then not computed anew.

        Returns:
            `(logits, states, weights)`: logits (batch, vocabulary_size), the new states, and
            the attention weights (batch, source) or None.
        """
        if not isinstance(memory, Memory):
            memory = self._memory(memory, memory_mask)
        return self._step(token, states, memory)

    def _step(self, token, states, memory):
        hidden, new_states = self.embedding(token), []
        look = _Look(self.attention, memory)
        for layer, state in zip(self.recurrent, self._group(states), strict=True):
            hidden, state = layer.cell(hidden, state)
            new_states += list(state)
            hidden = look(hidden)
        return self._logits(hidden), new_states, look.weights

    def prepare(self, memory, memory_mask=None):
        """Returns the memory with its attention keys, for many calls of `step`."""
        return self._memory(memory, memory_mask)

    def _start(self, initial_state, memory, memory_mask):
        """Returns (prepared memory, initial states) for writing a batch of sequences."""
        if not self.built:
            raise ValueError(
                "Decoder has no weights yet. Call it on a batch of tokens, or train it, first."
            )
        memory = self._memory(memory, memory_mask)
        if initial_state is not None:
            return memory, [state for group in self._group(initial_state) for state in group]
        if memory is None:
            raise ValueError(
                "A decoder without attention needs an `initial_state` to start from: it says how "
                "many sequences there are, and is all that they can differ by."
            )
        batch = ops.shape(memory.values)[0]
        states = [s for layer in self.recurrent for s in layer.get_initial_state(batch)]
        return memory, states

    def _writing_step(self, memory):
        """Returns `(token, states) -> (logits, states)` for writing.

        Start and pad never follow another token: their logits leave them no chance.
        """
        never = ops.one_hot([self.start_id, self.pad_id], self.vocabulary_size)
        penalty = search.NEVER * ops.sum(never, axis=0)

        def step(token, states):
            logits, states, _ = self._step(token, states, memory)
            return ops.cast(logits, "float32") + penalty, states

        return step

    def greedy(self, *, max_length, initial_state=None, memory=None, memory_mask=None):
        """Writes the most probable next token at every step.

        Args:
            max_length: number of tokens to write at most, the end included.
            initial_state, memory, memory_mask: as in a call.

        Returns:
            `Sequences(tokens, scores)`: tokens (batch, max_length), filled up with `pad_id`
            after `end_id`, and scores (batch,), the log probability of each sequence.
        """
        return self._write(
            max_length, initial_state, memory, memory_mask, lambda logits, _: ops.argmax(logits, -1)
        )

    def sample(
        self,
        *,
        max_length,
        initial_state=None,
        memory=None,
        memory_mask=None,
        temperature=1.0,
        top_k=None,
        seed=None,
    ):
        """Draws every token from the model's distribution over the next one.

        Args:
            max_length: number of tokens to write at most, the end included.
            initial_state, memory, memory_mask: as in a call.
            temperature: logits are divided by it; below 1 bolder tokens become rarer.
            top_k: draw among the `top_k` most probable tokens only.
            seed: an integer, or a `keras.random.SeedGenerator` to go on drawing from.

        Returns:
            As `greedy`; scores are under the model itself, without temperature and top_k.

        Raises:
            ValueError: `temperature` is not positive, or `top_k` not a positive integer.
        """
        if not temperature > 0:
            raise ValueError(
                f"`temperature` must be positive, got {temperature!r}. For the most probable "
                "token at every step call `greedy`."
            )
        if top_k is not None:
            top_k = min(positive_integer("top_k", top_k), self.vocabulary_size)
        source = memory if memory is not None else _first(initial_state)
        if source is None:
            raise ValueError("`sample` needs `initial_state` or `memory` to start from.")
        # Drawn before the loop, one number a token: a loop must not change a generator's state.
        shape = (max_length, ops.shape(source)[0])
        uniform = keras.random.uniform(shape, dtype="float32", seed=seed)

        def choose(logits, step):
            return search.draw(logits / temperature, uniform[step], top_k)

        return self._write(max_length, initial_state, memory, memory_mask, choose)

    def _write(self, max_length, initial_state, memory, memory_mask, choose):
        memory, states = self._start(initial_state, memory, memory_mask)

        return search.write(
            self._writing_step(memory),
            states,
            choose,
            max_length=positive_integer("max_length", max_length),
            start_id=self.start_id,
            end_id=self.end_id,
            pad_id=self.pad_id,
        )

    def beam_search(
        self,
        *,
        max_length,
        initial_state=None,
        memory=None,
        memory_mask=None,
        beam_size=5,
        length_penalty=1.0,
    ):
        """Looks for the sequences of highest score, `beam_size` at a time.

            score = log p(tokens) / ((5 + length) / 6) ** length_penalty

        Args:
            max_length: number of tokens to write at most, the end included.
            initial_state, memory, memory_mask: as in a call.
            beam_size: number of open hypotheses, and of finished ones kept.
            length_penalty: 0 ranks by probability alone, which favours short sequences.

        Returns:
            `Sequences(tokens, scores)`: tokens (batch, beam_size, max_length), best first, and
            their scores (batch, beam_size). A sequence that did not end in time stands behind
            all that did.

        Raises:
            ValueError: `beam_size` is not a positive integer or `length_penalty` is negative.

        Reference: Wu et al., 2016, "Google's neural machine translation system".
        """
        beam_size = positive_integer("beam_size", beam_size)
        if length_penalty < 0:
            raise ValueError(f"`length_penalty` must be at least 0, got {length_penalty!r}.")
        memory, states = self._start(initial_state, memory, memory_mask)
        if memory is not None:
            memory = Memory(
                *(None if x is None else ops.repeat(x, beam_size, axis=0) for x in memory)
            )

        return search.beam_search(
            self._writing_step(memory),
            states,
            max_length=positive_integer("max_length", max_length),
            beam_size=beam_size,
            length_penalty=length_penalty,
            start_id=self.start_id,
            end_id=self.end_id,
            pad_id=self.pad_id,
        )

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "cells": [serialize(cell) for cell in self.cells],
            "vocabulary_size": self.vocabulary_size,
            "embedding_size": self.embedding_size,
            "start_id": self.start_id,
            "end_id": self.end_id,
            "pad_id": self.pad_id,
            "attention": serialize(self.attention),
            "readout_size": self.readout_size,
            "dropout": self.dropout,
            "tie_embeddings": self.tie_embeddings,
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        config["cells"] = [deserialize(cell) for cell in config["cells"]]
        config["attention"] = deserialize(config["attention"])
        return cls(**config)


def embedding_initializer(size, tied=False):
    """Returns an initializer for the vectors of tokens.

    Components of size 1 drive the gates from the first step on; Keras's default, within 0.05,
    starts them all at one half and costs a plateau. Tied vectors also weigh the output: there
    the vectors themselves have length 1.
    """
    return keras.initializers.RandomNormal(stddev=size**-0.5 if tied else 1.0)


def _first(states):
    return states[0] if isinstance(states, list | tuple) else states
