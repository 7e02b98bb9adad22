"""`Bidirectional`: a recurrent layer in both directions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops, tree

from .arguments import LayerOptions
from .dispatch.plan import Plan
from .inputs import check_sequences
from .rnn import RNN
from .typing import Shape, States, Tensor

MERGES: dict[str | None, Callable[[Tensor, Tensor], tuple[Tensor, ...]]] = {
    "concat": lambda forward, backward: (ops.concatenate([forward, backward], axis=-1),),
    "sum": lambda forward, backward: (forward + backward,),
    "mul": lambda forward, backward: (forward * backward,),
    "ave": lambda forward, backward: ((forward + backward) / 2,),
    None: lambda forward, backward: (forward, backward),
}


@functools.cache
def _call_arguments(layer_class: type) -> frozenset[str]:
    return frozenset(inspect.signature(layer_class.call).parameters)


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
        merge_mode: "concat" (the features of both), "sum", "mul", "ave" (the mean), or None for two
            separate outputs.
        weights: list of initial weights in the order of `get_weights`, those of the forward layer
            first. The first one, a kernel (features, ...), sets the number of features.
        backward_layer: the layer for the backward direction (`go_backwards=True`), if it is not to
            be a copy of `layer`. It may have different units or another cell; "sum", "mul" and
            "ave" need outputs of the same size.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        sequences: (batch, time, features).
        initial_state: the states of the forward layer, then those of the backward layer.
        mask: (batch, time), true at valid steps; None if all are valid.
        training: whether dropout is applied.
        sequences_mask: as in `RNN`.

    Returns:
        The merged output, (batch, time, units) with `return_sequences`, else (batch, units); with
        `merge_mode=None` both outputs. With `return_state`, a tuple that continues with the final
        states of the forward layer and then of the backward layer, whose final state is the one
        at the first step.

    Raises:
        ValueError: `merge_mode` is unknown, the layers do not match, `weights` have the wrong
            shapes or are passed to stateful layers, or `initial_state` does not contain the states
            of both layers.
        TypeError: `layer` or `backward_layer` is not a recurrent layer.

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
        weights: Sequence[Any] | None = None,
        backward_layer: keras.layers.Layer | None = None,
        **kwargs: Unpack[LayerOptions],
    ):
        for name, one_way in (("layer", layer), ("backward_layer", backward_layer)):
            if one_way is not None:
                _check_recurrent(name, one_way)
        backward_use_cudnn = getattr(backward_layer, "use_cudnn", None)
        super().__init__(
            layer,
            merge_mode,  # pyright: ignore[reportArgumentType] Keras documents None
            backward_layer=backward_layer,
            **kwargs,
        )
        if backward_use_cudnn is not None:  # Keras replaces it with that of `layer`
            self.backward_layer.use_cudnn = backward_use_cudnn
        self.supports_masking = True
        self._check_sizes(_output_size(self.forward_layer), _output_size(self.backward_layer))
        if weights is not None:
            self._start_from(weights)

    def _start_from(self, weights: Sequence[Any]) -> None:
        """Builds the layer and sets its weights.

        As in Keras's `Embedding`: weights cannot be set later, within a traced `fit`.
        """
        if self.stateful:
            raise ValueError(
                "`weights` cannot be set before the batch size of a stateful layer is known: call "
                "`set_weights` after the layer is built."
            )
        arrays = [np.asarray(ops.convert_to_numpy(weight)) for weight in weights]
        if not arrays or arrays[0].ndim != 2:
            raise ValueError(
                "`weights` of Bidirectional must be a list of arrays that starts with a kernel "
                f"(features, ...), got {[array.shape for array in arrays]}. For layers whose first "
                "weight is not a kernel, call `set_weights` after the layer is built."
            )
        self.build((None, None, arrays[0].shape[0]))
        shapes = [tuple(weight.shape) for weight in self.weights]
        if [array.shape for array in arrays] != shapes:
            raise ValueError(
                "`weights` of Bidirectional must be a list of arrays, those of the forward layer "
                f"first, of shapes {shapes}; got {[array.shape for array in arrays]}."
            )
        self.set_weights(arrays)

    def build(self, sequences_shape: Shape, initial_state_shape: Any = None) -> None:
        """Creates the weights for sequences of shape (batch, time, features)."""
        super().build(sequences_shape)
        (forward, *_), (backward, *_) = self._output_shapes(sequences_shape)
        self._check_sizes(forward[-1], backward[-1])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args or "sequences" in kwargs:  # Keras rejects a call without inputs
            sequences = args[0] if args else kwargs["sequences"]
            cell = getattr(self.forward_layer, "cell", None)
            check_sequences(self, cell, sequences, kwargs.get("mask"))
            states = args[1] if len(args) > 1 else kwargs.get("initial_state")
            if isinstance(sequences, keras.KerasTensor):
                self._check_symbolic(states, sequences.shape[0])
        return super().__call__(*args, **kwargs)

    def _check_symbolic(self, states: Any, batch: int | None) -> None:
        """Checks symbolic states, for which Keras does not run `call`."""
        one_ways = (self.forward_layer, self.backward_layer)
        for layer, own_states in zip(one_ways, self._split_states(states), strict=True):
            if own_states is not None and isinstance(layer, RNN):
                layer._check_states(own_states, batch)

    def _check_sizes(self, forward: int | None, backward: int | None) -> None:
        mergeable = self.merge_mode in ("concat", None) or forward == backward
        if not mergeable and None not in (forward, backward):
            raise ValueError(
                f"`merge_mode={self.merge_mode!r}` needs outputs of the same size, but the forward "
                f"layer has {forward} output features and `backward_layer` has {backward}. Use "
                "'concat' or None, or give both layers the same units."
            )

    def call(
        self,
        sequences: Tensor,
        initial_state: States | None = None,
        mask: Tensor | None = None,
        training: bool | None = None,
        sequences_mask: Tensor | None = None,
    ) -> Any:
        mask = sequences_mask if mask is None else mask
        one_ways = (self.forward_layer, self.backward_layer)
        states = self._split_states(initial_state)
        # Not Keras's own `call`, which splits `initial_state` in half, whatever the layers need.
        (forward, forward_states), (backward, backward_states) = (
            self._run(layer, sequences, own_states, mask, training)
            for layer, own_states in zip(one_ways, states, strict=True)
        )
        if self.return_sequences:
            backward = ops.flip(backward, axis=1)
        outputs = MERGES[self.merge_mode](forward, backward)
        results: Any = (*outputs, *forward_states, *backward_states)
        return results if len(results) > 1 else results[0]

    def _run(self, layer, sequences, states, mask, training):
        """Returns the output of one direction, in reading order, and its final states."""
        accepted = _call_arguments(type(layer))
        given = {"initial_state": states, "mask": mask, "training": training}
        options = {k: v for k, v in given.items() if v is not None and k in accepted}
        result = layer(sequences, **options)
        output, final_states = (result[0], result[1:]) if self.return_state else (result, ())
        return ops.cast(output, self.compute_dtype), final_states

    def _split_states(self, states: Any) -> tuple[Any, Any]:
        """Splits the initial states into those of the forward and those of the backward layer."""
        if states is None:
            return None, None
        sizes = [self.forward_layer.state_size, self.backward_layer.state_size]
        states = list(states) if isinstance(states, list | tuple) else [states]
        count, total = len(sizes[0]), len(sizes[0]) + len(sizes[1])
        if len(states) != total:  # maybe nested, or flat for nested sizes
            states = tree.flatten(states)
            count, total = len(tree.flatten(sizes[0])), len(tree.flatten(sizes))
        if len(states) != total:
            raise ValueError(
                f"`initial_state` of Bidirectional must contain {total} states, those of the "
                f"forward layer ({count}) and then those of the backward layer ({total - count}), "
                f"got {len(states)}."
            )
        return states[:count], states[count:]

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

    def stream(self, batch_size: int = 1) -> None:
        self.step(None)

    def step(self, inputs: Tensor, states: States | None = None) -> None:
        raise ValueError(
            "Bidirectional cannot run step by step: its backward layer starts from the last step, "
            "which has not arrived yet. Use a unidirectional layer."
        )

    def compute_output_shape(self, sequences_shape: Shape, initial_state_shape: Any = None) -> Any:
        (forward, *states), (backward, *backward_states) = self._output_shapes(sequences_shape)
        if self.merge_mode == "concat":
            outputs = ((*forward[:-1], forward[-1] + backward[-1]),)
        elif self.merge_mode is None:
            outputs = (forward, backward)
        else:
            outputs = (forward,)
        all_shapes = (*outputs, *states, *backward_states)
        return all_shapes if len(all_shapes) > 1 else outputs[0]

    def _output_shapes(self, sequences_shape: Shape) -> list[Any]:
        """Returns, for each direction, the shapes of the output and of the returned states."""
        one_ways = (self.forward_layer, self.backward_layer)
        shapes = [layer.compute_output_shape(sequences_shape) for layer in one_ways]
        return shapes if self.return_state else [(shape,) for shape in shapes]

    def compute_mask(self, sequences: Any, previous_mask: Any) -> Any:
        mask = tree.flatten(previous_mask)[0] if self.return_sequences else None
        if mask is not None and self.forward_layer.go_backwards:
            mask = ops.flip(mask, axis=1)  # the outputs are in the forward layer's order
        masks = [mask] if self.merge_mode is not None else [mask, mask]
        if self.return_state:
            one_ways = (self.forward_layer, self.backward_layer)
            masks += [None] * sum(len(layer.state_size) for layer in one_ways)
        return masks if len(masks) > 1 else mask


def _output_size(layer: Any) -> int | None:
    """Returns the number of output features of a recurrent layer, None if not known yet."""
    size = getattr(getattr(layer, "cell", None), "output_size", None)
    return size if isinstance(size, int) else None


def _check_recurrent(name: str, layer: Any) -> None:
    needed = ("go_backwards", "return_sequences", "return_state", "stateful")
    if not isinstance(layer, keras.layers.Layer) or not all(hasattr(layer, a) for a in needed):
        raise TypeError(
            f"`{name}` of Bidirectional must be a recurrent layer, such as `LSTM(32)` or "
            f"`RNN(cell)`, got {layer!r}."
        )
