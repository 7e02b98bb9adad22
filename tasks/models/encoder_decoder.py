"""The model of unaligned translation: read a whole sequence, then write another."""

import keras
from keras import ops

from rnn_topologies import layers

from ..data import vocabulary
from .recurrence import Recurrence

ATTENTIONS = {
    "none": lambda units: None,
    "dot": lambda units: layers.DotAttention(bilinear=True, name="attention"),
    "additive": lambda units: layers.AdditiveAttention(units, name="attention"),
}


class EncoderDecoder(keras.Model):
    """An encoder that reads the source, a decoder that writes the target.

        memory, last states = encoder(source)
        first states        = tanh(last states W + b)
        logits              = decoder(previous tokens, first states, memory)

    Args:
        cell: a name of `layers.CELLS`.
        source_size, target_size: numbers of tokens.
        units: size of each recurrent state; a direction of a bidirectional encoder has as many.
        depth: number of recurrent layers of the encoder and of the decoder.
        bidirectional: whether the encoder reads both ways.
        attention: "none", "dot" or "additive".
        embedding_size: width of a token's vector.
        dropout: fraction to drop of the embedded tokens, between layers, and of the readout.
        tie_embeddings: whether the decoder's output weights are its embedding transposed.

    Call arguments:
        inputs: `{"source": (batch, source), "previous": (batch, target)}`, tokens.

    Returns:
        logits (batch, target, target_size).
    """

    def __init__(
        self,
        *,
        cell: str,
        source_size: int,
        target_size: int,
        units: int,
        depth: int = 1,
        bidirectional: bool = True,
        attention: str = "dot",
        embedding_size: int,
        dropout: float = 0.0,
        tie_embeddings: bool = False,
    ):
        super().__init__(name="encoder_decoder")
        self.embedding = keras.layers.Embedding(
            source_size,
            embedding_size,
            embeddings_initializer=layers.embedding_initializer(embedding_size),
            name="embedding",
        )
        self.drop = keras.layers.Dropout(dropout)
        self.encoder = Recurrence(
            cell,
            units,
            depth=depth,
            bidirectional=bidirectional,
            dropout=dropout,
            name="encoder",
        )
        self.decoder = layers.Decoder(
            [layers.CELLS[cell].cell(units, name="cell") for _ in range(depth)],
            vocabulary_size=target_size,
            embedding_size=embedding_size,
            start_id=vocabulary.START,
            end_id=vocabulary.END,
            pad_id=vocabulary.PAD,
            attention=ATTENTIONS[attention](units),
            dropout=dropout,
            tie_embeddings=tie_embeddings,
            name="decoder",
        )
        self.initial_state = layers.InitialState(self.decoder.state_sizes, name="initial_state")
        one_token = ops.full((1, 1), vocabulary.START, dtype="int32")
        self({"source": one_token, "previous": one_token})  # makes the weights

    def encode(self, source, training=False) -> dict:
        """Returns what the decoder starts from, as keyword arguments of its methods."""
        mask = ops.not_equal(source, vocabulary.PAD)
        hidden = self.drop(self.embedding(source), training=training)
        hidden, states = self.encoder(hidden, mask=mask, training=training)
        start = {"initial_state": self.initial_state(ops.concatenate(states, axis=-1))}
        if self.decoder.attention is not None:
            start |= {"memory": hidden, "memory_mask": mask}
        return start

    def call(self, inputs, training=False):
        start = self.encode(inputs["source"], training=training)
        return self.decoder(inputs["previous"], **start, training=training)


class Generator(keras.Model):
    """A trained model that writes freely: its `predict` returns tokens.

    A model of its own, so that Keras compiles the whole loop, encoder and search, on every
    backend.

    Args:
        model: a model with `encode(inputs) -> dict` and a `decoder`.
        max_length: tokens to write at most.
        beam_size: 1 writes greedily; more searches with this many beams.
        length_penalty: of the beam search.

    Returns:
        tokens (batch, beam_size, max_length), best first.
    """

    def __init__(self, model, *, max_length: int, beam_size: int = 1, length_penalty: float = 1.0):
        super().__init__(name="generator")
        self.model = model
        self.max_length = max_length
        self.beam_size = beam_size
        self.length_penalty = length_penalty

    def call(self, inputs):
        start = self.model.encode(inputs)
        if self.beam_size == 1:
            written = self.model.decoder.greedy(max_length=self.max_length, **start)
            return ops.expand_dims(written.tokens, 1)
        return self.model.decoder.beam_search(
            max_length=self.max_length,
            beam_size=self.beam_size,
            length_penalty=self.length_penalty,
            **start,
        ).tokens
