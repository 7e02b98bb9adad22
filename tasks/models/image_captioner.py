"""The model of image captioning: see an image, then write about it."""

import keras
from keras import ops

from rnn_topologies import layers

from ..data import vocabulary
from .encoder_decoder import ATTENTIONS
from .image_encoder import ImageEncoder, doubling

PLACES = 8  # a side at most, that the convolution leaves of an image


class PositionEmbedding(keras.layers.Layer):
    """A map of features as a sequence, with a vector added that says which place each one is.

    Call arguments:
        maps: (batch, height, width, features).

    Returns:
        (batch, height * width, features).
    """

    def build(self, maps_shape):
        _, height, width, features = maps_shape
        self.grid = (height, width)
        self.sequence = (height * width, features)
        self.embeddings = self.add_weight(
            name="places",
            shape=self.sequence,
            initializer=keras.initializers.RandomNormal(stddev=0.1),
        )
        self.built = True

    def call(self, maps):
        return ops.reshape(maps, (-1, *self.sequence)) + self.embeddings


class ImageCaptioner(keras.Model):
    """An encoder that sees the image, a decoder that writes the caption.

        memory       = encoder(image)                   a vector for each place of the image
        first states = tanh(relu(all of memory W + b) W' + b')
        logits       = decoder(previous tokens, first states, memory)

    Args:
        cell: a name of `layers.CELLS`.
        image_shape: (height, width, channels).
        vocabulary_size: number of tokens.
        units: size of each recurrent state.
        depth: number of recurrent layers.
        attention: "none", "dot" or "additive"; without it the first states are all that the
            decoder knows of the image.
        embedding_size: width of a token's vector.
        feature_size: size of the vector of the whole image.
        filters: filters in the first block of the convolution.
        pretrained: name of a model of `keras.applications` to see with instead; it stays as it
            is.
        download: whether to get the weights of that model.
        dropout: fraction to drop of the image's vector, of embedded tokens, between layers, and of
            the readout.

    Call arguments:
        inputs: `{"image": (batch, height, width, channels), "previous": (batch, captions,
            time)}`: several captions of each image, which is seen once.

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
            widths = doubling(filters, image_shape, PLACES)
            self.encoder = ImageEncoder(widths, dropout=dropout / 2)
        else:
            from .pretrained import PretrainedEncoder

            self.encoder = PretrainedEncoder(pretrained, image_shape, download=download)
        self.position_embedding = PositionEmbedding(name="places")
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
        self({"image": ops.zeros((1, *image_shape)), "previous": one_token})  # makes the weights

    def encode(self, image, training=False) -> dict:
        """Returns what the decoder starts from, as keyword arguments of its methods."""
        memory = self.position_embedding(self.encoder(image, training=training))
        whole = ops.reshape(memory, (-1, memory.shape[1] * memory.shape[2]))
        vector = self.drop(self.vector(whole), training=training)
        start = {"initial_state": self.initial_state(vector)}
        if self.decoder.attention is not None:
            start["memory"] = memory
        return start

    def call(self, inputs, training=False):
        start = self.encode(inputs["image"], training=training)
        previous = inputs["previous"]
        batch, captions, time = ops.shape(previous)
        start = keras.tree.map_structure(lambda part: ops.repeat(part, captions, axis=0), start)
        tokens = ops.reshape(previous, (-1, time))
        logits = self.decoder(tokens, **start, training=training)
        return ops.reshape(logits, (batch, captions, time, self.decoder.vocabulary_size))
