"""`Bidirectional`: a recurrent layer in both directions."""

from __future__ import annotations

from typing import Any, Unpack

import keras
from keras import tree

from .arguments import LayerOptions
from .dispatch.plan import Plan
from .typing import Shape, States, Tensor


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Bidirectional(keras.layers.Bidirectional):
    """Two recurrent layers over the same sequence, one forwards and one backwards.

        forward_t  = layer(x_1 ... x_t)
        backward_t = layer'(x_time ... x_t)
        output_t   = merge(forward_t, backward_t)

    so that the output at every step depends on the whole sequence. The two layers have separate
    weights. Takes the arguments of `keras.layers.Bidirectional`; weights are interchangeable
    through `set_weights`. In addition: masks of any pattern (see `RNN`), the right output mask and
    output shape for every `merge_mode` with `return_state`, and a mask that propagates whatever
    Keras's own recurrent layers do.

    As in Keras, with `return_sequences` the output at padded steps is zero before merging.

    Args:
        layer: a recurrent layer, such as `LSTM(64, return_sequences=True)`; it is copied.
        merge_mode: "concat" (2 * units features), "sum", "mul", "ave" (the mean), or None for two
            separate outputs.
        weights: initial weights, those of the forward layer first.
        backward_layer: the layer for the backward direction (`go_backwards=True`), if it is not to
            be a copy of `layer`.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        sequences: (batch, time, features).
        initial_state: the states of the forward layer, then those of the backward layer.
        mask: (batch, time), true at valid steps; None if all are valid.
        training: whether dropout is applied.

    Returns:
        The merged output, (batch, time, units) with `return_sequences`, else (batch, units); with
        `merge_mode=None` both outputs. With `return_state`, a tuple that continues with the final
        states of the forward layer and then of the backward layer, whose final state is the one
        at the first step.

    Raises:
        ValueError: `merge_mode` is unknown, the layers do not match, or `initial_state` does not
            hold the states of two layers.

    Example:
        >>> layer = Bidirectional(LSTM(4, return_sequences=True))
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 8)

    Reference: Schuster and Paliwal, 1997, "Bidirectional recurrent neural networks".
    """

    forward_layer: Any
    backward_layer: Any

    def __init__(
        self,
        layer: keras.layers.Layer,
        merge_mode: str | None = "concat",
        weights: list[Any] | None = None,
        backward_layer: keras.layers.Layer | None = None,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(
            layer,
            merge_mode,  # pyright: ignore[reportArgumentType] Keras documents None
            weights,
            backward_layer,
            **kwargs,
        )
        self.supports_masking = True

    def call(
        self,
        sequences: Tensor,
        initial_state: States | None = None,
        mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Any:
        expected = 2 * len(self.forward_layer.state_size)
        if initial_state is not None and len(initial_state) != expected:
            raise ValueError(
                f"`initial_state` of Bidirectional must hold {expected} states, those of the "
                f"forward layer and then those of the backward layer, got {len(initial_state)}."
            )
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def explain(
        self, input_shape: Shape, mask: Any = None, training: bool = False
    ) -> tuple[Plan, Plan]:
        """Returns the `Plan` of the forward layer and that of the backward layer.

        Args:
            input_shape: as in `RNN.explain`.
            mask: as in `RNN.explain`.
            training: as in `RNN.explain`.
        """
        forward = self.forward_layer.explain(input_shape, mask, training)
        return forward, self.backward_layer.explain(input_shape, mask, training)

    def step(self, inputs: Tensor, states: States | None = None) -> None:
        raise ValueError(
            "Bidirectional cannot run step by step: its backward layer starts from the last step, "
            "which has not arrived yet. Use a unidirectional layer."
        )

    def compute_output_shape(self, sequences_shape: Shape, initial_state_shape: Any = None) -> Any:
        shapes = self.forward_layer.compute_output_shape(sequences_shape)
        shape, states = (shapes[0], shapes[1:]) if self.return_state else (shapes, ())
        if self.merge_mode == "concat":
            outputs = ((*shape[:-1], 2 * shape[-1]),)
        elif self.merge_mode is None:
            outputs = (shape, shape)
        else:
            outputs = (shape,)
        all_shapes = (*outputs, *states, *states)
        return all_shapes if len(all_shapes) > 1 else outputs[0]

    def compute_mask(self, sequences: Any, previous_mask: Any) -> Any:
        mask = tree.flatten(previous_mask)[0] if self.return_sequences else None
        masks = [mask] if self.merge_mode is not None else [mask, mask]
        if self.return_state:
            masks += [None] * 2 * len(self.forward_layer.state_size)
        return masks if len(masks) > 1 else mask
