"""What can be put around any cell: zoneout, residual, highway, recurrent dropout, first states."""

import contextlib
import numbers

import keras
from keras import ops

from . import arguments
from .cell import RecurrentCell, takes_training


@keras.saving.register_keras_serializable(package="rnn_topologies")
class CellWrapper(RecurrentCell):
    """A cell around a cell: the base of the wrappers.

    A subclass overrides `change`, which gets the values of a step of the inner cell, and may
    give it other states in `enter`. States, their names and their sizes are those of the inner
    cell, which may be of any kind that `RNN` takes, another wrapper too. The states of a cell
    that is not ours are called state_0, state_1, ..., and as in Keras the first is its output.

    Attributes:
        cell: the inner cell.
    """

    own_noise_size = 0  # random numbers that a step of the wrapper itself needs in training

    def __init__(self, cell, **kwargs):
        is_cell = hasattr(cell, "state_size") and not isinstance(cell, keras.layers.RNN)
        if not isinstance(cell, keras.layers.Layer) or not is_cell:
            raise TypeError(
                f"{type(self).__name__} goes around a recurrent cell, such as `LSTMCell(32)`, got "
                f"{cell!r}."
            )
        kwargs.setdefault("dtype", cell.dtype_policy)
        super().__init__(**kwargs)
        self.cell = cell
        self.state_size = cell.state_size
        numbered = [f"state_{number}" for number in range(len(self.state_sizes))]
        self.state_names = tuple(getattr(cell, "state_names", numbered))
        self.output_name = getattr(cell, "output_name", self.state_names[0])
        self.output_size = getattr(cell, "output_size", None) or self.state_sizes[0]
        self.top_state = getattr(cell, "top_state", 0)

    def build(self, input_shape):
        if not self.cell.built:
            self.cell.build(input_shape)
            self.cell.built = True
        self.features = input_shape[-1]
        self.built = True

    @property
    def noise_size(self):
        return self.own_noise_size + getattr(self.cell, "noise_size", 0)

    def noise(self, shape):
        drawn = []
        if getattr(self.cell, "noise_size", 0):
            drawn.append(self.cell.noise(shape))
        if self.own_noise_size:
            shape = (*shape, self.own_noise_size)
            dtype, seed = self.compute_dtype, self.seed_generator
            drawn.append(keras.random.uniform(shape, dtype=dtype, seed=seed))
        return ops.concatenate(drawn, axis=-1)

    @contextlib.contextmanager
    def sequence(self, inputs, states, training):
        with contextlib.ExitStack() as stack:
            if isinstance(self.cell, RecurrentCell):
                stack.enter_context(self.cell.sequence(inputs, states, training))
            yield

    def values(self, inputs, states, training=False):
        states, noise = self.unpack(states), None
        x = inputs[:, : self.features]
        self.check_noise(inputs, training)
        if training and self.own_noise_size:
            inputs, noise = ops.split(inputs, [inputs.shape[-1] - self.own_noise_size], axis=-1)
        values = self._inner_values(inputs, self.enter(states, training), training)
        return {**values, **self.change(values, x, states, noise)}

    def _inner_values(self, inputs, states, training):
        if isinstance(self.cell, RecurrentCell):
            return self.cell.values(inputs, states, training)
        single = not isinstance(self.cell.state_size, list | tuple)
        settings = {"training": training} if takes_training(self.cell) else {}
        _, new = self.cell(inputs, states[0] if single else list(states), **settings)
        new = new if isinstance(new, list | tuple) else [new]
        return dict(zip(self.state_names, new, strict=True))

    def enter(self, states, training):
        """Returns the states that the inner cell starts its step from."""
        return states

    def change(self, values, inputs, states, noise) -> dict:
        """Returns what the wrapper adds to the values of a step, or puts in their place.

        Args:
            values: of the inner cell, its new states and its output among them.
            inputs: (batch, features) of this step.
            states: before the step.
            noise: (batch, own_noise_size) in [0, 1) in training, else None.
        """
        return {}

    def get_initial_state(self, batch_size=None):
        states = self.cell.get_initial_state(batch_size=batch_size)
        return list(states) if isinstance(states, list | tuple) else [states]

    def get_config(self):
        config = super().get_config()
        return {**config, "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        return cls(keras.saving.deserialize_keras_object(config.pop("cell")), **config)


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Zoneout(CellWrapper):
    """Keeps some units of the states as they were, others at every step: dropout for memory.

        d  = 1 with probability rate, else 0      drawn anew for every step and unit
        s' = d * s + (1 - d) * cell(x, s)         in training
        s' = rate * s + (1 - rate) * cell(x, s)   else: the mean of it

    for every state s. Unlike dropout it loses nothing, and the gradient passes kept units
    unchanged. Put it directly around the cell that has the states.

    Args:
        cell: a recurrent cell.
        rates: the probability to keep a unit, in [0, 1): one for all states, or a dictionary with
            one for each name, such as the paper's `{"h": 0.05, "c": 0.5}` for an LSTM.
        seed: seed of what is drawn.

    Call arguments:
        inputs: (batch, features); in training, behind them, `noise((batch,))`. `RNN` sees to it.
        states: as of the inner cell.
        training: whether units are kept at random.

    Raises:
        ValueError, TypeError: a rate is out of range or its state unknown; in training, the
            inputs have no random numbers.

    Example:
        >>> layer = RNN(Zoneout(LSTMCell(4), {"h": 0.05, "c": 0.5}))
        >>> tuple(layer(np.ones((2, 5, 3)), training=True).shape)
        (2, 4)

    Reference: Krueger et al., 2017, "Zoneout: regularizing RNNs by randomly preserving hidden
    activations".
    """

    def __init__(self, cell, rates=0.1, seed=None, **kwargs):
        super().__init__(cell, **kwargs)
        self.rates = rates
        if isinstance(rates, numbers.Real):
            rates = dict.fromkeys(self.state_names, rates)
        for name in rates:
            if name not in self.state_names:
                raise ValueError(
                    f"`rates` of Zoneout names {name!r}; the states of "
                    f"{type(cell).__name__} are {', '.join(self.state_names)}."
                )
        self._rates = [arguments.rate("rates", rates.get(name, 0.0)) for name in self.state_names]
        self.seed = arguments.optional_integer("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        pairs = zip(self.state_sizes, self._rates, strict=True)
        self.own_noise_size = sum(size for size, rate in pairs if rate)

    def change(self, values, inputs, states, noise):
        changed, place = {}, 0
        for name, size, rate, old in zip(
            self.state_names, self.state_sizes, self._rates, states, strict=True
        ):
            if rate and noise is None:
                changed[name] = rate * old + (1 - rate) * values[name]
            elif rate:
                kept = noise[:, place : place + size] < rate
                changed[name] = ops.where(kept, old, values[name])
                place += size
        return changed

    def get_config(self):
        return {**super().get_config(), "rates": self.rates, "seed": self.seed}


class _AroundTheOutput(CellWrapper):
    """A wrapper that leaves the states alone and makes another output, `y`, of the same width."""

    def __init__(self, cell, **kwargs):
        super().__init__(cell, **kwargs)
        self.inner_output_name, self.output_name = self.output_name, "y"

    def build(self, input_shape):
        if input_shape[-1] != self.output_size:
            raise ValueError(
                f"{type(self).__name__} adds inputs and outputs, which must be of one width; the "
                f"inputs have {input_shape[-1]} features, {type(self.cell).__name__} gives "
                f"{self.output_size}. Put a `Dense({self.output_size})` before the layer, or give "
                f"the cell {input_shape[-1]} units."
            )
        super().build(input_shape)


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Residual(_AroundTheOutput):
    """Adds the input to the output of a cell, so that deep stacks of cells learn from the start.

        y = x + h'

    The states stay those of the cell; the next cell of a stack reads y. At padded steps y is
    held, and zero before the first valid one.

    Args:
        cell: a recurrent cell as wide as its inputs.

    Call arguments:
        inputs: (batch, units).
        states: as of the inner cell.
        training: passed on to the cell.

    Raises:
        ValueError: inputs and output differ in width.

    Example:
        >>> stack = RNN(StackedCells([GRUCell(4), Residual(GRUCell(4)), Residual(GRUCell(4))]))
        >>> tuple(stack(np.ones((2, 5, 3))).shape)
        (2, 4)

    References: He et al., 2016, "Deep residual learning for image recognition"; Wu et al., 2016,
    "Google's neural machine translation system" (between recurrent layers).
    """

    def change(self, values, inputs, states, noise):
        return {"y": inputs + values[self.inner_output_name]}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Highway(_AroundTheOutput):
    """Lets a gate choose, unit by unit, between the output of a cell and its input.

        t = sigmoid(x W + b)          transform gate
        y = t * h' + (1 - t) * x

    The states stay those of the cell. At padded steps y is held, and zero before the first valid
    one.

    Weights:
        kernel W (units, units), bias b (units,).

    Args:
        cell: a recurrent cell as wide as its inputs.
        bias_initializer: first value of b; below 0 the input passes at first, as the paper
            proposes.
        kernel_initializer: first values of W.

    Call arguments:
        inputs: (batch, units).
        states: as of the inner cell.
        training: passed on to the cell.

    Raises:
        ValueError: inputs and output differ in width.

    Example:
        >>> layer = RNN(Highway(GRUCell(3)), return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 3)

    Reference: Srivastava, Greff and Schmidhuber, 2015, "Highway networks".
    """

    def __init__(self, cell, bias_initializer=None, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(cell, **kwargs)
        bias_initializer = (
            keras.initializers.Constant(-1.0) if bias_initializer is None else bias_initializer
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        super().build(input_shape)
        shape = (self.features, self.output_size)
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=self.kernel_initializer
        )
        self.bias = self.add_weight(name="bias", shape=shape[1:], initializer=self.bias_initializer)

    def change(self, values, inputs, states, noise):
        t = ops.sigmoid(ops.matmul(inputs, self.kernel) + self.bias)
        return {"t": t, "y": t * values[self.inner_output_name] + (1 - t) * inputs}

    def get_config(self):
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "bias_initializer": serialize(self.bias_initializer),
            "kernel_initializer": serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="rnn_topologies")
class RecurrentDropout(CellWrapper):
    """Drops the same units of h at every step of a sequence, before the cell reads it.

        m  = 0 with probability rate, else 1 / (1 - rate)     drawn once for each sequence
        h' = cell(x, m * h)

    The other states, such as the c of an LSTM, are left alone. Where a cell carries h over
    itself (GRU, minGRU) a dropped unit is forgotten as well: there the argument
    `recurrent_dropout` of the cell drops h on its way into the gates only.

    Args:
        cell: a recurrent cell.
        rate: the fraction to drop, in [0, 1).
        seed: seed of what is drawn.

    Call arguments:
        inputs: (batch, features).
        states: as of the inner cell.
        training: whether units are dropped.

    Raises:
        ValueError, TypeError: `rate` is out of range; in training, nothing drew a mask for the
            sequence, since the cell runs in another loop than `RNN`.

    Example:
        >>> layer = RNN(RecurrentDropout(LSTMCell(4), 0.2))
        >>> tuple(layer(np.ones((2, 5, 3)), training=True).shape)
        (2, 4)

    Reference: Gal and Ghahramani, 2016, "A theoretically grounded application of dropout in
    recurrent neural networks".
    """

    def __init__(self, cell, rate=0.1, seed=None, **kwargs):
        super().__init__(cell, **kwargs)
        self.rate = arguments.rate("rate", rate)
        self.seed = arguments.optional_integer("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._mask = None

    @contextlib.contextmanager
    def sequence(self, inputs, states, training):
        with super().sequence(inputs, states, training):
            if training and self.rate:
                ones = ops.ones_like(self.unpack(states)[0])
                self._mask = keras.random.dropout(ones, self.rate, seed=self.seed_generator)
            try:
                yield
            finally:
                self._mask = None

    def enter(self, states, training):
        if not training or not self.rate:
            return states
        if self._mask is None:
            raise ValueError(
                "RecurrentDropout drops the same units at every step, and nothing drew them for "
                "this sequence. Run the cell in `rnn_topologies.layers.RNN`, or call it within "
                "`with cell.sequence(inputs, states, training=True):`."
            )
        return (states[0] * self._mask, *states[1:])

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class TrainableInitialState(CellWrapper):
    """Learns the states that a cell starts from, in place of zeros.

        s_0 = a weight, the same for every sequence, for every state s

    It is used where no `initial_state` is given, by a stateful layer after `reset_state` too.

    Weights:
        initial_h, ...: (width,), one for each state, named after it.

    Args:
        cell: a recurrent cell.
        initializer: first values of the weights.

    Call arguments:
        inputs: (batch, features).
        states: as of the inner cell.
        training: passed on to the cell.

    Example:
        >>> layer = RNN(TrainableInitialState(LSTMCell(4)))
        >>> tuple(layer(np.ones((2, 5, 3))).shape), len(layer.trainable_weights)
        ((2, 4), 5)
    """

    def __init__(self, cell, initializer="zeros", **kwargs):
        super().__init__(cell, **kwargs)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape):
        super().build(input_shape)
        self.first_states = [
            self.add_weight(name=f"initial_{name}", shape=(size,), initializer=self.initializer)
            for name, size in zip(self.state_names, self.state_sizes, strict=True)
        ]

    def get_initial_state(self, batch_size=None):
        zeros = super().get_initial_state(batch_size)
        pairs = zip(zeros, self.first_states, strict=True)
        return [zero + ops.cast(first, zero.dtype) for zero, first in pairs]

    def get_config(self):
        serialized = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "initializer": serialized}
