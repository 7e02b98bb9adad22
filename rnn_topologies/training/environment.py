"""The software and hardware of a run, for its record; no host name, user or path."""

import contextlib
import functools
import logging
import os
import pathlib
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any, TextIO

from ..tasks.errors import UserError


def available_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_environment() -> dict[str, Any]:
    """Returns the versions of Python, Keras and the backend, the kind of device, and the cores.

    `cpu_kernel` is the instruction set of the native CPU kernel, on which the last bits of results
    depend; None where the kernel cannot run.

    Raises:
        UserError: an environment variable asks for something that the kernel does not support.
    """
    import importlib.metadata

    import keras

    backend = keras.backend.backend()
    device = _device_kind(backend)
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": backend,
        "backend_version": importlib.metadata.version(backend),
        "device": device,
        "cores": available_cores(),
        "cpu_kernel": _cpu_kernel() if device == "cpu" else None,
    }


def _cpu_kernel() -> str | None:
    from ..layers import native

    try:
        return None if native.fallback_reason() else native.instruction_set()
    except ValueError as error:
        raise UserError(str(error)) from error


def _device_kind(backend: str) -> str:
    if backend == "torch":  # Keras lists no devices for it
        import torch

        return "gpu" if torch.cuda.is_available() else "cpu"
    import keras

    return keras.distribution.list_devices()[0].partition(":")[0].lower()


def make_deterministic(backend: str) -> None:
    """Makes results depend on the seed alone. Call it before importing Keras.

    It cannot be undone: TensorFlow has no way to turn it off again.
    """
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    else:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def describe_reproducibility(deterministic: bool) -> dict[str, Any]:
    """Returns whether the same seed gives the same results on this machine, and if not, why."""
    reason = None
    if not deterministic:
        reason = "run without --deterministic"
    elif describe_environment()["device"] != "cpu":
        reason = "not tested on this device"
    return {"promised": reason is None, "reason": reason}


@functools.cache
def git_state() -> dict[str, Any] | None:
    """Returns the commit of this code and whether files differ from it; None outside of git."""
    folder = pathlib.Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout

    try:
        if not git("ls-files", __file__):  # installed inside somebody else's checkout
            return None
        return {"commit": git("rev-parse", "HEAD").strip(), "dirty": bool(git("status", "-s"))}
    except (OSError, subprocess.SubprocessError):
        return None


def silence_tensorflow() -> None:
    """Silences TensorFlow's notes about its build and its retracing warnings."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextlib.contextmanager
def hide_native_output(stream: TextIO) -> Iterator[None]:
    """Hides what native code prints to a stream, unless an unexpected exception is raised.

    TensorFlow writes about its build and missing GPUs to standard error before it reads the
    setting that silences it.
    """
    descriptor = stream.fileno()
    with tempfile.TemporaryFile() as buffer:
        original = os.dup(descriptor)
        os.dup2(buffer.fileno(), descriptor)
        try:
            yield
        except (UserError, ModuleNotFoundError):  # reported in one line
            raise
        except BaseException:
            buffer.seek(0)
            os.write(original, buffer.read())
            raise
        finally:
            os.dup2(original, descriptor)
            os.close(original)
