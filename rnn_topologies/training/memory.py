"""Errors in one line, and those that mean that memory ran out, on a device or on the host."""

OUT_OF_MEMORY = "out of memory"
MAX_LENGTH = 500  # characters of an error's message in a record
MEMORY_ERRORS = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
# Backends wrap what a batch raises, and JAX has no class of its own for this.
MEMORY_MESSAGES = (
    *("RESOURCE_EXHAUSTED", "MemoryError", "Unable to allocate", "can't allocate memory"),
    *("out of memory", "Out of memory", "std::bad_alloc"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of NumPy, of Python or of a backend means that memory ran out."""
    names = [kind.__name__ for kind in type(error).__mro__]
    if any(name in MEMORY_ERRORS for name in names):
        return True
    return any(message in str(error) for message in MEMORY_MESSAGES)


def describe_error(error: BaseException) -> str:
    """Returns the type and the message of an error in one line, without what is too long to read.

    Example:
        >>> describe_error(ValueError("After pruning,\\nno terms remain."))
        'ValueError: After pruning, no terms remain.'
        >>> describe_error(MemoryError())
        'out of memory'
    """
    message = " ".join(str(error).split())
    name = OUT_OF_MEMORY if is_out_of_memory(error) else type(error).__name__
    if message.startswith(OUT_OF_MEMORY):
        text = message
    else:
        text = f"{name}: {message}" if message else name
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."
