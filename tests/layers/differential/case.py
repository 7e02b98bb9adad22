"""Random test cases, and the layers that they describe."""

import dataclasses
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st

from rnn_topologies import layers

from ..cases import BACKEND
from .cells import CountingCell, ReadoutCell

SIMPLE_RNN, LSTM, GRU = "SimpleRNN", "LSTM", "GRU"
UNITS = 3
# Keras's LSTM and GRU fail on integers on PyTorch.
INPUT_TYPES = ("float16", "float64") if BACKEND == "torch" else ("int32", "float16", "float64")
MASK_TYPES = ("Masking", "bool", "bool", "int32", "float32")
PADDING = 9.0  # for `keras.layers.Masking`


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer, its inputs, and how it is used.

    Attributes:
        kind: a layer's name, or a key of `CELLS` for `RNN` around these cells.
        settings: constructor arguments of the layer or its cells.
        loop: constructor arguments of the loop over time.
        merge_mode: that of `Bidirectional` around the layer; "" without it.
        backward: units of a GRU as `backward_layer`; 0 for a copy of the layer.
        batch, time, features: the inputs' sizes.
        mask: (batch, time) of 0 and 1, or None.
        mask_as: a data type, or "Masking" for the layer of Keras.
        states: whether initial states are passed.
        training: the call argument.
        mode: "call", "gradient", "penalty", "fit", "predict", "save" or "stateful".
        inputs_as: data type of the sequences; "" for that of the layer.
        dynamic: whether models are built for any batch size and number of steps.
        numpy_types: whether the arguments are of NumPy's types.
        seed: of the inputs and the weights.
    """

    kind: str
    settings: dict[str, Any]
    loop: dict[str, Any]
    merge_mode: str | None
    backward: int
    batch: int
    time: int
    features: int
    mask: tuple[tuple[int, ...], ...] | None
    mask_as: str
    states: bool
    training: bool
    mode: str
    inputs_as: str
    dynamic: bool
    numpy_types: bool
    seed: int

    @property
    def bidirectional(self) -> bool:
        return self.merge_mode != ""

    @property
    def dtype(self) -> str:
        return self.settings.get("dtype", "float32")

    def array(self, *shape: int, offset: int = 0) -> np.ndarray:
        values = np.random.default_rng(self.seed + offset).normal(size=shape)
        return values.astype("float64" if self.dtype == "float64" else "float32")


# Cells for `RNN`: `settings` without those that only layers take.
CELLS = {
    "keras SimpleRNNCell": lambda a: keras.layers.SimpleRNNCell(UNITS, **a),
    "keras LSTMCell": lambda a: keras.layers.LSTMCell(UNITS, **a),
    "keras GRUCell": lambda a: keras.layers.GRUCell(UNITS, **a),
    "our SimpleRNNCell": lambda a: layers.SimpleRNNCell(UNITS, **a),
    "our LSTMCell": lambda a: layers.LSTMCell(UNITS, **a),
    "our GRUCell": lambda a: layers.GRUCell(UNITS, **a),
    "list": lambda a: [keras.layers.LSTMCell(UNITS, **a), keras.layers.SimpleRNNCell(2, **a)],
    "list of ours": lambda a: [layers.GRUCell(UNITS, **a), layers.LSTMCell(2, **a)],
    "keras StackedRNNCells": lambda a: keras.layers.StackedRNNCells(
        [keras.layers.GRUCell(2, **a), keras.layers.LSTMCell(UNITS, **a)]
    ),
    "CountingCell": lambda a: CountingCell(**_policy(a)),
    "ReadoutCell": lambda a: ReadoutCell(UNITS, 4, **_policy(a)),
}
OURS = ("our SimpleRNNCell", "our LSTMCell", "our GRUCell", "list of ours")
STACKS = ("list", "list of ours", "keras StackedRNNCells")


def _policy(settings):
    return {"dtype": settings["dtype"]} if "dtype" in settings else {}


@st.composite
def cases(draw) -> Case:
    """Draws a case; most of them are small enough to take milliseconds."""
    kind = draw(st.sampled_from([SIMPLE_RNN, LSTM, GRU] * 4 + list(CELLS)))
    mode = draw(st.sampled_from(["call"] * 4 + ["gradient"] * 3 + ["penalty", "stateful", "save"]))
    if draw(st.integers(0, 9)) == 0:
        mode = draw(st.sampled_from(["fit", "predict"]))
    flag = st.booleans()
    loop = {name: True for name in ("return_sequences", "go_backwards") if draw(flag)}
    loop |= {"unroll": True} if draw(st.integers(0, 7)) == 0 else {}
    loop |= {"return_state": True} if mode != "fit" and draw(flag) else {}
    loop |= {"zero_output_for_mask": True} if draw(st.integers(0, 3)) == 0 else {}
    loop |= {"stateful": True} if mode == "stateful" else {}
    merge_mode = ""
    if draw(st.integers(0, 3)) == 0:
        loop.pop("go_backwards", None)
        merge_mode = draw(st.sampled_from(["concat", "sum", "mul", "ave", None]))
    backward = 0
    if merge_mode in ("concat", None) and mode != "stateful" and draw(flag):
        backward = draw(st.integers(1, 4))
    inputs_as = mode == "call" and draw(st.integers(0, 4)) == 0
    if mode == "fit" and merge_mode is None:
        merge_mode = "concat"
    if mode == "stateful" and merge_mode != "":
        loop.pop("return_state", None)  # Keras's `compute_mask` raises TypeError
    batch, time, features = (draw(st.integers(1, 4)) for _ in range(3))
    mask = draw(st.none() | _masks(batch, time))
    if mode == "fit" and not np.any(mask):
        mask = None  # some optimizers of Keras skip weights without gradients
    settings = draw(_settings(kind))
    if merge_mode != "" and "SimpleRNN" in kind:
        settings.pop("seed", None)  # Keras's SimpleRNN forgets it when `Bidirectional` copies it
    # With a mask, the reference calls the layer for each row, and our cells only draw dropout masks
    # in our `RNN`.
    if mask is not None or kind in OURS:
        for name in ("dropout", "recurrent_dropout", "activity_regularizer"):
            settings.pop(name, None)
    return Case(
        kind=kind,
        settings=settings,
        loop=loop,
        merge_mode=merge_mode,
        backward=backward,
        batch=batch,
        time=time,
        features=features,
        mask=mask,
        mask_as=draw(st.sampled_from(MASK_TYPES[mode == "stateful" :])),
        states=mode not in ("fit", "stateful") and draw(flag),
        training=mode in ("call", "gradient", "penalty") and draw(flag),
        mode=mode,
        inputs_as=draw(st.sampled_from(INPUT_TYPES)) if inputs_as else "",
        dynamic=draw(flag) and not {"unroll", "stateful"} & loop.keys() and mode != "fit",
        numpy_types=draw(st.integers(0, 9)) == 0,
        seed=draw(st.integers(0, 999)),
    )


@st.composite
def _settings(draw, kind):
    """Draws arguments other than the defaults for some of the names."""
    activations = ["tanh", "relu", "linear", "sigmoid", "softsign", None]
    choices = {
        "activation": st.sampled_from(activations),
        "use_bias": st.just(False),
        "dropout": st.sampled_from([0.3, 0.0]),
        "recurrent_dropout": st.sampled_from([0.25, 0]),
        "kernel_initializer": st.sampled_from(["he_normal", "zeros"]),
        "recurrent_initializer": st.sampled_from(["glorot_normal", "identity"]),
        "bias_initializer": st.sampled_from(["ones", "random_uniform"]),
        "kernel_regularizer": st.sampled_from(["l2", "l1"]),
        "recurrent_constraint": st.just("unit_norm"),
        "seed": st.integers(0, 9),
        "dtype": st.sampled_from(["float32", "mixed_bfloat16", "float64"]),
        "trainable": st.just(False),
    }
    if kind in (LSTM, GRU):
        choices["activity_regularizer"] = st.just("l2")  # Keras's SimpleRNN ignores it
        choices["recurrent_activation"] = st.sampled_from(activations)
        choices["use_cudnn"] = st.sampled_from(["auto", False])
    if kind == LSTM:
        choices["unit_forget_bias"] = st.just(False)
    if kind == GRU:
        choices["reset_after"] = st.booleans()
    if BACKEND == "jax":  # float64 only if configured before the import
        choices["dtype"] = st.sampled_from(["float32", "mixed_bfloat16"])
    names = draw(st.lists(st.sampled_from(sorted(choices)), max_size=3, unique=True))
    return {name: draw(choices[name]) for name in names}


@st.composite
def _masks(draw, batch, time):
    right_padded = draw(st.booleans())
    rows = []
    for _ in range(batch):
        if right_padded:
            length = draw(st.integers(1, time))
            rows.append(tuple(int(t < length) for t in range(time)))
        else:
            rows.append(tuple(draw(st.lists(st.integers(0, 1), min_size=time, max_size=time))))
    return tuple(rows)


def build(case: Case, library: Any, **loop: bool) -> keras.layers.Layer:
    """Returns the layer of a case, of `keras.layers` or of this library, not yet built.

    Args:
        case: what to build.
        library: the module that has `RNN`, `LSTM`, ...
        **loop: replaces some of `case.loop`.
    """
    policy = _policy(case.settings)
    settings, loop = case.settings, {**case.loop, **loop}
    if case.numpy_types:
        settings, loop = _as_numpy(settings), _as_numpy(loop)
    if case.kind in CELLS:
        layer = library.RNN(CELLS[case.kind](dict(settings)), **loop, **policy)
    else:
        layer = getattr(library, case.kind)(UNITS, **settings, **loop)
    if not case.bidirectional:
        return layer
    backward = None
    if case.backward:
        backward = library.GRU(case.backward, go_backwards=True, **loop, **policy)
    return library.Bidirectional(
        layer, merge_mode=case.merge_mode, backward_layer=backward, **policy
    )


def _as_numpy(arguments):
    """Returns the arguments with flags and rates of NumPy's types, where Keras takes them."""
    types = {bool: np.bool_, float: np.float32}
    return {
        name: value if name == "trainable" else types.get(type(value), lambda v: v)(value)
        for name, value in arguments.items()
    }
