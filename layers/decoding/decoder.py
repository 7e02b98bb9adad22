"""The autoregressive decoder: training by teacher forcing, stepping and decoding."""

import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self, Unpack

import keras
from keras import ops, tree

from ..arguments import LayerOptions, boolean, optional_integer, positive_integer, rate
from ..cells.contract import output_shape
from ..cells.states import state_specs, zero_padding
from ..inputs import as_mask, check_dense
from ..rnn import RNN
from ..typing import Shape, States, Tensor
from . import search
from .attention import Attention


class Memory(NamedTuple):
    """What a decoder attends to: an encoded sequence, its mask and its attention keys."""

    values: Tensor
    mask: Tensor | None
    keys: Tensor


class _ContextJoiner:
    """Appends one attention context, computed from the first cell's output, to every output."""

    def __init__(self, attention: Attention | None, memory: Memory | None) -> None:
        self.attention, self.memory = attention, memory
        self.context: Tensor | None = None
        self.weights: Tensor | None = None

    def __call__(self, hidden: Tensor) -> Tensor:
        if self.attention is None or self.memory is None:
            return hidden
        if self.context is None:
            self.context, self.weights = self.attention(
                hidden, self.memory.values, mask=self.memory.mask, keys=self.memory.keys
            )
        return ops.concatenate([hidden, self.context], axis=-1)


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Decoder(keras.layers.Layer):
    """A recurrent language model, conditioned on its initial state and optionally on a memory.

        h_t, states_t = cell(embedding(token_t), states_{t-1})
        context_t, w_t = attention(h_t, memory)                 only with attention
        r_t = tanh([h_t, context_t] W_r + b_r)
        logits_t = r_t W_o + b_o                                scores of token_{t+1}

    With several cells, attention is computed from the output of the first one, and every further
    cell reads [h_t, context_t] of the cell below. The context thus enters the states, and yet each
    cell is a single loop over the whole sequence.

    One set of weights serves every use. Called on whole target sequences, the decoder trains by
    teacher forcing; `step` reads one token at a time; `greedy`, `sample` and `beam_search` decode
    a whole batch at once and stop when all its sequences have ended. Each of these runs eagerly,
    in `tf.function`, under `jax.jit`, or inside a `keras.Model`.

    Weights:
        embedding (vocabulary_size, embedding_size), those of the cells and of the attention,
        readout W_r (units + memory features, readout_size), output W_o
        (readout_size, vocabulary_size), or with `tie_embeddings` the transposed embedding.

    Args:
        cells: a cell, or a list of cells, each reading the outputs of the one before.
        vocabulary_size: number of tokens, including the special ones.
        embedding_size: dimension of the token embeddings.
        start_id, end_id: tokens that start and end every sequence.
        pad_id: token that pads a sequence after its end.
        attention: `DotAttention`, `AdditiveAttention`, a layer with the same methods, or None.
        readout_size: dimension of r; that of the last cell's output if None.
        dropout: dropout rate of the embedded tokens, between cells, and of r.
        tie_embeddings: whether W_o is the transposed embedding; `readout_size` is then
            `embedding_size`.

    Call arguments:
        tokens: (batch, time), starting with `start_id`.
        initial_state: list of the initial states of all cells, in order, each (batch, units),
            flat or nested; zeros if None. `state_sizes` lists their sizes.
        memory: (batch, source, features), the encoded sequence to attend to.
        memory_mask: (batch, source), true at valid steps; None if all are valid.
        return_weights: whether to return the attention weights as well.
        training: whether to apply dropout.

    Returns:
        Logits (batch, time, vocabulary_size); with `return_weights`, a tuple of the logits and the
        attention weights (batch, time, source). The logits at a position do not depend on later
        tokens, so that padding at the end needs no mask here, only in the loss.

    Raises:
        ValueError: sizes or special tokens are inconsistent; attention without memory, or memory
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

    output_kernel: keras.Variable
    output_bias: keras.Variable

    def __init__(
        self,
        cells: keras.layers.Layer | Sequence[keras.layers.Layer],
        *,
        vocabulary_size: int,
        embedding_size: int,
        start_id: int,
        end_id: int,
        pad_id: int = 0,
        attention: Attention | None = None,
        readout_size: int | None = None,
        dropout: float = 0.0,
        tie_embeddings: bool = False,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.cells: list[Any] = list(cells) if isinstance(cells, list | tuple) else [cells]
        if not self.cells:
            raise ValueError("`cells` must contain at least one cell, got an empty list.")
        self.vocabulary_size = positive_integer("vocabulary_size", vocabulary_size)
        self.embedding_size = positive_integer("embedding_size", embedding_size)
        ids = {"start_id": start_id, "end_id": end_id, "pad_id": pad_id}
        self.start_id, self.end_id, self.pad_id = self._checked_tokens(ids).values()
        self.tie_embeddings = boolean("tie_embeddings", tie_embeddings)
        if tie_embeddings and readout_size not in (None, embedding_size):
            raise ValueError(
                f"With `tie_embeddings`, `readout_size` is `embedding_size` ({embedding_size}), "
                f"got {readout_size!r}."
            )
        default_size = (
            embedding_size if tie_embeddings else output_shape(self.cells[-1], (None, 1))[-1]
        )
        readout_size = default_size if readout_size is None else readout_size
        self.readout_size = positive_integer("readout_size", readout_size)
        self.dropout = rate("dropout", dropout)
        if isinstance(attention, str | type):
            raise TypeError(
                "`attention` must be a layer, such as `DotAttention()`, or None, got "
                f"{attention!r}."
            )
        self.attention = attention
        initializer: Any = embedding_initializer(embedding_size, tie_embeddings)
        self.embedding = keras.layers.Embedding(
            self.vocabulary_size,
            self.embedding_size,
            embeddings_initializer=initializer,
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

    def _checked_tokens(self, ids: dict[str, Any]) -> dict[str, int]:
        for name, value in ids.items():
            is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
            if not is_integer or value not in range(self.vocabulary_size):
                raise ValueError(
                    f"`{name}` must be a token of the vocabulary, 0 to "
                    f"{self.vocabulary_size - 1}, got {value!r}."
                )
        if len(set(ids.values())) < len(ids):
            raise ValueError(f"`start_id`, `end_id` and `pad_id` must differ, got {ids}.")
        return {name: int(value) for name, value in ids.items()}

    @property
    def state_sizes(self) -> list[int]:
        """Sizes of the states of all cells, in order."""
        return [spec.shape[-1] for spec in tree.flatten(self._state_specs())]

    def _state_specs(self) -> list[list[Any]]:
        """Returns the structure of each cell's states."""
        return [state_specs(layer.cell) for layer in self.recurrent]

    def build(
        self,
        tokens_shape: Shape,
        initial_state_shape: Any = None,
        memory_shape: Shape | None = None,
        memory_mask_shape: Shape | None = None,
    ) -> None:
        self.embedding.build(tokens_shape)
        shape: Any = (*tokens_shape, self.embedding_size)
        context_size = 0
        for index, layer in enumerate(self.recurrent):
            layer.build(shape)
            shape = (*tokens_shape, output_shape(layer.cell, (None, shape[-1]))[-1])
            if index == 0 and self.attention is not None and memory_shape is not None:
                if not self.attention.built:  # already built when a model is being loaded
                    self.attention.build(shape, memory_shape)
                context_size = memory_shape[-1]
            shape = (*tokens_shape, shape[-1] + context_size)
        self.readout.build(shape)
        if not self.tie_embeddings:
            self.output_kernel = self.add_weight(
                name="output_kernel", shape=(self.readout_size, self.vocabulary_size)
            )
        self.output_bias = self.add_weight(
            name="output_bias", shape=(self.vocabulary_size,), initializer="zeros"
        )
        self.built = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tokens = args[0] if args else kwargs.get("tokens")
        check_dense("Decoder", "tokens", tokens, "Pad them with `pad_id` to a single array.")
        check_dense("Decoder", "memories", kwargs.get("memory"))
        shape = getattr(tokens, "shape", None)
        if shape is not None and len(shape) != 2:
            raise ValueError(f"`tokens` of Decoder must be (batch, time), got {tuple(shape)}.")
        return super().__call__(*args, **kwargs)

    def call(
        self,
        tokens: Tensor,
        initial_state: States | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        return_weights: bool = False,
        training: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        prepared = self._prepare_memory(memory, memory_mask)
        states = self._split_states(initial_state) if initial_state is not None else None
        hidden = self.drop(self.embedding(tokens), training=training)
        join_context = _ContextJoiner(self.attention, prepared)
        for index, layer in enumerate(self.recurrent):
            if index:
                hidden = self.drop(hidden, training=training)
            state = states[index] if states else None
            hidden, *_ = layer(hidden, initial_state=state, training=training)
            hidden = join_context(hidden)
        logits = self._logits(hidden, training)
        return (logits, join_context.weights) if return_weights else logits

    def compute_output_shape(self, tokens_shape: Shape, **shapes: Any) -> Shape:
        return (*tokens_shape, self.vocabulary_size)

    def _prepare_memory(self, values: Any, mask: Tensor | None) -> Memory | None:
        if values is None and self.attention is not None:
            raise ValueError(
                "Decoder has attention and needs `memory`, an encoded sequence of shape "
                "(batch, source, features)."
            )
        if values is None:
            return None
        if self.attention is None:
            raise ValueError(
                "Decoder got `memory` but has no attention: pass `attention=DotAttention()`, or "
                "condition the decoder through `initial_state`."
            )
        check_dense("Decoder", "memories", values)
        values = ops.cast(ops.convert_to_tensor(values), self.compute_dtype)
        if len(values.shape) != 3:
            raise ValueError(
                "`memory` of Decoder must have shape (batch, source, features), got "
                f"{tuple(values.shape)}."
            )
        if mask is not None:
            mask = as_mask(mask, values, "the memory's shape (batch, source)")
            values = zero_padding(mask, values)
        return Memory(values, mask, self.attention.keys(values))

    def _split_states(self, states: States | Tensor) -> list[list[Tensor]]:
        """Splits the states into those of each cell, in the structure that the cell expects."""
        states = tree.flatten(states)
        if len(states) != len(self.state_sizes):
            raise ValueError(
                f"`initial_state` of Decoder must contain {len(self.state_sizes)} states of sizes "
                f"{self.state_sizes}, got {len(states)}."
            )
        return tree.pack_sequence_as(self._state_specs(), states)

    def _logits(self, hidden: Tensor, training: bool = False) -> Tensor:
        """Returns the logits of one step (batch, features) or of all (batch, time, features)."""
        readout = self.drop(self.readout(hidden), training=training)
        kernel = self.embedding.embeddings if self.tie_embeddings else self.output_kernel
        kernel = ops.cast(kernel, readout.dtype)
        kernel = ops.transpose(kernel) if self.tie_embeddings else kernel
        return ops.matmul(readout, kernel) + ops.cast(self.output_bias, readout.dtype)

    def step(
        self,
        token: Tensor,
        states: States,
        memory: Tensor | Memory | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Reads one token: computes the same as one position of a call on the whole sequence.

        Args:
            token: (batch,).
            states: the states that the previous step returned, or the initial states.
            memory, memory_mask: see `Decoder`; or a `Memory` from `prepare`, whose attention keys
                are reused.

        Returns:
            `(logits, states, weights)`: logits (batch, vocabulary_size), the new states, and
            the attention weights (batch, source) or None.
        """
        if not isinstance(memory, Memory):
            memory = self._prepare_memory(memory, memory_mask)
        return self._step(token, states, memory)

    def _step(
        self, token: Tensor, states: States, memory: Memory | None
    ) -> tuple[Tensor, list[Tensor], Tensor | None]:
        hidden, new_states = self.embedding(token), []
        join_context = _ContextJoiner(self.attention, memory)
        for layer, cell_states in zip(self.recurrent, self._split_states(states), strict=True):
            hidden, cell_states = layer.cell(hidden, cell_states)
            new_states += tree.flatten(cell_states)
            hidden = join_context(hidden)
        return self._logits(hidden), new_states, join_context.weights

    def prepare(self, memory: Tensor | None, memory_mask: Tensor | None = None) -> Memory | None:
        """Returns the memory with its attention keys, to be reused by many calls of `step`."""
        return self._prepare_memory(memory, memory_mask)

    def _prepare_decoding(
        self, initial_state: States | None, memory: Tensor | None, memory_mask: Tensor | None
    ) -> tuple[Memory | None, list[Tensor]]:
        """Returns (prepared memory, initial states) for decoding a batch of sequences."""
        if not self.built:
            raise ValueError(
                "Decoder has no weights yet. Train it, or call it on a batch of tokens first."
            )
        prepared = self._prepare_memory(memory, memory_mask)
        if initial_state is not None:
            return prepared, tree.flatten(self._split_states(initial_state))
        if prepared is None:
            raise ValueError(
                "A decoder without attention needs an `initial_state` to start from: it determines "
                "the batch size and is all that its sequences can differ in."
            )
        batch = ops.shape(prepared.values)[0]
        return prepared, tree.flatten([c.get_initial_state(batch) for c in self.recurrent])

    def _decoding_step(self, memory: Memory | None) -> search.Step:
        """Returns `(token, states) -> (logits, states)` for decoding.

        Start and pad never follow another token: their logits are lowered to exclude them.
        """
        excluded = ops.one_hot([self.start_id, self.pad_id], self.vocabulary_size)
        penalty = search.NEVER * ops.sum(excluded, axis=0)

        def step(token, states):
            logits, states, _ = self._step(token, states, memory)
            return ops.cast(logits, "float32") + penalty, states

        return step

    def greedy(
        self,
        *,
        max_length: int,
        initial_state: States | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> search.Sequences:
        """Decodes greedily: takes the most probable token at every step.

        Args:
            max_length: maximum number of tokens, including the end token.
            initial_state, memory, memory_mask: see `Decoder`.

        Returns:
            `Sequences(tokens, scores)`: tokens (batch, max_length), padded with `pad_id` after
            `end_id`, and scores (batch,), the log probability of each sequence.
        """
        return self._generate(
            max_length, initial_state, memory, memory_mask, lambda logits, _: ops.argmax(logits, -1)
        )

    def sample(
        self,
        *,
        max_length: int,
        initial_state: States | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int | keras.random.SeedGenerator | None = None,
    ) -> search.Sequences:
        """Samples every token from the model's distribution over the next token.

        Args:
            max_length: maximum number of tokens, including the end token.
            initial_state, memory, memory_mask: see `Decoder`.
            temperature: divides the logits; below 1, improbable tokens become rarer.
            top_k: sample from the `top_k` most probable tokens only.
            seed: an integer, or a `keras.random.SeedGenerator` for a new sample in every call.

        Returns:
            See `greedy`. The scores are those of the model, without temperature and `top_k`.

        Raises:
            ValueError: `temperature` is not positive, or `top_k` is not a positive integer.
        """
        if not temperature > 0:
            raise ValueError(
                f"`temperature` must be positive, got {temperature!r}. To take the most probable "
                "token at every step, call `greedy`."
            )
        if top_k is not None:
            top_k = min(positive_integer("top_k", top_k), self.vocabulary_size)
        source = memory if memory is not None else _first_state(initial_state)
        if source is None:
            raise ValueError("`sample` needs `initial_state` or `memory` to start from.")
        # Draw all random numbers before the loop, one per token: a loop must not change the state
        # of a generator.
        if not isinstance(seed, keras.random.SeedGenerator):
            seed = optional_integer("seed", seed)
        batch = ops.shape(source)[0]
        max_length = positive_integer("max_length", max_length)
        uniform = keras.random.uniform((max_length, batch), dtype="float32", seed=seed)

        def choose(logits, t):
            return search.sample_tokens(logits / temperature, uniform[t], top_k)

        return self._generate(max_length, initial_state, memory, memory_mask, choose)

    def _generate(
        self,
        max_length: int,
        initial_state: States | None,
        memory: Tensor | None,
        memory_mask: Tensor | None,
        choose: Callable[[Tensor, Tensor], Tensor],
    ) -> search.Sequences:
        prepared, states = self._prepare_decoding(initial_state, memory, memory_mask)
        return search.generate(
            self._decoding_step(prepared),
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
        max_length: int,
        initial_state: States | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        beam_size: int = 5,
        length_penalty: float = 1.0,
    ) -> search.Sequences:
        """Searches for the sequences with the highest score, keeping `beam_size` hypotheses.

            score = log p(tokens) / ((5 + length) / 6) ** length_penalty

        Args:
            max_length: maximum number of tokens, including the end token.
            initial_state, memory, memory_mask: see `Decoder`.
            beam_size: number of open hypotheses, and of finished ones to keep.
            length_penalty: exponent of the length norm; 0 ranks by probability alone, which
                favours short sequences.

        Returns:
            `Sequences(tokens, scores)`: tokens (batch, beam_size, max_length), best first, and
            their scores (batch, beam_size). Sequences without an end token rank below all others.

        Raises:
            ValueError: `beam_size` is not a positive integer or `length_penalty` is negative.

        Reference: Wu et al., 2016, "Google's neural machine translation system".
        """
        beam_size = positive_integer("beam_size", beam_size)
        if length_penalty < 0:
            raise ValueError(f"`length_penalty` must be at least 0, got {length_penalty!r}.")
        prepared, states = self._prepare_decoding(initial_state, memory, memory_mask)
        if prepared is not None:
            prepared = Memory(
                *(None if x is None else ops.repeat(x, beam_size, axis=0) for x in prepared)
            )
        return search.beam_search(
            self._decoding_step(prepared),
            states,
            max_length=positive_integer("max_length", max_length),
            beam_size=beam_size,
            length_penalty=length_penalty,
            start_id=self.start_id,
            end_id=self.end_id,
            pad_id=self.pad_id,
        )

    def get_config(self) -> dict[str, Any]:
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
    def from_config(cls, config: dict[str, Any]) -> Self:
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        config["cells"] = [deserialize(cell) for cell in config["cells"]]
        config["attention"] = deserialize(config["attention"])
        return cls(**config)


def embedding_initializer(size: int, tied: bool = False) -> keras.initializers.Initializer:
    """Returns an initializer for token embeddings.

    With components of standard deviation 1, the gates respond to the tokens from the first
    training step on. Keras's default, uniform within 0.05, leaves all gates at one half and costs
    a plateau. Tied embeddings are also the output kernel, for which the vectors have length 1.

    Args:
        size: dimension of the embeddings.
        tied: whether the embeddings are also the output kernel.
    """
    return keras.initializers.RandomNormal(stddev=size**-0.5 if tied else 1.0)


def _first_state(states: States | Tensor | None) -> Tensor | None:
    return None if states is None else tree.flatten(states)[0]
