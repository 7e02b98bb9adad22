"""Which modules are calling: some of them trace code for programs that lack the kernel."""

import sys


def is_called_by(modules: tuple[str, ...]) -> bool:
    """Returns whether a function of one of the modules, given by prefix, is being executed."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(modules):
            return True
        frame = frame.f_back
    return False
