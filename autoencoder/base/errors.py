"""Errors that a user can fix, and the parts of their messages."""

from collections.abc import Sequence


class UserError(Exception):
    """An error that the user can fix.

    Its message is one line: what is wrong, where, what was expected and what to do.
    """


def one_line(message: object) -> str:
    """Put a library's message, which may have several lines, on one."""
    return " ".join(str(message).split())


def listed(items: Sequence[object], most: int = 20, separator: str = ", ") -> str:
    """List paths or names for a message, the first of many."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(map(str, items[:most])) + more
