"""Reading a sequence both ways, for answers that depend on what comes later."""

import keras
from keras import tree


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Bidirectional(keras.layers.Bidirectional):
    """Two recurrent layers over one sequence, one forwards and one backwards.

        forward_t  = layer(x_1 ... x_t)
        backward_t = layer'(x_time ... x_t)
        output_t   = merge(forward_t, backward_t)

    so that the output at every step knows the whole sequence. Both layers have weights of
    their own. Takes what `keras.layers.Bidirectional` takes; weights move both ways with
    `set_weights`. Beyond it: masks of any pattern (see `RNN`), the right output mask and
    output shape for every `merge_mode` with `return_state`, and a mask that is handed on
    whatever Keras's recurrent layers do.

    As in Keras, with `return_sequences` the output at padded steps is zero before merging.

    Args:
        layer: a recurrent layer, such as `LSTM(64, return_sequences=True)`; it is copied.
        merge_mode: "concat" (2 * units wide), "sum", "mul", "ave" (half the sum), or None for
            both outputs one by one.
        weights: first weights, those of the forward layer before those of the backward one.
        backward_layer: the layer to read backwards (`go_backwards=True`), if it is not to be
            a copy of `layer`.

    Call arguments:
        sequences: (batch, time, features).
        initial_state: the states of the forward layer, then those of the backward layer.
        mask: (batch, time), true at valid steps; None if all are.
        training: whether dropout is applied.

    Returns:
        The merged output, (batch, time, width) with `return_sequences`, else (batch, width);
        with `merge_mode=None` both. With `return_state` a tuple that goes on with the last
        states forwards and then backwards, where "last" backwards is at the first step.

    Raises:
        ValueError: `merge_mode` is unknown, the layers do not fit together, or
            `initial_state` does not hold the states of two layers.

    Example:
        >>> layer = Bidirectional(LSTM(4, return_sequences=True))
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 8)

    Reference: Schuster and Paliwal, 1997, "Bidirectional recurrent neural networks".
    """

    def __init__(self, layer, merge_mode="concat", weights=None, backward_layer=None, **kwargs):
        super().__init__(layer, merge_mode, weights, backward_layer, **kwargs)
        self.supports_masking = True

    def call(self, sequences, initial_state=None, mask=None, training=None):
        needed = 2 * len(self.forward_layer.state_size)
        if initial_state is not None and len(initial_state) != needed:
            raise ValueError(
                f"`initial_state` of Bidirectional must hold {needed} states, those of the "
                f"forward layer and then those of the backward layer, got {len(initial_state)}."
            )
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def explain(self, input_shape, mask=None, training=False):
        """Returns the `Plan` of the layer that reads forwards and of the one that reads backwards.

        Args:
            input_shape, mask, training: as in `RNN.explain`.
        """
        both = (self.forward_layer, self.backward_layer)
        return tuple(layer.explain(input_shape, mask, training) for layer in both)

    def step(self, inputs, states=None):
        raise ValueError(
            "Bidirectional reads both ways, and backwards it begins with a step that has not come "
            "yet. Take a layer that reads forwards."
        )

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        shapes = self.forward_layer.compute_output_shape(sequences_shape)
        shape, states = (shapes[0], shapes[1:]) if self.return_state else (shapes, ())
        if self.merge_mode == "concat":
            outputs = ((*shape[:-1], 2 * shape[-1]),)
        elif self.merge_mode is None:
            outputs = (shape, shape)
        else:
            outputs = (shape,)
        whole = (*outputs, *states, *states)
        return whole if len(whole) > 1 else outputs[0]

    def compute_mask(self, sequences, previous_mask):
        mask = tree.flatten(previous_mask)[0] if self.return_sequences else None
        masks = [mask] if self.merge_mode is not None else [mask, mask]
        if self.return_state:
            masks += [None] * 2 * len(self.forward_layer.state_size)
        return masks if len(masks) > 1 else mask
