"""The constructor arguments that cells and layers share, each said once.

Keras writes the same twenty arguments out in the signature of every cell, of
every layer, in every `get_config` and in one property each. Here a class only
names what it takes beyond the common ones; its signature, the reading and
checking of values, `get_config` and the list in its docstring follow from
`ARGUMENTS`. Names, order and defaults are those of `keras.layers`.
"""

import dataclasses
import difflib
import inspect
import numbers
from collections.abc import Callable
from typing import Any

import keras

REQUIRED = inspect.Parameter.empty


def positive_integer(name: str, value: Any) -> int:
    """Returns `value` as an int, or says what is wrong with it."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be a positive integer, got {value!r}.")
    if value <= 0:
        raise ValueError(f"`{name}` must be a positive integer, got {value!r}.")
    return int(value)


def rate(name: str, value: Any) -> float:
    """Returns `value` as a fraction to drop, or says what is wrong with it."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number in [0, 1), got {value!r}.")
    if not 0 <= value < 1:
        raise ValueError(
            f"`{name}` must be in [0, 1), got {value!r}: it is the fraction to drop, "
            "and dropping everything leaves nothing to learn from."
        )
    return float(value)


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool | int) or value not in (0, 1):
        raise TypeError(f"`{name}` must be True or False, got {value!r}.")
    return bool(value)


def optional_integer(name: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
        raise TypeError(f"`{name}` must be an integer or None, got {value!r}.")
    return value if value is None else int(value)


def optional_positive_integer(name: str, value: Any) -> int | None:
    return value if value is None else positive_integer(name, value)


def positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a positive number, got {value!r}.")
    if not value > 0:
        raise ValueError(f"`{name}` must be a positive number, got {value!r}.")
    return float(value)


def choice(*options: Any) -> Callable[[str, Any], Any]:
    """Returns a reader that takes only these options."""

    def read(name, value):
        if not any(value is option or value == option for option in options):
            raise ValueError(f"`{name}` must be one of {options}, got {value!r}.")
        return value

    return read


def keras_object(module) -> Callable[[str, Any], Any]:
    """Returns a reader for what `module.get` understands: a name, a config, an object."""

    def read(name, value):
        try:
            return module.get(value)
        except (TypeError, ValueError) as error:
            kind = module.__name__.rpartition(".")[2]
            raise type(error)(
                f"`{name}` must be a name or an object of `keras.{kind}`, got {value!r}."
            ) from error

    return read


@dataclasses.dataclass(frozen=True)
class Argument:
    """One constructor argument.

    Attributes:
        default: as in `keras.layers`; `REQUIRED` where there is none.
        read: takes the argument's name and the given value, returns the value to keep.
        text: one line for the docstring.
        write: turns the kept value into what `get_config` holds.
    """

    default: Any
    read: Callable[[str, Any], Any]
    text: str
    write: Callable[[Any], Any] = lambda value: value


def _from(module, default, text):
    return Argument(default, keras_object(module), text, module.serialize)


# In the order of Keras's signatures: positional arguments mean the same here and there.
ARGUMENTS: dict[str, Argument] = {
    "units": Argument(REQUIRED, positive_integer, "size of the state and of the output."),
    "activation": _from(
        keras.activations, "tanh", "function of the candidate and, in an LSTM, of the cell state."
    ),
    "recurrent_activation": _from(keras.activations, "sigmoid", "function of the gates."),
    "use_bias": Argument(True, flag, "whether a bias is added."),
    "kernel_initializer": _from(keras.initializers, "glorot_uniform", "first values of `kernel`."),
    "recurrent_initializer": _from(
        keras.initializers, "orthogonal", "first values of `recurrent_kernel`."
    ),
    "bias_initializer": _from(keras.initializers, "zeros", "first values of `bias`."),
    "unit_forget_bias": Argument(
        True, flag, "start the forget gate's bias at 1, so that memory is kept at first."
    ),
    "kernel_regularizer": _from(keras.regularizers, None, "penalty on `kernel`."),
    "recurrent_regularizer": _from(keras.regularizers, None, "penalty on `recurrent_kernel`."),
    "bias_regularizer": _from(keras.regularizers, None, "penalty on `bias`."),
    "activity_regularizer": _from(keras.regularizers, None, "penalty on the layer's output."),
    "kernel_constraint": _from(keras.constraints, None, "constraint on `kernel`."),
    "recurrent_constraint": _from(keras.constraints, None, "constraint on `recurrent_kernel`."),
    "bias_constraint": _from(keras.constraints, None, "constraint on `bias`."),
    "dropout": Argument(
        0.0, rate, "fraction of the input features to drop; one mask for the whole sequence."
    ),
    "recurrent_dropout": Argument(
        0.0, rate, "fraction of the state to drop on its way into each gate; one mask a sequence."
    ),
    "seed": Argument(None, optional_integer, "seed of the dropout masks."),
    "return_sequences": Argument(False, flag, "return the output of every step, not the last."),
    "return_state": Argument(False, flag, "return the last states after the output."),
    "go_backwards": Argument(
        False, flag, "read from the last step to the first; outputs come in the order read."
    ),
    "stateful": Argument(False, flag, "start each batch from the states that the last one left."),
    "unroll": Argument(False, flag, "lay the steps out one by one instead of looping."),
    "zero_output_for_mask": Argument(
        False, flag, "with `return_sequences`, return zeros at padded steps."
    ),
    "projection_units": Argument(
        None,
        optional_positive_integer,
        "size of the hidden state h and of the output; half of `units`, at least 1, if None.",
    ),
    "peephole_initializer": _from(keras.initializers, "zeros", "first values of the peepholes."),
    "projection_initializer": _from(
        keras.initializers, "glorot_uniform", "first values of `projection_kernel`."
    ),
    "epsilon": Argument(1e-5, positive, "added to the variance before its root is taken."),
    "reset_after": Argument(
        True, flag, "apply the reset gate after the recurrent product (cuDNN's form) or before."
    ),
    "use_cudnn": Argument(
        "auto",
        choice("auto", True, False),
        "whether to take the backend's own kernel: True is an error where there is none, "
        "False runs the equations of the cell.",
    ),
}

SHARED_BY_CELLS = (
    *("units", "activation", "use_bias"),
    *("kernel_initializer", "recurrent_initializer", "bias_initializer"),
    *("kernel_regularizer", "recurrent_regularizer", "bias_regularizer"),
    *("kernel_constraint", "recurrent_constraint", "bias_constraint"),
    *("dropout", "recurrent_dropout", "seed"),
)
OF_THE_LOOP = (
    *("activity_regularizer", "return_sequences", "return_state", "go_backwards"),
    *("stateful", "unroll", "zero_output_for_mask"),
)
# What keras.Layer itself takes, and `implementation`, which chooses between two ways to
# compute the same thing in Keras's own cells and so has nothing to choose here.
OF_EVERY_LAYER = ("name", "dtype", "trainable", "autocast", "input_shape", "batch_shape")
OF_EVERY_LAYER += ("batch_input_shape", "implementation")


def signature(names: set[str], defaults: dict[str, Any]) -> inspect.Signature:
    """Returns the signature with these arguments, in Keras's order, then `**kwargs`.

    Args:
        names: of `ARGUMENTS`.
        defaults: of this class, where they are not those of `ARGUMENTS`.
    """
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=defaults.get(name, argument.default),
        )
        for name, argument in ARGUMENTS.items()
        if name in names
    ]
    rest = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
    return inspect.Signature([*parameters, rest])


class OfTheClass:
    """A signature that a class has and its instances have not: they are called otherwise."""

    def __init__(self, signature: inspect.Signature):
        self.signature = signature

    def __get__(self, instance, owner):
        if instance is not None:
            raise AttributeError("__signature__")
        return self.signature


def bind(cls: type, args: tuple, kwargs: dict) -> tuple[dict, dict]:
    """Sorts a call of `cls` into (read and checked arguments, arguments of keras.Layer)."""
    try:
        bound = cls.__signature__.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{cls.__name__}: {error}.") from error
    bound.apply_defaults()
    values = dict(bound.arguments)
    rest = values.pop("kwargs", {})
    for name in rest:
        if name not in OF_EVERY_LAYER:
            close = difflib.get_close_matches(name, [*values, *OF_EVERY_LAYER], n=1)
            hint = f" Did you mean `{close[0]}`?" if close else f" It takes {', '.join(values)}."
            raise TypeError(f"{cls.__name__} takes no argument `{name}`.{hint}")
    rest.pop("implementation", None)
    return {name: ARGUMENTS[name].read(name, value) for name, value in values.items()}, rest


def config(names, owner) -> dict:
    """Returns `{name: serialized value}` of the attributes `names` of `owner`."""
    return {name: ARGUMENTS[name].write(getattr(owner, name)) for name in names}


def describe(docstring: str | None, signature: inspect.Signature) -> str | None:
    """Puts the list of arguments in place of `{arguments}` in a docstring."""
    if docstring is None:  # python -OO
        return None
    lines = [
        f"{name}: {ARGUMENTS[name].text}"
        + ("" if parameter.default is REQUIRED else f" Default {_shown(parameter.default)}.")
        for name, parameter in signature.parameters.items()
        if name in ARGUMENTS
    ]
    return docstring.replace("{arguments}", "\n        ".join(lines))


def _shown(default) -> str:
    if not isinstance(default, dict):
        return repr(default)
    settings = ", ".join(f"{name}={value!r}" for name, value in default["config"].items())
    return f"`{default['class_name']}({settings})`"
