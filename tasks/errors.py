"""What a user can put right, and what has to be told in one line."""


class UserError(Exception):
    """A mistake of the user's, or a thing that only the user can provide.

    The message is one line that says what was expected, what came and what to do. The command
    line prints it without a traceback and ends with status 2.
    """


class NotWrittenError(Exception):
    """What a run came to could not be written where it belongs; the message says where it is.

    The command line prints it without a traceback and ends with status 1.
    """
