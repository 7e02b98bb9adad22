"""One-line descriptions of errors, and detection of out-of-memory errors, on device or host."""

OUT_OF_MEMORY = "out of memory"
MAX_LENGTH = 500  # characters of an error's message in a record
MEMORY_ERRORS = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
# Backends wrap errors raised by a batch, and JAX has no class for out-of-memory errors.
MEMORY_MESSAGES = (
    *("RESOURCE_EXHAUSTED", "MemoryError", "Unable to allocate", "can't allocate memory"),
    *("out of memory", "Out of memory", "std::bad_alloc"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of NumPy, Python or a backend means out of memory."""
    names = [kind.__name__ for kind in type(error).__mro__]
    if any(name in MEMORY_ERRORS for name in names):
        return True
    return any(message in str(error) for message in MEMORY_MESSAGES)


def describe_error(error: BaseException) -> str:
    """Returns the type and the message of an error in one line, truncated if too long.

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
