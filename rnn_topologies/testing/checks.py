"""What is checked of a cell; each check raises a `CellError` that says how to mend it."""

import inspect
import pathlib
import tempfile
from collections.abc import Callable

import keras
import numpy as np
from keras import ops, tree

from rnn_topologies import layers

from .parity import check_parity
from .subject import (
    BATCH,
    MASK,
    NEAR,
    TIME,
    CellError,
    Skipped,
    as_numpy,
    given,
    layer_of,
    listed,
    near,
    one_step,
    run,
    says,
    sizes_of,
)


def check_contract(subject):
    """Sizes, number and shapes of states, shape of the output, the first states."""
    with says("The cell cannot be made and built with what was given."):
        cell = subject.built()
    sizes = getattr(cell, "state_size", None)
    is_list = isinstance(sizes, list | tuple) and sizes and all(isinstance(n, int) for n in sizes)
    if not isinstance(sizes, int) and not is_list:
        raise CellError(
            f"`state_size` must be the width of the state, or a list of widths, got {sizes!r}. Set "
            "it in `__init__`."
        )
    x, states = subject.sequence()[:, 0], subject.states(cell)
    with says("`call(inputs, states)` fails on one step. It must take a list of states."):
        answer = cell(ops.convert_to_tensor(x), given(cell, states))
    if not isinstance(answer, list | tuple) or len(answer) != 2:
        raise CellError("`call` must return two things: the output and the new states.")
    output, new = answer
    if not isinstance(new, list | tuple) or len(new) != len(states):
        count = len(new) if isinstance(new, list | tuple) else "a tensor"
        raise CellError(
            f"`call` must return its new states in a list, one for each of `state_size` "
            f"({len(states)}), got {count}. End it with `return output, [h, ...]`."
        )
    for number, (state, size) in enumerate(zip(new, sizes_of(cell), strict=True)):
        if tuple(state.shape) != (BATCH, size):
            raise CellError(
                f"State {number} comes back as {tuple(state.shape)}, and `state_size` says "
                f"{(BATCH, size)}. The loop carries states from step to step: their shapes must "
                "not change."
            )
    width = getattr(cell, "output_size", None) or sizes_of(cell)[0]
    if tuple(output.shape) != (BATCH, width):
        raise CellError(
            f"The output has the shape {tuple(output.shape)}, expected {(BATCH, width)}. Set "
            "`output_size` to its width; without it, that is the first state's."
        )
    if hasattr(cell, "get_initial_state"):
        with says("`get_initial_state(batch_size=...)` fails."):
            first = listed(cell.get_initial_state(batch_size=BATCH))
        shapes = [tuple(state.shape) for state in first]
        if shapes != [(BATCH, size) for size in sizes_of(cell)]:
            raise CellError(
                f"`get_initial_state` gives {shapes}, and `state_size` says "
                f"{[(BATCH, size) for size in sizes_of(cell)]}."
            )


def check_output_state(subject):
    """The first state is the output, since loops repeat it at padded steps."""
    cell = subject.built()
    output, new = one_step(cell, subject.sequence()[:, 0], subject.states(cell))
    held = new[0]
    if isinstance(cell, layers.RecurrentCell):
        held = cell.output_state(new)
        if held is None:
            raise Skipped("the cell says that its output is no state, and `RNN` holds it itself")
    if not near(output, held):
        raise CellError(
            "The first state is not the output. Loops take it for the output of the step before, "
            "and repeat it at padded steps. Put it first, or derive from "
            "`rnn_topologies.layers.RecurrentCell` and name the output in `output_name`."
        )


def check_purity(subject):
    """The same step twice gives the same."""
    cell = subject.built()
    x, states = subject.sequence()[:, 0], subject.states(cell)
    first = one_step(cell, x, states)
    one_step(cell, 3 * x, states)
    if not near(first, one_step(cell, x, states)):
        raise CellError(
            "The same inputs and states give other numbers the second time: the cell remembers "
            "something outside its states, or draws at random without training. Keep everything "
            "that goes from step to step in the states."
        )


def check_rows(subject):
    """A row of a batch knows nothing of the others."""
    cell = subject.built()
    x, states = subject.sequence()[:, 0], subject.states(cell)
    whole = one_step(cell, x, states)
    alone = one_step(cell, x[:1], [state[:1] for state in states])
    if not near(tree.map_structure(lambda value: value[:1], whole), alone):
        raise CellError(
            "A row's output depends on the other rows of its batch. Take means and maxima over the "
            "last axis, never over the first."
        )


def check_memory(subject):
    """The output depends on what was read before."""
    cell = subject.built()
    x = subject.sequence()[:, 0]
    one = one_step(cell, x, subject.states(cell, seed=2))
    other = one_step(cell, x, subject.states(cell, seed=3))
    if near(one, other):
        raise CellError(
            "Neither output nor new states depend on the old states: the cell remembers nothing. "
            "Multiply the old state by a recurrent kernel, or carry it over."
        )


def check_loop(subject):
    """A layer equals a Python loop over the cell, unrolled or not."""
    cell = subject.built()
    x, states = subject.sequence(), subject.states(cell)
    now, outputs = states, []
    for t in range(TIME):
        output, now = one_step(cell, x[:, t], now)
        outputs.append(output)
    wanted = (np.stack(outputs, axis=1), now)
    for unroll in (False, True):
        with says(f"A layer around the cell fails (unroll={unroll})."):
            found = run(layer_of(cell, unroll=unroll), x, states)
        if not near(found, wanted):
            raise CellError(
                f"A layer around the cell (unroll={unroll}) gives other numbers than one call "
                "after the other. `call` must be a function of its arguments and the weights."
            )


def check_chunks(subject):
    """A sequence in two parts, the states handed on, equals the whole."""
    cell = subject.built()
    layer, x, states = layer_of(cell), subject.sequence(), subject.states(cell)
    whole, last = run(layer, x, states)
    first, now = run(layer, x[:, :2], states)
    second, now = run(layer, x[:, 2:], now)
    if not near([np.concatenate([first, second], axis=1), now], [whole, last]):
        raise CellError(
            "A sequence read in two parts gives other numbers than read as a whole: the states do "
            "not hold all that is remembered, or the step counts."
        )


def check_mask(subject):
    """Padded steps change nothing."""
    cell = subject.built()
    layer, x, states = layer_of(cell), subject.sequence(), subject.states(cell)
    with says("A layer around the cell fails with a mask."):
        outputs, last = run(layer, x, states, MASK)
    other, other_last = run(layer, np.where(MASK[..., None], x, 50.0), states, MASK)
    if not near([outputs, last], [other, other_last]):
        raise CellError("What stands at padded steps changes the outputs or the last states.")
    for row in range(BATCH):
        short = x[row : row + 1, MASK[row]]
        alone, end = run(layer, short, [state[row : row + 1] for state in states])
        kept = [outputs[row : row + 1, MASK[row]], [state[row : row + 1] for state in last]]
        if not near(kept, [alone, end]):
            raise CellError(
                "A sequence with padded steps gives other numbers than the same without them."
            )


def _gradients_of(cell, x, states):
    """Returns d mean(outputs^2 + last states^2) / d weights, inputs, states."""
    layer = layer_of(cell)
    layer.build(x.shape)

    def loss(x, states):
        outputs, *last = layer(x, initial_state=list(states), training=False)
        own, *_ = layer(x, training=False)  # from the states that the cell itself begins with
        squares = [ops.mean(value**2) for value in (outputs, own, *last)]
        return sum(squares[1:], squares[0])

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x, states = tf.constant(x), [tf.constant(state) for state in states]
        with tf.GradientTape() as tape:
            tape.watch([x, *states])
            value = loss(x, states)
        variables = [weight.value for weight in cell.trainable_weights]
        found = tape.gradient(value, [*variables, x, *states])
        return [None if g is None else np.asarray(tf.convert_to_tensor(g)) for g in found]
    if backend == "torch":
        import torch

        x = torch.tensor(x, requires_grad=True)
        states = [torch.tensor(state, requires_grad=True) for state in states]
        leaves = [*(weight.value for weight in cell.trainable_weights), x, *states]
        found = torch.autograd.grad(loss(x, states), leaves, allow_unused=True)
        return [None if g is None else g.numpy() for g in found]
    import jax

    def of_weights(values, x, states):
        mapping = list(zip(cell.trainable_weights, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return loss(x, states)

    values = [weight.value for weight in cell.trainable_weights]
    found = jax.grad(of_weights, argnums=(0, 1, 2))(
        values, jax.numpy.asarray(x), [jax.numpy.asarray(state) for state in states]
    )
    return [np.asarray(gradient) for gradient in (*found[0], found[1], *found[2])]


def check_gradients(subject):
    """Gradients by every weight, the inputs and the states are finite and not zero."""
    cell = subject.built()
    with says("No gradient can be computed. Use `keras.ops`, not NumPy, in `call`."):
        found = _gradients_of(cell, subject.sequence(), subject.states(cell))
    names = [f"weight `{weight.name}`" for weight in cell.trainable_weights]
    names += ["inputs", *(f"state {number}" for number in range(len(sizes_of(cell))))]
    for name, gradient in zip(names, found, strict=True):
        if gradient is None or not gradient.any():
            raise CellError(
                f"The gradient by the {name} is zero everywhere: nothing that comes out depends on "
                "it. Use it in `call`, or do not make it; and compute with `keras.ops`."
            )
        if not np.isfinite(gradient).all():
            raise CellError(
                f"The gradient by the {name} is not finite. Look for roots, logarithms and "
                "quotients of what can be zero; add an epsilon inside."
            )


def check_serialization(subject):
    """A cell comes back from its config, and a model from its file."""
    cell = subject.built()
    x, states = subject.sequence()[:, 0], subject.states(cell)
    wanted = one_step(cell, x, states)
    mend = "`get_config` must hold every argument of `__init__`, and `super().get_config()`."
    with says(f"The cell cannot be made from its own config. {mend}"):
        again = subject.cell_class.from_config(cell.get_config())
        again.build((None, subject.features))
        again.built = True
        again.set_weights(cell.get_weights())
    if not near(one_step(again, x, states), wanted):
        raise CellError(f"The cell made from its own config gives other numbers. {mend}")
    inputs = keras.Input((None, subject.features))
    model = keras.Model(inputs, layers.RNN(cell, return_sequences=True)(inputs))
    sequence = subject.sequence()
    before = as_numpy(model(ops.convert_to_tensor(sequence)))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        with says(
            "A model with the cell cannot be saved and loaded. Decorate the class with "
            "`@keras.saving.register_keras_serializable(package=...)` and make every weight in "
            "`build`."
        ):
            model.save(path)
            known = {subject.cell_class.__name__: subject.cell_class}
            loaded = keras.saving.load_model(path, custom_objects=known)
            after = as_numpy(loaded(ops.convert_to_tensor(sequence)))
    if not near(after, before):
        raise CellError("A model with the cell gives other numbers after saving and loading.")


def check_mixed_precision(subject):
    """In mixed_bfloat16 it computes in half, keeps weights whole, and is about right."""
    if "dtype" not in inspect.signature(subject.cell_class.__init__).parameters and not any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD
        for parameter in inspect.signature(subject.cell_class.__init__).parameters.values()
    ):
        raise CellError("`__init__` takes no `dtype`. Take `**kwargs` and hand it to `super()`.")
    whole = subject.built()
    wanted, _ = run(layer_of(whole), subject.sequence(), subject.states(whole))
    with says(
        "The cell fails in mixed_bfloat16. Make what is new in `self.compute_dtype`, as "
        "`get_initial_state` should, and hand `**kwargs` to `super().__init__`."
    ):
        half = subject.built(dtype="mixed_bfloat16")
        layer = layer_of(half, dtype="mixed_bfloat16")
        states = [ops.cast(state, "bfloat16") for state in subject.states(half)]
        outputs, *_ = layer(ops.cast(subject.sequence(), "bfloat16"), initial_state=states)
        layer(ops.cast(subject.sequence(), "bfloat16"))
    if keras.backend.standardize_dtype(outputs.dtype) != "bfloat16":
        raise CellError(
            f"In mixed_bfloat16 the output is {outputs.dtype}, not bfloat16: something of another "
            "type is mixed in, such as a constant made without `dtype=self.compute_dtype`."
        )
    if any(keras.backend.standardize_dtype(w.dtype) != "float32" for w in half.weights):
        raise CellError(
            "In mixed_bfloat16 weights must stay float32. Make them with `self.add_weight`."
        )
    scale = max(1.0, float(np.abs(wanted).max()))
    if not np.abs(as_numpy(outputs) - wanted).max() < 0.1 * scale:  # bfloat16 has 8 bits
        raise CellError("In mixed_bfloat16 the outputs are off by more than a tenth.")


def check_compiled(subject):
    """Inside a compiled model, of any batch size and length, it gives the same numbers."""
    cell = subject.built()
    mend = (
        "Inside `call`, use `keras.ops` on tensors only: no NumPy, no `if` on values, no "
        "`inputs.shape[0]`, which is unknown there (`ops.shape(inputs)[0]`)."
    )
    wanted = as_numpy(layer_of(cell)(ops.convert_to_tensor(subject.sequence()))[0])
    with says(f"A model with the cell does not compile for any length. {mend}"):
        inputs = keras.Input((None, subject.features))
        model = keras.Model(inputs, layers.RNN(cell, return_sequences=True)(inputs))
        if model.output_shape[:2] != (None, None):
            raise CellError(f"The model's output shape is {model.output_shape}. {mend}")
        found = model.predict(subject.sequence(), verbose=0)
        model.predict(subject.sequence()[:2, :3], verbose=0)
    if not near(found, wanted):
        raise CellError(f"Compiled, the cell gives other numbers than step by step. {mend}")


def check_reference(subject):
    """A step equals the NumPy reference."""
    if subject.reference is None:
        raise Skipped("no `reference` was given")
    cell = subject.built()
    x, states = subject.sequence()[:, 0], subject.states(cell)
    weights = [weight.astype("float64") for weight in cell.get_weights()]
    wanted = subject.reference(
        x.astype("float64"), [state.astype("float64") for state in states], weights
    )
    _, new = one_step(cell, x, states)
    for number, (found, value) in enumerate(zip(new, wanted, strict=True)):
        if not np.allclose(found, value, **NEAR):
            raise CellError(
                f"State {number} is off the reference by up to {np.abs(found - value).max():.2g}. "
                "Look at the order of the gates in the weights, at signs, and at which state, old "
                "or new, enters where."
            )


CHECKS: dict[str, Callable] = {
    "contract": check_contract,
    "output state": check_output_state,
    "purity": check_purity,
    "rows": check_rows,
    "memory": check_memory,
    "loop": check_loop,
    "chunks": check_chunks,
    "mask": check_mask,
    "gradients": check_gradients,
    "serialization": check_serialization,
    "mixed precision": check_mixed_precision,
    "compiled": check_compiled,
    "reference": check_reference,
    "parity": check_parity,
}
