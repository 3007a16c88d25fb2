"""The one exception that means: the user can mend this."""


class UserError(ValueError):
    """The user's mistake, in one line that names the field, the value and what would be right.

    The command line prints it without a traceback and exits with code 2. Everything else that escapes is our own
    bug and keeps its traceback.
    """
