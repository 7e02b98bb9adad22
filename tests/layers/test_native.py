"""The CPU kernel computes the equations with every instruction set and mask."""

import itertools
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from rnn_topologies import layers
from rnn_topologies.layers import native
from rnn_topologies.layers.dispatch import plan
from rnn_topologies.layers.native import compiled, location

from . import cases, reference

CELLS = native.CELLS
TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}
SOURCE = pathlib.Path(native.__file__).parent / "src"
MASKS = {"none": None, **cases.MASKS}


if location.library_path() is None and shutil.which("g++") is None:
    pytest.skip("the CPU kernel was not built: there is no g++", allow_module_level=True)


def available(name) -> bool:
    return compiled.load_library().rnn_topologies_choose(name.encode()) == 0


INSTRUCTION_SETS = [name for name in native.INSTRUCTION_SETS if available(name)]
each_set = pytest.mark.parametrize("instructions", INSTRUCTION_SETS)
each_cell = pytest.mark.parametrize("name", CELLS)


def test_the_kernel_is_built_with_a_portable_instruction_set():
    assert native.fallback_reason() is None
    assert INSTRUCTION_SETS[-1] == "portable"


def make(name, units, features, seed=1, dtype="float32", **settings):
    """Returns a layer with random weights, and the weights."""
    layer_class, arguments = cases.LAYERS[name]
    layer = layer_class(units, dtype=dtype, **arguments, **settings)
    layer.build((None, None, features))
    generator = np.random.default_rng(seed)
    scale = 1 / np.sqrt(units)
    weights = [generator.normal(size=w.shape) * scale for w in layer.get_weights()]
    layer.set_weights(weights)
    return layer, [w.astype("float32").astype("float64") for w in weights]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def states_of(name, batch, units):
    count = 2 if name == "lstm" else 1
    return [normal(batch, units, seed=seed) for seed in range(2, 2 + count)]


@each_set
@each_cell
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("go_backwards", [False, True])
def test_outputs_and_states_equal_numpy(monkeypatch, instructions, name, mask, go_backwards):
    monkeypatch.setenv(native.KERNEL_VARIABLE, instructions)
    settings = {"return_sequences": True, "return_state": True, "go_backwards": go_backwards}
    layer, weights = make(name, cases.UNITS, cases.FEATURES, **settings)
    valid = None if MASKS[mask] is None else np.array(MASKS[mask], bool)
    x = normal(cases.BATCH, cases.TIME, cases.FEATURES)
    assert layer.explain(x.shape, mask=valid).method == plan.NATIVE
    assert native.instruction_set() == instructions
    states = states_of(name, cases.BATCH, cases.UNITS)
    outputs, *last = cases.numpy(layer(x, initial_state=states, mask=valid))
    step = reference.STEPS[name]
    expected, expected_last = reference.sequence(step, x, states, weights, valid, go_backwards)
    started = np.ones(expected.shape[:2], bool)
    if valid is not None:  # before the first valid step the output is the initial state
        started = np.cumsum(valid[:, ::-1] if go_backwards else valid, axis=1) > 0
    expected = np.where(started[..., None], expected, states[0][:, None])
    np.testing.assert_allclose(outputs, expected, **TOLERANCE)
    for state, value in zip(last, expected_last, strict=True):
        np.testing.assert_allclose(state, value, **TOLERANCE)


SIZES = [(1, 1, 1, 1), (2, 9, 1, 16), (13, 5, 20, 33), (37, 3, 17, 64), (3, 140, 7, 10)]


def gradient_cases():
    """Returns (instruction set, sizes, masked, go_backwards); a third of them are fast.

    The first instruction set runs all sizes with mask and backwards, and without both; the others
    run two sizes that are not multiples of a vector. The rest of the grid is slow.
    """
    parameters = []
    for case in itertools.product(INSTRUCTION_SETS, SIZES, (False, True), (False, True)):
        instructions, sizes, masked, go_backwards = case
        odd = sizes in SIZES[1:3]
        if instructions == INSTRUCTION_SETS[0]:
            fast = masked == go_backwards or odd
        else:
            fast = masked and go_backwards and odd
        parameters.append(pytest.param(*case, marks=() if fast else pytest.mark.slow))
    return parameters


def random_mask(batch, time):
    mask = np.random.default_rng(5).random((batch, time)) < 0.7
    mask[0] = batch == 1
    return mask


def loss_and_gradients(layer, name, x, states, mask, dtype):
    """Returns the gradients by weights, x and states of a loss that depends on all outputs."""
    ops = keras.ops
    batch, time, _ = x.shape
    factors = [normal(batch, time, layer.units, seed=7).astype(dtype)]
    factors += [normal(batch, layer.units, seed=8).astype(dtype)] * len(states)

    def loss(tensors):
        x, *states = tensors
        outputs = layer(x, initial_state=list(states), mask=mask, training=True)
        parts = zip(outputs, factors, strict=True)
        return ops.sum(ops.stack([ops.sum(ops.multiply(*pair)) for pair in parts]))

    return cases.gradients(layer, loss, [x.astype(dtype), *(s.astype(dtype) for s in states)])


@each_cell
@pytest.mark.parametrize(("instructions", "sizes", "masked", "go_backwards"), gradient_cases())
def test_gradients_equal_those_of_the_equations(
    monkeypatch, instructions, name, sizes, masked, go_backwards
):
    """The equations run in float64 on TensorFlow, and in float32 on the other backends."""
    batch, time, features, units = sizes
    settings = {"return_sequences": True, "return_state": True, "go_backwards": go_backwards}
    x, states = normal(batch, time, features), states_of(name, batch, units)
    mask = random_mask(batch, time) if masked else None
    actual, expected = [], []
    for switch, dtype, into in (
        (instructions, "float32", actual),
        ("off", cases.FLOAT, expected),
    ):
        monkeypatch.setenv(native.KERNEL_VARIABLE, switch)
        layer, _ = make(name, units, features, dtype=dtype, **settings)
        explained = layer.explain(x.shape, mask=masked, training=True)
        assert (explained.method == plan.NATIVE) == (switch != "off")
        into += loss_and_gradients(layer, name, x, states, mask, dtype)
    for ours, theirs in zip(actual, expected, strict=True):
        scale = max(1, np.abs(theirs).max())
        np.testing.assert_allclose(ours / scale, theirs / scale, rtol=1e-4, atol=5e-6)


@each_cell
@pytest.mark.parametrize("settings", [{}, {"use_bias": False}, {"zero_output_for_mask": True}])
@pytest.mark.parametrize("sequences", [False, True])
def test_settings_have_the_same_effect_with_and_without_the_kernel(
    monkeypatch, name, settings, sequences
):
    settings = {**settings, "return_sequences": sequences}
    x, mask = normal(6, 8, 5), random_mask(6, 8)
    results = []
    for switch in ("auto", "off"):
        monkeypatch.setenv(native.KERNEL_VARIABLE, switch)
        layer, _ = make(name, 7, 5, **settings)

        def loss(tensors, layer=layer):
            return keras.ops.sum(layer(tensors[0], mask=mask) ** 2)

        results.append([cases.numpy(layer(x, mask=mask)), *cases.gradients(layer, loss, [x])])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_integers_are_cast_to_floats():
    layer, _ = make("gru", 6, 5)
    whole = np.arange(40).reshape(2, 4, 5) % 7
    answer = cases.numpy(layer(whole.astype("int32")))
    np.testing.assert_array_equal(answer, cases.numpy(layer(whole.astype("float32"))))


def test_input_dropout_works_with_the_kernel():
    layer, _ = make("lstm", 8, 5, dropout=0.5, return_sequences=True)
    x = normal(4, 6, 5)
    assert layer.explain(x.shape, training=True).method == plan.NATIVE
    keras.utils.set_random_seed(0)
    dropped = cases.numpy(layer(x, training=True))
    assert np.abs(dropped - cases.numpy(layer(x))).max() > 0.01


def test_a_model_learns_the_same_with_and_without_the_kernel(monkeypatch):
    x, y = normal(32, 9, 4), normal(32, 3, seed=1)
    losses = []
    for switch in ("auto", "off"):
        monkeypatch.setenv(native.KERNEL_VARIABLE, switch)
        keras.utils.set_random_seed(0)
        both = layers.Bidirectional(layers.LSTM(6, return_sequences=True))
        model = keras.Sequential([keras.Input((None, 4)), both, layers.GRU(3)])
        model.compile(keras.optimizers.Adam(0.01), "mse")
        losses.append(model.fit(x, y, batch_size=8, epochs=3, verbose=0, shuffle=False).history)
        losses[-1]["predicted"] = model.predict(x, verbose=0)
    np.testing.assert_allclose(losses[0]["loss"], losses[1]["loss"], rtol=1e-5)
    np.testing.assert_allclose(losses[0]["predicted"], losses[1]["predicted"], atol=1e-5)


@each_cell
def test_the_result_does_not_depend_on_the_number_of_threads(monkeypatch, name):
    x, states = normal(70, 30, 24), states_of(name, 70, 40)
    results = []
    for threads in ("1", "3", "4", "4"):
        monkeypatch.setenv(native.THREADS_VARIABLE, threads)
        layer, _ = make(name, 40, 24, return_sequences=True, return_state=True)
        results.append(loss_and_gradients(layer, name, x, states, None, "float32"))
    for others in results[1:]:
        for first, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(first, other)


@each_set
def test_gates_are_accurate_from_tiny_to_huge_inputs(monkeypatch, instructions):
    monkeypatch.setenv(native.KERNEL_VARIABLE, instructions)
    layer = layers.SimpleRNN(1)
    layer.build((None, 1, 1))
    layer.set_weights([np.ones((1, 1)), np.zeros((1, 1)), np.zeros(1)])
    x = np.concatenate([-np.logspace(-30, 30, 400), np.logspace(-30, 30, 400), [0, -0.0]])
    x = x.astype("float32")
    actual = cases.numpy(layer(x[:, None, None]))[:, 0]
    np.testing.assert_allclose(actual, np.tanh(x.astype("float64")), rtol=3e-7)
    assert np.isnan(cases.numpy(layer(np.full((1, 1, 1), np.nan, "float32"))))
    gates, _ = make("gru", 1, 1)
    assert np.isfinite(cases.numpy(gates(x[:, None, None]))).all()


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3)])
def test_empty_batches_and_sequences_return_the_initial_state(shape):
    h0, weights = normal(shape[0], 5), (normal(3, 20), normal(5, 20), None)
    outputs, (h, c) = native.run_kernel(
        "lstm", np.zeros(shape, "float32"), [h0, 2 * h0], weights, mask=None, reverse=False,
        training=True, keep_outputs=True,
    )  # fmt: skip
    assert tuple(outputs.shape) == (*shape[:2], 5)
    np.testing.assert_array_equal(cases.numpy(h), h0)
    np.testing.assert_array_equal(cases.numpy(c), 2 * h0)


def test_shapes_that_do_not_fit_are_refused():
    weights = normal(4, 20), normal(5, 20), None  # for four features; x has three
    with pytest.raises(Exception, match=r"kernel must be \(features, gates"):
        cases.numpy(
            native.run_kernel(
                "lstm", normal(2, 6, 3), [normal(2, 5)] * 2, weights, mask=None, reverse=False,
                training=False, keep_outputs=True,
            )
        )  # fmt: skip


def test_environment_variables_are_reported_and_checked(monkeypatch):
    layer = layers.LSTM(4)
    monkeypatch.setenv(native.KERNEL_VARIABLE, "off")
    assert "disables the CPU kernel" in str(layer.explain((2, 3, 4)))
    monkeypatch.setenv(native.KERNEL_VARIABLE, "fast")
    with pytest.raises(ValueError, match="must be 'auto', 'off' or one of avx512"):
        layer.explain((2, 3, 4))
    monkeypatch.setenv(native.KERNEL_VARIABLE, "portable")
    assert "portable" in layer.explain((2, 3, 4)).description
    monkeypatch.setenv(native.THREADS_VARIABLE, "3")
    assert "3 threads" in layer.explain((2, 3, 4)).description
    monkeypatch.setenv(native.THREADS_VARIABLE, "none")
    with pytest.raises(ValueError, match="positive integer"):
        layer.explain((2, 3, 4))


def test_without_the_library_the_layers_fall_back(monkeypatch):
    x = normal(3, 4, 5)
    layer, _ = make("gru", 6, 5)
    with_it = cases.numpy(layer(x))
    monkeypatch.setattr(location, "library_path", lambda: None)
    explained = layer.explain(x.shape)
    assert explained.method != plan.NATIVE
    assert "was not compiled" in explained.reasons[0]
    np.testing.assert_allclose(cases.numpy(layer(x)), with_it, **TOLERANCE)


@pytest.mark.skipif(cases.BACKEND != "jax", reason="tests JAX's types and exporter")
class TestJax:
    @each_cell
    @pytest.mark.parametrize("mask", [None, "gaps"])
    def test_a_float32_layer_has_gradients_where_float64_is_enabled(self, name, mask):
        import jax

        mask = None if mask is None else np.array(cases.MASKS[mask], bool)
        x = normal(cases.BATCH, cases.TIME, 5)
        results = []
        for enabled in (False, True):
            with jax.enable_x64(enabled):
                layer, _ = make(name, 6, 5)

                def loss(tensors, layer=layer):
                    return keras.ops.sum(layer(tensors[0], mask=mask) ** 2)

                results.append([cases.numpy(layer(x, mask=mask))])
                results[-1] += cases.gradients(layer, loss, [x])
        for actual, expected in zip(*results, strict=True):
            assert actual.dtype == expected.dtype == "float32"
            np.testing.assert_allclose(actual, expected, **TOLERANCE)

    @pytest.mark.parametrize("name", cases.LAYERS)
    def test_a_float64_layer_computes_in_float64(self, name):
        import jax

        with jax.enable_x64(True):
            layer_class, arguments = cases.LAYERS[name]
            if "activation" in layer_class.cell_class.argument_names():
                arguments = {**arguments, "activation": "tanh"}
            layer = layer_class(3, dtype="float64", return_state=True, **arguments)
            x = jax.numpy.asarray(normal(2, 4, 5), "float64")
            gradients = cases.gradients(layer, lambda t: keras.ops.sum(layer(t[0])[0]), [x])
            tensors = [*layer(x), *gradients]
        assert {str(tensor.dtype) for tensor in tensors} == {"float64"}

    def test_an_exported_function_does_not_contain_the_kernel(self):
        """JAX does not trace a compiled function again to export it."""
        import jax

        layer, _ = make("lstm", 6, 5)
        x = jax.numpy.asarray(normal(3, 4, 5))
        compiled = jax.jit(lambda x: layer(x))
        expected = compiled(x)
        exported = jax.export.export(compiled)(x)
        assert "custom_call" not in exported.mlir_module()
        np.testing.assert_allclose(exported.call(x), expected, **TOLERANCE)


@pytest.mark.skipif(cases.BACKEND != "tensorflow", reason="tests TensorFlow's graphs")
class TestGraphs:
    def test_xla_falls_back_to_the_equations(self):
        import tensorflow as tf

        layer, _ = make("lstm", 6, 5)
        x = normal(3, 4, 5)
        compiled_by_xla = tf.function(lambda x: layer(x), jit_compile=True)
        np.testing.assert_allclose(compiled_by_xla(x).numpy(), layer(x).numpy(), **TOLERANCE)

    def test_a_graph_with_unknown_sizes_uses_the_kernel(self):
        import tensorflow as tf

        layer, _ = make("gru", 6, 5, return_sequences=True)
        x = normal(3, 4, 5)
        traced = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 5))])
        graph = traced.get_concrete_function()
        assert "RnnTopologies>Forward" in {node.type for node in graph.graph.get_operations()}
        assert graph.structured_outputs.shape.as_list() == [None, None, 6]
        np.testing.assert_allclose(traced(x).numpy(), layer(x).numpy(), **TOLERANCE)

    EXPORTERS = ("model.export", "tf.saved_model.save")

    def export(self, exporter, folder):
        """Exports a model and returns an input and the model's output."""
        import tensorflow as tf

        model = keras.Sequential([keras.Input((None, 5)), layers.LSTM(6), keras.layers.Dense(2)])
        cases.randomize(model)
        if exporter == "model.export":
            model.export(folder, verbose=False)
        else:
            tf.saved_model.save(model, str(folder))
        x = normal(3, 4, 5)
        return x, cases.numpy(model(x))

    @pytest.mark.parametrize("exporter", EXPORTERS)
    def test_an_exported_graph_does_not_contain_the_kernel(self, tmp_path, exporter):
        import tensorflow as tf

        x, expected = self.export(exporter, tmp_path / "model")
        assert b"RnnTopologies" not in (tmp_path / "model/saved_model.pb").read_bytes()
        signatures = tf.saved_model.load(str(tmp_path / "model")).signatures
        (answer,) = signatures["serving_default"](tf.constant(x)).values()
        np.testing.assert_allclose(answer, expected, **TOLERANCE)

    def traced(self):
        """Returns a model and a function that was traced with the kernel."""
        import tensorflow as tf

        model = keras.Sequential([keras.Input((None, 5)), layers.LSTM(6)])
        inner = tf.function(lambda x: model(x))
        inner(normal(3, 4, 5))
        return model, tf.function(
            lambda x: 2 * inner(x), input_signature=[tf.TensorSpec((3, 4, 5), name="x")]
        )

    def test_a_traced_function_with_the_kernel_is_not_saved(self, tmp_path):
        import tensorflow as tf

        model, function = self.traced()
        module = tf.Module()
        module.model, module.function = model, function.get_concrete_function()
        for saved, signatures in ((model, module.function), (module, None)):
            with pytest.raises(ValueError, match="RNN_TOPOLOGIES_CPU_KERNEL=off before"):
                tf.saved_model.save(saved, str(tmp_path / "model"), signatures=signatures)
        assert not list(tmp_path.rglob("*.pb"))

    def test_functions_of_a_module_are_traced_again_when_they_are_saved(self, tmp_path):
        import tensorflow as tf

        module = tf.Module()
        module.model, module.function = self.traced()
        expected = module.function(normal(3, 4, 5))
        tf.saved_model.save(module, str(tmp_path))
        assert b"RnnTopologies" not in (tmp_path / "saved_model.pb").read_bytes()
        loaded = tf.saved_model.load(str(tmp_path))
        answer = loaded.function(tf.constant(normal(3, 4, 5)))
        np.testing.assert_allclose(answer, expected, **TOLERANCE)

    @pytest.mark.slow
    @pytest.mark.parametrize("exporter", EXPORTERS)
    def test_an_exported_model_runs_in_a_process_without_the_kernel(self, tmp_path, exporter):
        x, expected = self.export(exporter, tmp_path / "model")
        code = (
            "import sys, numpy as np, tensorflow as tf\n"
            "model = tf.saved_model.load(sys.argv[1])\n"
            "x = tf.constant(np.load(sys.argv[2]))\n"
            "(answer,) = model.signatures['serving_default'](x).values()\n"
            "np.save(sys.argv[3], answer)"
        )
        np.save(tmp_path / "x.npy", x)
        paths = [str(tmp_path / name) for name in ("model", "x.npy", "y.npy")]
        subprocess.run([sys.executable, "-c", code, *paths], check=True, timeout=300)
        np.testing.assert_allclose(np.load(paths[2]), expected, **TOLERANCE)


IN_A_PROCESS = """
import ctypes, os, resource, sys, time
import numpy as np

library = ctypes.CDLL(sys.argv[1])


class Array(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("rank", ctypes.c_int64), ("sizes", ctypes.c_int64 * 3)]


def described(arrays):
    return (Array * len(arrays))(*(Array(a.ctypes.data, a.ndim, a.shape) for a in arrays))


generator = np.random.default_rng(0)
shapes = (64, 50, 32), (0,), (64, 64), (64, 64), (32, 256), (64, 256), (256,)
inputs = [generator.normal(size=shape).astype("float32") for shape in shapes]


def run():
    outputs = [np.zeros(shape, "float32") for shape in ((64, 50, 64), (64, 64), (64, 64), (0,))]
    wrong = library.rnn_topologies_forward(
        (ctypes.c_int64 * 3)(1, 0, 4), described(inputs), described(outputs)
    )
    assert not wrong
    return outputs[0]

"""


def in_a_process(code):
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS + code, str(location.library_path())],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_idle_threads_use_no_cpu_time():
    code = (
        "run()\nbefore = time.process_time()\ntime.sleep(0.4)\nprint(time.process_time() - before)"
    )
    assert float(in_a_process(code)) < 0.1


def test_a_forked_process_has_its_own_threads():
    code = """
expected = run()
child = os.fork()
if child == 0:
    os._exit(0 if (run() == expected).all() else 1)
assert os.waitpid(child, 0)[1] == 0
assert (run() == expected).all()
"""
    in_a_process(code)


def test_concurrent_calls_do_not_interfere():
    code = """
import threading

expected, good = run(), []
threads = [threading.Thread(target=lambda: good.append((run() == expected).all()))
           for _ in range(40)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(good) == 40 and all(good)
"""
    in_a_process(code)


@pytest.mark.skipif(cases.BACKEND != "jax", reason="tests XLA's interface with JAX's headers")
def test_the_structures_equal_those_of_xla(tmp_path):
    """The structures in xla.cpp have the offsets of those in the headers that JAX ships."""
    import jax

    pairs = {
        "Frame": ("XLA_FFI_CallFrame", {"extensions": "extension_start", "api": "api",
                  "inputs": "args", "outputs": "rets", "attributes": "attrs"}),
        "Buffer": ("XLA_FFI_Buffer", {"type": "dtype", "data": "data", "rank": "rank",
                   "sizes": "dims"}),
        "List": ("XLA_FFI_Args", {"size": "size", "types": "types", "items": "args"}),
        "Attributes": ("XLA_FFI_Attrs", {"size": "size", "types": "types", "items": "attrs"}),
        "Numbers": ("XLA_FFI_Array", {"type": "dtype", "size": "size", "data": "data"}),
        "Api": ("XLA_FFI_Api", {"version": "api_version", "create_error": "XLA_FFI_Error_Create"}),
        "ErrorArguments": ("XLA_FFI_Error_Create_Args", {"message": "message", "code": "errc"}),
        "Metadata": ("XLA_FFI_Metadata", {"version": "api_version"}),
        "MetadataExtension": ("XLA_FFI_Metadata_Extension", {"metadata": "metadata"}),
        "Version": ("XLA_FFI_Api_Version", {"major": "major_version", "minor": "minor_version"}),
    }  # fmt: skip
    lines = [f'#include "{SOURCE / "xla.cpp"}"', '#include "xla/ffi/api/c_api.h"']
    for ours, (theirs, fields) in pairs.items():
        for mine, name in fields.items():
            lines.append(f"static_assert(offsetof({ours}, {mine}) == offsetof({theirs}, {name}));")
    lines += [
        "static_assert(METADATA == XLA_FFI_Extension_Metadata);",
        "static_assert(BUFFER == XLA_FFI_ArgType_BUFFER && ARRAY == XLA_FFI_AttrType_ARRAY);",
        "static_assert(FLOAT == XLA_FFI_DataType_F32 && PRED == XLA_FFI_DataType_PRED);",
        "static_assert(INT64 == XLA_FFI_DataType_S64);",
        "static_assert(INVALID_ARGUMENT == XLA_FFI_Error_Code_INVALID_ARGUMENT);",
    ]
    (tmp_path / "check.cpp").write_text("\n".join(lines), "utf-8")
    command = ["g++", "-std=c++17", "-fsyntax-only", "-I", jax.ffi.include_dir(), "check.cpp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ on this machine")
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_sanitizers_find_no_errors(tmp_path, sanitizer):
    """Runs every cell and instruction set on arrays without slack."""
    sources = [str(path) for path in sorted(SOURCE.glob("*.cpp"))]
    exercise = str(pathlib.Path(__file__).parent / "exercise.cpp")
    build = ["g++", "-std=c++17", "-O1", "-g", f"-fsanitize={sanitizer}", "-pthread"]
    build += [f"-I{SOURCE}", "-fno-sanitize-recover=all", *sources, exercise, "-ldl", "-o", "run"]
    subprocess.run(build, cwd=tmp_path, check=True, timeout=300)
    done = subprocess.run(
        [tmp_path / "run"], capture_output=True, text=True, timeout=300, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("ran ")
