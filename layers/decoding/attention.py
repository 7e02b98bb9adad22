"""Attention: a weighted sum over an encoded sequence, with weights computed from a query."""

from typing import Any, Unpack

import keras
from keras import ops

from ..arguments import LayerOptions, boolean, positive_integer
from ..cells.states import zero_padding
from ..inputs import as_mask, check_batch, check_features
from ..typing import Shape, Tensor


class Attention(keras.layers.Layer):
    """The base class of the attention layers: subclasses differ in their score function.

        weights = softmax over source of score(query, memory)      padded steps get weight 0
        context = sum over source of weights * memory

    A subclass implements `keys(memory)`, the part of the score that is computed once per sequence,
    and `score(query, keys)`. A row without valid steps gets zero weights and a zero context.
    Values of the memory at padded steps, even NaN, affect neither results nor gradients.
    """

    def __init__(self, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        # Accept a query that carries a mask, but do not propagate it: it does not apply to context.
        self.supports_masking = True

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        return None

    def build(self, query_shape: Shape, memory_shape: Shape) -> None:
        self.built = True

    def keys(self, memory: Tensor) -> Tensor:
        """Returns the attention keys of a memory, (batch, source, key features)."""
        raise NotImplementedError(f"{type(self).__name__} must implement `keys`.")

    def score(self, query: Tensor, keys: Tensor) -> Tensor:
        """Returns the scores of queries (batch, steps, features): (batch, steps, source)."""
        raise NotImplementedError(f"{type(self).__name__} must implement `score`.")

    def call(
        self,
        query: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        keys: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        mask = memory_mask if mask is None else mask
        is_single_step = len(query.shape) == 2
        if is_single_step:
            query = ops.expand_dims(query, 1)
        check_batch(type(self).__name__, memory, query)
        if mask is not None:
            mask = as_mask(mask, memory, "the memory's shape (batch, source)")
            memory = zero_padding(mask, memory)
            keys = None if keys is None else zero_padding(mask, keys)
        scores = self.score(query, self.keys(memory) if keys is None else keys)
        weights = _masked_softmax(scores, mask)
        context = ops.matmul(ops.cast(weights, memory.dtype), memory)
        if is_single_step:
            return ops.squeeze(context, 1), ops.squeeze(weights, 1)
        return context, weights

    def compute_output_shape(self, query_shape: Shape, memory_shape: Shape) -> tuple[Shape, Shape]:
        *leading, _ = query_shape
        return (*leading, memory_shape[-1]), (*leading, memory_shape[1])


def _masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the softmax over valid steps; zeros for rows without valid steps."""
    # Softmax in float32 under any dtype policy: sums over long memories lose too much precision in
    # 16 bits.
    scores = ops.cast(scores, "float32")
    valid = None if mask is None else ops.expand_dims(mask, 1)
    if valid is not None:
        # Mask before softmax: a padded step must not take probability.
        scores = ops.where(valid, scores, -1e9)
    exponentials = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
    if valid is not None:
        exponentials = ops.where(valid, exponentials, 0.0)
    # The largest exponential is 1, unless no step is valid: then all are 0 and stay 0.
    return exponentials / ops.maximum(ops.sum(exponentials, axis=-1, keepdims=True), 0.5)


@keras.saving.register_keras_serializable(package="rnn_topologies")
class DotAttention(Attention):
    """Dot-product attention.

        score(q, m) = q . m            query and memory have the same number of features
        score(q, m) = q . (m W)        bilinear=True ("general")

    Weights:
        kernel W (memory features, query features), with `bilinear` only.

    Args:
        bilinear: whether to learn a matrix between query and memory, which may then differ in
            their number of features.
        scale: whether to multiply scores by 1 / sqrt(query features).

    Call arguments:
        query: (batch, features) or (batch, steps, features).
        memory: (batch, source, memory features).
        mask: (batch, source), true at valid steps of the memory; None if all are valid.
        keys: the result of `keys(memory)`, to avoid recomputing it for every query.
        memory_mask: set by Keras to the mask that the layer before attached to the memory; used if
            `mask` is None.

    Returns:
        `(context, weights)`: context (batch, [steps,] memory features), weights
        (batch, [steps,] source), which sum to 1 over the valid steps of the memory.

    Raises:
        ValueError: query and memory have different numbers of features and `bilinear` is False.

    Example:
        >>> attention = DotAttention()
        >>> mask = np.array([[True, True, False]])
        >>> context, weights = attention(np.ones((1, 4)), np.ones((1, 3, 4)), mask=mask)
        >>> [float(w) for w in weights[0]]
        [0.5, 0.5, 0.0]

    References: Luong, Pham and Manning, 2015, "Effective approaches to attention-based neural
    machine translation"; Vaswani et al., 2017, "Attention is all you need" (the scale).
    """

    kernel: keras.Variable

    def __init__(
        self, *, bilinear: bool = False, scale: bool = False, **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**kwargs)
        self.bilinear = boolean("bilinear", bilinear)
        self.scale = boolean("scale", scale)

    def build(self, query_shape: Shape, memory_shape: Shape) -> None:
        if self.bilinear:
            shape = (memory_shape[-1], query_shape[-1])
            self.kernel = self.add_weight(name="kernel", shape=shape)
        else:
            self._check_same(query_shape[-1], memory_shape[-1])
        super().build(query_shape, memory_shape)

    def _check_same(self, query_features: int | None, memory_features: int | None) -> None:
        if query_features != memory_features:
            raise ValueError(
                "DotAttention needs a query and a memory with the same number of features, got "
                f"{query_features} and {memory_features}. Pass `bilinear=True` to learn a matrix "
                "between them."
            )

    def keys(self, memory: Tensor) -> Tensor:
        if not self.bilinear:
            return memory
        check_features(type(self).__name__, self.kernel.shape[0], memory.shape, "a memory")
        return ops.matmul(memory, self.kernel)

    def score(self, query: Tensor, keys: Tensor) -> Tensor:
        if self.bilinear:
            check_features(type(self).__name__, self.kernel.shape[1], query.shape, "a query")
        else:
            self._check_same(query.shape[-1], keys.shape[-1])
        scores = ops.matmul(query, ops.swapaxes(keys, 1, 2))
        return scores / query.shape[-1] ** 0.5 if self.scale else scores

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bilinear": self.bilinear, "scale": self.scale}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class AdditiveAttention(Attention):
    """Additive attention: a small feed-forward network computes the scores.

        score(q, m) = v . tanh(q W_q + m W_m)

    Weights:
        query_kernel W_q (query features, units), memory_kernel W_m (memory features, units),
        scale v (units,).

    Args:
        units: size of the hidden layer.

    Call arguments:
        query: (batch, features) or (batch, steps, features).
        memory: (batch, source, memory features).
        mask: (batch, source), true at valid steps of the memory; None if all are valid.
        keys: the result of `keys(memory)`, to avoid recomputing it for every query.
        memory_mask: set by Keras to the mask that the layer before attached to the memory; used if
            `mask` is None.

    Returns:
        `(context, weights)`: context (batch, [steps,] memory features), weights
        (batch, [steps,] source), which sum to 1 over the valid steps of the memory.

    Raises:
        ValueError, TypeError: `units` is not a positive integer.

    Example:
        >>> context, weights = AdditiveAttention(8)(np.ones((2, 3)), np.ones((2, 5, 4)))
        >>> tuple(context.shape), tuple(weights.shape)
        ((2, 4), (2, 5))

    Reference: Bahdanau, Cho and Bengio, 2015, "Neural machine translation by jointly learning
    to align and translate".
    """

    query_kernel: keras.Variable
    memory_kernel: keras.Variable
    scale: keras.Variable

    def __init__(self, units: int, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.units = positive_integer("units", units)

    def build(self, query_shape: Shape, memory_shape: Shape) -> None:
        for name, features in (("query", query_shape[-1]), ("memory", memory_shape[-1])):
            weight = self.add_weight(name=f"{name}_kernel", shape=(features, self.units))
            setattr(self, f"{name}_kernel", weight)
        self.scale = self.add_weight(name="scale", shape=(self.units,), initializer="uniform")
        super().build(query_shape, memory_shape)

    def keys(self, memory: Tensor) -> Tensor:
        check_features(type(self).__name__, self.memory_kernel.shape[0], memory.shape, "a memory")
        return ops.matmul(memory, self.memory_kernel)

    def score(self, query: Tensor, keys: Tensor) -> Tensor:
        check_features(type(self).__name__, self.query_kernel.shape[0], query.shape, "a query")
        query = ops.matmul(query, self.query_kernel)
        # (batch, steps, 1, units) + (batch, 1, source, units)
        hidden = ops.tanh(ops.expand_dims(query, 2) + ops.expand_dims(keys, 1))
        return ops.sum(self.scale * hidden, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
