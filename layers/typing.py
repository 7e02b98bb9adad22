"""Type aliases for tensors, shapes, and what Keras accepts by name, config or object."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

Tensor: TypeAlias = Any  # a backend tensor, a KerasTensor, or anything `convert_to_tensor` takes
Shape: TypeAlias = tuple[int | None, ...]
Config: TypeAlias = Mapping[str, Any]
Activation: TypeAlias = str | Config | Callable[[Any], Any] | None
Initializer: TypeAlias = str | Config | keras.initializers.Initializer | Callable[..., Any]
Regularizer: TypeAlias = str | Config | keras.regularizers.Regularizer | Callable[[Any], Any] | None
Constraint: TypeAlias = str | Config | keras.constraints.Constraint | Callable[[Any], Any] | None
States: TypeAlias = Sequence[Tensor]
