"""Progress of long computations: tasks report it, and the runner shows it.

    with progress.part("decoding") as advance:
        for done, batch in enumerate(batches):
            advance(done, len(batches))
            ...

By default nothing is shown, so that tasks can be used without the runner.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import TypeAlias

Advance: TypeAlias = Callable[[int, int], None]
ShowPart: TypeAlias = Callable[[str], AbstractContextManager[Advance]]


def ignored(text: str) -> AbstractContextManager[Advance]:
    """Shows nothing."""
    del text
    return contextlib.nullcontext(lambda done, total: None)


_show_part: ContextVar[ShowPart] = ContextVar("show_part", default=ignored)


@contextlib.contextmanager
def shown_by(show_part: ShowPart) -> Iterator[None]:
    """Shows every part that is reported inside the context.

    Args:
        show_part: called with what is being computed; returns a context manager that yields a
            function to report progress.
    """
    token = _show_part.set(show_part)
    try:
        yield
    finally:
        _show_part.reset(token)


@contextlib.contextmanager
def part(text: str) -> Iterator[Advance]:
    """Reports what is being computed, and yields a function `(done, total)` to report progress.

    A nested part is not shown; its progress is reported for the outer part.

    Args:
        text: what is being computed, such as "decoding 1,000 sentences".
    """
    with _show_part.get()(text) as advance, shown_by(lambda _: contextlib.nullcontext(advance)):
        yield advance
