"""Errors that a user can fix."""


class UserError(Exception):
    """An error that the user can fix.

    Its message is one line: what is wrong, where, what was expected and what to do.
    """
