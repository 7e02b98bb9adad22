"""Graceful shutdown: the first Ctrl-C or SIGTERM stops a run cleanly, the second kills it."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Listens for the signals inside `handle_signals()`.

    Attributes:
        signal: the signal that asked the run to stop, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._is_deferred = False

    @contextlib.contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Installs the signal handlers. Only the main thread may: elsewhere this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal only sets `signal`, which the training loop checks between steps."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = signal.Signals(number)
        if self._is_deferred:
            note = (
                "\nStopping after this step (checkpoint saved). Press Ctrl-C again to quit now.\n"
            )
            os.write(2, note.encode())  # `print` is not reentrant, and may have been interrupted
        else:
            raise KeyboardInterrupt
