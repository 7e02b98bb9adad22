"""How a run is asked to stop: Ctrl-C or SIGTERM once, to end well; twice, to end now."""

import contextlib
import os
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Hears the signals while its `heard` is open.

    Attributes:
        signal: the one that asked the run to stop, or None.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self._waits = False

    @contextlib.contextmanager
    def heard(self):
        """Takes the signals over; outside of the main thread they cannot be."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def awaited(self):
        """The work within looks at `signal` itself, between steps, and ends where it can go on."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def _handle(self, number, frame):
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = signal.Signals(number)
        if self._waits:
            note = "\nstopping after this step and keeping its state; once more: now\n"
            os.write(2, note.encode())  # a print could be in the middle of another
        else:
            raise KeyboardInterrupt
