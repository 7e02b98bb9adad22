"""Constructor arguments: their types, and how each is checked and serialized.

Constructors are written out in full, so that editors, `help` and type checkers see them. What a
value may be and how `get_config` stores it is declared here, once for every cell and layer.
Names, order and defaults are those of `keras.layers`.
"""

import dataclasses
import difflib
import inspect
import numbers
from collections.abc import Callable, Collection, Iterable, Mapping
from types import ModuleType
from typing import Any, TypedDict, Unpack

import keras
import numpy as np

from .typing import Shape


class LayerOptions(TypedDict, total=False):
    """Keyword arguments that every cell and layer passes on to `keras.layers.Layer`."""

    name: str | None
    dtype: Any
    trainable: bool
    autocast: bool
    input_shape: Shape
    input_dim: int
    implementation: int  # LSTM and GRU only, see `check_implementation`


# Arguments of Keras 1 and 2, and their replacements.
FORMER_ARGUMENTS = {
    "batch_input_shape": "Put `keras.Input(batch_shape=...)` before the layer.",
    "batch_shape": "Put `keras.Input(batch_shape=...)` before the layer.",
    "batch_size": "Put `keras.Input(shape, batch_size=...)` before the layer.",
    "input_length": "Put `keras.Input((time, features))` before the layer.",
    "time_major": "Inputs are (batch, time, features): transpose them before the layer.",
    "weights": "Call `set_weights` after the layer is built.",
}


def positive_integer(name: str, value: Any) -> int:
    """Returns `value` as an int.

    Raises:
        ValueError, TypeError: `value` is not a positive integer.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be a positive integer, got {value!r}.")
    if value <= 0:
        raise ValueError(f"`{name}` must be a positive integer, got {value!r}.")
    return int(value)


def optional_positive_integer(name: str, value: Any) -> int | None:
    """Returns `value` as an int, or None."""
    return None if value is None else positive_integer(name, value)


def optional_integer(name: str, value: Any) -> int | None:
    """Returns `value` as an int, or None.

    Raises:
        TypeError: `value` is neither an integer nor None.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be an integer or None, got {value!r}.")
    return int(value)


def rate(name: str, value: Any) -> float:
    """Returns `value` as a dropout rate.

    Raises:
        ValueError, TypeError: `value` is not a number in [0, 1).
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number in [0, 1), got {value!r}.")
    if not 0 <= float(value) < 1:
        raise ValueError(
            f"`{name}` must be in [0, 1), got {value!r}: it is the fraction to drop, "
            "and dropping everything leaves nothing to learn from."
        )
    return float(value)


def positive_number(name: str, value: Any) -> float:
    """Returns `value` as a float.

    Raises:
        ValueError, TypeError: `value` is not a positive number.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a positive number, got {value!r}.")
    if not float(value) > 0:
        raise ValueError(f"`{name}` must be a positive number, got {value!r}.")
    return float(value)


def boolean(name: str, value: Any) -> bool:
    """Returns `value` as a bool.

    Raises:
        TypeError: `value` is neither True nor False.
    """
    if not isinstance(value, np.bool_ | numbers.Integral) or value not in (0, 1):
        raise TypeError(f"`{name}` must be True or False, got {value!r}.")
    return bool(value)


def one_of(*options: Any) -> Callable[[str, Any], Any]:
    """Returns a check that accepts only these options, and returns the option itself."""

    def check(name: str, value: Any) -> Any:
        for option in options:
            if value is option or value == option:
                return option
        raise ValueError(f"`{name}` must be one of {options}, got {value!r}.")

    return check


def keras_object(module: ModuleType) -> Callable[[str, Any], Any]:
    """Returns a check that resolves whatever `module.get` accepts: a name, config or object."""

    def check(name: str, value: Any) -> Any:
        try:
            return module.get(value)
        except (TypeError, ValueError) as error:
            kind = module.__name__.rpartition(".")[2]
            raise type(error)(
                f"`{name}` must be a name or an object of `keras.{kind}`, got {value!r}."
            ) from error

    return check


initializer = keras_object(keras.initializers)


@dataclasses.dataclass(frozen=True)
class Argument:
    """How one constructor argument is checked and serialized.

    Attributes:
        check: `(name, value)` to the value to store; raises if the value is invalid.
        serialize: turns the stored value into its entry in `get_config`.
    """

    check: Callable[[str, Any], Any]
    serialize: Callable[[Any], Any] = lambda value: value


def _keras(module: ModuleType) -> Argument:
    return Argument(keras_object(module), module.serialize)


ARGUMENTS: dict[str, Argument] = {
    "units": Argument(positive_integer),
    "activation": _keras(keras.activations),
    "recurrent_activation": _keras(keras.activations),
    "use_bias": Argument(boolean),
    "kernel_initializer": _keras(keras.initializers),
    "recurrent_initializer": _keras(keras.initializers),
    "bias_initializer": _keras(keras.initializers),
    "unit_forget_bias": Argument(boolean),
    "kernel_regularizer": _keras(keras.regularizers),
    "recurrent_regularizer": _keras(keras.regularizers),
    "bias_regularizer": _keras(keras.regularizers),
    "activity_regularizer": _keras(keras.regularizers),
    "kernel_constraint": _keras(keras.constraints),
    "recurrent_constraint": _keras(keras.constraints),
    "bias_constraint": _keras(keras.constraints),
    "dropout": Argument(rate),
    "recurrent_dropout": Argument(rate),
    "seed": Argument(optional_integer),
    "return_sequences": Argument(boolean),
    "return_state": Argument(boolean),
    "go_backwards": Argument(boolean),
    "stateful": Argument(boolean),
    "unroll": Argument(boolean),
    "zero_output_for_mask": Argument(boolean),
    "projection_units": Argument(optional_positive_integer),
    "peephole_initializer": _keras(keras.initializers),
    "projection_initializer": _keras(keras.initializers),
    "epsilon": Argument(positive_number),
    "reset_after": Argument(boolean),
    "use_cudnn": Argument(one_of("auto", True, False)),
}

LOOP_ARGUMENTS = (
    *("activity_regularizer", "return_sequences", "return_state", "go_backwards"),
    *("stateful", "unroll", "zero_output_for_mask"),
)


def from_locals(variables: Mapping[str, Any], accepted: Iterable[str] = ()) -> dict[str, Any]:
    """Returns the arguments of a constructor by name, given its `locals()`.

    It lets a constructor with twenty arguments pass them on in one line:

        super().__init__(**from_locals(locals()))

    Args:
        variables: the constructor's `locals()`, with `self` and `kwargs`.
        accepted: what `kwargs` may hold, apart from the arguments of `keras.layers.Layer`.

    Raises:
        TypeError: `kwargs` holds another name.
    """
    named = {k: v for k, v in variables.items() if k not in ("self", "__class__", "kwargs")}
    check_names(variables["self"], variables["kwargs"], (*named, *accepted))
    return {**named, **variables["kwargs"]}


def check_names(owner: object, names: Iterable[str], accepted: Collection[str]) -> None:
    """Checks the names of keyword arguments.

    Args:
        owner: the cell or layer under construction.
        names: the keyword arguments it received.
        accepted: the names it accepts, apart from those of `keras.layers.Layer`.

    Raises:
        TypeError: a name is unknown; the message suggests the closest one.
    """
    options = LayerOptions.__annotations__
    for name in names:
        if name not in accepted and name not in options:
            if name in FORMER_ARGUMENTS:
                raise TypeError(
                    f"{type(owner).__name__} has no argument `{name}`. {FORMER_ARGUMENTS[name]}"
                )
            close = difflib.get_close_matches(name, [*accepted, *options], n=1)
            hint = f"Did you mean `{close[0]}`?" if close else f"It accepts {', '.join(accepted)}."
            raise TypeError(f"{type(owner).__name__} has no argument `{name}`. {hint}")


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of `ARGUMENTS`, checked and in the form in which they are stored."""
    return {name: ARGUMENTS[name].check(name, value) for name, value in values.items()}


def check_implementation(owner: Any, implementation: Any) -> None:
    """Checks `implementation`, which in Keras selects between equivalent computations.

    Args:
        owner: the cell, with its other arguments already set.
        implementation: the argument; None if it was not passed.

    Raises:
        TypeError: the cell is neither an LSTM nor a GRU.
        ValueError: the argument is not 0, 1 or 2, or would change the dropout masks.
    """
    if implementation is None:
        return
    if owner.equations not in ("lstm", "gru"):
        raise TypeError(f"{type(owner).__name__} has no argument `implementation`.")
    one_of(0, 1, 2)("implementation", implementation)
    if implementation == 1 and owner.dropout and not owner.recurrent_dropout:
        raise ValueError(
            "`implementation=1` with `dropout` draws one mask per gate in Keras; here all gates "
            "share one, as with Keras's default. Remove `implementation`."
        )


def layer_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that `keras.layers.Layer` receives: all but `implementation`."""
    names = LayerOptions.__annotations__
    return {k: v for k, v in values.items() if k in names and k != "implementation"}


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the values of `ARGUMENTS`, checked, and the options of `keras.layers.Layer`."""
    own = checked({k: v for k, v in values.items() if k in ARGUMENTS})
    return own, layer_options(values)


# Annotations of `**kwargs`, evaluated or not, that only `keras.layers.Layer` receives.
COMPLETE = (Unpack[LayerOptions], "Unpack[LayerOptions]")


def constructor_arguments(cls: type, base: type) -> tuple[str, ...]:
    """Returns the names of the constructor arguments of `cls`, `keras.layers.Layer`'s excluded.

    If a constructor passes arbitrary `**kwargs` on, the arguments of its base class count as well,
    up to `base`. `**kwargs: Unpack[LayerOptions]` marks a signature as complete.
    """
    names: dict[str, None] = {}
    for owner in cls.__mro__:
        if "__init__" in vars(owner):
            _, *parameters = inspect.signature(vars(owner)["__init__"]).parameters.values()
            rest = [p for p in parameters if p.kind is p.VAR_KEYWORD]
            variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            names |= dict.fromkeys(p.name for p in parameters if p.kind not in variadic)
            if not rest or rest[0].annotation in COMPLETE:
                break
        if owner is base:
            break
    return tuple(names)


def serialized(owner: object, names: Iterable[str]) -> dict[str, Any]:
    """Returns the config entries of constructor arguments, read from attributes of the same name.

    Raises:
        AttributeError: a constructor argument was not stored.
    """
    config = {}
    for name in names:
        if not hasattr(owner, name):
            raise AttributeError(
                f"{type(owner).__name__}.__init__ has the argument `{name}` but does not store it. "
                f"Set `self.{name} = {name}`, so that `get_config` can save it."
            )
        value = getattr(owner, name)
        if name in ARGUMENTS:
            config[name] = ARGUMENTS[name].serialize(value)
        else:
            config[name] = keras.saving.serialize_keras_object(value)
    return config
