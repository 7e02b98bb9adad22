"""Errors that the command line reports in one line, without a traceback, and their wording."""

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """A mistake of the user, or something that only the user can provide.

    The message is one line: what was expected, what was found, and what to do about it. The
    command line exits with status 2.
    """


class NotWrittenError(Exception):
    """The results of a run could not be written to the results folder.

    The message says where they are instead. The command line exits with status 1.
    """


def did_you_mean(name: str, known_names: Sequence[str]) -> str:
    """Returns the end of an error message that suggests a similar name, or an empty string.

    Example:
        >>> did_you_mean("translaton", ["classification", "translation"])
        " Did you mean 'translation'?"
    """
    matches = difflib.get_close_matches(name, known_names, n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def unknown_name(kind: str, name: str, known_names: Sequence[str]) -> str:
    """Returns an error message that lists the known names and suggests a similar one.

    Example:
        >>> unknown_name("cell", "grru", ["gru", "lstm"])
        "Unknown cell: 'grru'. Available: gru, lstm. Did you mean 'gru'?"
    """
    hint = did_you_mean(name, known_names)
    return f"Unknown {kind}: {name!r}. Available: {', '.join(known_names)}.{hint}"
