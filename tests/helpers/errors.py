"""What a user is told."""

from collections.abc import Callable

from autoencoder.base.errors import UserError


def refusal(read: Callable[[], object]) -> str:
    """The message of the UserError that `read` raises, or an empty string."""
    try:
        read()
    except UserError as error:
        return str(error)
    return ""
