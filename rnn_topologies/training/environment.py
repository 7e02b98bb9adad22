"""What a run ran on and from, for its record; no host name, user or path."""

import contextlib
import functools
import logging
import os
import pathlib
import platform
import subprocess
import tempfile

from ..tasks.errors import UserError


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def describe() -> dict:
    """Returns versions of Python, Keras and the backend, the kind of device, and the cores.

    Of the CPU kernel the instruction set, on which the last bits of a figure depend; None where it
    cannot run.

    Raises:
        UserError: a variable of the environment says what the kernel cannot do.
    """
    import importlib.metadata

    import keras

    from ..layers import native

    backend = keras.backend.backend()
    device = _device(backend)
    try:
        kernel = native.instruction_set() if device == "cpu" and not native.obstacle() else None
    except ValueError as error:
        raise UserError(str(error)) from error
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": backend,
        "backend_version": importlib.metadata.version(backend),
        "device": device,
        "cores": cores(),
        "cpu_kernel": kernel,
    }


def _device(backend: str) -> str:
    if backend == "torch":  # Keras lists no devices there
        import torch

        return "gpu" if torch.cuda.is_available() else "cpu"
    import keras

    return keras.distribution.list_devices()[0].partition(":")[0].lower()


def make_deterministic(backend: str) -> None:
    """Makes a backend give the same figures for the same seed; before Keras is imported.

    For the rest of the process: TensorFlow cannot go back.
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


def reproducible(deterministic: bool) -> dict:
    """Returns whether the same seed gives the same figures on this machine, and if not, why."""
    reason = None
    if not deterministic:
        reason = "run without --deterministic"
    elif describe()["device"] != "cpu":
        reason = "not tested on this device"
    return {"promised": reason is None, "reason": reason}


@functools.cache
def git() -> dict | None:
    """Returns the commit that this code is of and whether it was changed; None outside of git."""
    here = pathlib.Path(__file__).parent

    def ask(*words):
        return subprocess.run(
            ["git", "-C", here, *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout

    try:
        if not ask("ls-files", __file__):  # installed inside of somebody else's checkout
            return None
        return {"commit": ask("rev-parse", "HEAD").strip(), "dirty": bool(ask("status", "-s"))}
    except (OSError, subprocess.SubprocessError):
        return None


def quiet() -> None:
    """Silences what TensorFlow notes of its build, and its wonder at many models in one process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextlib.contextmanager
def held_back(stream):
    """Holds back what native code prints on a stream, and shows it if Python then fails.

    TensorFlow notes its build and missing GPUs on standard error before it reads the setting
    that would silence it.
    """
    descriptor = stream.fileno()
    with tempfile.TemporaryFile() as held:
        kept = os.dup(descriptor)
        os.dup2(held.fileno(), descriptor)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, descriptor)
            os.close(kept)
