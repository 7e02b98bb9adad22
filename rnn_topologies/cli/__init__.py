"""The command line.

Nothing outside the standard library is imported before `main` can report that it is missing.
"""

from .extras import exit_if_dependency_is_missing


def main() -> None:
    """Runs the command line."""
    with exit_if_dependency_is_missing():
        from . import app

        app.main()


__all__ = ["main"]
