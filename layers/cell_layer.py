"""The base class of the layers that are named after their cell."""

from typing import Any, ClassVar

import keras

from . import arguments
from .arguments import LOOP_ARGUMENTS
from .cells.base import Cell
from .rnn import RNN


class CellLayer(RNN):
    """The base class of layers that are named after their cell and take its arguments.

    A subclass sets `cell_class`. Written out or not, its constructor takes the arguments of the
    cell, then those of the loop (`return_sequences`, `stateful`, ...), then `keras.layers.Layer`'s.
    """

    cell_class: ClassVar[type[Cell]]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in cls.cell_class.argument_names():
            setattr(cls, name, property(lambda self, name=name: getattr(self.cell, name)))

    def __init__(self, *args: Any, **kwargs: Any):
        named = arguments.constructor_arguments(type(self), CellLayer)
        accepted = dict.fromkeys((*self.cell_class.argument_names(), *LOOP_ARGUMENTS, *named))
        arguments.check_names(self, kwargs, tuple(accepted))
        loop = {name: kwargs.pop(name) for name in LOOP_ARGUMENTS if name in kwargs}
        use_cudnn = kwargs.pop("use_cudnn", "auto")
        options = arguments.layer_options(kwargs)
        shared = {k: kwargs[k] for k in ("dtype", "trainable", "implementation") if k in kwargs}
        own = {k: v for k, v in kwargs.items() if k not in arguments.LayerOptions.__annotations__}
        cell = self.cell_class(*args, **own, **shared, name="cell")
        super().__init__(cell, **arguments.checked(loop), **options)
        self.input_spec = keras.layers.InputSpec(ndim=3)
        self.use_cudnn = arguments.ARGUMENTS["use_cudnn"].check("use_cudnn", use_cudnn)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["cell"]
        regularizer = keras.regularizers.serialize(self.activity_regularizer)
        cell = arguments.serialized(self.cell, self.cell_class.argument_names())
        # False selects the equations on any machine, so it is saved; True may not work on others.
        equations = {"use_cudnn": False} if self.use_cudnn is False else {}
        return {**config, "activity_regularizer": regularizer, **cell, **equations}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "CellLayer":
        return cls(**config)
