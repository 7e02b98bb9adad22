"""Where the compiled library is; it must not be opened here, see `compiled`."""

import functools
import pathlib


@functools.cache
def library_path() -> pathlib.Path | None:
    """Returns the file of the compiled library, or None if it was not built."""
    built = sorted(pathlib.Path(__file__).parent.glob("_kernel*.so"))
    return built[0] if built else None
