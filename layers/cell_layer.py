"""The layers that are named after their cell."""

from typing import ClassVar

import keras

from . import arguments
from .cells.base import Cell
from .rnn import RNN


class CellLayer(RNN):
    """The base of the layers that are named after their cell and take its arguments."""

    cell_class: ClassVar[type[Cell]]
    own_arguments: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        names = {*cls.cell_class.argument_names, *arguments.OF_THE_LOOP, *cls.own_arguments}
        signature = arguments.signature(names, cls.cell_class.defaults)
        cls.__signature__ = arguments.OfTheClass(signature)
        cls.__doc__ = arguments.describe(cls.__doc__, signature)
        for name in cls.cell_class.argument_names:
            setattr(cls, name, property(lambda self, name=name: getattr(self.cell, name)))

    def __init__(self, *args, **kwargs):
        values, rest = arguments.bind(type(self), args, kwargs)
        use_cudnn = values.pop("use_cudnn", "auto")
        loop = {name: values.pop(name) for name in arguments.OF_THE_LOOP}
        of_both = {name: rest[name] for name in ("dtype", "trainable") if name in rest}
        cell = self.cell_class(**values, **of_both, name="cell")
        super().__init__(cell, **loop, **rest)
        self.input_spec = keras.layers.InputSpec(ndim=3)
        self.use_cudnn = use_cudnn

    def get_config(self):
        loop = super().get_config()
        del loop["cell"]
        regularizer = keras.regularizers.serialize(self.activity_regularizer)
        own = arguments.config(self.cell_class.argument_names, self.cell)
        return {**loop, "activity_regularizer": regularizer, **own}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
