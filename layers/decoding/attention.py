"""Attention: a look back at every step of a memory, weighted by how well it fits a query."""

import keras
from keras import ops

from ..arguments import positive_integer


class Attention(keras.layers.Layer):
    """The base of the attentions: scores differ, weights and context do not.

        w = softmax over source of score(query, memory)      padded steps get weight 0
        context = sum over source of w * memory

    A subclass gives `keys(memory)`, what can be computed once for a whole sequence, and
    `score(query, keys)`. Where a row has no valid step, weights and context are zero.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # A mask that the query carries says nothing about the context: take it in, pass none on.
        self.supports_masking = True

    def compute_mask(self, *args, **kwargs):
        return None

    def call(self, query, memory, mask=None, keys=None):
        single = len(query.shape) == 2
        if single:
            query = ops.expand_dims(query, 1)
        scores = self.score(query, self.keys(memory) if keys is None else keys)
        # Softmax in float32 whatever the policy: sums over long memories lose too much in 16 bits.
        scores = ops.cast(scores, "float32")
        valid = None if mask is None else ops.expand_dims(ops.cast(mask, "bool"), 1)
        if valid is not None:
            # Mask before softmax: a padded step must not take probability.
            scores = ops.where(valid, scores, -1e9)
        powers = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
        if valid is not None:
            powers = ops.where(valid, powers, 0.0)
        # At least one power is 1, unless no step is valid: then all are 0 and stay so.
        weights = powers / ops.maximum(ops.sum(powers, axis=-1, keepdims=True), 0.5)
        context = ops.matmul(ops.cast(weights, memory.dtype), memory)
        if single:
            return ops.squeeze(context, 1), ops.squeeze(weights, 1)
        return context, weights

    def compute_output_shape(self, query_shape, memory_shape):
        *leading, _ = query_shape
        return (*leading, memory_shape[-1]), (*leading, memory_shape[1])


@keras.saving.register_keras_serializable(package="rnn_topologies")
class DotAttention(Attention):
    """Attention that scores by a dot product.

        score(q, m) = q . m            query and memory are equally wide
        score(q, m) = q . (m W)        bilinear=True ("general")

    Weights:
        kernel W (memory features, query features), with `bilinear` only.

    Args:
        bilinear: whether a weight matrix stands between query and memory; then they may
            differ in width.
        scale: multiply scores by 1 / sqrt(query features).

    Call arguments:
        query: (batch, features) or (batch, steps, features).
        memory: (batch, source, memory features).
        mask: (batch, source), true at valid steps of the memory; None if all are.
        keys: what `keys(memory)` returned, to spare computing it again for every query.

    Returns:
        `(context, weights)`: context (batch, [steps,] memory features), weights
        (batch, [steps,] source), which sum to 1 over the valid steps of the memory.

    Raises:
        ValueError: query and memory differ in width and `bilinear` is off.

    Example:
        >>> attention = DotAttention()
        >>> mask = np.array([[True, True, False]])
        >>> context, weights = attention(np.ones((1, 4)), np.ones((1, 3, 4)), mask=mask)
        >>> [float(w) for w in weights[0]]
        [0.5, 0.5, 0.0]

    Reference: Luong, Pham and Manning, 2015, "Effective approaches to attention-based neural
    machine translation". The scale: Vaswani et al., 2017.
    """

    def __init__(self, *, bilinear=False, scale=False, **kwargs):
        super().__init__(**kwargs)
        self.bilinear = bilinear
        self.scale = scale

    def build(self, query_shape, memory_shape):
        if self.bilinear:
            shape = (memory_shape[-1], query_shape[-1])
            self.kernel = self.add_weight(name="kernel", shape=shape)
        elif query_shape[-1] != memory_shape[-1]:
            raise ValueError(
                f"DotAttention needs query and memory of one width, got {query_shape[-1]} and "
                f"{memory_shape[-1]}. Pass `bilinear=True` to learn a matrix between them."
            )
        self.built = True

    def keys(self, memory):
        return ops.matmul(memory, self.kernel) if self.bilinear else memory

    def score(self, query, keys):
        scores = ops.matmul(query, ops.swapaxes(keys, 1, 2))
        return scores / query.shape[-1] ** 0.5 if self.scale else scores

    def get_config(self):
        return {**super().get_config(), "bilinear": self.bilinear, "scale": self.scale}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class AdditiveAttention(Attention):
    """Attention that scores by a small feed-forward net.

        score(q, m) = v . tanh(q W_q + m W_m)

    Weights:
        query_kernel W_q (query features, units), memory_kernel W_m (memory features, units),
        scale v (units,).

    Args:
        units: width of the hidden layer.

    Call arguments:
        query: (batch, features) or (batch, steps, features).
        memory: (batch, source, memory features).
        mask: (batch, source), true at valid steps of the memory; None if all are.
        keys: what `keys(memory)` returned, to spare computing it again for every query.

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

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = positive_integer("units", units)

    def build(self, query_shape, memory_shape):
        for name, rows in (("query", query_shape[-1]), ("memory", memory_shape[-1])):
            weight = self.add_weight(name=f"{name}_kernel", shape=(rows, self.units))
            setattr(self, f"{name}_kernel", weight)
        self.scale = self.add_weight(name="scale", shape=(self.units,), initializer="uniform")
        self.built = True

    def keys(self, memory):
        return ops.matmul(memory, self.memory_kernel)

    def score(self, query, keys):
        query = ops.matmul(query, self.query_kernel)
        # (batch, steps, 1, units) + (batch, 1, source, units)
        hidden = ops.tanh(ops.expand_dims(query, 2) + ops.expand_dims(keys, 1))
        return ops.sum(self.scale * hidden, axis=-1)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
