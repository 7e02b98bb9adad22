"""What a user can put right."""


class UserError(Exception):
    """A mistake of the user's, or a thing that only the user can provide.

    The message is one line that says what was expected, what came and what to do. The command
    line prints it without a traceback and ends with status 2.
    """
