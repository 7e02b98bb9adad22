"""The image captioning model: an image encoder, and a decoder that attends to its feature map."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from rnn_topologies import layers
from rnn_topologies.layers.typing import Tensor

from ..data import vocabulary
from .encoder_decoder import ATTENTIONS
from .image_encoder import ImageEncoder, doubling_filters

MAX_MAP_SIDE = 8  # height and width of the feature map, at most


class PositionEmbedding(keras.layers.Layer):
    """Flattens a feature map into a sequence and adds a learned vector to each position.

    Call arguments:
        maps: (batch, height, width, features).

    Returns:
        (batch, height * width, features).
    """

    def build(self, input_shape: tuple[int, ...]) -> None:
        _, height, width, features = input_shape
        self.grid = (height, width)
        self.sequence_shape = (height * width, features)
        self.embeddings = self.add_weight(
            name="places",  # saved weights have this name
            shape=self.sequence_shape,
            initializer=keras.initializers.RandomNormal(stddev=0.1),
        )
        self.built = True

    def call(self, maps: Tensor) -> Tensor:
        return ops.reshape(maps, (-1, *self.sequence_shape)) + self.embeddings


class ImageCaptioner(keras.Model):
    """Encodes an image and decodes captions of it.

        memory         = encoder(image) + position embedding       one vector per position
        initial states = tanh(relu(flattened memory W + b) W' + b')
        logits         = decoder(previous tokens, initial states, memory)

    Args:
        cell: key of `layers.CELLS`.
        image_shape: (height, width, channels).
        vocabulary_size: number of tokens.
        units: size of each recurrent state.
        depth: number of recurrent layers.
        attention: "none", "dot" or "additive". With "none" the decoder sees the image only
            through its initial states.
        embedding_size: size of the token embeddings.
        feature_size: size of the vector of the whole image.
        filters: filters of the first convolutional block.
        pretrained: name of a model in `keras.applications` to use, frozen, instead of the
            convolutional blocks.
        download: whether to download the weights of that model.
        dropout: fraction to drop of the vector of the image, of the embedded tokens, between
            recurrent layers, and of the readout.

    Call arguments:
        inputs: `{"image": (batch, height, width, channels), "previous": (batch, captions,
            time)}`. All captions of an image share one pass of the encoder.

    Returns:
        logits (batch, captions, time, vocabulary_size).

    References: Vinyals et al., 2015, "Show and tell"; Xu et al., 2015, "Show, attend and tell".
    """

    def __init__(
        self,
        *,
        cell: str,
        image_shape: tuple[int, int, int],
        vocabulary_size: int,
        units: int,
        depth: int = 1,
        attention: str = "dot",
        embedding_size: int,
        feature_size: int = 256,
        filters: int = 16,
        pretrained: str | None = None,
        download: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__(name="image_captioner")
        if pretrained is None:
            block_filters = doubling_filters(filters, image_shape, MAX_MAP_SIDE)
            self.encoder = ImageEncoder(block_filters, dropout=dropout / 2)
        else:
            from .pretrained import PretrainedEncoder

            self.encoder = PretrainedEncoder(pretrained, image_shape, download=download)
        self.position_embedding = PositionEmbedding(name="places")  # saved weights have this name
        self.vector = keras.layers.Dense(feature_size, activation="relu", name="vector")
        self.drop = keras.layers.Dropout(dropout)
        self.decoder = layers.Decoder(
            [layers.CELLS[cell].cell(units, name="cell") for _ in range(depth)],
            vocabulary_size=vocabulary_size,
            embedding_size=embedding_size,
            start_id=vocabulary.START,
            end_id=vocabulary.END,
            pad_id=vocabulary.PAD,
            attention=ATTENTIONS[attention](units),
            dropout=dropout,
            name="decoder",
        )
        self.initial_state = layers.InitialState(self.decoder.state_sizes, name="initial_state")
        one_token = ops.full((1, 1, 1), vocabulary.START, dtype="int32")
        self({"image": ops.zeros((1, *image_shape)), "previous": one_token})  # builds the weights

    def encode(self, image: Tensor, training: bool = False) -> dict[str, Any]:
        """Returns what the decoder needs to know of the image, as keyword arguments for it."""
        memory = self.position_embedding(self.encoder(image, training=training))
        flat = ops.reshape(memory, (-1, memory.shape[1] * memory.shape[2]))
        vector = self.drop(self.vector(flat), training=training)
        encoded = {"initial_state": self.initial_state(vector)}
        if self.decoder.attention is not None:
            encoded["memory"] = memory
        return encoded

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        encoded = self.encode(inputs["image"], training=training)
        previous = inputs["previous"]
        batch, captions, time = ops.shape(previous)
        repeated = keras.tree.map_structure(lambda x: ops.repeat(x, captions, axis=0), encoded)
        tokens = ops.reshape(previous, (-1, time))
        logits = self.decoder(tokens, **repeated, training=training)
        return ops.reshape(logits, (batch, captions, time, self.decoder.vocabulary_size))
