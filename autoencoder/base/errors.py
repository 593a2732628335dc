"""Errors that a user can fix."""


class UserError(Exception):
    """An error that the user can fix.

    Its message is one line: what is wrong, where, what was expected and what to do.
    """


def one_line(message: object) -> str:
    """Put a library's message, which may have several lines, on one."""
    return " ".join(str(message).split())
