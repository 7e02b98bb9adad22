"""The translation model: an encoder reads the source, a decoder generates the target."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
from keras import ops

from rnn_topologies import layers
from rnn_topologies.layers.typing import Tensor

from .. import progress
from ..data import vocabulary
from . import compilation
from .prediction import predict_batches
from .recurrence import Recurrence

if TYPE_CHECKING:
    from ..data.batching import Batches

ATTENTIONS: dict[str, Callable[[int], keras.layers.Layer | None]] = {
    "none": lambda units: None,
    "dot": lambda units: layers.DotAttention(bilinear=True, name="attention"),
    "additive": lambda units: layers.AdditiveAttention(units, name="attention"),
}


class EncoderDecoder(keras.Model):
    """Encodes a source sequence and decodes a target sequence from it.

        memory, final states = encoder(source)
        initial states       = tanh(final states W + b)
        logits               = decoder(previous tokens, initial states, memory)

    Args:
        cell: key of `layers.CELLS`.
        source_size, target_size: number of source and target tokens.
        units: size of each recurrent state, per direction of the encoder.
        depth: number of recurrent layers of the encoder, and of the decoder.
        bidirectional: whether the encoder reads the source in both directions.
        attention: "none", "dot" or "additive".
        embedding_size: size of the token embeddings.
        dropout: fraction to drop of the embedded tokens, between recurrent layers, and of the
            readout.
        tie_embeddings: whether the output weights of the decoder are its transposed embedding.

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
        initializer: Any = layers.embedding_initializer(embedding_size)
        self.embedding = keras.layers.Embedding(
            source_size,
            embedding_size,
            embeddings_initializer=initializer,
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
        self({"source": one_token, "previous": one_token})  # builds the weights

    def encode(self, source: Tensor, training: bool = False) -> dict[str, Any]:
        """Returns what the decoder needs to know of the source, as keyword arguments for it."""
        mask = ops.not_equal(source, vocabulary.PAD)
        hidden = self.drop(self.embedding(source), training=training)
        hidden, states = self.encoder(hidden, mask=mask, training=training)
        encoded = {"initial_state": self.initial_state(ops.concatenate(states, axis=-1))}
        if self.decoder.attention is not None:
            encoded |= {"memory": hidden, "memory_mask": mask}
        return encoded

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        encoded = self.encode(inputs["source"], training=training)
        return self.decoder(inputs["previous"], **encoded, training=training)


class GenerativeModel(Protocol):
    """A model with a decoder: `EncoderDecoder` or `ImageCaptioner`."""

    decoder: layers.Decoder

    def encode(self, inputs: Tensor, /, training: bool = False) -> dict[str, Any]: ...


class Generator(keras.Model):
    """Free-running decoding with a trained model: `predict` returns tokens.

    It is a model itself so that Keras compiles encoder and search together on every backend.

    Args:
        model: the trained model.
        max_length: maximum number of tokens to generate.
        beam_size: number of beams; 1 decodes greedily.
        length_penalty: exponent of the length penalty of the beam search.

    Call arguments:
        inputs: what `model.encode` takes.

    Returns:
        tokens (batch, beam_size, max_length), the best sequence first.
    """

    def __init__(
        self,
        model: GenerativeModel,
        *,
        max_length: int,
        beam_size: int = 1,
        length_penalty: float = 1.0,
    ):
        super().__init__(name="generator")
        self.model = model
        self.max_length = max_length
        self.beam_size = beam_size
        self.length_penalty = length_penalty

    def call(self, inputs: Tensor) -> Tensor:
        encoded = self.model.encode(inputs)
        if self.beam_size == 1:
            greedy = self.model.decoder.greedy(max_length=self.max_length, **encoded)
            return ops.expand_dims(greedy.tokens, 1)
        return self.model.decoder.beam_search(
            max_length=self.max_length,
            beam_size=self.beam_size,
            length_penalty=self.length_penalty,
            **encoded,
        ).tokens


def generate(
    model: GenerativeModel,
    batches: "Batches",
    *,
    longest: int,
    beam_size: int,
    length_penalty: float,
) -> list[np.ndarray]:
    """Returns generated tokens (beam_size, time) for each example, the best sequence first.

    Args:
        model: the trained model.
        batches: batches of its inputs.
        longest: length of the longest training target in tokens. Outputs may be a tenth longer.
        beam_size, length_penalty: see `Generator`.
    """
    generator: Any = Generator(
        model,
        max_length=math.ceil(1.1 * longest) + 1,
        beam_size=beam_size,
        length_penalty=length_penalty,
    )
    generator.compile(jit_compile=compilation.jit_compile())
    with progress.part(f"decoding {batches.num_examples:,} inputs") as advance:
        return batches.restore_order(predict_batches(generator, batches, advance))


def evaluate_teacher_forced(model: Any, batches: "Batches") -> dict[str, float]:
    """Returns the metrics of a decoder that reads the true previous tokens.

    They are means over the tokens that are not padding: the cross entropy in nats, the perplexity
    and the accuracy, 0 to 1.

    Args:
        model: a compiled model.
        batches: batches of inputs, targets and weights.
    """
    with progress.part("cross entropy"):
        logs = model.evaluate(batches, verbose=0, return_dict=True)
    return {
        "cross_entropy": logs["cross_entropy"],
        "perplexity": math.exp(min(logs["cross_entropy"], 700)),  # math.exp overflows above 709
        "token_accuracy": logs["token_accuracy"],
    }
