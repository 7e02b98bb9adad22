"""The layer of a case in one of the libraries."""

from typing import Any

import keras
import numpy as np
from keras import ops, tree

from ..cases import BACKEND
from .case import PADDING, STACKS, Case, build
from .without_padding import WithoutPadding, initial_states, nest_states, state_sizes


class Subject:
    """The layer of a case with random weights, and how it is called.

    Attributes:
        layer: of `keras.layers` or of this library.
        initial_weights: the weights with which it was created, after seeding Keras.
    """

    def __init__(self, case: Case, library: Any):
        self.case = case
        self.is_reference = library is keras.layers
        # Keras cannot reset stateful stacks, and loses states in mixed precision on PyTorch: pass
        # the states to such references.
        mixed = BACKEND == "torch" and case.dtype.startswith("mixed")
        stateless = case.mode == "stateful" and (mixed or case.kind in STACKS)
        # It also splits the states of `Bidirectional` in half, whatever the layers.
        uneven = bool(case.backward) and (case.states or case.mode == "fit")
        self.by_row = self.is_reference and (case.mask is not None or stateless or uneven)
        keras.utils.set_random_seed(case.seed)
        loop = {"return_state": True, "stateful": False} if self.by_row else {}
        self.layer = build(case, library, **loop)
        self.layer.build((case.batch, case.time, case.features))
        self.runner = WithoutPadding(case, self.layer) if self.by_row else self.layer
        self.initial_weights = self.layer.get_weights()
        self.layer.set_weights(
            [
                case.array(*w.shape, offset=100 + index).astype(w.dtype) * 0.6
                for index, w in enumerate(self.initial_weights)
            ]
        )

    def states(self) -> list[np.ndarray]:
        """Returns the initial states as a flat list, empty if none are passed."""
        return initial_states(self.case, self.layer) if self.case.states else []

    def __call__(self, x: Any, states: list[Any], training: bool, mask: Any = None) -> list[Any]:
        """Returns the outputs and states as a flat list; `mask` replaces that of the case."""
        arguments: dict[str, Any] = {"training": training}
        if states:
            arguments["initial_state"] = states if self.by_row else nest_states(self.layer, states)
        if not self.is_reference and self.case.mask is not None:
            if self.case.mask_as == "Masking" and mask is None:
                x = keras.layers.Masking(PADDING, dtype=self.layer.dtype_policy)(x)
            else:
                arguments["mask"] = self.mask() if mask is None else mask
        return tree.flatten(self.runner(x, **arguments))

    def mask(self) -> np.ndarray:
        """Returns the mask of the case."""
        return np.array(self.case.mask, self.case.mask_as.replace("Masking", "bool"))

    def model(self, head: Any = None) -> keras.Model:
        """Returns a functional model of the inputs, the states and the mask."""
        case, sizes = self.case, tree.flatten(state_sizes(self.layer))
        dtype = "float64" if case.dtype == "float64" else "float32"
        batch, time = (None, None) if case.dynamic else (case.batch, case.time)
        x = keras.Input(batch_shape=(batch, time, case.features), dtype=dtype)
        states = [keras.Input(batch_shape=(batch, size)) for size in sizes]
        mask_dtype = case.mask_as.replace("Masking", "bool")
        mask = keras.Input(batch_shape=(batch, time), dtype=mask_dtype)
        inputs = [x, *(states if case.states else [])]
        masked = case.mask is not None
        outputs = self(x, states if case.states else [], case.training, mask if masked else None)
        return keras.Model(
            [*inputs, *([mask] if masked else [])], head(outputs) if head else outputs
        )

    def model_inputs(self) -> list[np.ndarray]:
        """Returns the inputs of `model`."""
        mask = [] if self.case.mask is None else [self.mask()]
        return [inputs_of(self.case), *self.states(), *mask]


def inputs_of(case: Case) -> np.ndarray:
    """Returns the sequences; padded steps contain numbers, not zeros."""
    x = case.array(case.batch, case.time, case.features)
    if case.mask is not None and case.mask_as == "Masking":
        x[~np.array(case.mask, bool)] = PADDING
    return x.astype(case.inputs_as) if case.inputs_as else x


def arrays(values: Any) -> list[np.ndarray]:
    """Returns NumPy arrays in float64."""
    values = [ops.stop_gradient(ops.convert_to_tensor(value)) for value in values]
    return [np.asarray(ops.convert_to_numpy(v), "float64") for v in values]
