"""What a long computation is doing: tasks report it, and the runner shows it.

    with progress.part("decoding") as advance:
        for done, batch in enumerate(batches):
            advance(done, len(batches))
            ...

Nobody listens by default, so a task can be used without the runner.
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
    """Inside, every part is shown.

    Args:
        show_part: called with what is being computed; wraps the computation and returns a
            function to report how much of it is done.
    """
    token = _show_part.set(show_part)
    try:
        yield
    finally:
        _show_part.reset(token)


@contextlib.contextmanager
def part(text: str) -> Iterator[Advance]:
    """Says what is being computed, and yields a function `(done, total)` to report how far it is.

    A part within a part is not shown; its progress counts as that of the outer part.

    Args:
        text: what is being computed, such as "decoding 1,000 sentences".
    """
    with _show_part.get()(text) as advance, shown_by(lambda _: contextlib.nullcontext(advance)):
        yield advance
